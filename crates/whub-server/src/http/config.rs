//! `/v1/config`: what reading the configuration again would change, and doing it.

use std::sync::Arc;

use hyper::http::request::Parts;
use hyper::{Method, Response};
use serde_json::{Value, json};
use whub_core::{Fault, Identity};
use whub_proto::Code;

use crate::config::Problem as Flaw;
use crate::gateway::Change;
use crate::http::body::HttpBody;
use crate::http::problem::Problem;
use crate::http::status;
use crate::http::visit::Stay;
use crate::node::Node;
use crate::reload::{EndpointPlan, Plan, RereadError};

/// `/v1/config/…`; `own` is what follows `config`.
pub(super) async fn answer(
    visit: &Stay,
    identity: &Identity,
    own: &str,
    parts: &Parts,
) -> Result<Response<HttpBody>, Problem> {
    let path = parts.uri.path();
    let is_plan = match own {
        "/plan" => true,
        "/reload" => false,
        _ => return Err(Problem::not_found(path)),
    };
    match (is_plan, &parts.method) {
        (true, &Method::GET | &Method::HEAD) | (false, &Method::POST) => {}
        (true, _) => return Err(Problem::method(path, "GET, HEAD")),
        (false, _) => return Err(Problem::method(path, "POST")),
    }
    admit(&visit.node, identity)?;
    let node = Arc::clone(&visit.node);
    if !is_plan {
        tracing::info!(user = identity.user.as_deref(), "the configuration is to be read again");
    }
    // Reading files blocks.
    let asked = tokio::task::spawn_blocking(move || if is_plan { node.plan() } else { node.reread() }).await;
    let told = asked.map_err(|error| {
        let detail = format!("the configuration was not read: {error}");
        Problem::new(Code::Internal, "config.failed", detail)
    })?;
    match told {
        Ok(plan) => Ok(status::json(&shown(&plan))),
        Err(RereadError::Problems(problems)) if is_plan => {
            Ok(status::json(&json!({ "ok": false, "problems": texts(&problems.0) })))
        }
        Err(error @ RereadError::Problems(_)) => {
            Err(Problem::new(Code::Conflict, "config.problems", error.to_string()))
        }
        Err(error @ RereadError::NoSource) => {
            Err(Problem::new(Code::Unsupported, "config.no_source", error.to_string()))
        }
    }
}

fn admit(node: &Node, identity: &Identity) -> Result<(), Fault> {
    if node.may_administer(identity) {
        return Ok(());
    }
    node.hub.counters.forbidden.one();
    let reason = "the configuration is for those who administer: it needs a token with `admin = true`";
    Err(Fault::fatal(Code::Forbidden, "access.admin", reason))
}

fn shown(plan: &Plan) -> Value {
    // What changes of endpoints is told of each.
    let keys = plan.keys.iter().filter(|difference| difference.key != "endpoints");
    let keys: Vec<_> =
        keys.map(|difference| json!({ "key": difference.key, "restart": !difference.reloadable })).collect();
    let endpoints: Vec<_> = plan.endpoints.iter().map(endpoint).collect();
    json!({
        "ok": true,
        "problems": [],
        "warnings": texts(&plan.warnings),
        "keys": keys,
        "endpoints": endpoints,
    })
}

fn endpoint(endpoint: &EndpointPlan) -> Value {
    let change = match endpoint.change {
        Change::Add => "add",
        Change::Remove => "remove",
        Change::Redirect => "redirect",
        Change::Adjust => "change",
        Change::Keep => "keep",
    };
    json!({
        "name": endpoint.name,
        "change": change,
        "sockets": endpoint.sockets,
        "touched": endpoint.touched(),
    })
}

fn texts(problems: &[Flaw]) -> Vec<String> {
    problems.iter().map(ToString::to_string).collect()
}
