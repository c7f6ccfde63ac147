//! The table of keys. Defaults, `whub config show`, the reference and the errors about unknown keys come from it.

use std::time::Duration;

use whub_core::Choose;
use whub_transport::Networks;

use super::{
    Audience, Auth, Authentication, Builtin, Channels, Compression, Config, Cors, Data, Debugging, Gateway,
    Grant, Headers, Http, Inspect, Limits, Log, LogFormat, Middleware, Node, Problems, ProxyProtocol,
    RateSection, Relay, Reload, Rooms, ServiceAccess, ServiceSection, SlowPolicy, Tls, WebSocket, check,
    field::Field, load::Sources, services::ServiceDraft, tokens::TokenEntry, value::Value,
};

/// One key of `T`.
pub(crate) struct Key<T> {
    /// Name with dots.
    pub(crate) name: &'static str,
    /// Where the value lives, and its type.
    pub(crate) field: Field<T>,
    /// Default as a flag would give it; `None` leaves it unset.
    pub(crate) default: Option<&'static str>,
    /// Whether a reload applies a change without a restart.
    pub(crate) reload: bool,
    /// One or two sentences for the reference.
    pub(crate) doc: &'static str,
}

pub(crate) const fn key<T>(
    name: &'static str,
    field: Field<T>,
    default: &'static str,
    doc: &'static str,
) -> Key<T> {
    Key { name, field, default: Some(default), reload: false, doc }
}

pub(crate) const fn unset<T>(name: &'static str, field: Field<T>, doc: &'static str) -> Key<T> {
    Key { name, field, default: None, reload: false, doc }
}

const fn reloadable<T>(mut key: Key<T>) -> Key<T> {
    key.reload = true;
    key
}

const CHOOSE: &str = "How the provider of a call is chosen. `least_loaded`: of two taken at random, the one with fewer calls in \
     flight for its weight. `round_robin`, `random`: as often as its weight says. `sticky`: the same one for the same \
     key, or for the same caller where the call has none. `local`: those of this node first.";
const QUEUE: &str = "Calls that may wait for a free provider of one service, 4 MiB of requests at most; beyond it the \
     answer is `Unavailable`.";
const QUEUE_WAIT: &str = "How long a call may wait for a free provider, within its deadline.";
const CALL_TIMEOUT: &str = "Deadline of calls that name none; when unset, `limits.call_timeout`.";
const ACCESS: &str = "Who may call. `providers`: whom the strictest of the providers lets in. `public`, `authenticated`, `named`: \
     everybody, whoever shows a token, the tokens in `clients`, whatever the providers say. What the caller's token \
     grants is asked for besides.";
const CLIENTS: &str = "With `access = \"named\"`: names of tokens.";

const QUEUE_MAX: usize = 100_000;

pub(crate) const KIB: usize = 1 << 10;
const MIB: usize = 1 << 20;
pub(crate) const GIB: usize = 1 << 30;
const SECOND: u64 = 1_000;
const MINUTE: u64 = 60 * SECOND;
pub(crate) const HOUR: u64 = 60 * MINUTE;
pub(crate) const DAY: u64 = 24 * HOUR;

