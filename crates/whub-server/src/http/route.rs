//! From a request to its answer.

use std::convert::Infallible;
use std::time::Instant;

use bytes::Bytes;
use hyper::body::{Body as _, Incoming};
use hyper::header::{CACHE_CONTROL, CONNECTION, CONTENT_TYPE, HeaderValue, TRANSFER_ENCODING};
use hyper::http::request::Parts;
use hyper::{Method, Request, Response, StatusCode, Version};
use tracing::Level;
use whub_core::Identity;
use whub_proto::Code;
use whub_proto::names::ServicePath;

use crate::config::Config;
use crate::http::body::HttpBody;
use crate::http::guard;
use crate::http::head;
use crate::http::problem::Problem;
use crate::http::upgrade::{self, Place};
use crate::http::visit::Stay;
use crate::http::{
    House, call, compress, config as configuration, cors, credentials, endpoints, gateway, inspect, metrics,
    page, pair, publish, relay, request_id, rooms, status, subscribe, websocket,
};

/// Answers one request. Never fails: what goes wrong is an answer too.
pub(super) async fn respond(
    stay: Stay,
    house: House,
    request: Request<Incoming>,
) -> Result<Response<HttpBody>, Infallible> {
    let began = Instant::now();
    let id = request_id::of(request.headers(), &stay);
    // Paths are logged without their query, which may hold a token of old.
    let logged =
        tracing::enabled!(Level::DEBUG).then(|| (request.method().clone(), request.uri().path().to_owned()));
    let ends_connection = is_chunked(&request);
    let opens_tunnel = is_tunnel(&request);
    let has_body = !request.body().is_end_stream();
    let mut response = match house {
        House::Hub => answer(&stay, &id, request).await,
        House::Relay => relay::answer(&stay, request),
    };
    if has_body && !response.status().is_success() {
        stay.linger();
    }
    // Whoever stands in front may take the connection for a tunnel already: what follows a refusal is no request.
    if ends_connection || (opens_tunnel && response.status() != StatusCode::SWITCHING_PROTOCOLS) {
        response.headers_mut().insert(CONNECTION, HeaderValue::from_static("close"));
    }
    if let Some((method, path)) = logged {
        let (status, ms) = (response.status().as_u16(), began.elapsed().as_secs_f32() * 1000.0);
        let request_id = request_id::text(&id);
        tracing::debug!(%method, path, status, ms, request_id, peer = %stay.address, "request");
    }
    response.headers_mut().insert(&request_id::FIELD, id);
    response.body_mut().keep(stay);
    Ok(response)
}

/// A body in chunks is the last thing on its HTTP/1 connection. hyper takes the chunks for true and hides a
/// `Content-Length` that contradicts them; whoever stands in front may have believed that one, so what follows may
/// be a request that nobody let pass.
fn is_chunked(request: &Request<Incoming>) -> bool {
    request.version() != Version::HTTP_2 && request.headers().contains_key(TRANSFER_ENCODING)
}

/// A WebSocket's handshake on an HTTP/1 connection.
fn is_tunnel(request: &Request<Incoming>) -> bool {
    request.version() != Version::HTTP_2 && upgrade::is_asked(request.headers())
}

async fn answer(visit: &Stay, id: &HeaderValue, request: Request<Incoming>) -> Response<HttpBody> {
    let config = visit.node.config();
    let (parts, body) = request.into_parts();
    let guest = match guard::check(visit, &config.http, &parts) {
        Ok(guest) => guest,
        Err(problem) => return problem.into_response(),
    };
    let method = parts.method.clone();
    let accepts_gzip = config.compression.enabled && compress::is_accepted(&parts.headers);
    let is_asked = guest.is_some() && cors::is_preflight(&parts);
    let mut response = if let Err(problem) = head::check(&parts, &config.limits) {
        problem.into_response()
    } else if is_asked && !decides_itself(visit, &config, &parts) {
        cors::preflight(&config.cors, &parts)
    } else {
        route(visit, &config, id, parts, body).await.unwrap_or_else(Problem::into_response)
    };
    match guest {
        Some(guest) => cors::admit(&config.cors, &guest, response.headers_mut()),
        None if config.http.allowed_origins.is_empty() => {}
        None => cors::vary(response.headers_mut()),
    }
    compress::compress(&config.compression, &method, accepts_gzip, response)
}

