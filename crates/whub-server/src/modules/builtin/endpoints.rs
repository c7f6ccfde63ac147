//! `/gateway/<name>` over the protocol: a call with the method `WEBSOCKET` opens a WebSocket to an endpoint, whose messages
//! are `Data` both ways. Each such call has a flow window of its own, so that one slow endpoint holds up no other.

use std::sync::Arc;

use hyper::HeaderMap;
use hyper::header::{HeaderName, HeaderValue, SEC_WEBSOCKET_PROTOCOL};
use whub_core::Fault;
use whub_proto::Code;

use crate::config::Target;
use crate::connection::{Credential, Place};
use crate::gateway::{self, Asked, Outcome, Route, unknown};
use crate::local::{LocalAnswer, LocalRequest, LocalService};
use crate::modules::{Module, ModuleError, Setup};
use crate::node::Node;

/// Conversations under way at once. What bounds them before is what each client may have in flight.
const CONVERSATIONS: usize = 100_000;

/// Lets clients of the protocol use the endpoints of the gateway.
#[derive(Debug)]
pub(super) struct Endpoints;

impl Module for Endpoints {
    fn name(&self) -> &'static str {
        "endpoints"
    }

    fn init(&mut self, setup: &mut Setup<'_>) -> Result<(), ModuleError> {
        let node = Arc::downgrade(setup.node());
        let service = LocalService::new("/gateway/:name/*rest", move |request| {
            let node = node.upgrade();
            async move {
                let Some(node) = node else { return Err(Fault::draining()) };
                open(&node, request).await
            }
        })?;
        let service = service.concurrency(CONVERSATIONS).pass_headers(&["*"]);
        setup.service(service.description("the endpoints of the gateway; method WEBSOCKET"));
        Ok(())
    }
}

async fn open(node: &Arc<Node>, request: LocalRequest) -> Result<LocalAnswer, Fault> {
    if !request.method.eq_ignore_ascii_case("WEBSOCKET") {
        let reason =
            "over the protocol an endpoint is reached with the method WEBSOCKET; its HTTP side by HTTP";
        return Err(Fault::fatal(Code::BadRequest, "gateway.method", reason));
    }
    let name = request.param("name").unwrap_or_default();
    let identity = node.identity(&request.caller.user);
    let Some(route) = node.routes.find(name) else {
        identity.grants.may_reach(name)?;
        return Err(unknown(name));
    };
    route.admit(&identity)?;
    demand_upstreams(&route)?;
    let protocols = protocols(&route, &request)?;
    let place = Place::take(node, route.name(), Credential::User(request.caller.user.as_str().into()))?;
    let rest = if request.rest.is_empty() { String::new() } else { format!("/{}", request.rest) };
    let asked = Asked {
        rest: &rest,
        query: Some(request.query.as_str()).filter(|query| !query.is_empty()),
        headers: headers(&request),
        protocols,
        extensions: Vec::new(),
    };
    let opened = match gateway::open(&route, &asked).await? {
        Outcome::Opened(opened) => *opened,
        Outcome::Answered(answer) => {
            let status = answer.status().as_u16();
            return Ok(LocalAnswer::empty().with_status(status));
        }
    };
    let chosen = opened.headers.get(SEC_WEBSOCKET_PROTOCOL).and_then(|chosen| chosen.to_str().ok());
    let chosen = chosen.unwrap_or_default().to_owned();
    let body = request.body;
    let limit = node.hub.limits.message_bytes;
    node.hub.counters.gateway_opened.one();
    let patience = 2 * node.hub.limits.ping;
    Ok(LocalAnswer::accept(&chosen, move |writer| {
        gateway::bridge(place, opened, body, writer, limit, patience)
    }))
}

/// What is a service, a channel or a pair has verbs of its own in the protocol.
fn demand_upstreams(route: &Route) -> Result<(), Fault> {
    let instead = match &route.endpoint.target {
        Target::Upstreams(_) => return Ok(()),
        Target::Service(path) => format!("call {path}"),
        Target::Channel(name) => format!("subscribe to {name} and publish on it"),
        Target::Pair(name) => format!("join the pair {name}"),
    };
    let reason = format!("the endpoint {} is of the hub itself: {instead} instead", route.name());
    Err(Fault::fatal(Code::BadRequest, "gateway.target", reason))
}

/// What the endpoint is offered: what the caller names, as far as the endpoint speaks it, or else what that speaks.
fn protocols(route: &Route, request: &LocalRequest) -> Result<String, Fault> {
    let list = request.header("sec-websocket-protocol").unwrap_or_default();
    let offered: Vec<&str> = list.split(',').map(str::trim).filter(|name| !name.is_empty()).collect();
    if offered.is_empty() {
        return Ok(route.endpoint.protocols.join(", "));
    }
    Ok(gateway::offers(&route.endpoint, offered)?.join(", "))
}

/// What the chain let pass, but for what the handshake says itself.
fn headers(request: &LocalRequest) -> HeaderMap {
    let mut headers = HeaderMap::new();
    for (name, value) in &request.headers {
        let is_own =
            name.starts_with("sec-websocket-") || matches!(name.as_str(), "host" | "connection" | "upgrade");
        if let (false, Ok(name), Ok(value)) =
            (is_own, HeaderName::try_from(name), HeaderValue::from_str(value))
        {
            headers.append(name, value);
        }
    }
    headers
}