/// Every key but those of tokens, services and endpoints, in the order of the reference.
pub(crate) static KEYS: &[Key<Config>] = &[
    key(
        "listen",
        Field::Listen(|c| &mut c.listen),
        "127.0.0.1:9482",
        "Where the node listens: `HOST:PORT`, `[::1]:PORT` or `unix:PATH`. Port 0 lets the system choose. \
         Every protocol arrives on each of them.",
    ),
    unset(
        "node.name",
        Field::Text(|c| &mut c.node.name),
        "Name of this node; when unset, the machine's host name.",
    ),
    key(
        "node.roles",
        Field::Words(|c| &mut c.node.roles),
        "access,service",
        "What the node is there for. `access`: it takes the calls of clients, for its services and those of nodes that \
         it is joined to. `service`: it takes providers. The hub's own services, channels and pairs are there either way.",
    ),
    key(
        "relay.listen",
        Field::Listen(|c| &mut c.relay.listen),
        "",
        "Where clients of rust-websocket-relay find the pairs of this node, at `/<id>`; addresses as in `listen`. What \
         holds for the node's other listeners holds here: its certificate, who may pair, hosts and origins.",
    ),
    unset(
        "relay.scope",
        Field::Text(|c| &mut c.relay.scope),
        "Path in front of the id on `relay.listen`: with `a`, pairs are at `/a/<id>` and nowhere else.",
    ),
    reloadable(unset(
        "gateway.file",
        Field::Path(|c| &mut c.gateway.file),
        "A `config.ini` of SocketMaster: sections with `Name` and `Port`. Its endpoints join those of `[[endpoints]]`.",
    )),
    reloadable(key(
        "gateway.handshake",
        Field::Time(|c| &mut c.gateway.handshake, 10..=HOUR),
        "10s",
        "How long the handshake of a client on `/gateway` may take.",
    )),
    reloadable(key(
        "gateway.bare_ack",
        Field::Flag(|c| &mut c.gateway.bare_ack),
        "false",
        "Answer the steps of the handshake on `/gateway` with the bare word `ACK`, for clients that take the README of \
         SocketMaster at that word.",
    )),
    reloadable(key(
        "gateway.routes",
        Field::Count(|c| &mut c.gateway.routes, 1..=10_000),
        "64",
        "Routes that one client of `/gateway` may have open.",
    )),
    reloadable(key(
        "gateway.stall",
        Field::Time(|c| &mut c.gateway.stall, 1..=MINUTE),
        "100ms",
        "How long a client of `/gateway` is not read from because one of its routes is full. After that, messages for \
         that route are refused until it has room, so that it does not hold up the others.",
    )),
    reloadable(key(
        "reload.watch",
        Field::Flag(|c| &mut c.reload.watch),
        "true",
        "Read the configuration again when its file, or the one of `gateway.file`, has changed and looks the same for two \
         seconds. `SIGHUP` and `POST /v1/config/reload` read it at once, watched or not.",
    )),
    unset(
        "data.dir",
        Field::Path(|c| &mut c.data.dir),
        "Folder for the node's files, made with mode 0700 if absent. Unset: the node keeps no files.",
    ),
    unset(
        "tls.cert",
        Field::Path(|c| &mut c.tls.cert),
        "PEM file with the certificate chain, leaf first. Needs `tls.key`. Both files are read again when they change.",
    ),
    unset("tls.key", Field::Path(|c| &mut c.tls.key), "PEM file with the private key of `tls.cert`."),
    key(
        "tls.self_signed",
        Field::Flag(|c| &mut c.tls.self_signed),
        "false",
        "Make a certificate at each start. For trying out: no client can check it.",
    ),
    reloadable(unset(
        "auth.anonymous",
        Field::Access(|c| &mut c.auth.anonymous),
        "What peers without a token may do. Unset: everything while there are no tokens (then only loopback and Unix \
         listeners are allowed), nothing once there are some. A table permits what its lists name.",
    )),
    reloadable(unset(
        "auth.anonymous.provide",
        Field::Services(|c| &mut anonymous(c).provide),
        "Services that anonymous peers may provide.",
    )),
    reloadable(unset(
        "auth.anonymous.call",
        Field::Services(|c| &mut anonymous(c).call),
        "Services that anonymous peers may call.",
    )),
    reloadable(unset(
        "auth.anonymous.publish",
        Field::Filters(|c| &mut anonymous(c).publish),
        "Channels that anonymous peers may publish to.",
    )),
    reloadable(unset(
        "auth.anonymous.subscribe",
        Field::Filters(|c| &mut anonymous(c).subscribe),
        "Channels that anonymous peers may subscribe to.",
    )),
    reloadable(unset(
        "auth.anonymous.pair",
        Field::Filters(|c| &mut anonymous(c).pair),
        "Pairs that anonymous peers may join.",
    )),
    reloadable(unset(
        "auth.anonymous.message",
        Field::Filters(|c| &mut anonymous(c).message),
        "To whom anonymous peers may send messages, as in a token's `message`.",
    )),
    reloadable(key(
        "http.allowed_origins",
        Field::Origins(|c| &mut c.http.allowed_origins),
        "",
        "Origins whose web pages may use the hub besides its own (`https://app.example.com`), `*` for any. \
         CORS answers follow this list.",
    )),
    reloadable(key(
        "http.allowed_hosts",
        Field::Hosts(|c| &mut c.http.allowed_hosts),
        "",
        "Names by which the hub may be addressed besides addresses and `localhost`, `*` for any. Without its public \
         name here a hub answers no browser under it.",
    )),
    reloadable(key(
        "http.trusted_proxies",
        Field::Networks(|c| &mut c.http.trusted_proxies.0),
        "",
        "HTTP proxies in front of the hub, whose `Forwarded` and `X-Forwarded-*` are believed and added to: addresses, \
         ranges (`10.0.0.0/8`), or `unix` for peers of Unix sockets. What others write there is replaced.",
    )),
    key(
        "proxy_protocol.from",
        Field::Networks(|c| &mut c.proxy_protocol.from.0),
        "",
        "Proxies whose PROXY protocol version 2 header is believed: addresses, ranges (`10.0.0.0/8`), or `unix` for peers of Unix sockets.",
    ),
    key(
        "limits.connections_per_address",
        Field::CountOrNone(|c| &mut c.limits.connections_per_address),
        "1024",
        "Connections from one address at a time. Loopback and Unix peers are exempt.",
    ),
    key(
        "limits.young_connections",
        Field::Count(|c| &mut c.limits.young_connections, 1..=1_000_000),
        "4096",
        "Connections that have not yet sent a whole request or handshake. Beyond it the listener waits; it does not \
         refuse.",
    ),
    key(
        "limits.first_request",
        Field::Time(|c| &mut c.limits.first_request, 10..=HOUR),
        "5s",
        "Time a connection has for its first complete request or handshake.",
    ),
    key(
        "limits.header_bytes",
        Field::Bytes(|c| &mut c.limits.header_bytes, 8 * KIB..=MIB),
        "64KiB",
        "Size of an HTTP request's head; beyond it the answer is 431. A connection reads up to 128 KiB at once, whatever this says.",
    ),
    key(
        "limits.header_fields",
        Field::Count(|c| &mut c.limits.header_fields, 1..=1_024),
        "64",
        "Header fields of an HTTP request; beyond it the answer is 431.",
    ),
    key(
        "limits.body_bytes",
        Field::BytesOrNone(|c| &mut c.limits.body_bytes),
        "none",
        "Size of an HTTP request's body; beyond it the answer is 413. Bodies are streamed, so none costs no memory.",
    ),
    key(
        "limits.message_bytes",
        Field::Bytes(|c| &mut c.limits.message_bytes, 1..=GIB),
        "16MiB",
        "Size of a message of a plain WebSocket; beyond it the connection closes with 1009.",
    ),
    key(
        "limits.frame_bytes",
        Field::Bytes(|c| &mut c.limits.frame_bytes, KIB..=64 * MIB),
        "1MiB",
        "Size of a frame of the whub protocol, announced to clients as `max_frame`.",
    ),
    key(
        "limits.mailbox_bytes",
        Field::Bytes(|c| &mut c.limits.mailbox_bytes, KIB..=GIB),
        "1MiB",
        "What may wait in memory for a peer that reads slowly.",
    ),
    key(
        "limits.calls_inflight",
        Field::Count(|c| &mut c.limits.calls_inflight, 1..=1_000_000),
        "1024",
        "Calls in flight of one session, as caller and as provider.",
    ),
    key(
        "limits.subscriptions",
        Field::Count(|c| &mut c.limits.subscriptions, 0..=1_000_000),
        "1000",
        "Subscriptions of one session.",
    ),
    key(
        "limits.services",
        Field::Count(|c| &mut c.limits.services, 0..=1_000_000),
        "256",
        "Services registered by one session.",
    ),
    key(
        "limits.pairs",
        Field::Count(|c| &mut c.limits.pairs, 0..=1_000_000),
        "256",
        "Pairs joined by one session.",
    ),
    reloadable(key(
        "limits.pair_wait",
        Field::Time(|c| &mut c.limits.pair_wait, 1..=DAY),
        "10m",
        "How long a half of a pair over HTTP (`curl http://HUB/pair/<id>`) waits for the other one.",
    )),
    key(
        "limits.rooms",
        Field::Count(|c| &mut c.limits.rooms, 0..=1_000_000),
        "64",
        "Rooms that one session is in.",
    ),
    key(
        "limits.room_members",
        Field::Count(|c| &mut c.limits.room_members, 1..=65_535),
        "256",
        "Members of one room. Whoever opens a room may wish for less.",
    ),
    key(
        "limits.room_info_bytes",
        Field::Bytes(|c| &mut c.limits.room_info_bytes, 0..=16 * KIB),
        "4KiB",
        "What a member of a room may show to the others (`info`).",
    ),
    key(
        "limits.node_rooms",
        Field::Count(|c| &mut c.limits.node_rooms, 0..=10_000_000),
        "10000",
        "Rooms of the node. Those that nobody is in are among them, and give way to new ones.",
    ),
    key(
        "limits.pair_grace",
        Field::Time(|c| &mut c.limits.pair_grace, 0..=DAY),
        "2m",
        "Longest time that a seat in a pair is kept for a client whose connection was lost; clients may ask for less. `0`: not at all.",
    ),
    key(
        "limits.pair_seats",
        Field::Count(|c| &mut c.limits.pair_seats, 0..=1_000_000),
        "10000",
        "Seats in pairs that are kept at one time for clients whose connection was lost. For each, up to twice `limits.mailbox_bytes` may wait.",
    ),
    key(
        "limits.call_timeout",
        Field::Time(|c| &mut c.limits.call_timeout, 1..=DAY),
        "30s",
        "Deadline of a call that names none.",
    ),
    key(
        "limits.ping",
        Field::Time(|c| &mut c.limits.ping, 10..=HOUR),
        "25s",
        "Interval of pings. A peer that is silent for twice as long is dead.",
    ),
    key(
        "limits.drain",
        Field::Time(|c| &mut c.limits.drain, 0..=HOUR),
        "10s",
        "Time that calls in flight have to finish when the node stops.",
    ),
    reloadable(key(
        "service_defaults.choose",
        Field::Choose(|c| &mut c.service_defaults.choose),
        "least_loaded",
        CHOOSE,
    )),
    reloadable(key(
        "service_defaults.queue",
        Field::Count(|c| &mut c.service_defaults.queue, 0..=QUEUE_MAX),
        "64",
        QUEUE,
    )),
    reloadable(key(
        "service_defaults.queue_wait",
        Field::Time(|c| &mut c.service_defaults.queue_wait, 1..=HOUR),
        "1s",
        QUEUE_WAIT,
    )),
    reloadable(unset(
        "service_defaults.call_timeout",
        Field::TimeOrUnset(|c| &mut c.service_defaults.call_timeout, 1..=DAY),
        CALL_TIMEOUT,
    )),
    reloadable(key(
        "service_defaults.access",
        Field::ServiceAccess(|c| &mut c.service_defaults.access),
        "providers",
        ACCESS,
    )),
    reloadable(key(
        "service_defaults.clients",
        Field::Words(|c| &mut c.service_defaults.clients),
        "",
        CLIENTS,
    )),
    key(
        "websocket.deflate",
        Field::Flag(|c| &mut c.websocket.deflate),
        "false",
        "Negotiate permessage-deflate with clients that offer it. Costs memory and time per connection.",
    ),
    key(
        "channels.slow",
        Field::Slow(|c| &mut c.channels.slow),
        "drop",
        "What happens to a subscriber whose mailbox is full: `drop` loses messages, counts them and tells the \
         subscriber; `conflate` does the same but keeps the latest message of each channel; `close` ends it with \
         `SlowConsumer`.",
    ),
    key(
        "rooms.empty_ttl",
        Field::Time(|c| &mut c.rooms.empty_ttl, 0..=DAY),
        "1m",
        "How long a room that nobody is in is kept, with its secret and its capacity, for those who come back.",
    ),
    key(
        "rooms.changes",
        Field::RateOrNone(|c| &mut c.rooms.changes),
        "20/s burst 100",
        "How often a session may enter rooms and change them: of each change all members are told. Beyond it, 429. Messages are \
         not meant.",
    ),
    reloadable(key(
        "builtin.status",
        Field::Audience(|c| &mut c.builtin.status),
        "anyone",
        "Who may call `/status`. `anyone` is everybody whom the hub lets in, `off` nobody. What anonymous peers may do on \
         a hub without tokens is everything.",
    )),
    reloadable(key(
        "builtin.services",
        Field::Audience(|c| &mut c.builtin.services),
        "anyone",
        "Who may call `/services`. Each sees the services that it may call.",
    )),
    reloadable(key(
        "builtin.clients",
        Field::Audience(|c| &mut c.builtin.clients),
        "admin",
        "Who may list clients and see their details at `/clients`. Everybody sees its own.",
    )),
    reloadable(key(
        "builtin.kick",
        Field::Audience(|c| &mut c.builtin.kick),
        "admin",
        "Who may end the sessions of clients, `DELETE /clients`.",
    )),
    reloadable(key(
        "builtin.message",
        Field::Audience(|c| &mut c.builtin.message),
        "anyone",
        "Who may call `/message`. To whom a peer may then send, its grant `message` says.",
    )),
    reloadable(key(
        "inspect.calls",
        Field::Count(|c| &mut c.inspect.calls, 0..=100_000),
        "200",
        "Calls that the inspector remembers. 0 switches it off.",
    )),
    reloadable(key(
        "inspect.bytes",
        Field::Bytes(|c| &mut c.inspect.bytes, 0..=GIB),
        "8MiB",
        "Memory for them, headers and kept bodies; the oldest make room.",
    )),
    reloadable(key(
        "inspect.body_bytes",
        Field::Bytes(|c| &mut c.inspect.body_bytes, 0..=MIB),
        "64KiB",
        "Longest request body that is kept, for a replay. Bodies are never shown.",
    )),
    reloadable(key(
        "inspect.linger",
        Field::Time(|c| &mut c.inspect.linger, SECOND..=DAY),
        "10m",
        "How long the calls of a path are recorded after somebody looked at it.",
    )),
    reloadable(key(
        "inspect.services",
        Field::Services(|c| &mut c.inspect.services),
        "",
        "Services whose calls are recorded without anybody looking.",
    )),
    reloadable(key(
        "inspect.redact",
        Field::HeaderNames(|c| &mut c.inspect.redact),
        "",
        "Headers whose values the inspector hides, besides those whose names tell of credentials: authorization, \
         cookies, tokens, keys, sessions, signatures.",
    )),
    reloadable(key(
        "middleware.order",
        Field::Words(|c| &mut c.middleware.order),
        "block_list, rate_limit, size_limit, authentication, headers",
        "The steps that every call goes through, in this order. There are `request_id`, `access_log` and `from_to` too, and those \
         that an embedding program adds. A step without settings costs nothing. `headers` must be among them.",
    )),
    reloadable(key(
        "middleware.block",
        Field::Networks(|c| &mut c.middleware.block.0),
        "",
        "Addresses and ranges whose calls are refused with 403.",
    )),
    reloadable(key(
        "middleware.request_bytes",
        Field::BytesOrNone(|c| &mut c.middleware.request_bytes),
        "none",
        "Size of a request's body, over HTTP and the protocol; beyond it the call ends with 413.",
    )),
    reloadable(key(
        "middleware.response_bytes",
        Field::BytesOrNone(|c| &mut c.middleware.response_bytes),
        "none",
        "Size of a response's body; beyond it the call ends with 502, or its body breaks off.",
    )),
    reloadable(key(
        "authentication.required",
        Field::Services(|c| &mut c.authentication.required),
        "",
        "Paths that only callers with a token may use, whatever their providers say.",
    )),
    reloadable(key(
        "headers.request.block",
        Field::HeaderRules(|c| &mut c.headers.request.block),
        "",
        "Request headers that never reach a provider. `x-internal-*` is every name that begins so.",
    )),
    reloadable(key(
        "headers.request.allow",
        Field::HeaderRules(|c| &mut c.headers.request.allow),
        "",
        "If not empty, only these request headers reach providers, and those that the hub sets itself.",
    )),
    reloadable(key(
        "headers.request.pass",
        Field::HeaderRules(|c| &mut c.headers.request.pass),
        "",
        "Request headers that reach providers although they are kept back by default, such as `cookie`, \
         `authorization` or `user-agent`. The hub's own credential never does.",
    )),
    reloadable(key(
        "headers.response.block",
        Field::HeaderRules(|c| &mut c.headers.response.block),
        "",
        "Response headers that never reach a caller.",
    )),
    reloadable(key(
        "headers.response.keep",
        Field::HeaderRules(|c| &mut c.headers.response.keep),
        "",
        "If not empty, only these response headers reach callers, and those that say what the body is.",
    )),
    reloadable(key(
        "rate.client",
        Field::RateOrNone(|c| &mut c.rate.client),
        "none",
        "Calls of each client: of each token's name, and of each session or connection without a token. Beyond it the \
         answer is 429 and says when to come back.",
    )),
    reloadable(key(
        "rate.address",
        Field::RateOrNone(|c| &mut c.rate.address),
        "none",
        "Calls of each address; of IPv6 each network of 64 bits.",
    )),
    reloadable(key(
        "rate.service",
        Field::RateOrNone(|c| &mut c.rate.service),
        "none",
        "Calls of each service, whoever calls.",
    )),
    reloadable(key(
        "rate.throttle",
        Field::RateOrNone(|c| &mut c.rate.throttle),
        "none",
        "Calls of each address in a window of time that begins with the first of them (`300/m`; a burst has no \
         meaning). Whoever asks for more than four times as many is blocked.",
    )),
    reloadable(key(
        "rate.block_for",
        Field::Time(|c| &mut c.rate.block_for, SECOND..=7 * DAY),
        "1h",
        "How long `rate.throttle` blocks an address, with 403.",
    )),
    reloadable(key(
        "rate.exempt",
        Field::Networks(|c| &mut c.rate.exempt.0),
        "127.0.0.0/8, ::1, unix",
        "Peers that `rate.address` and `rate.throttle` are not for: a proxy on this machine speaks for many.",
    )),
    reloadable(key(
        "cors.methods",
        Field::Words(|c| &mut c.cors.methods),
        "GET, HEAD, POST, PUT, PATCH, DELETE, OPTIONS",
        "Methods that web pages of allowed origins may use.",
    )),
    reloadable(key(
        "cors.headers",
        Field::Words(|c| &mut c.cors.headers),
        "*",
        "Request headers that they may set, `*` for any.",
    )),
    reloadable(key(
        "cors.expose",
        Field::Words(|c| &mut c.cors.expose),
        "*",
        "Response headers that they may read, `*` for any.",
    )),
    reloadable(key(
        "cors.credentials",
        Field::Flag(|c| &mut c.cors.credentials),
        "false",
        "Whether their requests may carry cookies and other credentials of the browser.",
    )),
    reloadable(key(
        "cors.max_age",
        Field::Time(|c| &mut c.cors.max_age, 0..=DAY),
        "10m",
        "How long a browser may remember what it was allowed.",
    )),
    reloadable(key(
        "compression.enabled",
        Field::Flag(|c| &mut c.compression.enabled),
        "false",
        "Compress answers over HTTP with gzip for clients that accept it. Costs memory and time per answer; do not \
         compress what mixes secrets with what a stranger can choose.",
    )),
    reloadable(key(
        "compression.min_bytes",
        Field::Bytes(|c| &mut c.compression.min_bytes, 0..=GIB),
        "1KiB",
        "Answers whose length is known and below this are sent as they are.",
    )),
    reloadable(key(
        "compression.types",
        Field::Words(|c| &mut c.compression.types),
        "text/*, application/json, application/javascript, application/xml, application/problem+json, image/svg+xml",
        "Media types that are compressed; `text/*` is all that begin so.",
    )),
    key(
        "debug.echo",
        Field::Flag(|c| &mut c.debug.echo),
        "false",
        "Serve a WebSocket echo at `/debug/echo`, for measuring and for test suites.",
    ),
    key(
        "log.format",
        Field::Format(|c| &mut c.log.format),
        "console",
        "Log lines on standard error for people, or one JSON object each.",
    ),
    reloadable(key(
        "log.level",
        Field::Levels(|c| &mut c.log.level),
        "info",
        "`off`, `error`, `warn`, `info`, `debug` or `trace`; by target too: `info,whub_server=debug`.",
    )),
];

