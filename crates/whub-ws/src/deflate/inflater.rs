//! Undoes the compression of incoming messages, piece by piece and within a limit.

use std::fmt;

use flate2::{Decompress, FlushDecompress, Status};

use super::TAIL;
use crate::Violation;

/// An empty stored block with BFINAL, after which a sound stream is at its end.
const FINAL_BLOCK: [u8; 5] = [1, 0, 0, 0xff, 0xff];
/// The least space for output, in bytes.
const SPACE_BYTES_MIN: usize = 512;

/// The incoming half of permessage-deflate (RFC 7692 section 7.2.2).
///
/// 47 KiB while a compressed message is open; between messages nothing, unless the peer keeps its context.
/// A message that stops within a block is told as damage only where the peer keeps none: a stream that goes on
/// cannot be asked whether it is between blocks, and the damage shows with the next message.
pub struct Inflater {
    stream: Option<Decompress>,
    keeps_context: bool,
    /// Whether any byte of the current message has come.
    begun: bool,
}

impl Inflater {
    /// `keeps_context`: whether the peer's messages may refer to earlier ones.
    #[must_use]
    pub const fn new(keeps_context: bool) -> Self {
        Self { stream: None, keeps_context, begun: false }
    }

    /// Appends what `input` inflates to; stops as soon as `out` holds more than `limit` bytes.
    pub(crate) fn push(&mut self, input: &[u8], out: &mut Vec<u8>, limit: usize) -> Result<(), Violation> {
        self.begun |= !input.is_empty();
        self.inflate(input, out, limit).map(|_| ())
    }

    /// Ends a message.
    pub(crate) fn finish(&mut self, out: &mut Vec<u8>, limit: usize) -> Result<(), Violation> {
        // Some senders leave out even the one byte that an empty message should have.
        if !std::mem::take(&mut self.begun) {
            return Ok(());
        }
        self.inflate(&TAIL, out, limit)?;
        if self.keeps_context {
            return Ok(());
        }
        // A stream that nothing follows can be asked whether it stopped between two blocks.
        let ended = self.inflate(&FINAL_BLOCK, out, limit)?;
        self.stream = None;
        if ended { Ok(()) } else { Err(Violation::Deflate) }
    }

    /// Whether the stream was at its end with the last byte.
    fn inflate(&mut self, mut input: &[u8], out: &mut Vec<u8>, limit: usize) -> Result<bool, Violation> {
        let stream = self.stream.get_or_insert_with(|| Decompress::new(false));
        loop {
            reserve(out, input.len(), limit);
            let (taken, given) = (stream.total_in(), stream.total_out());
            let status = stream.decompress_vec(input, out, FlushDecompress::None);
            // First of all, so that the verdict does not depend on how the bytes were cut.
            if out.len() > limit {
                return Err(Violation::TooBig { limit });
            }
            let status = status.map_err(|_| Violation::Deflate)?;
            let idle = stream.total_in() == taken && stream.total_out() == given;
            input = &input[(stream.total_in() - taken) as usize..];
            let ended = status == Status::StreamEnd;
            if ended {
                // A block with BFINAL; another stream may follow (RFC 7692 section 7.2.3.4).
                stream.reset(false);
            }
            if input.is_empty() && (ended || out.len() < out.capacity()) {
                return Ok(ended);
            }
            if idle && !ended {
                return Err(Violation::Deflate);
            }
        }
    }
}

/// Makes room for at least one byte; at most one byte more than the limit, by which its breach is seen.
fn reserve(out: &mut Vec<u8>, input_bytes: usize, limit: usize) {
    if out.len() < out.capacity() {
        return;
    }
    let wanted = out.len().max(input_bytes.saturating_mul(2)).max(SPACE_BYTES_MIN);
    out.reserve_exact(wanted.min(limit.saturating_sub(out.len()).saturating_add(1)));
}

impl fmt::Debug for Inflater {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Inflater").field("keeps_context", &self.keeps_context).finish_non_exhaustive()
    }
}
