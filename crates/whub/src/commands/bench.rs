//! `whub bench`: how fast a hub is from here, by the same client that programs use.
//!
//! For figures to compare servers with there is `bench/`, whose load generator costs less than this client does.

mod call;
mod histogram;
mod pair;
mod publish;

use std::time::{Duration, Instant};

use clap::{Args, ValueEnum};
use serde_json::json;
use tokio::task::JoinSet;
use whub_client::Client;

use crate::{
    arguments::duration,
    exit::{Exit, Failure},
    hub::HubArgs,
    output, runtime,
};
use histogram::Histogram;

/// Measure calls, messages or pairs through a hub
#[derive(Args, Debug)]
#[command(after_help = EXAMPLES)]
pub(crate) struct Bench {
    /// What to measure
    what: What,

    /// Connections: callers, subscribers or pairs
    #[arg(long, short, value_name = "NUMBER", default_value_t = 8, value_parser = clap::value_parser!(u32).range(1..=10_000))]
    clients: u32,

    /// Calls or messages under way, for each caller and pair, and for the one publisher
    #[arg(long, short, value_name = "NUMBER", default_value_t = 4, value_parser = clap::value_parser!(u32).range(1..=1_000))]
    inflight: u32,

    /// Bytes of each body or message
    #[arg(long, short, value_name = "BYTES", default_value_t = 128, value_parser = clap::value_parser!(u32).range(8..=1_000_000))]
    size: u32,

    /// How long to measure
    #[arg(long, value_name = "DURATION", default_value = "5s", value_parser = duration)]
    duration: Duration,

    /// Call this service rather than an echo of the bench's own
    #[arg(long, value_name = "PATH")]
    path: Option<String>,

    /// Print a JSON object
    #[arg(long)]
    pub(crate) json: bool,

    #[command(flatten)]
    hub: HubArgs,
}

const EXAMPLES: &str = "\
Examples:
  whub bench call --clients 64 --inflight 1
  whub bench call --path /math/add --size 16
  whub bench publish --clients 1000 --inflight 16
  whub bench pair --size 16384 --duration 10s --json

call: each caller waits for one answer per call in flight. publish: one publisher, every client a subscriber;
counted are deliveries, from publishing to arrival. pair: from one half to the other and back. The bench uses
the same machine's cores as the hub, if that runs here too.";

#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
enum What {
    Call,
    Publish,
    Pair,
}

/// What one task, or all of them, measured.
#[derive(Debug, Default)]
struct Tally {
    took: Histogram,
    failed: u64,
}

impl Tally {
    fn merge(&mut self, other: &Self) {
        self.took.merge(&other.took);
        self.failed += other.failed;
    }
}

impl Bench {
    pub(crate) fn run(&self) -> Result<(), Failure> {
        if self.path.is_some() && self.what != What::Call {
            return Err(Failure::new(Exit::Usage, "--path belongs to `whub bench call`"));
        }
        runtime::run_hub(async {
            let measured = async {
                match self.what {
                    What::Call => call::measure(self).await,
                    What::Publish => publish::measure(self).await,
                    What::Pair => pair::measure(self).await,
                }
            };
            tokio::select! {
                tally = Box::pin(measured) => self.report(&tally?),
                () = runtime::stop() => Err(Failure::new(Exit::Interrupted, "interrupted")),
            }
        })
    }

    /// So many clients, connected.
    async fn connect(&self, count: u32) -> Result<Vec<Client>, Failure> {
        let mut clients = Vec::new();
        for _ in 0..count {
            clients.push(self.hub.connect().await?);
        }
        Ok(clients)
    }

    /// A payload with room for the time at its beginning.
    fn payload(&self) -> Vec<u8> {
        vec![b'x'; self.size as usize]
    }

    /// A name that no other run uses.
    fn unique(&self) -> String {
        let clock = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).unwrap_or_default();
        format!("whub-bench-{}-{}", std::process::id(), clock.as_nanos())
    }

    fn report(&self, tally: &Tally) -> Result<(), Failure> {
        let seconds = self.duration.as_secs_f64();
        let per_second = (tally.took.count() as f64 / seconds).round();
        let name = match self.what {
            What::Call => "calls",
            What::Publish => "deliveries",
            What::Pair => "round trips",
        };
        let quantiles = [("p50", 0.5), ("p90", 0.9), ("p99", 0.99)]
            .map(|(name, share)| (name, tally.took.quantile(share)));
        if self.json {
            let mut object = json!({
                "what": name, "clients": self.clients, "inflight": self.inflight, "size": self.size,
                "seconds": seconds, "done": tally.took.count(), "failed": tally.failed, "per_second": per_second,
                "max_us": micros(tally.took.longest()),
            });
            for (name, took) in quantiles {
                object[format!("{name}_us")] = micros(took).into();
            }
            return output::print_json(&object);
        }
        let times: String =
            quantiles.iter().map(|(name, took)| format!("{name} {:.0} µs, ", micros(*took))).collect();
        let text = format!(
            "{} {name} in {seconds} s, {per_second} per second, {} failed\n{times}max {:.0} µs\n",
            tally.took.count(),
            tally.failed,
            micros(tally.took.longest())
        );
        output::print(&text)
    }
}

fn micros(took: Duration) -> f64 {
    (took.as_nanos() as f64 / 100.0).round() / 10.0
}

/// Waits for every task and adds up what they measured.
async fn gather(mut tasks: JoinSet<Result<Tally, Failure>>) -> Result<Tally, Failure> {
    let mut sum = Tally::default();
    while let Some(ended) = tasks.join_next().await {
        let tally = ended.map_err(|_| Failure::new(Exit::Failed, "a task of the bench failed"))?;
        sum.merge(&tally?);
    }
    Ok(sum)
}

/// Writes the time into the first bytes of a payload.
fn stamp(payload: &mut [u8], began: Instant) {
    let nanos = u64::try_from(began.elapsed().as_nanos()).unwrap_or(u64::MAX);
    payload[..8].copy_from_slice(&nanos.to_le_bytes());
}

/// How long ago a payload was stamped.
fn age(payload: &[u8], began: Instant) -> Option<Duration> {
    let nanos = u64::from_le_bytes(payload.get(..8)?.try_into().ok()?);
    began.elapsed().checked_sub(Duration::from_nanos(nanos))
}
