//! The typed result: what the rest of the server reads.
//!
//! Defaults are not written here: they are the texts in the table of keys, so they exist once.

use std::{path::PathBuf, time::Duration};

use whub_core::middleware::Rate;
use whub_proto::names::Pattern;
use whub_transport::{ListenAddress, Networks};

use super::{
    Authentication, Compression, Cors, Endpoint, Gateway, Grant, Headers, Middleware, RateSection,
    ServiceEntry, ServiceSection, Token, keys,
};

/// Everything a node can be told, checked and in plain types.
#[derive(Clone, Debug, PartialEq)]
pub struct Config {
    /// Where the node listens; never empty after [`load`](super::load).
    pub listen: Vec<ListenAddress>,
    /// Who this node is.
    pub node: Node,
    /// Where it keeps files.
    pub data: Data,
    /// The listener for clients of the pair relay that there was before.
    pub relay: Relay,
    /// What holds for all of the gateway.
    pub gateway: Gateway,
    /// When the configuration is read again.
    pub reload: Reload,
    /// The endpoints that the gateway reaches; no two share a name.
    pub endpoints: Vec<Endpoint>,
    /// Its certificate.
    pub tls: Tls,
    /// What peers without a token may do.
    pub auth: Auth,
    /// Static tokens, each with what it permits.
    pub tokens: Vec<Token>,
    /// Which web pages and host names are welcome.
    pub http: Http,
    /// Whose word about the peer's address is believed.
    pub proxy_protocol: ProxyProtocol,
    /// Bounds, deadlines and intervals.
    pub limits: Limits,
    /// Options of WebSocket connections.
    pub websocket: WebSocket,
    /// Options of channels.
    pub channels: Channels,
    /// Options of rooms.
    pub rooms: Rooms,
    /// Who may call the hub's own services.
    pub builtin: Builtin,
    /// What the inspector remembers.
    pub inspect: Inspect,
    /// What holds for services that no table is for.
    pub service_defaults: ServiceSection,
    /// What holds for some services, by pattern.
    pub services: Vec<ServiceEntry>,
    /// The chain of steps that every call goes through.
    pub middleware: Middleware,
    /// Paths that need a token.
    pub authentication: Authentication,
    /// Which headers pass.
    pub headers: Headers,
    /// How many calls there may be.
    pub rate: RateSection,
    /// What pages of allowed origins may do.
    pub cors: Cors,
    /// Compression of answers over HTTP.
    pub compression: Compression,
    /// Aids for development.
    pub debug: Debugging,
    /// Logging.
    pub log: Log,
}

impl Default for Config {
    /// Every key at its documented default.
    fn default() -> Self {
        keys::defaults()
    }
}

impl Config {
    /// What a peer without credentials may do: what `auth.anonymous` says; otherwise everything while no tokens are
    /// configured, and nothing once there are some.
    #[must_use]
    pub fn anonymous(&self) -> Grant {
        match &self.auth.anonymous {
            Some(grant) => grant.clone(),
            None if self.tokens.is_empty() => Grant { admin: true, ..Grant::all() },
            None => Grant::none(),
        }
    }
}

/// Section `node`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Node {
    /// The node's name; `None` means the machine's host name.
    pub name: Option<String>,
    /// What the node is there for: `access`, `service` or both.
    pub roles: Vec<String>,
}

impl Node {
    /// Whether the node has this role.
    #[must_use]
    pub fn is(&self, role: &str) -> bool {
        self.roles.iter().any(|known| known == role)
    }
}

/// Section `reload`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Reload {
    /// Whether a change of its files is a reason.
    pub watch: bool,
}

/// Section `data`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Data {
    /// Folder for the node's files; `None` means that it keeps none.
    pub dir: Option<PathBuf>,
}

/// Section `relay`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Relay {
    /// Where the node listens for plain WebSockets of pairs and nothing else; empty: nowhere.
    pub listen: Vec<ListenAddress>,
    /// What stands before the id in a path, with or without slashes around it; `None`: nothing.
    pub scope: Option<String>,
}

impl Relay {
    /// What precedes the id in a path: `/`, or `/scope/`.
    #[must_use]
    pub fn path(&self) -> String {
        match self.scope() {
            "" => "/".to_owned(),
            scope => format!("/{scope}/"),
        }
    }

    /// The scope without the slashes around it.
    pub(crate) fn scope(&self) -> &str {
        self.scope.as_deref().unwrap_or_default().trim_matches('/')
    }
}

/// Section `tls`. At most one of a certificate and `self_signed` is set after [`load`](super::load).
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Tls {
    /// PEM file with the certificate chain, leaf first; set together with `key`.
    pub cert: Option<PathBuf>,
    /// PEM file with the private key of `cert`.
    pub key: Option<PathBuf>,
    /// Make a certificate at each start, for trying out.
    pub self_signed: bool,
}

/// Section `auth`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Auth {
    /// What anonymous peers may do; `None` when nothing was said, see [`Config::anonymous`].
    pub anonymous: Option<Grant>,
}

/// Section `http`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Http {
    /// Origins (`scheme://host[:port]`, or `*` for any) whose pages may use the hub besides its own.
    pub allowed_origins: Vec<String>,
    /// Host names (without port, or `*` for any) by which the hub may be addressed besides addresses and `localhost`.
    pub allowed_hosts: Vec<String>,
    /// Peers whose `Forwarded` and `X-Forwarded-*` are believed and added to.
    pub trusted_proxies: Networks,
}

