//! `whub endpoints`: what the gateway reaches, and how it is.

use clap::Args;
use serde_json::Value;

use crate::{commands::table::table, exit::Failure, hub::HubArgs, output, runtime};

/// Show the endpoints of a hub's gateway: where they are, whether they are up, and how many use them
#[derive(Args, Debug)]
#[command(after_help = EXAMPLES)]
pub(crate) struct Endpoints {
    /// Print JSON
    #[arg(long)]
    pub(crate) json: bool,

    #[command(flatten)]
    hub: HubArgs,
}

const EXAMPLES: &str = "\
Examples:
  whub endpoints
  whub endpoints --json | jq '.endpoints[] | select(.up == false)'

It needs a token with `admin`. Each upstream has a row. What reading the configuration again would change, `whub config plan` says.";

impl Endpoints {
    pub(crate) fn run(&self) -> Result<(), Failure> {
        runtime::run_client(async {
            let told = self.hub.get("/v1/endpoints").await?;
            if self.json { output::print_json(&told) } else { output::print(&list(&told)) }
        })
    }
}

fn list(told: &Value) -> String {
    let mut rows = vec![["ENDPOINT", "WHERE", "STATE", "SOCKETS", "PROCESS"].map(str::to_owned)];
    for endpoint in told["endpoints"].as_array().into_iter().flatten() {
        let text = |value: &Value| value.as_str().unwrap_or_default().to_owned();
        let name = text(&endpoint["endpoint"]);
        let process = process(&endpoint["process"]);
        let sockets = endpoint["sockets"].as_u64().unwrap_or(0).to_string();
        let upstreams = endpoint["upstreams"].as_array().map(Vec::as_slice).unwrap_or_default();
        if upstreams.is_empty() {
            let place = format!("{} {}", text(&endpoint["kind"]), text(&endpoint["target"]));
            rows.push([name, place, "-".to_owned(), sockets, process]);
            continue;
        }
        for (index, upstream) in upstreams.iter().enumerate() {
            // What holds for the endpoint stands in its first row.
            let first = |text: &str| if index == 0 { text.to_owned() } else { String::new() };
            rows.push([
                first(&name),
                text(&upstream["url"]),
                state(upstream),
                first(&sockets),
                first(&process),
            ]);
        }
    }
    if rows.len() == 1 {
        return "there are no endpoints\n".to_owned();
    }
    table(&rows, [false, false, false, true, false])
}

fn state(upstream: &Value) -> String {
    if upstream["up"] == true {
        return "up".to_owned();
    }
    format!("down: {}", upstream["trouble"].as_str().unwrap_or("not reached"))
}

fn process(process: &Value) -> String {
    let state = process["state"].as_str().unwrap_or("-");
    match (process["pid"].as_u64(), process["why"].as_str()) {
        (Some(pid), _) => format!("{state} ({pid})"),
        (None, Some(why)) => format!("{state}: {why}"),
        (None, None) => state.to_owned(),
    }
}
