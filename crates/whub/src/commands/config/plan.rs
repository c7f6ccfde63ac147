//! `whub config plan|reload`: what a running hub would change, or has changed, by reading its configuration again.

use std::time::Duration;

use clap::Args;
use serde_json::Value;

use crate::{
    commands::table::table,
    exit::{Exit, Failure},
    hub::{HubArgs, json},
    output, runtime,
};

/// Time that the hub has to read its files.
const WITHIN: Duration = Duration::from_secs(30);

/// Flags of both.
#[derive(Args, Debug)]
pub(super) struct Asked {
    /// Print JSON: the answer of /v1/config/plan or /v1/config/reload
    #[arg(long)]
    pub(super) json: bool,

    #[command(flatten)]
    hub: HubArgs,
}

impl Asked {
    /// Shows what would change. Problems are a failure.
    pub(super) fn plan(&self) -> Result<(), Failure> {
        runtime::run_client(async {
            let plan = self.hub.get("/v1/config/plan").await?;
            if self.json {
                output::print_json(&plan)?;
                return if plan["ok"] == true { Ok(()) } else { Err(refused(&plan)) };
            }
            if plan["ok"] == true { output::print(&shown(&plan)) } else { Err(refused(&plan)) }
        })
    }

    /// Has it changed, and shows what was.
    pub(super) fn reload(&self) -> Result<(), Failure> {
        runtime::run_client(async {
            let done = json(&self.hub.http()?.post("/v1/config/reload", WITHIN).await?)?;
            if self.json { output::print_json(&done) } else { output::print(&shown(&done)) }
        })
    }
}

fn refused(plan: &Value) -> Failure {
    let problems: Vec<_> = list(plan, "problems").iter().filter_map(Value::as_str).collect();
    Failure::new(Exit::Usage, problems.join("\n"))
}

fn shown(plan: &Value) -> String {
    let mut shown = String::new();
    for warning in list(plan, "warnings").iter().filter_map(Value::as_str) {
        shown.push_str(&format!("warning: {warning}\n"));
    }
    let endpoints = list(plan, "endpoints");
    if !endpoints.is_empty() {
        let heading = ["endpoint", "change", "sockets", "closed"].map(str::to_owned);
        let rows: Vec<_> = std::iter::once(heading).chain(endpoints.iter().map(endpoint)).collect();
        shown.push_str(&table(&rows, [false, false, true, true]));
    }
    for key in list(plan, "keys") {
        let name = key["key"].as_str().unwrap_or("?");
        let when = if key["restart"] == true { "waits for the next start" } else { "applies at once" };
        shown.push_str(&format!("{name} {when}\n"));
    }
    if list(plan, "keys").is_empty() && endpoints.iter().all(|known| known["change"] == "keep") {
        shown.push_str("nothing changes\n");
    }
    shown
}

fn endpoint(endpoint: &Value) -> [String; 4] {
    let text = |key: &str| endpoint[key].as_str().unwrap_or("?").to_owned();
    let number = |key: &str| endpoint[key].as_u64().unwrap_or(0).to_string();
    [text("name"), text("change"), number("sockets"), number("touched")]
}

fn list<'a>(plan: &'a Value, key: &str) -> &'a [Value] {
    plan[key].as_array().map(Vec::as_slice).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn what_is_touched_is_seen_at_a_glance() {
        let plan = json!({
            "ok": true,
            "warnings": ["config.ini:5: passed over"],
            "keys": [{ "key": "limits.ping", "restart": true }, { "key": "tokens", "restart": false }],
            "endpoints": [
                { "name": "chat", "change": "redirect", "sockets": 12, "touched": 12 },
                { "name": "game", "change": "keep", "sockets": 3, "touched": 0 },
            ],
        });
        assert_eq!(
            shown(&plan),
            "warning: config.ini:5: passed over\n\
             endpoint  change    sockets  closed\n\
             chat      redirect       12      12\n\
             game      keep            3       0\n\
             limits.ping waits for the next start\n\
             tokens applies at once\n"
        );
        assert_eq!(shown(&json!({ "ok": true })), "nothing changes\n");
    }
}
