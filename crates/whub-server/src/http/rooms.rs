//! `/v1/rooms`: the rooms of the node, for those who administer.
//!
//! `GET /v1/rooms`, `GET /v1/rooms/<name>`, `DELETE /v1/rooms/<name>` and `DELETE /v1/rooms/<name>/members/<number>`. A
//! name is one segment; a slash in it is escaped.

use std::sync::Arc;
use std::time::Instant;

use hyper::http::request::Parts;
use hyper::{Method, Response};
use serde_json::{Value, json};
use whub_core::{Act, By, Fault, Identity, Room, RoomMember};
use whub_proto::Code;
use whub_proto::names::PairId;

use crate::http::body::HttpBody;
use crate::http::problem::Problem;
use crate::http::status::json as answer;
use crate::node::Node;

/// `own` is what follows `rooms`.
pub(super) fn handle(
    node: &Node,
    identity: &Identity,
    own: &str,
    parts: &Parts,
) -> Result<Response<HttpBody>, Problem> {
    admit(node, identity)?;
    let path = parts.uri.path();
    let segments: Vec<&str> = own.trim_start_matches('/').split('/').collect();
    match (&parts.method, &segments[..]) {
        (&Method::GET | &Method::HEAD, [""]) => Ok(answer(&list(node))),
        (_, [""]) => Err(Problem::method(path, "GET, HEAD")),
        (&Method::GET | &Method::HEAD, [name]) => Ok(answer(&whole(&*find(node, name)?))),
        (&Method::DELETE, [name]) => {
            let reason = "an administrator of the hub has closed the room";
            act(node, identity, &find(node, name)?, Act::Close(reason))
        }
        (_, [_]) => Err(Problem::method(path, "GET, HEAD, DELETE")),
        (&Method::DELETE, [name, "members", number]) => {
            let number: u32 = number.parse().map_err(|_| Problem::not_found(path))?;
            let reason = "an administrator of the hub has sent this member away";
            act(node, identity, &find(node, name)?, Act::Kick(&[number], reason))
        }
        (_, [_, "members", _]) => Err(Problem::method(path, "DELETE")),
        _ => Err(Problem::not_found(path)),
    }
}

fn admit(node: &Node, identity: &Identity) -> Result<(), Fault> {
    if identity.grants.admin {
        return Ok(());
    }
    node.hub.counters.forbidden.one();
    let reason = "who is in which room is for those who administer: it needs a token with `admin = true`";
    Err(Fault::fatal(Code::Forbidden, "access.admin", reason))
}

fn find(node: &Node, raw: &str) -> Result<Arc<Room>, Problem> {
    let name = PairId::from_url_segment(raw)
        .map_err(|error| Problem::new(error.code(), "room.name", error.to_string()))?;
    node.hub.rooms.find(&name).ok_or_else(|| {
        Problem::new(Code::NotFound, "room.not_found", format!("there is no room {}", name.as_str()))
    })
}

fn act(
    node: &Node,
    identity: &Identity,
    room: &Arc<Room>,
    act: Act<'_>,
) -> Result<Response<HttpBody>, Problem> {
    let hub = &node.hub;
    hub.rooms.act(&hub.limits.rooms, room, By::Admin, act, Instant::now())?;
    let by = identity.user.as_deref().unwrap_or_default();
    match act {
        Act::Kick(members, _) => {
            tracing::info!(room = room.name.as_str(), ?members, by, "members were sent away")
        }
        Act::Close(_) => tracing::info!(room = room.name.as_str(), by, "a room was closed"),
        Act::Update(_) | Act::Lock(_) | Act::Promote(_) | Act::Demote(_) => {}
    }
    Ok(answer(&json!({ "done": true })))
}

fn list(node: &Node) -> Value {
    let rooms: Vec<Value> = node.hub.rooms.list().iter().map(|room| brief(room)).collect();
    json!({ "rooms": rooms })
}

fn brief(room: &Room) -> Value {
    let (roll, terms) = (room.roll(), room.terms());
    let owner = roll.members.iter().find(|member| member.role == whub_core::Role::Owner);
    json!({
        "room": room.name.as_str(),
        "members": roll.members.len(),
        "capacity": terms.capacity,
        "locked": terms.locked,
        "secret": room.is_secret(),
        "owner": owner.map(|owner| owner.number),
    })
}

fn whole(room: &Room) -> Value {
    let mut shown = brief(room);
    shown["present"] = room.roll().members.iter().map(|member| of_member(member)).collect();
    shown
}

fn of_member(member: &RoomMember) -> Value {
    json!({
        "member": member.number,
        "client": &*member.client,
        "user": Some(&*member.user).filter(|user| !user.is_empty()),
        "role": member.role.name(),
        "info": &*member.info,
        "since_ms": member.since_ms,
    })
}
