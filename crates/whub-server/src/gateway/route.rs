//! An endpoint as it runs: its upstreams, who is connected, whether it is up.

use std::collections::HashMap;
use std::sync::atomic::{AtomicUsize, Ordering::Relaxed};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};
use std::time::{Duration, Instant};

use tokio::sync::watch;
use tokio::task::JoinSet;
use whub_core::{Fault, Identity, Letter, Post, SessionId};
use whub_proto::Code;

use crate::config::{Balance, Endpoint, EndpointAccess, Health, Target};
use crate::gateway::health;
use crate::gateway::process::{ProcessState, Supervisor};
use crate::gateway::upstream::{Occupied, Upstream};

/// An endpoint, known to clients by its name.
#[derive(Debug)]
pub(crate) struct Route {
    pub(crate) endpoint: Endpoint,
    pub(crate) upstreams: Vec<Arc<Upstream>>,
    /// For taking turns.
    turn: AtomicUsize,
    /// The sessions that use it, so that they can be told when it goes. Held to insert, remove or copy.
    sockets: Arc<Mutex<Sockets>>,
    /// Whether any upstream is up.
    up: watch::Sender<bool>,
    /// What serves it, where the hub runs that.
    process: Option<Arc<Supervisor>>,
    /// When an upstream answered last. Held to read or write it.
    answered: Mutex<Option<Instant>>,
    /// Those who look after its upstreams; they end with it.
    watchers: Mutex<JoinSet<()>>,
}

/// The sessions at an endpoint.
#[derive(Debug, Default)]
struct Sockets {
    present: HashMap<SessionId, Weak<dyn Post>>,
    /// The endpoint has gone, or is somewhere else.
    closed: bool,
}

impl Route {
    /// An endpoint whose upstreams are looked after from now on.
    pub(super) fn start(endpoint: Endpoint) -> Arc<Self> {
        let process = supervisor(&endpoint, None);
        let upstreams = upstreams(&endpoint);
        Self::with(endpoint, upstreams, Arc::default(), process)
    }

    /// The same endpoint under new rules; who is connected stays, and what serves it.
    pub(super) fn replace(&self, endpoint: Endpoint) -> Arc<Self> {
        // What is known of its upstreams stays too, unless they are dialled otherwise.
        let is_same = self.endpoint.connect_timeout == endpoint.connect_timeout;
        let upstreams = if is_same { self.upstreams.clone() } else { upstreams(&endpoint) };
        Self::with(endpoint, upstreams, Arc::clone(&self.sockets), self.process.clone())
    }

    /// The same endpoint somewhere else. Its process stays if it would be the same one.
    pub(super) fn move_to(&self, endpoint: Endpoint) -> Arc<Self> {
        let is_same = self.endpoint.process == endpoint.process && port(&self.endpoint) == port(&endpoint);
        let process = if is_same {
            self.process.clone()
        } else {
            self.halt();
            supervisor(&endpoint, self.process.clone())
        };
        let upstreams = upstreams(&endpoint);
        Self::with(endpoint, upstreams, Arc::default(), process)
    }

    fn with(
        endpoint: Endpoint,
        upstreams: Vec<Arc<Upstream>>,
        sockets: Arc<Mutex<Sockets>>,
        process: Option<Arc<Supervisor>>,
    ) -> Arc<Self> {
        let is_up = upstreams.is_empty() || upstreams.iter().any(|upstream| upstream.is_up());
        let route = Arc::new(Self {
            endpoint,
            upstreams,
            turn: AtomicUsize::new(0),
            sockets,
            up: watch::Sender::new(is_up),
            process,
            answered: Mutex::default(),
            watchers: Mutex::default(),
        });
        let mut watchers = route.watchers.lock().unwrap_or_else(PoisonError::into_inner);
        for upstream in &route.upstreams {
            watchers.spawn(health::watch(Arc::downgrade(&route), Arc::clone(upstream)));
        }
        if let Some(process) = &route.process {
            watchers.spawn(hope(process.watch(), Arc::downgrade(&route)));
        }
        drop(watchers);
        route
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
        if sockets.closed {
            let reason = format!("the endpoint {} is changing; connect again", self.name());
            return Err(Fault::passing(Code::Unavailable, "gateway.changing", 1, reason));
        }
        if self.endpoint.connections.is_some_and(|most| sockets.present.len() >= most) {
            let reason = format!("the endpoint {} has as many connections as it may have", self.name());
            return Err(Fault::passing(Code::Unavailable, "gateway.full", 1000, reason));
        }
        sockets.present.insert(post.session(), Arc::downgrade(post));
        Ok(Seat { session: post.session(), sockets: Arc::clone(&self.sockets) })
    }

