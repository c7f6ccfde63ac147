//! `whub pair ID`: standard input and output become one half of a pair.

use std::{
    io::{self, IsTerminal},
    path::PathBuf,
    sync::{Arc, atomic::Ordering::Relaxed},
    time::Duration,
};

use bytes::BytesMut;
use clap::{Args, ValueEnum};
use tokio::{
    io::{AsyncBufReadExt, AsyncReadExt, BufReader},
    task::JoinHandle,
    time::timeout,
};
use whub_client::{Client, Event, PairEvent, PairReceiver, PairSender, ThirdArrival};

use crate::{
    arguments::{duration, duration_or_none},
    exit::{Exit, Failure},
    hub::{self, HubArgs},
    output,
    progress::{Passed, Progress},
    runtime::{self, stop},
};

/// Bytes of standard input that travel as one message.
const CHUNK_BYTES: usize = 64 << 10;

/// How long what was sent may take to be known to have arrived, once the other half has left with all it wanted.
const SETTLE_WITHIN: Duration = Duration::from_secs(1);

/// Connect standard input and output with whoever joins the same id
#[derive(Args, Debug)]
#[command(after_help = EXAMPLES)]
pub(crate) struct Pair {
    /// The id both halves know; it does not begin with /
    id: String,

    /// Send each line as a text message, and end each message that comes with a line break
    #[arg(long)]
    text: bool,

    /// File whose first line is a secret that both halves must know; without it, the environment variable
    /// WHUB_PAIR_SECRET is used if set
    #[arg(long, value_name = "FILE")]
    secret_file: Option<PathBuf>,

    /// Let the id be used for one meeting only
    #[arg(long)]
    once: bool,

    /// How long the place is kept when the connection breaks, and the other half waits; 0s: not at all
    #[arg(long, value_name = "DURATION", default_value = "30s", value_parser = duration_or_none)]
    grace: Duration,

    /// How long to wait for the other half; without it, as long as it takes
    #[arg(long, value_name = "DURATION", value_parser = duration)]
    ttl: Option<Duration>,

    /// What a third meets who comes while two are there
    #[arg(long, value_name = "POLICY", default_value = "next")]
    third: Third,

    /// Show how much has passed on standard error; the default where that is a terminal and bytes are piped
    #[arg(long, overrides_with = "no_progress")]
    progress: bool,

    /// Do not show it
    #[arg(long)]
    no_progress: bool,

    #[command(flatten)]
    hub: HubArgs,
}

/// What a third meets. The one who comes first says so for both.
#[derive(Clone, Copy, Debug, ValueEnum)]
enum Third {
    /// It waits for the next, or for whoever is left alone
    Next,
    /// It is refused
    Reject,
    /// It takes the place of the one that came second
    Replace,
}

const EXAMPLES: &str = "\
Examples:
  whub pair room-42                              here,
  whub pair room-42                              and in another terminal: what is typed appears there
  tar c photos | whub pair copy-7                send a folder,
  whub pair copy-7 | tar x                       and take it
  whub pair room-42 --text                       the other half is a browser at /pair/room-42
  WHUB_PAIR_SECRET=$(cat s) whub pair copy-7 --once   for one other half that knows the secret

Bytes are carried as they are; what is typed at a terminal is sent as text. The end of input is carried
over, and the other direction stays open until its end comes too. When output is piped and input is a
terminal, nothing is read and the end is sent at once.

