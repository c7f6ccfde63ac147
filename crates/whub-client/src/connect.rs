//! Options of a client, and its first connection.

use std::future::{Future, IntoFuture};
use std::io;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use tokio::sync::{broadcast, mpsc, oneshot, watch};
use whub_transport::{DialOptions, Dialer, ServerUrl, Stream, Trust};

use crate::client::{BoxFuture, Client, Shared};
use crate::dial::{Setup, Source, TokenSource};
use crate::error::Error;
use crate::event::State;
use crate::keeper::{Keeper, Lines};
use crate::key::KeySource;

/// Default for connecting and for whatever waits for an answer.
const TIMEOUT: Duration = Duration::from_secs(10);
/// Commands that wait for the connection's task; senders beyond it wait themselves.
const COMMANDS_MAX: usize = 256;
/// Events that wait for a slow reader of them.
const EVENTS_MAX: usize = 64;

/// Connects to a hub: `ws wss http https` by WebSocket, `tcp tls unix` by the own protocol.
///
/// ```no_run
/// # async fn example() -> Result<(), whub_client::Error> {
/// let hub = whub_client::connect("ws://127.0.0.1:9482").await?;
/// let total = hub.call("/billing/total").text("42").await?.text().await?;
/// # Ok(())
/// # }
/// ```
pub fn connect(url: impl Into<String>) -> Connect {
    Connect {
        url: url.into(),
        token: None,
        name: String::new(),
        timeout: TIMEOUT,
        connect_timeout: TIMEOUT,
        retry_initial: false,
        trust: Trust::default(),
        given: None,
    }
}

/// A client about to be made: set its options, then await it.
#[must_use = "nothing is connected before it is awaited"]
pub struct Connect {
    url: String,
    token: Option<TokenSource>,
    name: String,
    timeout: Duration,
    connect_timeout: Duration,
    retry_initial: bool,
    trust: Trust,
    given: Option<Source>,
}

impl std::fmt::Debug for Connect {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        // Neither the URL nor the token: both may hold secrets.
        f.debug_struct("Connect").field("name", &self.name).finish_non_exhaustive()
    }
}

impl Connect {
    /// The token that says who this program is. An empty one means none.
    pub fn token(self, token: impl Into<String>) -> Self {
        let token = token.into();
        if token.is_empty() {
            return Self { token: None, ..self };
        }
        self.token_provider(move || std::future::ready(Ok(token.clone())))
    }

    /// Where tokens come from: asked before every connection, and 10 s before a token runs out.
    pub fn token_provider<F, Fut>(mut self, provide: F) -> Self
    where
        F: Fn() -> Fut + Send + Sync + 'static,
        Fut: Future<Output = Result<String, Error>> + Send + 'static,
    {
        self.token = Some(Arc::new(move || Box::pin(provide())));
        self
    }

    /// The name that this program gives itself.
    pub fn name(mut self, name: impl Into<String>) -> Self {
        self.name = name.into();
        self
    }

    /// How long calls and other questions wait for their answer unless they say otherwise. Default: 10 s.
    pub fn timeout(mut self, timeout: Duration) -> Self {
        self.timeout = timeout;
        self
    }

    /// How long one try to connect may take. Default: 10 s.
    pub fn connect_timeout(mut self, timeout: Duration) -> Self {
        self.connect_timeout = timeout;
        self
    }

    /// Whether the first connection is tried again and again, as later ones are. Default: it fails at once.
    pub fn retry_initial(mut self, retry: bool) -> Self {
        self.retry_initial = retry;
        self
    }

    /// Trusts the certificates of this PEM file instead of the system's.
    pub fn tls_ca_file(mut self, path: impl Into<PathBuf>) -> Self {
        self.trust = Trust::File(path.into());
        self
    }

    /// Trusts the one certificate with this SHA-256 fingerprint, 64 hexadecimal digits.
    ///
    /// # Errors
    /// When it is none.
    pub fn tls_fingerprint(mut self, fingerprint: &str) -> Result<Self, Error> {
        let parsed = fingerprint.parse().map_err(|error: whub_transport::tls::FingerprintError| {
            Error::invalid(error.to_string()).with_source(error)
        })?;
        self.trust = Trust::Pinned(parsed);
        Ok(self)
    }

    /// Takes streams from a function instead of dialling the URL, which then only names the protocol: for tunnels,
    /// and for tests without a network.
    pub fn dial_with<F, Fut>(mut self, dial: F) -> Self
    where
        F: Fn() -> Fut + Send + Sync + 'static,
        Fut: Future<Output = io::Result<Stream>> + Send + 'static,
    {
        self.given = Some(Source::Given(Arc::new(move || Box::pin(dial()))));
        self
    }

    async fn open(self) -> Result<Client, Error> {
        let url: ServerUrl = self.url.parse().map_err(|error: whub_transport::UrlError| {
            Error::invalid(error.to_string()).with_source(error)
        })?;
        let source = self.given.unwrap_or_else(|| {
            let options = DialOptions {
                connect_within: self.connect_timeout,
                trust: self.trust,
                ..DialOptions::default()
            };
            Source::Dialer(Arc::new(Dialer::new(url.clone(), options)))
        });
        let setup = Setup { url, source, token: self.token, name: self.name, within: self.connect_timeout };
        let (client, opened) = start(setup, self.timeout, self.retry_initial);
        match opened.await {
            Ok(outcome) => outcome.map(|()| client),
            Err(_) => Err(client.end_reason()),
        }
    }
}

/// Starts the task that keeps the client connected.
fn start(
    setup: Setup,
    timeout: Duration,
    retry_initial: bool,
) -> (Client, oneshot::Receiver<Result<(), Error>>) {
    let (commands, commanded) = mpsc::channel(COMMANDS_MAX);
    let (releases, released) = mpsc::unbounded_channel();
    let (events, _) = broadcast::channel(EVENTS_MAX);
    let (states, state) = watch::channel(State::Connecting);
    let (first, opened) = oneshot::channel();
    let keys = Arc::new(KeySource::default());
    let lines = Lines {
        weak_commands: commands.downgrade(),
        commands: commanded,
        releases: releases.clone(),
        released,
        events: events.clone(),
        state: states,
    };
    let keeper = Keeper::new(Arc::new(setup), lines, Arc::clone(&keys), first, retry_initial);
    tokio::spawn(keeper.run());
    let shared = Shared { commands, releases, keys, events, state, timeout };
    (Client::new(shared), opened)
}

impl IntoFuture for Connect {
    type Output = Result<Client, Error>;
    type IntoFuture = BoxFuture<Self::Output>;

    fn into_future(self) -> Self::IntoFuture {
        Box::pin(self.open())
    }
}
