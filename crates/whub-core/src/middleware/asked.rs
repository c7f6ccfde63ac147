//! A call as the chain sees it before a provider is chosen.

use std::sync::Arc;

use whub_proto::Request;
use whub_proto::names::ServicePath;

use crate::middleware::Fields;
use crate::placing::{Caller, Order};
use crate::services::Service;

/// How a call came in.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Door {
    /// A session of the whub protocol.
    #[default]
    Protocol,
    /// An HTTP request.
    Http,
    /// A part of the hub's own process.
    Local,
}

/// A call that is about to be made.
#[derive(Debug)]
pub struct Asked<'a> {
    /// Counts the calls of this node; the same in the [`CallRecord`](crate::middleware::CallRecord).
    pub number: u64,
    /// Who calls.
    pub caller: Caller<'a>,
    /// How the call came in.
    pub door: Door,
    /// Where to.
    pub path: &'a ServicePath<'a>,
    /// The service that has the path; `None` when nobody provides it, which the caller is told after the chain.
    pub service: Option<&'a Service>,
    /// The request as it came. Its headers are in [`headers`](Self::headers).
    pub request: &'a Request<'a>,
    /// The body, or its beginning.
    pub payload: &'a [u8],
    /// No more body follows.
    pub is_whole: bool,
    /// The headers that the provider will get.
    pub headers: Fields<'a>,
    /// Bytes of request body beyond which the call is ended with `TooLarge`. No limit at first; a step may lower it.
    pub request_bytes_max: u64,
    /// Bytes of response body beyond which the call is ended. No limit at first; a step may lower it.
    pub response_bytes_max: u64,
}

impl<'a> Asked<'a> {
    pub(crate) fn new(
        number: u64,
        caller: Caller<'a>,
        order: &Order<'a>,
        service: Option<&'a Service>,
    ) -> Self {
        Self {
            number,
            caller,
            door: order.door,
            path: order.path,
            service,
            request: order.request,
            payload: order.payload,
            is_whole: order.flags.contains(whub_proto::Flags::END),
            headers: Fields::new(order.request.headers),
            request_bytes_max: u64::MAX,
            response_bytes_max: u64::MAX,
        }
    }

    /// The pattern of the service that has the path.
    #[must_use]
    pub fn pattern(&self) -> Option<&'a str> {
        self.service.map(|service| service.pattern.as_str())
    }

    /// The headers that every provider of the service asked for although they are kept back by default.
    #[must_use]
    pub fn pass_headers(&self) -> Arc<[Box<str>]> {
        self.service.map(Service::pass_headers).unwrap_or_default()
    }

    /// The length of the body, where it is known before all of it has come.
    #[must_use]
    pub fn declared_bytes(&self) -> Option<u64> {
        if self.is_whole {
            return Some(self.payload.len() as u64);
        }
        self.request.headers.get("content-length").and_then(|length| length.parse().ok())
    }

    /// Whether the bodies have to be counted.
    pub(crate) fn is_bounded(&self) -> bool {
        self.request_bytes_max.min(self.response_bytes_max) < u64::MAX
    }
}
