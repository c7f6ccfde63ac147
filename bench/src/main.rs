//! Neutral load generator: starts servers, puts the same load on each, prints one table.
//!
//! `args` what is asked · `cell` what is measured · `fleet` and `server` who is measured · `play` and `run` how ·
//! `load` and `wire` the traffic · `net` the event loop · `results` and `report` the outcome · `soak` no figures, but faults. `bench/README.md`
//! says what the figures mean.

mod args;
mod cell;
mod dial;
mod fault;
mod fleet;
mod load;
mod message;
mod meter;
mod net;
mod play;
mod proc;
mod reference;
mod report;
mod results;
mod run;
mod server;
mod session;
mod soak;
mod template;
mod wire;
mod ws;

use std::io::{self, Write};
use std::process::ExitCode;

use clap::Parser;

use crate::args::{Args, Mode};
use crate::reference::Kind;

fn main() -> ExitCode {
    match run() {
        Ok(code) => code,
        Err(error) => {
            // Nothing is left to tell it to if standard error is gone.
            let _ = writeln!(io::stderr(), "whub-bench: {error}");
            ExitCode::FAILURE
        }
    }
}

fn run() -> Result<ExitCode, Box<dyn std::error::Error>> {
    proc::raise_descriptors()?;
    match Args::parse().mode {
        Mode::Run(options) => Ok(session::run(&options)?),
        Mode::TcpEcho => serve(Kind::Echo),
        Mode::TcpRelay => serve(Kind::Relay),
        Mode::Stub => serve(Kind::Stub),
        Mode::Soak(options) => Ok(if soak::run(&options)? { ExitCode::SUCCESS } else { ExitCode::FAILURE }),
        Mode::SoakCaller(part) => report(&soak::call(part.hub, part.seed)?),
        Mode::SoakProvider(part) => report(&soak::provide(part.hub)?),
        Mode::Cells => {
            for cell in cell::all() {
                writeln!(io::stdout(), "{:16} {:?}", cell.name, cell.shape)?;
            }
            Ok(ExitCode::SUCCESS)
        }
    }
}

fn report(report: &serde_json::Value) -> Result<ExitCode, Box<dyn std::error::Error>> {
    writeln!(io::stdout(), "{report}")?;
    Ok(ExitCode::SUCCESS)
}

fn serve(kind: Kind) -> Result<ExitCode, Box<dyn std::error::Error>> {
    reference::serve(kind)?;
    Ok(ExitCode::SUCCESS)
}
