//! The half of a WebSocket that reads.

use std::collections::VecDeque;

use bytes::Bytes;
use tokio::io::AsyncReadExt;
use whub_transport::ReadHalf;
use whub_ws::{CloseFrame, Decoder, MessageKind, Violation};

use super::WebSocketError;

/// Bytes of one read.
const READ_BYTES: usize = 64 * 1024;

/// One thing that the server said.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Event {
    /// A whole message.
    Message {
        /// Text or binary.
        kind: MessageKind,
        /// Its bytes; those of a text are valid UTF-8.
        payload: Bytes,
    },
    /// To be answered with a pong of the same bytes.
    Ping(Bytes),
    /// The answer to a ping.
    Pong,
    /// The end of what the server says.
    Close(Option<CloseFrame<'static>>),
}

/// Reads events. At most one read's worth of them waits.
#[derive(Debug)]
pub struct Reader {
    half: ReadHalf,
    decoder: Decoder,
    buffer: Vec<u8>,
    events: VecDeque<Event>,
    /// What came right behind the handshake and was not decoded yet.
    early: bool,
    /// The server's breach of the rules, held back until what it had said before is popped.
    breach: Option<Violation>,
}

impl Reader {
    pub(super) fn new(half: ReadHalf, decoder: Decoder, early: Vec<u8>) -> Self {
        Self { half, decoder, early: !early.is_empty(), buffer: early, events: VecDeque::new(), breach: None }
    }

    /// The next event of what has been read.
    pub fn pop(&mut self) -> Option<Event> {
        self.events.pop_front()
    }

    /// Reads once and decodes; `false` at the end of the stream. It may be dropped at any time.
    ///
    /// # Errors
    /// When the stream is lost, or the server broke the rules; what it said before that comes first.
    pub async fn read(&mut self) -> Result<bool, WebSocketError> {
        if let Some(breach) = self.breach.take() {
            return Err(breach.into());
        }
        if !std::mem::take(&mut self.early) {
            if let Some(space) = self.decoder.read_space() {
                let count = self.half.read(space).await?;
                if let Some(event) = self.decoder.filled(count)? {
                    self.events.push_back(own(event));
                }
                return Ok(count > 0);
            }
            self.buffer.clear();
            self.buffer.reserve(READ_BYTES);
            if self.half.read_buf(&mut self.buffer).await? == 0 {
                return Ok(false);
            }
        }
        let mut batch = self.decoder.decode(&mut self.buffer);
        loop {
            match batch.next() {
                Ok(Some(event)) => self.events.push_back(own(event)),
                Ok(None) => return Ok(true),
                Err(breach) if self.events.is_empty() => return Err(breach.into()),
                Err(breach) => {
                    self.breach = Some(breach);
                    return Ok(true);
                }
            }
        }
    }
}

fn own(event: whub_ws::Event<'_>) -> Event {
    match event {
        whub_ws::Event::Message { kind, payload } => {
            Event::Message { kind, payload: payload.into_vec().into() }
        }
        whub_ws::Event::Ping(payload) => Event::Ping(payload.into_vec().into()),
        whub_ws::Event::Pong(_) => Event::Pong,
        whub_ws::Event::Close(frame) => Event::Close(frame.map(CloseFrame::into_owned)),
    }
}