A connection that breaks is made again, and nothing is lost and nothing comes twice, as long as that takes no
longer than --grace at either half. Exit code 0 means that both inputs have ended and everything has passed; 1 that
the other half left before that, or that two are there already; 3 that the connection could not be made again in
time; 4 that the secret or the token is wrong; 5 that nobody came within --ttl, that the id is spent, or that another
has taken the place. In all these cases bytes may be missing.";

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
        let secret = hub::secret("secret", self.secret_file.as_deref(), "WHUB_PAIR_SECRET")?;
        output::note(&format!("waiting for the other half of {}", self.id));
        let mut join = client.pair(&self.id).once(self.once).grace(self.grace).third(self.third.into());
        if let Some(secret) = &secret {
            join = join.secret(secret.expose());
        }
        if let Some(ttl) = self.ttl {
            join = join.ttl(ttl);
        }
        let (sender, receiver) = join.await?.split();
        output::note("paired");
        let progress = Progress::begin(self.shows_progress());
        let telling = tokio::spawn(tell_of_breaks(client.clone()));
        let outcome = self.exchange(sender, receiver, progress.passed()).await;
        telling.abort();
        outcome
    }

    fn shows_progress(&self) -> bool {
        let is_conversation = io::stdin().is_terminal() && io::stdout().is_terminal();
        self.progress || (!self.no_progress && io::stderr().is_terminal() && !is_conversation)
    }

    /// Both directions until both have ended, or the other half is gone. They are tasks apart, because standard output
    /// may block while there is input to be sent.
    async fn exchange(
        &self,
        sender: PairSender,
        mut receiver: PairReceiver,
        passed: &Arc<Passed>,
    ) -> Result<(), Failure> {
        let mut sending = tokio::spawn(send(sender, self.text, Arc::clone(passed)));
        let (mut sent, mut received) = (false, false);
        while !(sent && received) {
            tokio::select! {
                event = receiver.next() => match event {
                    Some(PairEvent::Message(message)) => {
                        self.print(message.bytes())?;
                        passed.received.fetch_add(message.bytes().len() as u64, Relaxed);
                    }
                    Some(PairEvent::Finished) => received = true,
                    Some(PairEvent::Left { .. }) if !received => return Err(left_early(received, sent)),
                    Some(PairEvent::Left { .. }) => return settle(sending).await,
                    Some(PairEvent::Away) => output::note("the other half's connection broke; waiting for it"),
                    Some(PairEvent::Back) => output::note("the other half is back"),
                    Some(PairEvent::Missed { .. }) => return Err(missed()),
                    Some(PairEvent::Interrupted) => return Err(interrupted()),
                    Some(_) => {}
                    None => return Err(receiver.error().map_or_else(|| left_early(received, sent), Failure::from)),
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

/// The other half has ended its input, and left. That is well if it has everything from here: what it took before it left
/// is told by then, or about to be; what is typed at a terminal has gone out as it was typed.
async fn settle(sending: JoinHandle<Result<(), Failure>>) -> Result<(), Failure> {
    match timeout(SETTLE_WITHIN, sending).await {
        Ok(Ok(Ok(()))) => Ok(()),
        Ok(_) | Err(_) if io::stdin().is_terminal() => Ok(()),
        Ok(_) | Err(_) => Err(left_early(true, false)),
    }
}

/// Says on standard error that the connection to the hub is being made again.
async fn tell_of_breaks(client: Client) {
    let mut events = client.events();
    let mut broken = false;
    while let Some(event) = events.next().await {
        if matches!(event, Event::Reconnecting { .. }) && !broken {
            output::note("the connection to the hub broke; connecting again");
            broken = true;
        } else if matches!(event, Event::Open { .. }) && broken {
            output::note("connected again");
            broken = false;
        }
    }
}

impl From<Third> for ThirdArrival {
    fn from(third: Third) -> Self {
        match third {
            Third::Next => Self::Next,
            Third::Reject => Self::Reject,
            Third::Replace => Self::Replace,
        }
    }
}

/// Sends standard input, then its end.
async fn send(sender: PairSender, lines: bool, passed: Arc<Passed>) -> Result<(), Failure> {
    let typed = io::stdin().is_terminal();
    // Who pipes the output on and gives no input only wants to receive.
    let receives_only = typed && !io::stdout().is_terminal();
    if lines && !receives_only {
        send_lines(&sender, &passed).await?;
    } else if !receives_only {
        send_bytes(&sender, typed, &passed).await?;
    }
    Ok(sender.finish().await?)
}

/// Sends what can be read at once as one message; typed lines as text, which browsers show as such.
async fn send_bytes(sender: &PairSender, typed: bool, passed: &Passed) -> Result<(), Failure> {
    let mut input = tokio::io::stdin();
    loop {
        let mut chunk = BytesMut::with_capacity(CHUNK_BYTES);
        let count = input.read_buf(&mut chunk).await.map_err(unreadable)?;
        if count == 0 {
            return Ok(());
        }
        match std::str::from_utf8(&chunk) {
            Ok(text) if typed => sender.send(text).await?,
            Ok(_) | Err(_) => sender.send_bytes(chunk.freeze()).await?,
        }
        passed.sent.fetch_add(count as u64, Relaxed);
    }
}

async fn send_lines(sender: &PairSender, passed: &Passed) -> Result<(), Failure> {
    let mut lines = BufReader::new(tokio::io::stdin()).lines();
    while let Some(line) = lines.next_line().await.map_err(unreadable)? {
        let count = line.len() as u64;
        sender.send(line).await?;
        passed.sent.fetch_add(count, Relaxed);
    }
    Ok(())
}

fn unreadable(error: io::Error) -> Failure {
    Failure::new(Exit::Failed, format!("cannot read standard input: {error}"))
}

/// `received` says that the other half had ended its input, `sent` that it is known to have everything from here: of what it
/// took just before it left there is no word.
fn left_early(received: bool, sent: bool) -> Failure {
    Failure::new(
        Exit::Failed,
        match (received, sent) {
            (false, true) => "the other half left before the end of what it sent; bytes may be missing",
            (false, false) => {
                "the other half left before the end of what it sent; bytes may be missing both ways"
            }
            (true, _) => "the other half left before it was sent everything",
        },
    )
}

fn missed() -> Failure {
    Failure::new(
        Exit::Failed,
        "more came than could be kept while the connection was broken; bytes are missing",
    )
}

fn interrupted() -> Failure {
    Failure::new(
        Exit::Unreachable,
        "the connection broke, and the place in the pair was lost; bytes may be missing",
    )
}
