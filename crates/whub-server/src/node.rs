//! The running node: what its connections share.

use std::collections::HashMap;
use std::fmt;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::sync::{Arc, Mutex, OnceLock, PoisonError, RwLock, Weak};
use std::time::{Duration, Instant};

use tokio::runtime;
use tokio::sync::watch;

use whub_core::{
    Authenticator, Fault, Grants, Hub, Identity, Letter, Post, Roles, RoomLimits, SessionId, SessionLimits,
    StaticTokens, TOKEN_BYTES, Token,
};
use whub_proto::names::ServicePath;
use whub_transport::{Admission, AdmissionLimits, DirectWriter, TransportCounters};

use crate::chain::ChainMaker;
use crate::config::Config;
use crate::discovery::Discovery;
use crate::gateway::Routes;
use crate::http::HttpCounters;
use crate::inspect::Inspector;
use crate::mailbox::{MailboxPolicy, PeerMailbox};
use crate::reload::{Plan, Reloader, RereadError};

/// What every connection of a node shares.
pub(crate) struct Node {
    /// The tables.
    pub(crate) hub: Arc<Hub>,
    /// What happened at the listeners.
    pub(crate) transport: Arc<TransportCounters>,
    /// What happened over HTTP.
    pub(crate) http: HttpCounters,
    /// What it remembers of calls.
    pub(crate) inspector: Arc<Inspector>,
    /// What is known of services beside the tables.
    pub(crate) discovery: Arc<Discovery>,
    /// The endpoints of its gateway.
    pub(crate) routes: Arc<Routes>,
    /// Where its tasks run; whoever reloads it may be on a thread of its own. `None` in tests without one.
    runtime: Option<runtime::Handle>,
    /// Admission of connections that the hub has with itself.
    pub(crate) indoors: Admission,
    /// When the node began.
    pub(crate) started: Instant,
    /// The configuration as it is now; replaced whole on reload.
    config: RwLock<Arc<Config>>,
    authenticator: RwLock<Arc<dyn Authenticator>>,
    /// The sessions that are there, so that all of them can be told something.
    roster: Mutex<HashMap<SessionId, Weak<dyn Post>>>,
    /// Becomes true when the node begins to stop.
    stopping: watch::Sender<bool>,
    /// Connections that are under way, for the one who waits until the last has gone.
    present: watch::Sender<usize>,
    /// Makes client names unlike those of other runs of this node.
    run: u64,
    clients: AtomicU64,
    /// Makes the chain of every call.
    pub(crate) chain: ChainMaker,
    /// `host:port` of each listener, once bound.
    addresses: OnceLock<Vec<String>>,
    /// Reads the configuration again, where somebody said where it comes from.
    reloader: OnceLock<Reloader>,
}

impl Node {
    pub(crate) fn new(config: Config, name: &str, transport: Arc<TransportCounters>) -> Self {
        let limits = SessionLimits {
            frame_bytes: config.limits.frame_bytes,
            message_bytes: config.limits.message_bytes,
            calls: config.limits.calls_inflight,
            subscriptions: config.limits.subscriptions,
            services: config.limits.services,
            pairs: config.limits.pairs,
            rooms: room_limits(&config),
            pair_grace: config.limits.pair_grace,
            pair_seats: config.limits.pair_seats,
            mailbox_bytes: config.limits.mailbox_bytes,
            call_timeout: config.limits.call_timeout,
            hello_timeout: config.limits.first_request,
            ping: config.limits.ping,
        };
        let agent = concat!("whub/", env!("CARGO_PKG_VERSION"));
        let roles = Roles { access: config.node.is("access"), service: config.node.is("service") };
        let mut hub = Hub::new(name, agent, limits);
        hub.roles = roles;
        hub.draw_token = Some(draw_token);
        let hub = Arc::new(hub);
        let chain = ChainMaker::default();
        chain.apply(&hub, &config);
        // Without randomness choices can be foreseen, and nothing else.
        hub.services.seed(getrandom::u64().unwrap_or_default());
        hub.services.configure(config.policies());
        // They are bounded by those on whose behalf they are made.
        let unbounded = AdmissionLimits { young_connections: 0, connections_per_address: 0 };
        let indoors = Admission::new(unbounded, Arc::clone(&transport));
        let routes = Arc::new(Routes::default());
        routes.apply(&config.endpoints);
        let discovery = Arc::new(Discovery::default());
        hub.services.observe(discovery.clone());
        Self {
            hub,
            chain,
            discovery,
            transport,
            http: HttpCounters::default(),
            inspector: Arc::new(Inspector::new(&config.inspect)),
            routes,
            runtime: runtime::Handle::try_current().ok(),
            indoors,
            started: Instant::now(),
            authenticator: RwLock::new(authenticator(&config)),
            config: RwLock::new(Arc::new(config)),
            roster: Mutex::default(),
            stopping: watch::Sender::new(false),
            present: watch::Sender::new(0),
            // Without randomness names repeat after a restart; nothing rests on them but the reader of a log.
            run: getrandom::u64().unwrap_or_default(),
            clients: AtomicU64::new(1),
            addresses: OnceLock::new(),
            reloader: OnceLock::new(),
        }
    }

