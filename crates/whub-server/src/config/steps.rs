//! What happens to calls on their way: the sections of the middleware, and those of HTTP beside it.

use std::time::Duration;

use whub_core::middleware::{HeaderName, Rate};
use whub_proto::names::Pattern;
use whub_transport::Networks;

/// Section `middleware`: the chain.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Middleware {
    /// The steps in their order.
    pub order: Vec<String>,
    /// Networks that get nothing.
    pub block: Networks,
    /// Bytes of a request's body; `None` is no limit.
    pub request_bytes: Option<usize>,
    /// Bytes of a response's body; `None` is no limit.
    pub response_bytes: Option<usize>,
}

/// Section `authentication`.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Authentication {
    /// Paths that need a token.
    pub required: Vec<Pattern>,
}

/// Section `headers`.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Headers {
    /// Of requests.
    pub request: RequestHeaders,
    /// Of answers.
    pub response: ResponseHeaders,
}

/// Section `headers.request`.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct RequestHeaders {
    /// Never passed to a provider.
    pub block: Vec<HeaderName>,
    /// If not empty, only these are passed.
    pub allow: Vec<HeaderName>,
    /// Passed although they are kept back by default.
    pub pass: Vec<HeaderName>,
}

/// Section `headers.response`.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ResponseHeaders {
    /// Never passed to a caller.
    pub block: Vec<HeaderName>,
    /// If not empty, only these are passed.
    pub keep: Vec<HeaderName>,
}

/// Section `rate`.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct RateSection {
    /// Calls of each client.
    pub client: Option<Rate>,
    /// Calls of each address.
    pub address: Option<Rate>,
    /// Calls of each service.
    pub service: Option<Rate>,
    /// Calls of each address in a window; beyond four times as many it is blocked.
    pub throttle: Option<Rate>,
    /// How long an address is blocked.
    pub block_for: Duration,
    /// Addresses that are limited neither by `address` nor by `throttle`.
    pub exempt: Networks,
}

/// What one `[[services]]` table says of the calls of its services, beside how their providers are chosen.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ServiceRules {
    /// Calls of each service, whoever calls.
    pub rate: Option<Rate>,
    /// Calls of each client.
    pub rate_client: Option<Rate>,
    /// Calls of each address.
    pub rate_address: Option<Rate>,
    /// Bytes of a request's body, instead of `middleware.request_bytes`.
    pub request_bytes: Option<usize>,
    /// Bytes of a response's body, instead of `middleware.response_bytes`.
    pub response_bytes: Option<usize>,
    /// Headers of requests.
    pub request: RequestHeaders,
    /// Headers of answers.
    pub response: ResponseHeaders,
}

/// Section `cors`.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Cors {
    /// Methods that pages of allowed origins may use.
    pub methods: Vec<String>,
    /// Request headers that they may set; `*` for any.
    pub headers: Vec<String>,
    /// Response headers that they may read; `*` for any.
    pub expose: Vec<String>,
    /// Whether their requests may carry cookies.
    pub credentials: bool,
    /// How long a browser may remember the answer to a preflight.
    pub max_age: Duration,
}

/// Section `compression`.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Compression {
    /// Whether answers are compressed for clients that accept it.
    pub enabled: bool,
    /// Shorter bodies whose length is known are sent as they are, bytes.
    pub min_bytes: usize,
    /// Media types worth it; `text/*` for all that begin so.
    pub types: Vec<String>,
}
