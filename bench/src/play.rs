//! One cell on one server: open the connections, then let the load run.

use std::net::SocketAddr;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use crate::cell::{Contestant, Shape};
use crate::dial::Line;
use crate::fault::Fault;
use crate::load::call::Calls;
use crate::load::fanout::Fanout;
use crate::load::http::Requests;
use crate::load::lanes::{Framing, Lanes};
use crate::load::stream::{Source, Way};
use crate::load::{idle, storm};
use crate::net::{Load, Net};
use crate::proc;
use crate::run::{Sample, measure, measure_until};
use crate::server::Server;
use crate::wire::whub::{Provider, Whub, WhubCalls};
use crate::wire::{mqtt, nats, whub};

const SMALL: usize = 128;
/// What a half of a pair is told.
const WAITING: &[u8] = b"/status:waiting";
const CONNECTED: &[u8] = b"/status:connected";

/// Runs the cell for `span` and returns what was measured.
pub(crate) fn play(
    shape: Shape,
    contestant: &Contestant,
    server: &Server,
    span: Duration,
) -> Result<Sample, Fault> {
    match shape {
        Shape::Echo { conns, window, len, per_second } => {
            let framing = framing(contestant);
            let mut lanes = Lanes::new(framing, len, window);
            if let Some(per_second) = per_second {
                lanes = lanes.at_rate(per_second);
            }
            (0..conns).for_each(|_| lanes.add_echo());
            let lines = (0..conns).map(|_| match framing {
                Framing::Raw => Line::tcp(server.addr),
                Framing::WebSocket | Framing::Frames => Line::websocket(server.addr, &server.echo_path, None),
            });
            drive(lines, &mut lanes, server, span)
        }
        Shape::Flow { pairs, window, len } => {
            let framing = framing(contestant);
            let mut lanes = Lanes::new(framing, len, window);
            (0..pairs).for_each(|_| lanes.add_flow());
            drive(halves(server.addr, framing, pairs), &mut lanes, server, span)
        }
        Shape::Rtt { pairs } => {
            let framing = framing(contestant);
            let mut lanes = Lanes::new(framing, SMALL, 1);
            (0..pairs).for_each(|_| lanes.add_rtt());
            drive(halves(server.addr, framing, pairs), &mut lanes, server, span)
        }
        Shape::Fanout { subscribers, burst } => fanout(contestant, server, subscribers, burst, span),
        Shape::Call { callers } => call(contestant, server, callers, span),
        Shape::Fair { callers, providers } => fair(server, callers, providers),
        Shape::Stream(way) => stream(contestant, server, way, span),
        Shape::Http { conns } => {
            let behind = *contestant == Contestant::Whub;
            let provider = behind.then(Provider::new).transpose()?;
            let mut requests = Requests::new(server.addr, whub::HTTP_PATH, conns, provider);
            let lines = (0..conns).map(|_| Line::tcp(server.addr));
            drive(lines.chain(behind.then(|| whub::http_provider(server.addr))), &mut requests, server, span)
        }
        Shape::IdlePairs => memory(server, |n| waiting_half(server.addr, n)),
        Shape::IdleJson => memory(server, |n| whub::json_subscriber(server.addr, n)),
        Shape::Storm => upgrades(server),
    }
}

/// Adds the opened connections, in order, and lets the load run over them.
fn drive(
    lines: impl Iterator<Item = Result<Line, Fault>>,
    load: &mut impl Load,
    server: &Server,
    span: Duration,
) -> Result<Sample, Fault> {
    let mut net = Net::new()?;
    for line in lines {
        let (stream, early) = line?.into_parts();
        net.add(stream, early)?;
    }
    measure(&mut net, load, || server.pids(), span)
}

