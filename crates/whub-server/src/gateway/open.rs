//! From an endpoint to a WebSocket with one of its upstreams.

use std::borrow::Cow;
use std::sync::Arc;
use std::time::Duration;

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
use percent_encoding::{NON_ALPHANUMERIC, percent_encode};
use tokio::io::AsyncWriteExt as _;
use tokio::time::timeout;
use whub_core::Fault;
use whub_proto::Code;
use whub_transport::{DialError, Distrust, Stream};
use whub_ws::handshake::{VERSION, accept_key};
use whub_ws::{CloseCode, encode_close};

use crate::config::{Endpoint, EndpointUrl};
use crate::gateway::route::Route;
use crate::gateway::upstream::{Occupied, Upstream};
use crate::http::credentials;

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

/// Those of a client's subprotocols that an endpoint may choose from.
///
/// # Errors
/// When there is none that the endpoint speaks.
pub(crate) fn offers<'a>(endpoint: &Endpoint, offered: Vec<&'a str>) -> Result<Vec<&'a str>, Fault> {
    let allowed = &endpoint.protocols;
    if allowed.is_empty() || offered.is_empty() {
        return Ok(offered);
    }
    let possible: Vec<&str> =
        offered.into_iter().filter(|name| allowed.iter().any(|allowed| allowed == name)).collect();
    if possible.is_empty() {
        let (name, allowed) = (&endpoint.name, allowed.join(", "));
        let reason = format!("the endpoint {name} speaks {allowed}, and none of them was offered");
        return Err(Fault::fatal(Code::BadRequest, "gateway.subprotocol", reason));
    }
    Ok(possible)
}

/// A WebSocket with an upstream, nothing of it read yet but what came with the handshake.
#[derive(Debug)]
pub(crate) struct Opened {
    pub(crate) stream: Stream,
    pub(crate) early: Vec<u8>,
    /// The head of its answer.
    pub(crate) headers: HeaderMap,
    /// Its place at an upstream; there is none indoors, or for those who only look.
    pub(crate) occupied: Option<Occupied>,
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
        let occupied = Route::occupy(&upstream);
        match ask(&route.endpoint, &upstream, asked, Some(occupied)).await {
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
                last = Some(Unopened::Unreachable(why));
            }
            Err(Unopened::Unanswered(why)) => {
                route.note_doubt(&upstream);
                last = Some(Unopened::Unanswered(why));
            }
        }
    }
    Err(match last {
        Some(Unopened::Unanswered(why)) => unanswered(route, &why),
        Some(Unopened::Unreachable(why) | Unopened::Broken(why)) => route.is_down(Some(why)),
        None => route.is_down(None),
    })
}

/// The fault of an endpoint that is there, and did not answer this client.
fn unanswered(route: &Route, why: &str) -> Fault {
    let reason = format!("the endpoint {} did not answer the handshake: {why}", route.name());
    Fault::passing(Code::ProviderLost, "gateway.lost", 1000, reason)
}

/// A WebSocket with one upstream, or words why not. Nobody uses it, so it does not count.
pub(super) async fn open_at(
    endpoint: &Endpoint,
    upstream: &Upstream,
    asked: &Asked<'_>,
) -> Result<Opened, String> {
    match ask(endpoint, upstream, asked, None).await {
        Ok(Outcome::Opened(opened)) => Ok(*opened),
        Ok(Outcome::Answered(answer)) => Err(format!("the handshake is answered with {}", answer.status())),
        Err(Unopened::Broken(why) | Unopened::Unreachable(why) | Unopened::Unanswered(why)) => Err(why),
    }
}

enum Unopened {
    /// Nobody there, or not in time; another upstream may answer.
    Unreachable(String),
    /// Somebody is there and has not answered, which may be for what was asked: a client that asks for what its
    /// application trips over must not take the endpoint from the others. Another upstream may answer.
    Unanswered(String),
    /// There is somebody, who does not keep to RFC 6455.
    Broken(String),
}

