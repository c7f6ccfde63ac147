//! `whub pair ID`: standard input and output become one half of a pair.

use std::io::{self, IsTerminal};

use bytes::BytesMut;
use clap::Args;
use tokio::io::{AsyncBufReadExt, AsyncReadExt, BufReader};
use whub_client::{Client, PairEvent, PairReceiver, PairSender};

use crate::{
    exit::{Exit, Failure},
    hub::HubArgs,
    output,
    runtime::{self, stop},
};

/// Bytes of standard input that travel as one message.
const CHUNK_BYTES: usize = 64 << 10;

/// Connect standard input and output with whoever joins the same id
#[derive(Args, Debug)]
#[command(after_help = EXAMPLES)]
pub(crate) struct Pair {
    /// The id both halves know; it does not begin with /
    id: String,

    /// Send each line as a text message, and end each message that comes with a line break
    #[arg(long)]
    text: bool,

    #[command(flatten)]
    hub: HubArgs,
}

const EXAMPLES: &str = "\
Examples:
  whub pair room-42                              here,
  whub pair room-42                              and in another terminal: what is typed appears there
  tar c photos | whub pair copy-7                send a folder,
  whub pair copy-7 | tar x                       and take it
  whub pair room-42 --text                       the other half is a browser at /pair/room-42

Bytes are carried as they are; what is typed at a terminal is sent as text. The end of input is carried
over, and the other direction stays open until its end comes too. When output is piped and input is a
terminal, nothing is read and the end is sent at once. A connection that breaks is exit code 3, because bytes may be missing.";

impl Pair {
    pub(crate) fn run(&self) -> Result<(), Failure> {
        runtime::run_client(async {
            let client = self.hub.connect().await?;
            let outcome = tokio::select! {
                outcome = self.carry(&client) => outcome,
                () = stop() => Err(Failure::new(Exit::Interrupted, "interrupted")),
            };
            let _ = client.close().await;
            outcome
        })
    }

    async fn carry(&self, client: &Client) -> Result<(), Failure> {
        output::note(&format!("waiting for the other half of {}", self.id));
        let (sender, receiver) = client.pair(&self.id).await?.split();
        output::note("paired");
        self.exchange(sender, receiver).await
    }

    /// Both directions until both have ended, or the other half is gone. They are tasks apart, because standard output
    /// may block while there is input to be sent.
    async fn exchange(&self, sender: PairSender, mut receiver: PairReceiver) -> Result<(), Failure> {
        let mut sending = tokio::spawn(send(sender, self.text));
        let (mut sent, mut received) = (false, false);
        while !(sent && received) {
            tokio::select! {
                event = receiver.next() => match event {
                    Some(PairEvent::Message(message)) => self.print(message.bytes())?,
                    Some(PairEvent::Finished) => received = true,
                    Some(PairEvent::Left { .. }) if sent || received => return Ok(()),
                    Some(PairEvent::Left { .. }) => return Err(left()),
                    Some(PairEvent::Interrupted) => return Err(interrupted()),
                    Some(_) => {}
                    None => return receiver.error().map_or(Ok(()), |error| Err(error.into())),
                },
                outcome = &mut sending, if !sent => {
                    // A task that panicked has said so on standard error.
                    outcome.map_err(|_| Failure::new(Exit::Failed, "sending failed"))??;
                    sent = true;
                }
            }
        }
        Ok(())
    }

    fn print(&self, bytes: &[u8]) -> Result<(), Failure> {
        output::write(bytes)?;
        if self.text { output::write(b"\n") } else { Ok(()) }
    }
}

/// Sends standard input, then its end.
async fn send(sender: PairSender, lines: bool) -> Result<(), Failure> {
    let typed = io::stdin().is_terminal();
    // Who pipes the output on and gives no input only wants to receive.
    let receives_only = typed && !io::stdout().is_terminal();
    if lines && !receives_only {
        send_lines(&sender).await?;
    } else if !receives_only {
        send_bytes(&sender, typed).await?;
    }
    Ok(sender.finish().await?)
}

/// Sends what can be read at once as one message; typed lines as text, which browsers show as such.
async fn send_bytes(sender: &PairSender, typed: bool) -> Result<(), Failure> {
    let mut input = tokio::io::stdin();
    loop {
        let mut chunk = BytesMut::with_capacity(CHUNK_BYTES);
        if input.read_buf(&mut chunk).await.map_err(unreadable)? == 0 {
            return Ok(());
        }
        match std::str::from_utf8(&chunk) {
            Ok(text) if typed => sender.send(text).await?,
            Ok(_) | Err(_) => sender.send_bytes(chunk.freeze()).await?,
        }
    }
}

async fn send_lines(sender: &PairSender) -> Result<(), Failure> {
    let mut lines = BufReader::new(tokio::io::stdin()).lines();
    while let Some(line) = lines.next_line().await.map_err(unreadable)? {
        sender.send(line).await?;
    }
    Ok(())
}

fn unreadable(error: io::Error) -> Failure {
    Failure::new(Exit::Failed, format!("cannot read standard input: {error}"))
}

fn left() -> Failure {
    Failure::new(Exit::Failed, "the other half left before it was sent everything")
}

fn interrupted() -> Failure {
    Failure::new(Exit::Unreachable, "the connection broke; bytes may be missing")
}