/// The keys of one `[[services]]` table.
pub(crate) static SERVICE_KEYS: &[Key<ServiceDraft>] = &[
    unset(
        "pattern",
        Field::Pattern(|s| &mut s.pattern),
        "The services that it is for: those that the pattern covers and no narrower one does. Required.",
    ),
    unset("choose", Field::Choose(|s| &mut s.section.choose), CHOOSE),
    unset("queue", Field::Count(|s| &mut s.section.queue, 0..=QUEUE_MAX), QUEUE),
    unset("queue_wait", Field::Time(|s| &mut s.section.queue_wait, 1..=HOUR), QUEUE_WAIT),
    unset("call_timeout", Field::TimeOrUnset(|s| &mut s.section.call_timeout, 1..=DAY), CALL_TIMEOUT),
    unset("access", Field::ServiceAccess(|s| &mut s.section.access), ACCESS),
    unset("clients", Field::Words(|s| &mut s.section.clients), CLIENTS),
    unset(
        "rate",
        Field::RateOrNone(|s| &mut s.rules.rate),
        "Calls of each service, whoever calls; `rate.service` holds besides.",
    ),
    unset(
        "rate_client",
        Field::RateOrNone(|s| &mut s.rules.rate_client),
        "Calls of each client; `rate.client` holds besides.",
    ),
    unset(
        "rate_address",
        Field::RateOrNone(|s| &mut s.rules.rate_address),
        "Calls of each address; `rate.address` holds besides.",
    ),
    unset(
        "request_bytes",
        Field::BytesOrNone(|s| &mut s.rules.request_bytes),
        "Size of a request's body, instead of `middleware.request_bytes`.",
    ),
    unset(
        "response_bytes",
        Field::BytesOrNone(|s| &mut s.rules.response_bytes),
        "Size of a response's body, instead of `middleware.response_bytes`.",
    ),
    unset(
        "request_block",
        Field::HeaderRules(|s| &mut s.rules.request.block),
        "Request headers that never reach a provider, beside `headers.request.block`.",
    ),
    unset(
        "request_allow",
        Field::HeaderRules(|s| &mut s.rules.request.allow),
        "If not empty, only these request headers reach providers, instead of `headers.request.allow`.",
    ),
    unset(
        "request_pass",
        Field::HeaderRules(|s| &mut s.rules.request.pass),
        "Request headers that reach providers although they are kept back, beside `headers.request.pass`.",
    ),
    unset(
        "response_block",
        Field::HeaderRules(|s| &mut s.rules.response.block),
        "Response headers that never reach a caller, beside `headers.response.block`.",
    ),
    unset(
        "response_keep",
        Field::HeaderRules(|s| &mut s.rules.response.keep),
        "If not empty, only these response headers reach callers, instead of `headers.response.keep`.",
    ),
];

