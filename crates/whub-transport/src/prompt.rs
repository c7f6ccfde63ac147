//! A stream to a server that may be waiting for an acknowledgement before it says the rest.
//!
//! Many servers write the head of an answer and its body in two writes and leave Nagle's algorithm on (RFC 9293, section
//! 3.7.4), so the body waits until the head is acknowledged; and the system of a client that keeps its connections puts
//! acknowledgements off for up to 40 ms, hoping that they can travel with data. Together that is 40 ms for each answer.

use std::io::{self, IoSlice};
use std::pin::Pin;
use std::task::{Context, Poll};

use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};

use crate::stream::Stream;

/// A stream on which what was read is acknowledged at once, where the system can be told to.
#[derive(Debug)]
pub struct Prompt(Stream);

impl Prompt {
    /// Acknowledges what is read from now on.
    #[must_use]
    pub const fn new(stream: Stream) -> Self {
        Self(stream)
    }

    /// The stream as it was.
    #[must_use]
    pub fn into_inner(self) -> Stream {
        self.0
    }
}

impl AsyncRead for Prompt {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let before = buf.filled().len();
        std::task::ready!(Pin::new(&mut self.0).poll_read(cx, buf))?;
        if buf.filled().len() > before {
            acknowledge(&self.0);
        }
        Poll::Ready(Ok(()))
    }
}

impl AsyncWrite for Prompt {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.0).poll_write(cx, bytes)
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.0).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.0).poll_shutdown(cx)
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        slices: &[IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.0).poll_write_vectored(cx, slices)
    }

    fn is_write_vectored(&self) -> bool {
        self.0.is_write_vectored()
    }
}

/// The system forgets this with the next reply (tcp(7), `TCP_QUICKACK`), so it is told again and again.
#[cfg(target_os = "linux")]
fn acknowledge(stream: &Stream) {
    match stream {
        // One that cannot be told is slower, and otherwise the same.
        Stream::Tcp(socket) => drop(rustix::net::sockopt::set_tcp_quickack(socket, true)),
        Stream::Tls(tls) => acknowledge(tls.get_ref().0),
        Stream::Unix(_) | Stream::Boxed(_) => {}
    }
}

#[cfg(not(target_os = "linux"))]
fn acknowledge(_: &Stream) {}

#[cfg(all(test, target_os = "linux"))]
mod tests {
    use rustix::net::sockopt::{set_tcp_quickack, tcp_quickack};
    use std::os::fd::AsFd as _;
    use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
    use tokio::net::{TcpListener, TcpStream};

    use super::*;

    #[tokio::test]
    async fn what_was_read_is_acknowledged_at_once() {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let near = TcpStream::connect(listener.local_addr().unwrap()).await.unwrap();
        let (mut far, _) = listener.accept().await.unwrap();
        // As the system decides by itself for who asks and answers by turns.
        set_tcp_quickack(&near, false).unwrap();
        let watched = near.as_fd().try_clone_to_owned().unwrap();
        let mut prompt = Prompt::new(near.into());
        assert!(!tcp_quickack(&watched).unwrap());
        far.write_all(b"head").await.unwrap();
        prompt.read_exact(&mut [0; 4]).await.unwrap();
        assert!(tcp_quickack(&watched).unwrap());
    }
}
