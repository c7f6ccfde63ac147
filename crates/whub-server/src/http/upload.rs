//! A request's body on its way to the provider: one piece at a time, as far as the provider's credit reaches.

use std::pin::Pin;
use std::task::{Context, Poll};

use bytes::{Buf as _, Bytes};
use hyper::body::{Body as _, Incoming};
use whub_core::WINDOW;
use whub_proto::Flags;

use crate::http::tie::Tie;

/// Largest piece, bytes: small enough that a provider's other calls get their turn.
const PIECE_BYTES: usize = 64 * 1024;

/// A body under way.
#[derive(Debug)]
pub(super) struct Upload {
    body: Incoming,
    /// Read, but not yet sent.
    chunk: Bytes,
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
        Self { body, chunk: Bytes::new(), credit: WINDOW.into(), left: body_bytes_max }
    }

    /// The provider accepts more.
    pub(super) fn refill(&mut self, bytes: u32) {
        self.credit = self.credit.saturating_add(bytes.into());
    }

    /// Moves what can be moved. Ready(Ok) when the whole body was sent.
    pub(super) fn poll(&mut self, cx: &mut Context<'_>, tie: &Tie) -> Poll<Result<(), UploadError>> {
        loop {
            if self.chunk.is_empty() {
                match std::task::ready!(Pin::new(&mut self.body).poll_frame(cx)) {
                    // Trailers have no place in the protocol's requests.
                    Some(Ok(frame)) => self.take(frame.into_data().unwrap_or_default())?,
                    Some(Err(_)) => return Poll::Ready(Err(UploadError::BrokenOff)),
                    None => {
                        tie.upload_piece(Flags::END, &[]);
                        return Poll::Ready(Ok(()));
                    }
                }
                continue;
            }
            // Credit comes as a letter, room by the waker.
            if self.credit == 0 || !tie.poll_room(cx.waker()) {
                return Poll::Pending;
            }
            let credit = usize::try_from(self.credit).unwrap_or(usize::MAX);
            let count = self.chunk.len().min(PIECE_BYTES).min(credit);
            let last = count == self.chunk.len() && self.body.is_end_stream();
            tie.upload_piece(Flags::NONE.with_if(last, Flags::END), &self.chunk[..count]);
            self.chunk.advance(count);
            self.credit -= count as u64;
            if last {
                return Poll::Ready(Ok(()));
            }
        }
    }

    fn take(&mut self, chunk: Bytes) -> Result<(), UploadError> {
        self.left = self.left.checked_sub(chunk.len() as u64).ok_or(UploadError::TooLarge)?;
        self.chunk = chunk;
        Ok(())
    }
}
