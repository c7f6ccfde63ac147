//! The bytes of a connection: its reading half, and the writing half where only this task may write.

use std::io;
use std::pin::{Pin, pin};
use std::task::{Context, Poll};

use bytes::BytesMut;
use tokio::io::{AsyncRead, AsyncReadExt, ReadBuf};
use whub_transport::{DirectWriter, QueuedWriter, ReadHalf, Stream, WriteHalf};

use crate::connection::scratch::QUEUE;
use crate::mailbox::PeerMailbox;

/// A split stream. A bare socket's writing half lives in the mailbox, where every sender can use it.
#[derive(Debug)]
pub(crate) struct Link {
    read: ReadHalf,
    queued: Option<QueuedWriter>,
    /// The last flush is not done: a stream that buffers may hold bytes that the mailbox no longer has.
    flushing: bool,
}

impl Link {
    /// Splits a stream into the link and, for a bare socket, what the mailbox writes to.
    pub(crate) fn new(stream: Stream) -> (Self, Option<DirectWriter>) {
        let (read, write) = stream.split();
        match write {
            WriteHalf::Direct(direct) => (Self { read, queued: None, flushing: false }, Some(direct)),
            WriteHalf::Queued(queued) => (Self { read, queued: Some(queued), flushing: false }, None),
        }
    }

    pub(super) fn poll_read(&mut self, cx: &mut Context<'_>, space: &mut [u8]) -> Poll<io::Result<usize>> {
        let mut buf = ReadBuf::new(space);
        std::task::ready!(Pin::new(&mut self.read).poll_read(cx, &mut buf))?;
        Poll::Ready(Ok(buf.filled().len()))
    }

    /// Reads into the memory that is left behind what `block` holds.
    pub(super) fn poll_read_on(
        &mut self,
        cx: &mut Context<'_>,
        block: &mut BytesMut,
    ) -> Poll<io::Result<usize>> {
        pin!(self.read.read_buf(block)).poll(cx)
    }

    pub(super) fn poll_flush(&mut self, cx: &mut Context<'_>, mailbox: &PeerMailbox) -> Poll<io::Result<()>> {
        let flushed = match &mut self.queued {
            None => mailbox.poll_flush(cx),
            Some(writer) => QUEUE.with_borrow_mut(|scratch| mailbox.poll_flush_with(cx, writer, scratch)),
        };
        self.flushing = flushed.is_pending();
        flushed
    }

    pub(super) fn is_flushing(&self) -> bool {
        self.flushing
    }

    /// Tells the peer that nothing more comes.
    pub(super) fn finish(&mut self, mailbox: &PeerMailbox) {
        // Whoever reads notices a lost connection anyway.
        if let Some(direct) = mailbox.direct() {
            let _ = direct.shutdown_write();
        }
        if let Some(queued) = &mut self.queued {
            let _ = queued.poll_shutdown(&mut Context::from_waker(std::task::Waker::noop()));
        }
    }

    /// Ends the connection although others may still hold its mailbox.
    pub(super) fn hang_up(&mut self, mailbox: &PeerMailbox) {
        if let Some(direct) = mailbox.direct() {
            let _ = direct.shutdown_both();
        }
        self.queued = None;
    }
}
