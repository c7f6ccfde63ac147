//! A message that arrives in more than one piece: gathered, inflated and, if text, checked as it comes.
//! Exists only while such a message is open, so an idle connection owns none.

use std::fmt;

use crate::{Event, MessageKind, Payload, Violation, deflate::Inflater, mask::mask, utf8::Utf8};

/// The least space that is reserved for a message that announces more, in bytes.
const SPACE_BYTES_MIN: usize = 4 * 1024;
/// The most space that is offered for one read, in bytes.
const SPACE_BYTES_MAX: usize = 1024 * 1024;

pub(crate) struct Assembly {
    kind: MessageKind,
    compressed: bool,
    utf8: Utf8,
    /// The message so far, followed by zeroes where a read may go.
    bytes: Vec<u8>,
    /// Bytes of the message so far.
    filled: usize,
}

impl Assembly {
    pub(crate) fn new(kind: MessageKind, compressed: bool) -> Self {
        Self { kind, compressed, utf8: Utf8::default(), bytes: Vec::new(), filled: 0 }
    }

    pub(crate) const fn is_compressed(&self) -> bool {
        self.compressed
    }

    pub(crate) const fn len(&self) -> usize {
        self.filled
    }

    /// Takes unmasked bytes of a message that is not compressed; its frame announces `remaining`, these included.
    pub(crate) fn push(&mut self, piece: &[u8], remaining: usize) -> Result<(), Violation> {
        self.bytes.truncate(self.filled);
        self.reserve(piece.len(), remaining);
        self.bytes.extend_from_slice(piece);
        self.accept(piece.len())
    }

    /// Takes unmasked bytes of a compressed message.
    pub(crate) fn inflate(
        &mut self,
        piece: &[u8],
        inflater: &mut Inflater,
        limit: usize,
    ) -> Result<(), Violation> {
        inflater.push(piece, &mut self.bytes, limit)?;
        self.accept(self.bytes.len() - self.filled)
    }

    /// Ends a compressed message.
    pub(crate) fn end_inflate(&mut self, inflater: &mut Inflater, limit: usize) -> Result<(), Violation> {
        inflater.finish(&mut self.bytes, limit)?;
        self.accept(self.bytes.len() - self.filled)
    }

    /// Space for the next read, at most `remaining` bytes.
    pub(crate) fn space(&mut self, remaining: usize) -> &mut [u8] {
        let wanted = remaining.min(self.filled.clamp(SPACE_BYTES_MIN, SPACE_BYTES_MAX));
        self.reserve(wanted, remaining);
        if self.bytes.len() < self.filled + wanted {
            self.bytes.resize(self.filled + wanted, 0);
        }
        &mut self.bytes[self.filled..self.filled + wanted]
    }

    /// Takes the first `count` bytes of [`Self::space`] and gives the key turned; a server's frames have key zero,
    /// and no pass over the bytes.
    pub(crate) fn fill(&mut self, count: usize, key: [u8; 4]) -> Result<[u8; 4], Violation> {
        let piece = &mut self.bytes[self.filled..self.filled + count];
        let turned = if key == [0; 4] { key } else { mask(piece, key) };
        self.accept(count)?;
        Ok(turned)
    }

    pub(crate) fn finish(mut self) -> Result<Event<'static>, Violation> {
        self.utf8.finish()?;
        self.bytes.truncate(self.filled);
        Ok(Event::Message { kind: self.kind, payload: Payload::Owned(self.bytes) })
    }

    fn accept(&mut self, count: usize) -> Result<(), Violation> {
        let begin = self.filled;
        self.filled += count;
        match self.kind {
            MessageKind::Text => self.utf8.push(&self.bytes[begin..self.filled]),
            MessageKind::Binary => Ok(()),
        }
    }

    /// Makes room for `wanted` bytes. Grows by doubling and never beyond what the frame announces, so an
    /// announcement alone costs nothing and the last step is exact.
    fn reserve(&mut self, wanted: usize, remaining: usize) {
        if self.filled + wanted <= self.bytes.capacity() {
            return;
        }
        let doubled = (self.filled * 2).max(self.filled + wanted).max(SPACE_BYTES_MIN);
        let target = doubled.min(self.filled + remaining);
        self.bytes.reserve_exact(target - self.bytes.len());
    }
}

/// Shows the size and not the bytes, which are none of a log's business.
impl fmt::Debug for Assembly {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Assembly")
            .field("kind", &self.kind)
            .field("filled", &self.filled)
            .finish_non_exhaustive()
    }
}
