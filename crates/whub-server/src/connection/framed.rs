//! Frames behind a `u32` length, out of a stream of bytes.

use bytes::{Buf, Bytes, BytesMut};
use whub_transport::preface::{FrameTooLarge, LENGTH_BYTES, split_frame};

/// A frame of this length is not moved once it is read, where that can be: who passes it on shares its memory. The pieces of
/// bodies that `whub-client` sends are as long, with their heads.
const LONG_BYTES: usize = 64 * 1024;

/// Memory that long frames are read to, several to a block. Each of them keeps its whole block.
const BLOCK_BYTES: usize = 256 * 1024;

/// Less room than this behind an unfinished frame is not worth a system call, bytes.
const READ_BYTES_MIN: usize = 64 * 1024;

/// What is left of the last read: the beginning of a frame. Owns memory only then.
#[derive(Debug, Default)]
pub(crate) struct FrameReader {
    begun: BytesMut,
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
        while !self.begun.is_empty() {
            let (more, rest) = input.split_at(missing(&self.begun).min(input.len()));
            self.begun.extend_from_slice(more);
            input = rest;
            if let Some((frame, _)) = split_frame(&self.begun, frame_bytes_max)? {
                let goes_on = on_frame(frame);
                self.begun = BytesMut::new();
                if !goes_on {
                    return Ok(());
                }
            } else if input.is_empty() {
                return Ok(());
            }
        }
        let taken = each_frame(input, frame_bytes_max, &mut on_frame)?;
        self.begin(&input[taken..]);
        Ok(())
    }

    /// Room behind a long frame that has begun: for the rest of it, and for what follows.
    pub(super) fn space(&mut self) -> Option<&mut BytesMut> {
        if !is_long(&self.begun) {
            return None;
        }
        let room = self.begun.capacity() - self.begun.len();
        if room < missing(&self.begun).min(READ_BYTES_MIN) {
            let begun = std::mem::take(&mut self.begun);
            self.begin(&begun);
        }
        Some(&mut self.begun)
    }

    /// [`Self::space`] has got more bytes. As [`Self::handle_bytes`]; long frames come with the memory that they lie in.
    ///
    /// # Errors
    /// As there.
    pub(super) fn handle_filled(
        &mut self,
        frame_bytes_max: usize,
        on_frame: &mut dyn FnMut(&[u8], Option<&Bytes>) -> bool,
    ) -> Result<(), FrameTooLarge> {
        while let Some((frame, size)) = split_frame(&self.begun, frame_bytes_max)? {
            let goes_on = if size < LONG_BYTES {
                let goes_on = on_frame(frame, None);
                self.begun.advance(size);
                goes_on
            } else {
                let mut frame = self.begun.split_to(size).freeze();
                frame.advance(LENGTH_BYTES);
                on_frame(&frame, Some(&frame))
            };
            if !goes_on {
                self.begun = BytesMut::new();
            }
        }
        if !is_long(&self.begun) {
            self.begun = BytesMut::from(&self.begun[..]);
        }
        Ok(())
    }

    /// Keeps the beginning of a frame, with room for what follows if that is a long one. Beyond a block it doubles with what
    /// has come: what was announced may never come.
    fn begin(&mut self, bytes: &[u8]) {
        let whole = bytes.len() + missing(bytes);
        let room = if whole < LONG_BYTES { bytes.len() } else { BLOCK_BYTES.max(whole.min(2 * bytes.len())) };
        self.begun = BytesMut::with_capacity(room);
        self.begun.extend_from_slice(bytes);
    }
}

/// How many bytes are lacking until the frame is whole, or until its length is known.
fn missing(begun: &[u8]) -> usize {
    let whole = begun.first_chunk().map_or(0, |length| u32::from_le_bytes(*length) as usize);
    LENGTH_BYTES + whole - begun.len()
}

