//! From an endpoint to a WebSocket with one of its upstreams.

use std::borrow::Cow;
use std::sync::Arc;

use base64::Engine as _;
use base64::prelude::BASE64_STANDARD;
use bytes::Bytes;
use http_body_util::Empty;
use hyper::body::Incoming;
use hyper::header::{
    AUTHORIZATION, CONNECTION, HOST, HeaderName, HeaderValue, SEC_WEBSOCKET_ACCEPT, SEC_WEBSOCKET_EXTENSIONS,
    SEC_WEBSOCKET_KEY, SEC_WEBSOCKET_PROTOCOL, SEC_WEBSOCKET_VERSION, UPGRADE,
};
use hyper::{HeaderMap, Method, Request, Response, StatusCode};
use hyper_util::rt::TokioIo;
use tokio::io::AsyncWriteExt as _;
use tokio::time::timeout;
use whub_core::Fault;
use whub_proto::Code;
use whub_transport::{DialError, Stream};
use whub_ws::handshake::{VERSION, accept_key};
use whub_ws::{CloseCode, encode_close};

use crate::config::{Endpoint, EndpointUrl};
use crate::gateway::route::Route;
use crate::gateway::upstream::{Occupied, Upstream};

/// What an upstream is asked for.
#[derive(Debug)]
pub(crate) struct Asked<'a> {
    /// What follows the upstream's own path: empty, or from `/` on.
    pub(crate) rest: &'a str,
    /// Without `?`.
    pub(crate) query: Option<&'a str>,
    /// End-to-end fields, those of the handshake left out.
    pub(crate) headers: HeaderMap,
    /// Subprotocols to offer, as a list; empty for none.
    pub(crate) protocols: String,
    /// Extensions to offer, as they came; nothing is offered for connections that the hub itself speaks on.
    pub(crate) extensions: Vec<HeaderValue>,
}

impl Asked<'_> {
    /// What the hub asks for itself.
    pub(crate) fn own(endpoint: &Endpoint) -> Self {
        Self {
            rest: "",
            query: None,
            headers: HeaderMap::new(),
            protocols: endpoint.protocols.join(", "),
            extensions: Vec::new(),
        }
    }
}

/// A WebSocket with an upstream, nothing of it read yet but what came with the handshake.
#[derive(Debug)]
pub(crate) struct Opened {
    pub(crate) stream: Stream,
    pub(crate) early: Vec<u8>,
    /// The head of its answer.
    pub(crate) headers: HeaderMap,
    pub(crate) occupied: Occupied,
}

impl Opened {
    /// Closes it in order, for those who only looked.
    pub(super) async fn say_goodbye(&mut self) {
        let mut close = Vec::new();
        encode_close(&mut close, CloseCode::NORMAL, "", Some(nonce()));
        // Nobody waits for it: it is being left.
        let _ = self.stream.write_all(&close).await;
        let _ = self.stream.shutdown().await;
    }
}

/// What came of asking.
#[derive(Debug)]
pub(crate) enum Outcome {
    /// A WebSocket.
    Opened(Box<Opened>),
    /// The upstream answered something else, which is for the client to see.
    Answered(Response<Incoming>),
}

/// Asks the upstreams of an endpoint, one after the other, until one answers.
///
/// # Errors
/// `Unavailable` when none is up, with what is known of the last one that was tried.
pub(crate) async fn open(route: &Route, asked: &Asked<'_>) -> Result<Outcome, Fault> {
    let mut tried = Vec::new();
    let mut last = None;
    while let Some(upstream) = route.choose(&tried) {
        tried.push(Arc::clone(&upstream));
        match ask(&route.endpoint, &upstream, asked).await {
            Ok(outcome) => {
                route.note_up(&upstream);
                return Ok(outcome);
            }
            Err(Unopened::Broken(why)) => {
                let reason = format!("the endpoint {} does not speak WebSocket: {why}", route.name());
                return Err(Fault::passing(Code::ProviderLost, "gateway.handshake", 1000, reason));
            }
            Err(Unopened::Unreachable(why)) => {
                route.note_down(&upstream, &why);
                last = Some(why);
            }
        }
    }
    Err(route.is_down(last))
}

