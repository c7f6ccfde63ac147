//! The half of a WebSocket that writes.

use std::sync::Arc;

use bytes::Bytes;
use tokio::sync::mpsc;
use whub_ws::{CloseCode, REASON_BYTES_MAX};

use super::reader::Keep;
use super::{MESSAGE_BYTES_MAX, SocketMessage};
use crate::command::{Command, Word};
use crate::credit::Credit;
use crate::error::Error;
use crate::key::Key;

/// Bytes of one `Data` frame, but for the few that a character may need.
const PART_BYTES: usize = 64 * 1024;

/// What this side says, as fast as the other side takes it.
#[derive(Debug)]
pub struct SocketWriter {
    key: Key,
    credit: Arc<Credit>,
    commands: mpsc::Sender<Command>,
    /// A message that is not, or not wholly, on its way.
    unsent: Option<Unsent>,
    closed: bool,
    /// What must live as long as the WebSocket.
    _keep: Keep,
}

#[derive(Debug)]
struct Unsent {
    rest: Bytes,
    text: bool,
    /// Credit that was taken for it, bytes.
    granted: usize,
}

impl SocketWriter {
    pub(crate) fn new(key: Key, credit: Arc<Credit>, commands: mpsc::Sender<Command>, keep: Keep) -> Self {
        Self { key, credit, commands, unsent: None, closed: false, _keep: keep }
    }

    /// Sends a message of at most 16 MiB; done when the other side's credit covered it and it was handed to the
    /// connection. If the wait is dropped half-way, the next `send` or [`Self::flush`] goes on with it.
    ///
    /// # Errors
    /// When the WebSocket has ended, or the message is too long.
    pub async fn send(&mut self, message: impl Into<SocketMessage>) -> Result<(), Error> {
        let message = message.into();
        if message.bytes().len() > MESSAGE_BYTES_MAX {
            return Err(Error::too_large(format!("a message has at most {MESSAGE_BYTES_MAX} bytes")));
        }
        self.flush().await?;
        if self.closed {
            return Err(ended());
        }
        self.unsent = Some(Unsent { text: message.is_text(), rest: message.into_bytes(), granted: 0 });
        self.flush().await
    }

    /// Sends what a dropped [`Self::send`] left behind.
    ///
    /// # Errors
    /// When the WebSocket has ended.
    pub async fn flush(&mut self) -> Result<(), Error> {
        while let Some(unsent) = &mut self.unsent {
            let end = piece_end(&unsent.rest, unsent.text);
            while unsent.granted < end {
                unsent.granted += self.credit.take(end - unsent.granted).await.ok_or_else(ended)?;
            }
            let permit = self.commands.reserve().await.map_err(|_| ended())?;
            unsent.granted -= end;
            let (payload, text) = (unsent.rest.split_to(end), unsent.text);
            let more = !unsent.rest.is_empty();
            permit.send(Command::Speak { key: self.key, word: Word::Part { payload, text, more } });
            if !more {
                self.unsent = None;
            }
        }
        Ok(())
    }

    /// Says the last word: a close code (1000 to 1003, 1007 to 1014, 3000 to 4999; 0 for none) and a reason of at
    /// most 123 bytes. What was not sent yet is dropped. The other side still has to close; [`super::Socket::close`]
    /// waits for that.
    ///
    /// # Errors
    /// When the connection is gone, or code or reason are not allowed.
    pub async fn close(&mut self, code: u16, reason: &str) -> Result<(), Error> {
        if code != 0 && CloseCode::new(code).is_none() {
            return Err(Error::invalid(format!("{code} is no close code that may be sent")));
        }
        if reason.len() > REASON_BYTES_MAX {
            return Err(Error::invalid(format!(
                "the reason of a close has at most {REASON_BYTES_MAX} bytes"
            )));
        }
        if self.closed {
            return Ok(());
        }
        let permit = self.commands.reserve().await.map_err(|_| ended())?;
        permit.send(Command::Speak { key: self.key, word: Word::Close { code, reason: reason.to_owned() } });
        (self.closed, self.unsent) = (true, None);
        Ok(())
    }
}

fn ended() -> Error {
    Error::cancelled("the WebSocket has ended")
}

/// Where the next piece ends: a text is cut between characters, so that every piece is UTF-8.
fn piece_end(rest: &[u8], text: bool) -> usize {
    if rest.len() <= PART_BYTES {
        return rest.len();
    }
    let is_boundary = |end: &usize| !text || rest[*end] & 0xc0 != 0x80;
    (PART_BYTES - 3..=PART_BYTES).rev().find(is_boundary).unwrap_or(PART_BYTES)
}