fn framing(contestant: &Contestant) -> Framing {
    match contestant {
        Contestant::Raw | Contestant::RawRelay => Framing::Raw,
        Contestant::WhubV1 => Framing::Frames,
        Contestant::Whub
        | Contestant::WhubFree
        | Contestant::WhubExpose
        | Contestant::WhubGateway
        | Contestant::WhubGatewayFree
        | Contestant::Direct
        | Contestant::Nats
        | Contestant::NatsFree
        | Contestant::Mosquitto
        | Contestant::Nginx
        | Contestant::Haproxy
        | Contestant::NginxWs
        | Contestant::NginxWsFree
        | Contestant::HaproxyWs
        | Contestant::HaproxyWsFree
        | Contestant::NginxStream
        | Contestant::HaproxyStream
        | Contestant::Frp
        | Contestant::FrpStream
        | Contestant::Peer(_) => Framing::WebSocket,
    }
}

/// Both halves of each pair, one after the other, once they have met.
fn halves(addr: SocketAddr, framing: Framing, pairs: usize) -> impl Iterator<Item = Result<Line, Fault>> {
    // Ids are new in every run, lest an old half still waits.
    static RUNS: AtomicUsize = AtomicUsize::new(0);
    let run = RUNS.fetch_add(1, Ordering::Relaxed);
    (0..pairs).flat_map(move |pair| {
        let met = match framing {
            Framing::Raw => meet_raw(addr),
            Framing::WebSocket => meet(addr, &format!("/pair/bench-{run}-{pair}")),
            Framing::Frames => whub::halves(addr, &format!("bench-{run}-{pair}")),
        };
        match met {
            Ok(halves) => halves.map(Ok).into_iter().collect::<Vec<_>>(),
            Err(fault) => vec![Err(fault)],
        }
    })
}

fn meet(addr: SocketAddr, path: &str) -> Result<[Line; 2], Fault> {
    let mut halves = [Line::websocket(addr, path, None)?, Line::websocket(addr, path, None)?];
    for half in &mut halves {
        half.receive_until(CONNECTED)?;
    }
    Ok(halves)
}

fn meet_raw(addr: SocketAddr) -> Result<[Line; 2], Fault> {
    Ok([Line::tcp(addr)?, Line::tcp(addr)?])
}

fn waiting_half(addr: SocketAddr, nth: usize) -> Result<Line, Fault> {
    let mut half = Line::websocket(addr, &format!("/pair/idle-{nth}"), None)?;
    half.receive_until(WAITING)?;
    Ok(half)
}

fn fanout(
    contestant: &Contestant,
    server: &Server,
    subscribers: usize,
    burst: u64,
    span: Duration,
) -> Result<Sample, Fault> {
    let addr = server.addr;
    let all = 0..subscribers;
    match contestant {
        Contestant::Nats | Contestant::NatsFree => {
            let template = nats::publish_template(SMALL);
            let broker = nats::Nats::new(subscribers + 1);
            let mut load = Fanout::new(broker, template, SMALL, subscribers, burst);
            let lines = all.map(|_| nats::subscriber(addr)).chain([nats::publisher(addr)]);
            drive(lines, &mut load, server, span)
        }
        Contestant::Mosquitto => {
            let template = mqtt::publish_template(SMALL);
            let broker = mqtt::Mqtt::new(subscribers + 1);
            let mut load = Fanout::new(broker, template, SMALL, subscribers, burst);
            let lines = together(subscribers, || mqtt::subscriber(addr)).into_iter();
            drive(lines.chain([mqtt::publisher(addr)]), &mut load, server, span)
        }
        Contestant::Whub | Contestant::WhubFree => {
            let template = whub::publish_template(SMALL)?;
            let mut load = Fanout::new(Whub, template, SMALL, subscribers, burst);
            let lines = all.map(|_| whub::subscriber(addr)).chain([whub::client(addr)]);
            drive(lines, &mut load, server, span)
        }
        Contestant::Raw
        | Contestant::RawRelay
        | Contestant::WhubV1
        | Contestant::WhubExpose
        | Contestant::WhubGateway
        | Contestant::WhubGatewayFree
        | Contestant::Direct
        | Contestant::Nginx
        | Contestant::Haproxy
        | Contestant::NginxWs
        | Contestant::NginxWsFree
        | Contestant::HaproxyWs
        | Contestant::HaproxyWsFree
        | Contestant::NginxStream
        | Contestant::HaproxyStream
        | Contestant::Frp
        | Contestant::FrpStream
        | Contestant::Peer(_) => Err(Fault::protocol("no broker")),
    }
}

