//! A WebSocket to a service: the handshake becomes a call with the method `WEBSOCKET`, and is answered as the service
//! answers that. What follows is a [bridge](crate::connection)'s.

use std::future::poll_fn;
use std::sync::Arc;

use hyper::body::Incoming;
use hyper::header::{HeaderName, HeaderValue};
use hyper::{Method, Request, Response};
use whub_core::Packet;
use whub_proto::Body;
use whub_ws::handshake::Upgrade;

use crate::config::Config;
use crate::connection::{self, Pass};
use crate::http::body::HttpBody;
use crate::http::call::{self, Asked, Rest};
use crate::http::exchange::Turn;
use crate::http::problem::Problem;
use crate::http::visit::Visit;
use crate::http::{credentials, head, upgrade};

/// The method of a request for a WebSocket, over the protocol.
pub(super) const METHOD: &str = "WEBSOCKET";

/// The status that accepts it.
const ACCEPTED: u16 = 101;

/// Offers subprotocols, and names the chosen one.
const PROTOCOL: &str = "sec-websocket-protocol";

/// Asks the service at `path`, a raw path, for a WebSocket.
pub(super) async fn open(
    visit: &Visit,
    config: &Config,
    id: &HeaderValue,
    path: &str,
    mut request: Request<Incoming>,
) -> Result<Response<HttpBody>, Problem> {
    let on_upgrade = hyper::upgrade::on(&mut request);
    let (parts, body) = request.into_parts();
    let handshake = upgrade::read(&parts, &body)?;
    let path = call::parse(path)?;
    let offered = credentials::of_protocols(&handshake.protocols)?.map(Into::into);
    let known = call::admit(visit, id, &path, &parts, METHOD, offered)?;
    let offers = offers(&handshake);
    let offered = offers.join(", ");
    let mut pairs = head::pairs(&parts.headers, known.hides_authorization)?;
    // The handshake is the hub's own affair, but for the subprotocols.
    pairs.retain(|(name, _)| !name.starts_with("sec-websocket-"));
    if !offered.is_empty() {
        pairs.push((PROTOCOL, &offered));
    }
    let asked = Asked::new(visit, config, &known.identity, id, &path, &parts)?;
    let mut exchange = asked.place(METHOD, pairs, &[], Rest::Messages)?;
    let packet = match poll_fn(|cx| exchange.poll_turn(cx)).await {
        Turn::Answer { packet, last } if !accepts(&packet) => {
            return call::answer(exchange, &packet, last, &Method::GET);
        }
        Turn::Answer { packet, last: false } => packet,
        Turn::Answer { .. } => {
            return Err(call::bad_answer("the service ended a WebSocket as it accepted it".into()));
        }
        Turn::Failed(fault) => return Err(call::failed(fault, id)),
        Turn::Upload(_) => return Err(call::bad_answer("a WebSocket has no body".into())),
    };
    let protocol = choose(&packet, &handshake, &offers)?;
    let agreed = upgrade::agree(config, &handshake);
    let mut accepted = upgrade::accept(&handshake, protocol.as_deref(), agreed);
    pass_headers(&packet, &mut accepted);
    visit.node.http.upgrades.one();
    let (node, tie) = (Arc::clone(&visit.node), exchange.into_tie());
    let pass = Pass { token: known.token, path: path.as_str().into() };
    upgrade::give_away(on_upgrade, Arc::clone(&visit.seat), move |stream, early| {
        connection::run_bridge(node, stream, early, tie, pass, agreed)
    });
    Ok(accepted)
}

/// The subprotocols that the service may choose from.
fn offers<'a>(handshake: &Upgrade<'a>) -> Vec<&'a str> {
    let is_own = |name: &str| credentials::is_token(name) || name == upgrade::PLAIN;
    handshake.protocols.iter().copied().filter(|name| !is_own(name)).collect()
}

fn accepts(packet: &Packet) -> bool {
    let Ok(frame) = packet.frame() else { return false };
    let Body::Response(response) = frame.body else { return false };
    response.status == ACCEPTED
}

/// The subprotocol that the client is told.
fn choose(packet: &Packet, handshake: &Upgrade<'_>, offers: &[&str]) -> Result<Option<String>, Problem> {
    let frame = packet.frame().map_err(|error| call::bad_answer(error.to_string()))?;
    let Body::Response(response) = frame.body else { return Ok(None) };
    match response.headers.get(PROTOCOL) {
        Some(chosen) if offers.contains(&chosen) => Ok(Some(chosen.to_owned())),
        Some(chosen) => Err(call::bad_answer(format!(
            "the service chose the subprotocol {chosen}, which was not offered"
        ))),
        // Offered only to carry a token, and a browser wants one of its offers back.
        None => Ok(handshake.choose_protocol(|name| name == upgrade::PLAIN).map(str::to_owned)),
    }
}

/// The service's own headers, beside those of the handshake.
fn pass_headers(packet: &Packet, accepted: &mut Response<HttpBody>) {
    let Ok(frame) = packet.frame() else { return };
    let Body::Response(response) = frame.body else { return };
    let mut filled = Response::new(());
    head::fill(&mut filled, packet, response.headers);
    let own = |name: &HeaderName| name.as_str().starts_with("sec-websocket-");
    let passed = filled.headers().iter().filter(|(name, _)| !own(name));
    for (name, value) in passed {
        accepted.headers_mut().append(name, value.clone());
    }
}
