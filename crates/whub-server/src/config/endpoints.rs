//! `[[endpoints]]`, and the `config.ini` of `--gateway`: the WebSocket servers that the gateway reaches.
//!
//! What an endpoint is stands here; how it is written is in `keys` and `spelling`, what it may be called in `name`, what
//! goes together in `table`, and the file of SocketMaster in `ini_file`.

pub(crate) mod ini_file;
pub(crate) mod keys;
mod name;
pub(crate) mod own;
pub(crate) mod spelling;
pub(crate) mod table;

use std::fmt;
use std::path::PathBuf;
use std::str::FromStr;
use std::time::Duration;

use whub_transport::{ServerUrl, UrlError};

use super::{Config, Secret};

/// Section `gateway`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Gateway {
    /// A `config.ini` of SocketMaster, whose endpoints join those of `[[endpoints]]`.
    pub file: Option<PathBuf>,
    /// How long the handshake on `/gateway` may take.
    pub handshake: Duration,
    /// Answer steps of the handshake by the bare word `ACK`, as some clients take the README of SocketMaster.
    pub bare_ack: bool,
    /// Routes that one client of `/gateway` may have open.
    pub routes: usize,
    /// How long a client of `/gateway` is not read from because one of its routes is full, before messages for that route
    /// are refused instead.
    pub stall: Duration,
}

/// One endpoint.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Endpoint {
    /// What clients call it, in the spelling of the configuration; upper and lower case are the same.
    pub name: String,
    /// A second name: a `config.ini` has one in brackets and one behind `Name`.
    pub alias: Option<String>,
    /// What it is.
    pub target: Target,
    /// Which of several upstreams the next connection goes to.
    pub balance: Balance,
    /// Header fields of every request to an upstream, in lower case.
    pub headers: Vec<(String, String)>,
    /// Value of `Authorization` of every request to an upstream; without a scheme, a bearer's.
    pub authorization: Option<Secret>,
    /// Subprotocols that the hub offers for connections of its own (`/gateway`, the whub protocol). If not empty, a
    /// client of `/gateway/<name>` can agree on no other.
    pub protocols: Vec<String>,
    /// PEM file of the authorities that are believed, or of the endpoint's own certificate, instead of the system's.
    pub tls_roots: Option<PathBuf>,
    /// From the beginning to the end of a handshake with an upstream.
    pub connect_timeout: Duration,
    /// How the health of upstreams is found out.
    pub health: Health,
    /// How often.
    pub health_interval: Duration,
    /// Longest pause between attempts to reach an upstream that is down.
    pub backoff_max: Duration,
    /// Connections to the endpoint at once; `None` is no bound.
    pub connections: Option<usize>,
    /// Who may use it.
    pub access: EndpointAccess,
    /// With [`EndpointAccess::Named`]: the names of tokens.
    pub clients: Vec<String>,
    /// What becomes of messages of `/gateway` while the endpoint is down.
    pub when_down: WhenDown,
    /// Messages of one client that wait for the endpoint, in bytes: the route's flow window.
    pub window_bytes: usize,
    /// The process that serves it.
    pub process: Option<Process>,
}

/// What an endpoint is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Target {
    /// WebSocket servers that the hub dials; never empty.
    Upstreams(Vec<EndpointUrl>),
    /// A service, whose provider dialled in: a path.
    Service(String),
    /// A channel: what a client says is published, what is published it hears.
    Channel(String),
    /// A pair: a client is one half of it.
    Pair(String),
}

/// Which upstream the next connection goes to. Those that are down are left out by each.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Balance {
    /// The one with the fewest connections.
    LeastConnections,
    /// By turns.
    RoundRobin,
    /// By chance.
    Random,
    /// The first of the list; the others stand in for it.
    First,
}

/// How the health of an upstream is found out.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Health {
    /// By nothing but the connections of clients.
    Off,
    /// A TCP connection, and TLS where the URL says so.
    Connect,
    /// A WebSocket handshake, closed at once.
    WebSocket,
    /// `GET` of a path, answered with a status below 400.
    Http(String),
}

/// Who may use an endpoint, of those whose token grants `call` on `/gateway/<name>`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum EndpointAccess {
    /// All of them.
    Public,
    /// Whoever showed a token.
    Authenticated,
    /// Those named in `clients`.
    Named,
}

