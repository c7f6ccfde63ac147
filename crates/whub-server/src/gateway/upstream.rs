//! One upstream of an endpoint: how it is dialled, whether it is up, and how many use it.

use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering::Relaxed};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use tokio::sync::Notify;
use whub_transport::{Alpn, DialError, DialOptions, Dialer, Stream, Trust};

use crate::config::{Endpoint, EndpointUrl};
use crate::gateway::pool::Pool;

/// An upstream. It is taken to be up until somebody finds that it is not.
#[derive(Debug)]
pub(crate) struct Upstream {
    pub(crate) url: EndpointUrl,
    dialer: Dialer,
    up: AtomicBool,
    connections: AtomicUsize,
    /// For requests to its HTTP side.
    pub(super) pool: Pool,
    /// Why it is down, for people.
    trouble: Mutex<Option<Trouble>>,
    /// Rings when somebody found it down: whoever watches looks at once.
    pub(super) alarm: Notify,
    /// Rings when there is reason to believe that it is back.
    pub(super) hope: Notify,
}

/// What was wrong when it was last tried, and since when.
#[derive(Debug, Clone)]
pub(crate) struct Trouble {
    pub(crate) what: Box<str>,
    pub(crate) since: Instant,
}

impl Upstream {
    pub(super) fn new(url: EndpointUrl, endpoint: &Endpoint) -> Self {
        let trust = endpoint.tls_roots.clone().map_or_else(Trust::default, Trust::File);
        let options =
            DialOptions { connect_within: endpoint.connect_timeout, trust, alpn: Some(Alpn::Http1) };
        Self {
            dialer: Dialer::new(url.server.clone(), options),
            url,
            up: AtomicBool::new(true),
            connections: AtomicUsize::new(0),
            pool: Pool::default(),
            trouble: Mutex::default(),
            alarm: Notify::new(),
            hope: Notify::new(),
        }
    }

    pub(crate) fn is_up(&self) -> bool {
        self.up.load(Relaxed)
    }

    /// Connections that are under way.
    pub(crate) fn connections(&self) -> usize {
        self.connections.load(Relaxed)
    }

    /// Why it is down; `None` while it is up.
    pub(crate) fn trouble(&self) -> Option<Trouble> {
        self.trouble.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// The file with the authorities may be another by now; if it was what kept this one down, it is tried at once.
    pub(super) fn forget_trust(&self) {
        self.dialer.forget_trust();
        self.pool.clear();
        if self.url.server.tls() && !self.is_up() {
            self.hope.notify_one();
        }
    }

    /// A bare stream to it, TLS agreed where the URL says so.
    pub(super) async fn connect(&self) -> Result<Stream, DialError> {
        let stream = self.dialer.connect().await?;
        stream.keep_alive(KEEP_ALIVE);
        Ok(stream)
    }

    /// It answered. True if that is news.
    pub(super) fn rise(&self) -> bool {
        let rose = !self.up.swap(true, Relaxed);
        if rose {
            *self.trouble.lock().unwrap_or_else(PoisonError::into_inner) = None;
        }
        rose
    }

    /// It did not. True if that is news.
    pub(super) fn fall(&self, what: &str, now: Instant) -> bool {
        let mut trouble = self.trouble.lock().unwrap_or_else(PoisonError::into_inner);
        let since = trouble.as_ref().map_or(now, |known| known.since);
        *trouble = Some(Trouble { what: what.into(), since });
        drop(trouble);
        self.up.swap(false, Relaxed)
    }

    /// Counts a connection for as long as the guard lives.
    pub(super) fn occupy(self: &Arc<Self>) -> Occupied {
        self.connections.fetch_add(1, Relaxed);
        Occupied(Arc::clone(self))
    }
}

/// Silence after which the system asks whether the other end of a connection is there. Nothing is said inside the
/// WebSocket, which is the two ends' own.
pub(crate) const KEEP_ALIVE: Duration = Duration::from_secs(25);

/// A connection to an upstream, counted.
#[derive(Debug)]
pub(crate) struct Occupied(Arc<Upstream>);

impl Occupied {
    pub(crate) fn upstream(&self) -> &Arc<Upstream> {
        &self.0
    }
}

impl Drop for Occupied {
    fn drop(&mut self) {
        self.0.connections.fetch_sub(1, Relaxed);
    }
}