/// A bare connection to an upstream of an endpoint, for HTTP.
///
/// # Errors
/// As [`open`].
pub(crate) async fn connect(route: &Route) -> Result<(Occupied, Stream), Fault> {
    let mut tried = Vec::new();
    let mut last = None;
    while let Some(upstream) = route.choose(&tried) {
        tried.push(Arc::clone(&upstream));
        let occupied = Route::occupy(&upstream);
        match upstream.connect().await {
            Ok(stream) => {
                route.note_up(&upstream);
                return Ok((occupied, stream));
            }
            Err(error) => {
                let why = describe(&error);
                route.note_down(&upstream, &why);
                last = Some(why);
            }
        }
    }
    Err(route.is_down(last))
}

/// A WebSocket with one upstream, or words why not.
pub(super) async fn open_at(
    endpoint: &Endpoint,
    upstream: &Arc<Upstream>,
    asked: &Asked<'_>,
) -> Result<Opened, String> {
    match ask(endpoint, upstream, asked).await {
        Ok(Outcome::Opened(opened)) => Ok(*opened),
        Ok(Outcome::Answered(answer)) => Err(format!("the handshake is answered with {}", answer.status())),
        Err(Unopened::Broken(why) | Unopened::Unreachable(why)) => Err(why),
    }
}

enum Unopened {
    /// Nobody there, or not in time; another upstream may answer.
    Unreachable(String),
    /// There is somebody, who does not keep to RFC 6455.
    Broken(String),
}

async fn ask(endpoint: &Endpoint, upstream: &Arc<Upstream>, asked: &Asked<'_>) -> Result<Outcome, Unopened> {
    let within = endpoint.connect_timeout;
    match timeout(within, shake_hands(endpoint, upstream, asked)).await {
        Ok(outcome) => outcome,
        Err(_) => Err(Unopened::Unreachable(format!("no answer within {within:?}"))),
    }
}

async fn shake_hands(
    endpoint: &Endpoint,
    upstream: &Arc<Upstream>,
    asked: &Asked<'_>,
) -> Result<Outcome, Unopened> {
    let occupied = Route::occupy(upstream);
    let stream = upstream.connect().await.map_err(|error| Unopened::Unreachable(describe(&error)))?;
    let unreachable = |error: hyper::Error| Unopened::Unreachable(error.to_string());
    let (mut sender, connection) = hyper::client::conn::http1::Builder::new()
        .title_case_headers(true)
        .handshake::<_, Empty<Bytes>>(TokioIo::new(stream))
        .await
        .map_err(unreachable)?;
    // It ends when the stream is given away, or with the answer's body.
    tokio::spawn(connection.with_upgrades());
    let key = BASE64_STANDARD.encode(random_bytes::<16>());
    let request = request(endpoint, &upstream.url, asked, &key).map_err(Unopened::Broken)?;
    let answer = sender.send_request(request).await.map_err(unreachable)?;
    if answer.status() != StatusCode::SWITCHING_PROTOCOLS {
        return Ok(Outcome::Answered(answer));
    }
    let expected = accept_key(key.as_bytes());
    if answer
        .headers()
        .get(SEC_WEBSOCKET_ACCEPT)
        .is_none_or(|accept| accept.as_bytes() != expected.as_bytes())
    {
        return Err(Unopened::Broken("Sec-WebSocket-Accept does not fit".to_owned()));
    }
    let headers = answer.headers().clone();
    let upgraded = hyper::upgrade::on(answer).await.map_err(unreachable)?;
    let Ok(parts) = upgraded.downcast::<TokioIo<Stream>>() else {
        return Err(Unopened::Broken("its connection is of another kind".to_owned()));
    };
    let (stream, early) = (parts.io.into_inner(), parts.read_buf.to_vec());
    Ok(Outcome::Opened(Box::new(Opened { stream, early, headers, occupied })))
}

