//! The whub command line: one binary that serves a hub and talks to one.
//!
//! Each command is a file in `commands/`. This crate parses arguments, prints, and chooses exit codes; what a hub does
//! is in `whub-server`, what a client does in `whub-client`.

mod arguments;
mod cli;
mod commands;
mod exit;
mod http;
mod hub;
mod logging;
#[cfg(test)]
mod manual;
mod offer;
mod output;
mod progress;
mod runtime;
mod settings;
mod stream;
mod watch;

use std::process::ExitCode;

use clap::Parser;
use mimalloc::MiMalloc;

/// Why it is not the system's: docs/adr/0016.
#[global_allocator]
static ALLOCATOR: MiMalloc = MiMalloc;

fn main() -> ExitCode {
    let cli = cli::Cli::parse();
    let json = cli.command.wants_json();
    match commands::run(cli.command) {
        Ok(()) => exit::Exit::Ok.into(),
        Err(failure) => {
            output::report(&failure, json);
            failure.exit.into()
        }
    }
}