    /// Sessions that are connected to it.
    pub(crate) fn sockets(&self) -> usize {
        lock(&self.sockets).present.len()
    }

    /// Tells everybody who is connected that the endpoint is not what it was. Nobody is seated here any more.
    pub(super) fn dismiss(&self, fault: &Fault) {
        let posts: Vec<_> = {
            let mut sockets = lock(&self.sockets);
            sockets.closed = true;
            sockets.present.values().filter_map(Weak::upgrade).collect()
        };
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

    /// How the process is, if there is one.
    pub(crate) fn process(&self) -> Option<ProcessState> {
        self.process.as_ref().map(|process| process.state())
    }

    /// Has the process end in peace, if there is one.
    pub(super) fn halt(&self) {
        if let Some(process) = &self.process {
            process.halt();
        }
    }

    /// Ends the process at once.
    pub(super) fn kill(&self) {
        if let Some(process) = &self.process {
            process.kill();
        }
    }

    /// Waits until it has ended in peace.
    pub(super) async fn halted(&self) {
        if let Some(process) = &self.process {
            process.stopped().await;
        }
    }

    /// Has a process that was given up tried again.
    pub(super) fn encourage(&self) {
        if let Some(process) = &self.process {
            process.retry();
        }
    }

    /// Has the process started again if the endpoint has been down for so long that it will not come back by itself.
    pub(super) fn cure(&self, why: &str) {
        let Some(process) = &self.process else { return };
        let ProcessState::Running { since, .. } = process.state() else { return };
        let down =
            self.upstreams.iter().filter_map(|upstream| upstream.trouble()).map(|trouble| trouble.since);
        let (false, Some(down)) = (self.is_up() || self.endpoint.health == Health::Off, down.max()) else {
            return;
        };
        let began = since.into_std();
        let ill = down.max(began).elapsed();
        let patience = self.endpoint.health_interval * ILL_INTERVALS;
        let has_answered = lock(&self.answered).is_some_and(|answered| answered > began);
        let patience = if has_answered { patience } else { patience.max(TIME_TO_START) };
        if ill >= patience {
            process.restart(&format!("it has not answered for {ill:.1?}: {why}"));
        }
    }

    /// An upstream answered.
    pub(super) fn note_up(&self, upstream: &Upstream) {
        *lock(&self.answered) = Some(Instant::now());
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

    /// An upstream is there and did not answer a client, which may be the client's doing: it is looked at at once.
    pub(super) fn note_doubt(&self, upstream: &Upstream) {
        if self.endpoint.health != Health::Off {
            upstream.alarm.notify_one();
        }
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

/// So many times `health_interval` a process may fail to answer before it is started again.
const ILL_INTERVALS: u32 = 2;

/// Where it has not answered at all since it was started, it has so long.
const TIME_TO_START: Duration = Duration::from_secs(60);

/// Has the upstreams looked at as soon as their process runs.
async fn hope(mut news: watch::Receiver<ProcessState>, route: Weak<Route>) {
    while news.changed().await.is_ok() {
        let is_running = matches!(*news.borrow_and_update(), ProcessState::Running { .. });
        let Some(route) = route.upgrade() else { return };
        if is_running {
            route.upstreams.iter().for_each(|upstream| upstream.hope.notify_one());
        }
    }
}

/// The upstreams of an endpoint that has some.
fn upstreams(endpoint: &Endpoint) -> Vec<Arc<Upstream>> {
    match &endpoint.target {
        Target::Upstreams(urls) => {
            urls.iter().map(|url| Arc::new(Upstream::new(url.clone(), endpoint))).collect()
        }
        Target::Service(_) | Target::Channel(_) | Target::Pair(_) => Vec::new(),
    }
}

/// What runs the process of an endpoint, if it has one; `before` is what ran the last one.
fn supervisor(endpoint: &Endpoint, before: Option<Arc<Supervisor>>) -> Option<Arc<Supervisor>> {
    let process = endpoint.process.clone()?;
    Some(Arc::new(Supervisor::start(&endpoint.name, process, port(endpoint), before)))
}

/// The port that a process of the endpoint would listen at.
fn port(endpoint: &Endpoint) -> Option<u16> {
    match &endpoint.target {
        Target::Upstreams(urls) => urls.first()?.server.port(),
        Target::Service(_) | Target::Channel(_) | Target::Pair(_) => None,
    }
}

/// A session's place at an endpoint.
#[derive(Debug)]
pub(crate) struct Seat {
    session: SessionId,
    sockets: Arc<Mutex<Sockets>>,
}

impl Drop for Seat {
    fn drop(&mut self) {
        lock(&self.sockets).present.remove(&self.session);
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
