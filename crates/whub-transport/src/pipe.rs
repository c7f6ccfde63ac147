//! A connection without a network: two streams that are each other's peer.

use crate::stream::Stream;

/// Both ends of a pipe that holds at most `buffer_bytes` in each direction.
///
/// When one end is dropped the other reads to the end and can no longer write.
#[must_use]
pub fn pipe(buffer_bytes: usize) -> (Stream, Stream) {
    let (one, other) = tokio::io::duplex(buffer_bytes);
    (Stream::boxed(one), Stream::boxed(other))
}
