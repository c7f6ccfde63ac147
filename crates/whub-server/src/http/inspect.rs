//! `/v1/inspect`: recent calls, and one of them made anew.

use std::future::poll_fn;
use std::sync::Arc;
use std::time::{Duration, Instant};

use bytes::Bytes;
use hyper::Method;
use hyper::Response;
use hyper::header::HeaderValue;
use hyper::http::request::Parts;
use serde_json::{Value, json};
use whub_core::middleware::Door;
use whub_core::{Caller, Fault, Identity, Mailbox, Order, Packet};
use whub_proto::names::ServicePath;
use whub_proto::{Body, Code, Flags, Headers, Kind, Request};

use crate::connection::now;
use crate::http::body::HttpBody;
use crate::http::caller::{CALL, CallerMailbox};
use crate::http::exchange::{Exchange, Turn};
use crate::http::problem::Problem;
use crate::http::tie::Tie;
use crate::http::visit::Stay;
use crate::http::{credentials, live, request_id, status};
use crate::inspect::{News, Recorded, Scope};
use crate::node::Node;

/// Calls that a list has unless it is told otherwise.
const LISTED: usize = 50;

/// Bytes of the answer to a replay that are shown.
const PREVIEW_BYTES: usize = 4 << 10;

/// Bytes of the answer to a replay that are waited for.
const REPLAY_BYTES_MAX: u64 = 16 << 20;

/// Time that the answer to a replay has to end.
const REPLAY_TIME_MAX: Duration = Duration::from_secs(60);

/// Tells a provider that a call was made before.
const REPLAYED: &str = "whub-replay";

/// `/v1/inspect` and what is below it; `own` is what follows `inspect`.
pub(super) async fn answer(
    visit: &Stay,
    identity: &Identity,
    id: &HeaderValue,
    own: &str,
    parts: &Parts,
) -> Result<Response<HttpBody>, Problem> {
    admit(&visit.node, identity)?;
    let path = parts.uri.path();
    match (own.strip_prefix('/').unwrap_or_default(), &parts.method) {
        ("", &Method::GET | &Method::HEAD) => list(visit, parts),
        ("", &Method::DELETE) => {
            visit.node.stop_inspecting();
            Ok(status::json(&json!({ "calls": [] })))
        }
        ("", _) => Err(Problem::method(path, "GET, HEAD, DELETE")),
        (call, method) => match (call.strip_suffix("/replay"), method) {
            (None, &Method::GET | &Method::HEAD) => {
                let shown = visit.node.inspector.show(number(call)?).ok_or_else(|| unknown(call))?;
                Ok(status::json(&shown))
            }
            (None, _) => Err(Problem::method(path, "GET, HEAD")),
            (Some(call), &Method::POST) => {
                let recorded = visit.node.inspector.find(number(call)?).ok_or_else(|| unknown(call))?;
                replay(visit, identity, id, &recorded).await.map(|summary| status::json(&summary))
            }
            (Some(_), _) => Err(Problem::method(path, "POST")),
        },
    }
}

/// Calls of others are the business of those who administer.
fn admit(node: &Node, identity: &Identity) -> Result<(), Fault> {
    if !identity.grants.admin {
        node.hub.counters.forbidden.one();
        let reason = "the inspector shows the calls of others: it needs a token with `admin = true`";
        return Err(Fault::fatal(Code::Forbidden, "access.admin", reason));
    }
    if node.config().inspect.calls == 0 {
        let reason = "the inspector is switched off here (inspect.calls = 0)";
        return Err(Fault::fatal(Code::NotFound, "inspect.off", reason));
    }
    Ok(())
}

