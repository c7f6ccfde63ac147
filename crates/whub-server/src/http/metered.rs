//! The stream under an HTTP connection.

use std::io;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};

use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use whub_transport::Stream;

use crate::http::visit::Visit;

/// The connection's stream. It counts what was written, so that a slow reader can be told from a dead one.
#[derive(Debug)]
pub(super) struct Metered {
    stream: Stream,
    visit: Arc<Visit>,
    /// Bytes that may still be read and thrown away before hanging up.
    discardable: usize,
    said_goodbye: bool,
}

/// What a refused body may go on for, bytes. Beyond it the peer has been told often enough.
const DISCARD_BYTES: usize = 4 * 1024 * 1024;

impl Metered {
    pub(super) fn new(stream: Stream, visit: Arc<Visit>) -> Self {
        Self { stream, visit, discardable: DISCARD_BYTES, said_goodbye: false }
    }

    pub(super) fn into_inner(self) -> Stream {
        self.stream
    }

    fn note(&self, result: Poll<io::Result<usize>>) -> Poll<io::Result<usize>> {
        match &result {
            Poll::Ready(Ok(count)) => self.visit.note_written(*count),
            Poll::Pending => self.visit.note_blocked(),
            Poll::Ready(Err(_)) => {}
        }
        result
    }

    /// Reads on until the peer is done: a socket that is closed with unread bytes takes back what it has sent.
    /// How long that may take is bounded by the connection's patience.
    fn poll_discard(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        let mut bytes = [0; 4096];
        while self.discardable > 0 {
            let mut buf = ReadBuf::new(&mut bytes);
            std::task::ready!(Pin::new(&mut self.stream).poll_read(cx, &mut buf))?;
            if buf.filled().is_empty() {
                break;
            }
            self.discardable = self.discardable.saturating_sub(buf.filled().len());
        }
        Poll::Ready(Ok(()))
    }
}

impl AsyncRead for Metered {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_read(cx, buf)
    }
}

impl AsyncWrite for Metered {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        let result = Pin::new(&mut self.stream).poll_write(cx, bytes);
        self.note(result)
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        if !self.said_goodbye {
            std::task::ready!(Pin::new(&mut self.stream).poll_shutdown(cx))?;
            self.said_goodbye = true;
        }
        if self.visit.lingers() { self.poll_discard(cx) } else { Poll::Ready(Ok(())) }
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        slices: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        let result = Pin::new(&mut self.stream).poll_write_vectored(cx, slices);
        self.note(result)
    }

    fn is_write_vectored(&self) -> bool {
        self.stream.is_write_vectored()
    }
}
