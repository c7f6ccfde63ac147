//! `whub inspect`: calls as they end, and one of them made anew.

use std::{collections::VecDeque, time::Duration};

use clap::Args;
use serde_json::Value;

use crate::{
    commands::table::{duration, time_of_day},
    exit::Failure,
    hub::{HubArgs, json},
    output,
    runtime::{self, stop},
    watch::Watch,
};

/// The hub waits a minute for the answer to a replay.
const REPLAY_WITHIN: Duration = Duration::from_secs(75);

/// Calls that are known again when they are listed once more.
const KNOWN: usize = 1000;

/// Show recent calls as they end, or make one of them anew
#[derive(Args, Debug)]
#[command(after_help = EXAMPLES)]
pub(crate) struct Inspect {
    /// The path, and all below it; all paths if it is left out
    path: Option<String>,

    /// Print JSON, one object a line
    #[arg(long)]
    pub(crate) json: bool,

    /// Show what is remembered, and end
    #[arg(long)]
    once: bool,

    /// Show one call with its headers
    #[arg(long, value_name = "ID", conflicts_with_all = ["once", "replay", "path"])]
    call: Option<u64>,

    /// Make this call anew, and show what came of it
    #[arg(long, value_name = "ID", conflicts_with = "once")]
    replay: Option<u64>,

    #[command(flatten)]
    hub: HubArgs,
}

const EXAMPLES: &str = "\
Examples:
  whub inspect                       every call, until Ctrl-C
  whub inspect /billing              those of /billing and below
  whub inspect --call 17             one call with its headers
  whub inspect --replay 17           the same call once more
  whub inspect --json | jq .path

The hub records calls from the first look on, and for some time after the last (inspect.linger, 10 minutes). It takes
a token with `admin = true`, where there are tokens. Secrets are hidden and bodies are not shown; see docs/inspect.md.";

impl Inspect {
    pub(crate) fn run(&self) -> Result<(), Failure> {
        runtime::run_client(async {
            if let Some(id) = self.replay {
                let path = format!("/v1/inspect/{id}/replay");
                let summary = json(&self.hub.http()?.post(&path, REPLAY_WITHIN).await?)?;
                return self.show_whole(&summary);
            }
            if let Some(id) = self.call {
                return self.show_whole(&self.hub.get(&format!("/v1/inspect/{id}")).await?);
            }
            if self.once {
                let listed = self.hub.get(&self.url("")).await?;
                return calls(&listed).rev().try_for_each(|call| self.show_one(call));
            }
            tokio::select! {
                ended = self.watch() => ended,
                () = stop() => Ok(()),
            }
        })
    }

    fn url(&self, more: &str) -> String {
        let path = self.path.as_deref().unwrap_or_default();
        let path = percent_encoding::utf8_percent_encode(path, percent_encoding::NON_ALPHANUMERIC);
        format!("/v1/inspect?path={path}{more}")
    }

    async fn watch(&self) -> Result<(), Failure> {
        let mut news = Watch::begin(self.hub.http()?, self.url("&watch")).await?;
        output::note("recording; Ctrl-C ends");
        let mut shown = Shown::default();
        loop {
            let (name, told) = news.next().await?;
            match name.as_str() {
                "calls" => calls(&told)
                    .rev()
                    .filter(|call| shown.is_new(call))
                    .try_for_each(|call| self.show_one(call))?,
                "call" => {
                    shown.is_new(&told);
                    self.show_one(&told)?;
                }
                "gap" => output::note(&format!("{} calls were too many to show", told["count"])),
                // News are open; what is not known here is not worth a line.
                _ => {}
            }
        }
    }

    fn show_one(&self, call: &Value) -> Result<(), Failure> {
        if self.json {
            return output::print_json(call);
        }
        output::print(&format!("{}\n", output::one_line(line(call).trim_end())))
    }

    fn show_whole(&self, call: &Value) -> Result<(), Failure> {
        if self.json {
            return output::print_json(call);
        }
        output::print(&whole(call))
    }
}

/// The newest first.
fn calls(listed: &Value) -> std::slice::Iter<'_, Value> {
    listed["calls"].as_array().map(Vec::as_slice).unwrap_or_default().iter()
}

