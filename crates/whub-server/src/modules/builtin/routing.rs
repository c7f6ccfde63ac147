//! What the hub's own services have in common: methods, and answers about them.

use std::sync::Arc;

use serde_json::json;
use whub_core::Fault;
use whub_proto::Code;
use whub_proto::names::NameError;

use crate::local::{LocalAnswer, LocalRequest, LocalService};
use crate::node::Node;

/// A service that is only read.
pub(super) fn reading<F>(
    pattern: &'static str,
    node: &Arc<Node>,
    answer: F,
) -> Result<LocalService, NameError>
where
    F: Fn(&Arc<Node>, &LocalRequest) -> Result<serde_json::Value, Fault> + Send + Sync + 'static,
{
    let node = Arc::clone(node);
    LocalService::new(pattern, move |request| {
        let answer = match request.method.as_str() {
            "" | "GET" | "HEAD" => answer(&node, &request).into(),
            _ => wrong_method(pattern, "GET, HEAD"),
        };
        std::future::ready(answer.with_header("cache-control", "no-store"))
    })
}

/// 405, for HTTP and for the protocol alike.
pub(super) fn wrong_method(pattern: &str, allow: &str) -> LocalAnswer {
    let problem = json!({
        "type": "about:blank",
        "title": "Method Not Allowed",
        "status": 405,
        "detail": format!("{pattern} takes {allow}"),
        "code": u16::from(Code::BadRequest),
        "slug": "http.method",
        "retry_ms": 0,
        "message": format!("unsupported method for uri {pattern}"),
    });
    LocalAnswer::json(&problem)
        .with_status(405)
        .with_header("content-type", "application/problem+json")
        .with_header("allow", allow)
}
