//! The name of a request, which its answer, its provider and the log agree on.

use hyper::HeaderMap;
use hyper::header::{HeaderName, HeaderValue};
use whub_core::middleware::is_sane;

use crate::http::visit::Visit;

/// The field that carries it.
pub(super) static FIELD: HeaderName = HeaderName::from_static("x-request-id");

/// The id: the client's own if it is sane, else made.
pub(super) fn of(headers: &HeaderMap, visit: &Visit) -> HeaderValue {
    if let Some(id) = headers.get(&FIELD).filter(|id| is_sane(id.as_bytes())) {
        return id.clone();
    }
    let made = format!("{}.{}", visit.client, visit.requests());
    // Letters, digits, `-` and `.` always make a value.
    HeaderValue::from_maybe_shared(bytes::Bytes::from(made)).unwrap_or(HeaderValue::from_static("-"))
}

/// The id as text.
pub(super) fn text(id: &HeaderValue) -> &str {
    id.to_str().unwrap_or("-")
}