/// Looking is what begins the recording.
fn list(visit: &Stay, parts: &Parts) -> Result<Response<HttpBody>, Problem> {
    let query = parts.uri.query();
    let scope = Scope::parse(&live::parameter(query, "path").unwrap_or_default())?;
    let most = match live::parameter(query, "limit") {
        None => LISTED,
        Some(text) => text.parse().map_err(|_| {
            Problem::new(Code::BadRequest, "inspect.limit", "`limit` is the number of calls to list")
        })?,
    };
    visit.node.inspect(&scope)?;
    let inspector = &visit.node.inspector;
    let news = inspector.news();
    let listed = json!({
        "recording_ms": millis(visit.node.config().inspect.linger),
        "forgotten": inspector.forgotten(),
        "calls": inspector.list(&scope, most),
    });
    if !live::is_wanted(query) {
        return Ok(status::json(&listed));
    }
    let token = credentials::of_header(&parts.headers).map(Into::into);
    let onlooker = Onlooker { node: Arc::clone(&visit.node), scope };
    Ok(live::listen(visit, token, ("calls", &listed), news, onlooker))
}

/// Somebody who watches calls end. Recording goes on for as long as it does.
struct Onlooker {
    node: Arc<Node>,
    scope: Scope,
}

impl live::Listener for Onlooker {
    type News = News;

    fn show(&self, identity: &Identity, news: &News) -> Result<Option<(&'static str, Value)>, Fault> {
        admit(&self.node, identity)?;
        Ok(self.scope.covers(&news.path).then(|| ("call", news.call.clone())))
    }

    fn still_here(&self) {
        // Where there is no more room for scopes, what is watched already goes on.
        let _ = self.node.inspect(&self.scope);
    }
}

fn number(call: &str) -> Result<u64, Problem> {
    call.parse().map_err(|_| unknown(call))
}

fn unknown(call: &str) -> Problem {
    let detail = format!("there is no call {call} here, or it has made room for later ones");
    Problem::new(Code::NotFound, "inspect.not_found", detail)
}

/// Makes a call anew, in the name of whoever asks, and tells what came of it.
async fn replay(
    visit: &Stay,
    identity: &Identity,
    id: &HeaderValue,
    recorded: &Recorded,
) -> Result<Value, Problem> {
    let path = ServicePath::parse(&recorded.path)
        .map_err(|error| Problem::new(error.code(), "request.path", error.to_string()))?;
    identity.grants.may_call(&path)?;
    if !recorded.is_replayable() {
        let detail = "this call cannot be made again: its body was longer than inspect.body_bytes, came in \
                      pieces, or was never seen";
        return Err(Problem::new(Code::Conflict, "inspect.not_replayable", detail));
    }
    tracing::info!(call = recorded.number, path = %recorded.path, user = identity.user.as_deref(), "replay");
    let began = Instant::now();
    let mut exchange = place(visit, identity, id, &path, recorded)?;
    let mut answer = Answer { began, node: &visit.node, ..Answer::new(&visit.node) };
    let waited = tokio::time::timeout(REPLAY_TIME_MAX, answer.take(&mut exchange)).await;
    answer.truncated |= waited.is_err();
    Ok(answer.summary(recorded.number))
}

fn place(
    visit: &Stay,
    identity: &Identity,
    id: &HeaderValue,
    path: &ServicePath<'_>,
    recorded: &Recorded,
) -> Result<Exchange, Problem> {
    let hub = &visit.node.hub;
    let number = recorded.number.to_string();
    let known = recorded.headers.iter().map(|(name, value)| (&**name, &**value));
    let mut pairs: Vec<(&str, &str)> =
        known.filter(|(name, _)| !matches!(*name, REPLAYED | "x-request-id")).collect();
    pairs.extend([(request_id::FIELD.as_str(), request_id::text(id)), (REPLAYED, &number)]);
    let request = Request {
        path: path.as_str(),
        method: &recorded.method,
        query: &recorded.query,
        scheme: &recorded.scheme,
        authority: &recorded.authority,
        format: recorded.format,
        headers: Headers::new(&pairs),
        ..Request::default()
    };
    let caller = Arc::new(CallerMailbox::new(hub.next_session()));
    let mailbox = Mailbox::new(caller.clone());
    let asking = Caller {
        mailbox: &mailbox,
        client: &visit.client,
        user: identity.user.as_deref().unwrap_or_default(),
        peer: &visit.address,
    };
    let order = Order {
        id: CALL,
        path,
        request: &request,
        envelope: None,
        door: Door::Http,
        payload: recorded.body.as_deref().unwrap_or_default(),
        flags: Flags::END,
        timeout_ms: 0,
        credit: 0,
    };
    let placed = hub.place_call(now(), asking, &order)?;
    Ok(Exchange::new(Tie::new(Arc::clone(hub), placed.place, caller), None))
}

