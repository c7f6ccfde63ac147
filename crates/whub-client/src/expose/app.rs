//! The application: asks it for a request of the hub, and hands back what it answers.

use std::sync::Arc;

use hyper::header::{CONTENT_LENGTH, COOKIE, EXPECT, HOST, HeaderName, HeaderValue, TRAILER, VIA};
use hyper::{HeaderMap, Method, StatusCode, Uri};
use tokio::sync::Notify;
use whub_transport::Trust;

use super::answer;
use super::fields;
use super::mount::Mount;
use super::pool::{Pool, Sender};
use super::rewrite::Place;
use super::trouble::{Trouble, told};
use super::upload::Upload;
use super::url::AppUrl;
use super::websocket;
use crate::serve::{Reply, Request, ServiceError};

static FORWARDED_FOR: HeaderName = HeaderName::from_static("x-forwarded-for");
static FORWARDED_PREFIX: HeaderName = HeaderName::from_static("x-forwarded-prefix");

/// What applications believe about their callers.
const FORWARDED: [&str; 7] = [
    "forwarded",
    "x-forwarded-for",
    "x-forwarded-host",
    "x-forwarded-port",
    "x-forwarded-proto",
    "x-real-ip",
    "x-client-ip",
];

/// How the application is talked to.
#[derive(Clone, Debug)]
pub(super) struct Manner {
    /// Tells it the host that the caller asked for instead of its own.
    pub(super) keep_host: bool,
    /// Leaves its redirects and cookies as they are.
    pub(super) verbatim: bool,
    pub(super) trust: Trust,
}

/// An application that is exposed.
#[derive(Debug)]
pub(super) struct App {
    pub(super) url: AppUrl,
    pub(super) pool: Arc<Pool>,
    manner: Manner,
    /// The value of `Host` that it knows itself by.
    own: String,
    /// What the exposer calls itself in `Via`, as no other does.
    via: String,
    /// A request did not reach it.
    pub(super) unreached: Notify,
}

/// What hyper is given.
type Outgoing = hyper::Request<Upload>;

impl App {
    pub(super) fn new(url: AppUrl, manner: Manner) -> Self {
        let pool = Arc::new(Pool::new(&url, manner.trust.clone()));
        let via = format!("whub-{:016x}", crate::random::number());
        Self { own: url.authority(), via, pool, url, manner, unreached: Notify::new() }
    }

    /// Answers one request. Whoever stops waiting hangs up on the application too.
    pub(super) async fn serve(
        self: Arc<Self>,
        mount: Arc<Mount>,
        request: Request,
    ) -> Result<Reply, ServiceError> {
        let gone = request.cancelled();
        tokio::select! {
            answer = self.ask(&mount, request) => answer,
            () = gone => Err(ServiceError::new(whub_proto::Code::Cancelled, "nobody waits for the answer")),
        }
    }

    async fn ask(self: Arc<Self>, mount: &Mount, request: Request) -> Result<Reply, ServiceError> {
        if self.has_passed(&request) {
            return Err(Trouble::Loop.into());
        }
        if mount.lacks_slash(&request) && is_page_visit(&request) {
            return Ok(add_slash(&request));
        }
        if request.is_websocket() {
            return self.open_socket(mount, request).await;
        }
        let gone = Box::pin(request.cancelled());
        let asked = request.authority().to_owned();
        let outgoing = self.outgoing(mount, request).await?;
        let is_head = outgoing.method() == Method::HEAD;
        let (response, sender) = self.send(outgoing).await.inspect_err(|trouble| self.note(trouble))?;
        if response.status() == StatusCode::SWITCHING_PROTOCOLS {
            return Err(Trouble::Broken("it changed the protocol without being asked".to_owned()).into());
        }
        let place = self.place(mount, &asked);
        let (parts, body) = response.into_parts();
        let download = answer::Download::new(body, sender, Arc::clone(&self.pool), gone);
        Ok(answer::reply(&parts, place.as_ref(), download, is_head).await)
    }

