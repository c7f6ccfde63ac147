//! The servers of a run, started when first needed and kept until its end.

use std::collections::BTreeMap;

use crate::cell::{Contestant, Shape};
use crate::fault::Fault;
use crate::server::{self, Server};

/// Where things run.
#[derive(Clone, Debug)]
pub(crate) struct Layout {
    /// The hub's binary.
    pub(crate) whub: String,
    /// Core of the server under test; `None` leaves it to the kernel.
    pub(crate) server_core: Option<usize>,
    /// Core of the generator and of what stands behind a proxy.
    pub(crate) generator_core: Option<usize>,
    /// Peers by address.
    pub(crate) peers: BTreeMap<String, String>,
}

/// Running servers by contestant.
#[derive(Debug)]
pub(crate) struct Fleet {
    layout: Layout,
    running: BTreeMap<Contestant, Server>,
}

impl Fleet {
    /// Nothing runs yet.
    pub(crate) fn new(layout: Layout) -> Self {
        Self { layout, running: BTreeMap::new() }
    }

    /// The contestant's server, started if it does not run yet.
    ///
    /// Cells of memory and of opening get a new one, whose heap and tables nobody has used.
    pub(crate) fn server(&mut self, contestant: &Contestant, shape: Shape) -> Result<&Server, Fault> {
        self.retire(contestant, shape);
        if !self.running.contains_key(contestant) {
            let server = self.start(contestant, shape)?;
            self.running.insert(contestant.clone(), server);
        }
        self.running.get(contestant).ok_or(Fault::Nothing)
    }

    /// Ends a server that may serve only one cell.
    pub(crate) fn retire(&mut self, contestant: &Contestant, shape: Shape) {
        if matches!(shape, Shape::IdlePairs | Shape::IdleJson | Shape::Storm) {
            self.running.remove(contestant);
        }
    }

    fn core(&self, contestant: &Contestant) -> Option<usize> {
        let free = matches!(
            contestant,
            Contestant::WhubFree
                | Contestant::NatsFree
                | Contestant::WhubGatewayFree
                | Contestant::NginxWsFree
                | Contestant::HaproxyWsFree
        );
        self.layout.server_core.filter(|_| !free)
    }

    fn start(&self, contestant: &Contestant, shape: Shape) -> Result<Server, Fault> {
        let core = self.layout.server_core;
        match contestant {
            Contestant::Raw => Server::reference("raw", "tcp-echo", core),
            Contestant::RawRelay => Server::reference("raw-relay", "tcp-relay", core),
            Contestant::Whub | Contestant::WhubFree | Contestant::WhubV1 => {
                Server::whub(contestant.name(), &self.layout.whub, self.core(contestant))
            }
            Contestant::WhubGateway | Contestant::WhubGatewayFree => {
                server::gateway(contestant.name(), &self.layout.whub, self.echo()?, self.core(contestant))
            }
            Contestant::WhubExpose => Server::exposing(&self.layout.whub, self.stub()?, core),
            Contestant::Direct => Ok(Server::nobody("direct")),
            Contestant::Nats | Contestant::NatsFree => server::nats(contestant.name(), self.core(contestant)),
            Contestant::Mosquitto => server::mosquitto(core),
            Contestant::Nginx => {
                let workers = if shape == Shape::Storm { 2 } else { 1 };
                server::nginx(contestant.name(), self.stub()?, workers, core)
            }
            Contestant::NginxWs => server::nginx_ws(contestant.name(), self.echo()?, 1, core),
            Contestant::NginxWsFree => server::nginx_ws(contestant.name(), self.echo()?, 2, None),
            Contestant::Haproxy => server::haproxy(contestant.name(), self.stub()?, core),
            Contestant::HaproxyWs | Contestant::HaproxyWsFree => {
                server::haproxy_ws(contestant.name(), self.echo()?, self.core(contestant))
            }
            Contestant::NginxStream => {
                server::nginx_stream(contestant.name(), Server::reserved("source")?, core)
            }
            Contestant::HaproxyStream => {
                server::haproxy_stream(contestant.name(), Server::reserved("source")?, core)
            }
            Contestant::Frp => server::frp(contestant.name(), self.stub()?, core),
            Contestant::FrpStream => server::frp(contestant.name(), Server::reserved("source")?, core),
            Contestant::Peer(name) => {
                let url = self.layout.peers.get(name).map_or("", String::as_str);
                Server::by_address(name, url)
            }
        }
    }

    /// The WebSocket echo behind the gateways: a hub's, which is nobody's raw floor but conforms.
    fn echo(&self) -> Result<Server, Fault> {
        Server::whub("echo", &self.layout.whub, self.layout.generator_core)
    }

    /// What the proxies stand in front of; its work is not the proxy's, so it runs beside the generator.
    fn stub(&self) -> Result<Server, Fault> {
        Server::reference("stub", "stub", self.layout.generator_core)
    }
}
