//! Frames behind a `u32` length, out of a stream of bytes.

use whub_transport::preface::{FrameTooLarge, split_frame};

/// What is left of the last read: the beginning of a frame. Owns memory only then.
#[derive(Debug, Default)]
pub(crate) struct FrameReader {
    carry: Vec<u8>,
}

impl FrameReader {
    /// Hands every whole frame to `on_frame`, until it returns false, and keeps the rest.
    ///
    /// # Errors
    /// When a frame is announced that is longer than `frame_bytes_max`.
    pub(super) fn handle_bytes(
        &mut self,
        input: &[u8],
        frame_bytes_max: usize,
        mut on_frame: impl FnMut(&[u8]) -> bool,
    ) -> Result<(), FrameTooLarge> {
        if self.carry.is_empty() {
            let taken = each_frame(input, frame_bytes_max, &mut on_frame)?;
            self.carry.extend_from_slice(&input[taken..]);
            return Ok(());
        }
        let mut bytes = std::mem::take(&mut self.carry);
        bytes.extend_from_slice(input);
        let taken = each_frame(&bytes, frame_bytes_max, &mut on_frame)?;
        if taken < bytes.len() {
            bytes.drain(..taken);
            self.carry = bytes;
        }
        Ok(())
    }
}

fn each_frame(
    bytes: &[u8],
    frame_bytes_max: usize,
    on_frame: &mut impl FnMut(&[u8]) -> bool,
) -> Result<usize, FrameTooLarge> {
    let mut taken = 0;
    while let Some((frame, size)) = split_frame(&bytes[taken..], frame_bytes_max)? {
        taken += size;
        if !on_frame(frame) {
            return Ok(bytes.len());
        }
    }
    Ok(taken)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn frames(chunks: &[&[u8]]) -> Vec<Vec<u8>> {
        let mut reader = FrameReader::default();
        let mut frames = Vec::new();
        for chunk in chunks {
            let collect = |frame: &[u8]| {
                frames.push(frame.to_vec());
                true
            };
            reader.handle_bytes(chunk, 16, collect).unwrap();
        }
        assert!(reader.carry.is_empty());
        frames
    }

    #[test]
    fn every_way_to_cut_the_stream_gives_the_same_frames() {
        let stream = [3, 0, 0, 0, b'a', b'b', b'c', 0, 0, 0, 0, 1, 0, 0, 0, b'd'];
        let expected = [b"abc".to_vec(), b"".to_vec(), b"d".to_vec()];
        for cut in 0..stream.len() {
            assert_eq!(frames(&[&stream[..cut], &stream[cut..]]), expected, "cut at {cut}");
        }
    }

    #[test]
    fn a_frame_beyond_the_limit_is_refused_by_its_length_alone() {
        let mut reader = FrameReader::default();
        assert!(reader.handle_bytes(&[17, 0, 0, 0], 16, |_| true).is_err());
    }
}
