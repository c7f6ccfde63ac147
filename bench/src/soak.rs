//! Soak: callers and providers that are killed, stopped and half closed under load, and a hub that must owe nobody an
//! answer, and nothing to the system, in the end.
//!
//! ```text
//! conductor ── starts ──→ hub
//!     ├── orders, SIGSTOP, SIGCONT, SIGKILL ──→ providers   each call's path says what they do with it
//!     └── likewise ───────────────────────────→ callers     each call has one outcome, in time, or is reported
//! ```
//!
//! What is decided at random comes from a seed that is printed. When processes are held up does not, so a seed repeats
//! the story, not its every moment.

mod caller;
mod census;
mod dice;
mod link;
mod provider;
mod worker;

use std::collections::BTreeMap;
use std::io::{self, Write};
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use rustix::process::Signal;
use serde_json::Value;

use crate::args::SoakOptions;
use crate::fault::Fault;
use crate::server::Server;
use census::Census;
use dice::Dice;
use worker::{Order, Worker};

pub(crate) use caller::run as call;
pub(crate) use provider::run as provide;

/// Modes of this program that the conductor starts.
const CALLER: &str = "soak-caller";
const PROVIDER: &str = "soak-provider";

/// The hub's ping: a peer that is stopped for longer than twice this is taken for dead. Short, so that some are.
const PING: &str = "limits.ping=1s";

/// The calm beginning, after which the hub's memory is its base. A fifth of the whole, within these.
const CALM: (Duration, Duration) = (Duration::from_secs(2), Duration::from_secs(10));

/// Stirs for as long as it was told; true if nothing was wrong.
pub(crate) fn run(options: &SoakOptions) -> Result<bool, Fault> {
    let seed = options.seed.unwrap_or_else(seed_of_now);
    say(&format!(
        "soak: seed {seed}, {} s, callers {}, providers {}",
        options.seconds, options.callers, options.providers
    ))?;
    let span = Duration::from_secs(options.seconds);
    let hub = Server::soaked(&options.binary()?, PING)?;
    let before = Census::of(&hub)?;

    // The same load in peace first: what the hub needs for it, it may keep.
    let stage = Stage::open(&hub, options, seed)?;
    std::thread::sleep((span / 5).clamp(CALM.0, CALM.1));
    stage.close()?;
    let base = Census::when_alone(&hub, &before)?;

    let mut stage = Stage::open(&hub, options, seed.wrapping_add(1))?;
    stage.stir(span)?;
    let mut sum = stage.close()?;
    let after = Census::when_alone(&hub, &before)?;

    sum.faults.extend(after.faults(&before, &base));
    sum.tell(&base, &after)?;
    say(&format!("soak: {} calls, {} faults, seed {seed}", sum.calls, sum.faults.len()))?;
    Ok(sum.faults.is_empty() && sum.calls > 0)
}

/// Everybody who plays.
struct Stage<'a> {
    hub: &'a Server,
    dice: Dice,
    callers: Vec<Worker>,
    providers: Vec<Worker>,
    sum: Sum,
}

/// What all of them report, and what was done to them.
#[derive(Default)]
struct Sum {
    calls: u64,
    moved: u64,
    latest_ms: u64,
    outcomes: BTreeMap<String, u64>,
    deeds: BTreeMap<&'static str, u64>,
    faults: Vec<String>,
}

impl<'a> Stage<'a> {
    fn open(hub: &'a Server, options: &SoakOptions, seed: u64) -> Result<Self, Fault> {
        let mut dice = Dice::new(seed);
        let mut start = |mode, count| {
            (0..count).map(|_| Worker::start(mode, hub.addr, dice.next())).collect::<Result<Vec<_>, _>>()
        };
        let (providers, callers) = (start(PROVIDER, options.providers)?, start(CALLER, options.callers)?);
        Ok(Self { hub, dice, callers, providers, sum: Sum::default() })
    }