async fn ask(
    endpoint: &Endpoint,
    upstream: &Upstream,
    asked: &Asked<'_>,
    occupied: Option<Occupied>,
) -> Result<Outcome, Unopened> {
    // The dialer keeps to `connect_timeout` itself.
    let stream = upstream.connect().await.map_err(|error| Unopened::Unreachable(describe(&error)))?;
    let url = &upstream.url;
    let target = target(url, asked.rest, asked.query);
    let handshake = Handshake::new(endpoint, &url.server.authority(), &target, asked);
    let within = endpoint.connect_timeout;
    match timeout(within, handshake.map_err(Unopened::Broken)?.shake(stream, occupied)).await {
        Ok(outcome) => outcome,
        Err(_) => Err(Unopened::Unanswered(format!("no answer within {within:?}"))),
    }
}

/// Asks the hub itself for one of its own endpoints, over a connection that it keeps indoors.
///
/// # Errors
/// As [`open`].
pub(crate) async fn open_indoors(
    endpoint: &Endpoint,
    stream: Stream,
    mut asked: Asked<'_>,
    token: Option<&str>,
) -> Result<Outcome, Fault> {
    let broken = |why: String| Fault::fatal(Code::Internal, "gateway.indoors", why);
    if let Some(token) = token {
        let mut value = HeaderValue::from_str(token).map_err(|error| broken(error.to_string()))?;
        value.set_sensitive(true);
        asked.headers.insert(credentials::OWN, value);
    }
    let target = format!("/gateway/{}", segment(&endpoint.name));
    let handshake = Handshake::new(endpoint, "localhost", &target, &asked).map_err(broken)?;
    match timeout(endpoint.connect_timeout, handshake.shake(stream, None)).await {
        Ok(Ok(outcome)) => Ok(outcome),
        Ok(Err(Unopened::Broken(why) | Unopened::Unreachable(why) | Unopened::Unanswered(why))) => {
            Err(broken(why))
        }
        Err(_) => Err(broken(format!("no answer within {:?}", endpoint.connect_timeout))),
    }
}

/// A name as one segment of a path.
pub(crate) fn segment(name: &str) -> String {
    percent_encode(name.as_bytes(), NON_ALPHANUMERIC).to_string()
}

/// A request for a WebSocket, ready to be sent.
struct Handshake {
    request: Request<Empty<Bytes>>,
    key: String,
}

impl Handshake {
    fn new(endpoint: &Endpoint, authority: &str, target: &str, asked: &Asked<'_>) -> Result<Self, String> {
        let key = BASE64_STANDARD.encode(random_bytes::<16>());
        let request = request(endpoint, authority, target, asked, &key)?;
        Ok(Self { request, key })
    }

    async fn shake(self, stream: Stream, occupied: Option<Occupied>) -> Result<Outcome, Unopened> {
        let unanswered = |error: hyper::Error| Unopened::Unanswered(error.to_string());
        let (mut sender, connection) = hyper::client::conn::http1::Builder::new()
            .title_case_headers(true)
            .handshake::<_, Empty<Bytes>>(TokioIo::new(stream))
            .await
            .map_err(unanswered)?;
        // It ends when the stream is given away, or with the answer's body.
        tokio::spawn(connection.with_upgrades());
        let answer = sender.send_request(self.request).await.map_err(unanswered)?;
        if answer.status() != StatusCode::SWITCHING_PROTOCOLS {
            return Ok(Outcome::Answered(answer));
        }
        let expected = accept_key(self.key.as_bytes());
        let accept = answer.headers().get(SEC_WEBSOCKET_ACCEPT);
        if accept.is_none_or(|accept| accept.as_bytes() != expected.as_bytes()) {
            return Err(Unopened::Broken("Sec-WebSocket-Accept does not fit".to_owned()));
        }
        let headers = answer.headers().clone();
        let upgraded = hyper::upgrade::on(answer).await.map_err(unanswered)?;
        let Ok(parts) = upgraded.downcast::<TokioIo<Stream>>() else {
            return Err(Unopened::Broken("its connection is of another kind".to_owned()));
        };
        let (stream, early) = (parts.io.into_inner(), parts.read_buf.to_vec());
        Ok(Outcome::Opened(Box::new(Opened { stream, early, headers, occupied })))
    }
}

