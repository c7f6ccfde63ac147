//! The grammar of the command line.

use clap::{Parser, Subcommand};

use crate::{
    commands::{completions::Completions, config::ConfigCommand},
    exit::Exit,
};

/// Call services, publish to channels, pair peers: one binary, one port.
#[derive(Debug, Parser)]
#[command(name = "whub", version = env!("WHUB_VERSION"), arg_required_else_help = true, after_help = after_help())]
pub(crate) struct Cli {
    #[command(subcommand)]
    pub(crate) command: Command,
}

const EXAMPLES: &str = "\
Examples:
  whub config check --config whub.toml           is the configuration right?
  source <(whub completions bash)                complete commands in this shell

Environment:
  WHUB_SECTION__KEY  configuration of a hub (two underscores), see docs/configuration.md";

fn after_help() -> String {
    let codes = Exit::ALL.map(|exit| {
        let (code, name, meaning) = exit.row();
        format!("  {code:<3} {name:<12} {meaning}\n")
    });
    format!("{EXAMPLES}\n\nExit codes:\n{}", codes.concat().trim_end())
}

/// Everything `whub` can do.
#[derive(Debug, Subcommand)]
#[expect(clippy::large_enum_variant, reason = "a process makes one")]
pub(crate) enum Command {
    Config(ConfigCommand),
    Completions(Completions),
}

impl Command {
    /// Whether errors are wanted as JSON.
    pub(crate) fn wants_json(&self) -> bool {
        match self {
            Self::Config(config) => config.wants_json(),
            Self::Completions(_) => false,
        }
    }
}
