//! From HTTP to WebSocket: the handshake is answered here, then the bare stream is given away.

use std::sync::Arc;

use hyper::body::{Body as _, Incoming};
use hyper::ext::Protocol;
use hyper::header::{
    CONNECTION, HeaderValue, SEC_WEBSOCKET_ACCEPT, SEC_WEBSOCKET_EXTENSIONS, SEC_WEBSOCKET_PROTOCOL, UPGRADE,
};
use hyper::http::request::Parts;
use hyper::upgrade::{OnUpgrade, Upgraded};
use hyper::{HeaderMap, Method, Request, Response, StatusCode, Version};
use hyper_util::rt::TokioIo;
use hyper_util::server::conn::auto::upgrade::downcast;
use whub_core::{Identity, Peer};
use whub_proto::Code;
use whub_proto::names::PairId;
use whub_transport::{AddressSeat, Stream};
use whub_ws::deflate;
use whub_ws::handshake::{Refusal, Upgrade};

use crate::config::Config;
use crate::connection::{self, Dialect};
use crate::http::body::HttpBody;
use crate::http::credentials;
use crate::http::metered::Metered;
use crate::http::problem::Problem;
use crate::http::visit::Visit;

/// The subprotocols of `/ws`.
const BINARY: &str = "whub.v1";
const JSON: &str = "whub.v1.json";

/// The subprotocol for plain WebSockets that offer one only to carry a token.
pub(super) const PLAIN: &str = "whub.plain";

/// The compression of a conversation that the hub itself takes part in, where the configuration allows it.
pub(super) fn agree(config: &Config, handshake: &Upgrade<'_>) -> Option<deflate::Agreement> {
    if config.websocket.deflate { handshake.accept_deflate(&deflate::Config::default()) } else { None }
}

/// The subprotocol of a plain conversation: any will do, but a token is never repeated.
pub(super) fn choose_plain<'a>(handshake: &Upgrade<'a>) -> Option<&'a str> {
    let plain = handshake.choose_protocol(|name| name == PLAIN);
    plain.or_else(|| handshake.choose_protocol(|name| !credentials::is_token(name)))
}

/// What a WebSocket is opened for.
#[derive(Debug, Clone, Copy)]
pub(super) enum Place<'a> {
    /// `/ws`
    Session,
    /// `/pair/<id>`, with the raw id.
    Pair(&'a str),
    /// `/room/<name>`, with the raw name.
    Room(&'a str),
    /// `/debug/echo`
    Echo,
}

/// Whether the request asks for a WebSocket, sound or not.
pub(super) fn is_wanted(parts: &Parts) -> bool {
    match parts.method {
        Method::CONNECT => {
            parts.extensions.get::<Protocol>().is_some_and(|name| name.as_str() == "websocket")
        }
        _ => is_asked(&parts.headers),
    }
}

/// Whether the fields of HTTP/1.1 ask for one.
pub(super) fn is_asked(headers: &HeaderMap) -> bool {
    Upgrade::is_wanted(fields(headers))
}

/// Answers the handshake. What follows it runs in a task of its own, so that the memory of HTTP is freed.
pub(super) fn upgrade(
    visit: &Visit,
    config: &Config,
    mut request: Request<Incoming>,
    place: Place<'_>,
) -> Result<Response<HttpBody>, Problem> {
    let on_upgrade = hyper::upgrade::on(&mut request);
    let (parts, body) = request.into_parts();
    let handshake = read(&parts, &body)?;
    let agreed = match place {
        Place::Echo => handshake.accept_deflate(&deflate::Config::default()),
        Place::Session | Place::Pair(_) | Place::Room(_) => agree(config, &handshake),
    };
    let token = token(&handshake, &parts.headers)?;
    let protocol = choose(&handshake, place)?;
    let accepted = accept(&handshake, protocol, agreed);
    let secret = match place {
        Place::Pair(_) => credentials::pair_secret(&parts.headers, &handshake.protocols)?,
        Place::Session | Place::Room(_) | Place::Echo => String::new(),
    };
    let guest = Guest::check(visit, place, token, &secret, protocol)?;
    if visit.node.is_stopping() {
        return Err(whub_core::Fault::draining().into());
    }
    visit.node.http.upgrades.one();
    guest.await_stream(visit, on_upgrade, agreed);
    Ok(accepted)
}

/// The handshake, if it is sound.
pub(super) fn read<'a>(parts: &'a Parts, body: &Incoming) -> Result<Upgrade<'a>, Problem> {
    let headers = fields(&parts.headers);
    let path = parts.uri.path();
    let handshake = match (&parts.method, parts.version) {
        (&Method::CONNECT, _) => Upgrade::from_extended_connect(headers),
        (&Method::GET, Version::HTTP_11) if body.is_end_stream() => Upgrade::from_http1(headers),
        (&Method::GET, Version::HTTP_11) => {
            return Err(Problem::new(Code::BadRequest, "websocket.body", "a WebSocket request has no body"));
        }
        (&Method::GET, _) => Err(Refusal::NotWebSocket),
        _ => return Err(Problem::method(path, "GET")),
    };
    handshake.map_err(|refusal| {
        let status = StatusCode::from_u16(refusal.status()).unwrap_or(StatusCode::BAD_REQUEST);
        let problem =
            Problem::new(Code::BadRequest, "websocket.handshake", refusal.to_string()).with_status(status);
        if status == StatusCode::UPGRADE_REQUIRED { problem.with_upgrade() } else { problem }
    })
}

