//! A WebSocket over any stream, from the client's side: the opening handshake, then messages both ways.
//!
//! The rules of RFC 6455 are in `whub-ws`; here are the socket, the buffers and the masking keys. Reading and writing
//! are two halves so that one task can wait for both at once; every wait may be dropped and taken up again without
//! losing a byte.
//!
//! Left to others: deadlines, and what the messages mean.

mod handshake;
mod reader;
mod writer;

use std::time::Duration;

use bytes::Bytes;
use whub_transport::Stream;
use whub_ws::{CloseCode, Decoder, Limits, MessageKind, Role, handshake::HandshakeError};

pub use reader::{Event, Reader};
pub use writer::Writer;

/// What to ask the server for.
#[derive(Clone, Copy, Debug)]
pub struct Opening<'a> {
    /// The value of `Host`.
    pub authority: &'a str,
    /// Path and query, beginning with `/`.
    pub target: &'a str,
    /// Subprotocols, best first.
    pub protocols: &'a [&'a str],
    /// Offers permessage-deflate with these wishes.
    pub deflate: Option<whub_ws::deflate::Config>,
    /// Further header fields.
    pub headers: &'a [(&'a str, &'a str)],
    /// Largest messages and frames to take.
    pub limits: Limits,
}

/// An open WebSocket.
#[derive(Debug)]
pub struct WebSocket {
    /// The half that reads.
    pub reader: Reader,
    /// The half that writes.
    pub writer: Writer,
    /// The subprotocol that the server chose.
    pub protocol: Option<String>,
}

/// Why a WebSocket did not come about, or ended.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum WebSocketError {
    /// The stream failed.
    #[error("the connection was lost: {0}")]
    Io(#[from] std::io::Error),
    /// The request or the response of the handshake does not fit.
    #[error(transparent)]
    Handshake(#[from] HandshakeError),
    /// The server answered with another status than 101.
    #[error("the server answered {status}{}{}", if .reason.is_empty() { "" } else { ": " }, .reason)]
    Refused {
        /// The HTTP status.
        status: u16,
        /// The beginning of the body where it is text, else nothing.
        reason: String,
        /// The seconds of `Retry-After`.
        retry_after: Option<u64>,
    },
    /// The server did not answer in HTTP/1.1, or with a head that is too long.
    #[error("the server's answer is not HTTP")]
    NotHttp,
    /// The server broke the rules of WebSocket; it has been told with a Close frame.
    #[error("the server broke the rules of WebSocket: {0}")]
    Violation(#[from] whub_ws::Violation),
    /// The random source of the system failed.
    #[error("no random bytes: {0}")]
    Random(getrandom::Error),
}

impl WebSocket {
    /// Asks for a WebSocket on a fresh stream.
    ///
    /// # Errors
    /// When the stream is lost, or the answer is another than 101 with the right fields.
    pub async fn open(stream: Stream, opening: &Opening<'_>) -> Result<Self, WebSocketError> {
        let (mut read, mut write) = stream.split();
        let agreed = handshake::open(&mut read, &mut write, opening).await?;
        let (limits, role) = (opening.limits, Role::Client);
        let decoder = match &agreed.deflate {
            Some(agreement) => Decoder::with_deflate(role, limits, agreement.inflater(role)),
            None => Decoder::new(role, limits),
        };
        let deflater = agreed.deflate.as_ref().and_then(|agreement| agreement.deflater(role));
        Ok(Self {
            reader: Reader::new(read, decoder, agreed.early),
            writer: Writer::new(write, deflater),
            protocol: agreed.protocol,
        })
    }

    /// A WebSocket on a stream whose handshake was made elsewhere; `early` are bytes that came right behind it.
    #[cfg(feature = "expose")]
    pub(crate) fn established(
        stream: Stream,
        early: Vec<u8>,
        limits: Limits,
        protocol: Option<String>,
    ) -> Self {
        let (read, write) = stream.split();
        let decoder = Decoder::new(Role::Client, limits);
        Self { reader: Reader::new(read, decoder, early), writer: Writer::new(write, None), protocol }
    }

    /// The next message; pings are answered on the way. `None` once the closing handshake is done.
    ///
    /// # Errors
    /// When the stream is lost, or the server broke the rules; it has been told so then.
    pub async fn next(&mut self) -> Result<Option<(MessageKind, Bytes)>, WebSocketError> {
        loop {
            while let Some(event) = self.reader.pop() {
                match event {
                    Event::Message { kind, payload } => return Ok(Some((kind, payload))),
                    Event::Ping(payload) => self.writer.pong(&payload),
                    Event::Pong => {}
                    Event::Close(frame) => {
                        self.writer.close_reply(frame.as_ref());
                        self.writer.flush().await?;
                        return Ok(None);
                    }
                }
            }
            self.writer.flush().await?;
            match self.reader.read().await {
                Ok(true) => {}
                Ok(false) => return Err(std::io::Error::from(std::io::ErrorKind::UnexpectedEof).into()),
                Err(WebSocketError::Violation(violation)) => {
                    self.writer.close(violation.close_code(), &violation.to_string());
                    self.writer.flush().await?;
                    return Err(violation.into());
                }
                Err(error) => return Err(error),
            }
        }
    }

    /// Sends one message.
    ///
    /// # Errors
    /// When the stream is lost.
    pub async fn send(&mut self, kind: MessageKind, payload: &[u8]) -> Result<(), WebSocketError> {
        self.writer.message(kind, payload);
        self.writer.flush().await
    }

    /// Sends a Close frame and reads until the server has ended the connection, at most `within`.
    ///
    /// # Errors
    /// When the stream is lost before the Close frame is written.
    pub async fn close(
        mut self,
        code: CloseCode,
        reason: &str,
        within: Duration,
    ) -> Result<(), WebSocketError> {
        self.writer.close(code, reason);
        self.writer.flush().await?;
        self.linger(within).await;
        Ok(())
    }

    /// Leaves it to the server to end the connection (RFC 6455 section 7.1.1), at most `within`.
    pub async fn linger(mut self, within: Duration) {
        let ended = async {
            while let Ok(true) = self.reader.read().await {
                while self.reader.pop().is_some() {}
            }
        };
        // Late or not, it is over.
        let _ = tokio::time::timeout(within, ended).await;
    }
}
