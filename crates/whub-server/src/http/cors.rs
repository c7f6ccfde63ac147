//! What web pages of other origins may read (CORS). Which of them may use the hub at all is the [guard](super::guard)'s
//! to say.
//!
//! A service that does this itself, as an application behind `whub expose` does, asks for every header of its callers.
//! It gets preflights too, and what it says stands; nothing is said twice.

use hyper::header::{
    ACCESS_CONTROL_ALLOW_CREDENTIALS, ACCESS_CONTROL_ALLOW_HEADERS, ACCESS_CONTROL_ALLOW_METHODS,
    ACCESS_CONTROL_ALLOW_ORIGIN, ACCESS_CONTROL_EXPOSE_HEADERS, ACCESS_CONTROL_MAX_AGE,
    ACCESS_CONTROL_REQUEST_HEADERS, ACCESS_CONTROL_REQUEST_METHOD, HeaderName, HeaderValue, VARY,
};
use hyper::http::request::Parts;
use hyper::{HeaderMap, Method, Response, StatusCode};

use crate::config::Cors;
use crate::http::body::HttpBody;
use crate::http::guard::Guest;

const REQUEST_PRIVATE_NETWORK: HeaderName = HeaderName::from_static("access-control-request-private-network");
const ALLOW_PRIVATE_NETWORK: HeaderName = HeaderName::from_static("access-control-allow-private-network");

/// Whether a browser asks before it sends.
pub(super) fn is_preflight(parts: &Parts) -> bool {
    parts.method == Method::OPTIONS && parts.headers.contains_key(ACCESS_CONTROL_REQUEST_METHOD)
}

/// The hub's answer to that.
pub(super) fn preflight(rules: &Cors, parts: &Parts) -> Response<HttpBody> {
    let mut response = Response::new(HttpBody::empty());
    *response.status_mut() = StatusCode::NO_CONTENT;
    let headers = response.headers_mut();
    if let Some(methods) = list(&rules.methods) {
        headers.insert(ACCESS_CONTROL_ALLOW_METHODS, methods);
    }
    let any_header = rules.headers.iter().any(|name| name == "*");
    // A star would not cover `Authorization`, and means nothing beside credentials: what was asked for is repeated.
    let asked = || parts.headers.get(ACCESS_CONTROL_REQUEST_HEADERS).cloned();
    if let Some(allowed) = if any_header { asked() } else { list(&rules.headers) } {
        headers.insert(ACCESS_CONTROL_ALLOW_HEADERS, allowed);
    }
    if parts.headers.contains_key(REQUEST_PRIVATE_NETWORK) {
        headers.insert(ALLOW_PRIVATE_NETWORK, HeaderValue::from_static("true"));
    }
    headers.insert(ACCESS_CONTROL_MAX_AGE, rules.max_age.as_secs().into());
    response
}

/// Lets the page read the answer, unless the service has decided that itself.
pub(super) fn admit(rules: &Cors, guest: &Guest, headers: &mut HeaderMap) {
    if headers.contains_key(ACCESS_CONTROL_ALLOW_ORIGIN) {
        return;
    }
    let exposed = exposed(rules, headers);
    headers.insert(ACCESS_CONTROL_ALLOW_ORIGIN, guest.origin().clone());
    if let Some(exposed) = exposed {
        headers.insert(ACCESS_CONTROL_EXPOSE_HEADERS, exposed);
    }
    if rules.credentials {
        headers.insert(ACCESS_CONTROL_ALLOW_CREDENTIALS, HeaderValue::from_static("true"));
    }
    vary(headers);
}

/// A page of elsewhere might get another answer, which caches have to know even of those that none asked for.
pub(super) fn vary(headers: &mut HeaderMap) {
    headers.append(VARY, HeaderValue::from_static("origin"));
}

fn exposed(rules: &Cors, headers: &HeaderMap) -> Option<HeaderValue> {
    if !rules.expose.iter().any(|name| name == "*") {
        return list(&rules.expose);
    }
    if !rules.credentials {
        return Some(HeaderValue::from_static("*"));
    }
    // Beside credentials a star is a header of that name.
    let names: Vec<_> = headers.keys().map(HeaderName::as_str).chain(["x-request-id"]).collect();
    HeaderValue::from_str(&names.join(", ")).ok()
}

fn list(words: &[String]) -> Option<HeaderValue> {
    if words.is_empty() { None } else { HeaderValue::from_str(&words.join(", ")).ok() }
}
