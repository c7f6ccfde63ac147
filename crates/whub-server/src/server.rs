//! A node from its first listener to its last connection.

use std::io;
use std::sync::Arc;
use std::time::Duration;

use thiserror::Error;
use tokio::task::JoinSet;
use whub_core::middleware::Middleware;
use whub_core::{Hub, Joined, Peer};
use whub_transport::{
    Admission, AdmissionLimits, BindError, Door, ListenAddress, Listener, LocalAddress, Opened, PeerAddress,
    Talk, TlsAcceptor, TransportCounters,
};

use crate::config::{Config, itself};
use crate::connection::{self, Dialect};
use crate::http::{self, House};
use crate::modules::{self, DynModule, Module, ModuleError, Modules, Registry};
use crate::node::Node;
use crate::reload::{self, ConfigSource, Plan, Reloader, RereadError};
use crate::usher;

/// A node that listens but has not begun to accept.
#[derive(Debug)]
pub struct Server {
    node: Arc<Node>,
    door: Door,
    listeners: Vec<Listener>,
    relays: Vec<Listener>,
    modules: Modules,
}

/// A node that is being put together.
#[derive(Debug)]
#[must_use = "a node is made by `build`"]
pub struct ServerBuilder {
    config: Config,
    name: String,
    modules: Vec<Box<dyn DynModule>>,
    source: Option<Arc<dyn ConfigSource>>,
}

/// A handle on a node, running or not.
#[derive(Debug, Clone)]
pub struct Handle(Arc<Node>, Option<TlsAcceptor>);

