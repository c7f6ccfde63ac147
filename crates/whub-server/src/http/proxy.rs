//! The HTTP side of an endpoint: a request goes to one of its upstreams, and the answer comes back, both streamed.

use std::sync::Arc;

use http_body_util::{BodyExt as _, Limited, combinators::UnsyncBoxBody};
use hyper::body::{Body as _, Bytes, Incoming};
use hyper::header::{
    CONNECTION, HOST, HeaderName, HeaderValue, PROXY_AUTHENTICATE, PROXY_AUTHORIZATION, TE, TRAILER,
    TRANSFER_ENCODING, UPGRADE,
};
use hyper::{Method, Request, Response};
use hyper_util::rt::TokioIo;
use tokio::time::timeout;
use whub_core::Fault;
use whub_proto::Code;

use crate::config::Config;
use crate::gateway::{self, Asked, Route};
use crate::http::body::HttpBody;
use crate::http::problem::Problem;

/// A body on its way to an endpoint.
type Passed = UnsyncBoxBody<Bytes, Box<dyn std::error::Error + Send + Sync>>;

/// Asks an upstream of the endpoint. A request is sent once: whether it may be repeated is the client's to say.
pub(super) async fn answer(
    config: &Config,
    route: &Arc<Route>,
    asked: Asked<'_>,
    method: Method,
    body: Incoming,
) -> Result<Response<HttpBody>, Problem> {
    let limit = config.limits.body_bytes.unwrap_or(usize::MAX);
    if body.size_hint().lower() > limit as u64 {
        let detail = format!("the body is longer than limits.body_bytes, {limit} bytes");
        return Err(Problem::new(Code::TooLarge, "http.body_too_large", detail));
    }
    let (upstream, stream) = gateway::connect(route).await?;
    let mut request = Request::new(Limited::new(body, limit).boxed_unsync());
    *request.method_mut() = method;
    *request.uri_mut() =
        gateway::target(&upstream.upstream().url, asked.rest, asked.query).parse().map_err(|_| {
            Problem::new(
                Code::BadRequest,
                "request.path",
                "the path makes no sense behind the endpoint's own",
            )
        })?;
    *request.headers_mut() = asked.headers;
    if let Ok(host) = HeaderValue::from_str(&upstream.upstream().url.server.authority()) {
        request.headers_mut().insert(HOST, host);
    }
    gateway::add_own_headers(&route.endpoint, request.headers_mut());
    let (mut sender, connection) = hyper::client::conn::http1::Builder::new()
        .title_case_headers(true)
        .handshake::<_, Passed>(TokioIo::new(stream))
        .await
        .map_err(|error| lost(route, &error))?;
    tokio::spawn(async move {
        // Its failure is the answer's. The upstream counts as in use until the answer is through.
        let _ = connection.await;
        drop(upstream);
    });
    let patience = config.limits.call_timeout;
    let answer = timeout(patience, sender.send_request(request)).await.map_err(|_| late(route))?;
    Ok(pass_answer(answer.map_err(|error| lost(route, &error))?))
}

/// An answer of an endpoint, as the client gets it.
pub(super) fn pass_answer(answer: Response<Incoming>) -> Response<HttpBody> {
    let (parts, body) = answer.into_parts();
    let mut passed = Response::new(HttpBody::passed(body));
    *passed.status_mut() = parts.status;
    let named: Vec<HeaderName> = named_in_connection(&parts.headers);
    for (name, value) in &parts.headers {
        if !is_hop_by_hop(name) && !named.contains(name) {
            passed.headers_mut().append(name, value.clone());
        }
    }
    passed
}

/// Fields that are between two neighbours (RFC 9110, section 7.6.1).
pub(super) fn is_hop_by_hop(name: &HeaderName) -> bool {
    [CONNECTION, UPGRADE, TRANSFER_ENCODING, TE, TRAILER, PROXY_AUTHENTICATE, PROXY_AUTHORIZATION]
        .contains(name)
        || matches!(name.as_str(), "keep-alive" | "proxy-connection")
}

fn named_in_connection(headers: &hyper::HeaderMap) -> Vec<HeaderName> {
    let lists = headers.get_all(CONNECTION).iter().filter_map(|list| list.to_str().ok());
    lists.flat_map(|list| list.split(',')).filter_map(|name| name.trim().parse().ok()).collect()
}

fn lost(route: &Route, error: &hyper::Error) -> Problem {
    let reason = format!("the endpoint {} was lost before it answered: {error}", route.name());
    Fault::passing(Code::ProviderLost, "gateway.lost", 1000, reason).into()
}

fn late(route: &Route) -> Problem {
    let reason = format!("the endpoint {} did not answer within limits.call_timeout", route.name());
    Fault::passing(Code::DeadlineExceeded, "gateway.late", 1000, reason).into()
}