fn request(
    endpoint: &Endpoint,
    url: &EndpointUrl,
    asked: &Asked<'_>,
    key: &str,
) -> Result<Request<Empty<Bytes>>, String> {
    let mut request = Request::builder()
        .method(Method::GET)
        .uri(target(url, asked.rest, asked.query))
        .body(Empty::new())
        .map_err(|error| error.to_string())?;
    let headers = request.headers_mut();
    *headers = asked.headers.clone();
    let value = |text: &str| HeaderValue::from_str(text).map_err(|error| error.to_string());
    headers.insert(HOST, value(&url.server.authority())?);
    headers.insert(CONNECTION, HeaderValue::from_static("Upgrade"));
    headers.insert(UPGRADE, HeaderValue::from_static("websocket"));
    headers.insert(SEC_WEBSOCKET_VERSION, HeaderValue::from_static(VERSION));
    headers.insert(SEC_WEBSOCKET_KEY, value(key)?);
    if !asked.protocols.is_empty() {
        headers.insert(SEC_WEBSOCKET_PROTOCOL, value(&asked.protocols)?);
    }
    for extension in &asked.extensions {
        headers.append(SEC_WEBSOCKET_EXTENSIONS, extension.clone());
    }
    add_own_headers(endpoint, headers);
    Ok(request)
}

/// The target of a request: the upstream's own path with what follows, and both queries.
pub(crate) fn target(url: &EndpointUrl, rest: &str, query: Option<&str>) -> String {
    let path =
        if rest.starts_with('/') { url.path.strip_suffix('/').unwrap_or(&url.path) } else { &url.path };
    let queries: Vec<&str> =
        [url.query.as_deref(), query].into_iter().flatten().filter(|query| !query.is_empty()).collect();
    let mark = if queries.is_empty() { "" } else { "?" };
    format!("{path}{rest}{mark}{}", queries.join("&"))
}

/// What the configuration wants every request to say.
pub(crate) fn add_own_headers(endpoint: &Endpoint, headers: &mut HeaderMap) {
    // Both were checked when the configuration was read.
    for (name, value) in &endpoint.headers {
        if let (Ok(name), Ok(value)) = (HeaderName::try_from(name), HeaderValue::from_str(value)) {
            headers.insert(name, value);
        }
    }
    if let Some(secret) = &endpoint.authorization
        && let Ok(mut value) = HeaderValue::from_str(&credentials(secret.expose()))
    {
        value.set_sensitive(true);
        headers.insert(AUTHORIZATION, value);
    }
}

/// A secret that names no scheme is a bearer's.
fn credentials(secret: &str) -> Cow<'_, str> {
    if secret.contains(' ') { Cow::Borrowed(secret) } else { Cow::Owned(format!("Bearer {secret}")) }
}

/// What went wrong with a dial, without the words for people who start hubs.
pub(super) fn describe(error: &DialError) -> String {
    match error {
        DialError::Late { within, .. } => format!("no answer within {within:?}"),
        DialError::Unknown { host, source } => format!("the host {host} cannot be found: {source}"),
        DialError::Unreachable { source, .. } => source.to_string(),
        DialError::Tls { source, .. } => format!("no TLS: {source}"),
        DialError::NotAHub { .. } | DialError::Trust(_) => error.to_string(),
    }
}

/// A key to mask a frame with.
pub(crate) fn nonce() -> [u8; 4] {
    random_bytes()
}

fn random_bytes<const N: usize>() -> [u8; N] {
    let mut bytes = [0; N];
    // Without randomness the key can be foreseen, which is for caches between the two ends to mind (RFC 6455, 10.3).
    let _ = getrandom::fill(&mut bytes);
    bytes
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn paths_are_joined_by_one_slash_and_queries_by_one_mark() {
        let url = |text: &str| text.parse::<EndpointUrl>().expect("a URL");
        for (base, rest, query, expected) in [
            ("ws://h:1", "", None, "/"),
            ("ws://h:1", "/room", None, "/room"),
            ("ws://h:1/", "/room/", Some("a=1"), "/room/?a=1"),
            ("ws://h:1/base", "/room", None, "/base/room"),
            ("ws://h:1/base/", "/room", None, "/base/room"),
            ("ws://h:1/base/", "", None, "/base/"),
            ("ws://h:1/base", "", Some("b"), "/base?b"),
            ("ws://h:1/base?key=1", "/x", Some("b=2"), "/base/x?key=1&b=2"),
            ("ws://h:1/base?key=1", "", Some(""), "/base?key=1"),
        ] {
            assert_eq!(target(&url(base), rest, query), expected, "{base} {rest} {query:?}");
        }
    }
}
