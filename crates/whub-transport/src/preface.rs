//! How the own protocol begins on a bare socket: five bytes, then frames behind their length.
//!
//! ```text
//! 0E 57 48 42 01    0x0E "WHB", version of the framing     once, from the client
//! LL LL LL LL ...   length, little-endian, then the frame  for ever, both ways
//! ```
//!
//! Inside TLS the ALPN `whub/1` says the same, so there is no preface there. `0x0E` begins nothing else that
//! could arrive on the port, not even over UDP (RFC 7983, RFC 9443 leave 4 to 15 unassigned).

use std::io;
use std::time::Duration;

use thiserror::Error;
use tokio::io::{AsyncRead, AsyncReadExt};

/// The version of the framing; the protocol's own is agreed in `Hello`.
pub const VERSION: u8 = 1;

/// What a client sends first.
pub const PREFACE: [u8; 5] = [0x0E, b'W', b'H', b'B', VERSION];

/// The bytes of a length.
pub const LENGTH_BYTES: usize = 4;

/// Reads and checks the preface, within a deadline, and not a byte more.
///
/// # Errors
/// [`PrefaceError`]; the connection is then of no use.
pub async fn read_preface(
    stream: &mut (impl AsyncRead + Unpin),
    within: Duration,
) -> Result<(), PrefaceError> {
    let mut bytes = [0; PREFACE.len()];
    match tokio::time::timeout(within, stream.read_exact(&mut bytes)).await {
        Err(_) => Err(PrefaceError::Late),
        Ok(Err(error)) => Err(PrefaceError::Lost(error)),
        Ok(Ok(_)) => check(bytes),
    }
}

fn check(bytes: [u8; 5]) -> Result<(), PrefaceError> {
    let [magic @ .., version] = bytes;
    if magic != PREFACE[..4] {
        return Err(PrefaceError::Foreign(magic));
    }
    if version != VERSION {
        return Err(PrefaceError::Version(version));
    }
    Ok(())
}

/// Why a connection is not one of ours.
#[derive(Debug, Error)]
pub enum PrefaceError {
    /// Another protocol that happens to begin with the same byte.
    #[error("the peer's first bytes {0:02x?} are not those of the whub protocol")]
    Foreign([u8; 4]),
    /// A newer, or damaged, client.
    #[error(
        "the peer frames by version {0}, this hub knows version {VERSION}; the older of the two needs an update"
    )]
    Version(u8),
    /// Not all five bytes came in time.
    #[error("the peer did not finish its preface in time")]
    Late,
    /// The connection ended first.
    #[error("the connection ended within the preface: {0}")]
    Lost(#[source] io::Error),
}

/// Takes the first whole frame off `bytes`: the frame, and how many bytes it occupied with its length.
/// `None` while it is incomplete.
///
/// # Errors
/// When the announced length is above `frame_bytes_max`; nothing after it can be understood.
pub fn split_frame(bytes: &[u8], frame_bytes_max: usize) -> Result<Option<(&[u8], usize)>, FrameTooLarge> {
    let Some((length, rest)) = bytes.split_first_chunk::<LENGTH_BYTES>() else { return Ok(None) };
    let length = u32::from_le_bytes(*length) as usize;
    if length > frame_bytes_max {
        return Err(FrameTooLarge { length, frame_bytes_max });
    }
    Ok(rest.get(..length).map(|frame| (frame, LENGTH_BYTES + length)))
}

/// A frame above the limit of this connection.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Error)]
#[error("the peer announced a frame of {length} bytes, the limit is {frame_bytes_max}")]
pub struct FrameTooLarge {
    /// What was announced, in bytes.
    pub length: usize,
    /// What is allowed, in bytes.
    pub frame_bytes_max: usize,
}

#[cfg(test)]
mod tests {
    use super::*;

    const SOON: Duration = Duration::from_secs(5);

    #[tokio::test]
    async fn the_preface_is_read_and_nothing_after_it() {
        let mut bytes: &[u8] = &[0x0E, 0x57, 0x48, 0x42, 0x01, 9, 0, 0, 0];
        read_preface(&mut bytes, SOON).await.expect("our own preface");
        assert_eq!(bytes, [9, 0, 0, 0]);
    }

    #[tokio::test]
    async fn other_versions_and_other_protocols_are_told_apart() {
        let mut newer: &[u8] = b"\x0EWHB\x02";
        let error = read_preface(&mut newer, SOON).await.expect_err("a newer version");
        assert!(matches!(error, PrefaceError::Version(2)), "{error}");
        let mut other: &[u8] = b"\x0EWHAT";
        let error = read_preface(&mut other, SOON).await.expect_err("another protocol");
        assert!(matches!(error, PrefaceError::Foreign([0x0E, b'W', b'H', b'A'])), "{error}");
        let mut short: &[u8] = b"\x0EWH";
        let error = read_preface(&mut short, SOON).await.expect_err("half a preface");
        assert!(matches!(error, PrefaceError::Lost(_)), "{error}");
    }

    #[tokio::test(start_paused = true)]
    async fn half_a_preface_waits_only_so_long() {
        let (mut ours, mut theirs) = tokio::io::duplex(16);
        tokio::io::AsyncWriteExt::write_all(&mut theirs, b"\x0EW").await.expect("room");
        let begun = tokio::time::Instant::now();
        let error = read_preface(&mut ours, SOON).await.expect_err("never finished");
        assert!(matches!(error, PrefaceError::Late), "{error}");
        assert_eq!(begun.elapsed(), SOON);
    }

    #[test]
    fn frames_come_off_one_by_one() {
        let bytes = [2, 0, 0, 0, b'h', b'i', 0, 0, 0, 0, 3, 0, 0, 0, b'x'];
        assert_eq!(split_frame(&bytes, 3), Ok(Some((&b"hi"[..], 6))));
        assert_eq!(split_frame(&bytes[6..], 3), Ok(Some((&b""[..], 4))));
        assert_eq!(split_frame(&bytes[10..], 3), Ok(None));
        assert_eq!(split_frame(&bytes[10..12], 3), Ok(None));
        assert_eq!(split_frame(&bytes[10..], 2), Err(FrameTooLarge { length: 3, frame_bytes_max: 2 }));
    }
}
