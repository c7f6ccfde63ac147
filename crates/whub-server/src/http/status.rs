//! `/v1/status` and `/v1/services`.

use bytes::Bytes;
use hyper::Response;
use hyper::header::{CACHE_CONTROL, CONTENT_TYPE, HeaderValue};
use serde_json::Value;
use whub_core::Identity;

use crate::http::body::HttpBody;
use crate::node::Node;
use crate::report;

/// The node now.
pub(super) fn status(node: &Node) -> Response<HttpBody> {
    json(&report::status(node))
}

/// The services that the asker may call.
pub(super) fn services(node: &Node, identity: &Identity) -> Response<HttpBody> {
    json(&report::services(node, &identity.grants))
}

/// An answer in JSON.
pub(super) fn json(value: &Value) -> Response<HttpBody> {
    let mut text = value.to_string();
    text.push('\n');
    let mut response = Response::new(HttpBody::full(Bytes::from(text)));
    let headers = response.headers_mut();
    headers.insert(CONTENT_TYPE, HeaderValue::from_static("application/json"));
    headers.insert(CACHE_CONTROL, HeaderValue::from_static("no-store"));
    response
}
