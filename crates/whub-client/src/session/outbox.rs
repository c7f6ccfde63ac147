//! Frames that a session wants sent, one behind the other in one buffer.

use std::collections::VecDeque;

use whub_proto::{Body, Flags, HEAD_BYTES, Head, Kind, TooLarge, Writer, write_raw};

/// Above this an emptied buffer is given back, bytes.
const KEEP_BYTES_MAX: usize = 256 * 1024;

#[derive(Debug, Default)]
pub(crate) struct Outbox {
    writer: Writer,
    bytes: Vec<u8>,
    ends: VecDeque<usize>,
}

impl Outbox {
    /// Appends a frame without payload that cannot be too large.
    pub(super) fn push(&mut self, id: u64, flags: Flags, body: &Body<'_>) {
        let fits = self.push_with(id, flags, body, &[], usize::MAX);
        debug_assert!(fits.is_ok(), "only frames with texts of the program can be too large");
    }

    /// Appends a frame; nothing is appended if it is longer than `frame_bytes_max`.
    pub(crate) fn push_with(
        &mut self,
        id: u64,
        flags: Flags,
        body: &Body<'_>,
        payload: &[u8],
        frame_bytes_max: usize,
    ) -> Result<(), TooLarge> {
        let begin = self.bytes.len();
        let head = Head::new(body.kind(), id).with(flags);
        self.writer.frame(&mut self.bytes, head, None, body, payload)?;
        if self.bytes.len() - begin > frame_bytes_max {
            self.bytes.truncate(begin);
            return Err(TooLarge::Envelope);
        }
        self.ends.push_back(self.bytes.len());
        Ok(())
    }

    /// Appends a `Data` frame.
    pub(super) fn push_data(&mut self, id: u64, flags: Flags, payload: &[u8]) {
        self.raw(Head::new(Kind::Data, id).with(flags), payload);
    }

    /// Appends a `Data` payload in as many frames as it needs; `more` marks all but the last.
    pub(super) fn push_split(
        &mut self,
        id: u64,
        last: Flags,
        more: Flags,
        mut payload: &[u8],
        frame_bytes_max: usize,
    ) {
        let piece_bytes_max = frame_bytes_max.saturating_sub(HEAD_BYTES).max(1);
        while payload.len() > piece_bytes_max {
            let (piece, rest) = payload.split_at(piece_bytes_max);
            self.push_data(id, more, piece);
            payload = rest;
        }
        self.push_data(id, last, payload);
    }

    pub(super) fn pong(&mut self, id: u64, payload: &[u8]) {
        self.raw(Head::new(Kind::Pong, id), payload);
    }

    pub(super) fn ping(&mut self) {
        self.raw(Head::new(Kind::Ping, 0), &[]);
    }

    fn raw(&mut self, head: Head, payload: &[u8]) {
        // Without via and envelope nothing can be too large.
        if write_raw(&mut self.bytes, head, &[], &[], payload).is_ok() {
            self.ends.push_back(self.bytes.len());
        }
    }

    /// Hands on every frame, in order.
    pub(crate) fn drain(&mut self, mut send: impl FnMut(&[u8])) {
        let mut begin = 0;
        for end in self.ends.drain(..) {
            send(&self.bytes[begin..end]);
            begin = end;
        }
        self.bytes.clear();
        self.bytes.shrink_to(KEEP_BYTES_MAX);
    }
}
