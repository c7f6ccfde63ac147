//! `/clients`: who is connected, and ending their sessions.

use std::sync::{Arc, OnceLock, atomic::Ordering::Relaxed};

use serde::Deserialize;
use serde_json::{Value, json};
use whub_core::{Client, Fault, Letter};
use whub_proto::Code;

use crate::local::{LocalAnswer, LocalCaller, LocalRequest, LocalService};
use crate::modules::builtin::routing::{reading, wrong_method};
use crate::modules::builtin::rule::admit;
use crate::modules::{Module, ModuleError, Setup};
use crate::node::Node;

/// Knows the clients of the node, and provides `/clients`. A client is a session of the whub protocol; callers over
/// HTTP come and go with their requests, and halves of pairs have no name.
#[derive(Debug, Default)]
pub struct ClientManager {
    node: OnceLock<Arc<Node>>,
}

/// Longest body of a request here, bytes.
const BODY_BYTES: usize = 256 * 1024;

const LIST: &str = "/clients";
const ONE: &str = "/clients/:id";

impl ClientManager {
    /// Everybody, in the order in which they came.
    #[must_use]
    pub fn list(&self) -> Vec<Arc<Client>> {
        self.node.get().map(|node| node.hub.clients.list()).unwrap_or_default()
    }

    /// The clients that an address stands for: a client's name, a user's, or a group (`@ops`).
    #[must_use]
    pub fn find(&self, address: &str) -> Vec<Arc<Client>> {
        self.node.get().map(|node| node.hub.clients.find(address)).unwrap_or_default()
    }

    /// Ends the sessions that an address stands for and returns how many there were. They are told that they need not
    /// come back, which does not keep them from it: that is the token's affair.
    pub fn kick(&self, address: &str) -> usize {
        self.node.get().map_or(0, |node| end_sessions(node, address))
    }
}

impl Module for ClientManager {
    fn name(&self) -> &'static str {
        "clients"
    }

    fn init(&mut self, setup: &mut Setup<'_>) -> Result<(), ModuleError> {
        let node = Arc::clone(setup.node());
        self.node = OnceLock::from(Arc::clone(&node));
        setup.service(routed(LIST, &node, all)?);
        setup.service(routed(ONE, &node, one)?);
        setup.service(reading("/clients/:id/conn", &node, connection)?);
        Ok(())
    }
}

fn routed<F, Fut>(pattern: &str, node: &Arc<Node>, handler: F) -> Result<LocalService, ModuleError>
where
    F: Fn(Arc<Node>, LocalRequest) -> Fut + Send + Sync + 'static,
    Fut: Future<Output = Result<LocalAnswer, Fault>> + Send + 'static,
{
    let node = Arc::clone(node);
    Ok(LocalService::new(pattern, move |request| handler(Arc::clone(&node), request))?)
}

/// `GET /clients`, `DELETE /clients` with `{"ids":["c-1","ops"]}`.
async fn all(node: Arc<Node>, mut request: LocalRequest) -> Result<LocalAnswer, Fault> {
    match request.method.as_str() {
        "" | "GET" | "HEAD" => {
            admit(&node, node.config().builtin.clients, &request.caller)?;
            let clients: Vec<Value> =
                node.hub.clients.list().iter().map(|client| details(&node, client)).collect();
            Ok(LocalAnswer::json(&json!({ "clients": clients })).with_header("cache-control", "no-store"))
        }
        "DELETE" => {
            admit(&node, node.config().builtin.kick, &request.caller)?;
            let Wanted { ids } = request.json(BODY_BYTES).await?;
            Ok(kick(&node, &ids, &request.caller))
        }
        _ => Ok(wrong_method(LIST, "GET, HEAD, DELETE")),
    }
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Wanted {
    ids: Vec<String>,
}

/// `GET /clients/:id`, `DELETE /clients/:id`; the id may be a user or a group too.
async fn one(node: Arc<Node>, request: LocalRequest) -> Result<LocalAnswer, Fault> {
    let id = request.param("id").unwrap_or_default();
    match request.method.as_str() {
        "" | "GET" | "HEAD" => {
            let found = visible(&node, id, &request.caller)?;
            let clients: Vec<Value> = found.iter().map(|client| details(&node, client)).collect();
            let answer = if let [only] = &clients[..] { only.clone() } else { json!({ "clients": clients }) };
            Ok(LocalAnswer::json(&answer).with_header("cache-control", "no-store"))
        }
        "DELETE" => {
            admit(&node, node.config().builtin.kick, &request.caller)?;
            if node.hub.clients.find(id).is_empty() {
                return Err(not_found(id));
            }
            Ok(kick(&node, &[id.to_owned()], &request.caller))
        }
        _ => Ok(wrong_method(ONE, "GET, HEAD, DELETE")),
    }
}

/// `GET /clients/:id/conn`: each connection as a text of JSON, as clients of the seed system read it.
fn connection(node: &Arc<Node>, request: &LocalRequest) -> Result<Value, Fault> {
    let id = request.param("id").unwrap_or_default();
    let found = visible(node, id, &request.caller)?;
    let shown = |client: &Arc<Client>| json!({ "type": "WS", "address": &*client.address }).to_string();
    Ok(found.iter().map(shown).collect())
}

/// The clients that an address stands for, if the caller may see them. Who may not learns nothing, not even whether
/// somebody is there.
fn visible(node: &Node, id: &str, caller: &LocalCaller) -> Result<Vec<Arc<Client>>, Fault> {
    let found = node.hub.clients.find(id);
    let is_own = !found.is_empty() && found.iter().all(|client| is(client, caller));
    if !is_own {
        admit(node, node.config().builtin.clients, caller)?;
    }
    if found.is_empty() { Err(not_found(id)) } else { Ok(found) }
}

fn kick(node: &Node, ids: &[String], caller: &LocalCaller) -> LocalAnswer {
    let (mut closed, mut missing) = (0, Vec::new());
    for id in ids {
        match end_sessions(node, id) {
            0 => missing.push(id),
            count => closed += count,
        }
    }
    tracing::info!(closed, by = caller.user, client = caller.client, "sessions were ended");
    LocalAnswer::json(&json!({ "closed": closed, "not_found": missing }))
}

fn end_sessions(node: &Node, address: &str) -> usize {
    let clients = node.hub.clients.find(address);
    for client in &clients {
        let reason = "an administrator of the hub has ended this session";
        // A session that has just ended needs no telling.
        let _ = client.mailbox.post(Letter::Kick(Fault::fatal(Code::Forbidden, "session.kicked", reason)));
    }
    clients.len()
}

/// Whether the caller is this client, on this connection or another.
fn is(client: &Client, caller: &LocalCaller) -> bool {
    let is_user = !caller.user.is_empty() && client.identity.user.as_deref() == Some(caller.user.as_str());
    is_user || *client.client == *caller.client
}

fn details(node: &Node, client: &Client) -> Value {
    json!({
        "id": &*client.client,
        "user": client.identity.user.as_deref(),
        "name": &*client.name,
        "groups": client.identity.grants.groups,
        "address": &*client.address,
        "transport": client.transport(),
        "node": &*node.hub.node,
        "since_ms": client.since_ms,
        "subscriptions": client.tally.subscriptions.load(Relaxed),
        "services": client.tally.services.load(Relaxed),
    })
}

fn not_found(id: &str) -> Fault {
    Fault::fatal(Code::NotFound, "client.not_found", format!("nobody is connected as {id}"))
}
