//! Frames that leave.

use tokio::io::AsyncWriteExt;
use whub_transport::WriteHalf;
use whub_ws::{CloseCode, CloseFrame, MessageKind};

use super::{broken, lost};
use crate::error::Error;
use crate::outgoing::Outgoing;
use crate::websocket::Writer;

#[derive(Debug)]
pub(crate) enum LinkWriter {
    WebSocket(Writer),
    Own { half: WriteHalf, out: Outgoing },
}

impl LinkWriter {
    pub(super) fn own(half: WriteHalf) -> Self {
        Self::Own { half, out: Outgoing::default() }
    }

    /// Queues a frame.
    pub(crate) fn frame(&mut self, frame: &[u8]) {
        match self {
            Self::WebSocket(writer) => writer.message(MessageKind::Binary, frame),
            Self::Own { out, .. } => {
                // Frames are at most `max_frame` bytes, which is a u32.
                let length = u32::try_from(frame.len()).unwrap_or(u32::MAX);
                out.bytes().extend_from_slice(&length.to_le_bytes());
                out.bytes().extend_from_slice(frame);
            }
        }
    }

    /// Queues the answer to a ping of the WebSocket.
    pub(crate) fn pong(&mut self, payload: &[u8]) {
        match self {
            Self::WebSocket(writer) => writer.pong(payload),
            Self::Own { .. } => {}
        }
    }

    /// Queues the end: a Close frame, where there are such.
    pub(crate) fn close(&mut self, code: CloseCode, reason: &str) {
        match self {
            Self::WebSocket(writer) => writer.close(code, reason),
            Self::Own { .. } => {}
        }
    }

    /// Queues the answer to the hub's Close frame.
    pub(crate) fn close_reply(&mut self, frame: Option<&CloseFrame<'_>>) {
        match self {
            Self::WebSocket(writer) => writer.close_reply(frame),
            Self::Own { .. } => {}
        }
    }

    /// Bytes that wait.
    pub(crate) fn pending(&self) -> usize {
        match self {
            Self::WebSocket(writer) => writer.pending_bytes(),
            Self::Own { out, .. } => out.pending(),
        }
    }

    /// Bytes handed to the socket since the beginning.
    pub(crate) fn written(&self) -> u64 {
        match self {
            Self::WebSocket(writer) => writer.written(),
            Self::Own { out, .. } => out.written(),
        }
    }

    /// Bytes handed to the socket since the beginning, once all that waits now is.
    pub(crate) fn queued(&self) -> u64 {
        match self {
            Self::WebSocket(writer) => writer.queued(),
            Self::Own { out, .. } => out.queued(),
        }
    }

    /// Writes some of what waits. It may be dropped at any time.
    pub(crate) async fn write_some(&mut self) -> Result<(), Error> {
        match self {
            Self::WebSocket(writer) => writer.write_some().await.map_err(broken),
            Self::Own { half, out } => out.write_some(half).await.map_err(lost),
        }
    }

    /// Writes all that waits.
    pub(crate) async fn flush(&mut self) -> Result<(), Error> {
        while self.pending() > 0 {
            self.write_some().await?;
        }
        Ok(())
    }

    /// Ends this direction of the stream.
    pub(crate) async fn shutdown(&mut self) -> Result<(), Error> {
        match self {
            Self::WebSocket(writer) => writer.shutdown().await.map_err(broken),
            Self::Own { half, .. } => half.shutdown().await.map_err(lost),
        }
    }
}
