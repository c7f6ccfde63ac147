//! Publishing a message.

use std::future::IntoFuture;
use std::time::Duration;

use bytes::Bytes;
use tokio::sync::oneshot;
use whub_proto::{Format, names::Channel};

use crate::body::to_json;
use crate::client::{BoxFuture, Client};
use crate::command::{Command, Publication};
use crate::error::Error;
use crate::headers::Headers;

/// A message about to be published: set what it holds, then await it.
///
/// Without [`Publish::ack`] it is done when the message was written to the connection, or queued while there is
/// none (1,000 messages or 1 MiB, then [`ErrorKind::BufferFull`](crate::ErrorKind::BufferFull)). With it, when the
/// hub has taken the message.
#[derive(Debug)]
#[must_use = "nothing is published before it is awaited"]
pub struct Publish {
    client: Client,
    channel: String,
    payload: Bytes,
    format: Format,
    text: bool,
    headers: Headers,
    msg_id: String,
    affinity: String,
    ttl: Duration,
    ack: bool,
    timeout: Duration,
}

/// What became of a published message.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct Published {
    /// Subscribers that the hub knew of; 0 where it did not say, or no acknowledgement was asked for.
    pub receivers: u32,
    /// The message's place in the channel; 0 where it keeps no history.
    pub offset: u64,
    /// The epoch that `offset` counts in.
    pub epoch: u64,
}

impl Publish {
    pub(crate) fn new(client: Client, channel: String) -> Self {
        let timeout = client.timeout();
        Self {
            client,
            channel,
            payload: Bytes::new(),
            format: Format::Unspecified,
            text: false,
            headers: Headers::default(),
            msg_id: String::new(),
            affinity: String::new(),
            ttl: Duration::ZERO,
            ack: false,
            timeout,
        }
    }

    /// The payload as bytes.
    pub fn bytes(mut self, payload: impl Into<Bytes>) -> Self {
        (self.payload, self.format, self.text) = (payload.into(), Format::Bytes, false);
        self
    }

    /// The payload as text.
    pub fn text(mut self, payload: impl Into<String>) -> Self {
        (self.payload, self.format, self.text) = (payload.into().into(), Format::Text, true);
        self
    }

    /// The payload as JSON.
    ///
    /// # Errors
    /// When no JSON can be made of the value.
    pub fn json(mut self, value: &(impl serde::Serialize + ?Sized)) -> Result<Self, Error> {
        (self.payload, self.format, self.text) = (to_json(value)?, Format::Json, true);
        Ok(self)
    }

    /// Says what the payload is.
    pub fn format(mut self, format: Format) -> Self {
        self.format = format;
        self
    }

    /// Adds a header pair.
    pub fn header(mut self, name: impl Into<String>, value: impl Into<String>) -> Self {
        self.headers.push(name, value);
        self
    }

    /// Names the message, so that a hub that keeps history drops it if it comes twice.
    pub fn msg_id(mut self, id: impl Into<String>) -> Self {
        self.msg_id = id.into();
        self
    }

    /// The key for order and compaction.
    pub fn key(mut self, key: impl Into<String>) -> Self {
        self.affinity = key.into();
        self
    }

    /// How long it is kept in history. Default: what the channel says.
    pub fn ttl(mut self, ttl: Duration) -> Self {
        self.ttl = ttl;
        self
    }

    /// Waits until the hub has taken the message.
    pub fn ack(mut self) -> Self {
        self.ack = true;
        self
    }

    /// How long to wait. Default: that of the client, 10 s.
    pub fn timeout(mut self, timeout: Duration) -> Self {
        self.timeout = timeout;
        self
    }

    async fn send(self) -> Result<Published, Error> {
        Channel::parse(&self.channel)?;
        let (done, outcome) = oneshot::channel();
        let publication = Publication {
            channel: self.channel,
            format: self.format,
            text: self.text,
            headers: self.headers,
            msg_id: self.msg_id,
            affinity: self.affinity,
            ttl_ms: u32::try_from(self.ttl.as_millis()).unwrap_or(u32::MAX),
            payload: self.payload,
            ack: self.ack,
            done,
        };
        let command = Command::Publish(Box::new(publication));
        self.client.ask(self.timeout, command, outcome).await
    }
}

impl IntoFuture for Publish {
    type Output = Result<Published, Error>;
    type IntoFuture = BoxFuture<Self::Output>;

    fn into_future(self) -> Self::IntoFuture {
        Box::pin(self.send())
    }
}
