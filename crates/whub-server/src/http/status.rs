//! `/v1/status` and `/v1/services`.

use bytes::Bytes;
use hyper::Response;
use hyper::header::{CACHE_CONTROL, CONTENT_TYPE, HeaderValue};
use hyper::http::request::Parts;
use serde_json::Value;
use whub_core::{Fault, Identity};
use whub_proto::names::Pattern;

use crate::discovery::News;
use crate::http::body::HttpBody;
use crate::http::problem::Problem;
use crate::http::visit::Stay;
use crate::http::{credentials, live};
use crate::node::Node;
use crate::report;

/// The node now.
pub(super) fn status(node: &Node) -> Response<HttpBody> {
    json(&report::status(node))
}

/// `/v1/services` and what is below it; `path` is what follows `services`, decoded by nobody.
pub(super) fn services(
    visit: &Stay,
    identity: &Identity,
    path: &str,
    parts: &Parts,
) -> Result<Response<HttpBody>, Problem> {
    let node = &visit.node;
    // Of a service with a host of its own the path begins with two slashes.
    let scope = Some(path).filter(|path| !matches!(*path, "" | "/"));
    let query = parts.uri.query();
    // Heard before the list is made, so that nobody comes unnoticed in between.
    let news = node.discovery.news();
    let listed = match scope {
        None => report::services(node, identity),
        Some(path) => report::service(node, identity, path).ok_or_else(|| Problem::not_found(path))?,
    };
    if !live::is_wanted(query) {
        return Ok(json(&listed));
    }
    let pattern = listed["pattern"].as_str().and_then(|pattern| Pattern::parse(pattern).ok());
    let token = credentials::of_header(&parts.headers).map(Into::into);
    let name = if scope.is_some() { "service" } else { "services" };
    Ok(live::listen(visit, token, (name, &listed), news, Onlooker { pattern }))
}

/// Somebody who waits for providers that come and go, of one service or of all that it may know of.
struct Onlooker {
    pattern: Option<Pattern>,
}

impl live::Listener for Onlooker {
    type News = News;

    fn show(&self, identity: &Identity, news: &News) -> Result<Option<(&'static str, Value)>, Fault> {
        let concerns = self.pattern.as_ref().is_none_or(|pattern| *pattern == news.pattern);
        let is_shown = concerns && report::may_see(identity, &news.pattern, &news.access);
        Ok(is_shown.then(|| (news.name(), news.show())))
    }
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