fn fields(headers: &HeaderMap) -> impl Iterator<Item = (&str, &[u8])> {
    headers.iter().map(|(name, value)| (name.as_str(), value.as_bytes()))
}

pub(super) fn token(handshake: &Upgrade<'_>, headers: &HeaderMap) -> Result<Option<Box<str>>, Problem> {
    match credentials::of_header(headers) {
        Some(token) => Ok(Some(token.into())),
        None => Ok(credentials::of_protocols(&handshake.protocols)?.map(Into::into)),
    }
}

fn choose<'a>(handshake: &Upgrade<'a>, place: Place<'_>) -> Result<Option<&'a str>, Problem> {
    if !matches!(place, Place::Session) {
        return Ok(choose_plain(handshake));
    }
    let chosen = handshake.choose_protocol(|name| matches!(name, BINARY | JSON));
    chosen.map(Some).ok_or_else(|| {
        let detail = format!("/ws needs a subprotocol: {BINARY} (binary messages) or {JSON} (text messages)");
        Problem::new(Code::BadRequest, "websocket.subprotocol", detail)
    })
}

pub(super) fn accept(
    handshake: &Upgrade<'_>,
    protocol: Option<&str>,
    agreed: Option<deflate::Agreement>,
) -> Response<HttpBody> {
    let mut response = Response::new(HttpBody::empty());
    let headers = response.headers_mut();
    // What was parsed as tokens, or made here, always makes a value.
    let value = |text: &str| HeaderValue::from_str(text).ok();
    if let Some(protocol) = protocol.and_then(value) {
        headers.insert(SEC_WEBSOCKET_PROTOCOL, protocol);
    }
    if let Some(agreed) = agreed.and_then(|agreed| value(&agreed.to_string())) {
        headers.insert(SEC_WEBSOCKET_EXTENSIONS, agreed);
    }
    if let Some(key) = handshake.accept.as_deref().and_then(value) {
        headers.insert(SEC_WEBSOCKET_ACCEPT, key);
        headers.insert(CONNECTION, HeaderValue::from_static("upgrade"));
        headers.insert(UPGRADE, HeaderValue::from_static("websocket"));
        *response.status_mut() = StatusCode::SWITCHING_PROTOCOLS;
    }
    response
}

/// Who comes, and what for.
enum Guest {
    Session(Dialect, Peer),
    Pair(PairId, Box<whub_core::Guest>, Option<Box<str>>),
    Room(PairId, Peer, Identity),
    Echo,
}

