//! `/pair/<id>` without a WebSocket: a request and its answer as one half of a pair.
//!
//! The request's body is what the half sends, the answer's body what it receives; a `GET` sends nothing. The answer
//! begins when the other half is there, and ends when both directions have ended; where something is missing it breaks
//! off instead. One task moves both directions, each at the pace of the other half.

use std::future::poll_fn;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};

use bytes::{Buf as _, Bytes};
use hyper::body::{Body as _, Incoming};
use hyper::header::{CACHE_CONTROL, CONTENT_TYPE, HeaderValue, X_CONTENT_TYPE_OPTIONS};
use hyper::http::request::Parts;
use hyper::{Method, Response, Version};
use whub_core::{Fault, Guest, Letter, Mailbox, Parcel, Post, Sent, StreamHalf, StreamStanding};
use whub_proto::Code;
use whub_proto::names::PairId;

use crate::config::Config;
use crate::connection;
use crate::http::body::{BrokenOff, HttpBody};
use crate::http::pair_mailbox::{Item, PairMailbox};
use crate::http::problem::Problem;
use crate::http::subscribe::ACCEL_BUFFERING;
use crate::http::visit::{Engaged, Stay};
use crate::http::{credentials, upgrade};
use crate::node::Node;

/// Largest piece that is sent at once, bytes.
const PIECE_BYTES: usize = 64 * 1024;

/// Takes the seat and waits for the other half.
pub(super) async fn join(
    visit: &Stay,
    config: &Config,
    raw: &str,
    parts: &Parts,
    body: Incoming,
) -> Result<Response<HttpBody>, Problem> {
    check(parts, &body)?;
    let pair = PairId::from_url_segment(raw)
        .map_err(|error| Problem::new(error.code(), "pair.id", error.to_string()))?;
    let token: Option<Box<str>> = credentials::of_header(&parts.headers).map(Into::into);
    let identity = upgrade::named(visit, token.as_deref())?;
    identity.grants.may_pair(&pair)?;
    let guest = Guest::plain(identity.user, &credentials::pair_secret(&parts.headers, &[])?)?;
    let limit = config.limits.body_bytes.map_or(u64::MAX, |limit| limit as u64);
    if body.size_hint().lower() > limit {
        return Err(too_large(limit));
    }
    if visit.node.is_stopping() {
        return Err(Fault::draining().into());
    }
    let mut stream = PairStream::new(visit, config, (pair, guest, token), body, limit);
    let patience = config.limits.pair_wait;
    tokio::time::timeout(patience, poll_fn(|cx| stream.poll_partner(cx))).await.map_err(|_| nobody())??;
    let mut response = Response::new(HttpBody::pair(stream));
    let headers = response.headers_mut();
    // Whatever the other half says it is: no page of the hub's own origin is made of what somebody sent.
    headers.insert(CONTENT_TYPE, HeaderValue::from_static("application/octet-stream"));
    headers.insert(X_CONTENT_TYPE_OPTIONS, HeaderValue::from_static("nosniff"));
    headers.insert(CACHE_CONTROL, HeaderValue::from_static("no-store"));
    headers.insert(ACCEL_BUFFERING, HeaderValue::from_static("no"));
    Ok(response)
}

fn check(parts: &Parts, body: &Incoming) -> Result<(), Problem> {
    match parts.method {
        Method::GET if body.is_end_stream() => {}
        Method::GET => {
            let detail = "a GET only receives; send with PUT or POST";
            return Err(Problem::new(Code::BadRequest, "pair.get_body", detail));
        }
        Method::PUT | Method::POST => {}
        _ => return Err(Problem::method(parts.uri.path(), "GET, PUT, POST")),
    }
    if parts.version < Version::HTTP_11 {
        // Its answers end with their connection, so one that broke off looks whole.
        let detail =
            "a pair needs HTTP/1.1 or HTTP/2, where the end of an answer can be told from its breaking off";
        return Err(Problem::new(Code::BadRequest, "pair.http_version", detail));
    }
    Ok(())
}

