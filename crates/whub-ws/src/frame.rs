//! The head of a frame (RFC 6455 section 5.2): what its first two to fourteen bytes say, in both directions.
//!
//! Knows each rule that a single head can break. What depends on earlier frames (fragmentation) or on limits is
//! the decoder's business.

use crate::{Role, Violation};

/// Bytes of the longest head: two, eight of extended length, four of masking key.
pub const HEAD_BYTES_MAX: usize = 14;
/// Bytes of the longest payload of a control frame (RFC 6455 section 5.5).
pub const CONTROL_BYTES_MAX: usize = 125;

const FIN: u8 = 0x80;
const RSV1: u8 = 0x40;
const RSV23: u8 = 0x30;
const MASKED: u8 = 0x80;

/// What a frame is for (RFC 6455 section 11.8). Reserved opcodes cannot be written down.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Opcode {
    /// Carries on a fragmented message.
    Continuation,
    /// A text message or its first fragment.
    Text,
    /// A binary message or its first fragment.
    Binary,
    /// Begins or answers the closing handshake.
    Close,
    /// Asks for a [`Opcode::Pong`] with the same payload.
    Ping,
    /// Answers a [`Opcode::Ping`], or is a heartbeat of its own.
    Pong,
}

impl Opcode {
    /// Whether frames of this kind may come between the fragments of a message (RFC 6455 section 5.5).
    #[must_use]
    pub const fn is_control(self) -> bool {
        self.to_bits() & 8 != 0
    }

    const fn to_bits(self) -> u8 {
        match self {
            Self::Continuation => 0,
            Self::Text => 1,
            Self::Binary => 2,
            Self::Close => 8,
            Self::Ping => 9,
            Self::Pong => 10,
        }
    }

    const fn from_bits(bits: u8) -> Result<Self, Violation> {
        Ok(match bits {
            0 => Self::Continuation,
            1 => Self::Text,
            2 => Self::Binary,
            8 => Self::Close,
            9 => Self::Ping,
            10 => Self::Pong,
            reserved => return Err(Violation::ReservedOpcode(reserved)),
        })
    }
}

/// The first byte of a frame that is to be written. An [`Opcode`] alone becomes a whole, uncompressed frame.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Head {
    /// What the frame is for.
    pub opcode: Opcode,
    /// Whether it is the last frame of its message.
    pub fin: bool,
    /// Whether it begins a message compressed by permessage-deflate (RSV1, RFC 7692 section 6).
    pub compressed: bool,
}

impl From<Opcode> for Head {
    fn from(opcode: Opcode) -> Self {
        Self { opcode, fin: true, compressed: false }
    }
}

impl Head {
    pub(crate) const fn to_bits(self) -> u8 {
        let fin = if self.fin { FIN } else { 0 };
        let rsv1 = if self.compressed { RSV1 } else { 0 };
        fin | rsv1 | self.opcode.to_bits()
    }
}

/// The head of a frame that arrived.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Header {
    pub(crate) opcode: Opcode,
    pub(crate) fin: bool,
    pub(crate) compressed: bool,
    pub(crate) payload_bytes: u64,
    pub(crate) key: [u8; 4],
    /// Bytes of the head itself.
    pub(crate) size: usize,
}

/// The head of a message in one plain frame of up to 125 bytes, or 65,535.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Short {
    pub(crate) opcode: Opcode,
    pub(crate) payload_bytes: usize,
    pub(crate) key: [u8; 4],
    pub(crate) size: usize,
}

impl Short {
    /// Reads such a head if there is one, whole and right; whatever else there is, [`Header`] says.
    #[inline]
    pub(crate) fn parse(bytes: &[u8], reader: Role) -> Option<Self> {
        let [first, second, rest @ ..] = bytes else { return None };
        let opcode = match first ^ FIN {
            1 => Opcode::Text,
            2 => Opcode::Binary,
            _ => return None,
        };
        let masked = match reader {
            Role::Server => MASKED,
            Role::Client => 0,
        };
        let (payload_bytes, rest, size) = match (second ^ masked, rest) {
            (short @ 0..126, rest) => (usize::from(short), rest, 2),
            (126, [high, low, rest @ ..]) => (usize::from(u16::from_be_bytes([*high, *low])), rest, 4),
            _ => return None,
        };
        if size == 4 && payload_bytes < 126 {
            return None;
        }
        match reader {
            Role::Server => {
                let key = rest.first_chunk::<4>()?;
                Some(Self { opcode, payload_bytes, key: *key, size: size + 4 })
            }
            Role::Client => Some(Self { opcode, payload_bytes, key: [0; 4], size }),
        }
    }
}

