//! One byte decides who parses a connection.
//!
//! The byte is peeked at, never taken, so the parser that follows reads the stream from its start. And it is
//! only ever one byte: peeking for more returns at once, again and again, while a prefix is all there is.

use std::io;
use std::pin::Pin;
use std::task::{Context, Poll};
use std::time::Duration;

use rustix::net::{RecvFlags, recv};
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, Interest, ReadBuf};
use tokio::net::UnixStream;

use crate::counters::{TransportCounters, count};
use crate::stream::{Duplex, Stream};

/// What a connection begins with.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Opening {
    /// The own protocol; [`crate::preface::read_preface`] checks the rest.
    Own,
    /// A TLS record.
    Tls,
    /// HTTP/1.1 or the preface of HTTP/2, which the HTTP parser tells apart.
    Http,
    /// A PROXY header, from a peer that may send one.
    Proxy,
    /// The peer closed, or was lost, before its first byte.
    Closed,
    /// Nothing came within the deadline. Browsers open spare connections like this one: it is no attack.
    Silent,
    /// MQTT's CONNECT: reserved, not spoken.
    Mqtt,
    /// Nothing the hub knows.
    Unknown(u8),
}

impl Opening {
    /// What the first byte means. `0x0D` is a PROXY header from those who may send one, and for all others
    /// the empty line that HTTP/1.1 tolerates before a request.
    #[must_use]
    pub fn of(byte: u8, proxy_allowed: bool) -> Self {
        match byte {
            0x0E => Self::Own,
            0x16 => Self::Tls,
            b'A'..=b'Z' => Self::Http,
            b'\r' if proxy_allowed => Self::Proxy,
            b'\r' => Self::Http,
            0x10 => Self::Mqtt,
            other => Self::Unknown(other),
        }
    }

    /// Counts an opening that leads nowhere; the others are counted by what they lead to.
    pub fn count(self, counters: &TransportCounters) {
        match self {
            Self::Own | Self::Tls | Self::Http | Self::Proxy => {}
            Self::Closed => count(&counters.opening_closed),
            Self::Silent => count(&counters.opening_timeouts),
            Self::Mqtt => count(&counters.reserved_opening),
            Self::Unknown(_) => count(&counters.unknown_opening),
        }
    }
}

/// Waits for the first byte, within a deadline, and leaves it in the stream.
///
/// A bare socket stays exactly as it is. Other streams cannot be peeked at and come back with the byte in
/// front of them.
pub async fn sniff(stream: &mut Stream, proxy_allowed: bool, within: Duration) -> Opening {
    match tokio::time::timeout(within, first_byte(stream)).await {
        Err(_) => Opening::Silent,
        Ok(Err(_) | Ok(None)) => Opening::Closed,
        Ok(Ok(Some(byte))) => Opening::of(byte, proxy_allowed),
    }
}

async fn first_byte(stream: &mut Stream) -> io::Result<Option<u8>> {
    let mut byte = [0];
    let got = match stream {
        Stream::Tcp(socket) => socket.peek(&mut byte).await?,
        Stream::Unix(socket) => peek_unix(socket, &mut byte).await?,
        Stream::Tls(_) | Stream::Boxed(_) => {
            let got = stream.read(&mut byte).await?;
            if got > 0 {
                put_back(stream, byte[0]);
            }
            got
        }
    };
    Ok((got > 0).then_some(byte[0]))
}

async fn peek_unix(socket: &UnixStream, byte: &mut [u8; 1]) -> io::Result<usize> {
    let peek = || Ok(recv(socket, byte.as_mut_slice(), RecvFlags::PEEK)?.1);
    socket.async_io(Interest::READABLE, peek).await
}

fn put_back(stream: &mut Stream, byte: u8) {
    let rest = std::mem::replace(stream, Stream::boxed(tokio::io::empty()));
    *stream = Stream::boxed(Prefixed { first: Some(byte), rest });
}

/// A stream with one byte in front of it.
struct Prefixed<S> {
    first: Option<u8>,
    rest: S,
}

impl<S: Duplex> AsyncRead for Prefixed<S> {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        if buf.remaining() > 0
            && let Some(byte) = self.first.take()
        {
            buf.put_slice(&[byte]);
            return Poll::Ready(Ok(()));
        }
        Pin::new(&mut self.rest).poll_read(cx, buf)
    }
}

impl<S: Duplex> AsyncWrite for Prefixed<S> {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.rest).poll_write(cx, bytes)
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.rest).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.rest).poll_shutdown(cx)
    }
}
