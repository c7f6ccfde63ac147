//! The tables that sessions share, and nothing else: look up, let go, then send.

use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::time::{Duration, Instant};

use whub_proto::names::{Pattern, ServicePath};

use crate::channels::Channels;
use crate::clients::Clients;
use crate::counters::Counters;
use crate::handlers::Handlers;
use crate::mailbox::SessionId;
use crate::middleware::ChainSlot;
use crate::pairs::{Pairs, TokenDraw};
use crate::rooms::{RoomLimits, Rooms};
use crate::services::Services;

/// A node's shared state.
#[derive(Debug)]
pub struct Hub {
    /// The node's name, as clients see it.
    pub node: Box<str>,
    /// What the hub says it is, such as `whub/0.1.0`.
    pub agent: Box<str>,
    /// Who provides what.
    pub services: Services,
    /// What the hub's own modules provide under the roots that nobody else may: no `*rest` of a provider reaches in.
    pub own_services: Services,
    /// Who subscribed to what.
    pub channels: Channels,
    /// Who is connected.
    pub clients: Clients,
    /// Who handles frames of applications' own kinds.
    pub handlers: Handlers,
    /// Who waits for a partner.
    pub pairs: Pairs,
    /// Who is together with whom.
    pub rooms: Rooms,
    /// What happens to every call on its way.
    pub chain: ChainSlot,
    /// What happened so far.
    pub counters: Counters,
    /// What one session may take.
    pub limits: SessionLimits,
    /// What the node is there for.
    pub roles: Roles,
    /// Random bytes for the tokens of seats that outlive their connections; without it none does.
    pub draw_token: Option<TokenDraw>,
    next_session: AtomicU64,
}

/// What a node is there for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Roles {
    /// It takes the calls of clients, for its own services and those of nodes that it was joined to.
    pub access: bool,
    /// It takes providers.
    pub service: bool,
}

impl Default for Roles {
    /// Both.
    fn default() -> Self {
        Self { access: true, service: true }
    }
}

/// What one session may take, and how long it may be silent.
#[derive(Debug, Clone)]
pub struct SessionLimits {
    /// Largest frame, in bytes. Default 1 MiB.
    pub frame_bytes: usize,
    /// Largest message of a pair, however many frames it takes, in bytes. Default 16 MiB.
    pub message_bytes: usize,
    /// Calls that a caller may have in flight. Default 1,024.
    pub calls: usize,
    /// Subscriptions of a session. Default 1,000.
    pub subscriptions: usize,
    /// Services of a session. Default 256.
    pub services: usize,
    /// Pairs of a session. Default 256.
    pub pairs: usize,
    /// What rooms may take.
    pub rooms: RoomLimits,
    /// Longest time that a seat of a pair is kept for a client whose connection was lost; 0 = not at all. Default 2 min.
    pub pair_grace: Duration,
    /// Seats of pairs that are kept so at one time, of all sessions. Default 10,000.
    pub pair_seats: usize,
    /// What waits for a client that has such a seat, in bytes, for each; at least 128 KiB. Default 1 MiB.
    pub mailbox_bytes: usize,
    /// Deadline of a call that names none. Default 30 s.
    pub call_timeout: Duration,
    /// From the connection to `Hello`. Default 5 s.
    pub hello_timeout: Duration,
    /// Silence after which the peer is pinged; after twice that it is dead. Default 25 s.
    pub ping: Duration,
}

impl Default for SessionLimits {
    fn default() -> Self {
        Self {
            frame_bytes: 1 << 20,
            message_bytes: 16 << 20,
            calls: 1024,
            subscriptions: 1000,
            services: 256,
            pairs: 256,
            rooms: RoomLimits::default(),
            pair_grace: Duration::from_secs(120),
            pair_seats: 10_000,
            mailbox_bytes: 1 << 20,
            call_timeout: Duration::from_secs(30),
            hello_timeout: Duration::from_secs(5),
            ping: Duration::from_secs(25),
        }
    }
}

/// The time, as the driver read it: sessions never look at a clock.
#[derive(Debug, Clone, Copy)]
pub struct Now {
    /// For deadlines.
    pub at: Instant,
    /// For people: milliseconds since 1970.
    pub unix_ms: u64,
}

impl Hub {
    /// An empty hub.
    #[must_use]
    pub fn new(node: &str, agent: &str, limits: SessionLimits) -> Self {
        Self {
            node: node.into(),
            agent: agent.into(),
            services: Services::default(),
            own_services: Services::default(),
            channels: Channels::default(),
            clients: Clients::default(),
            handlers: Handlers::default(),
            pairs: Pairs::default(),
            rooms: Rooms::default(),
            chain: ChainSlot::default(),
            counters: Counters::default(),
            limits,
            roles: Roles::default(),
            draw_token: None,
            next_session: AtomicU64::new(1),
        }
    }

    /// The table that a path is looked up in.
    #[must_use]
    pub fn services_for(&self, path: &ServicePath<'_>) -> &Services {
        if path.is_own() { &self.own_services } else { &self.services }
    }

    /// The table that a pattern is registered in.
    #[must_use]
    pub fn table_of(&self, pattern: &Pattern) -> &Services {
        if pattern.is_own() { &self.own_services } else { &self.services }
    }

    /// A name for a new session.
    pub fn next_session(&self) -> SessionId {
        SessionId(self.next_session.fetch_add(1, Relaxed))
    }
}
