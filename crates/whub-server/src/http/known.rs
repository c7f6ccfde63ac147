//! Who calls a service, by which credential, and which header carried it.
//!
//! The hub's own credential never reaches a provider. A request that shows it as `Whub-Token` keeps `Authorization`
//! free for the application behind the service. Where a service is passed `authorization` by a rule or at its own wish,
//! and anonymous peers may call, a bearer token that the hub does not know is taken for the application's. So it is at
//! endpoints of the gateway.

use hyper::HeaderMap;
use whub_core::{Fault, Identity};
use whub_proto::names::ServicePath;

use crate::http::credentials;
use crate::http::visit::Visit;

/// A caller of a service.
#[derive(Debug)]
pub(super) struct Known {
    pub(super) identity: Identity,
    /// What it showed; `None` for anonymous callers.
    pub(super) token: Option<Box<str>>,
    /// That was in `Authorization`, which no provider may see.
    pub(super) hides_authorization: bool,
}

/// Finds out who calls the service at `path`. `offered` is the token among the subprotocols of a WebSocket.
///
/// # Errors
/// `Unauthorized`.
pub(super) fn caller(
    visit: &Visit,
    headers: &HeaderMap,
    offered: Option<Box<str>>,
    path: &ServicePath<'_>,
) -> Result<Known, Fault> {
    let verdict = check(visit, headers, offered, visit.node.passes_authorization(path));
    if verdict.is_err() {
        visit.node.hub.counters.unauthorized.one();
    }
    verdict
}

/// Finds out who asks for an endpoint of the gateway, which gets the `Authorization` of its own clients.
///
/// # Errors
/// `Unauthorized`.
pub(super) fn visitor(visit: &Visit, headers: &HeaderMap, offered: Option<Box<str>>) -> Result<Known, Fault> {
    let verdict = check(visit, headers, offered, true);
    if verdict.is_err() {
        visit.node.hub.counters.unauthorized.one();
    }
    verdict
}

fn check(
    visit: &Visit,
    headers: &HeaderMap,
    offered: Option<Box<str>>,
    passes_authorization: bool,
) -> Result<Known, Fault> {
    let node = &visit.node;
    if let Some(token) = credentials::own(headers) {
        let identity = node.authenticate(Some(token))?;
        // Whoever shows a token of the hub twice does not mean it for the application.
        let is_hubs = |bearer: &str| bearer == token || node.authenticate(Some(bearer)).is_ok();
        let hides_authorization = credentials::bearer(headers).is_some_and(is_hubs);
        return Ok(Known { identity, token: Some(token.into()), hides_authorization });
    }
    let Some(bearer) = credentials::bearer(headers) else {
        let identity = node.authenticate(offered.as_deref())?;
        return Ok(Known { identity, token: offered, hides_authorization: false });
    };
    match node.authenticate(Some(bearer)) {
        Ok(identity) => Ok(Known { identity, token: Some(bearer.into()), hides_authorization: true }),
        Err(_) if passes_authorization => {
            let identity = node.authenticate(offered.as_deref())?;
            Ok(Known { identity, token: offered, hides_authorization: false })
        }
        Err(fault) => Err(fault),
    }
}
