//! An endpoint as it runs: its upstreams, who is connected, whether it is up.

use std::collections::HashMap;
use std::sync::atomic::{AtomicUsize, Ordering::Relaxed};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};
use std::time::{Duration, Instant};

use tokio::sync::watch;
use tokio::task::JoinSet;
use whub_core::{Fault, Identity, Letter, Post, SessionId};
use whub_proto::Code;

use crate::config::{Balance, Endpoint, EndpointAccess, Target};
use crate::gateway::health;
use crate::gateway::process::{ProcessState, Supervisor};
use crate::gateway::upstream::{Occupied, Upstream};

/// The sessions that are at an endpoint.
type Sockets = Arc<Mutex<HashMap<SessionId, Weak<dyn Post>>>>;

/// An endpoint, known to clients by its name.
#[derive(Debug)]
pub(crate) struct Route {
    pub(crate) endpoint: Endpoint,
    pub(crate) upstreams: Vec<Arc<Upstream>>,
    /// For taking turns.
    turn: AtomicUsize,
    /// The sessions that use it, so that they can be told when it goes. Held to insert, remove or copy.
    sockets: Sockets,
    /// Whether any upstream is up.
    up: watch::Sender<bool>,
    /// The process that serves it. Held to ask it something, or to hand it on.
    process: Mutex<Option<Supervisor>>,
    /// Those who look after its upstreams; they end with it.
    watchers: Mutex<JoinSet<()>>,
}

impl Route {
    /// An endpoint whose upstreams are looked after from now on. Its process begins after that of its predecessor has
    /// ended, since both may want the same port.
    pub(super) fn start(endpoint: Endpoint, predecessor: Option<Supervisor>) -> Arc<Self> {
        let route = Self::with_sockets(endpoint, Arc::default(), None);
        let Some(predecessor) = predecessor else {
            route.begin_process();
            return route;
        };
        let heir = Arc::downgrade(&route);
        tokio::spawn(async move {
            predecessor.stop().await;
            if let Some(route) = heir.upgrade() {
                route.begin_process();
            }
        });
        route
    }

    /// The same endpoint under new rules; who is connected stays, and the process goes on.
    pub(super) fn replace(&self, endpoint: Endpoint) -> Arc<Self> {
        let route = Self::with_sockets(endpoint, Arc::clone(&self.sockets), self.take_process());
        route.watch_process();
        route
    }

    fn with_sockets(endpoint: Endpoint, sockets: Sockets, process: Option<Supervisor>) -> Arc<Self> {
        let upstreams = match &endpoint.target {
            Target::Upstreams(urls) => {
                urls.iter().map(|url| Arc::new(Upstream::new(url.clone(), &endpoint))).collect()
            }
            Target::Service(_) | Target::Channel(_) | Target::Pair(_) => Vec::new(),
        };
        let route = Arc::new(Self {
            endpoint,
            upstreams,
            turn: AtomicUsize::new(0),
            sockets,
            up: watch::Sender::new(true),
            process: Mutex::new(process),
            watchers: Mutex::default(),
        });
        let mut watchers = lock(&route.watchers);
        for upstream in &route.upstreams {
            watchers.spawn(health::watch(Arc::downgrade(&route), Arc::clone(upstream)));
        }
        drop(watchers);
        route
    }

    fn begin_process(self: &Arc<Self>) {
        let Some(process) = self.endpoint.process.clone() else { return };
        let port = self.upstreams.first().and_then(|upstream| upstream.url.server.port());
        *lock(&self.process) = Some(Supervisor::start(self.name(), process, port));
        self.watch_process();
    }

    /// Has the upstreams looked at as soon as the process runs.
    fn watch_process(self: &Arc<Self>) {
        let Some(mut news) = lock(&self.process).as_ref().map(Supervisor::watch) else { return };
        let route = Arc::downgrade(self);
        lock(&self.watchers).spawn(async move {
            while news.changed().await.is_ok() {
                let is_running = matches!(*news.borrow_and_update(), ProcessState::Running { .. });
                let Some(route) = route.upgrade().filter(|_| is_running) else { continue };
                route.upstreams.iter().for_each(|upstream| upstream.hope.notify_one());
            }
        });
    }

    /// The process, for whoever takes the place of this one or ends it.
    pub(super) fn take_process(&self) -> Option<Supervisor> {
        lock(&self.process).take()
    }

    /// How the process is, if there is one.
    pub(crate) fn process(&self) -> Option<ProcessState> {
        lock(&self.process).as_ref().map(Supervisor::state)
    }

    /// The endpoint does not answer although its process has had time to begin: it is started again.
    pub(super) fn mend(&self, why: &str) {
        let process = lock(&self.process);
        let Some(process) = &*process else { return };
        if let ProcessState::Running { since, .. } = process.state()
            && since.elapsed() >= BEGINS_WITHIN
        {
            process.restart(&format!("it does not answer: {why}"));
        }
    }

    /// A process that was given up gets another chance.
    pub(super) fn retry(&self) {
        if let Some(process) = &*lock(&self.process) {
            process.retry();
        }
    }

    /// The name that clients of the gateway see.
    pub(crate) fn name(&self) -> &str {
        &self.endpoint.name
    }

