//! One type for every stream of bytes, and its two halves.
//!
//! A bare socket can be written to from any thread, without a lock and without waiting: that is the hub's
//! fast path. TLS, HTTP/2 and memory cannot. [`WriteHalf`] says by name which of the two it is, so that a
//! caller chooses its path once instead of finding out message by message.

use std::fmt;
use std::io::{self, IoSlice};
use std::net::Shutdown;
use std::pin::Pin;
use std::task::{Context, Poll};
use std::time::Duration;

use socket2::{SockRef, TcpKeepalive};
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::{TcpStream, UnixStream, tcp, unix};
use tokio_rustls::TlsStream;

/// Anything that can be read and written: an HTTP/2 stream, an end of a memory pipe.
pub trait Duplex: AsyncRead + AsyncWrite + Send + Unpin {}

impl<T: AsyncRead + AsyncWrite + Send + Unpin> Duplex for T {}

/// A connection's bytes, whatever carries them.
pub enum Stream {
    /// A TCP socket.
    Tcp(TcpStream),
    /// A Unix socket.
    Unix(UnixStream),
    /// TLS over another stream, on either side of it.
    Tls(Box<TlsStream<Self>>),
    /// Something else: HTTP/2, memory.
    Boxed(Box<dyn Duplex>),
}

impl Stream {
    /// Boxes a stream of another kind.
    pub fn boxed(io: impl Duplex + 'static) -> Self {
        Self::Boxed(Box::new(io))
    }

    /// Separates reading from writing. The connection ends when both halves are gone.
    #[must_use]
    pub fn split(self) -> (ReadHalf, WriteHalf) {
        match self {
            Self::Tcp(socket) => {
                let (read, write) = socket.into_split();
                (ReadHalf(Source::Tcp(read)), WriteHalf::Direct(DirectWriter(Some(Socket::Tcp(write)))))
            }
            Self::Unix(socket) => {
                let (read, write) = socket.into_split();
                (ReadHalf(Source::Unix(read)), WriteHalf::Direct(DirectWriter(Some(Socket::Unix(write)))))
            }
            stream @ (Self::Tls(_) | Self::Boxed(_)) => {
                let (read, write) = tokio::io::split(stream);
                (ReadHalf(Source::Shared(read)), WriteHalf::Queued(QueuedWriter(write)))
            }
        }
    }

    /// Whether bytes travel encrypted.
    #[must_use]
    pub fn is_tls(&self) -> bool {
        matches!(self, Self::Tls(_))
    }

    /// Has the system ask, after so much silence, whether the other end is there; it is lost when several such questions
    /// stay without an answer for about as long again. While bytes are under way to it, the system's own patience with
    /// them holds instead. Where there is no TCP below, nothing happens.
    pub fn keep_alive(&self, after: Duration) {
        match self {
            Self::Tcp(socket) => {
                let asks = TcpKeepalive::new().with_time(after).with_interval(after / 5).with_retries(5);
                // Without it a lost peer is found later, by the first bytes that it does not take. No `TCP_USER_TIMEOUT`:
                // it would also end peers that are there and read nothing for a while.
                let _ = SockRef::from(socket).set_tcp_keepalive(&asks);
            }
            Self::Tls(tls) => tls.get_ref().0.keep_alive(after),
            Self::Unix(_) | Self::Boxed(_) => {}
        }
    }

    fn io(self: Pin<&mut Self>) -> Pin<&mut dyn Duplex> {
        match self.get_mut() {
            Self::Tcp(io) => Pin::new(io),
            Self::Unix(io) => Pin::new(io),
            Self::Tls(io) => Pin::new(io.as_mut()),
            Self::Boxed(io) => Pin::new(io.as_mut()),
        }
    }
}

impl From<TcpStream> for Stream {
    fn from(socket: TcpStream) -> Self {
        Self::Tcp(socket)
    }
}

impl From<UnixStream> for Stream {
    fn from(socket: UnixStream) -> Self {
        Self::Unix(socket)
    }
}

impl fmt::Debug for Stream {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Tcp(_) => "Stream::Tcp",
            Self::Unix(_) => "Stream::Unix",
            Self::Tls(_) => "Stream::Tls",
            Self::Boxed(_) => "Stream::Boxed",
        })
    }
}

impl AsyncRead for Stream {
    fn poll_read(self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        self.io().poll_read(cx, buf)
    }
}

impl AsyncWrite for Stream {
    fn poll_write(self: Pin<&mut Self>, cx: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        self.io().poll_write(cx, bytes)
    }

