//! A request's body on its way to the provider, as far as the provider's credit reaches.
//!
//! What is there at once goes together: each piece by itself would be a write to the provider's socket, and wake the
//! provider, which costs more than the piece.

use std::collections::VecDeque;
use std::pin::Pin;
use std::task::{Context, Poll};

use bytes::Bytes;
use hyper::HeaderMap;
use hyper::body::{Body as _, Frame, Incoming};
use whub_core::{Packet, WINDOW};
use whub_proto::Flags;

use crate::http::tie::Tie;
use crate::http::trailers;

/// Largest piece, bytes: small enough that a provider's other calls get their turn.
const PIECE_BYTES: usize = 64 * 1024;

/// What is gathered before it is sent, bytes, unless credit ends before.
const GATHERED_BYTES: u64 = 256 * 1024;

/// Chunks that are gathered: those of HTTP/2, 16 KiB each, come to as much. A client that sends single bytes has each
/// of them hold a whole read in memory.
const GATHERED_CHUNKS: usize = 16;

/// A body under way.
#[derive(Debug)]
pub(super) struct Upload {
    /// `None` once all of it was read.
    body: Option<Incoming>,
    /// Read, but not yet sent.
    chunks: VecDeque<Bytes>,
    /// Bytes in [`Self::chunks`].
    gathered: u64,
    /// What follows the body.
    trailers: Option<HeaderMap>,
    /// What the provider accepts.
    credit: u64,
    /// What the client may still send in all.
    left: u64,
}

/// Why a body did not reach the provider whole.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum UploadError {
    /// Longer than `limits.body_bytes`.
    TooLarge,
    /// The client broke off, or its chunks were malformed.
    BrokenOff,
}

impl Upload {
    /// `body_bytes_max`: the limit of all bytes.
    pub(super) fn new(body: Incoming, body_bytes_max: u64) -> Self {
        Self { body: Some(body), credit: WINDOW.into(), left: body_bytes_max, ..Self::nothing() }
    }

    /// A body that has been sent, but for its trailers.
    pub(super) fn of_trailers(trailers: HeaderMap) -> Self {
        Self { trailers: Some(trailers), ..Self::nothing() }
    }

    const fn nothing() -> Self {
        Self { body: None, chunks: VecDeque::new(), gathered: 0, trailers: None, credit: 0, left: 0 }
    }

    /// The provider accepts more.
    pub(super) fn refill(&mut self, bytes: u32) {
        self.credit = self.credit.saturating_add(bytes.into());
    }

    /// Moves what can be moved. Ready(Ok) when the whole body was sent.
    pub(super) fn poll(&mut self, cx: &mut Context<'_>, tie: &Tie) -> Poll<Result<(), UploadError>> {
        let mut grew = false;
        loop {
            while self.gathers() {
                match self.poll_body(cx) {
                    Poll::Ready(Some(Ok(frame))) => self.take(frame)?,
                    Poll::Ready(Some(Err(_))) => return Poll::Ready(Err(UploadError::BrokenOff)),
                    Poll::Ready(None) if self.chunks.is_empty() => return Poll::Ready(self.end(tie)),
                    Poll::Ready(None) => self.body = None,
                    Poll::Pending if self.chunks.is_empty() => return Poll::Pending,
                    Poll::Pending if grew => {
                        // hyper looks for the next chunk only after this. If none is there, the next turn sends.
                        cx.waker().wake_by_ref();
                        return Poll::Pending;
                    }
                    Poll::Pending => break,
                }
                grew = true;
            }
            if std::task::ready!(self.poll_send(cx, tie)) {
                return Poll::Ready(Ok(()));
            }
        }
    }

    /// Whether there may be more to send together with what was read.
    fn gathers(&self) -> bool {
        let goes_on = self.body.is_some() && !self.is_read();
        let has_room = self.gathered < self.credit.min(GATHERED_BYTES) && self.chunks.len() < GATHERED_CHUNKS;
        self.chunks.is_empty() || (goes_on && has_room)
    }

    /// Sends what was read. Ready when all of it was; true if that was the end of the body.
    fn poll_send(&mut self, cx: &mut Context<'_>, tie: &Tie) -> Poll<bool> {
        while let Some(chunk) = self.chunks.front_mut() {
            // Credit comes as a letter, room by the waker.
            if self.credit == 0 || !tie.poll_room(cx.waker()) {
                return Poll::Pending;
            }
            let credit = usize::try_from(self.credit).unwrap_or(usize::MAX);
            let piece = chunk.split_to(chunk.len().min(PIECE_BYTES).min(credit));
            if chunk.is_empty() {
                self.chunks.pop_front();
            }
            self.credit -= piece.len() as u64;
            self.gathered -= piece.len() as u64;
            let last = self.chunks.is_empty() && self.is_read();
            tie.upload(Packet::piece(Flags::NONE.with_if(last, Flags::END), piece));
            if last {
                return Poll::Ready(true);
            }
        }
        Poll::Ready(false)
    }

    fn poll_body(&mut self, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, hyper::Error>>> {
        match &mut self.body {
            Some(body) => Pin::new(body).poll_frame(cx),
            None => Poll::Ready(None),
        }
    }

    /// Nothing follows what was read, no trailers either.
    fn is_read(&self) -> bool {
        self.trailers.is_none() && self.body.as_ref().is_none_or(Incoming::is_end_stream)
    }

    fn end(&mut self, tie: &Tie) -> Result<(), UploadError> {
        match self.trailers.take() {
            Some(trailers) => tie.upload(trailers::of_request(&trailers).ok_or(UploadError::BrokenOff)?),
            None => tie.upload(Packet::piece(Flags::END, Bytes::new())),
        }
        Ok(())
    }

    fn take(&mut self, frame: Frame<Bytes>) -> Result<(), UploadError> {
        let chunk = match frame.into_data() {
            Ok(chunk) => chunk,
            Err(frame) => {
                self.trailers = frame.into_trailers().ok();
                return Ok(());
            }
        };
        self.left = self.left.checked_sub(chunk.len() as u64).ok_or(UploadError::TooLarge)?;
        self.gathered += chunk.len() as u64;
        if !chunk.is_empty() {
            self.chunks.push_back(chunk);
        }
        Ok(())
    }
}
