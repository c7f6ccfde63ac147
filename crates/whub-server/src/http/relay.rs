//! The listener for clients of rust-websocket-relay: `/<scope>/<id>`, or `/<id>`, and nothing else.
//!
//! Its halves meet all others of the node; only the paths and the refusals differ from `/pair/<id>`: a request that is
//! no WebSocket is 400, any other path or method 404, and no refusal has a body.

use hyper::body::Incoming;
use hyper::header::{CONTENT_LENGTH, CONTENT_TYPE};
use hyper::http::request::Parts;
use hyper::{Method, Request, Response};
use whub_proto::Code;

use crate::config::Config;
use crate::http::body::HttpBody;
use crate::http::guard;
use crate::http::head;
use crate::http::problem::Problem;
use crate::http::upgrade::{self, Place};
use crate::http::visit::Visit;

/// Answers one request.
pub(super) fn answer(visit: &Visit, request: Request<Incoming>) -> Response<HttpBody> {
    enter(visit, &visit.node.config(), request).unwrap_or_else(wordless)
}

fn enter(visit: &Visit, config: &Config, request: Request<Incoming>) -> Result<Response<HttpBody>, Problem> {
    let (parts, body) = request.into_parts();
    // The path outlives the parts, which the upgrade takes apart.
    let uri = parts.uri.clone();
    let is_wanted = upgrade::is_wanted(&parts);
    let Some(id) = id(config.relay.scope(), uri.path()).filter(|_| is_reading(&parts, is_wanted)) else {
        return Err(Problem::not_found(uri.path()));
    };
    guard::check(visit, &config.http, &parts)?;
    head::check(&parts, &config.limits)?;
    if guard::service_host(visit, &config.http, &parts).is_some() {
        // A host that is a service's is all that is reached by its name, and it has no pairs.
        return Err(Problem::not_found(uri.path()));
    }
    if !is_wanted {
        return Err(Problem::new(Code::BadRequest, "websocket.handshake", "this is for WebSockets"));
    }
    upgrade::upgrade(visit, config, Request::from_parts(parts, body), Place::Pair(id))
}

/// The raw id in a path, where there is one. A slash in it is escaped.
fn id<'a>(scope: &str, path: &'a str) -> Option<&'a str> {
    let rest = path.strip_prefix('/')?;
    let id = if scope.is_empty() { rest } else { rest.strip_prefix(scope)?.strip_prefix('/')? };
    (!id.is_empty() && !id.contains('/')).then_some(id)
}

fn is_reading(parts: &Parts, is_wanted: bool) -> bool {
    // HTTP/2 opens its WebSockets by CONNECT.
    parts.method == Method::GET || (parts.method == Method::CONNECT && is_wanted)
}

fn wordless(problem: Problem) -> Response<HttpBody> {
    let mut response = problem.into_response();
    *response.body_mut() = HttpBody::empty();
    response.headers_mut().remove(CONTENT_TYPE);
    response.headers_mut().remove(CONTENT_LENGTH);
    response
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_id_is_the_one_segment_behind_the_scope() {
        assert_eq!(id("", "/x"), Some("x"));
        assert_eq!(id("", "/a%2Fb"), Some("a%2Fb"));
        assert_eq!(id("s", "/s/x"), Some("x"));
        assert_eq!(id("a/b", "/a/b/x"), Some("x"));
        for path in ["/", "/a/b", "/x/"] {
            assert_eq!(id("", path), None, "{path}");
        }
        for path in ["/", "/x", "/s", "/s/", "/sx", "/S/x", "/s/x/y", "/t/x"] {
            assert_eq!(id("s", path), None, "{path}");
        }
    }
}
