//! Frames that arrive.

use bytes::{Buf, Bytes, BytesMut};
use tokio::io::AsyncReadExt;
use whub_transport::{
    ReadHalf,
    preface::{LENGTH_BYTES, split_frame},
};
use whub_ws::MessageKind;

use super::{Arrival, broken, lost};
use crate::error::Error;
use crate::websocket::{Event, Reader};

/// Bytes of one read.
const READ_BYTES: usize = 64 * 1024;

#[derive(Debug)]
pub(crate) enum LinkReader {
    WebSocket(Reader),
    Own { half: ReadHalf, buffer: BytesMut, frame_bytes_max: usize },
}

impl LinkReader {
    pub(super) fn own(half: ReadHalf, frame_bytes_max: usize) -> Self {
        Self::Own { half, buffer: BytesMut::new(), frame_bytes_max }
    }

    /// The longest frame from now on, bytes.
    pub(crate) fn limit(&mut self, bytes_max: usize) {
        match self {
            // The WebSocket's decoder was given the largest limit there is; the session checks each frame.
            Self::WebSocket(_) => {}
            Self::Own { frame_bytes_max, .. } => *frame_bytes_max = bytes_max,
        }
    }

    /// What has arrived with the last read, one by one.
    pub(crate) fn pop(&mut self) -> Result<Option<Arrival>, Error> {
        match self {
            Self::WebSocket(reader) => reader.pop().map(from_event).transpose(),
            Self::Own { buffer, frame_bytes_max, .. } => {
                let split = split_frame(buffer, *frame_bytes_max);
                let split = split.map_err(|error| Error::protocol(error.to_string()))?;
                let Some(frame_len) = split.map(|(frame, _)| frame.len()) else { return Ok(None) };
                buffer.advance(LENGTH_BYTES);
                Ok(Some(Arrival::Frame(buffer.split_to(frame_len).freeze())))
            }
        }
    }

    /// Reads once. `false` at the end of the stream. It may be dropped at any time.
    pub(crate) async fn read(&mut self) -> Result<bool, Error> {
        match self {
            Self::WebSocket(reader) => reader.read().await.map_err(broken),
            Self::Own { half, buffer, .. } => {
                buffer.reserve(READ_BYTES);
                let count = half.read_buf(buffer).await.map_err(lost)?;
                Ok(count > 0)
            }
        }
    }
}

fn from_event(event: Event) -> Result<Arrival, Error> {
    match event {
        Event::Message { kind: MessageKind::Binary, payload } => Ok(Arrival::Frame(payload)),
        Event::Message { kind: MessageKind::Text, .. } => {
            Err(Error::protocol("the hub sent a text message on the binary protocol"))
        }
        Event::Ping(payload) => Ok(Arrival::Ping(payload)),
        Event::Pong => Ok(Arrival::Sign),
        Event::Close(frame) => Ok(Arrival::Close(frame)),
    }
}

/// Keeps one frame from holding the memory of a whole read for long: small parts are copied out.
pub(crate) fn detach(bytes: Bytes) -> Bytes {
    const COPY_BYTES_MAX: usize = 4096;
    if bytes.len() <= COPY_BYTES_MAX { Bytes::copy_from_slice(&bytes) } else { bytes }
}