/// Whether a key of `[[services]]` begins with what `service_defaults` says.
pub(crate) fn is_service_default(name: &str) -> bool {
    KEYS.iter().any(|key| key.name.strip_prefix("service_defaults.") == Some(name))
}

/// The keys of one `[[tokens]]` table.
pub(crate) static TOKEN_KEYS: &[Key<TokenEntry>] = &[
    unset("name", Field::Text(|t| &mut t.name), "Name for logs and listings; required and unique."),
    unset(
        "secret",
        Field::Secret(|t| &mut t.secret),
        "What the peer presents; exactly one of this, `secret_file` and `secret_env` is set.",
    ),
    unset("secret_file", Field::Path(|t| &mut t.secret_file), "File whose first line is the secret."),
    unset("secret_env", Field::Text(|t| &mut t.secret_env), "Environment variable that holds the secret."),
    key("provide", Field::Services(|t| &mut t.grant.provide), "", "Services the bearer may provide."),
    key("call", Field::Services(|t| &mut t.grant.call), "", "Services the bearer may call."),
    key("publish", Field::Filters(|t| &mut t.grant.publish), "", "Channels the bearer may publish to."),
    key("subscribe", Field::Filters(|t| &mut t.grant.subscribe), "", "Channels the bearer may subscribe to."),
    key("pair", Field::Filters(|t| &mut t.grant.pair), "", "Pairs and rooms the bearer may join."),
    key(
        "message",
        Field::Filters(|t| &mut t.grant.message),
        "",
        "To whom the bearer may send messages: users, groups (`@ops`), `#` for everybody at once.",
    ),
    key(
        "groups",
        Field::Groups(|t| &mut t.grant.groups),
        "",
        "Groups that the bearer belongs to; messages to `@ops` reach everybody in the group `ops`.",
    ),
    key("admin", Field::Flag(|t| &mut t.grant.admin), "false", "Whether the bearer may administer the node."),
];

