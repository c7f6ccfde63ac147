//! The body of a request, piece by piece; what was taken is what the caller may send more of.

use std::sync::Arc;

use bytes::{Bytes, BytesMut};
use whub_core::{Fault, WINDOW};
use whub_proto::{Body, Code, Flags};

use crate::local::call::CallState;

/// Bytes that are taken before the caller is told that it may send more.
const REFILL_BYTES: usize = WINDOW as usize / 2;

/// The body of a request, as it comes in.
#[derive(Debug)]
pub struct LocalBody {
    call: Arc<CallState>,
    /// What came with the request.
    first: Bytes,
    taken: usize,
    ended: bool,
    trailers: Vec<(String, String)>,
}

impl LocalBody {
    pub(super) fn new(call: Arc<CallState>, first: Bytes, ended: bool) -> Self {
        Self { call, first, taken: 0, ended, trailers: Vec::new() }
    }

    /// The next piece; `None` at the end.
    pub async fn chunk(&mut self) -> Option<Bytes> {
        if !self.first.is_empty() {
            let first = std::mem::take(&mut self.first);
            return Some(self.take(first));
        }
        while !self.ended {
            let packet = self.call.next_upload().await;
            self.ended = packet.head(0).flags.contains(Flags::END);
            if self.ended {
                self.trailers = trailers(&packet);
            }
            let bytes = packet.payload();
            if !bytes.is_empty() {
                return Some(self.take(bytes));
            }
        }
        None
    }

    /// The next piece of a message, of a WebSocket that was accepted.
    pub(crate) async fn message(&mut self) -> LocalPiece {
        let packet = self.call.next_upload().await;
        let flags = packet.head(0).flags;
        self.ended = flags.contains(Flags::END);
        let closing = self.ended.then(|| closing(&packet));
        let bytes = self.take(packet.payload());
        LocalPiece { text: flags.contains(Flags::TEXT), more: flags.contains(Flags::MORE), bytes, closing }
    }

    /// The whole body.
    ///
    /// # Errors
    /// `TooLarge` beyond `bytes_max`.
    pub async fn whole(&mut self, bytes_max: usize) -> Result<Bytes, Fault> {
        let Some(first) = self.chunk().await else { return Ok(Bytes::new()) };
        if self.ended && self.first.is_empty() && first.len() <= bytes_max {
            return Ok(first);
        }
        let mut whole = BytesMut::from(first);
        while whole.len() <= bytes_max {
            let Some(chunk) = self.chunk().await else { return Ok(whole.freeze()) };
            whole.extend_from_slice(&chunk);
        }
        let reason = format!("the body is longer than the {bytes_max} bytes that this service takes");
        Err(Fault::fatal(Code::TooLarge, "request.body_too_large", reason))
    }

    /// Headers after the body, known once [`Self::chunk`] returned `None`.
    #[must_use]
    pub fn trailers(&self) -> &[(String, String)] {
        &self.trailers
    }

    fn take(&mut self, bytes: Bytes) -> Bytes {
        self.taken += bytes.len();
        if !self.ended && self.taken >= REFILL_BYTES {
            self.call.grant(std::mem::take(&mut self.taken));
        }
        bytes
    }
}

/// A piece of a message.
#[derive(Debug)]
pub(crate) struct LocalPiece {
    pub(crate) text: bool,
    /// The message goes on in the next one.
    pub(crate) more: bool,
    pub(crate) bytes: Bytes,
    /// The caller has closed, with this code and reason. Where there are no bytes, there is no message.
    pub(crate) closing: Option<(u16, String)>,
}

fn closing(packet: &whub_core::Packet) -> (u16, String) {
    match packet.frame().map(|frame| frame.body) {
        Ok(Body::Data(data)) => (data.close, data.reason.to_owned()),
        Ok(_) | Err(_) => (0, String::new()),
    }
}

fn trailers(packet: &whub_core::Packet) -> Vec<(String, String)> {
    let Ok(frame) = packet.frame() else { return Vec::new() };
    let Body::Data(data) = frame.body else { return Vec::new() };
    data.headers.iter().map(|(name, value)| (name.to_owned(), value.to_owned())).collect()
}