/// Why a node could not start.
#[derive(Debug, Error)]
pub enum StartError {
    /// An address could not be bound.
    #[error(transparent)]
    Bind(#[from] BindError),
    /// The certificate could not be used.
    #[error("certificate: {0}")]
    Certificate(#[source] Box<dyn std::error::Error + Send + Sync>),
    /// The folder for the node's files could not be made.
    #[error("data folder: {0}")]
    Data(#[source] io::Error),
    /// An endpoint of the gateway is this node, on a port that the system chose.
    #[error("{0}")]
    Itself(String),
    /// `middleware.order` names a step that there is not.
    #[error("middleware.order names `{0}`, which no step is called; there are {known}", known = crate::chain::KNOWN.join(", "))]
    Middleware(String),
    /// A module could not be initialised or started, or what it provides is in use.
    #[error("module `{module}`: {error}")]
    Module {
        /// Its name.
        module: &'static str,
        /// What went wrong.
        #[source]
        error: ModuleError,
    },
}

/// How often certificate files are looked at.
const CERTIFICATE_CHECK: Duration = Duration::from_secs(5);

impl Server {
    /// A node with the modules that every node has and no others.
    ///
    /// # Errors
    /// When a listener cannot be had, or the certificate is no good.
    pub async fn bind(config: Config, node_name: &str) -> Result<Self, StartError> {
        Self::builder(config).name(node_name).build().await
    }

    /// Begins a node that is to have modules of the embedding program's. Its name is the configuration's, or `whub`.
    pub fn builder(config: Config) -> ServerBuilder {
        let name = config.node.name.clone().unwrap_or_else(|| "whub".to_owned());
        ServerBuilder { config, name, modules: modules::builtin(), source: None }
    }

    /// Where clients reach the node, one URL per listener, such as `ws://127.0.0.1:41233`.
    #[must_use]
    pub fn urls(&self) -> Vec<String> {
        let tls = self.door.tls.is_some();
        self.listeners.iter().map(|listener| listener.local_addr().url(tls)).collect()
    }

    /// Where clients of the pair relay reach the node, one URL per listener of `relay.listen`; an id is to follow.
    #[must_use]
    pub fn relay_urls(&self) -> Vec<String> {
        let (tls, path) = (self.door.tls.is_some(), self.node.config().relay.path());
        let url = |listener: &Listener| match listener.local_addr() {
            at @ LocalAddress::Tcp(_) => format!("{}{path}", at.url(tls)),
            at @ (LocalAddress::Unix(_) | LocalAddress::Memory) => at.url(tls),
        };
        self.relays.iter().map(url).collect()
    }

    /// The SHA-256 fingerprint of the certificate, for clients that pin it.
    #[must_use]
    pub fn fingerprint(&self) -> Option<String> {
        self.door.tls.as_ref().map(|tls| tls.fingerprint().to_string())
    }

    /// A handle to reload with.
    #[must_use]
    pub fn handle(&self) -> Handle {
        Handle(Arc::clone(&self.node), self.door.tls.clone())
    }

    /// Serves until `shutdown` resolves, then stops gracefully: no new connections, clients told to go elsewhere,
    /// calls in flight finished, for at most `limits.drain`.
    pub async fn run(self, shutdown: impl Future<Output = ()>) {
        let mut accepting = JoinSet::new();
        let hub = self.listeners.into_iter().map(|listener| (listener, House::Hub));
        let relay = self.relays.into_iter().map(|listener| (listener, House::Relay));
        for (listener, house) in hub.chain(relay) {
            accepting.spawn(accept(Arc::clone(&self.node), self.door.clone(), listener, house));
        }
        if let Some(tls) = self.door.tls.clone() {
            accepting.spawn(tls.watch(CERTIFICATE_CHECK));
        }
        if self.node.reloader().is_some() {
            accepting.spawn(reload::watch(Arc::clone(&self.node)));
        }
        let mut ushering = JoinSet::new();
        ushering.spawn(usher::run(Arc::clone(&self.node.hub)));
        ushering.spawn(usher::run_rooms(Arc::clone(&self.node.hub)));
        let (discovery, hub) = (Arc::clone(&self.node.discovery), Arc::clone(&self.node.hub));
        ushering.spawn(async move { discovery.run(&hub).await });
        shutdown.await;
        accepting.shutdown().await;
        tokio::join!(drain(&self.node), self.modules.drain(self.node.config().limits.drain));
        tokio::join!(self.modules.stop(), self.node.routes.halt());
        ushering.shutdown().await;
    }
}

impl ServerBuilder {
    /// What clients see as the node's name.
    pub fn name(self, name: &str) -> Self {
        Self { name: name.to_owned(), ..self }
    }

    /// Adds a module. There is one of each type; the order does not matter.
    pub fn module(mut self, module: impl Module) -> Self {
        self.modules.push(modules::boxed(module));
        self
    }

    /// Where the configuration can be read again. Without it the node keeps what it was given, but for
    /// [`Handle::reload`].
    pub fn source(mut self, source: impl ConfigSource) -> Self {
        self.source = Some(Arc::new(source));
        self
    }

    /// Binds every listener of the configuration and starts the modules. Nothing is accepted before
    /// [`Server::run`]; a server that is dropped instead does not stop its modules.
    ///
    /// # Errors
    /// When a listener cannot be had, the certificate is no good, or a module cannot start.
    pub async fn build(self) -> Result<Server, StartError> {
        let Self { config, name, modules, source } = self;
        let counters = Arc::new(TransportCounters::default());
        let limits = AdmissionLimits {
            young_connections: config.limits.young_connections,
            connections_per_address: config.limits.connections_per_address.unwrap_or(0),
        };
        let door = Door {
            tls: tls(&config)?,
            proxies: Arc::new(config.proxy_protocol.from.clone()),
            step_within: config.limits.first_request,
            admission: Admission::new(limits, Arc::clone(&counters)),
            counters: Arc::clone(&counters),
        };
        let mut listeners = Vec::with_capacity(config.listen.len());
        for address in &config.listen {
            listeners.push(Listener::bind(address, Arc::clone(&counters)).await?);
        }
        let mut relays = Vec::with_capacity(config.relay.listen.len());
        for address in &config.relay.listen {
            relays.push(Listener::bind(address, Arc::clone(&counters)).await?);
        }
        let bound: Vec<ListenAddress> = listeners.iter().chain(&relays).filter_map(tcp).collect();
        if let Some(itself) = itself(&config.endpoints, &bound) {
            return Err(StartError::Itself(itself));
        }
        let node = Arc::new(Node::new(config, &name, counters));
        // For what the configuration wants to be recorded from the first call on.
        node.seat_inspector();
        node.listens(listeners.iter().map(|listener| listener.local_addr().to_string()).collect());
        if let Some(source) = source {
            node.reloads(Reloader::new(source, door.tls.clone(), bound, &node.config()));
        }
        let registry = Registry::new(modules, Handle(Arc::clone(&node), door.tls.clone()))?;
        let modules = Modules::start(registry, Arc::clone(&node)).await?;
        if let Some(name) = node.chain.unknown(&node.config()) {
            let error = StartError::Middleware(name.to_owned());
            modules.stop().await;
            return Err(error);
        }
        Ok(Server { node, door, listeners, relays, modules })
    }
}

impl Handle {
    pub(crate) fn node(&self) -> &Arc<Node> {
        &self.0
    }

    /// The node's tables and counters.
    #[must_use]
    pub fn hub(&self) -> &Arc<Hub> {
        &self.0.hub
    }

    /// Has this node pass calls on to the services of another one in this process, which keeps the providers. Services
    /// of this node come first. They part when what this returns is dropped.
    pub fn join(&self, service_node: &Self) -> Joined {
        whub_core::join(self.hub(), service_node.hub(), Arc::new(connection::now))
    }

    /// Adds a step to the chain of every call, in the place of one with its name. Where `middleware.order` names it, it
    /// stands there, otherwise it is the last. Calls under way do not see it.
    pub fn add_middleware(&self, step: Arc<dyn Middleware>) {
        self.0.chain.add(&self.0.hub, &self.0.config(), step);
    }

    /// Takes a step out of the chain that was added. Calls under way still see it.
    pub fn remove_middleware(&self, name: &str) {
        self.0.chain.remove(&self.0.hub, &self.0.config(), name);
    }

    /// Ends at once what the node runs beside itself, the processes of its endpoints: for a program that will not wait
    /// until [`Server::run`] has ended them in peace.
    pub fn abandon(&self) {
        self.0.routes.kill();
    }

    /// Reads the configuration again from where it comes from, and puts into force what can change while running; the
    /// log tells what. It may block for as long as files take.
    ///
    /// # Errors
    /// When the node has no [source](ServerBuilder::source), or the configuration has problems: then all stays as it is.
    pub fn reread(&self) -> Result<Plan, RereadError> {
        self.0.reread()
    }

    /// What [`reread`](Self::reread) would change.
    ///
    /// # Errors
    /// The same.
    pub fn plan(&self) -> Result<Plan, RereadError> {
        self.0.plan()
    }

    /// Puts a new configuration into force, as far as it can change while running. Also re-reads the certificate.
    pub fn reload(&self, config: Config) {
        self.0.reload(config);
        let Some(tls) = &self.1 else { return };
        if let Err(error) = tls.reload() {
            tracing::error!("the certificate was not replaced: {error}");
        }
    }
}

/// The address that a listener has got, where it is one that can be dialled.
fn tcp(listener: &Listener) -> Option<ListenAddress> {
    match listener.local_addr() {
        LocalAddress::Tcp(at) => Some((*at).into()),
        LocalAddress::Unix(_) | LocalAddress::Memory => None,
    }
}

fn tls(config: &Config) -> Result<Option<TlsAcceptor>, StartError> {
    let acceptor = match (&config.tls.cert, &config.tls.key) {
        (Some(cert), Some(key)) => TlsAcceptor::from_files(cert, key),
        _ if config.tls.self_signed => TlsAcceptor::self_signed(&config.http.allowed_hosts),
        _ => return Ok(None),
    };
    acceptor.map(Some).map_err(|error| StartError::Certificate(error.into()))
}

async fn accept(node: Arc<Node>, door: Door, listener: Listener, house: House) {
    loop {
        let (accepted, young) = door.next(&listener).await;
        let (node, door) = (Arc::clone(&node), door.clone());
        tokio::spawn(async move {
            let peer = accepted.peer;
            match door.open(accepted, young).await {
                Ok(opened) => greet(node, opened, house),
                Err(refusal) => tracing::debug!(%peer, "turned away: {refusal}"),
            }
        });
    }
}

fn greet(node: Arc<Node>, opened: Opened, house: House) {
    match opened.talk {
        // Each conversation gets a task of its own size: what the door needed is freed.
        Talk::Http => drop(tokio::spawn(http::serve(node, opened, house))),
        Talk::Own if house == House::Relay => {
            tracing::debug!(peer = %opened.peer, "turned away: the relay's listener takes WebSockets only");
        }
        Talk::Own => drop(tokio::spawn(speak(node, opened))),
    }
}

/// The whub protocol on a stream of bytes.
async fn speak(node: Arc<Node>, opened: Opened) {
    let Opened { stream, peer, young, seat, .. } = opened;
    // The session's own deadline for Hello takes over.
    young.proved();
    let peer = Peer { client: node.client_name(), address: address(&peer), token: None };
    connection::run_session(node, stream, Vec::new(), Dialect::Stream, None, peer).await;
    drop(seat);
}

/// A peer's address as clients and logs see it.
pub(crate) fn address(peer: &PeerAddress) -> Box<str> {
    peer.to_string().into()
}

/// Waits until every session has ended, at most as long as calls in flight may take.
async fn drain(node: &Node) {
    let grace = node.config().limits.drain;
    node.stop(grace);
    let mut present = node.present();
    if tokio::time::timeout(grace, present.wait_for(|present| *present == 0)).await.is_err() {
        tracing::warn!(sessions = node.sessions(), "the time for draining is over; closing what is left");
        node.tell_all(|| whub_core::Letter::Kick(whub_core::Fault::draining()));
        let _ = tokio::time::timeout(LAST_WORDS, present.wait_for(|present| *present == 0)).await;
    }
}

/// How long a kicked session may take to say why.
const LAST_WORDS: Duration = Duration::from_millis(500);
