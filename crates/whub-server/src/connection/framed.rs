//! Frames behind a `u32` length, out of a stream of bytes.

use whub_transport::preface::{FrameTooLarge, LENGTH_BYTES, split_frame};

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
        mut input: &[u8],
        frame_bytes_max: usize,
        mut on_frame: impl FnMut(&[u8]) -> bool,
    ) -> Result<(), FrameTooLarge> {
        // The frame that has begun is completed by itself, so that what follows is read where it lies.
        while !self.carry.is_empty() {
            let (more, rest) = input.split_at(missing(&self.carry).min(input.len()));
            self.carry.extend_from_slice(more);
            input = rest;
            if let Some((frame, _)) = split_frame(&self.carry, frame_bytes_max)? {
                let goes_on = on_frame(frame);
                self.carry = Vec::new();
                if !goes_on {
                    return Ok(());
                }
            } else if input.is_empty() {
                return Ok(());
            }
        }
        let taken = each_frame(input, frame_bytes_max, &mut on_frame)?;
        self.carry.extend_from_slice(&input[taken..]);
        Ok(())
    }
}

/// How many bytes are lacking until the frame is whole, or until its length is known.
fn missing(begun: &[u8]) -> usize {
    let whole = begun.first_chunk().map_or(0, |length| u32::from_le_bytes(*length) as usize);
    LENGTH_BYTES + whole - begun.len()
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
    fn so_does_every_way_to_cut_it_twice() {
        let stream = [1, 0, 0, 0, b'a', 0, 0, 0, 0, 5, 0, 0, 0, b'b', b'c', b'd', b'e', b'f'];
        let expected = [b"a".to_vec(), b"".to_vec(), b"bcdef".to_vec()];
        for first in 0..stream.len() {
            for second in first..stream.len() {
                let chunks = [&stream[..first], &stream[first..second], &stream[second..]];
                assert_eq!(frames(&chunks), expected, "cut at {first} and {second}");
            }
        }
    }

    #[test]
    fn nothing_is_read_behind_the_frame_that_ended_it() {
        let mut reader = FrameReader::default();
        let mut heard = 0;
        let mut only_one = |_: &[u8]| {
            heard += 1;
            false
        };
        reader.handle_bytes(&[1, 0], 16, &mut only_one).unwrap();
        reader.handle_bytes(&[0, 0, b'a', 1, 0, 0, 0, b'b', 9], 16, &mut only_one).unwrap();
        assert_eq!(heard, 1);
    }

    #[test]
    fn a_frame_beyond_the_limit_is_refused_by_its_length_alone() {
        let mut reader = FrameReader::default();
        assert!(reader.handle_bytes(&[17, 0, 0, 0], 16, |_| true).is_err());
        let mut reader = FrameReader::default();
        reader.handle_bytes(&[17], 16, |_| true).unwrap();
        assert!(reader.handle_bytes(&[0, 0, 0, b'a'], 16, |_| true).is_err());
    }
}