impl Guest {
    fn check(
        visit: &Visit,
        place: Place<'_>,
        token: Option<Box<str>>,
        secret: &str,
        protocol: Option<&str>,
    ) -> Result<Self, Problem> {
        match place {
            Place::Session => {
                // Without a token here, `Hello` may still bring one.
                if token.is_some() {
                    named(visit, token.as_deref())?;
                }
                let dialect = if protocol == Some(JSON) { Dialect::Json } else { Dialect::Binary };
                let peer = Peer { client: visit.node.client_name(), address: visit.address.clone(), token };
                Ok(Self::Session(dialect, peer))
            }
            Place::Pair(raw) => {
                let pair = PairId::from_url_segment(raw)
                    .map_err(|error| Problem::new(error.code(), "pair.id", error.to_string()))?;
                let identity = named(visit, token.as_deref())?;
                identity.grants.may_pair(&pair)?;
                let guest = whub_core::Guest::plain(identity.user, secret)?;
                Ok(Self::Pair(pair, Box::new(guest), token))
            }
            Place::Room(raw) => {
                let name = PairId::from_url_segment(raw)
                    .map_err(|error| Problem::new(error.code(), "room.name", error.to_string()))?;
                let identity = named(visit, token.as_deref())?;
                identity.grants.may_pair(&name)?;
                let peer = Peer { client: visit.node.client_name(), address: visit.address.clone(), token };
                Ok(Self::Room(name, peer, identity))
            }
            Place::Echo => Ok(Self::Echo),
        }
    }

    fn await_stream(self, visit: &Visit, on_upgrade: OnUpgrade, agreed: Option<deflate::Agreement>) {
        let node = Arc::clone(&visit.node);
        let seat = Arc::clone(&visit.seat);
        match self {
            Self::Session(dialect, peer) => give_away(on_upgrade, seat, move |stream, early| {
                connection::run_session(node, stream, early, dialect, agreed, peer)
            }),
            Self::Pair(pair, guest, token) => give_away(on_upgrade, seat, move |stream, early| {
                connection::run_pair(node, stream, early, pair, *guest, token, agreed)
            }),
            Self::Room(name, peer, identity) => give_away(on_upgrade, seat, move |stream, early| {
                connection::run_room(node, stream, early, name, peer, identity, agreed)
            }),
            Self::Echo => give_away(on_upgrade, seat, move |stream, early| {
                connection::run_echo(node, stream, early, agreed)
            }),
        }
    }
}

pub(super) fn named(visit: &Visit, token: Option<&str>) -> Result<Identity, Problem> {
    visit.node.authenticate(token).map_err(|fault| {
        visit.node.hub.counters.unauthorized.one();
        fault.into()
    })
}

/// Runs `talk` on the stream as soon as hyper lets go of it.
pub(super) fn give_away<F>(
    on_upgrade: OnUpgrade,
    seat: Arc<AddressSeat>,
    talk: impl FnOnce(Stream, Vec<u8>) -> F + Send + 'static,
) where
    F: Future<Output = ()> + Send,
{
    tokio::spawn(async move {
        // A client that has gone before the answer was written.
        let Ok(upgraded) = on_upgrade.await else { return };
        let (stream, early) = take_back(upgraded);
        talk(stream, early).await;
        drop(seat);
    });
}

/// The bare stream of an HTTP/1 connection, or a stream within an HTTP/2 one, with the bytes that came early.
fn take_back(upgraded: Upgraded) -> (Stream, Vec<u8>) {
    match downcast::<TokioIo<Metered>>(upgraded) {
        // Copied, because the few early bytes would keep the whole read buffer.
        Ok(parts) => (parts.io.into_inner().into_inner(), parts.read_buf.to_vec()),
        Err(upgraded) => (Stream::boxed(TokioIo::new(upgraded)), Vec::new()),
    }
}
