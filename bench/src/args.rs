//! The command line.

use std::path::PathBuf;

use clap::{Args as ClapArgs, Parser, Subcommand};

use crate::fault::Fault;

/// Puts the same load on the hub and on its peers, and prints one table.
#[derive(Debug, Parser)]
#[command(name = "whub-bench", version)]
pub(crate) struct Args {
    /// What to do.
    #[command(subcommand)]
    pub(crate) mode: Mode,
}

/// What to do.
#[derive(Debug, Subcommand)]
pub(crate) enum Mode {
    /// Measure cells and print the table
    Run(Options),
    /// List the cells
    Cells,
    /// Serve the raw TCP echo that everything is compared with
    TcpEcho,
    /// Serve the raw TCP relay: every second connection is joined with the one before it
    TcpRelay,
    /// Serve the HTTP stub that stands behind the proxies
    Stub,
    /// Kill, stop and half close callers and providers under load, and look whether the hub owes anybody an outcome
    Soak(SoakOptions),
    /// Call, as the soak tells it
    #[command(hide = true)]
    SoakCaller(SoakPart),
    /// Provide, as the soak tells it
    #[command(hide = true)]
    SoakProvider(SoakPart),
}

/// How to soak.
#[derive(Clone, Debug, ClapArgs)]
pub(crate) struct SoakOptions {
    /// For how long, seconds
    #[arg(long, default_value_t = 60)]
    pub(crate) seconds: u64,
    /// What to repeat; the time of day by default
    #[arg(long)]
    pub(crate) seed: Option<u64>,
    /// Processes that call
    #[arg(long, default_value_t = 6, value_parser = clap::value_parser!(u64).range(1..))]
    pub(crate) callers: u64,
    /// Processes that provide
    #[arg(long, default_value_t = 6, value_parser = clap::value_parser!(u64).range(1..))]
    pub(crate) providers: u64,
    /// The hub's binary [default: `whub` beside this program]
    #[arg(long)]
    pub(crate) whub: Option<PathBuf>,
}

/// One process of the soak.
#[derive(Clone, Debug, ClapArgs)]
pub(crate) struct SoakPart {
    /// The hub
    pub(crate) hub: std::net::SocketAddr,
    /// What to do
    pub(crate) seed: u64,
}

impl SoakOptions {
    /// The hub's binary: the one that was named, or the one beside this program.
    pub(crate) fn binary(&self) -> Result<String, Fault> {
        let binary = match &self.whub {
            Some(path) => path.clone(),
            None => std::env::current_exe().map_err(Fault::io("own path"))?.with_file_name("whub"),
        };
        Ok(binary.to_string_lossy().into_owned())
    }
}

/// What to measure, and how.
#[derive(Clone, Debug, ClapArgs)]
pub(crate) struct Options {
    /// Only cells whose name begins with one of these, and those they are compared with
    #[arg(long, value_delimiter = ',')]
    pub(crate) cells: Vec<String>,
    /// Only these servers (raw, raw-relay, direct, whub, whub-free, whub-expose, whub-gateway, whub-gateway-free,
    /// nats, nats-free, mosquitto, nginx, nginx-ws, nginx-ws-free, nginx-stream, haproxy, haproxy-ws,
    /// haproxy-ws-free, haproxy-stream, frp, frp-stream, peers by name)
    #[arg(long, value_delimiter = ',')]
    pub(crate) servers: Vec<String>,
    /// Rounds; in each one every server has every cell once
    #[arg(long, default_value_t = 3)]
    pub(crate) rounds: u32,
    /// Measured seconds per cell, server and round; the warm-up is a quarter of it
    #[arg(long, default_value_t = 1.0)]
    pub(crate) seconds: f64,
    /// One round of 0.2 s: does everything work? The figures do not count
    #[arg(long)]
    pub(crate) quick: bool,
    /// The hub's binary [default: `whub` beside this program]
    #[arg(long)]
    pub(crate) whub: Option<PathBuf>,
    /// A WebSocket echo that already runs; takes part in the echo cells
    #[arg(long = "peer", value_name = "NAME=ws://ADDRESS:PORT/PATH")]
    pub(crate) peers: Vec<String>,
    /// Core of the servers; the `-free` ones are on all cores
    #[arg(long, default_value_t = 0)]
    pub(crate) server_core: usize,
    /// Core of the generator and of the stub behind the proxies
    #[arg(long, default_value_t = 1)]
    pub(crate) generator_core: usize,
    /// Pin nothing
    #[arg(long)]
    pub(crate) unpinned: bool,
    /// Folder for the table (Markdown) and the rounds (JSON)
    #[arg(long, default_value = "bench/results")]
    pub(crate) out: PathBuf,
}
