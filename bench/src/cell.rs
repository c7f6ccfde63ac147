//! The cells of the table: what is done, on which servers, and which figure is to be reached.

use Contestant::{
    Direct, Frp, FrpStream, Haproxy, HaproxyStream, HaproxyWs, HaproxyWsFree, Mosquitto, Nats, NatsFree,
    Nginx, NginxStream, NginxWs, NginxWsFree, Raw, RawRelay, Whub, WhubExpose, WhubFree, WhubGateway,
    WhubGatewayFree, WhubV1,
};

use crate::load::stream::Way;

/// What a cell does.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Shape {
    /// Messages that come back on their own connection; `per_second` makes it an open loop.
    Echo { conns: usize, window: u64, len: usize, per_second: Option<u64> },
    /// Messages from one half of a pair to the other.
    Flow { pairs: usize, window: u64, len: usize },
    /// Messages from one half to the other and back, one under way per pair.
    Rtt { pairs: usize },
    /// Bursts from one publisher to many subscribers.
    Fanout { subscribers: usize, burst: u64 },
    /// Calls, one under way per caller, one provider.
    Call { callers: usize },
    /// Calls from many callers to many providers, until each of them has had its share.
    Fair { callers: usize, providers: usize },
    /// HTTP requests, one under way per connection.
    Http { conns: usize },
    /// One long body over HTTP.
    Stream(Way),
    /// Memory of waiting halves of pairs.
    IdlePairs,
    /// Memory of JSON sessions with one subscription each.
    IdleJson,
    /// WebSockets opened as fast as they are taken.
    Storm,
}

/// Who takes part.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Contestant {
    /// The raw TCP echo.
    Raw,
    /// The raw TCP relay: a pair without framing, the floor of pair cells.
    RawRelay,
    /// The hub.
    Whub,
    /// The hub, on all cores.
    WhubFree,
    /// The hub, by its own protocol where it could be had without.
    WhubV1,
    /// The hub and `whub expose`, which brings it an application.
    WhubExpose,
    /// The hub's gateway, before an echo in another process.
    WhubGateway,
    /// The same, on all cores.
    WhubGatewayFree,
    /// Nothing between the two ends.
    Direct,
    /// nats-server.
    Nats,
    /// nats-server, on all cores.
    NatsFree,
    /// Mosquitto.
    Mosquitto,
    /// nginx as reverse proxy.
    Nginx,
    /// HAProxy as reverse proxy.
    Haproxy,
    /// nginx with larger buffers, before the gateway's echo.
    NginxWs,
    /// The same with two workers, on all cores.
    NginxWsFree,
    /// HAProxy with larger buffers, before the gateway's echo.
    HaproxyWs,
    /// The same, on all cores.
    HaproxyWsFree,
    /// nginx, set up for long bodies, before the other end of a stream.
    NginxStream,
    /// HAProxy, likewise.
    HaproxyStream,
    /// frp's HTTP proxy: frps, and frpc before the application.
    Frp,
    /// The same before the other end of a stream.
    FrpStream,
    /// A WebSocket echo by address.
    Peer(String),
}

impl Contestant {
    /// How the table calls it.
    pub(crate) fn name(&self) -> &str {
        match self {
            Self::Raw => "raw",
            Self::RawRelay => "raw-relay",
            Self::Whub => "whub",
            Self::WhubFree => "whub-free",
            Self::WhubV1 => "whub-v1",
            Self::WhubExpose => "whub-expose",
            Self::WhubGateway => "whub-gateway",
            Self::WhubGatewayFree => "whub-gateway-free",
            Self::Direct => "direct",
            Self::Nats => "nats",
            Self::NatsFree => "nats-free",
            Self::Mosquitto => "mosquitto",
            Self::Nginx => "nginx",
            Self::Haproxy => "haproxy",
            Self::NginxWs => "nginx-ws",
            Self::NginxWsFree => "nginx-ws-free",
            Self::HaproxyWs => "haproxy-ws",
            Self::HaproxyWsFree => "haproxy-ws-free",
            Self::NginxStream => "nginx-stream",
            Self::HaproxyStream => "haproxy-stream",
            Self::Frp => "frp",
            Self::FrpStream => "frp-stream",
            Self::Peer(name) => name,
        }
    }
}