    /// Does something to somebody, again and again.
    fn stir(&mut self, span: Duration) -> Result<(), Fault> {
        let end = Instant::now() + span;
        let mut stopped: Vec<(Instant, bool, usize)> = Vec::new();
        while Instant::now() < end {
            std::thread::sleep(self.dice.ms(20..200));
            let now = Instant::now();
            for (_, provides, nth) in stopped.extract_if(.., |(until, ..)| *until <= now) {
                self.workers(provides)[nth].signal(Signal::CONT);
            }
            let provides = self.dice.of(0..3) > 0;
            let count = self.workers(provides).len() as u64;
            let nth = self.dice.of(0..count) as usize;
            if stopped.iter().any(|(_, whose, which)| (*whose, *which) == (provides, nth)) {
                continue;
            }
            match self.dice.of(0..10) {
                0..2 => {
                    self.replace(provides, nth)?;
                    self.note(provides, ["callers killed", "providers killed"]);
                }
                2..7 => {
                    self.workers(provides)[nth].signal(Signal::STOP);
                    // Mostly short; now and then so long that the hub takes it for dead.
                    let long = self.dice.of(0..6) == 0;
                    let time = if long { self.dice.ms(2_000..4_000) } else { self.dice.ms(20..800) };
                    stopped.push((now + time, provides, nth));
                    self.note(provides, ["callers stopped", "providers stopped"]);
                }
                _ => {
                    self.workers(provides)[nth].order(Order::HalfClose)?;
                    self.note(provides, ["callers half closed", "providers half closed"]);
                }
            }
        }
        for (_, provides, nth) in stopped {
            self.workers(provides)[nth].signal(Signal::CONT);
        }
        Ok(())
    }

    /// Kills one and puts another in its place.
    fn replace(&mut self, provides: bool, nth: usize) -> Result<(), Fault> {
        let mode = if provides { PROVIDER } else { CALLER };
        let fresh = Worker::start(mode, self.hub.addr, self.dice.next())?;
        std::mem::replace(&mut self.workers(provides)[nth], fresh).kill();
        Ok(())
    }

    fn workers(&mut self, provides: bool) -> &mut Vec<Worker> {
        if provides { &mut self.providers } else { &mut self.callers }
    }

    fn note(&mut self, provides: bool, names: [&'static str; 2]) {
        *self.sum.deeds.entry(names[usize::from(provides)]).or_default() += 1;
    }

    /// The callers finish what is under way, then the providers go.
    fn close(self) -> Result<Sum, Fault> {
        let mut sum = self.sum;
        for (what, mut workers) in [("caller", self.callers), ("provider", self.providers)] {
            for worker in &mut workers {
                // One that has ended by itself is missed at its report.
                drop(worker.order(Order::Finish));
            }
            for worker in workers {
                match worker.report() {
                    Ok(report) => sum.add(&report),
                    Err(fault) => sum.faults.push(format!("{what}: {fault}")),
                }
            }
        }
        Ok(sum)
    }
}

impl Sum {
    fn add(&mut self, report: &Value) {
        let number = |name: &str| report[name].as_u64().unwrap_or(0);
        self.calls += number("calls");
        self.moved += number("moved");
        self.latest_ms = self.latest_ms.max(number("latest_ms"));
        for (name, count) in report["outcomes"].as_object().into_iter().flatten() {
            *self.outcomes.entry(name.clone()).or_default() += count.as_u64().unwrap_or(0);
        }
        let faults = report["faults"].as_array().into_iter().flatten();
        self.faults.extend(faults.filter_map(|fault| fault.as_str().map(str::to_owned)));
    }

    fn tell(&self, base: &Census, after: &Census) -> Result<(), Fault> {
        for (name, count) in &self.deeds {
            say(&format!("  {name:22} {count:>9}"))?;
        }
        for (name, count) in &self.outcomes {
            say(&format!("  {name:22} {count:>9}"))?;
        }
        say(&format!("  {:22} {:>9}", "moved", self.moved))?;
        say(&format!("  {:22} {:>6} ms", "latest outcome", self.latest_ms))?;
        say(&format!("  {:22} {:>5} KiB, base {} KiB", "memory of the hub", after.rss_kib, base.rss_kib))?;
        say(&format!(
            "  {:22} {:>9}, base {}",
            "descriptors of the hub", after.descriptors, base.descriptors
        ))?;
        for fault in &self.faults {
            say(&format!("  FAULT {fault}"))?;
        }
        Ok(())
    }
}

fn seed_of_now() -> u64 {
    SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |since| since.as_secs())
}

fn say(line: &str) -> Result<(), Fault> {
    writeln!(io::stdout(), "{line}").map_err(Fault::io("print"))
}