/// A half under way.
#[derive(Debug)]
pub(super) struct PairStream {
    node: Arc<Node>,
    mailbox: Arc<PairMailbox>,
    half: StreamHalf,
    /// What it came with, and where it sits, to be checked again when the rules change.
    token: Option<Box<str>>,
    pair: PairId,
    /// The request's body, until all of it was read.
    body: Option<Incoming>,
    /// Read, but not yet sent.
    chunk: Bytes,
    /// What the client may still send.
    left: u64,
    limit: u64,
    /// The client has had its chance to be told to go on with its body.
    asked: bool,
    /// The answer has ended well.
    whole: bool,
    ended: bool,
    _sitting: Engaged,
}

/// Why the half ends before its time.
#[derive(Debug)]
enum Break {
    Fault(Fault),
    /// The client's body did not come whole.
    Upload,
    TooLarge,
}

impl PairStream {
    fn new(
        visit: &Stay,
        config: &Config,
        (pair, guest, token): (PairId, Guest, Option<Box<str>>),
        body: Incoming,
        limit: u64,
    ) -> Self {
        let node = Arc::clone(&visit.node);
        let mailbox = Arc::new(PairMailbox::new(node.hub.next_session(), config.limits.mailbox_bytes));
        let post: Arc<dyn Post> = mailbox.clone();
        node.enroll(&post);
        let half = StreamHalf::new(
            Arc::clone(&node.hub),
            Mailbox::new(post),
            pair.clone(),
            guest,
            connection::now().at,
        );
        let body = (!body.is_end_stream()).then_some(body);
        Self {
            node,
            mailbox,
            half,
            token,
            pair,
            body,
            chunk: Bytes::new(),
            left: limit,
            limit,
            asked: false,
            whole: false,
            ended: false,
            _sitting: visit.sit(),
        }
    }

    /// Ready when the other half is there. Meanwhile the first bytes of the body are fetched, so that a client that asks
    /// whether to send it is told, and one that leaves is noticed.
    fn poll_partner(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), Problem>> {
        if let Err(error) = self.fetch(cx) {
            return Poll::Ready(Err(self.problem(error)));
        }
        if !std::mem::replace(&mut self.asked, true) {
            // One turn, in which the client is told to go on: after the answer's head it is too late for that.
            cx.waker().wake_by_ref();
            return Poll::Pending;
        }
        loop {
            match self.half.standing() {
                StreamStanding::Paired | StreamStanding::Whole => return Poll::Ready(Ok(())),
                StreamStanding::Broken(fault) => return Poll::Ready(Err(fault.into())),
                StreamStanding::Waiting => {}
            }
            match std::task::ready!(self.mailbox.poll_item(cx)) {
                Item::Letter(letter) => self.handle_letter(letter),
                // Without a partner nobody sends anything.
                Item::Data { .. } => {}
            }
        }
    }

    /// The next bytes of the other half, `None` at the end. Moves what this half sends as well.
    pub(super) fn poll_bytes(&mut self, cx: &mut Context<'_>) -> Poll<Option<Result<Bytes, BrokenOff>>> {
        while !self.ended {
            if let Err(error) = self.send(cx) {
                return self.break_off(error);
            }
            match self.mailbox.poll_item(cx) {
                Poll::Ready(Item::Data { bytes, end }) => {
                    if end {
                        self.half.handle_heard_end();
                    }
                    if !bytes.is_empty() {
                        return Poll::Ready(Some(Ok(bytes)));
                    }
                }
                Poll::Ready(Item::Letter(letter)) => self.handle_letter(letter),
                Poll::Pending => match self.half.standing() {
                    StreamStanding::Whole => (self.ended, self.whole) = (true, true),
                    StreamStanding::Broken(fault) => return self.break_off(Break::Fault(fault)),
                    StreamStanding::Waiting | StreamStanding::Paired => return Poll::Pending,
                },
            }
        }
        Poll::Ready(None)
    }

