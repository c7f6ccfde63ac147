//! Frames to write. Payload bytes travel as they are; only heads are built here.

use std::ops::Deref;

use crate::{
    CloseCode, CloseFrame,
    close::REASON_BYTES_MAX,
    frame::{HEAD_BYTES_MAX, Head, Opcode},
    mask::mask,
};

/// The encoded head of a frame: 2 to 10 bytes from a server, 6 to 14 from a client.
#[derive(Clone, Copy, Debug)]
pub struct EncodedHead {
    bytes: [u8; HEAD_BYTES_MAX],
    size: u8,
}

impl Deref for EncodedHead {
    type Target = [u8];

    #[inline]
    fn deref(&self) -> &[u8] {
        &self.bytes[..usize::from(self.size)]
    }
}

/// Builds the head of a frame with `payload_bytes` of payload. A client passes the `key` with which it masks the
/// payload ([`mask`]); a server passes `None`.
#[inline]
pub fn encode_head(head: impl Into<Head>, payload_bytes: usize, key: Option<[u8; 4]>) -> EncodedHead {
    let mut bytes = [0; HEAD_BYTES_MAX];
    bytes[0] = head.into().to_bits();
    let masked = if key.is_some() { 0x80 } else { 0 };
    let mut size = if payload_bytes < 126 {
        bytes[1] = masked | payload_bytes as u8;
        2
    } else if let Ok(length) = u16::try_from(payload_bytes) {
        bytes[1] = masked | 126;
        bytes[2..4].copy_from_slice(&length.to_be_bytes());
        4
    } else {
        bytes[1] = masked | 127;
        bytes[2..10].copy_from_slice(&(payload_bytes as u64).to_be_bytes());
        10
    };
    if let Some(key) = key {
        bytes[size..size + 4].copy_from_slice(&key);
        size += 4;
    }
    EncodedHead { bytes, size: size as u8 }
}

/// Appends a frame from a server.
///
/// ```
/// let mut out = Vec::new();
/// whub_ws::encode_frame(&mut out, whub_ws::Opcode::Text, b"Hello");
/// assert_eq!(out, b"\x81\x05Hello"); // RFC 6455 section 5.7
/// ```
#[inline]
pub fn encode_frame(out: &mut Vec<u8>, head: impl Into<Head>, payload: &[u8]) {
    let head = encode_head(head, payload.len(), None);
    out.reserve(head.len() + payload.len());
    out.extend_from_slice(&head);
    out.extend_from_slice(payload);
}

/// Appends a frame from a client. The key must be fresh and not to be guessed (RFC 6455 section 5.3).
#[inline]
pub fn encode_masked(out: &mut Vec<u8>, head: impl Into<Head>, payload: &[u8], key: [u8; 4]) {
    let head = encode_head(head, payload.len(), Some(key));
    out.reserve(head.len() + payload.len());
    out.extend_from_slice(&head);
    let begin = out.len();
    out.extend_from_slice(payload);
    mask(&mut out[begin..], key);
}

/// Appends a Close frame; `key` as in [`encode_head`]. A reason that does not fit is cut after a whole character.
pub fn encode_close(out: &mut Vec<u8>, code: CloseCode, reason: &str, key: Option<[u8; 4]>) {
    let reason = &reason[..reason.floor_char_boundary(REASON_BYTES_MAX)];
    let mut body = Vec::with_capacity(2 + reason.len());
    body.extend_from_slice(&code.value().to_be_bytes());
    body.extend_from_slice(reason.as_bytes());
    encode_either(out, Opcode::Close, &body, key);
}

/// Appends the answer to a Close frame: the same code, or no code if there was none (RFC 6455 section 5.5.1).
pub fn encode_close_reply(out: &mut Vec<u8>, received: Option<&CloseFrame<'_>>, key: Option<[u8; 4]>) {
    match received {
        Some(frame) => encode_close(out, frame.code, "", key),
        None => encode_either(out, Opcode::Close, b"", key),
    }
}

/// Appends a frame from either side; `key` as in [`encode_head`].
pub fn encode_either(out: &mut Vec<u8>, head: impl Into<Head>, payload: &[u8], key: Option<[u8; 4]>) {
    match key {
        Some(key) => encode_masked(out, head, payload, key),
        None => encode_frame(out, head, payload),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn heads_grow_with_the_length() {
        for (length, expected) in [
            (0, &[0x82, 0][..]),
            (125, &[0x82, 125]),
            (126, &[0x82, 126, 0, 126]),
            (65_535, &[0x82, 126, 0xff, 0xff]),
            (65_536, &[0x82, 127, 0, 0, 0, 0, 0, 1, 0, 0]),
        ] {
            assert_eq!(&*encode_head(Opcode::Binary, length, None), expected);
        }
        assert_eq!(&*encode_head(Opcode::Ping, 1, Some([1, 2, 3, 4])), &[0x89, 0x81, 1, 2, 3, 4]);
    }

    #[test]
    fn a_masked_text_as_in_the_standard() {
        let mut out = Vec::new();
        encode_masked(&mut out, Opcode::Text, b"Hello", [0x37, 0xfa, 0x21, 0x3d]);
        // RFC 6455 section 5.7
        assert_eq!(out, [0x81, 0x85, 0x37, 0xfa, 0x21, 0x3d, 0x7f, 0x9f, 0x4d, 0x51, 0x58]);
    }

    #[test]
    fn a_long_reason_is_cut_between_characters() {
        let mut out = Vec::new();
        encode_close(&mut out, CloseCode::NORMAL, &"é".repeat(100), None);
        assert_eq!(out[..4], [0x88, 124, 0x03, 0xe8]);
        assert_eq!(std::str::from_utf8(&out[4..]).unwrap(), "é".repeat(61));
    }
}