/// A figure to reach.
#[derive(Clone, Debug)]
pub(crate) struct Target {
    /// Who has to reach it.
    pub(crate) who: Contestant,
    /// Which measured value.
    pub(crate) measure: &'static str,
    /// Divided by the same value of this cell and server, of several by the best of the round; absolute without.
    pub(crate) against: Vec<(&'static str, Contestant)>,
    /// The limit.
    pub(crate) limit: f64,
    /// True if the value must not be below the limit, false if not above.
    pub(crate) at_least: bool,
}

/// One cell of the table.
#[derive(Clone, Debug)]
pub(crate) struct Cell {
    /// Name, for the table and for `--cells`.
    pub(crate) name: &'static str,
    /// What is done.
    pub(crate) shape: Shape,
    /// The raw echo cell whose figures this cell's are divided by.
    pub(crate) raw: Option<&'static str>,
    /// Who does it, besides peers by address.
    pub(crate) contestants: Vec<Contestant>,
    /// What is to be reached.
    pub(crate) targets: Vec<Target>,
}

/// A figure of several cells together: the geometric mean of what they reach in a round.
#[derive(Clone, Debug)]
pub(crate) struct Mean {
    /// Who has to reach it.
    pub(crate) who: Contestant,
    /// The cells, each with a target for that server and this measure.
    pub(crate) cells: Vec<&'static str>,
    /// Which measured value.
    pub(crate) measure: &'static str,
    /// The limit that it must not exceed.
    pub(crate) limit: f64,
}

impl Mean {
    /// Whether it is made of what this target reaches.
    pub(crate) fn is_of(&self, target: &Target) -> bool {
        target.who == self.who && target.measure == self.measure
    }
}

const SMALL: usize = 128;
const LARGE: usize = 16 * 1024;

/// All cells, in the order of the table.
pub(crate) fn all() -> Vec<Cell> {
    let mut cells = echoes();
    cells.extend(pairs());
    cells.extend(brokers());
    cells.extend(doors());
    cells.extend(gateways());
    cells
}

/// All figures of several cells.
pub(crate) fn means() -> Vec<Mean> {
    let gateway = |who, measure| Mean { who, cells: GATEWAYS.to_vec(), measure, limit: 1.05 };
    vec![
        gateway(WhubGateway, "cpu_us"),
        gateway(WhubGateway, "p50_us"),
        gateway(WhubGatewayFree, "cpu_us"),
        gateway(WhubGatewayFree, "p50_us"),
    ]
}

fn cell(name: &'static str, shape: Shape, raw: Option<&'static str>, contestants: &[Contestant]) -> Cell {
    Cell { name, shape, raw, contestants: contestants.to_vec(), targets: Vec::new() }
}

impl Target {
    fn by(mut self, who: Contestant) -> Self {
        self.who = who;
        self
    }
}

impl Cell {
    fn with(mut self, target: Target) -> Self {
        self.targets.push(target);
        self
    }
}

fn echoes() -> Vec<Cell> {
    let echo = |name, conns, window, len, per_second| {
        let shape = Shape::Echo { conns, window, len, per_second };
        cell(name, shape, Some(name), &[Raw, Whub])
    };
    vec![
        echo("echo-1x1", 1, 1, SMALL, None),
        echo("echo-64x1", 64, 1, SMALL, None),
        echo("echo-64x16", 64, 16, SMALL, None).with(at_most("cpu_us", "echo-64x16", Raw, 1.26)),
        echo("echo-16k-8x4", 8, 4, LARGE, None),
        echo("echo-open-20k", 64, 0, SMALL, Some(20_000)),
    ]
}

fn pairs() -> Vec<Cell> {
    let flow = |pairs, window, len| Shape::Flow { pairs, window, len };
    vec![
        cell("pair-rtt-1", Shape::Rtt { pairs: 1 }, Some("echo-1x1"), &[RawRelay, Whub, WhubV1]),
        cell("pair-rtt-64", Shape::Rtt { pairs: 64 }, Some("echo-64x1"), &[RawRelay, Whub, WhubV1]),
        cell("pair-64x8", flow(64, 8, SMALL), Some("echo-64x16"), &[RawRelay, Whub, WhubV1])
            .with(at_most("cpu_us", "echo-64x16", Raw, 2.4))
            .with(at_most("cpu_us", "echo-64x16", Raw, 2.4).by(WhubV1)),
        cell("pair-16k-8x4", flow(8, 4, LARGE), Some("echo-16k-8x4"), &[RawRelay, Whub, WhubV1])
            .with(at_most("cpu_us", "echo-16k-8x4", Raw, 1.5)),
    ]
}

fn brokers() -> Vec<Cell> {
    let fan = |name, raw, burst, contestants: &[Contestant]| {
        cell(name, Shape::Fanout { subscribers: 1_000, burst }, Some(raw), contestants)
            .with(at_most("cpu_us", name, Nats, 0.55))
            .with(at_most("cpu_us", name, NatsFree, 0.55).by(WhubFree))
    };
    let call = |name, raw, callers| {
        cell(name, Shape::Call { callers }, Some(raw), &[Whub, Nats, WhubFree, NatsFree])
            .with(at_most("cpu_us", name, Nats, 1.0))
            .with(at_most("p50_us", name, Nats, 1.0))
            .with(at_most("cpu_us", name, NatsFree, 1.0).by(WhubFree))
            .with(at_most("p50_us", name, NatsFree, 1.0).by(WhubFree))
    };
    vec![
        fan("fanout-1", "echo-64x1", 1, &[Whub, Nats, WhubFree, NatsFree, Mosquitto]),
        fan("fanout-16", "echo-64x16", 16, &[Whub, Nats, WhubFree, NatsFree]),
        call("call-1", "echo-1x1", 1),
        call("call-64", "echo-64x1", 64),
        cell("fair", Shape::Fair { callers: 1_000, providers: 100 }, None, &[Whub])
            .with(absolute("spread", 1.2))
            .with(Target { at_least: true, ..absolute("least", 2_000.0) }),
    ]
}

fn doors() -> Vec<Cell> {
    let stream = |name, way| {
        cell(name, Shape::Stream(way), None, &[Direct, Whub, NginxStream, HaproxyStream, FrpStream])
            .with(at_least("per_s", name, Direct, 0.6))
            .with(absolute("grown_kib", 8.0 * 1024.0))
    };
    vec![
        cell("http-64", Shape::Http { conns: 64 }, Some("echo-64x1"), &[Whub, Nginx, Haproxy])
            .with(at_least("per_cpu_s", "http-64", Nginx, 0.8)),
        // The same application behind each: what the hub and the exposer use together is counted.
        cell("expose-64", Shape::Http { conns: 64 }, Some("echo-64x1"), &[WhubExpose, Frp, Nginx, Haproxy])
            .with(at_most("cpu_us", "expose-64", Frp, 1.0).by(WhubExpose))
            .with(at_most("p50_us", "expose-64", Frp, 1.0).by(WhubExpose)),
        stream("stream-down", Way::Down),
        stream("stream-up", Way::Up),
        cell("idle-pair", Shape::IdlePairs, None, &[Whub]).with(absolute("rss_kib", 6.0)),
        cell("idle-json", Shape::IdleJson, None, &[Whub]).with(absolute("rss_kib", 6.0)),
        cell("storm", Shape::Storm, None, &[Whub, Nginx]).with(at_least("per_cpu_s", "storm", Nginx, 0.5)),
    ]
}

const GATEWAYS: [&str; 4] = ["gateway-1x1", "gateway-64x1", "gateway-64x16", "gateway-16k-8x4"];

/// One hop before a WebSocket echo.
fn gateways() -> Vec<Cell> {
    let alike = [(WhubGateway, [NginxWs, HaproxyWs]), (WhubGatewayFree, [NginxWsFree, HaproxyWsFree])];
    let echo = |nth: usize, raw, conns, window, len| {
        let name = GATEWAYS[nth];
        let mut echo = cell(name, Shape::Echo { conns, window, len, per_second: None }, Some(raw), &[]);
        for (who, others) in &alike {
            echo.contestants.push(who.clone());
            echo.contestants.extend(others.iter().cloned());
            let against = others.clone().map(|other| (name, other)).to_vec();
            for measure in ["cpu_us", "p50_us"] {
                let (who, against) = (who.clone(), against.clone());
                echo.targets.push(Target { who, measure, against, limit: 1.25, at_least: false });
            }
        }
        echo
    };
    vec![
        echo(0, "echo-1x1", 1, 1, SMALL),
        echo(1, "echo-64x1", 64, 1, SMALL),
        echo(2, "echo-64x16", 64, 16, SMALL),
        echo(3, "echo-16k-8x4", 8, 4, LARGE),
    ]
}

/// The cells whose name begins with one of `wanted` (all if it is empty), and those they are compared with.
pub(crate) fn chosen(wanted: &[String]) -> Vec<Cell> {
    let all = all();
    let is_wanted =
        |cell: &&Cell| wanted.is_empty() || wanted.iter().any(|w| cell.name.starts_with(w.as_str()));
    let names: Vec<&str> = all
        .iter()
        .filter(is_wanted)
        .flat_map(|cell| {
            let against = cell.targets.iter().flat_map(|target| target.against.iter().map(|(cell, _)| *cell));
            against.chain(cell.raw).chain([cell.name])
        })
        .collect();
    all.iter().filter(|cell| names.contains(&cell.name)).cloned().collect()
}

fn at_most(measure: &'static str, cell: &'static str, server: Contestant, limit: f64) -> Target {
    Target { who: Whub, measure, against: vec![(cell, server)], limit, at_least: false }
}

fn at_least(measure: &'static str, cell: &'static str, server: Contestant, limit: f64) -> Target {
    Target { who: Whub, measure, against: vec![(cell, server)], limit, at_least: true }
}

fn absolute(measure: &'static str, limit: f64) -> Target {
    Target { who: Whub, measure, against: Vec::new(), limit, at_least: false }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_target_refers_to_a_contestant_of_its_cell() {
        let all = all();
        for (cell, server) in all.iter().flat_map(|cell| &cell.targets).flat_map(|t| &t.against) {
            let found = all.iter().find(|other| other.name == *cell).expect("a cell of this name");
            assert!(found.contestants.contains(server), "{cell} has no {}", server.name());
        }
        for mean in means() {
            let has_target = |name| {
                let cell = all.iter().find(|cell| cell.name == name).expect("a cell of this name");
                cell.targets.iter().any(|target| mean.is_of(target))
            };
            assert!(mean.cells.iter().all(|name| has_target(*name)), "{mean:?}");
        }
        for cell in &all {
            assert!(
                cell.targets.iter().all(|target| cell.contestants.contains(&target.who)),
                "{}",
                cell.name
            );
        }
    }

    #[test]
    fn a_choice_brings_along_what_it_is_compared_with() {
        let names: Vec<_> = chosen(&["pair-64".to_owned()]).iter().map(|cell| cell.name).collect();
        assert_eq!(names, ["echo-64x16", "pair-64x8"]);
        assert_eq!(chosen(&[]).len(), all().len());
    }
}