    fn handle_letter(&mut self, letter: Letter) {
        let letter = if matches!(letter, Letter::Recheck) {
            let identity = self.node.authenticate(self.token.as_deref());
            match identity.and_then(|identity| identity.grants.may_pair(&self.pair)) {
                Ok(()) => return,
                Err(fault) => Letter::Kick(fault),
            }
        } else {
            letter
        };
        self.half.handle_letter(letter);
    }

    /// Sends as much as there is, and as the partner has room for.
    fn send(&mut self, cx: &mut Context<'_>) -> Result<(), Break> {
        while !self.half.has_sent_end() {
            self.fetch(cx)?;
            let end = self.chunk.is_empty() && self.body.is_none();
            let Some(partner) = self.half.partner() else {
                // It has gone meanwhile, and nothing was left to be said to it.
                if end {
                    self.half.handle_sent_end();
                }
                return Ok(());
            };
            if self.chunk.is_empty() && !end {
                return Ok(());
            }
            if !partner.mailbox.poll_room(cx.waker()) {
                return Ok(());
            }
            let count = self.chunk.len().min(PIECE_BYTES);
            let piece = Parcel::Data { seat: partner.seat, text: false, end, payload: &self.chunk[..count] };
            let counters = &self.node.hub.counters;
            match partner.mailbox.send(piece) {
                Sent::Room | Sent::Wait if count > 0 => counters.pair_messages.one(),
                Sent::Room | Sent::Wait => {}
                // The letter that says so is on its way.
                Sent::Gone if !end => return Ok(()),
                Sent::Gone => {}
            }
            self.chunk.advance(count);
            if end {
                self.half.handle_sent_end();
            }
        }
        Ok(())
    }

    /// Reads the next chunk of the body, unless there is one.
    fn fetch(&mut self, cx: &mut Context<'_>) -> Result<(), Break> {
        while self.chunk.is_empty()
            && let Some(body) = &mut self.body
        {
            let frame = match Pin::new(body).poll_frame(cx) {
                Poll::Pending => return Ok(()),
                Poll::Ready(None) => {
                    self.body = None;
                    return Ok(());
                }
                Poll::Ready(Some(Err(_))) => return Err(Break::Upload),
                Poll::Ready(Some(Ok(frame))) => frame,
            };
            // Trailers have no place in a pair.
            let Ok(chunk) = frame.into_data() else { continue };
            self.left = self.left.checked_sub(chunk.len() as u64).ok_or(Break::TooLarge)?;
            self.chunk = chunk;
        }
        Ok(())
    }

    fn problem(&self, error: Break) -> Problem {
        match error {
            Break::Fault(fault) => fault.into(),
            Break::TooLarge => too_large(self.limit),
            Break::Upload => {
                Problem::new(Code::BadRequest, "http.body_broken", "the body broke off or is malformed")
            }
        }
    }

    fn break_off<T>(&mut self, why: Break) -> Poll<Option<Result<T, BrokenOff>>> {
        self.ended = true;
        let why = match why {
            Break::Fault(fault) => fault.to_string(),
            Break::TooLarge => "its request is longer than limits.body_bytes".to_owned(),
            Break::Upload => "its request did".to_owned(),
        };
        Poll::Ready(Some(Err(BrokenOff(why))))
    }
}

/// However it ends: the partner is told, and nobody finds it in a table any more.
impl Drop for PairStream {
    fn drop(&mut self) {
        let late = self.mailbox.close();
        self.half.handle_lost(self.whole);
        late.for_each(|letter| self.half.handle_letter(letter));
        self.node.strike(self.mailbox.session());
    }
}

fn nobody() -> Problem {
    let detail = "nobody else came to this pair within limits.pair_wait";
    Fault::passing(Code::DeadlineExceeded, "pair.nobody", 1, detail).into()
}

fn too_large(limit: u64) -> Problem {
    let detail = format!("the body is longer than limits.body_bytes, {limit} bytes");
    Problem::new(Code::TooLarge, "http.body_too_large", detail)
}