    /// Whether any upstream is up. Endpoints without upstreams are as good as what is behind them.
    pub(crate) fn is_up(&self) -> bool {
        *self.up.borrow()
    }

    /// Changes when the endpoint goes down or comes back.
    pub(crate) fn news(&self) -> watch::Receiver<bool> {
        self.up.subscribe()
    }

    /// Whether this client may use it.
    ///
    /// # Errors
    /// `Forbidden`, or `Unauthorized` for who has shown no token.
    pub(crate) fn admit(&self, identity: &Identity) -> Result<(), Fault> {
        identity.grants.may_reach(self.name())?;
        let user = identity.user.as_deref();
        let is_welcome = match self.endpoint.access {
            EndpointAccess::Public => true,
            EndpointAccess::Authenticated => user.is_some(),
            EndpointAccess::Named => {
                user.is_some_and(|user| self.endpoint.clients.iter().any(|known| known == user))
            }
        };
        if is_welcome {
            return Ok(());
        }
        let (code, reason) = match user {
            None => (Code::Unauthorized, "this endpoint needs a token"),
            Some(_) => (Code::Forbidden, "this endpoint is for other clients"),
        };
        Err(Fault::fatal(code, "gateway.access", reason))
    }

    /// A place among those who are connected.
    ///
    /// # Errors
    /// When there are as many as there may be.
    pub(crate) fn seat(&self, post: &Arc<dyn Post>) -> Result<Seat, Fault> {
        let mut sockets = lock(&self.sockets);
        if self.endpoint.connections.is_some_and(|most| sockets.len() >= most) {
            let reason = format!("the endpoint {} has as many connections as it may have", self.name());
            return Err(Fault::passing(Code::Unavailable, "gateway.full", 1000, reason));
        }
        sockets.insert(post.session(), Arc::downgrade(post));
        Ok(Seat { session: post.session(), sockets: Arc::clone(&self.sockets) })
    }

    /// Sessions that are connected to it.
    pub(crate) fn sockets(&self) -> usize {
        lock(&self.sockets).len()
    }

    /// Tells everybody who is connected that the endpoint is not what it was.
    pub(super) fn dismiss(&self, fault: &Fault) {
        let posts: Vec<_> = lock(&self.sockets).values().filter_map(Weak::upgrade).collect();
        for post in posts {
            // One that has just ended needs no telling.
            let _ = post.post(Letter::Kick(fault.clone()));
        }
    }

    /// The upstream for the next connection, of those that are up and not among `tried`.
    pub(super) fn choose(&self, tried: &[Arc<Upstream>]) -> Option<Arc<Upstream>> {
        let is_free = |upstream: &&Arc<Upstream>| {
            upstream.is_up() && !tried.iter().any(|other| Arc::ptr_eq(other, upstream))
        };
        let mut free = self.upstreams.iter().filter(is_free);
        let chosen = match self.endpoint.balance {
            Balance::First => free.next(),
            Balance::LeastConnections => free.min_by_key(|upstream| upstream.connections()),
            Balance::RoundRobin | Balance::Random => {
                let free: Vec<_> = free.collect();
                let number = match self.endpoint.balance {
                    Balance::Random => getrandom::u32().unwrap_or_default() as usize,
                    Balance::RoundRobin | Balance::First | Balance::LeastConnections => {
                        self.turn.fetch_add(1, Relaxed)
                    }
                };
                free.get(number % free.len().max(1)).copied()
            }
        };
        chosen.cloned()
    }

    /// An upstream answered.
    pub(super) fn note_up(&self, upstream: &Upstream) {
        if upstream.rise() {
            tracing::info!(endpoint = self.name(), upstream = %upstream.url, "upstream is up");
        }
        self.tell();
    }

    /// An upstream did not answer.
    pub(super) fn note_down(&self, upstream: &Upstream, why: &str) {
        if upstream.fall(why, Instant::now()) {
            tracing::warn!(endpoint = self.name(), upstream = %upstream.url, "upstream is down: {why}");
        }
        upstream.alarm.notify_one();
        self.tell();
    }

    /// The fault of an endpoint that is down, with what was seen last.
    pub(super) fn is_down(&self, seen: Option<String>) -> Fault {
        let known = || self.upstreams.iter().find_map(|upstream| upstream.trouble());
        let why = seen.or_else(|| known().map(|trouble| trouble.what.into()));
        let why = why.map_or_else(String::new, |why| format!(": {why}"));
        let reason = format!("the endpoint {} is down{why}", self.name());
        Fault::passing(Code::Unavailable, "gateway.down", 1000, reason)
    }

    fn tell(&self) {
        let is_up = self.upstreams.iter().any(|upstream| upstream.is_up());
        self.up.send_if_modified(|up| std::mem::replace(up, is_up) != is_up);
    }

    pub(super) fn occupy(upstream: &Arc<Upstream>) -> Occupied {
        upstream.occupy()
    }
}

/// How long a process may take until it answers.
const BEGINS_WITHIN: Duration = Duration::from_secs(10);

/// A session's place at an endpoint.
#[derive(Debug)]
pub(crate) struct Seat {
    session: SessionId,
    sockets: Sockets,
}

impl Drop for Seat {
    fn drop(&mut self) {
        lock(&self.sockets).remove(&self.session);
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