impl Http {
    /// Whether `origin`, as a browser sends it, is in `http.allowed_origins`. Origins are compared as they are
    /// serialised, without regard to case; that same-origin pages are welcome is for the caller to decide.
    #[must_use]
    pub fn lists_origin(&self, origin: &str) -> bool {
        self.allowed_origins.iter().any(|listed| listed == "*" || listed.eq_ignore_ascii_case(origin))
    }

    /// Whether `host`, a host name without its port, is in `http.allowed_hosts`.
    #[must_use]
    pub fn lists_host(&self, host: &str) -> bool {
        let host = host.strip_suffix('.').unwrap_or(host);
        self.allowed_hosts.iter().any(|listed| listed == "*" || listed.eq_ignore_ascii_case(host))
    }

    /// Whether `host` is the hub's own name: it is in `http.allowed_hosts` by name.
    #[must_use]
    pub fn is_own_host(&self, host: &str) -> bool {
        let host = host.strip_suffix('.').unwrap_or(host);
        self.allowed_hosts.iter().any(|listed| listed.eq_ignore_ascii_case(host))
    }
}

/// Section `proxy_protocol`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ProxyProtocol {
    /// Peers whose PROXY protocol version 2 header is believed.
    pub from: Networks,
}

/// Section `limits`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Limits {
    /// Connections from one address at a time; `None` is no limit. Loopback and Unix peers are exempt.
    pub connections_per_address: Option<usize>,
    /// Connections that have not yet sent a whole request or handshake; beyond it the listener waits.
    pub young_connections: usize,
    /// Time to the first complete request or handshake.
    pub first_request: Duration,
    /// Bytes of an HTTP request's head.
    pub header_bytes: usize,
    /// Header fields of an HTTP request.
    pub header_fields: usize,
    /// Bytes of an HTTP request's body; `None` is no limit.
    pub body_bytes: Option<usize>,
    /// Bytes of a plain WebSocket message.
    pub message_bytes: usize,
    /// Bytes of a frame of the whub protocol (`max_frame`).
    pub frame_bytes: usize,
    /// Bytes that may wait for a peer that reads slowly.
    pub mailbox_bytes: usize,
    /// Calls in flight of one session, in each role.
    pub calls_inflight: usize,
    /// Subscriptions of one session.
    pub subscriptions: usize,
    /// Services registered by one session.
    pub services: usize,
    /// Pairs joined by one session.
    pub pairs: usize,
    /// How long a half over HTTP waits for the other one.
    pub pair_wait: Duration,
    /// Rooms that one session is in.
    pub rooms: usize,
    /// Members of one room.
    pub room_members: usize,
    /// Bytes that a member of a room shows to the others.
    pub room_info_bytes: usize,
    /// Rooms of the node.
    pub node_rooms: usize,
    /// Longest time that a seat is kept for a client whose connection was lost.
    pub pair_grace: Duration,
    /// Seats that are kept so at one time.
    pub pair_seats: usize,
    /// Deadline of a call that names none.
    pub call_timeout: Duration,
    /// Interval of pings; a peer silent for twice as long is dead.
    pub ping: Duration,
    /// Time that calls in flight have to finish when the node stops.
    pub drain: Duration,
}

/// Section `rooms`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Rooms {
    /// How long a room is kept that nobody is in.
    pub empty_ttl: Duration,
    /// How often a session enters or changes rooms.
    pub changes: Option<Rate>,
}

/// Section `websocket`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct WebSocket {
    /// Whether permessage-deflate is negotiated when a client offers it.
    pub deflate: bool,
}

/// Section `channels`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Channels {
    /// What happens to a subscriber whose mailbox is full.
    pub slow: SlowPolicy,
}

/// What happens to a subscriber that reads too slowly.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum SlowPolicy {
    /// Messages are dropped and the gap is counted and announced.
    Drop,
    /// Of each channel the latest message is kept; what it replaces is counted and announced.
    Conflate,
    /// The subscriber is closed with `SlowConsumer`.
    Close,
}

/// Section `builtin`: who may call the hub's own services.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Builtin {
    /// `/status`.
    pub status: Audience,
    /// `/services`.
    pub services: Audience,
    /// The list and the details of others at `/clients`.
    pub clients: Audience,
    /// Ending other clients' sessions, `DELETE /clients`.
    pub kick: Audience,
    /// `/message`; what a token may send is its own affair.
    pub message: Audience,
}

/// Who may call one of the hub's own services.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Audience {
    /// Everybody whom the hub lets in, anonymous or not.
    Anyone,
    /// Holders of a token, and anonymous peers that may administer.
    Token,
    /// Those that may administer.
    Admin,
    /// Nobody: the service is switched off.
    Nobody,
}

/// Section `inspect`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Inspect {
    /// Calls that are remembered; 0 switches the inspector off.
    pub calls: usize,
    /// Bytes that they may hold together.
    pub bytes: usize,
    /// Longest request body that is kept for a replay, bytes.
    pub body_bytes: usize,
    /// How long calls are recorded after somebody looked.
    pub linger: Duration,
    /// Services whose calls are always recorded.
    pub services: Vec<Pattern>,
    /// Headers whose values are not shown, besides those that are credentials by their name.
    pub redact: Vec<String>,
}

/// Section `debug`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Debugging {
    /// Serve a WebSocket echo at `/debug/echo`.
    pub echo: bool,
}

/// Section `log`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Log {
    /// For people or for machines.
    pub format: LogFormat,
    /// A level (`info`), or levels by target (`info,whub_server=debug`).
    pub level: String,
}

/// How log lines look.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum LogFormat {
    /// Readable lines.
    Console,
    /// One JSON object per line.
    Json,
}
