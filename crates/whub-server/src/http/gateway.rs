//! `/gateway/<name>`, and what follows: one endpoint, for a client that knows nothing of the hub.
//!
//! Endpoints that the hub dials get the request as it came: a WebSocket is [passed on](crate::connection) byte for byte,
//! any other request by HTTP. Endpoints that are a service, a channel or a pair answer as these do.

use std::sync::Arc;

use hyper::body::Incoming;
use hyper::header::{HeaderName, HeaderValue, SEC_WEBSOCKET_EXTENSIONS, SEC_WEBSOCKET_PROTOCOL};
use hyper::http::request::Parts;
use hyper::{HeaderMap, Request, Response};
use whub_core::middleware::is_hop_by_hop;
use whub_core::{Fault, Identity};
use whub_proto::Code;
use whub_proto::names::{EndpointName, ServicePath};
use whub_ws::handshake::Upgrade;

use crate::config::{Config, Target};
use crate::connection::{self, Credential, Place, Visitor};
use crate::gateway::{self, Asked, Outcome, Route, segment, unknown};
use crate::http::body::HttpBody;
use crate::http::forwarded::{self, Way};
use crate::http::problem::Problem;
use crate::http::visit::Stay;
use crate::http::{call, channel, credentials, head, known, pair, proxy, upgrade, websocket};

/// Where everything about endpoints is.
pub(super) const ROOT: &str = "/gateway/";

/// Tells an endpoint which part of the path was the hub's.
const PREFIX: HeaderName = HeaderName::from_static("x-forwarded-prefix");

/// `/gateway` itself: many endpoints on one WebSocket.
pub(super) fn join(
    visit: &Stay,
    config: &Config,
    mut request: Request<Incoming>,
) -> Result<Response<HttpBody>, Problem> {
    let on_upgrade = hyper::upgrade::on(&mut request);
    let (parts, body) = request.into_parts();
    let handshake = upgrade::read(&parts, &body)?;
    let caller = caller(visit, &parts)?;
    if visit.node.is_stopping() {
        return Err(Fault::draining().into());
    }
    let accepted = upgrade::accept(&handshake, upgrade::choose_plain(&handshake), None);
    let visitor = Visitor { token: caller.token, headers: way(visit, config, &parts) };
    let node = Arc::clone(&visit.node);
    visit.node.http.upgrades.one();
    upgrade::give_away(on_upgrade, Arc::clone(&visit.seat), move |stream, early| {
        connection::run_mux(node, stream, early, visitor)
    });
    Ok(accepted)
}

/// What endpoints learn of a client's way, for connections that the hub makes on its behalf.
fn way(visit: &Stay, config: &Config, parts: &Parts) -> HeaderMap {
    let way = forwarded::way(visit, config, parts);
    let mut pairs = Vec::new();
    way.apply(&mut pairs);
    headers(pairs)
}

fn headers(pairs: Vec<(&str, &str)>) -> HeaderMap {
    let mut headers = HeaderMap::with_capacity(pairs.len() + 8);
    for (name, value) in pairs {
        // They were fields of a request before.
        if let (Ok(name), Ok(value)) = (HeaderName::try_from(name), HeaderValue::from_str(value)) {
            headers.append(name, value);
        }
    }
    headers
}

/// Answers a request for an endpoint; `own` is what follows `/gateway/`.
pub(super) async fn answer(
    visit: &Stay,
    config: &Config,
    id: &HeaderValue,
    own: &str,
    parts: Parts,
    body: Incoming,
    wants_websocket: bool,
) -> Result<Response<HttpBody>, Problem> {
    // The same rules as for service paths: no dot segments, no bad escapes.
    ServicePath::parse(parts.uri.path())
        .map_err(|error| Problem::new(error.code(), "request.path", error.to_string()))?;
    let (raw, rest) = own.split_at(own.find('/').unwrap_or(own.len()));
    let name = EndpointName::from_url_segment(raw)
        .map_err(|error| Problem::new(error.code(), "gateway.name", error.to_string()))?;
    let name = name.as_str();
    let caller = caller(visit, &parts)?;
    let Some(route) = visit.node.routes.find(name) else {
        // Whoever may not use an endpoint does not learn which there are.
        caller.identity.grants.may_reach(name)?;
        return Err(unknown(name).into());
    };
    route.admit(&caller.identity)?;
    if visit.node.is_stopping() {
        return Err(Fault::draining().into());
    }
    match &route.endpoint.target {
        Target::Upstreams(_) if wants_websocket => {
            pass(visit, config, &route, caller, rest, Request::from_parts(parts, body)).await
        }
        Target::Upstreams(_) => {
            let asked = asked(visit, config, &route, &caller, rest, &parts)?;
            proxy::answer(config, &route, asked, parts.method.clone(), body).await
        }
        Target::Service(path) => {
            let path =
                format!("{}{rest}", path.strip_suffix('/').filter(|_| !rest.is_empty()).unwrap_or(path));
            if wants_websocket {
                return websocket::open(visit, config, id, &path, Request::from_parts(parts, body)).await;
            }
            call::call(visit, config, id, &path, &parts, body).await
        }
        Target::Channel(name) if wants_websocket => {
            channel::join(visit, config, name, caller, Request::from_parts(parts, body))
        }
        Target::Channel(_) => Err(channel::refuse(&parts)),
        Target::Pair(name) => {
            let name = segment(name);
            if !wants_websocket {
                return pair::join(visit, config, &name, &parts, body).await;
            }
            upgrade::upgrade(visit, config, Request::from_parts(parts, body), upgrade::Place::Pair(&name))
        }
    }
}

