//! The message: 16 bytes that change, then a fixed pattern, checked when it comes back.
//!
//! ```text
//! 0..8  time it was due to be sent, ns since the start of the generator
//! 8..16 number: lane << 40 | position in the lane
//! 16..  pattern
//! ```

use crate::fault::Fault;

/// Bytes that change from message to message.
pub(crate) const STAMP_LEN: usize = 16;

/// The part of a message that changes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Stamp {
    /// When the message was due, ns since the generator's start.
    pub(crate) at_ns: u64,
    /// Lane and position, so that a message that strays is noticed as well as one that is late.
    pub(crate) number: u64,
}

impl Stamp {
    /// The stamp of message `position` of `lane`.
    pub(crate) fn new(at_ns: u64, lane: usize, position: u64) -> Self {
        Self { at_ns, number: number(lane, position) }
    }
}

/// The number that message `position` of `lane` carries.
pub(crate) fn number(lane: usize, position: u64) -> u64 {
    ((lane as u64) << 40) | position
}

/// A message of `len` bytes with an empty stamp.
pub(crate) fn blank(len: usize) -> Vec<u8> {
    assert!(len >= STAMP_LEN + 8, "a message has at least {} bytes", STAMP_LEN + 8);
    (0..len).map(|at| if at < STAMP_LEN { 0 } else { pattern(at) }).collect()
}

/// Reads the stamp of a message that must have `len` bytes, and looks at its last eight.
pub(crate) fn check(message: &[u8], len: usize) -> Result<Stamp, Fault> {
    if message.len() != len {
        return Err(Fault::Size { expected: len, got: message.len() });
    }
    let (Some((at, rest)), Some(tail)) = (message.split_first_chunk::<8>(), message.last_chunk::<8>()) else {
        return Err(Fault::Size { expected: len, got: message.len() });
    };
    let Some((position, _)) = rest.split_first_chunk::<8>() else {
        return Err(Fault::Size { expected: len, got: message.len() });
    };
    if (0..8).any(|i| tail[i] != pattern(len - 8 + i)) {
        return Err(Fault::Altered);
    }
    Ok(Stamp { at_ns: u64::from_le_bytes(*at), number: u64::from_le_bytes(*position) })
}

/// Printable, so that the same bytes serve text protocols and look like something in a capture.
fn pattern(at: usize) -> u8 {
    b'a' + (at % 23) as u8
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_cut_or_altered_message_is_noticed() {
        let mut message = blank(128);
        assert!(check(&message, 128).is_ok());
        assert!(matches!(check(&message[..127], 128), Err(Fault::Size { expected: 128, got: 127 })));
        message[127] ^= 1;
        assert!(matches!(check(&message, 128), Err(Fault::Altered)));
    }
}
