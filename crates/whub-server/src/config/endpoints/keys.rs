//! The keys of one `[[endpoints]]` table, and a table as it is written.

use std::path::PathBuf;
use std::time::Duration;

use super::{Balance, Endpoint, EndpointAccess, EndpointUrl, Health, Process, Target, WhenDown};
use crate::config::{
    Secret,
    field::Field,
    keys::{DAY, GIB, HOUR, KIB, Key, key, unset},
    value::Value,
};

/// An endpoint as it is written, before it is known what it is.
#[derive(Clone, Debug)]
pub(crate) struct EndpointDraft {
    pub(crate) name: Option<String>,
    pub(crate) alias: Option<String>,
    pub(crate) url: Option<EndpointUrl>,
    pub(crate) upstreams: Vec<EndpointUrl>,
    pub(crate) service: Option<String>,
    pub(crate) channel: Option<String>,
    pub(crate) pair: Option<String>,
    pub(crate) balance: Balance,
    pub(crate) headers: Vec<(String, String)>,
    pub(crate) authorization: Option<Secret>,
    pub(crate) authorization_file: Option<PathBuf>,
    pub(crate) authorization_env: Option<String>,
    pub(crate) protocols: Vec<String>,
    pub(crate) tls_roots: Option<PathBuf>,
    pub(crate) connect_timeout: Duration,
    pub(crate) health: Health,
    pub(crate) health_interval: Duration,
    pub(crate) backoff_max: Duration,
    pub(crate) connections: Option<usize>,
    pub(crate) access: EndpointAccess,
    pub(crate) clients: Vec<String>,
    pub(crate) when_down: WhenDown,
    pub(crate) window_bytes: usize,
    pub(crate) command: Option<String>,
    pub(crate) command_folder: Option<PathBuf>,
    pub(crate) command_restarts: usize,
    pub(crate) command_stop: Duration,
}

/// The keys, in the order of the reference.
pub(crate) static ENDPOINT_KEYS: &[Key<EndpointDraft>] = &[
    unset(
        "name",
        Field::Text(|e| &mut e.name),
        "What clients call it: `/gateway/<name>`, `ROUTENAME=<name>`; required and unique, upper and lower case being \
         the same. At most 200 bytes, no control characters, none of `{},:=\"/?#%\\`, none of `SYN`, `SYN/ACK`, `ACK`.",
    ),
    unset("alias", Field::Text(|e| &mut e.alias), "A second name for it."),
    unset(
        "url",
        Field::Upstream(|e| &mut e.url),
        "The WebSocket server behind it: `ws://HOST:PORT/PATH?QUERY`, `wss://…`, or `http`, `https`, which mean the \
         same. Exactly one of `url`, `upstreams`, `service`, `channel` and `pair` is set. Not this hub itself.",
    ),
    key(
        "upstreams",
        Field::Upstreams(|e| &mut e.upstreams),
        "",
        "Several such servers, of which each connection goes to one.",
    ),
    unset(
        "service",
        Field::Text(|e| &mut e.service),
        "A service instead, whose provider dialled in: its path, such as `/chat`.",
    ),
    unset(
        "channel",
        Field::Text(|e| &mut e.channel),
        "A channel instead: what a client sends is published, what is published it receives.",
    ),
    unset("pair", Field::Text(|e| &mut e.pair), "A pair instead, of which each client is one half: its id."),
    key(
        "balance",
        Field::Balance(|e| &mut e.balance),
        "least_connections",
        "Which of the `upstreams` that are up the next connection goes to: the one with the fewest connections, one \
         after the other, any, or the first, for which the others stand in.",
    ),
    key(
        "headers",
        Field::HeaderFields(|e| &mut e.headers),
        "",
        "Header fields of every request to an upstream: a table `{ \"X-Tenant\" = \"a\" }` or a list of \
         `\"Name: value\"`. Those of the handshake and of the connection are the hub's.",
    ),
    unset(
        "authorization",
        Field::Credential(|e| &mut e.authorization),
        "Value of `Authorization` of every request to an upstream, such as `Basic …`; without a scheme, a bearer's. At most one of this, \
         `authorization_file` and `authorization_env` is set.",
    ),
    unset(
        "authorization_file",
        Field::Path(|e| &mut e.authorization_file),
        "File whose first line is that value.",
    ),
    unset(
        "authorization_env",
        Field::Text(|e| &mut e.authorization_env),
        "Environment variable that holds it.",
    ),
    key(
        "protocols",
        Field::Subprotocols(|e| &mut e.protocols),
        "",
        "Subprotocols that the hub offers for connections of its own. If not empty, a client of `/gateway/<name>` can \
         agree on no other.",
    ),
    unset(
        "tls_roots",
        Field::Path(|e| &mut e.tls_roots),
        "PEM file of the authorities that are believed, or of the endpoint's own certificate, instead of the system's; read again with the configuration.",
    ),
    key(
        "connect_timeout",
        Field::Time(|e| &mut e.connect_timeout, 10..=HOUR),
        "5s",
        "From the beginning to the end of a handshake with an upstream.",
    ),
    key(
        "health",
        Field::Health(|e| &mut e.health),
        "connect",
        "How the health of upstreams is found out: a connection (with TLS where the URL says so), a whole WebSocket \
         handshake, `GET` of a path that is answered with a status below 400 (`\"http:/health\"`), or nothing but the \
         connections of clients.",
    ),
    key("health_interval", Field::Time(|e| &mut e.health_interval, 100..=DAY), "5s", "How often."),
    key(
        "backoff_max",
        Field::Time(|e| &mut e.backoff_max, 10..=HOUR),
        "10s",
        "Longest pause between attempts to reach an upstream that is down.",
    ),
    key(
        "connections",
        Field::CountOrNone(|e| &mut e.connections),
        "none",
        "WebSockets to the endpoint at a time, all upstreams together; requests to its HTTP side are not counted.",
    ),
    key(
        "access",
        Field::EndpointAccess(|e| &mut e.access),
        "public",
        "Who may use it of those whose token grants `call` on `/gateway/<name>`: all, whoever showed a token, or the \
         tokens in `clients`.",
    ),
    key("clients", Field::Words(|e| &mut e.clients), "", "With `access = \"named\"`: names of tokens."),
    key(
        "when_down",
        Field::WhenDown(|e| &mut e.when_down),
        "refuse",
        "What becomes of messages of `/gateway` while the endpoint is down: the client is told of each, or they wait \
         so long, as far as `window` goes (`\"hold 5s\"`).",
    ),
    key(
        "window",
        Field::Bytes(|e| &mut e.window_bytes, KIB..=GIB),
        "1MiB",
        "Messages of one client that may wait for the endpoint.",
    ),
    unset(
        "command",
        Field::Text(|e| &mut e.command),
        "Command for `sh -c` that serves the endpoint. The hub starts it, keeps its output in the log, starts it again \
         when it ends or has not answered for two `health_interval`s (a minute, if not since its start), and ends it with \
         itself.",
    ),
    unset("command_folder", Field::Path(|e| &mut e.command_folder), "Folder in which it runs."),
    key(
        "command_restarts",
        Field::Count(|e| &mut e.command_restarts, 0..=10_000),
        "10",
        "Restarts within ten minutes, beyond which the hub gives it up until the configuration is read again.",
    ),
    key(
        "command_stop",
        Field::Time(|e| &mut e.command_stop, 0..=HOUR),
        "5s",
        "Time that it has to end after SIGTERM, before SIGKILL.",
    ),
];

