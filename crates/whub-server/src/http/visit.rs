//! One HTTP connection: what its requests share.

use std::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering::Relaxed};
use std::sync::{Arc, Mutex, PoisonError};

use hyper::Version;
use whub_transport::{AddressSeat, PeerAddress, Young};

use crate::http::patience::Seen;
use crate::node::Node;

/// A connection, as its requests see it.
#[derive(Debug)]
pub(super) struct Visit {
    pub(super) node: Arc<Node>,
    /// The peer's address, as providers and logs are told.
    pub(super) address: Box<str>,
    /// The same, to be compared.
    pub(super) peer: PeerAddress,
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
    /// The last write had to wait, and still does.
    blocked: AtomicBool,
    /// A request was refused whose body the peer may still be sending.
    lingers: AtomicBool,
    /// The place among the unproven, until the first request is complete.
    young: Mutex<Option<Young>>,
    requests: AtomicU64,
    inflight: AtomicUsize,
    listeners: AtomicUsize,
    halves: AtomicUsize,
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
            peer: *peer,
            is_local: peer.is_local(),
            is_secure,
            seat: Arc::new(seat),
            written: AtomicU64::new(0),
            blocked: AtomicBool::new(false),
            lingers: AtomicBool::new(false),
            young: Mutex::new(Some(young)),
            requests: AtomicU64::new(0),
            inflight: AtomicUsize::new(0),
            listeners: AtomicUsize::new(0),
            halves: AtomicUsize::new(0),
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

    /// What happened so far, for those who decide how long to wait.
    pub(super) fn seen(&self) -> Seen {
        Seen {
            requests: self.requests(),
            written: self.written.load(Relaxed),
            blocked: self.blocked.load(Relaxed),
            listeners: self.listeners.load(Relaxed),
            halves: self.halves.load(Relaxed),
            inflight: self.inflight.load(Relaxed),
            http2: self.http2.load(Relaxed),
        }
    }

    /// The peer took bytes.
    pub(super) fn note_written(&self, count: usize) {
        self.written.fetch_add(count as u64, Relaxed);
        self.blocked.store(false, Relaxed);
    }

    pub(super) fn note_blocked(&self) {
        self.blocked.store(true, Relaxed);
    }

    /// Whether to hear the peer out before hanging up.
    pub(super) fn lingers(&self) -> bool {
        self.lingers.load(Relaxed)
    }

    /// The connection is not hung up on a peer that is still sending, or it would never read why it was refused.
    pub(super) fn linger(&self) {
        self.lingers.store(true, Relaxed);
    }
}

/// A request that is being answered.
#[derive(Debug)]
pub(super) struct Stay(Arc<Visit>);

impl Stay {
    /// A stream of events begins.
    pub(super) fn listen(&self) -> Engaged {
        self.engage(|visit| &visit.listeners)
    }

    /// It is a half of a pair from now on.
    pub(super) fn sit(&self) -> Engaged {
        self.engage(|visit| &visit.halves)
    }

    fn engage(&self, count: fn(&Visit) -> &AtomicUsize) -> Engaged {
        count(&self.0).fetch_add(1, Relaxed);
        Engaged { visit: Arc::clone(&self.0), count }
    }
}

/// Something that is under way on a connection, counted for as long as this lives.
#[derive(Debug)]
pub(super) struct Engaged {
    visit: Arc<Visit>,
    count: fn(&Visit) -> &AtomicUsize,
}

impl Drop for Engaged {
    fn drop(&mut self) {
        (self.count)(&self.visit).fetch_sub(1, Relaxed);
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