fn call(contestant: &Contestant, server: &Server, callers: usize, span: Duration) -> Result<Sample, Fault> {
    let addr = server.addr;
    match contestant {
        Contestant::Nats | Contestant::NatsFree => {
            let mut load = Calls::new(nats::NatsCalls::new(callers, SMALL), SMALL, callers, 1);
            let lines = (0..callers).map(|nth| nats::caller(addr, nth));
            drive(lines.chain([nats::provider(addr)]), &mut load, server, span)
        }
        Contestant::Whub | Contestant::WhubFree => {
            let mut load = Calls::new(WhubCalls::new(SMALL)?, SMALL, callers, 1);
            let lines = (0..callers).map(|_| whub::client(addr));
            drive(lines.chain([whub::provider(addr)]), &mut load, server, span)
        }
        Contestant::Raw
        | Contestant::RawRelay
        | Contestant::WhubV1
        | Contestant::WhubExpose
        | Contestant::WhubGateway
        | Contestant::WhubGatewayFree
        | Contestant::Direct
        | Contestant::Mosquitto
        | Contestant::Nginx
        | Contestant::Haproxy
        | Contestant::NginxWs
        | Contestant::NginxWsFree
        | Contestant::HaproxyWs
        | Contestant::HaproxyWsFree
        | Contestant::NginxStream
        | Contestant::HaproxyStream
        | Contestant::Frp
        | Contestant::FrpStream
        | Contestant::Peer(_) => Err(Fault::protocol("no calls")),
    }
}

/// Calls until every provider has had its share, however long that takes.
fn fair(server: &Server, callers: usize, providers: usize) -> Result<Sample, Fault> {
    let mut net = Net::new()?;
    let lines = (0..callers).map(|_| whub::client(server.addr));
    for line in lines.chain((0..providers).map(|_| whub::provider(server.addr))) {
        let (stream, early) = line?.into_parts();
        net.add(stream, early)?;
    }
    let mut load = Calls::new(WhubCalls::new(SMALL)?, SMALL, callers, providers);
    let enough = |load: &mut Calls<WhubCalls>| load.extremes().0 >= SHARE;
    let mut sample = measure_until(&mut net, &mut load, || server.pids(), (SETTLED, FAIR_SPAN), enough)?;
    let (least, most) = load.extremes();
    sample.insert("least", least as f64);
    sample.insert("spread", most as f64 / least as f64);
    Ok(sample)
}

/// Calls that every provider is to have at least.
const SHARE: u64 = 2_000;
/// Time until all callers are at it.
const SETTLED: Duration = Duration::from_millis(200);
/// Longest time until everybody has had that.
const FAIR_SPAN: Duration = Duration::from_secs(120);