impl Default for EndpointDraft {
    /// An endpoint of which nothing was said.
    fn default() -> Self {
        let mut draft = blank();
        for key in ENDPOINT_KEYS {
            let Some(default) = key.default else { continue };
            let set = key.field.set(&mut draft, &Value::Loose(default.to_owned()));
            set.expect("the table's defaults fit their keys, which the tests prove");
        }
        draft
    }
}

impl From<&Endpoint> for EndpointDraft {
    fn from(endpoint: &Endpoint) -> Self {
        let mut draft = Self {
            name: Some(endpoint.name.clone()),
            alias: endpoint.alias.clone(),
            balance: endpoint.balance,
            headers: endpoint.headers.clone(),
            authorization: endpoint.authorization.clone(),
            protocols: endpoint.protocols.clone(),
            tls_roots: endpoint.tls_roots.clone(),
            connect_timeout: endpoint.connect_timeout,
            health: endpoint.health.clone(),
            health_interval: endpoint.health_interval,
            backoff_max: endpoint.backoff_max,
            connections: endpoint.connections,
            access: endpoint.access,
            clients: endpoint.clients.clone(),
            when_down: endpoint.when_down,
            window_bytes: endpoint.window_bytes,
            ..Self::default()
        };
        match &endpoint.target {
            Target::Upstreams(urls) => match urls.as_slice() {
                [url] => draft.url = Some(url.clone()),
                several => draft.upstreams = several.to_vec(),
            },
            Target::Service(path) => draft.service = Some(path.clone()),
            Target::Channel(name) => draft.channel = Some(name.clone()),
            Target::Pair(id) => draft.pair = Some(id.clone()),
        }
        if let Some(Process { command, folder, restarts_max, stop_timeout }) = &endpoint.process {
            draft.command = Some(command.clone());
            draft.command_folder = folder.clone();
            draft.command_restarts = *restarts_max;
            draft.command_stop = *stop_timeout;
        }
        draft
    }
}

/// A place to put the defaults into.
fn blank() -> EndpointDraft {
    EndpointDraft {
        name: None,
        alias: None,
        url: None,
        upstreams: Vec::new(),
        service: None,
        channel: None,
        pair: None,
        balance: Balance::LeastConnections,
        headers: Vec::new(),
        authorization: None,
        authorization_file: None,
        authorization_env: None,
        protocols: Vec::new(),
        tls_roots: None,
        connect_timeout: Duration::ZERO,
        health: Health::Off,
        health_interval: Duration::ZERO,
        backoff_max: Duration::ZERO,
        connections: None,
        access: EndpointAccess::Public,
        clients: Vec::new(),
        when_down: WhenDown::Refuse,
        window_bytes: 0,
        command: None,
        command_folder: None,
        command_restarts: 0,
        command_stop: Duration::ZERO,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_endpoint_that_a_program_makes_has_the_defaults_of_the_keys() {
        let made = Endpoint::new("a", Target::Pair("p".to_owned()));
        let (mut made, mut silent) = (EndpointDraft::from(&made), EndpointDraft::default());
        for key in ENDPOINT_KEYS.iter().filter(|key| !matches!(key.name, "name" | "pair")) {
            assert_eq!(key.field.show(&mut made), key.field.show(&mut silent), "{}", key.name);
        }
    }
}
