//! Following the frames of one direction without reading them.
//!
//! Whoever passes a WebSocket on byte for byte need not decode it; but to say something of its own, such as a Close, it
//! has to know where a frame ends. [`Walk`] looks at heads and skips the rest. It judges nothing: what is malformed is
//! for the one who is meant to read it.

use crate::HEAD_BYTES_MAX;

/// The opcode of a Close; those of messages are below it.
const CLOSE: u8 = 8;

/// Where one direction of a WebSocket stands.
#[derive(Debug, Clone, Default)]
pub struct Walk {
    /// The beginning of a head whose rest is yet to come.
    head: [u8; HEAD_BYTES_MAX],
    head_bytes: usize,
    /// Bytes of the frame's payload yet to come.
    left: u64,
    /// The frame under way is a Close.
    in_close: bool,
    closed: bool,
    messages: u64,
}

impl Walk {
    /// These bytes were passed on.
    pub fn pass(&mut self, mut bytes: &[u8]) {
        loop {
            if self.left > 0 {
                let step = usize::try_from(self.left).unwrap_or(usize::MAX).min(bytes.len());
                self.left -= step as u64;
                bytes = &bytes[step..];
                if self.left > 0 {
                    return;
                }
                self.finish();
            }
            if bytes.is_empty() {
                return;
            }
            bytes = self.take_head(bytes);
        }
    }

    /// Whether the last byte that was passed on ended a frame, so that another may follow.
    #[must_use]
    pub fn is_between_frames(&self) -> bool {
        self.left == 0 && self.head_bytes == 0
    }

    /// Whether a whole Close was passed on: nothing may follow it.
    #[must_use]
    pub fn has_closed(&self) -> bool {
        self.closed
    }

    /// How many messages began and ended so far, as the last frame of each tells.
    #[must_use]
    pub fn messages(&self) -> u64 {
        self.messages
    }

    /// Takes a head, or as much of it as there is, and returns what follows.
    fn take_head<'a>(&mut self, bytes: &'a [u8]) -> &'a [u8] {
        if self.head_bytes == 0 && bytes.len() >= HEAD_BYTES_MAX {
            // Mostly it is there whole.
            let size = head_bytes(bytes[1]);
            self.begin(&bytes[..size]);
            return &bytes[size..];
        }
        let mut taken = 0;
        loop {
            let size = if self.head_bytes < 2 { 2 } else { head_bytes(self.head[1]) };
            if self.head_bytes >= 2 && self.head_bytes == size {
                let head = self.head;
                self.head_bytes = 0;
                self.begin(&head[..size]);
                return &bytes[taken..];
            }
            let Some(byte) = bytes.get(taken) else { return &[] };
            self.head[self.head_bytes] = *byte;
            self.head_bytes += 1;
            taken += 1;
        }
    }

    /// A head is whole.
    fn begin(&mut self, head: &[u8]) {
        let (fin, opcode) = (head[0] & 0x80 != 0, head[0] & 0x0f);
        self.left = match head[1] & 0x7f {
            126 => u64::from(u16::from_be_bytes([head[2], head[3]])),
            127 => {
                u64::from_be_bytes([head[2], head[3], head[4], head[5], head[6], head[7], head[8], head[9]])
            }
            short => u64::from(short),
        };
        self.in_close = opcode == CLOSE;
        if fin && opcode < CLOSE {
            self.messages += 1;
        }
        if self.left == 0 {
            self.finish();
        }
    }

    fn finish(&mut self) {
        self.closed |= std::mem::take(&mut self.in_close);
    }
}

/// The size of a head by its second byte.
fn head_bytes(second: u8) -> usize {
    let length = match second & 0x7f {
        126 => 2,
        127 => 8,
        _ => 0,
    };
    2 + length + if second & 0x80 == 0 { 0 } else { 4 }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{CloseCode, Opcode, encode_close, encode_frame, encode_masked};

    fn conversation() -> Vec<u8> {
        let mut bytes = Vec::new();
        encode_frame(&mut bytes, Opcode::Text, b"hello");
        encode_masked(&mut bytes, Opcode::Binary, &[7; 300], [1, 2, 3, 4]);
        encode_frame(&mut bytes, Opcode::Ping, b"");
        encode_frame(&mut bytes, Opcode::Binary, &[8; 70_000]);
        encode_masked(&mut bytes, Opcode::Text, b"", [1, 2, 3, 4]);
        bytes
    }

    #[test]
    fn frames_end_where_they_end_however_they_are_cut() {
        let bytes = conversation();
        for size in [1, 2, 3, 7, 13, 14, 15, 100, 4096, bytes.len()] {
            let mut walk = Walk::default();
            bytes.chunks(size).for_each(|chunk| walk.pass(chunk));
            assert!(walk.is_between_frames(), "{size}");
            assert_eq!((walk.messages(), walk.has_closed()), (4, false), "{size}");
        }
    }

    #[test]
    fn within_a_frame_it_says_so() {
        let bytes = conversation();
        let mut walk = Walk::default();
        walk.pass(&bytes[..1]);
        assert!(!walk.is_between_frames(), "in a head");
        walk.pass(&bytes[1..4]);
        assert!(!walk.is_between_frames(), "in a payload");
        walk.pass(&bytes[4..7]);
        assert!(walk.is_between_frames());
    }

    #[test]
    fn a_close_is_noticed_once_it_is_whole() {
        let mut bytes = Vec::new();
        encode_close(&mut bytes, CloseCode::NORMAL, "bye", Some([9, 9, 9, 9]));
        let mut walk = Walk::default();
        walk.pass(&bytes[..bytes.len() - 1]);
        assert!(!walk.has_closed());
        walk.pass(&bytes[bytes.len() - 1..]);
        assert!(walk.has_closed() && walk.is_between_frames());
        assert_eq!(walk.messages(), 0);
    }

    #[test]
    fn a_length_beyond_all_measure_is_only_waited_for() {
        let mut walk = Walk::default();
        walk.pass(&[0x82, 0x7f, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 1, 2, 3, 4, 5]);
        assert!(!walk.is_between_frames());
    }
}
