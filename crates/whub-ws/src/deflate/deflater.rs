//! Compresses outgoing messages.

use std::fmt;

use flate2::{Compress, Compression, FlushCompress, Status};

use super::TAIL;

/// Messages below this many bytes rarely shrink and are not tried.
const MESSAGE_BYTES_MIN: usize = 64;

/// The outgoing half of permessage-deflate (RFC 7692 section 7.2.1).
///
/// 260 KiB with a window of 12 bits, 370 KiB with 15, while a message is compressed; between messages nothing, unless
/// this side keeps its context.
pub struct Deflater {
    stream: Option<Compress>,
    window_bits: u8,
    keeps_context: bool,
}

impl Deflater {
    /// `window_bits` from 9 to 15, others are brought into that range; `keeps_context`: whether messages may refer
    /// to earlier ones.
    #[must_use]
    pub fn new(window_bits: u8, keeps_context: bool) -> Self {
        Self { stream: None, window_bits: window_bits.clamp(9, 15), keeps_context }
    }

    /// The compressed bytes of one message, to be sent with [`crate::Head::compressed`] set on its first frame;
    /// `None` if it is better sent as it is, which the peer must accept at any time.
    #[must_use]
    pub fn compress(&mut self, message: &[u8]) -> Option<Vec<u8>> {
        if message.len() < MESSAGE_BYTES_MIN {
            return None;
        }
        let out = self.deflate(message);
        if out.is_none() || !self.keeps_context {
            // A new stream never refers back, so starting over is right at any time.
            self.stream = None;
        }
        out.filter(|out| self.keeps_context || out.len() < message.len())
    }

    fn deflate(&mut self, mut input: &[u8]) -> Option<Vec<u8>> {
        let bits = self.window_bits;
        let stream = self
            .stream
            .get_or_insert_with(|| Compress::new_with_window_bits(Compression::fast(), false, bits));
        let mut out = Vec::with_capacity(input.len() / 2 + 64);
        loop {
            if out.len() == out.capacity() {
                out.reserve(out.len());
            }
            let taken = stream.total_in();
            let status = stream.compress_vec(input, &mut out, FlushCompress::Sync).ok()?;
            input = &input[(stream.total_in() - taken) as usize..];
            if input.is_empty() && out.len() < out.capacity() {
                break;
            }
            if status == Status::StreamEnd {
                return None;
            }
        }
        out.ends_with(&TAIL).then(|| {
            out.truncate(out.len() - TAIL.len());
            out
        })
    }
}

impl fmt::Debug for Deflater {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Deflater")
            .field("window_bits", &self.window_bits)
            .field("keeps_context", &self.keeps_context)
            .finish_non_exhaustive()
    }
}