/// Whether a request is for a service that tells browsers itself what pages of other origins may do.
fn decides_itself(visit: &Stay, config: &Config, parts: &Parts) -> bool {
    let path = parts.uri.path();
    let path = match guard::service_host(visit, &config.http, parts) {
        Some(host) => format!("//{host}{path}"),
        None => path.strip_prefix("/v1/call").unwrap_or(path).to_owned(),
    };
    let service = ServicePath::parse(&path).ok().and_then(|path| visit.node.hub.services.find(&path));
    service.is_some_and(|service| service.pass_headers().iter().any(|name| matches!(&**name, "*" | "origin")))
}

async fn route(
    visit: &Stay,
    config: &Config,
    id: &HeaderValue,
    parts: Parts,
    body: Incoming,
) -> Result<Response<HttpBody>, Problem> {
    let wants_websocket = upgrade::is_wanted(&parts);
    if parts.method == Method::TRACE || (parts.method == Method::CONNECT && !wants_websocket) {
        return Err(Problem::method(parts.uri.path(), "GET, HEAD, POST, PUT, PATCH, DELETE, OPTIONS"));
    }
    plain_coding(&parts)?;
    // The path outlives the parts, which an upgrade takes apart.
    let uri = parts.uri.clone();
    let path = uri.path();
    // Behind its host every path is the service's, those of the hub itself among them.
    if let Some(host) = guard::service_host(visit, &config.http, &parts) {
        let path = format!("//{host}{path}");
        return service(visit, config, id, &path, parts, body, wants_websocket).await;
    }
    match path {
        "*" if parts.method == Method::OPTIONS => Ok(no_content()),
        "/" | "/dashboard" => reading(&parts).map(|()| page::show(visit, named(visit, &parts).is_ok())),
        "/healthz" => reading(&parts).map(|()| plain(StatusCode::OK, "ok\n")),
        "/readyz" => reading(&parts).map(|()| ready(visit)),
        "/metrics" => {
            reading(&parts)?;
            named(visit, &parts)?;
            Ok(metrics::show(&visit.node))
        }
        "/ws" => upgrade::upgrade(visit, config, Request::from_parts(parts, body), Place::Session),
        "/gateway" => gateway::join(visit, config, Request::from_parts(parts, body)),
        "/debug/echo" if config.debug.echo => {
            upgrade::upgrade(visit, config, Request::from_parts(parts, body), Place::Echo)
        }
        _ => {
            // An id is one segment; a slash in it is escaped.
            if let Some(id) = path.strip_prefix("/pair/").filter(|id| !id.contains('/')) {
                if !wants_websocket {
                    return pair::join(visit, config, id, &parts, body).await;
                }
                return upgrade::upgrade(visit, config, Request::from_parts(parts, body), Place::Pair(id));
            }
            if let Some(own) = path.strip_prefix(gateway::ROOT) {
                return gateway::answer(visit, config, id, own, parts, body, wants_websocket).await;
            }
            if let Some(name) = path.strip_prefix("/room/").filter(|name| !name.contains('/')) {
                return upgrade::upgrade(visit, config, Request::from_parts(parts, body), Place::Room(name));
            }
            if let Some(own) = path.strip_prefix("/v1/") {
                return api(visit, config, id, own, parts, body, wants_websocket).await;
            }
            plain_path(path)?;
            service(visit, config, id, path, parts, body, wants_websocket).await
        }
    }
}

/// Nothing but chunks, once (RFC 9112 section 6.1): hyper undoes no other coding, and a service would get a body in it
/// without being told.
fn plain_coding(parts: &Parts) -> Result<(), Problem> {
    let mut codings = parts.headers.get_all(TRANSFER_ENCODING).iter();
    let is_plain =
        codings.next().is_none_or(|coding| coding.as_bytes().trim_ascii().eq_ignore_ascii_case(b"chunked"));
    if is_plain && codings.next().is_none() {
        return Ok(());
    }
    let detail = "of the transfer codings the hub knows `chunked` alone, and that once";
    Err(Problem::new(Code::Unsupported, "http.transfer_coding", detail))
}

/// What stands behind `//` in a path is no host here: that is what the request's `Host` is for.
fn plain_path(path: &str) -> Result<(), Problem> {
    if path.starts_with("//") { Err(Problem::not_found(path)) } else { Ok(()) }
}