/// Who asks for an endpoint.
#[derive(Debug)]
pub(super) struct Caller {
    pub(super) identity: Identity,
    pub(super) token: Option<Box<str>>,
    hides_authorization: bool,
}

fn caller(visit: &Stay, parts: &Parts) -> Result<Caller, Problem> {
    let offered = if upgrade::is_wanted(parts) { offered_token(&parts.headers)? } else { None };
    let known = known::visitor(visit, &parts.headers, offered)?;
    Ok(Caller {
        identity: known.identity,
        token: known.token,
        hides_authorization: known.hides_authorization,
    })
}

fn offered_token(headers: &HeaderMap) -> Result<Option<Box<str>>, Problem> {
    let offers: Vec<&str> = protocols(headers).collect();
    Ok(credentials::of_protocols(&offers)?.map(Into::into))
}

fn protocols(headers: &HeaderMap) -> impl Iterator<Item = &str> {
    let lists = headers.get_all(SEC_WEBSOCKET_PROTOCOL).iter().filter_map(|list| list.to_str().ok());
    lists.flat_map(|list| list.split(',')).map(str::trim).filter(|name| !name.is_empty())
}

/// Asks the endpoint for a WebSocket and joins the two connections.
async fn pass(
    visit: &Stay,
    config: &Config,
    route: &Arc<Route>,
    caller: Caller,
    rest: &str,
    mut request: Request<Incoming>,
) -> Result<Response<HttpBody>, Problem> {
    let on_upgrade = hyper::upgrade::on(&mut request);
    let (parts, body) = request.into_parts();
    let handshake = upgrade::read(&parts, &body)?;
    let is_own = |name: &str| credentials::is_token(name) || name == upgrade::PLAIN;
    let offered = handshake.protocols.iter().copied().filter(|name| !is_own(name));
    let offers = gateway::offers(&route.endpoint, offered.collect())?;
    let mut asked = asked(visit, config, route, &caller, rest, &parts)?;
    asked.protocols = offers.join(", ");
    asked.extensions = parts.headers.get_all(SEC_WEBSOCKET_EXTENSIONS).iter().cloned().collect();
    let place = Place::take(&visit.node, route.name(), Credential::Token(caller.token))?;
    let opened = match gateway::open(route, &asked).await? {
        Outcome::Opened(opened) => *opened,
        Outcome::Answered(answer) => return Ok(proxy::pass_answer(answer)),
    };
    let mut accepted = upgrade::accept(&handshake, None, None);
    fill(&mut accepted, &opened.headers, &handshake, &offers)?;
    visit.node.http.upgrades.one();
    visit.node.hub.counters.gateway_opened.one();
    upgrade::give_away(on_upgrade, Arc::clone(&visit.seat), move |stream, early| {
        connection::run_pass(place, stream, early, opened)
    });
    Ok(accepted)
}

/// The request as the endpoint gets it, but for its handshake.
fn asked<'a>(
    visit: &Stay,
    config: &Config,
    route: &Route,
    caller: &Caller,
    rest: &'a str,
    parts: &'a Parts,
) -> Result<Asked<'a>, Problem> {
    let way: Way = forwarded::way(visit, config, parts);
    let mut pairs = head::pairs(&parts.headers, caller.hides_authorization)?;
    pairs.retain(|(name, _)| !name.starts_with("sec-websocket-") && !is_replaced(name));
    way.apply(&mut pairs);
    let mut headers = headers(pairs);
    if let Ok(prefix) = HeaderValue::from_str(&format!("{ROOT}{}", segment(route.name()))) {
        headers.insert(PREFIX, prefix);
    }
    Ok(Asked { rest, query: parts.uri.query(), headers, protocols: String::new(), extensions: Vec::new() })
}

/// Fields that are between two neighbours, or name the endpoint.
fn is_replaced(name: &str) -> bool {
    is_hop_by_hop(name) || name == "host"
}

/// What the endpoint agreed to, as it said it.
fn fill(
    accepted: &mut Response<HttpBody>,
    answer: &HeaderMap,
    handshake: &Upgrade<'_>,
    offers: &[&str],
) -> Result<(), Problem> {
    let chosen = answer.get(SEC_WEBSOCKET_PROTOCOL).map(|chosen| chosen.to_str().unwrap_or_default());
    if let Some(chosen) = chosen.filter(|chosen| !offers.contains(chosen)) {
        let detail = format!("the endpoint chose the subprotocol {chosen:?}, which was not offered");
        return Err(Problem::new(Code::ProviderLost, "gateway.handshake", detail));
    }
    let own = |name: &HeaderName| is_hop_by_hop(name.as_str()) || name == "sec-websocket-accept";
    for (name, value) in answer.iter().filter(|(name, _)| !own(name)) {
        accepted.headers_mut().append(name, value.clone());
    }
    // Offered only to carry a token, and a browser wants one of its offers back.
    if chosen.is_none()
        && let Some(plain) = handshake.choose_protocol(|name| name == upgrade::PLAIN)
        && let Ok(plain) = HeaderValue::from_str(plain)
    {
        accepted.headers_mut().insert(SEC_WEBSOCKET_PROTOCOL, plain);
    }
    Ok(())
}
