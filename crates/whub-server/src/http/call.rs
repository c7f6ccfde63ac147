//! A request for a service's path becomes a call, and its outcome the answer.

use std::future::poll_fn;
use std::pin::Pin;
use std::sync::Arc;

use bytes::{Bytes, BytesMut};
use hyper::body::{Body as _, Incoming};
use hyper::header::{CONTENT_LENGTH, CONTENT_TYPE, EXPECT, HeaderName, HeaderValue, TRAILER};
use hyper::http::request::Parts;
use hyper::{HeaderMap, Method, Response, StatusCode};
use whub_core::middleware::Door;
use whub_core::{Caller, Fault, HEAD_TOO_LARGE, Identity, Mailbox, Order, Packet};
use whub_proto::names::ServicePath;
use whub_proto::{Body, Code, Flags, Request};

use crate::config::Config;
use crate::connection::now;
use crate::http::body::HttpBody;
use crate::http::caller::{CALL, CallerMailbox};
use crate::http::exchange::{Download, Exchange, Turn};
use crate::http::forwarded::{Way, authority, way};
use crate::http::head;
use crate::http::known::{self, Known};
use crate::http::problem::Problem;
use crate::http::request_id;
use crate::http::tie::Tie;
use crate::http::trace::Trace;
use crate::http::trailers;
use crate::http::upload::{Upload, UploadError};
use crate::http::visit::Visit;

/// How often the call was moved to another provider, where it was.
const MOVED: HeaderName = HeaderName::from_static("whub-moved");

/// A body that is no longer than this, and says so, travels in the frame of its request, bytes. One whose client waits
/// for a 100 is not asked for before a provider has the call.
const WHOLE_BYTES: u64 = 64 * 1024;

/// Calls the service at `path`, a raw path, and waits for the head of its answer.
pub(super) async fn call(
    visit: &Visit,
    config: &Config,
    id: &HeaderValue,
    path: &str,
    parts: &Parts,
    body: Incoming,
) -> Result<Response<HttpBody>, Problem> {
    let limits = &config.limits;
    let path = parse(path)?;
    let known = admit(visit, id, &path, parts, parts.method.as_str(), None)?;
    let body_bytes_max = limits.body_bytes.map_or(u64::MAX, |limit| limit as u64);
    let declared = body.size_hint().lower();
    if declared > body_bytes_max {
        return Err(too_large(body_bytes_max));
    }
    let (first, upload) = if body.is_end_stream() {
        (Bytes::new(), None)
    } else if !parts.headers.contains_key(EXPECT)
        && body.size_hint().exact().is_some_and(|bytes| bytes <= WHOLE_BYTES)
    {
        let patience = limits.call_timeout;
        let whole = tokio::time::timeout(patience, whole(body)).await.map_err(|_| too_slow())?;
        let (whole, trailers) = whole.map_err(|error| broken_upload(error, body_bytes_max))?;
        (whole, trailers.map(Upload::of_trailers))
    } else {
        (Bytes::new(), Some(Upload::new(body, body_bytes_max)))
    };
    let asked = Asked::new(visit, config, &known.identity, id, &path, parts)?;
    let pairs = head::pairs(&parts.headers, known.hides_authorization)?;
    let rest = upload.map_or(Rest::Nothing, Rest::Upload);
    let mut exchange = asked.place(parts.method.as_str(), pairs, &first, rest)?;
    drop(first);
    match poll_fn(|cx| exchange.poll_turn(cx)).await {
        Turn::Answer { packet, last } => answer(exchange, &packet, last, &parts.method),
        Turn::Failed(fault) => Err(failed(fault, id)),
        Turn::Upload(error) => Err(broken_upload(error, body_bytes_max)),
    }
}

pub(super) fn parse(path: &str) -> Result<ServicePath<'_>, Problem> {
    ServicePath::parse(path).map_err(|error| {
        if error.code() == Code::NotFound {
            return Problem::not_found(path);
        }
        Problem::new(error.code(), "request.path", error.to_string())
    })
}

/// Who calls, if it may call this. `offered` is the token among the subprotocols of a WebSocket.
pub(super) fn admit(
    visit: &Visit,
    id: &HeaderValue,
    path: &ServicePath<'_>,
    parts: &Parts,
    method: &str,
    offered: Option<Box<str>>,
) -> Result<Known, Problem> {
    let away = |user: &str, fault| turn_away(visit, id, path, parts, (method, user), fault);
    let known = known::caller(visit, &parts.headers, offered, path).map_err(|fault| away("", fault))?;
    let user = known.identity.user.as_deref().unwrap_or_default();
    known.identity.grants.may_call(path).map_err(|fault| away(user, fault))?;
    if visit.node.is_stopping() {
        return Err(away(user, Fault::draining()));
    }
    Ok(known)
}

