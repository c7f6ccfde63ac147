//! A frame built and masked once, of which only a few bytes are patched per message.

use crate::message::Stamp;

/// Mask of every frame that the generator sends; any value costs the server the same.
const MASK: [u8; 4] = [0x37, 0xfa, 0x21, 0x3d];

/// A ready frame; `append` copies it and patches stamp and id.
#[derive(Clone, Debug)]
pub(crate) struct Template {
    bytes: Vec<u8>,
    /// Where the body starts: after the WebSocket header, 0 without one.
    body_at: usize,
    mask: [u8; 4],
    /// Where in the body the stamp is.
    stamp_at: usize,
    /// Where in the body the id is, for frames that have one.
    id_at: usize,
}

impl Template {
    /// A bare message, for byte streams.
    pub(crate) fn raw(message: Vec<u8>) -> Self {
        Self { bytes: message, body_at: 0, mask: [0; 4], stamp_at: 0, id_at: 0 }
    }

    /// A masked binary WebSocket message around `body`, whose stamp is at `stamp_at`.
    pub(crate) fn websocket(body: &[u8], stamp_at: usize) -> Self {
        let bytes = masked_frame(0x2, body);
        let body_at = bytes.len() - body.len();
        Self { bytes, body_at, mask: MASK, stamp_at, id_at: 0 }
    }

    /// The same, with the place of a little-endian 64-bit id in the body.
    pub(crate) fn with_id_at(mut self, id_at: usize) -> Self {
        self.id_at = id_at;
        self
    }

    /// Appends the frame with this stamp.
    pub(crate) fn append(&self, out: &mut Vec<u8>, stamp: Stamp) {
        let start = out.len() + self.body_at;
        out.extend_from_slice(&self.bytes);
        self.patch(out, start, self.stamp_at, stamp.at_ns);
        self.patch(out, start, self.stamp_at + 8, stamp.number);
    }

    /// Appends the frame with this stamp and id.
    pub(crate) fn append_with_id(&self, out: &mut Vec<u8>, id: u64, stamp: Stamp) {
        let start = out.len() + self.body_at;
        self.append(out, stamp);
        self.patch(out, start, self.id_at, id);
    }

    fn patch(&self, out: &mut [u8], start: usize, at: usize, value: u64) {
        let mut bytes = value.to_le_bytes();
        for (i, byte) in bytes.iter_mut().enumerate() {
            *byte ^= self.mask[(at + i) % 4];
        }
        out[start + at..start + at + 8].copy_from_slice(&bytes);
    }
}

/// One masked, final WebSocket frame (RFC 6455 section 5.2).
pub(crate) fn masked_frame(opcode: u8, body: &[u8]) -> Vec<u8> {
    let mut frame = vec![0x80 | opcode];
    match body.len() {
        len @ 0..=125 => frame.push(0x80 | len as u8),
        len @ 126..=0xffff => {
            frame.push(0x80 | 126);
            frame.extend_from_slice(&(len as u16).to_be_bytes());
        }
        len => {
            frame.push(0x80 | 127);
            frame.extend_from_slice(&(len as u64).to_be_bytes());
        }
    }
    frame.extend_from_slice(&MASK);
    frame.extend(body.iter().enumerate().map(|(i, byte)| byte ^ MASK[i % 4]));
    frame
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::message;

    fn unmask(frame: &[u8], header: usize) -> Vec<u8> {
        let mask = &frame[header - 4..header];
        frame[header..].iter().enumerate().map(|(i, byte)| byte ^ mask[i % 4]).collect()
    }

    #[test]
    fn a_patched_frame_unmasks_to_the_stamp() {
        let mut body = b"abc".to_vec();
        body.extend(message::blank(128));
        let template = Template::websocket(&body, 3);
        let mut out = b"before".to_vec();
        let stamp = Stamp::new(0x0102_0304_0506_0708, 9, 77);
        template.append(&mut out, stamp);
        let body = unmask(&out[6..], 8);
        assert_eq!(&body[..3], b"abc");
        assert_eq!(message::check(&body[3..], 128).expect("intact"), stamp);
    }

    #[test]
    fn lengths_take_the_shortest_form() {
        assert_eq!(masked_frame(2, &[0; 125])[1], 0x80 | 125);
        assert_eq!(masked_frame(2, &[0; 126])[1..4], [0x80 | 126, 0, 126]);
        assert_eq!(masked_frame(2, &[0; 65536])[1..10], [0x80 | 127, 0, 0, 0, 0, 0, 1, 0, 0]);
    }
}
