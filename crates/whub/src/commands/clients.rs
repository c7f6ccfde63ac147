//! `whub clients`: who is connected, and ending their sessions.

use clap::Args;
use serde_json::{Value, json};

use crate::{
    commands::table::{table, time_of_day},
    exit::{Exit, Failure},
    hub::HubArgs,
    output, runtime,
};

/// Show who is connected, or end sessions
#[derive(Args, Debug)]
#[command(after_help = EXAMPLES)]
pub(crate) struct Clients {
    /// End the sessions of a client, a user or a @group instead; repeat for more
    #[arg(long, value_name = "ID")]
    kick: Vec<String>,

    /// Print JSON
    #[arg(long)]
    pub(crate) json: bool,

    #[command(flatten)]
    hub: HubArgs,
}

const EXAMPLES: &str = "\
Examples:
  whub clients
  whub clients --json | jq '.clients[] | select(.user == \"ops\")'
  whub clients --kick c-8f3a02d1-17 --kick @night

Clients are the sessions of the whub protocol. Both need a token with `admin`, unless the keys builtin.clients and
builtin.kick say otherwise. SINCE is in UTC.";

impl Clients {
    pub(crate) fn run(&self) -> Result<(), Failure> {
        runtime::run_client(async {
            if self.kick.is_empty() {
                let told = self.hub.get("/clients").await?;
                return if self.json { output::print_json(&told) } else { output::print(&list(&told)) };
            }
            let client = self.hub.connect().await?;
            let answer = client.call("/clients").method("DELETE").json(&json!({ "ids": self.kick }))?.await?;
            let told: Value = answer.json().await?;
            let _ = client.close().await;
            self.report(&told)
        })
    }

    fn report(&self, told: &Value) -> Result<(), Failure> {
        if self.json {
            output::print_json(told)?;
        } else {
            output::print(&format!("{} sessions ended\n", told["closed"]))?;
        }
        let missing: Vec<&str> =
            told["not_found"].as_array().into_iter().flatten().filter_map(Value::as_str).collect();
        if missing.is_empty() {
            return Ok(());
        }
        Err(Failure::new(Exit::NotFound, format!("nobody is connected as {}", missing.join(", "))))
    }
}

fn list(told: &Value) -> String {
    let mut rows =
        vec![["CLIENT", "USER", "NAME", "ADDRESS", "TRANSPORT", "SINCE", "HOLDS"].map(str::to_owned)];
    for client in told["clients"].as_array().into_iter().flatten() {
        let text = |key: &str| client[key].as_str().filter(|text| !text.is_empty()).unwrap_or("-").to_owned();
        let count = |key: &str| client[key].as_u64().unwrap_or(0);
        let holds = format!("{} services, {} subscriptions", count("services"), count("subscriptions"));
        let since = time_of_day(count("since_ms"));
        rows.push([text("id"), text("user"), text("name"), text("address"), text("transport"), since, holds]);
    }
    table(&rows, [false; 7])
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn people_get_a_table() {
        let told = json!({ "clients": [{
            "id": "c-1", "user": null, "name": "", "address": "127.0.0.1:9", "transport": "stream",
            "since_ms": 61_500, "services": 1, "subscriptions": 2,
        }] });
        let expected = "CLIENT  USER  NAME  ADDRESS      TRANSPORT  SINCE         HOLDS\n\
                        c-1     -     -     127.0.0.1:9  stream     00:01:01.500  1 services, 2 subscriptions\n";
        assert_eq!(list(&told), expected);
    }
}