/// `/v1/…`; `own` is what follows.
async fn api(
    visit: &Stay,
    config: &Config,
    id: &HeaderValue,
    own: &str,
    parts: Parts,
    body: Incoming,
    wants_websocket: bool,
) -> Result<Response<HttpBody>, Problem> {
    // The slash stays: a call's path begins with it.
    if own.starts_with("call/") {
        plain_path(&own["call".len()..])?;
        return service(visit, config, id, &own["call".len()..], parts, body, wants_websocket).await;
    }
    if let Some(channel) = own.strip_prefix("publish/") {
        if !matches!(parts.method, Method::POST | Method::PUT) {
            return Err(Problem::method(parts.uri.path(), "POST, PUT"));
        }
        let identity = named(visit, &parts)?;
        return publish::publish(visit, config, &identity, channel, &parts, body).await;
    }
    let identity = named(visit, &parts)?;
    if let Some(filter) = own.strip_prefix("subscribe/") {
        if parts.method != Method::GET {
            return Err(Problem::method(parts.uri.path(), "GET"));
        }
        return subscribe::subscribe(visit, config, &identity, filter, &parts);
    }
    if let Some(own) = own.strip_prefix("inspect").filter(|own| own.is_empty() || own.starts_with('/')) {
        return inspect::answer(visit, &identity, id, own, &parts).await;
    }
    if let Some(own) = own.strip_prefix("config").filter(|own| own.starts_with('/')) {
        return configuration::answer(visit, &identity, own, &parts).await;
    }
    if let Some(path) = own.strip_prefix("services").filter(|path| path.is_empty() || path.starts_with('/')) {
        reading(&parts)?;
        return status::services(visit, &identity, path, &parts);
    }
    if let Some(own) = own.strip_prefix("endpoints").filter(|own| own.is_empty() || own.starts_with('/')) {
        return endpoints::answer_with(&visit.node, &identity, own, &parts);
    }
    if let Some(own) = own.strip_prefix("rooms").filter(|own| own.is_empty() || own.starts_with('/')) {
        return rooms::handle(&visit.node, &identity, own, &parts);
    }
    match own {
        "status" => reading(&parts).map(|()| status::status(&visit.node)),
        _ => Err(Problem::not_found(parts.uri.path())),
    }
}

async fn service(
    visit: &Stay,
    config: &Config,
    id: &HeaderValue,
    path: &str,
    parts: Parts,
    body: Incoming,
    wants_websocket: bool,
) -> Result<Response<HttpBody>, Problem> {
    if wants_websocket {
        return websocket::open(visit, config, id, path, Request::from_parts(parts, body)).await;
    }
    // Over the protocol it is a method of its own, which providers take for an upgrade.
    if parts.method.as_str().eq_ignore_ascii_case(websocket::METHOD) {
        return Err(Problem::method(path, "GET, HEAD, POST, PUT, PATCH, DELETE, OPTIONS"));
    }
    call::call(visit, config, id, path, &parts, body).await
}

/// Who asks.
fn named(visit: &Stay, parts: &Parts) -> Result<Identity, Problem> {
    visit.node.authenticate(credentials::of_header(&parts.headers)).map_err(|fault| {
        visit.node.hub.counters.unauthorized.one();
        fault.into()
    })
}

fn reading(parts: &Parts) -> Result<(), Problem> {
    match parts.method {
        Method::GET | Method::HEAD => Ok(()),
        _ => Err(Problem::method(parts.uri.path(), "GET, HEAD")),
    }
}

fn ready(visit: &Stay) -> Response<HttpBody> {
    if visit.node.is_stopping() {
        return plain(StatusCode::SERVICE_UNAVAILABLE, "stopping\n");
    }
    plain(StatusCode::OK, "ready\n")
}

fn plain(status: StatusCode, text: &'static str) -> Response<HttpBody> {
    let mut response = Response::new(HttpBody::full(Bytes::from_static(text.as_bytes())));
    *response.status_mut() = status;
    response.headers_mut().insert(CONTENT_TYPE, HeaderValue::from_static("text/plain; charset=utf-8"));
    response.headers_mut().insert(CACHE_CONTROL, HeaderValue::from_static("no-store"));
    response
}

fn no_content() -> Response<HttpBody> {
    let mut response = Response::new(HttpBody::empty());
    *response.status_mut() = StatusCode::NO_CONTENT;
    response
}
