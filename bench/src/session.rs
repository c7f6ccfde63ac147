//! A whole run: every round has every cell on every server, one after the other.

use std::collections::BTreeMap;
use std::fs;
use std::io::{self, Write};
use std::process::{Command, ExitCode};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use serde_json::{Value, json};

use crate::args::Options;
use crate::cell::{self, Cell, Contestant, Shape};
use crate::fault::Fault;
use crate::fleet::{Fleet, Layout};
use crate::results::Results;
use crate::{play, proc, report};

/// Time for a server to notice that the last cell's connections are gone.
const SETTLE: Duration = Duration::from_millis(100);

/// Measures what the options ask for, prints the table and writes the files.
///
/// The exit code is a failure if any round was void.
pub(crate) fn run(options: &Options) -> Result<ExitCode, Fault> {
    let layout = layout(options)?;
    let cells = cells(options, &layout);
    if let Some(core) = layout.generator_core {
        proc::pin(core)?;
    }
    let (rounds, span) = if options.quick {
        (1, Duration::from_millis(200))
    } else {
        (options.rounds, Duration::from_secs_f64(options.seconds))
    };
    let mut conditions = conditions(&layout, rounds, span);
    let results = measure(&cells, Fleet::new(layout), rounds, span)?;
    conditions["load average at the end"] = json!(load_average());
    publish(options, &cells, &results, &conditions)?;
    let void = results.faults().next().is_some();
    Ok(if void { ExitCode::FAILURE } else { ExitCode::SUCCESS })
}

fn measure(cells: &[Cell], mut fleet: Fleet, rounds: u32, span: Duration) -> Result<Results, Fault> {
    let mut results = Results::default();
    for round in 1..=rounds {
        for cell in cells {
            for contestant in &cell.contestants {
                let sample = fleet
                    .server(contestant, cell.shape)
                    .and_then(|server| play::play(cell.shape, contestant, server, span))
                    .map_err(|fault| fault.to_string());
                fleet.retire(contestant, cell.shape);
                let outcome = sample.as_ref().map_or_else(|reason| format!("void: {reason}"), short);
                say(&format!("round {round}  {:14} {:12} {outcome}", cell.name, contestant.name()));
                results.push(cell.name, contestant, sample);
                std::thread::sleep(SETTLE);
            }
        }
    }
    Ok(results)
}

fn short(sample: &crate::run::Sample) -> String {
    let shown = ["per_s", "cpu_us", "p50_us", "rss_kib"];
    let values = shown.iter().filter_map(|name| Some(format!("{name} {:.2}", sample.get(name)?)));
    values.collect::<Vec<_>>().join("  ")
}

fn say(line: &str) {
    // Progress is a courtesy.
    let _ = writeln!(io::stderr(), "{line}");
}

fn layout(options: &Options) -> Result<Layout, Fault> {
    let whub = match &options.whub {
        Some(path) => path.clone(),
        None => std::env::current_exe().map_err(Fault::io("own path"))?.with_file_name("whub"),
    };
    let mut peers = BTreeMap::new();
    for peer in &options.peers {
        let (name, url) =
            peer.split_once('=').ok_or_else(|| Fault::protocol(format!("a peer is NAME=URL, not {peer}")))?;
        peers.insert(name.to_owned(), url.to_owned());
    }
    Ok(Layout {
        whub: whub.to_string_lossy().into_owned(),
        server_core: (!options.unpinned).then_some(options.server_core),
        generator_core: (!options.unpinned).then_some(options.generator_core),
        peers,
    })
}

fn cells(options: &Options, layout: &Layout) -> Vec<Cell> {
    let mut cells = cell::chosen(&options.cells);
    // The one peer that a machine may lack: it has to be built.
    let has_frp = Command::new("frps").arg("--version").output().is_ok();
    for cell in &mut cells {
        let is_frp = |server: &Contestant| matches!(server, Contestant::Frp | Contestant::FrpStream);
        if !has_frp && cell.contestants.iter().any(is_frp) {
            say(&format!("frp is not installed and is left out of {}", cell.name));
            cell.contestants.retain(|server| !is_frp(server));
        }
        if matches!(cell.shape, Shape::Echo { .. }) {
            cell.contestants.extend(layout.peers.keys().cloned().map(Contestant::Peer));
        }
        if !options.servers.is_empty() {
            cell.contestants.retain(|server| options.servers.iter().any(|name| name == server.name()));
        }
    }
    cells
}

/// What stands beside the figures.
fn conditions(layout: &Layout, rounds: u32, span: Duration) -> Value {
    let core = |core: Option<usize>| core.map_or_else(|| "any".to_owned(), |core| core.to_string());
    let first = |program: &str, arg: &str| {
        let output = Command::new(program).arg(arg).output().ok();
        let text = output.map(|output| [output.stdout, output.stderr].concat()).unwrap_or_default();
        let line = String::from_utf8_lossy(&text).lines().next().map(str::to_owned);
        line.unwrap_or_else(|| "not installed".to_owned())
    };
    let cpu = fs::read_to_string("/proc/cpuinfo").unwrap_or_default();
    let model = cpu.lines().find_map(|line| line.strip_prefix("model name")?.split_once(": "));
    json!({
        "time": SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |since| since.as_secs()),
        "rounds": format!("{rounds} of {} s, servers interleaved; median [range]", span.as_secs_f64()),
        "cores": format!(
            "servers {}, generator {}; -free ones on all",
            core(layout.server_core),
            core(layout.generator_core)
        ),
        "cpu": format!("{} × {}", cpu.matches("processor\t").count(), model.map_or("unknown", |(_, name)| name)),
        "kernel": fs::read_to_string("/proc/sys/kernel/osrelease").unwrap_or_default().trim(),
        "whub": first(&layout.whub, "--version"),
        "nats": first("nats-server", "--version"),
        "mosquitto": first("mosquitto", "-h"),
        "nginx": first("nginx", "-v"),
        "frp": first("frps", "--version"),
        "haproxy": first("haproxy", "-v"),
        "load average": load_average(),
    })
}

fn load_average() -> String {
    fs::read_to_string("/proc/loadavg").unwrap_or_default().trim().to_owned()
}

fn publish(options: &Options, cells: &[Cell], results: &Results, conditions: &Value) -> Result<(), Fault> {
    let table = report::markdown(cells, results, conditions);
    let stem = options.out.join(conditions["time"].to_string());
    fs::create_dir_all(&options.out).map_err(Fault::io(format!("make {}", options.out.display())))?;
    let write = |ending: &str, text: &str| {
        let path = stem.with_extension(ending);
        fs::write(&path, text).map_err(Fault::io(format!("write {}", path.display())))
    };
    write("md", &table)?;
    write("json", &format!("{:#}\n", report::json(cells, results, conditions)))?;
    writeln!(io::stdout(), "{table}\n\nWritten to {}.md and .json", stem.display())
        .map_err(Fault::io("print"))
}