/// A call that is refused here: the chain hears of it too.
fn turn_away(
    visit: &Visit,
    id: &HeaderValue,
    path: &ServicePath<'_>,
    parts: &Parts,
    (method, user): (&str, &str),
    fault: Fault,
) -> Problem {
    let mut pairs = head::pairs(&parts.headers, true).unwrap_or_default();
    pairs.push((request_id::FIELD.as_str(), request_id::text(id)));
    let hub = &visit.node.hub;
    let request = Request {
        path: path.as_str(),
        method,
        headers: whub_proto::Headers::new(&pairs),
        query: parts.uri.query().unwrap_or_default(),
        authority: authority(parts),
        ..Request::default()
    };
    let mailbox = Mailbox::new(Arc::new(CallerMailbox::new(hub.next_session())));
    let peer = way(visit, &visit.node.config(), parts).client().map(|ip| ip.to_string());
    let peer = peer.as_deref().unwrap_or(&visit.address);
    let caller = Caller { mailbox: &mailbox, client: &visit.client, user, peer };
    let order = Order {
        id: CALL,
        path,
        request: &request,
        envelope: None,
        door: Door::Http,
        payload: &[],
        flags: Flags::NONE,
        timeout_ms: 0,
        credit: 0,
    };
    refused(hub.turn_away(now(), caller, &order, fault))
}

/// A request as it is about to be placed.
pub(super) struct Asked<'a> {
    visit: &'a Visit,
    identity: &'a Identity,
    id: &'a HeaderValue,
    path: &'a ServicePath<'a>,
    parts: &'a Parts,
    timeout_ms: u32,
    way: Way,
    trace: Trace,
}

/// What follows a request.
#[derive(Debug)]
pub(super) enum Rest {
    /// Nothing.
    Nothing,
    /// The rest of its body.
    Upload(Upload),
    /// Messages of a WebSocket.
    Messages,
}

impl<'a> Asked<'a> {
    pub(super) fn new(
        visit: &'a Visit,
        config: &Config,
        identity: &'a Identity,
        id: &'a HeaderValue,
        path: &'a ServicePath<'a>,
        parts: &'a Parts,
    ) -> Result<Self, Problem> {
        let timeout_ms = head::timeout_ms(&parts.headers)?;
        let way = way(visit, config, parts);
        let trace = Trace::of(&parts.headers);
        Ok(Self { visit, identity, id, path, parts, timeout_ms, way, trace })
    }

    /// Places the call. `pairs` are the headers that the provider gets to see, but for those that the hub adds.
    pub(super) fn place<'p>(
        &'p self,
        method: &str,
        mut pairs: Vec<(&'p str, &'p str)>,
        first: &[u8],
        rest: Rest,
    ) -> Result<Exchange, Problem> {
        let hub = &self.visit.node.hub;
        self.way.apply(&mut pairs);
        self.trace.apply(&mut pairs);
        pairs.push((request_id::FIELD.as_str(), request_id::text(self.id)));
        let format = head::format(&self.parts.headers);
        let request = Request {
            path: self.path.plain(),
            method,
            timeout_ms: self.timeout_ms,
            format,
            headers: whub_proto::Headers::new(&pairs),
            query: self.parts.uri.query().unwrap_or_default(),
            scheme: self.way.scheme(),
            authority: authority(self.parts),
            key: head::text(&self.parts.headers, &head::KEY)?,
            idempotency: head::text(&self.parts.headers, &head::IDEMPOTENCY_KEY)?,
            ..Request::default()
        };
        let is_text = !first.is_empty() && head::may_be_text(format) && std::str::from_utf8(first).is_ok();
        let ended = matches!(rest, Rest::Nothing);
        let flags = Flags::NONE.with_if(ended, Flags::END).with_if(is_text, Flags::TEXT);
        let caller = Arc::new(CallerMailbox::new(hub.next_session()));
        let mailbox = Mailbox::new(caller.clone());
        let client = self.way.client().map(|ip| ip.to_string());
        let asking = Caller {
            mailbox: &mailbox,
            client: &self.visit.client,
            user: self.identity.user.as_deref().unwrap_or_default(),
            peer: client.as_deref().unwrap_or(&self.visit.address),
        };
        let order = Order {
            id: CALL,
            path: self.path,
            request: &request,
            envelope: None,
            door: Door::Http,
            payload: first,
            flags,
            timeout_ms: self.timeout_ms,
            credit: 0,
        };
        let placed = hub.place_call(now(), asking, &order).map_err(refused)?;
        let upload = if let Rest::Upload(upload) = rest { Some(upload) } else { None };
        Ok(Exchange::new(Tie::new(Arc::clone(hub), placed.place, caller), upload))
    }
}