fn request(
    endpoint: &Endpoint,
    authority: &str,
    target: &str,
    asked: &Asked<'_>,
    key: &str,
) -> Result<Request<Empty<Bytes>>, String> {
    let mut request = Request::builder()
        .method(Method::GET)
        .uri(target)
        .body(Empty::new())
        .map_err(|error| error.to_string())?;
    let headers = request.headers_mut();
    *headers = asked.headers.clone();
    let value = |text: &str| HeaderValue::from_str(text).map_err(|error| error.to_string());
    headers.insert(HOST, value(authority)?);
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

/// What the configuration wants every request to say, in place of what the client says under the same names.
pub(crate) fn add_own_headers(endpoint: &Endpoint, headers: &mut HeaderMap) {
    for (name, _) in &endpoint.headers {
        headers.remove(name);
    }
    // Both were checked when the configuration was read. A name may be there more than once.
    for (name, value) in &endpoint.headers {
        if let (Ok(name), Ok(value)) = (HeaderName::try_from(name), HeaderValue::from_str(value)) {
            headers.append(name, value);
        }
    }
    if let Some(secret) = &endpoint.authorization
        && let Ok(mut value) = HeaderValue::from_str(&authorization(secret.expose()))
    {
        value.set_sensitive(true);
        headers.insert(AUTHORIZATION, value);
    }
}

/// A secret that names no scheme is a bearer's.
fn authorization(secret: &str) -> Cow<'_, str> {
    if secret.contains(' ') { Cow::Borrowed(secret) } else { Cow::Owned(format!("Bearer {secret}")) }
}

/// What went wrong with a dial, and what to do about it. Clients hear it too, so it does not say where the endpoint is; the
/// log does.
pub(super) fn describe(error: &DialError) -> String {
    tracing::debug!("{error}");
    match error {
        DialError::Late { within, .. } => format!("no answer within {within:?}"),
        DialError::Unknown { source, .. } => format!("its host cannot be found: {source}"),
        DialError::Unreachable { source, .. } => source.to_string(),
        DialError::Tls { source, .. } => match error.distrust() {
            Some(Distrust::Authority) => format!("no TLS: {source}; name its authority in tls_roots"),
            Some(Distrust::Name) => {
                "no TLS: its certificate is for another name; dial it by one that it is for".to_owned()
            }
            None if error.may_not_be_tls() => {
                format!("no TLS: {source}; it may be ws or http, not wss or https")
            }
            Some(Distrust::Other) | None => format!("no TLS: {source}"),
        },
        DialError::Trust(_) => "its tls_roots cannot be used; whub config check says why".to_owned(),
        DialError::NotAHub { .. } => error.to_string(),
    }
}

/// A pause after so many failures: growing, with full jitter, and never none at all.
pub(super) fn backoff(failures: u32, (least, most): (Duration, Duration)) -> Duration {
    let ceiling = least.saturating_mul(1 << failures.min(16)).min(most);
    ceiling / 2 + jitter(ceiling / 2)
}

/// A part of a time, by chance.
pub(super) fn jitter(most: Duration) -> Duration {
    let share = f64::from(getrandom::u32().unwrap_or(u32::MAX)) / f64::from(u32::MAX);
    most.mul_f64(share)
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
    use std::io;

    use whub_transport::tls::CertificateError;

    use super::*;

    #[test]
    fn whoever_hears_that_an_endpoint_is_down_does_not_hear_where_it_is() {
        let (host, within) = ("inside.example".to_owned(), Duration::from_secs(1));
        let (server, source) = (format!("wss://{host}/"), || io::Error::other("trouble"));
        for error in [
            DialError::Late { server: server.clone(), within },
            DialError::Unknown { host: host.clone(), source: source() },
            DialError::Unreachable { server: server.clone(), source: source() },
            DialError::Tls { server, source: source() },
            DialError::Trust(CertificateError::Empty(format!("/etc/{host}.pem").into())),
        ] {
            assert!(error.to_string().contains(&host), "{error}");
            let described = describe(&error);
            assert!(!described.contains(&host), "{described}");
        }
    }

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
