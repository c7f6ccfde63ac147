//! The client's half of RFC 6455, as much as a generator needs: frames of a server, taken off a read.

use crate::fault::Fault;
use crate::template::masked_frame;

const CLOSE: u8 = 8;
const PING: u8 = 9;
const PONG: u8 = 10;

/// One frame of a server.
#[derive(Debug)]
pub(crate) struct Frame<'a> {
    /// 1 text, 2 binary, 8 to 10 control.
    pub(crate) opcode: u8,
    /// Unmasked content.
    pub(crate) body: &'a [u8],
    /// Bytes of header and body together.
    pub(crate) len: usize,
}

/// The first frame of `bytes`, if it is there as a whole.
pub(crate) fn first(bytes: &[u8]) -> Result<Option<Frame<'_>>, Fault> {
    let [first, second, rest @ ..] = bytes else { return Ok(None) };
    if first & 0x70 != 0 || second & 0x80 != 0 {
        return Err(Fault::protocol("a WebSocket frame with reserved bits or a server's mask"));
    }
    if first & 0x80 == 0 || first & 0x0f == 0 {
        return Err(Fault::protocol("the server fragments messages; the generator does not join them"));
    }
    let (len, header) = match second & 0x7f {
        126 => match rest.first_chunk::<2>() {
            Some(len) => (u64::from(u16::from_be_bytes(*len)), 4),
            None => return Ok(None),
        },
        127 => match rest.first_chunk::<8>() {
            Some(len) => (u64::from_be_bytes(*len), 10),
            None => return Ok(None),
        },
        len => (u64::from(len), 2),
    };
    let end = header + usize::try_from(len).map_err(|_| Fault::protocol("a frame beyond memory"))?;
    Ok(bytes.get(header..end).map(|body| Frame { opcode: first & 0x0f, body, len: end }))
}

/// Gives every whole data frame of `bytes` to `take`, answers pings, and says how many bytes that were.
pub(crate) fn each(
    conn: usize,
    bytes: &[u8],
    mut take: impl FnMut(&[u8]) -> Result<(), Fault>,
    mut reply: impl FnMut(&[u8]),
) -> Result<usize, Fault> {
    let mut used = 0;
    while let Some(frame) = first(&bytes[used..])? {
        used += frame.len;
        match frame.opcode {
            CLOSE => return Err(Fault::Closed(conn)),
            PING => reply(&masked_frame(PONG, frame.body)),
            PONG => {}
            _ => take(frame.body)?,
        }
    }
    Ok(used)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn whole_frames_are_taken_and_the_rest_is_left() {
        let mut bytes = vec![0x82, 2, b'a', b'b', 0x89, 1, b'!', 0x82, 126, 0, 126];
        bytes.extend([7; 126]);
        bytes.extend([0x82, 3, 1]);
        let (mut seen, mut replies) = (Vec::new(), Vec::new());
        let used = each(
            0,
            &bytes,
            |body| {
                seen.push(body.len());
                Ok(())
            },
            |frame| replies.push(frame.to_vec()),
        );
        assert_eq!(used.expect("valid"), bytes.len() - 3);
        assert_eq!(seen, [2, 126]);
        assert_eq!(replies, [masked_frame(PONG, b"!")]);
    }

    #[test]
    fn a_masked_or_fragmented_frame_is_a_fault() {
        assert!(first(&[0x82, 0x81, 0, 0, 0, 0, 1]).is_err());
        assert!(first(&[0x02, 1, 1]).is_err());
    }
}