/// The last calls that were shown with their outcomes, which are not shown again when they are listed after a lost connection.
/// A hub that was started anew counts anew, so they are known by their times too.
#[derive(Default)]
struct Shown(VecDeque<(u64, u64)>);

impl Shown {
    /// Notes it. Whether it was not known.
    fn is_new(&mut self, call: &Value) -> bool {
        if call["duration_ms"].is_null() {
            return true;
        }
        let number = |name: &str| call[name].as_u64().unwrap_or(0);
        let key = (number("id"), number("time_ms"));
        if self.0.contains(&key) {
            return false;
        }
        if self.0.len() == KNOWN {
            self.0.pop_front();
        }
        self.0.push_back(key);
        true
    }
}

/// One call on one line.
fn line(call: &Value) -> String {
    let text = |name: &str| call[name].as_str().unwrap_or_default();
    let status = call["status"].as_u64().map_or_else(|| "...".to_owned(), |status| status.to_string());
    let method = if text("method").is_empty() { "CALL" } else { text("method") };
    let query = if text("query").is_empty() { String::new() } else { format!("?{}", text("query")) };
    let time = time_of_day(call["time_ms"].as_u64().unwrap_or(0));
    let took = call["duration_ms"].as_f64().map(duration).unwrap_or_default();
    let bytes = |name: &str| call[name].as_u64().unwrap_or(0);
    let error = if text("error").is_empty() { String::new() } else { format!("  {}", text("error")) };
    format!(
        "{:>6}  {time}  {status}  {took:>8}  {:>8} up {:>9} down  {method} {}{query}{error}\n",
        call["id"].as_u64().unwrap_or(0),
        bytes("bytes_up"),
        bytes("bytes_down"),
        text("path"),
    )
}

/// A call, or the summary of a replay, with a line for each member.
fn whole(call: &Value) -> String {
    let mut shown = String::new();
    let Some(members) = call.as_object() else { return shown };
    for (name, value) in members.iter().filter(|(name, value)| !value.is_object() && *name != "body") {
        let value = value.as_str().map_or_else(|| value.to_string(), str::to_owned);
        shown.push_str(&format!("{name:12} {}\n", output::one_line(&value)));
    }
    for part in ["request", "response"] {
        if call[part].is_object() {
            shown.push_str(&format!("\n{part}\n{}", headers(&call[part]["headers"])));
        }
    }
    if call["headers"].is_object() {
        shown.push_str(&format!("\n{}", headers(&call["headers"])));
    }
    if let Some(body) = call["body"].as_str() {
        shown.push_str(&format!("\n{body}\n"));
    }
    shown
}

fn headers(headers: &Value) -> String {
    let mut shown = String::new();
    for (name, value) in headers.as_object().into_iter().flatten() {
        let one = std::slice::from_ref(value);
        for value in value.as_array().map_or(one, Vec::as_slice) {
            let value = output::one_line(value.as_str().unwrap_or_default());
            shown.push_str(&format!("  {}: {value}\n", output::one_line(name)));
        }
    }
    shown
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn a_call_is_one_line() {
        let call = json!({
            "id": 17, "time_ms": 0, "method": "POST", "path": "/a", "query": "q=1", "status": 404,
            "error": "service.not_found", "duration_ms": 1.25, "bytes_up": 5, "bytes_down": 0,
        });
        let shown = line(&call);
        assert!(
            shown.starts_with("    17  ") && shown.ends_with("POST /a?q=1  service.not_found\n"),
            "{shown}"
        );
        assert!(shown.contains("  404   1.25 ms         5 up         0 down  "), "{shown}");
        assert!(line(&json!({ "id": 1, "open": true, "path": "/a" })).ends_with("CALL /a\n"));
    }

    #[test]
    fn a_whole_call_has_its_headers() {
        let call = json!({
            "id": 17, "status": 201,
            "request": { "headers": { "x-a": ["1", "2"], "cookie": "[redacted]" } },
            "response": { "headers": {} },
        });
        let shown = whole(&call);
        assert!(shown.contains("id           17\n") && shown.contains("\nrequest\n"), "{shown}");
        assert!(
            shown.contains("  x-a: 1\n  x-a: 2\n") && shown.contains("  cookie: [redacted]\n"),
            "{shown}"
        );
    }
}