/// A key that differs between two configurations.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Difference {
    /// Name of the key; `tokens`, `services` and `endpoints` for any change of their tables.
    pub key: &'static str,
    /// Whether the change applies without a restart.
    pub reloadable: bool,
}

/// What changed from `old` to `new`, in the order of the reference: for the report of a reload.
#[must_use]
pub fn differences(old: &Config, new: &Config) -> Vec<Difference> {
    let (mut before, mut after) = (old.clone(), new.clone());
    let mut found = Vec::new();
    for key in KEYS {
        if key.field.show(&mut before) != key.field.show(&mut after) {
            found.push(Difference { key: key.name, reloadable: key.reload });
        }
    }
    if old.tokens != new.tokens {
        found.push(Difference { key: "tokens", reloadable: true });
    }
    if old.services != new.services {
        found.push(Difference { key: "services", reloadable: true });
    }
    if old.endpoints != new.endpoints {
        found.push(Difference { key: "endpoints", reloadable: true });
    }
    found
}

/// `running` with what `fresh` says of keys that can change while a node runs. [`differences`] tells the others.
///
/// # Errors
/// When the mixture breaks a rule that `fresh` alone keeps: a node that listens publicly until its next start must not
/// lose its last token to a configuration that no longer does.
pub fn reloaded(running: &Config, fresh: &Config) -> Result<Config, Problems> {
    let (mut from, mut to) = (fresh.clone(), running.clone());
    for key in KEYS.iter().filter(|key| key.reload && !is_part(key.name)) {
        key.field.copy(&mut from, &mut to);
    }
    to.tokens.clone_from(&fresh.tokens);
    to.services.clone_from(&fresh.services);
    to.endpoints.clone_from(&fresh.endpoints);
    let problems = check::between_keys(&to, &Sources::new());
    if problems.is_empty() { Ok(to) } else { Err(Problems(problems)) }
}

