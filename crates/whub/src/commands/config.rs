//! `whub config check|show`: what a node would do with its configuration, without starting it.

use clap::{Args, Subcommand};
use serde_json::json;
use whub_server::config::{Loaded, Problem, Problems, check_files};

use crate::{exit::Failure, output, settings::Settings};

/// Check or show the configuration of a hub
#[derive(Args, Debug)]
#[command(after_help = EXAMPLES)]
pub(crate) struct ConfigCommand {
    #[command(subcommand)]
    what: What,
}

const EXAMPLES: &str = "\
Examples:
  whub config check --config whub.toml
  whub config show --config whub.toml --set limits.drain=30s
  whub config show --json | jq '.values[\"listen\"]'";

#[derive(Debug, Subcommand)]
enum What {
    /// Say everything that is wrong; exit code 0 if nothing is, else 2
    Check(Arguments),
    /// Print every value in effect and where it came from; secrets are redacted
    Show(Arguments),
}

#[derive(Args, Debug)]
struct Arguments {
    /// Print JSON
    #[arg(long)]
    json: bool,

    #[command(flatten)]
    settings: Settings,
}

impl ConfigCommand {
    pub(crate) fn wants_json(&self) -> bool {
        let (What::Check(arguments) | What::Show(arguments)) = &self.what;
        arguments.json
    }

    pub(crate) fn run(&self) -> Result<(), Failure> {
        match &self.what {
            What::Check(arguments) => check(arguments),
            What::Show(arguments) => show(arguments),
        }
    }
}

fn check(arguments: &Arguments) -> Result<(), Failure> {
    let loaded = arguments.settings.load()?;
    let problems = check_files(&loaded.config);
    if !problems.is_empty() {
        return Err(Problems(problems).into());
    }
    if arguments.json {
        let warnings: Vec<_> = loaded.warnings.iter().map(Problem::to_string).collect();
        return output::print_json(&json!({ "ok": true, "warnings": warnings }));
    }
    let warnings: String = loaded.warnings.iter().map(|warning| format!("warning: {warning}\n")).collect();
    output::print(&format!("{warnings}the configuration is right: {}\n", summary(&loaded)))
}

/// The line that lets a person see that the right file was read.
fn summary(loaded: &Loaded) -> String {
    let config = &loaded.config;
    let listeners: Vec<_> = config.listen.iter().map(ToString::to_string).collect();
    let tokens = match config.tokens.len() {
        0 => "no tokens".to_owned(),
        1 => "1 token".to_owned(),
        several => format!("{several} tokens"),
    };
    let endpoints = match config.endpoints.len() {
        0 => String::new(),
        1 => ", 1 endpoint".to_owned(),
        several => format!(", {several} endpoints"),
    };
    format!("listens on {}, {tokens}{endpoints}", listeners.join(", "))
}

fn show(arguments: &Arguments) -> Result<(), Failure> {
    let loaded = arguments.settings.load()?;
    if arguments.json {
        return output::print_json(&loaded.show_json());
    }
    output::print(&loaded.show())
}
