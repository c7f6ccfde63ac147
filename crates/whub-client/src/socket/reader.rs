//! The half of a WebSocket that reads.

use std::task::{Context, Poll, ready};

use bytes::{Bytes, BytesMut};

use super::{MESSAGE_BYTES_MAX, SocketClose, SocketMessage};
use crate::body::{Body, Piece};
use crate::error::Error;

/// What the other side says. It is held back until what came was taken: at most 256 KiB wait here, and the message
/// that is being put together.
#[derive(Debug)]
pub struct SocketReader {
    body: Body,
    /// The beginning of a message whose end has not come.
    partial: BytesMut,
    state: State,
    /// What must live as long as the WebSocket.
    _keep: Keep,
}

/// Shared by the two halves.
pub(crate) type Keep = Option<std::sync::Arc<dyn std::any::Any + Send + Sync>>;

#[derive(Debug)]
enum State {
    Open,
    Closed(SocketClose),
    Failed(Error),
}

impl SocketReader {
    pub(crate) fn new(body: Body, keep: Keep) -> Self {
        Self { body, partial: BytesMut::new(), state: State::Open, _keep: keep }
    }

    /// The next message; `None` once the other side has closed ([`Self::close_frame`] says how). May be dropped and
    /// called again without losing anything.
    ///
    /// # Errors
    /// When the other side was lost without a close, or a message is malformed or longer than 16 MiB.
    pub async fn next(&mut self) -> Result<Option<SocketMessage>, Error> {
        std::future::poll_fn(|cx| self.poll_message(cx)).await
    }

    /// As [`Self::next`], for those who poll.
    ///
    /// # Errors
    /// As there.
    pub fn poll_message(&mut self, cx: &mut Context<'_>) -> Poll<Result<Option<SocketMessage>, Error>> {
        loop {
            match &self.state {
                State::Open => {}
                State::Closed(_) => return Poll::Ready(Ok(None)),
                State::Failed(error) => return Poll::Ready(Err(error.clone())),
            }
            match ready!(self.body.poll_piece(cx)) {
                Some(Piece::Part { payload, text, more }) => match self.assemble(payload, text, more) {
                    Ok(None) => {}
                    Ok(Some(message)) => return Poll::Ready(Ok(Some(message))),
                    Err(error) => self.state = State::Failed(error),
                },
                Some(Piece::Close(close)) => self.state = State::Closed(close),
                Some(Piece::Failed(error)) => self.state = State::Failed(error),
                // Pieces of bodies, which nobody sends to a WebSocket.
                Some(Piece::Chunk(_) | Piece::End(_)) => {}
                None => {
                    self.state = State::Failed(Error::lost("the connection ended before the WebSocket did"))
                }
            }
        }
    }

    /// How the other side closed, once it has.
    #[must_use]
    pub fn close_frame(&self) -> Option<&SocketClose> {
        if let State::Closed(close) = &self.state { Some(close) } else { None }
    }

    fn assemble(&mut self, payload: Bytes, text: bool, more: bool) -> Result<Option<SocketMessage>, Error> {
        if self.partial.len() + payload.len() > MESSAGE_BYTES_MAX {
            return Err(Error::too_large(format!("a message has more than {MESSAGE_BYTES_MAX} bytes")));
        }
        let whole = if more || !self.partial.is_empty() {
            self.partial.extend_from_slice(&payload);
            if more {
                return Ok(None);
            }
            std::mem::take(&mut self.partial).freeze()
        } else {
            payload
        };
        if text && let Err(error) = std::str::from_utf8(&whole) {
            return Err(Error::protocol("a text message is not UTF-8").with_source(error));
        }
        Ok(Some(SocketMessage::checked(whole, text)))
    }
}
