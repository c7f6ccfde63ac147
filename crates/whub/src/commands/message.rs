//! `whub message`: messages to clients.

use clap::{Args, Subcommand};
use serde_json::Value;
use tokio::io::AsyncReadExt;
use whub_client::{Call, Format};

use crate::{
    exit::{Exit, Failure},
    hub::HubArgs,
    output, runtime,
};

/// Longest message that is read from standard input.
const MESSAGE_BYTES_MAX: u64 = 16 << 20;

/// Send a message to clients
#[derive(Args, Debug)]
#[command(after_help = EXAMPLES)]
pub(crate) struct Message {
    #[command(subcommand)]
    whom: Whom,
}

#[derive(Subcommand, Debug)]
enum Whom {
    /// To clients, users or groups
    Send {
        /// A client (c-8f3a02d1-17), a user (ops), a group (@night), or several between commas
        to: String,

        #[command(flatten)]
        what: What,
    },
    /// To everybody
    Broadcast {
        #[command(flatten)]
        what: What,
    },
}

#[derive(Args, Debug)]
struct What {
    /// The message; without it, or with -, all of standard input
    #[arg(value_name = "TEXT|-", default_value = "-", hide_default_value = true)]
    text: String,

    /// Print the outcome for each recipient as JSON
    #[arg(long)]
    json: bool,

    #[command(flatten)]
    hub: HubArgs,
}

const EXAMPLES: &str = "\
Examples:
  whub message send ops 'the till is empty'
  whub message send @night,c-8f3a02d1-17 '{\"till\":4}'   text that is a JSON object or array is sent as JSON
  whub message broadcast 'closing in ten minutes'
  whub subscribe '$inbox'                                wait for messages to oneself

Nobody keeps a message for those who are not connected. The command fails when it reached nobody.";

impl Message {
    pub(crate) fn wants_json(&self) -> bool {
        self.what().json
    }

    fn what(&self) -> &What {
        match &self.whom {
            Whom::Send { what, .. } | Whom::Broadcast { what } => what,
        }
    }

    pub(crate) fn run(&self) -> Result<(), Failure> {
        let what = self.what();
        runtime::run_client(async {
            let message = what.read().await?;
            let client = what.hub.connect().await?;
            let call = match &self.whom {
                Whom::Send { to, .. } => client.call("/message/send").header("x-to", to),
                Whom::Broadcast { .. } => client.call("/message/broadcast").query("raw"),
            };
            let answer = body(call.method("POST"), message).await?;
            let told: Value = answer.json().await?;
            let _ = client.close().await;
            what.report(&told)
        })
    }
}

impl What {
    async fn read(&self) -> Result<Vec<u8>, Failure> {
        if self.text != "-" {
            return Ok(self.text.clone().into_bytes());
        }
        let mut message = Vec::new();
        let mut input = tokio::io::stdin().take(MESSAGE_BYTES_MAX);
        let unreadable = |error| Failure::new(Exit::Failed, format!("cannot read standard input: {error}"));
        input.read_to_end(&mut message).await.map_err(unreadable)?;
        Ok(message)
    }

    fn report(&self, told: &Value) -> Result<(), Failure> {
        let count = |outcome: &str| told[outcome].as_u64().unwrap_or(0);
        let reached = count("delivered") + count("queued");
        if self.json {
            output::print_json(told)?;
        } else {
            output::print(&format!("{}\n", summary(told)))?;
        }
        if reached > 0 {
            return Ok(());
        }
        let exit = if count("forbidden") > 0 { Exit::Denied } else { Exit::NotFound };
        Err(Failure::new(exit, "the message reached nobody"))
    }
}

/// The outcomes that there are, such as `2 delivered, 1 not found`.
fn summary(told: &Value) -> String {
    let outcomes = ["delivered", "queued", "dropped", "gone", "not_found", "forbidden"];
    let counted = outcomes.iter().filter_map(|outcome| {
        let count = told[outcome].as_u64().filter(|count| *count > 0)?;
        Some(format!("{count} {}", outcome.replace('_', " ")))
    });
    let shown = counted.collect::<Vec<_>>().join(", ");
    if shown.is_empty() { "nobody is connected".to_owned() } else { shown }
}

fn body(call: Call, message: Vec<u8>) -> Call {
    match String::from_utf8(message) {
        Ok(text) if output::is_json_container(&text) => call.text(text).format(Format::Json),
        Ok(text) => call.text(text),
        Err(bytes) => call.body(bytes.into_bytes()),
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn only_outcomes_that_happened_are_told() {
        assert_eq!(
            summary(&json!({ "delivered": 2, "queued": 0, "not_found": 1 })),
            "2 delivered, 1 not found"
        );
        assert_eq!(summary(&json!({})), "nobody is connected");
    }
}