    fn poll_flush(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.io().poll_flush(cx)
    }

    fn poll_shutdown(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.io().poll_shutdown(cx)
    }

    fn poll_write_vectored(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        slices: &[IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        self.io().poll_write_vectored(cx, slices)
    }

    fn is_write_vectored(&self) -> bool {
        match self {
            Self::Tcp(io) => io.is_write_vectored(),
            Self::Unix(io) => io.is_write_vectored(),
            Self::Tls(io) => io.is_write_vectored(),
            Self::Boxed(io) => io.is_write_vectored(),
        }
    }
}

/// The reading half.
///
/// On bare sockets it is tokio's own half, whose `poll_read` takes a short read as proof that the socket is
/// empty and saves the second read that would only say so.
pub struct ReadHalf(Source);

enum Source {
    Tcp(tcp::OwnedReadHalf),
    Unix(unix::OwnedReadHalf),
    Shared(tokio::io::ReadHalf<Stream>),
}

impl fmt::Debug for ReadHalf {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self.0 {
            Source::Tcp(_) => "ReadHalf::Tcp",
            Source::Unix(_) => "ReadHalf::Unix",
            Source::Shared(_) => "ReadHalf::Shared",
        })
    }
}

impl AsyncRead for ReadHalf {
    fn poll_read(self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        match &mut self.get_mut().0 {
            Source::Tcp(half) => Pin::new(half).poll_read(cx, buf),
            Source::Unix(half) => Pin::new(half).poll_read(cx, buf),
            Source::Shared(half) => Pin::new(half).poll_read(cx, buf),
        }
    }
}

/// The writing half. It also implements [`AsyncWrite`] for those who need no fast path.
///
/// Dropping it tells the peer nothing, whichever kind it is: a half close is asked for by name.
#[derive(Debug)]
pub enum WriteHalf {
    /// A bare socket: writable with `&self` from any thread.
    Direct(DirectWriter),
    /// Anything else: writable by one owner.
    Queued(QueuedWriter),
}

impl WriteHalf {
    /// Whether it is a bare socket.
    #[must_use]
    pub fn is_direct(&self) -> bool {
        match self {
            Self::Direct(_) => true,
            Self::Queued(_) => false,
        }
    }

    fn io(self: Pin<&mut Self>) -> Pin<&mut (dyn AsyncWrite + Send + Unpin)> {
        match self.get_mut() {
            Self::Direct(writer) => Pin::new(writer),
            Self::Queued(writer) => Pin::new(&mut writer.0),
        }
    }
}

impl AsyncWrite for WriteHalf {
    fn poll_write(self: Pin<&mut Self>, cx: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        self.io().poll_write(cx, bytes)
    }

    fn poll_flush(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.io().poll_flush(cx)
    }

    fn poll_shutdown(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.io().poll_shutdown(cx)
    }

    fn poll_write_vectored(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        slices: &[IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        self.io().poll_write_vectored(cx, slices)
    }

    fn is_write_vectored(&self) -> bool {
        match self {
            Self::Direct(writer) => writer.is_write_vectored(),
            Self::Queued(writer) => writer.0.is_write_vectored(),
        }
    }
}

/// The writing half of a bare socket: shared freely, written to at once or not at all.
///
/// tokio's own half closes the direction when dropped. This one does not, because it lives in a mailbox that
/// others hold: the moment the last of them lets go says nothing about the conversation. Ask for
/// [`shutdown_write`](Self::shutdown_write) instead.
#[derive(Debug)]
// Some until dropped: `forget` needs the half by value.
pub struct DirectWriter(Option<Socket>);

#[derive(Debug)]
enum Socket {
    Tcp(tcp::OwnedWriteHalf),
    Unix(unix::OwnedWriteHalf),
}

impl DirectWriter {
    /// Writes what the socket takes now.
    ///
    /// # Errors
    /// `WouldBlock` when it takes nothing; anything else means that the connection is lost.
    pub fn try_write(&self, bytes: &[u8]) -> io::Result<usize> {
        match &self.0 {
            Some(Socket::Tcp(half)) => half.try_write(bytes),
            Some(Socket::Unix(half)) => half.try_write(bytes),
            None => Err(io::ErrorKind::NotConnected.into()),
        }
    }

