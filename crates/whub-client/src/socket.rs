//! A WebSocket that is a call: a provider accepts it, messages travel both ways under credit, each side closes once.
//!
//! A provider gets one from [`Request::accept`](crate::Request::accept), a caller from
//! [`Client::websocket`](crate::Client::websocket). Pings are the hub's affair. The WebSocket that leads to a hub is
//! another thing, in [`websocket`](crate::websocket).

mod open;
mod reader;
mod writer;

use std::time::Duration;

use bytes::Bytes;

use crate::error::Error;

pub use open::OpenSocket;
pub use reader::SocketReader;
pub use writer::SocketWriter;

/// The method of a request for a WebSocket.
pub(crate) const WEBSOCKET: &str = "WEBSOCKET";
/// The status that accepts one.
pub(crate) const ACCEPTED: u16 = 101;
/// The header that offers subprotocols, and names the chosen one.
pub(crate) const PROTOCOL: &str = "sec-websocket-protocol";
/// Longest message, either way: 16 MiB.
pub(crate) const MESSAGE_BYTES_MAX: usize = 16 << 20;

/// How long [`Socket::close`] waits for the other side's close.
const CLOSE_WITHIN: Duration = Duration::from_secs(5);

/// An open WebSocket, in the hand of its provider or of its caller.
#[derive(Debug)]
pub struct Socket {
    reader: SocketReader,
    writer: SocketWriter,
    protocol: Option<String>,
}

impl Socket {
    pub(crate) fn new(reader: SocketReader, writer: SocketWriter, protocol: Option<String>) -> Self {
        Self { reader, writer, protocol }
    }

    /// The subprotocol that was agreed on.
    #[must_use]
    pub fn protocol(&self) -> Option<&str> {
        self.protocol.as_deref()
    }

    /// As [`SocketReader::next`].
    ///
    /// # Errors
    /// As there.
    pub async fn next(&mut self) -> Result<Option<SocketMessage>, Error> {
        self.reader.next().await
    }

    /// As [`SocketReader::close_frame`].
    #[must_use]
    pub fn close_frame(&self) -> Option<&SocketClose> {
        self.reader.close_frame()
    }

    /// As [`SocketWriter::send`].
    ///
    /// # Errors
    /// As there.
    pub async fn send(&mut self, message: impl Into<SocketMessage>) -> Result<(), Error> {
        self.writer.send(message).await
    }

    /// Closes, and waits for the other side to do so too, at most 5 s. Messages that come meanwhile are dropped.
    ///
    /// # Errors
    /// As [`SocketWriter::close`].
    pub async fn close(mut self, code: u16, reason: &str) -> Result<(), Error> {
        self.writer.close(code, reason).await?;
        let ended = async { while let Ok(Some(_)) = self.reader.next().await {} };
        // Late or not, it is over.
        let _ = tokio::time::timeout(CLOSE_WITHIN, ended).await;
        Ok(())
    }

    /// Separates reading from writing, for two tasks or a bridge.
    #[must_use]
    pub fn split(self) -> (SocketReader, SocketWriter) {
        (self.reader, self.writer)
    }
}

/// A message of a WebSocket.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SocketMessage {
    bytes: Bytes,
    is_text: bool,
}

impl SocketMessage {
    /// A text message.
    #[must_use]
    pub fn text(text: impl Into<String>) -> Self {
        Self { bytes: text.into().into(), is_text: true }
    }

    /// A binary message.
    #[must_use]
    pub fn binary(bytes: impl Into<Bytes>) -> Self {
        Self { bytes: bytes.into(), is_text: false }
    }

    /// A message whose bytes were checked to be UTF-8 if it is text.
    pub(crate) fn checked(bytes: Bytes, is_text: bool) -> Self {
        Self { bytes, is_text }
    }

    /// Its bytes.
    #[must_use]
    pub fn bytes(&self) -> &Bytes {
        &self.bytes
    }

    /// Its bytes.
    #[must_use]
    pub fn into_bytes(self) -> Bytes {
        self.bytes
    }

    /// Whether it is a text message; its bytes are UTF-8 then.
    #[must_use]
    pub fn is_text(&self) -> bool {
        self.is_text
    }

    /// Its text; `None` for binary messages.
    #[must_use]
    pub fn as_text(&self) -> Option<&str> {
        // Text was checked when the message was made.
        self.is_text.then(|| std::str::from_utf8(&self.bytes).unwrap_or_default())
    }
}

impl From<&str> for SocketMessage {
    fn from(text: &str) -> Self {
        Self::text(text)
    }
}

impl From<String> for SocketMessage {
    fn from(text: String) -> Self {
        Self::text(text)
    }
}

impl From<Bytes> for SocketMessage {
    fn from(bytes: Bytes) -> Self {
        Self::binary(bytes)
    }
}

impl From<Vec<u8>> for SocketMessage {
    fn from(bytes: Vec<u8>) -> Self {
        Self::binary(bytes)
    }
}

/// How a side closed.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct SocketClose {
    /// A close code of RFC 6455; 0 where the other side gave none.
    pub code: u16,
    /// Why, in words; often empty, at most 123 bytes.
    pub reason: String,
}