/// A body of known and small length, in one piece; most come in one. With what follows it.
async fn whole(mut body: Incoming) -> Result<(Bytes, Option<HeaderMap>), UploadError> {
    let (mut whole, mut trailers) = (Bytes::new(), None);
    let mut joined = BytesMut::new();
    while let Some(frame) = poll_fn(|cx| Pin::new(&mut body).poll_frame(cx)).await {
        let data = match frame.map_err(|_| UploadError::BrokenOff)?.into_data() {
            Ok(data) => data,
            Err(frame) => {
                trailers = frame.into_trailers().ok();
                continue;
            }
        };
        if whole.is_empty() && joined.is_empty() {
            whole = data;
            continue;
        }
        joined.extend_from_slice(&std::mem::take(&mut whole));
        joined.extend_from_slice(&data);
    }
    Ok((if joined.is_empty() { whole } else { joined.freeze() }, trailers))
}

/// The first frame of the answer becomes the head.
pub(super) fn answer(
    exchange: Exchange,
    packet: &Packet,
    last: bool,
    method: &Method,
) -> Result<Response<HttpBody>, Problem> {
    let frame = packet.frame().map_err(|error| bad_answer(error.to_string()))?;
    if let Body::Error(failure) = &frame.body {
        let mut answer = Problem::of_service(failure).into_response();
        head::fill_beside(&mut answer, packet, failure.headers);
        return Ok(answer);
    }
    let Body::Response(response) = &frame.body else {
        return Err(bad_answer(format!("the service began its answer with {:?}", frame.head.kind)));
    };
    let Some(status) = head::status(response.status) else {
        return Err(bad_answer(format!("the service answered with the status {}", response.status)));
    };
    let bodiless =
        method == Method::HEAD || matches!(status, StatusCode::NO_CONTENT | StatusCode::NOT_MODIFIED);
    let payload = packet.payload();
    let has_body = !last || !payload.is_empty();
    let body = if bodiless {
        HttpBody::empty()
    } else if last {
        HttpBody::full(payload)
    } else {
        HttpBody::download(Download::new(exchange, payload))
    };
    let mut answer = Response::new(body);
    *answer.status_mut() = status;
    head::fill(&mut answer, packet, response.headers);
    if let Some(names) = trailers::announced(response.headers).filter(|_| !last && !bodiless) {
        answer.headers_mut().insert(TRAILER, names);
    }
    // Only the hub says so.
    answer.headers_mut().remove(MOVED);
    if let Some(via) = frame.via.filter(|via| via.moved > 0) {
        answer.headers_mut().insert(MOVED, u16::from(via.moved).into());
    }
    // The length of a whole body is known here; of others it is the service's word, which hyper holds it to.
    if (bodiless || !last)
        && status != StatusCode::NO_CONTENT
        && let Some(length) = response.headers.get("content-length").and_then(|text| text.parse::<u64>().ok())
    {
        answer.headers_mut().insert(CONTENT_LENGTH, length.into());
    }
    if has_body && !bodiless && !answer.headers().contains_key(CONTENT_TYPE) {
        answer.headers_mut().insert(CONTENT_TYPE, head::content_type(response.format));
    }
    Ok(answer)
}

pub(super) fn failed(fault: Fault, id: &HeaderValue) -> Problem {
    let problem = Problem::from(fault);
    if problem.code() == Code::DeadlineExceeded {
        let message = format!("request timeout for message {}", request_id::text(id));
        return problem.with_message(message);
    }
    problem
}

pub(super) fn bad_answer(detail: String) -> Problem {
    Problem::new(Code::ProviderLost, "service.bad_answer", detail)
}

fn too_large(body_bytes_max: u64) -> Problem {
    let detail = format!("the body is longer than limits.body_bytes, {body_bytes_max} bytes");
    Problem::new(Code::TooLarge, "http.body_too_large", detail)
}

fn too_slow() -> Problem {
    Problem::new(Code::Timeout, "http.body_timeout", "the body did not come in time")
}

fn broken_upload(error: UploadError, body_bytes_max: u64) -> Problem {
    match error {
        UploadError::TooLarge => too_large(body_bytes_max),
        UploadError::BrokenOff => {
            Problem::new(Code::BadRequest, "http.body_broken", "the body broke off or is malformed")
        }
    }
}

fn refused(fault: Fault) -> Problem {
    if fault.slug == HEAD_TOO_LARGE {
        return Problem::from(fault).with_status(StatusCode::REQUEST_HEADER_FIELDS_TOO_LARGE);
    }
    fault.into()
}