    /// Asks for a WebSocket; what the application answers instead of one is the answer.
    async fn open_socket(self: Arc<Self>, mount: &Mount, request: Request) -> Result<Reply, ServiceError> {
        let mut headers = fields::map(request.headers());
        headers.remove(CONTENT_LENGTH);
        self.fill(&mut headers, mount, &request);
        let handshake = websocket::Handshake::new(request.protocols())?;
        handshake.fill(&mut headers);
        let mut outgoing = Outgoing::new(Upload::nothing());
        *outgoing.uri_mut() = self.target(mount, &request)?;
        *outgoing.headers_mut() = headers;
        // A connection of its own, which ends with the WebSocket.
        let mut sender = self.pool.connect().await.inspect_err(|trouble| self.note(trouble))?;
        let response = sender.send_request(outgoing).await.map_err(Trouble::from)?;
        let place = self.place(mount, request.authority());
        if response.status() == StatusCode::SWITCHING_PROTOCOLS {
            let headers = answer::headers(response.headers(), place.as_ref());
            let socket = handshake.finish(response).await?;
            return websocket::bridge(request, socket, headers).await;
        }
        let gone = Box::pin(request.cancelled());
        let (parts, body) = response.into_parts();
        let download = answer::Download::new(body, sender, Arc::clone(&self.pool), gone);
        Ok(answer::reply(&parts, place.as_ref(), download, false).await)
    }

    /// Whom to tell the truth about paths; nobody who wants the application's own words.
    fn place<'a>(&'a self, mount: &'a Mount, asked: &'a str) -> Option<Place<'a>> {
        (!self.manner.verbatim).then(|| Place {
            prefix: &mount.prefix,
            base: self.url.base(),
            own: &self.own,
            asked,
        })
    }

    fn note(&self, trouble: &Trouble) {
        tracing::debug!(app = %self.url, %trouble, "a request was not answered");
        if trouble.is_down() {
            self.unreached.notify_one();
        }
    }

    /// The request as the application gets it.
    async fn outgoing(&self, mount: &Mount, request: Request) -> Result<Outgoing, ServiceError> {
        let mut headers = fields::map(request.headers());
        let declared = headers.remove(CONTENT_LENGTH);
        // Only chunks can have trailers.
        let declared = declared.filter(|_| !headers.contains_key(TRAILER));
        let declared = declared.and_then(|length| length.to_str().ok()?.parse().ok());
        let target = self.target(mount, &request)?;
        let method = request.method().to_owned();
        self.fill(&mut headers, mount, &request);
        let upload = Upload::look(request.into_body(), declared).await?;
        // Plain calls have no method.
        let method = match method.as_str() {
            "" if upload.is_empty() => Method::GET,
            "" => Method::POST,
            // As the hub refuses them over HTTP: CONNECT is for proxies, TRACE repeats what others added.
            "CONNECT" | "TRACE" => {
                let reason = format!("{method} is for proxies, and not passed on");
                return Err(ServiceError::bad_request(reason));
            }
            other => Method::from_bytes(other.as_bytes())
                .map_err(|_| ServiceError::bad_request(format!("`{other}` is no method of HTTP")))?,
        };
        let mut outgoing = Outgoing::new(upload);
        *outgoing.method_mut() = method;
        *outgoing.uri_mut() = target;
        *outgoing.headers_mut() = headers;
        Ok(outgoing)
    }

    fn target(&self, mount: &Mount, request: &Request) -> Result<Uri, ServiceError> {
        let mut target = format!("{}{}", self.url.base(), mount.inner_path(request));
        if request.query().contains('#') {
            return Err(ServiceError::bad_request("`#` ends a query; write it as %23"));
        }
        if !request.query().is_empty() {
            target.push('?');
            target.push_str(request.query());
        }
        Uri::try_from(target)
            .map_err(|error| ServiceError::bad_request(format!("the path is none for HTTP: {error}")))
    }

    fn fill(&self, headers: &mut HeaderMap, mount: &Mount, request: &Request) {
        fields::strip_hop_by_hop(headers);
        headers.remove(EXPECT);
        join_cookies(headers);
        let host = match request.authority() {
            "" => self.own.as_str(),
            asked if self.manner.keep_host => asked,
            _ => self.own.as_str(),
        };
        set(headers, HOST, host);
        // Of requests over HTTP the hub says who asked and how. Of others nobody but their callers would.
        if request.scheme().is_empty() {
            for name in FORWARDED {
                headers.remove(name);
            }
            set(headers, FORWARDED_FOR.clone(), address(request.peer()));
        }
        // A caller may call itself one over HTTP and be none. Without the field it would look like a program beside the
        // application.
        let peer = address(request.peer());
        if !headers.contains_key(&FORWARDED_FOR) && is_address(peer) {
            set(headers, FORWARDED_FOR.clone(), peer);
        }
        if let Ok(via) = HeaderValue::try_from(format!("whub/1 {}", self.via)) {
            headers.append(VIA, via);
        }
        headers.remove(&FORWARDED_PREFIX);
        if !mount.prefix.is_empty() {
            set(headers, FORWARDED_PREFIX.clone(), &mount.prefix);
        }
    }

    /// Whether the request has been here before: the application leads back to the hub (RFC 9110 section 7.6.3).
    fn has_passed(&self, request: &Request) -> bool {
        let vias = request.headers().iter().filter(|(name, _)| name.eq_ignore_ascii_case(VIA.as_str()));
        let mut hops = vias.flat_map(|(_, hops)| hops.split(','));
        hops.any(|hop| hop.split_ascii_whitespace().nth(1) == Some(&*self.via))
    }

    /// Sends the request: over a connection that was used before if there is one, else over a new one. A server may
    /// hang up on an idle connection just when a request is on its way; such a request is sent once more if it never
    /// left, or if it is safe to do twice and has no body.
    async fn send(
        &self,
        outgoing: Outgoing,
    ) -> Result<(hyper::Response<hyper::body::Incoming>, Sender), Trouble> {
        let mut outgoing = outgoing;
        if let Some(mut sender) = self.pool.take() {
            let spare = spare(&outgoing);
            match sender.try_send_request(outgoing).await {
                Ok(response) => return Ok((response, sender)),
                Err(mut error) => match error.take_message().or(spare) {
                    Some(again) => outgoing = again,
                    None => return Err(error.into_error().into()),
                },
            }
        }
        let mut sender = self.pool.connect().await?;
        match sender.try_send_request(outgoing).await {
            Ok(response) => Ok((response, sender)),
            Err(mut error) => {
                // What hyper gives back, it has not begun to write.
                let is_unsent = error.take_message().is_some();
                let why = told(error.error());
                Err(if is_unsent { Trouble::Unsent(why) } else { Trouble::Broken(why) })
            }
        }
    }
}

