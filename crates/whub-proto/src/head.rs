//! The 16 bytes in front of every frame: all that changes from hop to hop, at fixed little-endian offsets.
//!
//! ```text
//! offset   0     1      2–3      4–5      6     7   8–15
//! Head     kind  flags  env_len  via_len  hops  0   id
//! ```

use crate::{Flags, Kind};

/// Bytes of a head on the wire.
pub const HEAD_BYTES: usize = 16;

/// Largest id: 2^53 − 1, so that a JavaScript number holds it.
pub const ID_MAX: u64 = (1 << 53) - 1;

/// The fixed head of a frame. Byte 7 is reserved: written as 0, ignored when read.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Head {
    /// What the frame is about; it names the table of the envelope.
    pub kind: Kind,
    /// Flag set.
    pub flags: Flags,
    /// Bytes of the envelope.
    pub env_len: u16,
    /// Bytes of the hub-written part; 0 from clients.
    pub via_len: u16,
    /// Hops between nodes so far; 0 from clients.
    pub hops: u8,
    /// Names a call, stream, subscription or room on one connection; 0 = none. Odd ids come from the side that
    /// opened the connection, even ones from the other.
    pub id: u64,
}

impl Head {
    /// A head without flags; [`Writer`](crate::Writer) fills in the lengths.
    pub const fn new(kind: Kind, id: u64) -> Self {
        Self { kind, flags: Flags::NONE, env_len: 0, via_len: 0, hops: 0, id }
    }

    /// The same head with these flags added.
    #[must_use]
    pub const fn with(mut self, flags: Flags) -> Self {
        self.flags = self.flags.with(flags);
        self
    }

    /// Reads a head from the first 16 bytes; `None` if there are fewer. The bytes are not judged:
    /// [`Frame::parse`](crate::Frame::parse) does that.
    #[inline]
    pub fn parse(bytes: &[u8]) -> Option<Self> {
        let [kind, flags, e0, e1, v0, v1, hops, _reserved, id @ ..] = bytes.first_chunk::<HEAD_BYTES>()?;
        Some(Self {
            kind: Kind::from(*kind),
            flags: Flags::from_bits(*flags),
            env_len: u16::from_le_bytes([*e0, *e1]),
            via_len: u16::from_le_bytes([*v0, *v1]),
            hops: *hops,
            id: u64::from_le_bytes(*id),
        })
    }

    /// The bytes on the wire.
    #[inline]
    pub fn to_bytes(self) -> [u8; HEAD_BYTES] {
        let mut bytes = [0; HEAD_BYTES];
        bytes[0] = self.kind.into();
        bytes[1] = self.flags.bits();
        bytes[2..4].copy_from_slice(&self.env_len.to_le_bytes());
        bytes[4..6].copy_from_slice(&self.via_len.to_le_bytes());
        bytes[6] = self.hops;
        bytes[8..].copy_from_slice(&self.id.to_le_bytes());
        bytes
    }

    /// Appends the 16 bytes to `out`.
    #[inline]
    pub fn write(self, out: &mut Vec<u8>) {
        out.extend_from_slice(&self.to_bytes());
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_head_is_pinned_byte_by_byte() {
        let head = Head {
            kind: Kind::Request,
            flags: Flags::END | Flags::ACK,
            env_len: 0x0102,
            via_len: 0x0304,
            hops: 5,
            id: 0x0011_2233_4455_6677,
        };
        let bytes = [18, 3, 0x02, 0x01, 0x04, 0x03, 5, 0, 0x77, 0x66, 0x55, 0x44, 0x33, 0x22, 0x11, 0x00];
        assert_eq!(head.to_bytes(), bytes);
        assert_eq!(Head::parse(&bytes), Some(head));
        assert_eq!(Head::parse(&bytes[..15]), None);
    }
}