/// Whether the frame that has begun is known to be a long one.
fn is_long(begun: &[u8]) -> bool {
    begun.len() + missing(begun) >= LONG_BYTES
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
        assert!(reader.begun.is_empty());
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

    /// Frames of these lengths behind one another, each with bytes of its own, and the frames by themselves.
    fn stream_of(lengths: &[usize]) -> (Vec<u8>, Vec<Vec<u8>>) {
        let frame =
            |(number, &length): (usize, &usize)| (0..length).map(|at| (at ^ (number * 7)) as u8).collect();
        let frames: Vec<Vec<u8>> = lengths.iter().enumerate().map(frame).collect();
        let with_length = |frame: &Vec<u8>| [&(frame.len() as u32).to_le_bytes()[..], frame].concat();
        (frames.iter().flat_map(with_length).collect(), frames)
    }

    /// Reads as a connection does, at most so many bytes at a time. Gives the frames, and of each whether it came with memory.
    fn read_all(mut stream: &[u8], mut reads: impl Iterator<Item = usize>) -> (Vec<Vec<u8>>, Vec<bool>) {
        let (mut reader, mut frames, mut shared) = (FrameReader::default(), Vec::new(), Vec::new());
        while !stream.is_empty() {
            let most = reads.next().unwrap().min(stream.len());
            let mut keep = |frame: &[u8], memory: Option<&Bytes>| {
                assert!(memory.is_none_or(|memory| memory == frame));
                frames.push(frame.to_vec());
                shared.push(memory.is_some());
                true
            };
            let count = if let Some(block) = reader.space() {
                let count = most.min(block.capacity() - block.len());
                block.extend_from_slice(&stream[..count]);
                reader.handle_filled(FRAME_BYTES_MAX, &mut keep).unwrap();
                count
            } else {
                reader.handle_bytes(&stream[..most], FRAME_BYTES_MAX, |frame| keep(frame, None)).unwrap();
                most
            };
            assert!(count > 0, "a read always brings something");
            stream = &stream[count..];
        }
        assert_eq!((reader.begun.len(), reader.begun.capacity()), (0, 0), "nothing is owned between frames");
        (frames, shared)
    }

    const FRAME_BYTES_MAX: usize = 1024 * 1024;

    #[test]
    fn long_frames_come_whole_however_they_are_cut() {
        let mut state = 7_u64;
        let mut dice = |below: usize| {
            state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
            (state >> 33) as usize % below
        };
        for round in 0..48 {
            let lengths: Vec<_> = (0..8)
                .map(|_| match dice(4) {
                    0 => dice(40),
                    1 => LONG_BYTES - 8 + dice(16),
                    2 => 64 * 1024,
                    _ => dice(if round % 12 == 3 { FRAME_BYTES_MAX } else { 3 * LONG_BYTES }),
                })
                .collect();
            let most = [50, 1000, 128 * 1024, BLOCK_BYTES][round % 4] * (1 + dice(3));
            let (stream, expected) = stream_of(&lengths);
            let (frames, _) = read_all(&stream, std::iter::repeat_with(|| 1 + dice(most)));
            assert!(frames == expected, "round {round}: {lengths:?} in reads of {most}");
        }
    }

    #[test]
    fn in_a_long_run_of_long_frames_all_but_the_first_read_is_shared() {
        let (stream, expected) = stream_of(&[64 * 1024; 16]);
        let (frames, shared) = read_all(&stream, std::iter::repeat(128 * 1024));
        assert!(frames == expected);
        assert_eq!(shared, [&[false][..], &[true; 15]].concat());
    }

    #[test]
    fn a_trickle_is_not_moved_again_and_again() {
        for length in [LONG_BYTES, BLOCK_BYTES - 100, FRAME_BYTES_MAX] {
            let (stream, _) = stream_of(&[length]);
            let (mut reader, mut moves, mut place) = (FrameReader::default(), 0, std::ptr::null());
            reader.handle_bytes(&stream[..4], FRAME_BYTES_MAX, |_| true).unwrap();
            for bytes in stream[4..stream.len() - 1].chunks(100) {
                let block = reader.space().unwrap();
                assert!(
                    block.capacity() <= BLOCK_BYTES.max(2 * block.len()),
                    "no more than what came is trusted"
                );
                moves +=
                    usize::from(!std::ptr::eq(std::mem::replace(&mut place, block.as_ptr()), block.as_ptr()));
                block.extend_from_slice(bytes);
                reader.handle_filled(FRAME_BYTES_MAX, &mut |_, _| true).unwrap();
            }
            assert!(moves <= 4, "{length}: moved {moves} times");
        }
    }

    #[test]
    fn a_long_frame_that_ended_it_is_the_last() {
        let (stream, _) = stream_of(&[LONG_BYTES, 3, LONG_BYTES]);
        let mut reader = FrameReader::default();
        reader.handle_bytes(&stream[..100], FRAME_BYTES_MAX, |_| true).unwrap();
        reader.space().unwrap().extend_from_slice(&stream[100..]);
        let mut heard = 0;
        let mut only_one = |_: &[u8], _: Option<&Bytes>| {
            heard += 1;
            false
        };
        reader.handle_filled(FRAME_BYTES_MAX, &mut only_one).unwrap();
        assert_eq!((heard, reader.begun.capacity()), (1, 0));
    }

    #[test]
    fn behind_a_long_frame_too_one_beyond_the_limit_is_refused() {
        let (mut stream, _) = stream_of(&[LONG_BYTES]);
        stream.extend(u32::MAX.to_le_bytes());
        let mut reader = FrameReader::default();
        reader.handle_bytes(&stream[..100], FRAME_BYTES_MAX, |_| true).unwrap();
        reader.space().unwrap().extend_from_slice(&stream[100..]);
        assert!(reader.handle_filled(FRAME_BYTES_MAX, &mut |_, _| true).is_err());
    }
}