    /// Begins to stop: those who look are told, sessions by a letter.
    pub(crate) fn stop(&self, grace: Duration) {
        self.stopping.send_replace(true);
        let sessions = u32::try_from(self.sessions()).unwrap_or(u32::MAX);
        let retry = (STAGGER * sessions).clamp(RETRY_MIN, grace.max(RETRY_MIN));
        let mut linger = Duration::ZERO;
        self.tell_all(|| {
            linger = (linger + STAGGER).min(grace / 2);
            Letter::Drain { grace, linger, retry }
        });
    }

    /// Counts a connection for as long as the guard lives.
    pub(crate) fn presence(self: &Arc<Self>) -> Presence {
        self.present.send_modify(|present| *present += 1);
        Presence(Arc::clone(self))
    }

    /// Changes to 0 when the last connection has gone.
    pub(crate) fn present(&self) -> watch::Receiver<usize> {
        self.present.subscribe()
    }

    /// Whether the node has begun to stop.
    pub(crate) fn is_stopping(&self) -> bool {
        *self.stopping.borrow()
    }

    /// Changes to true when the node begins to stop.
    pub(crate) fn stopping(&self) -> watch::Receiver<bool> {
        self.stopping.subscribe()
    }

    /// The configuration as it is now.
    pub(crate) fn config(&self) -> Arc<Config> {
        Arc::clone(&self.config.read().unwrap_or_else(PoisonError::into_inner))
    }

    /// Puts what can change while running into force. Sessions whose token is gone are ended.
    pub(crate) fn reload(&self, config: Config) {
        *self.authenticator.write().unwrap_or_else(PoisonError::into_inner) = authenticator(&config);
        self.inspector.reload(&config.inspect);
        if let Some(name) = self.chain.unknown(&config) {
            tracing::error!("middleware.order names `{name}`, which no step is called; it is passed over");
        }
        self.chain.apply(&self.hub, &config);
        self.hub.services.configure(config.policies());
        {
            // Endpoints are looked after by tasks.
            let _entered = self.runtime.as_ref().map(runtime::Handle::enter);
            self.routes.apply(&config.endpoints);
        }
        *self.config.write().unwrap_or_else(PoisonError::into_inner) = Arc::new(config);
        self.seat_inspector();
        self.tell_all(|| Letter::Recheck);
    }

    /// The configuration can be read again from now on.
    pub(crate) fn reloads(&self, reloader: Reloader) {
        // A node has one source.
        let _ = self.reloader.set(reloader);
    }

    pub(crate) fn reloader(&self) -> Option<&Reloader> {
        self.reloader.get()
    }

    /// What reading the configuration again would change.
    pub(crate) fn plan(&self) -> Result<Plan, RereadError> {
        Ok(self.reloader().ok_or(RereadError::NoSource)?.plan(self)?)
    }

    /// Reads the configuration again, and puts it into force.
    pub(crate) fn reread(&self) -> Result<Plan, RereadError> {
        Ok(self.reloader().ok_or(RereadError::NoSource)?.reread(self)?)
    }

    /// The listeners are bound.
    pub(crate) fn listens(&self, addresses: Vec<String>) {
        // A node is bound once.
        let _ = self.addresses.set(addresses);
    }

    /// `host:port` of each listener.
    pub(crate) fn addresses(&self) -> &[String] {
        self.addresses.get().map_or(&[], Vec::as_slice)
    }

    /// What a user may do now, `None` being anonymous.
    pub(crate) fn grants(&self, user: Option<&str>) -> Arc<Grants> {
        self.authenticator().grants(user)
    }

    /// Whether somebody may look after the node: who holds a token for it, and everybody on a node that nobody needs a token
    /// for, which listens to this machine only.
    pub(crate) fn may_administer(&self, identity: &Identity) -> bool {
        let config = self.config();
        identity.grants.admin || (config.tokens.is_empty() && config.auth.anonymous.is_none())
    }

    /// A user as it is now; empty is anonymous.
    pub(crate) fn identity(&self, user: &str) -> Identity {
        let user = Some(user).filter(|user| !user.is_empty());
        Identity { user: user.map(Into::into), grants: self.grants(user) }
    }