    /// Writes what the socket takes now of several slices, in one call. At most 1,024 slices are looked at.
    ///
    /// # Errors
    /// As [`try_write`](Self::try_write).
    pub fn try_write_vectored(&self, slices: &[IoSlice<'_>]) -> io::Result<usize> {
        match &self.0 {
            Some(Socket::Tcp(half)) => half.try_write_vectored(slices),
            Some(Socket::Unix(half)) => half.try_write_vectored(slices),
            None => Err(io::ErrorKind::NotConnected.into()),
        }
    }

    /// Asks to be woken when the socket takes bytes again. It keeps one waker, the latest: only one task,
    /// the flusher, may wait this way. Others use [`writable`](Self::writable).
    pub fn poll_write_ready(&self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        match &self.0 {
            Some(Socket::Tcp(half)) => half.as_ref().poll_write_ready(cx),
            Some(Socket::Unix(half)) => half.as_ref().poll_write_ready(cx),
            None => Poll::Ready(Err(io::ErrorKind::NotConnected.into())),
        }
    }

    /// Waits until the socket takes bytes again. Any number of tasks may wait.
    ///
    /// # Errors
    /// When the runtime is gone.
    pub async fn writable(&self) -> io::Result<()> {
        match &self.0 {
            Some(Socket::Tcp(half)) => half.writable().await,
            Some(Socket::Unix(half)) => half.writable().await,
            None => Err(io::ErrorKind::NotConnected.into()),
        }
    }

    /// Half close: the peer reads to the end and can still answer.
    ///
    /// # Errors
    /// When the connection is already gone.
    pub fn shutdown_write(&self) -> io::Result<()> {
        self.socket()?.shutdown(Shutdown::Write)
    }

    /// Ends both directions: our own reader sees the end as well, so that it can stop and clean up.
    ///
    /// # Errors
    /// When the connection is already gone.
    pub fn shutdown_both(&self) -> io::Result<()> {
        self.socket()?.shutdown(Shutdown::Both)
    }

    /// Gives up on the peer: ends both directions, and when both halves are dropped TCP sends a reset instead
    /// of trying to deliver what is still queued.
    ///
    /// # Errors
    /// When the connection is already gone.
    pub fn abort(&self) -> io::Result<()> {
        let socket = self.socket()?;
        socket.set_linger(Some(std::time::Duration::ZERO))?;
        socket.shutdown(Shutdown::Both)
    }

    fn socket(&self) -> io::Result<SockRef<'_>> {
        match &self.0 {
            Some(Socket::Tcp(half)) => Ok(SockRef::from(half.as_ref())),
            Some(Socket::Unix(half)) => Ok(SockRef::from(half.as_ref())),
            None => Err(io::ErrorKind::NotConnected.into()),
        }
    }

    fn is_write_vectored(&self) -> bool {
        true
    }
}

impl Drop for DirectWriter {
    fn drop(&mut self) {
        match self.0.take() {
            Some(Socket::Tcp(half)) => half.forget(),
            Some(Socket::Unix(half)) => half.forget(),
            None => {}
        }
    }
}

impl AsyncWrite for DirectWriter {
    fn poll_write(self: Pin<&mut Self>, cx: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        match &mut self.get_mut().0 {
            Some(Socket::Tcp(half)) => Pin::new(half).poll_write(cx, bytes),
            Some(Socket::Unix(half)) => Pin::new(half).poll_write(cx, bytes),
            None => Poll::Ready(Err(io::ErrorKind::NotConnected.into())),
        }
    }

    fn poll_flush(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }

    fn poll_shutdown(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(self.shutdown_write())
    }

    fn poll_write_vectored(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        slices: &[IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        match &mut self.get_mut().0 {
            Some(Socket::Tcp(half)) => Pin::new(half).poll_write_vectored(cx, slices),
            Some(Socket::Unix(half)) => Pin::new(half).poll_write_vectored(cx, slices),
            None => Poll::Ready(Err(io::ErrorKind::NotConnected.into())),
        }
    }

    fn is_write_vectored(&self) -> bool {
        true
    }
}

/// The writing half of a stream that buffers: TLS, HTTP/2, memory. One owner writes, flushes and shuts down.
#[derive(Debug)]
pub struct QueuedWriter(tokio::io::WriteHalf<Stream>);

impl QueuedWriter {
    /// Writes some of the bytes, or asks to be woken.
    pub fn poll_write(&mut self, cx: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.0).poll_write(cx, bytes)
    }

    /// Hands on what was buffered; without it the peer may wait for ever.
    pub fn poll_flush(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.0).poll_flush(cx)
    }

    /// Half close, after everything written.
    pub fn poll_shutdown(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.0).poll_shutdown(cx)
    }
}
