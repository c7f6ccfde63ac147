//! `/v1/endpoints`: the endpoints of the gateway, for those who administer.

use std::time::Instant;

use hyper::Response;
use hyper::http::request::Parts;
use serde_json::{Value, json};
use whub_core::{Fault, Identity};
use whub_proto::Code;
use whub_proto::names::EndpointName;

use crate::config::{Endpoint, Target};
use crate::gateway::{ProcessState, Route, unknown};
use crate::http::body::HttpBody;
use crate::http::problem::Problem;
use crate::http::status::json as answer;
use crate::node::Node;

/// `own` is what follows `endpoints`.
pub(super) fn answer_with(
    node: &Node,
    identity: &Identity,
    own: &str,
    parts: &Parts,
) -> Result<Response<HttpBody>, Problem> {
    if !matches!(parts.method, hyper::Method::GET | hyper::Method::HEAD) {
        return Err(Problem::method(parts.uri.path(), "GET, HEAD"));
    }
    if !node.may_administer(identity) {
        node.hub.counters.forbidden.one();
        let reason =
            "where the endpoints are is for those who administer: it needs a token with `admin = true`";
        return Err(Fault::fatal(Code::Forbidden, "access.admin", reason).into());
    }
    let Some(raw) = own.strip_prefix('/').filter(|raw| !raw.is_empty()) else {
        let all: Vec<Value> = node.routes.all().iter().map(|route| of_route(route)).collect();
        return Ok(answer(&json!({ "endpoints": all })));
    };
    let name = EndpointName::from_url_segment(raw)
        .map_err(|error| Problem::new(error.code(), "gateway.name", error.to_string()))?;
    let route = node.routes.find(name.as_str()).ok_or_else(|| unknown(name.as_str()))?;
    Ok(answer(&of_route(&route)))
}

fn of_route(route: &Route) -> Value {
    let endpoint = &route.endpoint;
    json!({
        "endpoint": endpoint.name,
        "alias": endpoint.alias,
        "kind": kind(endpoint).0,
        "target": kind(endpoint).1,
        "up": route.is_up(),
        "sockets": route.sockets(),
        "connections_max": endpoint.connections,
        "upstreams": upstreams(route),
        "process": route.process().map(|state| process(&state)),
    })
}

/// What kind of endpoint it is, and where; upstreams are listed by themselves.
fn kind(endpoint: &Endpoint) -> (&'static str, Option<&str>) {
    match &endpoint.target {
        Target::Upstreams(_) => ("upstreams", None),
        Target::Service(path) => ("service", Some(path)),
        Target::Channel(name) => ("channel", Some(name)),
        Target::Pair(name) => ("pair", Some(name)),
    }
}

fn upstreams(route: &Route) -> Vec<Value> {
    let each = route.upstreams.iter().map(|upstream| {
        let trouble = upstream.trouble();
        json!({
            "url": upstream.url.to_string(),
            "up": upstream.is_up(),
            "connections": upstream.connections(),
            "trouble": trouble.as_ref().map(|trouble| &*trouble.what),
            "down_ms": trouble.as_ref().map(|trouble| millis(trouble.since.elapsed())),
        })
    });
    each.collect()
}

fn process(state: &ProcessState) -> Value {
    match state {
        ProcessState::Starting => json!({ "state": "starting" }),
        ProcessState::Running { pid, since } => {
            json!({ "state": "running", "pid": pid, "since_ms": millis(since.elapsed()) })
        }
        ProcessState::Waiting { until, why } => {
            let left = until.into_std().saturating_duration_since(Instant::now());
            json!({ "state": "waiting", "why": why, "starts_in_ms": millis(left) })
        }
        ProcessState::GaveUp { why } => json!({ "state": "gave_up", "why": why }),
        ProcessState::Stopped => json!({ "state": "stopped" }),
    }
}

fn millis(time: std::time::Duration) -> u64 {
    u64::try_from(time.as_millis()).unwrap_or(u64::MAX)
}