    /// Who holds this token.
    ///
    /// # Errors
    /// `Unauthorized`.
    pub(crate) fn authenticate(&self, token: Option<&str>) -> Result<Identity, Fault> {
        self.authenticator().authenticate(token)
    }

    fn authenticator(&self) -> Arc<dyn Authenticator> {
        Arc::clone(&self.authenticator.read().unwrap_or_else(PoisonError::into_inner))
    }

    /// Whether the service at a path gets the `Authorization` of its callers.
    pub(crate) fn passes_authorization(&self, path: &ServicePath<'_>) -> bool {
        let Some(service) = self.hub.services.find(path) else { return false };
        self.chain.passes(&service.pattern, &service.pass_headers(), "authorization")
    }

    /// A name for a new client, such as `c-8f3a02d1-17`.
    pub(crate) fn client_name(&self) -> Box<str> {
        let number = self.clients.fetch_add(1, Relaxed);
        format!("c-{:08x}-{number:x}", self.run & 0xffff_ffff).into()
    }

    /// A mailbox for a new session, on the roster until it is [struck off](Self::strike).
    pub(crate) fn mailbox(
        &self,
        framing: whub_core::Framing,
        direct: Option<DirectWriter>,
    ) -> Arc<PeerMailbox> {
        let config = self.config();
        let policy = MailboxPolicy { bytes: config.limits.mailbox_bytes, slow: config.channels.slow };
        let mailbox = Arc::new(PeerMailbox::new(Arc::clone(&self.hub), framing, direct, policy));
        let post: Arc<dyn Post> = mailbox.clone();
        self.enroll(&post);
        mailbox
    }

    /// Puts a session on the roster until it is [struck off](Self::strike).
    pub(crate) fn enroll(&self, mailbox: &Arc<dyn Post>) {
        self.roster().insert(mailbox.session(), Arc::downgrade(mailbox));
        if self.is_stopping() {
            // It was still opening when the others were told.
            let grace = self.config().limits.drain;
            let _ = mailbox.post(Letter::Drain { grace, linger: Duration::ZERO, retry: RETRY_MIN });
        }
    }

    /// Takes an ended session off the roster.
    pub(crate) fn strike(&self, session: SessionId) {
        self.roster().remove(&session);
    }

    /// Sessions that are there now, those that have not said `Hello` included.
    pub(crate) fn sessions(&self) -> usize {
        self.roster().len()
    }

    /// Posts a letter to every session.
    pub(crate) fn tell_all(&self, mut letter: impl FnMut() -> Letter) {
        // The order in which sessions are told is nobody's business.
        let mailboxes: Vec<Arc<dyn Post>> = self.roster().values().filter_map(Weak::upgrade).collect();
        for mailbox in mailboxes {
            // A session that has just ended needs no telling.
            let _ = mailbox.post(letter());
        }
    }

    fn roster(&self) -> std::sync::MutexGuard<'_, HashMap<SessionId, Weak<dyn Post>>> {
        self.roster.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// A connection that is under way.
#[derive(Debug)]
pub(crate) struct Presence(Arc<Node>);

impl Drop for Presence {
    fn drop(&mut self) {
        self.0.present.send_modify(|present| *present -= 1);
    }
}

/// When a node stops, its idle sessions are closed one by one at this distance, so that not all of them knock at
/// the next node at the same instant.
const STAGGER: Duration = Duration::from_millis(1);

/// Clients of a stopping node come back after this at the earliest.
const RETRY_MIN: Duration = Duration::from_millis(500);

impl fmt::Debug for Node {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Node({})", self.hub.node)
    }
}

fn room_limits(config: &Config) -> RoomLimits {
    RoomLimits {
        per_session: config.limits.rooms,
        per_node: config.limits.node_rooms,
        members: u16::try_from(config.limits.room_members).unwrap_or(u16::MAX),
        info_bytes: config.limits.room_info_bytes,
        empty_ttl: config.rooms.empty_ttl,
        changes: config.rooms.changes,
    }
}

/// For the tokens of seats in pairs. Without randomness no seat is kept, since its token could be guessed.
fn draw_token() -> Option<[u8; TOKEN_BYTES]> {
    let mut token = [0; TOKEN_BYTES];
    getrandom::fill(&mut token).ok().map(|()| token)
}

fn authenticator(config: &Config) -> Arc<dyn Authenticator> {
    let tokens = config.tokens.iter().map(|token| Token {
        name: token.name.as_str().into(),
        secret: token.secret.expose().as_bytes().into(),
        grants: Arc::new(token.grant.clone()),
    });
    let anonymous = config.anonymous();
    let turned_away = anonymous == whub_core::Grants::none();
    Arc::new(StaticTokens {
        tokens: tokens.collect(),
        anonymous: (!turned_away).then(|| Arc::new(anonymous)),
    })
}
