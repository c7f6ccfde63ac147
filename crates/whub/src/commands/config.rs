//! `whub config check|show`: what a node would do with its configuration, without starting it; `plan|reload`: what one
//! that runs does with it.

mod plan;

use clap::{Args, Subcommand};
use serde_json::json;
use whub_server::config::{Loaded, Problem, Problems, check_files};

use crate::{exit::Failure, output, settings::Settings};

/// Check or show the configuration of a hub, or have it read again
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
  whub config show --json | jq '.values[\"listen\"]'
  whub config plan                       what the running hub would change; no socket is touched
  whub config reload                     have it changed

plan and reload ask the hub that --server names, which reads its own files. They take a token with `admin = true`, where
there are tokens.";

#[derive(Debug, Subcommand)]
enum What {
    /// Say everything that is wrong; exit code 0 if nothing is, else 2
    Check(Arguments),
    /// Print every value in effect and where it came from; secrets are redacted
    Show(Arguments),
    /// Ask the running hub what reading its configuration again would change: endpoints with their sockets, and keys
    Plan(plan::Asked),
    /// Have the running hub read its configuration again, and say what changed
    Reload(plan::Asked),
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
        match &self.what {
            What::Check(arguments) | What::Show(arguments) => arguments.json,
            What::Plan(asked) | What::Reload(asked) => asked.json,
        }
    }

    pub(crate) fn run(&self) -> Result<(), Failure> {
        match &self.what {
            What::Check(arguments) => check(arguments),
            What::Show(arguments) => show(arguments),
            What::Plan(asked) => asked.plan(),
            What::Reload(asked) => asked.reload(),
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
