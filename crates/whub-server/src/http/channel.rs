//! An endpoint that is a channel, for plain WebSockets.

use std::sync::Arc;

use hyper::body::Incoming;
use hyper::http::request::Parts;
use hyper::{Request, Response, StatusCode};
use whub_proto::Code;
use whub_proto::names::Filter;

use crate::config::Config;
use crate::connection::{self, Voice};
use crate::http::body::HttpBody;
use crate::http::gateway::Caller;
use crate::http::problem::Problem;
use crate::http::upgrade;
use crate::http::visit::Stay;

/// Lets a client in on a channel.
pub(super) fn join(
    visit: &Stay,
    config: &Config,
    channel: &str,
    caller: Caller,
    mut request: Request<Incoming>,
) -> Result<Response<HttpBody>, Problem> {
    let on_upgrade = hyper::upgrade::on(&mut request);
    let (parts, body) = request.into_parts();
    let handshake = upgrade::read(&parts, &body)?;
    let filter = Filter::parse(channel)
        .map_err(|error| Problem::new(error.code(), "gateway.channel", error.to_string()))?;
    connection::admit_to_channel(&caller.identity, channel, &filter)?;
    let agreed = upgrade::agree(config, &handshake);
    let accepted = upgrade::accept(&handshake, upgrade::choose_plain(&handshake), agreed);
    let voice = Voice {
        client: visit.client.clone(),
        user: caller.identity.user.as_deref().unwrap_or_default().into(),
        token: caller.token,
        channel: channel.into(),
        filter,
    };
    let node = Arc::clone(&visit.node);
    visit.node.http.upgrades.one();
    upgrade::give_away(on_upgrade, Arc::clone(&visit.seat), move |stream, early| {
        connection::run_channel(node, stream, early, voice, agreed)
    });
    Ok(accepted)
}

/// What a request is told that is no WebSocket.
pub(super) fn refuse(parts: &Parts) -> Problem {
    let detail = format!(
        "the endpoint at {} is a channel: connect by WebSocket, or use /v1/publish and /v1/subscribe",
        parts.uri.path()
    );
    Problem::new(Code::BadRequest, "gateway.channel", detail)
        .with_status(StatusCode::UPGRADE_REQUIRED)
        .with_upgrade()
}
