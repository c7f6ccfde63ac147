//! The HTTP side of an endpoint: a request goes to one of its upstreams, and the answer comes back, both streamed.

use std::error::Error as _;
use std::pin::{Pin, pin};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::time::Duration;

use http_body_util::{BodyExt as _, Empty, LengthLimitError, Limited};
use hyper::body::{Body as _, Incoming};
use hyper::header::{CONNECTION, HOST, HeaderName, HeaderValue};
use hyper::{Method, Request, Response};
use tokio::time::timeout;
use whub_core::Fault;
use whub_core::middleware::is_hop_by_hop;
use whub_proto::Code;

use crate::config::Config;
use crate::gateway::{self, Asked, Line, Passed, Route};
use crate::http::body::HttpBody;
use crate::http::problem::Problem;

/// Asks an upstream of the endpoint. A request is asked once; again, on a connection of its own, only one that is safe to
/// repeat and was given to a connection that the endpoint had hung up.
pub(super) async fn answer(
    config: &Config,
    route: &Arc<Route>,
    asked: Asked<'_>,
    method: Method,
    body: Incoming,
) -> Result<Response<HttpBody>, Problem> {
    let limit = config.limits.body_bytes.unwrap_or(usize::MAX);
    if body.size_hint().lower() > limit as u64 {
        return Err(too_large(limit));
    }
    let is_safe = method.is_safe() && body.is_end_stream();
    let uploaded = Arc::new(AtomicU64::new(0));
    let passed = counted(body, limit, Arc::clone(&uploaded));
    let mut line = Line::to(route, is_safe).await?;
    let request = request_for(route, &line, &asked, method.clone(), passed)?;
    let mut answer = ask(config, &mut line, request, &uploaded).await;
    if let (true, Some(Err(_))) = (line.is_used, &answer) {
        line = Line::to(route, false).await?;
        let nothing = Empty::new().map_err(|never| match never {}).boxed_unsync();
        let request = request_for(route, &line, &asked, method, nothing)?;
        answer = ask(config, &mut line, request, &uploaded).await;
    }
    let answer = answer.ok_or_else(|| late(route))?.map_err(|error| failed(route, limit, &error))?;
    line.give_back();
    Ok(pass_answer(answer))
}

fn request_for(
    route: &Route,
    line: &Line,
    asked: &Asked<'_>,
    method: Method,
    body: Passed,
) -> Result<Request<Passed>, Problem> {
    let url = &line.upstream().url;
    let mut request = Request::new(body);
    *request.method_mut() = method;
    *request.uri_mut() = gateway::target(url, asked.rest, asked.query).parse().map_err(|_| {
        let detail = "the path makes no sense behind the endpoint's own";
        Problem::new(Code::BadRequest, "request.path", detail)
    })?;
    *request.headers_mut() = asked.headers.clone();
    if let Ok(host) = HeaderValue::from_str(&url.server.authority()) {
        request.headers_mut().insert(HOST, host);
    }
    gateway::add_own_headers(&route.endpoint, request.headers_mut());
    Ok(request)
}

/// The answer; `None` when there is none in time.
async fn ask(
    config: &Config,
    line: &mut Line,
    request: Request<Passed>,
    uploaded: &AtomicU64,
) -> Option<hyper::Result<Response<Incoming>>> {
    let answering = pin!(line.sender.send_request(request));
    answer_of(answering, config.limits.call_timeout, uploaded).await
}

/// A body that is no longer than it may be, and tells how much of it went through.
fn counted(body: Incoming, limit: usize, uploaded: Arc<AtomicU64>) -> Passed {
    let counted = body.map_frame(move |frame| {
        uploaded.fetch_add(1, Relaxed);
        frame
    });
    Limited::new(counted, limit).boxed_unsync()
}

/// The answer; `None` when there was none for so long, nor did any of the request's body go through: a long upload takes
/// its time.
async fn answer_of<T>(
    mut answering: Pin<&mut impl Future<Output = T>>,
    patience: Duration,
    uploaded: &AtomicU64,
) -> Option<T> {
    let mut seen = 0;
    loop {
        if let Ok(answer) = timeout(patience, answering.as_mut()).await {
            return Some(answer);
        }
        if std::mem::replace(&mut seen, uploaded.load(Relaxed)) == seen {
            return None;
        }
    }
}

/// An answer of an endpoint, as the client gets it.
pub(super) fn pass_answer(answer: Response<Incoming>) -> Response<HttpBody> {
    let (parts, body) = answer.into_parts();
    let mut passed = Response::new(HttpBody::passed(body));
    *passed.status_mut() = parts.status;
    let named: Vec<HeaderName> = named_in_connection(&parts.headers);
    for (name, value) in &parts.headers {
        if !is_hop_by_hop(name.as_str()) && !named.contains(name) {
            passed.headers_mut().append(name, value.clone());
        }
    }
    passed
}

fn named_in_connection(headers: &hyper::HeaderMap) -> Vec<HeaderName> {
    let lists = headers.get_all(CONNECTION).iter().filter_map(|list| list.to_str().ok());
    lists.flat_map(|list| list.split(',')).filter_map(|name| name.trim().parse().ok()).collect()
}

/// Whose fault it is that there is no answer: the request's own body may have been too long.
fn failed(route: &Route, limit: usize, error: &hyper::Error) -> Problem {
    let is_too_large = error.source().is_some_and(|source| source.is::<LengthLimitError>());
    if is_too_large { too_large(limit) } else { lost(route, error) }
}

fn too_large(limit: usize) -> Problem {
    let detail = format!("the body is longer than limits.body_bytes, {limit} bytes");
    Problem::new(Code::TooLarge, "http.body_too_large", detail)
}

fn lost(route: &Route, error: &hyper::Error) -> Problem {
    let reason = format!("the endpoint {} was lost before it answered: {error}", route.name());
    Fault::passing(Code::ProviderLost, "gateway.lost", 1000, reason).into()
}

fn late(route: &Route) -> Problem {
    let reason = format!("the endpoint {} did not answer within limits.call_timeout", route.name());
    Fault::passing(Code::DeadlineExceeded, "gateway.late", 1000, reason).into()
}

#[cfg(test)]
mod tests {
    use tokio::time::sleep;

    use super::*;

    const PATIENCE: Duration = Duration::from_secs(30);

    #[tokio::test(start_paused = true)]
    async fn an_upload_that_goes_on_is_waited_for() {
        let uploaded = AtomicU64::new(0);
        let answering = pin!(async {
            for _ in 0..20 {
                sleep(PATIENCE / 2).await;
                uploaded.fetch_add(1, Relaxed);
            }
            "answer"
        });
        assert_eq!(answer_of(answering, PATIENCE, &uploaded).await, Some("answer"));
    }

    #[tokio::test(start_paused = true)]
    async fn an_endpoint_that_does_nothing_is_not() {
        let answering = pin!(std::future::pending::<()>());
        assert_eq!(answer_of(answering, PATIENCE, &AtomicU64::new(0)).await, None);
    }
}