/// The same request once more, where doing it twice does no harm (RFC 9110 section 9.2.2).
fn spare(outgoing: &Outgoing) -> Option<Outgoing> {
    if !outgoing.method().is_idempotent() || !outgoing.body().is_empty() {
        return None;
    }
    let mut spare = Outgoing::new(Upload::nothing());
    *spare.method_mut() = outgoing.method().clone();
    *spare.uri_mut() = outgoing.uri().clone();
    *spare.headers_mut() = outgoing.headers().clone();
    Some(spare)
}

fn set(headers: &mut HeaderMap, name: HeaderName, value: &str) {
    if let Ok(value) = HeaderValue::from_str(value) {
        headers.insert(name, value);
    }
}

/// The address of a peer without its port.
fn address(peer: &str) -> &str {
    match peer.parse::<std::net::SocketAddr>() {
        Ok(_) => peer.rsplit_once(':').map_or(peer, |(address, _)| address),
        Err(_) => peer,
    }
}

fn is_address(peer: &str) -> bool {
    peer.trim_matches(['[', ']']).parse::<std::net::IpAddr>().is_ok()
}

/// HTTP/2 may send a cookie field per cookie; HTTP/1.1 has one (RFC 9113 section 8.2.3).
fn join_cookies(headers: &mut HeaderMap) {
    let cookies: Vec<&[u8]> = headers.get_all(COOKIE).iter().map(HeaderValue::as_bytes).collect();
    if cookies.len() > 1
        && let Ok(joined) = HeaderValue::from_bytes(&cookies.join(&b"; "[..]))
    {
        headers.insert(COOKIE, joined);
    }
}

/// A browser that opens a page, unlike programs, which get what they ask for.
fn is_page_visit(request: &Request) -> bool {
    matches!(request.method(), "GET" | "HEAD")
        && request.headers().get("accept").is_some_and(|accept| accept.contains("text/html"))
}

/// Sends the browser to the same place with a slash behind it. The place is told relative to itself, so that it is
/// right behind another proxy too.
fn add_slash(request: &Request) -> Reply {
    let last = request.path().rsplit('/').next().unwrap_or_default();
    let query = if request.query().is_empty() { String::new() } else { format!("?{}", request.query()) };
    Reply::status(308).header("location", format!("./{last}/{query}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn peers_with_an_address_are_told_from_others() {
        for (peer, shown, has_one) in [
            ("192.0.2.7:4711", "192.0.2.7", true),
            ("192.0.2.7", "192.0.2.7", true),
            ("[2001:db8::1]:80", "[2001:db8::1]", true),
            ("unix", "unix", false),
            ("", "", false),
        ] {
            assert_eq!((address(peer), is_address(address(peer))), (shown, has_one), "{peer}");
        }
    }
}
