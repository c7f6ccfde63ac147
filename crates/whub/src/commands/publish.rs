//! `whub publish CHANNEL [TEXT|-]`.

use std::time::Duration;

use clap::Args;
use serde_json::json;
use tokio::io::{AsyncBufReadExt, AsyncReadExt, BufReader};
use whub_client::{Client, Format, Published};

use crate::{
    arguments::{duration, header},
    exit::{Exit, Failure},
    hub::HubArgs,
    output, runtime,
};

/// Longest message that is read from standard input.
const MESSAGE_BYTES_MAX: u64 = 16 << 20;

/// Publish a message to a channel
#[derive(Args, Debug)]
#[command(after_help = EXAMPLES)]
pub(crate) struct Publish {
    /// The channel, such as news/eu
    channel: String,

    /// The message; without it, or with -, all of standard input
    #[arg(value_name = "TEXT|-", default_value = "-", hide_default_value = true)]
    text: String,

    /// Publish each line of standard input as a message of its own
    #[arg(long, conflicts_with = "text")]
    lines: bool,

    /// Header to send along; repeat for more
    #[arg(long = "header", short = 'H', value_name = "NAME:VALUE", value_parser = header)]
    headers: Vec<(String, String)>,

    /// How long to wait until the hub has taken a message
    #[arg(long, value_name = "DURATION", default_value = "10s", value_parser = duration)]
    timeout: Duration,

    /// Print a JSON object for each message that the hub has taken
    #[arg(long)]
    pub(crate) json: bool,

    #[command(flatten)]
    hub: HubArgs,
}

const EXAMPLES: &str = "\
Examples:
  whub publish news/eu 'hello'
  whub publish metrics/cpu '{\"load\":0.4}'        text that is a JSON object or array is sent as JSON
  tail -f app.log | whub publish logs/app --lines

Each message is acknowledged by the hub before the command goes on. Nobody needs to be subscribed.";

impl Publish {
    pub(crate) fn run(&self) -> Result<(), Failure> {
        runtime::run_client(async {
            let client = self.hub.connect().await?;
            let outcome = tokio::select! {
                outcome = self.publish(&client) => outcome,
                () = runtime::interrupt() => Err(Failure::new(Exit::Interrupted, "interrupted")),
            };
            let _ = client.close().await;
            outcome
        })
    }

    async fn publish(&self, client: &Client) -> Result<(), Failure> {
        if self.lines {
            return self.publish_lines(client).await;
        }
        if self.text != "-" {
            return self.send(client, self.text.as_bytes()).await;
        }
        let mut message = Vec::new();
        let mut input = tokio::io::stdin().take(MESSAGE_BYTES_MAX + 1);
        input.read_to_end(&mut message).await.map_err(unreadable)?;
        self.send(client, &message).await
    }

    async fn publish_lines(&self, client: &Client) -> Result<(), Failure> {
        let mut input = BufReader::new(tokio::io::stdin());
        loop {
            let mut line = Vec::new();
            let mut bounded = (&mut input).take(MESSAGE_BYTES_MAX + 1);
            if bounded.read_until(b'\n', &mut line).await.map_err(unreadable)? == 0 {
                return Ok(());
            }
            self.send(client, line.strip_suffix(b"\n").unwrap_or(&line)).await?;
        }
    }

    async fn send(&self, client: &Client, message: &[u8]) -> Result<(), Failure> {
        if message.len() as u64 > MESSAGE_BYTES_MAX {
            let text = format!("a message may have {} MiB", MESSAGE_BYTES_MAX >> 20);
            return Err(Failure::new(Exit::Failed, text));
        }
        let mut publish = client.publish(&self.channel).timeout(self.timeout).ack();
        for (name, value) in &self.headers {
            publish = publish.header(name, value);
        }
        publish = match std::str::from_utf8(message) {
            Ok(text) if output::is_json_container(text) => publish.text(text).format(Format::Json),
            Ok(text) => publish.text(text),
            Err(_) => publish.bytes(message.to_vec()),
        };
        let published = publish.await?;
        self.report(published)
    }

    fn report(&self, published: Published) -> Result<(), Failure> {
        if !self.json {
            return Ok(());
        }
        output::print_json(&json!({ "channel": self.channel, "receivers": published.receivers }))
    }
}

fn unreadable(error: std::io::Error) -> Failure {
    Failure::new(Exit::Failed, format!("cannot read standard input: {error}"))
}