/// Whether a key is a part of another, as the lists of `auth.anonymous` are.
fn is_part(name: &str) -> bool {
    KEYS.iter().any(|whole| name.strip_prefix(whole.name).is_some_and(|rest| rest.starts_with('.')))
}

/// The configuration in which nothing was said.
pub(crate) fn defaults() -> Config {
    let mut config = blank();
    for key in KEYS {
        let Some(default) = key.default else { continue };
        let set = key.field.set(&mut config, &Value::Loose(default.to_owned()));
        set.expect("the table's defaults fit their keys, which the tests prove");
    }
    config
}

fn anonymous(config: &mut Config) -> &mut Grant {
    config.auth.anonymous.get_or_insert_default()
}

/// A place to put the defaults into.
fn blank() -> Config {
    Config {
        listen: Vec::new(),
        node: Node { name: None, roles: Vec::new() },
        relay: Relay { listen: Vec::new(), scope: None },
        gateway: Gateway {
            file: None,
            handshake: Duration::ZERO,
            bare_ack: false,
            routes: 0,
            stall: Duration::ZERO,
        },
        endpoints: Vec::new(),
        reload: Reload { watch: false },
        data: Data { dir: None },
        tls: Tls { cert: None, key: None, self_signed: false },
        auth: Auth { anonymous: None },
        tokens: Vec::new(),
        service_defaults: ServiceSection {
            choose: Choose::LeastLoaded,
            queue: 0,
            queue_wait: Duration::ZERO,
            call_timeout: None,
            access: ServiceAccess::Providers,
            clients: Vec::new(),
        },
        services: Vec::new(),
        http: Http {
            allowed_origins: Vec::new(),
            allowed_hosts: Vec::new(),
            trusted_proxies: Networks::default(),
        },
        proxy_protocol: ProxyProtocol { from: Networks::default() },
        limits: Limits {
            connections_per_address: None,
            young_connections: 0,
            first_request: Duration::ZERO,
            header_bytes: 0,
            header_fields: 0,
            body_bytes: None,
            message_bytes: 0,
            frame_bytes: 0,
            mailbox_bytes: 0,
            calls_inflight: 0,
            subscriptions: 0,
            services: 0,
            pairs: 0,
            pair_wait: Duration::ZERO,
            rooms: 0,
            room_members: 0,
            room_info_bytes: 0,
            node_rooms: 0,
            pair_grace: Duration::ZERO,
            pair_seats: 0,
            call_timeout: Duration::ZERO,
            ping: Duration::ZERO,
            drain: Duration::ZERO,
        },
        websocket: WebSocket { deflate: false },
        channels: Channels { slow: SlowPolicy::Drop },
        rooms: Rooms { empty_ttl: Duration::ZERO, changes: None },
        builtin: Builtin {
            status: Audience::Nobody,
            services: Audience::Nobody,
            clients: Audience::Nobody,
            kick: Audience::Nobody,
            message: Audience::Nobody,
        },
        inspect: Inspect {
            calls: 0,
            bytes: 0,
            body_bytes: 0,
            linger: Duration::ZERO,
            services: Vec::new(),
            redact: Vec::new(),
        },
        middleware: Middleware::default(),
        authentication: Authentication::default(),
        headers: Headers::default(),
        rate: RateSection::default(),
        cors: Cors::default(),
        compression: Compression::default(),
        debug: Debugging { echo: false },
        log: Log { format: LogFormat::Console, level: String::new() },
    }
}
