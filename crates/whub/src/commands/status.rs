//! `whub status`: a node in numbers.

use std::time::Duration;

use clap::Args;
use serde_json::{Value, json};
use whub_server::config::show_duration;

use crate::{commands::table::table as columns, exit::Failure, hub::HubArgs, output, runtime};

/// Show how a hub is doing
#[derive(Args, Debug)]
#[command(after_help = EXAMPLES)]
pub(crate) struct Status {
    /// Print JSON: the answers of /v1/status and /v1/services
    #[arg(long)]
    pub(crate) json: bool,

    #[command(flatten)]
    hub: HubArgs,
}

const EXAMPLES: &str = "\
Examples:
  whub status
  whub status --json | jq .status.sessions
  whub status --server https://hub.example.com

Counters are shown once they are not zero. The services are those that the token may call.";

impl Status {
    pub(crate) fn run(&self) -> Result<(), Failure> {
        runtime::run_client(async {
            let status = self.hub.get("/v1/status").await?;
            let services = self.hub.get("/v1/services").await?;
            let services = services.get("services").cloned().unwrap_or_default();
            if self.json {
                return output::print_json(&json!({ "status": status, "services": services }));
            }
            output::print(&show(&status, &services))
        })
    }
}

fn show(status: &Value, services: &Value) -> String {
    let text = |key: &str| status.get(key).and_then(Value::as_str).unwrap_or("?").to_owned();
    let number = |key: &str| status.get(key).and_then(Value::as_u64).unwrap_or(0);
    let state = if status.get("stopping") == Some(&Value::Bool(true)) { "stopping" } else { "ready" };
    // To the second: nobody counts the milliseconds of a node's life.
    let uptime = Duration::from_secs(number("uptime_ms") / 1000);
    let mut rows = vec![
        ("node".to_owned(), format!("{} ({})", text("node"), text("server"))),
        ("state".to_owned(), format!("{state}, for {}", show_duration(uptime))),
    ];
    for (key, label) in [
        ("sessions", "sessions"),
        ("filters", "filters"),
        ("waiting", "waiting halves"),
        ("rooms", "rooms"),
        ("room_members", "room members"),
        ("queued", "queued"),
    ] {
        rows.push((label.to_owned(), number(key).to_string()));
    }
    for group in ["counters", "transport", "http"] {
        rows.extend(counters(status.get(group)));
    }
    format!("{}{}", table(&rows), service_table(services))
}

/// Those of a group that are not zero.
fn counters(group: Option<&Value>) -> impl Iterator<Item = (String, String)> {
    let group = group.and_then(Value::as_object).into_iter().flatten();
    let counted = group.filter(|(_, count)| count.as_u64().is_some_and(|count| count > 0));
    counted.map(|(name, count)| (name.replace('_', " "), count.to_string()))
}

fn table(rows: &[(String, String)]) -> String {
    let width = rows.iter().map(|(name, _)| name.len()).max().unwrap_or(0);
    rows.iter().map(|(name, value)| format!("{name:width$}  {value}\n")).collect()
}

fn service_table(services: &Value) -> String {
    let services = services.as_array().map(Vec::as_slice).unwrap_or_default();
    if services.is_empty() {
        return String::new();
    }
    let mut rows = vec![["service", "providers", "in flight", "calls"].map(str::to_owned)];
    rows.extend(services.iter().map(|service| {
        let number = |key: &str| service.get(key).and_then(Value::as_u64).unwrap_or(0).to_string();
        let pattern = service.get("pattern").and_then(Value::as_str).unwrap_or("?").to_owned();
        [pattern, number("providers"), number("inflight"), number("calls")]
    }));
    format!("\n{}", columns(&rows, [false, true, true, true]))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn people_get_tables() {
        let status = json!({
            "node": "north", "server": "whub/0.1.0", "uptime_ms": 61_234, "stopping": false,
            "sessions": 3, "filters": 1, "waiting": 0, "rooms": 2, "room_members": 5, "queued": 0,
            "counters": { "calls_begun": 7, "calls_lost": 0 },
        });
        let services = json!([{ "pattern": "/math/:op", "providers": 2, "inflight": 1, "calls": 7 }]);
        let expected = "node            north (whub/0.1.0)\n\
                        state           ready, for 61s\n\
                        sessions        3\n\
                        filters         1\n\
                        waiting halves  0\n\
                        rooms           2\n\
                        room members    5\n\
                        queued          0\n\
                        calls begun     7\n\
                        \n\
                        service    providers  in flight  calls\n\
                        /math/:op          2          1      7\n";
        assert_eq!(show(&status, &services), expected);
    }

    #[test]
    fn an_answer_without_the_expected_fields_is_shown_as_unknown() {
        assert!(show(&json!({}), &Value::Null).starts_with("node            ? (?)\n"));
    }
}
