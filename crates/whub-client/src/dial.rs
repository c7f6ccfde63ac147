//! From a URL to an open session: dial, upgrade, `Hello`, `Welcome`.

use std::future::Future;
use std::io;
use std::sync::Arc;
use std::time::Duration;

use whub_proto::{Body, Flags, Frame, Hello, Origin, PART_BYTES_MAX, Strings};
use whub_transport::{Dialer, ServerUrl, Stream};

use crate::client::BoxFuture;
use crate::error::Error;
use crate::link::{Arrival, Link, closed};
use crate::session::{Outbox, Terms};

/// Longest frame that this client takes, whatever the hub announces: 16 MiB.
const FRAME_BYTES_MAX: usize = 16 << 20;
/// Shortest `max_frame` that a hub may announce, bytes: below it no request fits.
const FRAME_BYTES_MIN: usize = 1024;
/// Shortest ping interval that a hub may ask for.
const PING_MIN: Duration = Duration::from_secs(1);

/// Where streams to the hub come from.
#[derive(Clone)]
pub(crate) enum Source {
    Dialer(Arc<Dialer>),
    Given(Arc<dyn Fn() -> BoxFuture<io::Result<Stream>> + Send + Sync>),
}

/// Where tokens come from.
pub(crate) type TokenSource = Arc<dyn Fn() -> BoxFuture<Result<String, Error>> + Send + Sync>;

/// All that is needed to connect, again and again.
pub(crate) struct Setup {
    pub(crate) url: ServerUrl,
    pub(crate) source: Source,
    pub(crate) token: Option<TokenSource>,
    pub(crate) name: String,
    pub(crate) within: Duration,
}

/// A session that the hub has welcomed.
pub(crate) struct Opened {
    pub(crate) link: Link,
    pub(crate) terms: Terms,
}

impl Setup {
    /// Connects once, within the setup's time.
    pub(crate) fn connect(self: Arc<Self>) -> impl Future<Output = Result<Opened, Error>> + Send {
        let within = self.within;
        async move {
            match tokio::time::timeout(within, self.greet()).await {
                Ok(outcome) => outcome,
                Err(_) => {
                    let reason = format!("the hub at {} did not answer within {within:?}", self.url);
                    Err(Error::timeout(reason))
                }
            }
        }
    }

    async fn greet(&self) -> Result<Opened, Error> {
        let token = match &self.token {
            Some(source) => source().await?,
            None => String::new(),
        };
        let stream = self.dial().await?;
        let mut link = Link::open(stream, &self.url, FRAME_BYTES_MAX + PART_BYTES_MAX).await?;
        self.say_hello(&mut link, &token)?;
        link.writer.flush().await?;
        let terms = welcome(&mut link).await?;
        link.reader.limit(terms.frame_bytes_max + PART_BYTES_MAX);
        Ok(Opened { link, terms })
    }

    async fn dial(&self) -> Result<Stream, Error> {
        match &self.source {
            Source::Dialer(dialer) => dialer.connect().await.map_err(|error| {
                let failed = if error.is_timeout() {
                    Error::timeout(error.to_string())
                } else {
                    Error::lost(error.to_string())
                };
                failed.with_source(error)
            }),
            Source::Given(dial) => dial().await.map_err(|error| {
                Error::lost(format!("{} cannot be reached: {error}", self.url)).with_source(error)
            }),
        }
    }

    fn say_hello(&self, link: &mut Link, token: &str) -> Result<(), Error> {
        let hello = Hello {
            agent: crate::AGENT,
            name: &self.name,
            scheme: if token.is_empty() { "" } else { "bearer" },
            token,
            features: Strings::new(&FEATURES),
            ..Hello::default()
        };
        let mut outbox = Outbox::default();
        let fits = outbox.push_with(0, Flags::NONE, &Body::Hello(hello), &[], PART_BYTES_MAX);
        fits.map_err(|error| Error::too_large(format!("name and token are too long: {error}")))?;
        outbox.drain(|frame| link.writer.frame(frame));
        Ok(())
    }
}

/// What this client knows of that came after the first version: partners in pairs whose connection is lost and comes back.
const FEATURES: [&str; 1] = ["pair.seats"];

/// Waits for the hub's first frame.
async fn welcome(link: &mut Link) -> Result<Terms, Error> {
    loop {
        while let Some(arrival) = link.reader.pop()? {
            match arrival {
                Arrival::Frame(bytes) => return terms(&bytes),
                Arrival::Ping(payload) => {
                    link.writer.pong(&payload);
                    link.writer.flush().await?;
                }
                Arrival::Sign => {}
                Arrival::Close(frame) => return Err(closed(frame.as_ref())),
            }
        }
        if !link.reader.read().await? {
            return Err(Error::lost("the hub closed the connection before its welcome"));
        }
    }
}

#[expect(clippy::wildcard_enum_match_arm, reason = "whatever else comes first is as wrong")]
fn terms(bytes: &[u8]) -> Result<Terms, Error> {
    let frame = Frame::parse(bytes, FRAME_BYTES_MAX, Origin::Hub)
        .map_err(|error| Error::protocol(format!("the hub sent a bad frame: {error}")))?;
    match frame.body {
        Body::Welcome(welcome) if welcome.version == 1 => Ok(Terms {
            client: welcome.client.to_owned(),
            node: welcome.node.to_owned(),
            ping: Duration::from_millis(welcome.ping_ms.into()).max(PING_MIN),
            frame_bytes_max: (welcome.max_frame as usize).clamp(FRAME_BYTES_MIN, FRAME_BYTES_MAX),
            token_ttl: Duration::from_millis(welcome.token_ttl_ms.into()),
        }),
        Body::Welcome(welcome) => {
            Err(Error::protocol(format!("the hub chose version {} of the protocol, not 1", welcome.version)))
        }
        Body::Error(failure) => Err(Error::remote(&failure)),
        _ => Err(Error::protocol(format!("the hub began with {} instead of a welcome", frame.head.kind))),
    }
}
