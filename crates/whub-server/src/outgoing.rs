//! What a session says to its peer in one turn.

use std::io::IoSlice;

use bytes::Bytes;

/// Bytes to be sent in one write, but for long payloads that lie in somebody else's memory: those are put between the
/// bytes instead of being copied.
#[derive(Debug, Default)]
pub(crate) struct Outgoing {
    bytes: Vec<u8>,
    /// Payloads, each with how many of the bytes come before it.
    apart: Vec<(usize, Bytes)>,
}

impl Outgoing {
    pub(crate) const fn new() -> Self {
        Self { bytes: Vec::new(), apart: Vec::new() }
    }

    /// Where encoders append to.
    pub(crate) fn bytes(&mut self) -> &mut Vec<u8> {
        &mut self.bytes
    }

    /// Puts a payload behind all that was said so far.
    pub(crate) fn share(&mut self, payload: Bytes) {
        self.apart.push((self.bytes.len(), payload));
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.bytes.is_empty() && self.apart.is_empty()
    }

    pub(crate) fn clear(&mut self) {
        self.bytes.clear();
        self.apart.clear();
    }

    /// Gives back a buffer that grew beyond this.
    pub(crate) fn shrink_to(&mut self, keep_bytes: usize) {
        self.bytes.shrink_to(keep_bytes);
    }

    /// All of it as one slice, if nothing lies apart.
    pub(crate) fn whole(&self) -> Option<&[u8]> {
        self.apart.is_empty().then_some(&self.bytes)
    }

    /// All of it, for one vectored write.
    pub(crate) fn slices(&self) -> Vec<IoSlice<'_>> {
        self.parts().map(|part| IoSlice::new(part.bytes)).collect()
    }

    /// What is left after so many bytes were written: payloads shared, the rest copied.
    pub(crate) fn rest(&self, written: usize) -> impl Iterator<Item = Bytes> {
        let mut skip = written;
        self.parts().filter_map(move |part| {
            let length = part.bytes.len();
            let from = skip.min(length);
            skip -= from;
            (from < length).then(|| part.rest(from))
        })
    }

    fn parts(&self) -> impl Iterator<Item = Part<'_>> {
        let begins = [0].into_iter().chain(self.apart.iter().map(|(at, _)| *at));
        let ends = self.apart.iter().map(|(at, _)| *at).chain([self.bytes.len()]);
        let own = begins.zip(ends).map(|(begin, end)| Part { bytes: &self.bytes[begin..end], apart: None });
        let apart = self.apart.iter().map(|(_, payload)| Part { bytes: payload, apart: Some(payload) });
        // One more stretch of its own than others lie between them.
        own.zip(apart.map(Some).chain([None])).flat_map(|(own, apart)| [Some(own), apart]).flatten()
    }
}

/// A stretch that lies in one piece.
struct Part<'a> {
    bytes: &'a [u8],
    /// Who holds them, if not the session.
    apart: Option<&'a Bytes>,
}

impl Part<'_> {
    fn rest(&self, from: usize) -> Bytes {
        match self.apart {
            None => Bytes::copy_from_slice(&self.bytes[from..]),
            Some(payload) => payload.slice(from..),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_said_keeps_its_order_however_much_of_it_was_written() {
        let mut said = Outgoing::new();
        assert!(said.is_empty() && said.whole() == Some(&[]));
        said.bytes().extend_from_slice(b"a");
        said.share(Bytes::from_static(b"bcd"));
        said.share(Bytes::from_static(b"e"));
        said.bytes().extend_from_slice(b"fg");
        assert_eq!(said.whole(), None);
        let slices: Vec<_> = said.slices().iter().map(|slice| slice.to_vec()).collect();
        assert_eq!(slices.concat(), b"abcdefg");
        for written in 0..=7 {
            let rest: Vec<_> = said.rest(written).collect();
            assert!(rest.iter().all(|bytes| !bytes.is_empty()));
            assert_eq!(rest.concat(), b"abcdefg"[written..]);
        }
        said.clear();
        assert!(said.is_empty());
    }
}
