//! One HTTP connection: what its requests share.

use std::io;
use std::pin::Pin;
use std::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering::Relaxed};
use std::sync::{Arc, Mutex, PoisonError};
use std::task::{Context, Poll};

use hyper::Version;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use whub_transport::{AddressSeat, PeerAddress, Stream, Young};

use crate::node::Node;

/// A connection, as its requests see it.
#[derive(Debug)]
pub(super) struct Visit {
    pub(super) node: Arc<Node>,
    /// The peer's address, as providers and logs are told.
    pub(super) address: Box<str>,
    /// The peer is on this machine.
    pub(super) is_local: bool,
    /// The hub's name for the client at the other end.
    pub(super) client: Box<str>,
    /// The connection is encrypted.
    pub(super) is_secure: bool,
    /// The connection's place in its address's count; whoever takes the stream over takes this along.
    pub(super) seat: Arc<AddressSeat>,
    /// Bytes that the peer took.
    written: AtomicU64,
    /// A request was refused whose body the peer may still be sending.
    lingers: AtomicBool,
    /// The place among the unproven, until the first request is complete.
    young: Mutex<Option<Young>>,
    requests: AtomicU64,
    inflight: AtomicUsize,
    listeners: AtomicUsize,
    http2: AtomicBool,
}

impl Visit {
    pub(super) fn new(
        node: Arc<Node>,
        peer: &PeerAddress,
        is_secure: bool,
        young: Young,
        seat: AddressSeat,
    ) -> Self {
        Self {
            client: node.client_name(),
            address: peer.to_string().into(),
            is_local: peer.is_local(),
            is_secure,
            seat: Arc::new(seat),
            written: AtomicU64::new(0),
            lingers: AtomicBool::new(false),
            young: Mutex::new(Some(young)),
            requests: AtomicU64::new(0),
            inflight: AtomicUsize::new(0),
            listeners: AtomicUsize::new(0),
            http2: AtomicBool::new(false),
            node,
        }
    }

    /// A complete head has come; the guard is to be kept until its answer has gone.
    pub(super) fn welcome<B>(self: &Arc<Self>, request: &hyper::Request<B>) -> Stay {
        if self.requests.fetch_add(1, Relaxed) == 0 {
            if let Some(young) = self.young.lock().unwrap_or_else(PoisonError::into_inner).take() {
                young.proved();
            }
            self.http2.store(request.version() == Version::HTTP_2, Relaxed);
        }
        self.inflight.fetch_add(1, Relaxed);
        self.node.http.requests.one();
        Stay(Arc::clone(self))
    }

    /// Requests that came so far.
    pub(super) fn requests(&self) -> u64 {
        self.requests.load(Relaxed)
    }

    /// Bytes that the peer took.
    pub(super) fn written(&self) -> u64 {
        self.written.load(Relaxed)
    }

    /// The connection is not hung up on a peer that is still sending, or it would never read why it was refused.
    pub(super) fn linger(&self) {
        self.lingers.store(true, Relaxed);
    }

    /// Requests that are being answered.
    pub(super) fn inflight(&self) -> usize {
        self.inflight.load(Relaxed)
    }

    /// Streams of events, which are never silent for long.
    pub(super) fn listeners(&self) -> usize {
        self.listeners.load(Relaxed)
    }

    /// HTTP/2, which has pings of its own.
    pub(super) fn is_http2(&self) -> bool {
        self.http2.load(Relaxed)
    }
}

/// A request that is being answered.
#[derive(Debug)]
pub(super) struct Stay(Arc<Visit>);

impl Stay {
    /// A stream of events begins.
    pub(super) fn listen(&self) -> Listening {
        self.0.listeners.fetch_add(1, Relaxed);
        Listening(Arc::clone(&self.0))
    }
}

/// A stream of events that is under way.
#[derive(Debug)]
pub(super) struct Listening(Arc<Visit>);

impl Drop for Listening {
    fn drop(&mut self) {
        self.0.listeners.fetch_sub(1, Relaxed);
    }
}

impl std::ops::Deref for Stay {
    type Target = Visit;

    fn deref(&self) -> &Visit {
        &self.0
    }
}

impl Drop for Stay {
    fn drop(&mut self) {
        self.0.inflight.fetch_sub(1, Relaxed);
    }
}

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
        if let Poll::Ready(Ok(count)) = &result {
            self.visit.written.fetch_add(*count as u64, Relaxed);
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
        if self.visit.lingers.load(Relaxed) { self.poll_discard(cx) } else { Poll::Ready(Ok(())) }
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
