//! One file per command.

pub(crate) mod completions;
pub(crate) mod config;

use crate::{cli::Command, exit::Failure};

/// Runs the command that was asked for.
pub(crate) fn run(command: Command) -> Result<(), Failure> {
    match command {
        Command::Config(config) => config.run(),
        Command::Completions(completions) => completions.run(),
    }
}