/// What came of a replay.
struct Answer<'a> {
    node: &'a Node,
    began: Instant,
    status: u16,
    headers: Vec<(Box<str>, Box<str>)>,
    first: Option<Duration>,
    bytes: u64,
    preview: Vec<u8>,
    error: Option<(String, String)>,
    truncated: bool,
}

impl<'a> Answer<'a> {
    fn new(node: &'a Node) -> Self {
        Self {
            node,
            began: Instant::now(),
            status: 0,
            headers: Vec::new(),
            first: None,
            bytes: 0,
            preview: Vec::new(),
            error: None,
            truncated: false,
        }
    }

    async fn take(&mut self, exchange: &mut Exchange) {
        loop {
            match poll_fn(|cx| exchange.poll_turn(cx)).await {
                Turn::Answer { packet, last } => {
                    let payload = self.read(&packet);
                    exchange.refill(u32::try_from(payload.len()).unwrap_or(u32::MAX));
                    self.truncated |= !last && self.bytes > REPLAY_BYTES_MAX;
                    if last || self.truncated {
                        return;
                    }
                }
                Turn::Failed(fault) => {
                    self.fail(fault.code, fault.slug, &fault.reason);
                    return;
                }
                // Nothing is uploaded after the first frame.
                Turn::Upload(_) => {}
            }
        }
    }

    fn read(&mut self, packet: &Packet) -> Bytes {
        let payload = packet.payload();
        if packet.head(CALL.id).kind != Kind::Data {
            match packet.frame().map(|frame| frame.body) {
                // Progress, which is not the answer yet.
                Ok(Body::Response(response)) if matches!(response.status, 100..=199) => return Bytes::new(),
                Ok(Body::Response(response)) => {
                    self.status = response.status;
                    self.first = Some(self.began.elapsed());
                    self.headers =
                        response.headers.iter().map(|(name, value)| (name.into(), value.into())).collect();
                }
                Ok(Body::Error(failure)) => {
                    let slug = if failure.slug.is_empty() { failure.code.slug() } else { failure.slug };
                    self.fail(failure.code, slug, failure.reason);
                    return Bytes::new();
                }
                _ => return Bytes::new(),
            }
        }
        self.bytes += payload.len() as u64;
        let room = PREVIEW_BYTES.saturating_sub(self.preview.len());
        self.preview.extend_from_slice(&payload[..payload.len().min(room)]);
        payload
    }

    fn fail(&mut self, code: Code, slug: &str, reason: &str) {
        if self.status == 0 {
            self.status = code.http_status();
        }
        self.error = Some((slug.to_owned(), reason.to_owned()));
    }

    fn summary(self, number: u64) -> Value {
        let mut summary = json!({
            "replay_of": number,
            "status": self.status,
            "duration_ms": millis(self.began.elapsed()),
            "bytes_down": self.bytes,
            "headers": self.node.inspector.redacted(&self.headers),
        });
        if let Some(first) = self.first {
            summary["first_ms"] = millis(first).into();
        }
        if let Some((slug, reason)) = self.error {
            summary["error"] = slug.into();
            summary["reason"] = reason.into();
        }
        if self.truncated {
            summary["truncated"] = true.into();
        }
        if !self.preview.is_empty() {
            let shown = self.preview.utf8_chunks().next().map_or("", |chunk| chunk.valid());
            summary["body"] = shown.into();
        }
        summary
    }
}

fn millis(duration: Duration) -> u64 {
    u64::try_from(duration.as_millis()).unwrap_or(u64::MAX)
}
