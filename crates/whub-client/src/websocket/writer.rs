//! The half of a WebSocket that writes: messages are queued, then flushed together.

use tokio::io::AsyncWriteExt;
use whub_transport::WriteHalf;
use whub_ws::{
    CloseCode, CloseFrame, Closing, Head, MessageKind, Opcode, Role, deflate::Deflater, encode_close,
    encode_close_reply, encode_masked,
};

use super::WebSocketError;
use crate::outgoing::Outgoing;
use crate::random::Keys;

/// Writes messages. Nothing follows a Close frame.
#[derive(Debug)]
pub struct Writer {
    half: WriteHalf,
    out: Outgoing,
    keys: Keys,
    closing: Closing,
    deflater: Option<Deflater>,
}

impl Writer {
    pub(super) fn new(half: WriteHalf, deflater: Option<Deflater>) -> Self {
        let closing = Closing::new(Role::Client);
        Self { half, out: Outgoing::default(), keys: Keys::default(), closing, deflater }
    }

    /// Queues a message; dropped after a Close frame.
    pub fn message(&mut self, kind: MessageKind, payload: &[u8]) {
        let opcode = match kind {
            MessageKind::Text => Opcode::Text,
            MessageKind::Binary => Opcode::Binary,
        };
        match self.deflater.as_mut().and_then(|deflater| deflater.compress(payload)) {
            Some(compressed) => {
                let head = Head { compressed: true, ..Head::from(opcode) };
                self.frame(head, &compressed);
            }
            None => self.frame(opcode, payload),
        }
    }

    /// Queues the answer to a ping.
    pub fn pong(&mut self, payload: &[u8]) {
        self.frame(Opcode::Pong, payload);
    }

    /// Queues a ping.
    pub fn ping(&mut self) {
        self.frame(Opcode::Ping, &[]);
    }

    /// Queues a Close frame, unless one was sent.
    pub fn close(&mut self, code: CloseCode, reason: &str) {
        if self.closing.start() {
            let key = self.keys.next();
            encode_close(self.out.bytes(), code, reason, Some(key));
        }
    }

    /// Queues the answer to a Close frame, if one is due.
    pub fn close_reply(&mut self, received: Option<&CloseFrame<'_>>) {
        if self.closing.receive() {
            let key = self.keys.next();
            encode_close_reply(self.out.bytes(), received, Some(key));
        }
    }

    /// Bytes that wait to be written.
    #[must_use]
    pub fn pending_bytes(&self) -> usize {
        self.out.pending()
    }

    /// Bytes written since the beginning.
    pub(crate) fn written(&self) -> u64 {
        self.out.written()
    }

    /// Bytes written since the beginning, once all that waits now is.
    pub(crate) fn queued(&self) -> u64 {
        self.out.queued()
    }

    /// Writes some of what waits. It may be dropped at any time.
    pub(crate) async fn write_some(&mut self) -> Result<(), WebSocketError> {
        Ok(self.out.write_some(&mut self.half).await?)
    }

    /// Writes all that waits. It may be dropped at any time.
    ///
    /// # Errors
    /// When the stream is lost.
    pub async fn flush(&mut self) -> Result<(), WebSocketError> {
        while self.out.pending() > 0 {
            self.out.write_some(&mut self.half).await?;
        }
        Ok(())
    }

    /// Ends this side's direction of the stream.
    pub(crate) async fn shutdown(&mut self) -> Result<(), WebSocketError> {
        Ok(self.half.shutdown().await?)
    }

    fn frame(&mut self, head: impl Into<Head>, payload: &[u8]) {
        if self.closing.may_send() {
            let key = self.keys.next();
            encode_masked(self.out.bytes(), head, payload, key);
        }
    }
}
