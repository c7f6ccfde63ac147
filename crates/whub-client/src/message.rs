//! A published message as a subscriber gets it.

use std::sync::Arc;

use bytes::Bytes;
use serde::de::DeserializeOwned;
use whub_proto::{Flags, Format, Publish, Via};

use crate::body::from_json;
use crate::error::Error;
use crate::headers::Headers;
use crate::link::detach;

/// A published message. Cheap to clone.
#[derive(Clone, Debug)]
pub struct Message(Arc<Inner>);

#[derive(Debug)]
struct Inner {
    channel: String,
    format: Format,
    text: bool,
    replayed: bool,
    headers: Headers,
    msg_id: String,
    client: String,
    user: String,
    time_ms: u64,
    epoch: u64,
    offset: u64,
    payload: Bytes,
}

impl Message {
    pub(crate) fn new(publish: &Publish<'_>, via: &Via<'_>, flags: Flags, payload: Bytes) -> Self {
        Self(Arc::new(Inner {
            channel: publish.channel.to_owned(),
            format: publish.format,
            text: flags.contains(Flags::TEXT),
            replayed: flags.contains(Flags::REPLAY),
            headers: publish.headers.into(),
            msg_id: publish.msg_id.to_owned(),
            client: via.client.to_owned(),
            user: via.user.to_owned(),
            time_ms: via.time_ms,
            epoch: via.epoch,
            offset: via.offset,
            payload: detach(payload),
        }))
    }

    /// The channel it was published to.
    #[must_use]
    pub fn channel(&self) -> &str {
        &self.0.channel
    }

    /// What the publisher says it is.
    #[must_use]
    pub fn format(&self) -> Format {
        self.0.format
    }

    /// Whether the publisher says that it is text.
    #[must_use]
    pub fn is_text(&self) -> bool {
        self.0.text
    }

    /// Whether it comes from history.
    #[must_use]
    pub fn is_replayed(&self) -> bool {
        self.0.replayed
    }

    /// The publisher's header pairs.
    #[must_use]
    pub fn headers(&self) -> &Headers {
        &self.0.headers
    }

    /// The publisher's id of the message; empty where it gave none.
    #[must_use]
    pub fn msg_id(&self) -> &str {
        &self.0.msg_id
    }

    /// The client that published it, as the hub names it.
    #[must_use]
    pub fn client(&self) -> &str {
        &self.0.client
    }

    /// The authenticated publisher; empty for anonymous ones.
    #[must_use]
    pub fn user(&self) -> &str {
        &self.0.user
    }

    /// When the hub received it, Unix milliseconds.
    #[must_use]
    pub fn time_ms(&self) -> u64 {
        self.0.time_ms
    }

    /// The epoch that [`Message::offset`] counts in.
    #[must_use]
    pub fn epoch(&self) -> u64 {
        self.0.epoch
    }

    /// Its place in the channel, from 1; 0 where the channel keeps no history.
    #[must_use]
    pub fn offset(&self) -> u64 {
        self.0.offset
    }

    /// The payload.
    #[must_use]
    pub fn bytes(&self) -> &Bytes {
        &self.0.payload
    }

    /// The payload as text.
    ///
    /// # Errors
    /// When it is not UTF-8.
    pub fn text(&self) -> Result<&str, Error> {
        std::str::from_utf8(&self.0.payload)
            .map_err(|error| Error::invalid("the message is not UTF-8").with_source(error))
    }

    /// The payload as a value of JSON.
    ///
    /// # Errors
    /// When it is not the JSON that `T` wants.
    pub fn json<T: DeserializeOwned>(&self) -> Result<T, Error> {
        from_json(&self.0.payload)
    }
}