/// A long body, after a short one that lets the server grow to its size. What is counted are MiB.
fn stream(contestant: &Contestant, server: &Server, way: Way, span: Duration) -> Result<Sample, Fault> {
    let source = |bytes| match (contestant, server.upstream()) {
        (Contestant::Direct, _) => Source::direct(way, bytes),
        (_, Some(upstream)) => Source::proxied(server.addr, upstream, way, bytes),
        (_, None) => Source::behind(server.addr, way, bytes),
    };
    source(STREAM_BYTES / 32)?.transfer(way, STREAM_BYTES / 32)?;
    // The figures of a quick run do not count.
    let bytes = if span < Duration::from_millis(500) { STREAM_BYTES / 16 } else { STREAM_BYTES };
    let pids = server.pids()?;
    let (before, cpu) = (proc::memory(&pids)?.rss_kib, proc::run_time(&pids)?);
    let own = [std::process::id()];
    let own_cpu = proc::run_time(&own)?;
    let source = source(bytes)?;
    let began = Instant::now();
    let transfer = std::thread::spawn(move || source.transfer(way, bytes));
    let (mut most, mut own_until) = (before, own_cpu);
    while !transfer.is_finished() {
        most = most.max(proc::memory(&pids)?.rss_kib);
        // Read while the threads are there: what has ended is not counted any more.
        own_until = own_until.max(proc::run_time(&own)?);
        std::thread::sleep(Duration::from_millis(20));
    }
    transfer.join().map_err(|_| Fault::Nothing)??;
    let (seconds, mib) = (began.elapsed().as_secs_f64(), (bytes >> 20) as f64);
    let own_cpu = own_until.saturating_sub(own_cpu);
    let mut sample =
        Sample::from([("per_s", mib / seconds), ("generator_load", own_cpu.as_secs_f64() / seconds)]);
    if !pids.is_empty() {
        let cpu = proc::run_time(&pids)?.saturating_sub(cpu);
        sample.insert("cpu_us", cpu.as_secs_f64() * 1e6 / mib);
        sample.insert("server_load", cpu.as_secs_f64() / seconds);
        sample.insert("grown_kib", most.saturating_sub(before) as f64);
    }
    Ok(sample)
}

/// What a stream carries.
const STREAM_BYTES: u64 = 1 << 30;

/// Opens many connections at once, for servers that are slow to answer each step.
fn together(count: usize, open: impl Fn() -> Result<Line, Fault> + Sync) -> Vec<Result<Line, Fault>> {
    const AT_ONCE: usize = 50;
    let mut lines = Vec::with_capacity(count);
    while lines.len() < count {
        let some = AT_ONCE.min(count - lines.len());
        std::thread::scope(|scope| {
            let opening: Vec<_> = (0..some).map(|_| scope.spawn(&open)).collect();
            lines.extend(opening.into_iter().map(|line| line.join().unwrap_or(Err(Fault::Nothing))));
        });
    }
    lines
}

fn memory(server: &Server, open: impl FnMut(usize) -> Result<Line, Fault>) -> Result<Sample, Fault> {
    visit(server.addr)?;
    let slope = idle::slope(&server.pids()?, open)?;
    Ok(Sample::from([("rss_kib", slope.rss_kib), ("pss_kib", slope.pss_kib)]))
}

/// A few visitors before: what a server keeps per session also depends on the state in which they left its heap,
/// and a server that nobody has visited yet is the exception.
fn visit(addr: SocketAddr) -> Result<(), Fault> {
    drop(Line::tcp(addr)?);
    for _ in 0..3 {
        Line::tcp(addr)?.fetch("/healthz")?;
    }
    Ok(())
}

fn upgrades(server: &Server) -> Result<Sample, Fault> {
    // One proxied upgrade first, so that late workers are there to be counted.
    drop(Line::websocket(server.addr, "/pair/before-the-storm", None)?);
    let pids = server.pids()?;
    let (began, before) = (Instant::now(), proc::run_time(&pids)?);
    let meter = storm::run(server.addr, |n| format!("/pair/storm-{n}"))?;
    let cpu = proc::run_time(&pids)?.saturating_sub(before);
    let (seconds, done) = (began.elapsed().as_secs_f64(), meter.done as f64);
    Ok(Sample::from([
        ("per_s", done / seconds),
        ("per_cpu_s", done / cpu.as_secs_f64()),
        ("cpu_us", cpu.as_secs_f64() * 1e6 / done),
        ("server_load", cpu.as_secs_f64() / seconds),
        ("p50_us", meter.latency_us(0.5)),
        ("p99_us", meter.latency_us(0.99)),
    ]))
}
