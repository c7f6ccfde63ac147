//! `whub subscribe FILTER`.

use clap::Args;
use serde_json::json;
use whub_client::{Client, Event, Format, Message};

use crate::{
    exit::Failure,
    hub::HubArgs,
    output,
    runtime::{self, stop},
};

/// Print the messages of channels as they come
#[derive(Args, Debug)]
#[command(after_help = EXAMPLES)]
pub(crate) struct Subscribe {
    /// A channel or a filter: + is one segment, a # at the end the remainder
    filter: String,

    /// End after so many messages
    #[arg(long, short = 'n', value_name = "NUMBER")]
    count: Option<u64>,

    /// Print messages without their channels; of a filter without + and # they are anyway
    #[arg(long)]
    raw: bool,

    /// Print a JSON object per message: channel, headers and the payload as data, text or b64
    #[arg(long, conflicts_with = "raw")]
    pub(crate) json: bool,

    #[command(flatten)]
    hub: HubArgs,
}

const EXAMPLES: &str = "\
Examples:
  whub subscribe news/eu
  whub subscribe 'news/#'                        the channel stands before each message
  whub subscribe 'metrics/+' --json | jq .data.load

A lost connection is made again and the subscription with it; standard error tells of it, and of
messages that were missed. Ctrl-C ends the command, with exit code 0.";

impl Subscribe {
    pub(crate) fn run(&self) -> Result<(), Failure> {
        runtime::run_client(async {
            let client = self.hub.connect().await?;
            let told = tokio::spawn(tell(client.events()));
            let outcome = tokio::select! {
                outcome = self.print(&client) => outcome,
                () = stop() => Ok(()),
            };
            told.abort();
            let _ = client.close().await;
            outcome
        })
    }

    async fn print(&self, client: &Client) -> Result<(), Failure> {
        let mut messages = client.subscribe(&self.filter).await?;
        output::note(&format!("subscribed to {}", self.filter));
        let mut left = self.count.unwrap_or(u64::MAX);
        while left > 0 {
            let Some(message) = messages.next().await else {
                return messages.error().map_or(Ok(()), |error| Err(error.into()));
            };
            self.print_one(&message)?;
            left -= 1;
        }
        Ok(())
    }

    fn print_one(&self, message: &Message) -> Result<(), Failure> {
        if self.json {
            let mut object = json!({
                "channel": message.channel(),
                "headers": output::headers(message.headers()),
                "time_ms": message.time_ms(),
            });
            output::put_payload(&mut object, message.bytes(), message.format() == Format::Json);
            return output::print_json(&object);
        }
        let mut line = Vec::with_capacity(message.bytes().len() + 1);
        if !self.raw && self.filter.contains(['+', '#']) {
            line.extend_from_slice(message.channel().as_bytes());
            line.push(b' ');
        }
        line.extend_from_slice(message.bytes());
        line.push(b'\n');
        output::write(&line)
    }
}

/// Tells on standard error what happens to the connection.
pub(crate) async fn tell(mut events: whub_client::Events) {
    while let Some(event) = events.next().await {
        match event {
            Event::Reconnecting { delay, error, .. } => {
                output::note(&format!("connection lost ({error}); next try in {} ms", delay.as_millis()));
            }
            Event::Open { node, .. } => output::note(&format!("connected to {node}")),
            Event::Lagged { channel, count } => {
                output::note(&format!("{count} messages of {channel} were missed"))
            }
            Event::Drain { reason } => output::note(&format!("the hub is stopping: {reason}")),
            Event::Error(error) => output::note(&error.to_string()),
            Event::Resubscribed { .. } | Event::Closed => {}
            // Events are open; what is not known here is not worth a line.
            _ => {}
        }
    }
}
