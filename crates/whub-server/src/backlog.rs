//! What a socket did not take at once.
//!
//! Bytes wait in the order they came. Published messages are shared with other backlogs and counted, so that every
//! message can be accounted for: a segment that has left the backlog whole was delivered.

use std::collections::VecDeque;
use std::io::IoSlice;

use bytes::Bytes;

/// Bytes waiting for a socket. Empty, and without memory of its own, unless the socket is blocked.
#[derive(Debug, Default)]
pub(crate) struct Backlog {
    segments: VecDeque<Segment>,
    /// Bytes of the first segment that are written already.
    written: usize,
    bytes: usize,
    messages: u64,
    /// Segments from here on are of others, and wait until the session itself has spoken.
    held_from: Option<usize>,
}

#[derive(Debug)]
struct Segment {
    bytes: Bytes,
    /// Published messages in it.
    messages: u32,
}

/// Slices offered to the socket in one call.
const SLICES_MAX: usize = 64;

impl Backlog {
    pub(crate) fn is_empty(&self) -> bool {
        self.segments.is_empty()
    }

    /// Bytes that wait.
    pub(crate) fn bytes(&self) -> usize {
        self.bytes
    }

    /// Published messages that wait.
    pub(crate) fn messages(&self) -> u64 {
        self.messages
    }

    /// Nothing waits and nobody is held: a sender may write to the socket itself.
    pub(crate) fn is_clear(&self) -> bool {
        self.segments.is_empty() && self.held_from.is_none()
    }

    /// From here on, others wait behind the session's own bytes.
    pub(crate) fn hold(&mut self) {
        self.held_from.get_or_insert(self.segments.len());
    }

    pub(crate) fn is_held(&self) -> bool {
        self.held_from.is_some()
    }

    /// Adds bytes of somebody else.
    pub(crate) fn push(&mut self, bytes: Bytes, messages: u32) {
        if bytes.is_empty() {
            return;
        }
        self.bytes += bytes.len();
        self.messages += u64::from(messages);
        self.segments.push_back(Segment { bytes, messages });
    }

    /// Adds the session's own bytes before those that it held up, and lets these go.
    pub(crate) fn push_own(&mut self, own: impl Iterator<Item = Bytes>) {
        let begin = self.held_from.take().unwrap_or(self.segments.len());
        for (index, bytes) in (begin..).zip(own.filter(|bytes| !bytes.is_empty())) {
            self.bytes += bytes.len();
            self.segments.insert(index, Segment { bytes, messages: 0 });
        }
    }

    /// What may be written now, as slices; empty when there is nothing.
    pub(crate) fn slices(&self) -> ([IoSlice<'_>; SLICES_MAX], usize) {
        let mut slices = [IoSlice::new(&[]); SLICES_MAX];
        let count = self.sendable().min(SLICES_MAX);
        for (slice, segment) in slices.iter_mut().zip(self.segments.iter().take(count)) {
            *slice = IoSlice::new(&segment.bytes);
        }
        if count > 0 {
            slices[0] = IoSlice::new(&self.segments[0].bytes[self.written..]);
        }
        (slices, count)
    }

    /// The socket took this many bytes. Returns how many published messages that completed.
    pub(crate) fn advance(&mut self, mut count: usize) -> u64 {
        self.bytes -= count;
        let mut delivered = 0;
        while let Some(segment) = self.segments.front() {
            let left = segment.bytes.len() - self.written;
            if count < left {
                self.written += count;
                break;
            }
            count -= left;
            delivered += u64::from(segment.messages);
            self.written = 0;
            self.segments.pop_front();
            if let Some(held) = &mut self.held_from {
                *held -= 1;
            }
        }
        self.messages -= delivered;
        if self.segments.is_empty() {
            self.segments = VecDeque::new();
        }
        delivered
    }

    fn sendable(&self) -> usize {
        self.held_from.unwrap_or(self.segments.len())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn content(backlog: &Backlog) -> Vec<u8> {
        let (slices, count) = backlog.slices();
        slices[..count].iter().flat_map(|slice| slice.iter().copied()).collect()
    }

    #[test]
    fn bytes_leave_in_the_order_they_came() {
        let mut backlog = Backlog::default();
        backlog.push(Bytes::from_static(b"abc"), 1);
        backlog.push(Bytes::from_static(b"de"), 2);
        assert_eq!(content(&backlog), b"abcde");
        assert_eq!((backlog.bytes(), backlog.messages()), (5, 3));
        assert_eq!(backlog.advance(2), 0);
        assert_eq!(content(&backlog), b"cde");
        assert_eq!(backlog.advance(3), 3);
        assert!(backlog.is_clear());
    }

    #[test]
    fn what_is_held_waits_for_the_session_itself() {
        let mut backlog = Backlog::default();
        backlog.push(Bytes::from_static(b"before "), 0);
        backlog.hold();
        backlog.push(Bytes::from_static(b"others"), 1);
        assert_eq!(content(&backlog), b"before ");
        assert_eq!(backlog.advance(7), 0);
        assert_eq!(content(&backlog), b"");
        backlog.push_own([Bytes::from_static(b"own "), Bytes::from_static(b"too ")].into_iter());
        assert_eq!(content(&backlog), b"own too others");
        assert_eq!(backlog.advance(14), 1);
    }

    #[test]
    fn an_empty_speech_lets_the_others_go() {
        let mut backlog = Backlog::default();
        backlog.hold();
        backlog.push(Bytes::from_static(b"others"), 1);
        backlog.push_own(std::iter::empty());
        assert_eq!(content(&backlog), b"others");
    }
}
