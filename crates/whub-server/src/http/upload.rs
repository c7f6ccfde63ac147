//! A request's body on its way to the provider: one piece at a time, as far as the provider's credit reaches.

use std::pin::Pin;
use std::task::{Context, Poll};

use bytes::{Buf as _, Bytes};
use hyper::HeaderMap;
use hyper::body::{Body as _, Frame, Incoming};
use whub_core::WINDOW;
use whub_proto::Flags;

use crate::http::tie::Tie;
use crate::http::trailers;

/// Largest piece, bytes: small enough that a provider's other calls get their turn.
const PIECE_BYTES: usize = 64 * 1024;

/// A body under way.
#[derive(Debug)]
pub(super) struct Upload {
    /// `None` once all of it was read.
    body: Option<Incoming>,
    /// Read, but not yet sent.
    chunk: Bytes,
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
        let chunk = Bytes::new();
        Self { body: Some(body), chunk, trailers: None, credit: WINDOW.into(), left: body_bytes_max }
    }

    /// A body that has been sent, but for its trailers.
    pub(super) fn of_trailers(trailers: HeaderMap) -> Self {
        Self { body: None, chunk: Bytes::new(), trailers: Some(trailers), credit: 0, left: 0 }
    }

    /// The provider accepts more.
    pub(super) fn refill(&mut self, bytes: u32) {
        self.credit = self.credit.saturating_add(bytes.into());
    }

    /// Moves what can be moved. Ready(Ok) when the whole body was sent.
    pub(super) fn poll(&mut self, cx: &mut Context<'_>, tie: &Tie) -> Poll<Result<(), UploadError>> {
        loop {
            if self.chunk.is_empty() {
                match std::task::ready!(self.poll_body(cx)) {
                    Some(Ok(frame)) => self.take(frame)?,
                    Some(Err(_)) => return Poll::Ready(Err(UploadError::BrokenOff)),
                    None => return Poll::Ready(self.end(tie)),
                }
                continue;
            }
            // Credit comes as a letter, room by the waker.
            if self.credit == 0 || !tie.poll_room(cx.waker()) {
                return Poll::Pending;
            }
            let credit = usize::try_from(self.credit).unwrap_or(usize::MAX);
            let count = self.chunk.len().min(PIECE_BYTES).min(credit);
            let last = count == self.chunk.len() && self.is_read();
            tie.upload_piece(Flags::NONE.with_if(last, Flags::END), &self.chunk[..count]);
            self.chunk.advance(count);
            self.credit -= count as u64;
            if last {
                return Poll::Ready(Ok(()));
            }
        }
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
            None => tie.upload_piece(Flags::END, &[]),
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
        self.chunk = chunk;
        Ok(())
    }
}