/// What becomes of messages while the endpoint is down.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum WhenDown {
    /// The client is told of each.
    Refuse,
    /// They wait, as far as `window_bytes` goes, at most so long; then the client is told.
    Hold(Duration),
}

/// A process that the hub runs and ends with itself.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Process {
    /// The command, for `sh -c`.
    pub command: String,
    /// Where it runs.
    pub folder: Option<PathBuf>,
    /// Restarts within ten minutes, beyond which the hub gives up until the configuration is read again.
    pub restarts_max: usize,
    /// How long it may take to end after SIGTERM, before SIGKILL.
    pub stop_timeout: Duration,
}

/// Where an upstream is: `ws`, `wss`, or the same as `http`, `https`.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct EndpointUrl {
    /// Host and port, and whether TLS.
    pub server: ServerUrl,
    /// The path, `/` where there is none.
    pub path: String,
    /// The query, without `?`.
    pub query: Option<String>,
}

impl FromStr for EndpointUrl {
    type Err = UrlError;

    fn from_str(text: &str) -> Result<Self, UrlError> {
        let text = text.trim();
        let Some((scheme, rest)) = text.split_once("://") else { return Err(UrlError::NoScheme) };
        if !matches!(scheme.to_ascii_lowercase().as_str(), "ws" | "wss" | "http" | "https") {
            return Err(UrlError::Scheme(scheme.to_owned()));
        }
        let (authority, target) = rest.split_at(rest.find(['/', '?', '#']).unwrap_or(rest.len()));
        // The rules of a hub's URL hold for all of it but the query.
        let (path, query) = match target.split_once('?') {
            Some((path, query)) => (path, Some(query.to_owned())),
            None => (target, None),
        };
        if query
            .as_ref()
            .is_some_and(|query| query.contains('#') || !query.bytes().all(|b| b.is_ascii_graphic()))
        {
            return Err(UrlError::Query);
        }
        let path = if path.is_empty() { "/" } else { path };
        let server: ServerUrl = format!("{scheme}://{authority}{path}").parse()?;
        // A hub without a path is at `/ws`, an endpoint at `/`.
        Ok(Self { server: server.with_path(path), path: path.to_owned(), query })
    }
}

impl fmt::Display for EndpointUrl {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        // A query may hold a secret of old.
        write!(f, "{}{}", self.server, if self.query.is_some() { "?…" } else { "" })
    }
}

impl Endpoint {
    /// An endpoint about which nothing else is said.
    #[must_use]
    pub fn new(name: &str, target: Target) -> Self {
        Self {
            name: name.to_owned(),
            alias: None,
            target,
            balance: Balance::LeastConnections,
            headers: Vec::new(),
            authorization: None,
            protocols: Vec::new(),
            tls_roots: None,
            connect_timeout: Duration::from_secs(5),
            health: Health::Connect,
            health_interval: Duration::from_secs(5),
            backoff_max: Duration::from_secs(10),
            connections: None,
            access: EndpointAccess::Public,
            clients: Vec::new(),
            when_down: WhenDown::Refuse,
            window_bytes: 1 << 20,
            process: None,
        }
    }

    /// Whether this is one of its names.
    #[must_use]
    pub fn is_called(&self, name: &str) -> bool {
        self.name.eq_ignore_ascii_case(name)
            || self.alias.as_deref().is_some_and(|alias| alias.eq_ignore_ascii_case(name))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_address_keeps_its_path_and_its_query() {
        let url: EndpointUrl = "ws://127.0.0.1:9001/a/b?room=1".parse().expect("a URL");
        assert_eq!(
            (url.path.as_str(), url.query.as_deref(), url.server.port()),
            ("/a/b", Some("room=1"), Some(9001))
        );
        let url: EndpointUrl = "wss://example.com".parse().expect("a URL");
        assert_eq!((url.path.as_str(), url.query.as_deref(), url.server.port()), ("/", None, Some(443)));
        assert_eq!(url.to_string(), "wss://example.com/");
        assert!("tcp://x:1".parse::<EndpointUrl>().is_err());
        assert!("ws://user@x:1/".parse::<EndpointUrl>().is_err());
        assert!("ws://x:1/?a#b".parse::<EndpointUrl>().is_err());
        assert!("ws://x:1/?a b".parse::<EndpointUrl>().is_err());
    }
}
