//! A call as it is remembered, and how it ended.

use std::borrow::Cow;
use std::sync::Arc;
use std::time::Duration;

use whub_proto::names::Pattern;
use whub_proto::{Code, Flags, Format, Frame, Response};

use crate::fault::Fault;
use crate::hub::Now;
use crate::middleware::{Asked, Door, Fields};
use crate::packet::Packet;

/// A call that is under way or over. Made only when a step of the chain watches.
#[derive(Debug)]
pub struct CallRecord {
    /// Counts the calls of this node; never 0.
    pub number: u64,
    /// When it was asked.
    pub began: Now,
    /// How it came in.
    pub door: Door,
    /// The raw path, without query.
    pub path: Box<str>,
    /// The pattern of the service; `None` when nobody provides the path.
    pub service: Option<Pattern>,
    /// The method; empty where the caller named none.
    pub method: Box<str>,
    /// The hub's name for the client.
    pub client: Box<str>,
    /// The token's name; empty for anonymous callers.
    pub user: Box<str>,
    /// The caller's address; empty where it has none.
    pub peer: Box<str>,
    /// `x-request-id`, as the provider sees it; empty where there is none.
    pub request_id: Box<str>,
}

impl CallRecord {
    pub(crate) fn new(began: Now, asked: &Asked<'_>) -> Self {
        Self {
            number: asked.number,
            began,
            door: asked.door,
            path: asked.path.as_str().into(),
            service: asked.service.map(|service| service.pattern.clone()),
            method: asked.request.method.into(),
            client: asked.caller.client.into(),
            user: asked.caller.user.into(),
            peer: asked.caller.peer.into(),
            request_id: asked.headers.get("x-request-id").unwrap_or_default().into(),
        }
    }
}

/// The head of an answer on its way to the caller.
#[derive(Debug)]
pub struct AnswerHead<'a> {
    /// The status that the service gave.
    pub status: u16,
    /// What the body is, where the headers do not say.
    pub format: Format,
    /// The headers that the caller will get.
    pub headers: Fields<'a>,
    /// The body, or its beginning.
    pub payload: &'a [u8],
    /// Nothing follows.
    pub is_whole: bool,
    /// The hub's name for the client that gave it.
    pub provider: Option<Arc<str>>,
}

impl<'a> AnswerHead<'a> {
    pub(crate) fn new(frame: &Frame<'a>, response: &Response<'a>, provider: Option<Arc<str>>) -> Self {
        Self {
            status: response.status,
            format: response.format,
            headers: Fields::new(response.headers),
            payload: frame.payload,
            is_whole: frame.head.flags.contains(Flags::END),
            provider,
        }
    }

    /// The frame with the headers as they are now; `None` if they are what they were, or no longer fit a frame.
    pub(crate) fn rebuilt(&self, frame: &Frame<'_>, response: &Response<'_>) -> Option<Packet> {
        let pairs = self.headers.changes()?;
        let response = Response { headers: whub_proto::Headers::new(&pairs), ..*response };
        let body = whub_proto::Body::Response(response);
        Packet::try_build(&body, frame.head.flags, frame.via.as_ref(), frame.payload).ok()
    }
}

/// How a call ended.
#[derive(Debug, Clone)]
pub struct Outcome {
    /// The status as an HTTP caller sees it: the service's, or that of the fault. 499 for calls that their caller
    /// cancelled.
    pub status: u16,
    /// What went wrong; `Unspecified` when the service answered with a response.
    pub code: Code,
    /// The stable string of what went wrong; empty when nothing did.
    pub slug: Cow<'static, str>,
    /// The chain, or the table of services, turned the call away: no provider has seen it.
    pub refused: bool,
    /// From the request to the moment when the provider that was asked last had it; `None` when none had.
    pub taken: Option<Duration>,
    /// From the request to the head of the answer, if one came.
    pub first: Option<Duration>,
    /// From the request to the end.
    pub duration: Duration,
    /// Bytes of request body.
    pub bytes_up: u64,
    /// Bytes of response body.
    pub bytes_down: u64,
    /// How often the call was moved to another provider.
    pub moved: u8,
    /// The hub's name for the client that provided the answer, or owed it last.
    pub provider: Option<Arc<str>>,
}

impl Outcome {
    /// The end of a call that no provider has seen.
    pub(crate) fn refused(fault: &Fault, bytes_up: u64) -> Self {
        Self {
            status: fault.code.http_status(),
            code: fault.code,
            slug: fault.slug.into(),
            refused: true,
            taken: None,
            first: None,
            duration: Duration::ZERO,
            bytes_up,
            bytes_down: 0,
            moved: 0,
            provider: None,
        }
    }
}