impl Header {
    /// Reads the head at the front of `bytes`; `None` if it has not arrived whole. A fault that the first two
    /// bytes show is reported as soon as they are there.
    #[inline]
    pub(crate) fn parse(bytes: &[u8], reader: Role) -> Result<Option<Self>, Violation> {
        let [first, second, rest @ ..] = bytes else { return Ok(None) };
        let (first, second) = (*first, *second);
        let opcode = Opcode::from_bits(first & 0x0f)?;
        let fin = first & FIN != 0;
        let short = second & 0x7f;
        Self::check(first, second, opcode, fin, short, reader)?;

        let (payload_bytes, rest, size) = match short {
            126 => {
                let Some((length, rest)) = rest.split_first_chunk::<2>() else { return Ok(None) };
                (minimal(u64::from(u16::from_be_bytes(*length)), 126)?, rest, 4)
            }
            127 => {
                let Some((length, rest)) = rest.split_first_chunk::<8>() else { return Ok(None) };
                (minimal(u64::from_be_bytes(*length), 1 << 16)?, rest, 10)
            }
            short => (u64::from(short), rest, 2),
        };
        let compressed = first & RSV1 != 0;
        if second & MASKED == 0 {
            return Ok(Some(Self { opcode, fin, compressed, payload_bytes, key: [0; 4], size }));
        }
        let Some(key) = rest.first_chunk::<4>() else { return Ok(None) };
        Ok(Some(Self { opcode, fin, compressed, payload_bytes, key: *key, size: size + 4 }))
    }

    #[inline]
    fn check(
        first: u8,
        second: u8,
        opcode: Opcode,
        fin: bool,
        short: u8,
        reader: Role,
    ) -> Result<(), Violation> {
        if first & RSV23 != 0 {
            return Err(Violation::ReservedBits);
        }
        match (reader, second & MASKED != 0) {
            (Role::Server, false) => return Err(Violation::Unmasked),
            (Role::Client, true) => return Err(Violation::Masked),
            (Role::Server, true) | (Role::Client, false) => {}
        }
        if !opcode.is_control() {
            return Ok(());
        }
        if first & RSV1 != 0 {
            return Err(Violation::ReservedBits);
        }
        if !fin {
            return Err(Violation::ControlFragmented);
        }
        if usize::from(short) > CONTROL_BYTES_MAX {
            return Err(Violation::ControlTooLong);
        }
        Ok(())
    }
}

/// A length must be written in the shortest form, and its top bit is never set (RFC 6455 section 5.2).
#[inline]
const fn minimal(length: u64, least: u64) -> Result<u64, Violation> {
    if length < least || length > i64::MAX as u64 {
        return Err(Violation::Length);
    }
    Ok(length)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_length_has_one_spelling() {
        for (bytes, fits) in [
            (&[0x82, 126, 0, 125][..], false),
            (&[0x82, 126, 0, 126], true),
            (&[0x82, 126, 0xff, 0xff], true),
            (&[0x82, 127, 0, 0, 0, 0, 0, 0, 0xff, 0xff], false),
            (&[0x82, 127, 0, 0, 0, 0, 0, 1, 0, 0], true),
            (&[0x82, 127, 0x80, 0, 0, 0, 0, 0, 0, 0], false),
        ] {
            let parsed = Header::parse(bytes, Role::Client);
            assert_eq!(parsed.is_ok(), fits, "{bytes:02x?}");
        }
    }

    #[test]
    fn a_bad_start_is_told_before_the_head_is_whole() {
        // A ping that announces an extended length: two bytes are enough to know.
        assert_eq!(Header::parse(&[0x89, 0x7e], Role::Client).unwrap_err(), Violation::ControlTooLong);
        assert_eq!(Header::parse(&[0x83, 0x80], Role::Server).unwrap_err(), Violation::ReservedOpcode(3));
        assert_eq!(Header::parse(&[0x82, 0x01], Role::Server).unwrap_err(), Violation::Unmasked);
        assert_eq!(Header::parse(&[0x82, 0x81], Role::Client).unwrap_err(), Violation::Masked);
    }
}
