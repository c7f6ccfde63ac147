//! The beginning of each kind of conversation, from the bare stream to the loop.
//!
//! These are no async functions, because what such a function is given lies in its future twice, and thousands of
//! these futures lie idle.

use std::sync::Arc;
use std::time::Instant;

use whub_core::{Framing, Guest, Identity, Mailbox, Peer, RoomTalker};
use whub_proto::names::PairId;
use whub_transport::Stream;
use whub_ws::Limits;
use whub_ws::deflate::Agreement;

use crate::connection::bridge::{BridgeTalk, Pass};
use crate::connection::channel::{ChannelTalk, Voice};
use crate::connection::client::{ClientTalk, Wire};
use crate::connection::echo::EchoTalk;
use crate::connection::mux::{MuxTalk, Visitor};
use crate::connection::plain::PlainTalk;
use crate::connection::room::RoomTalk;
use crate::connection::websocket::WebSocket;
use crate::connection::{Connection, Link, now};
use crate::http::Tie;
use crate::mailbox::PeerMailbox;
use crate::node::Node;
use crate::outgoing::Outgoing;

/// How a client speaks the whub protocol.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Dialect {
    /// WebSocket, subprotocol `whub.v1`.
    Binary,
    /// WebSocket, subprotocol `whub.v1.json`.
    Json,
    /// Length-prefixed frames on a stream of bytes.
    Stream,
}

/// A JSON message may be this many times as long as its frame: base64, escapes and names.
const JSON_GROWTH: usize = 2;

/// A conversation in the whub protocol. `early` are bytes that came together with the handshake.
pub(crate) fn run_session(
    node: Arc<Node>,
    stream: Stream,
    early: Vec<u8>,
    dialect: Dialect,
    deflate: Option<Agreement>,
    peer: Peer,
) -> impl Future<Output = ()> + Send {
    let frame_bytes = node.hub.limits.frame_bytes;
    let (wire, framing) = match dialect {
        Dialect::Binary => (Wire::Binary(websocket(frame_bytes, deflate)), Framing::Binary),
        Dialect::Json => (Wire::Json(websocket(JSON_GROWTH * frame_bytes, deflate)), Framing::Json),
        Dialect::Stream => (Wire::stream(), Framing::Stream),
    };
    let framing = if deflate.is_some() { Framing::Private } else { framing };
    let (link, mailbox) = begin(&node, stream, framing);
    let address = Mailbox::new(mailbox.clone());
    let talk = ClientTalk::new(Arc::clone(&node), address, peer, wire, Instant::now());
    Connection::begin(node, talk, link, mailbox, early, &Outgoing::new())
}

/// One half of a pair, as a plain WebSocket.
pub(crate) fn run_pair(
    node: Arc<Node>,
    stream: Stream,
    early: Vec<u8>,
    pair: PairId,
    guest: Guest,
    token: Option<Box<str>>,
    deflate: Option<Agreement>,
) -> impl Future<Output = ()> + Send {
    let framing = if deflate.is_some() { Framing::Private } else { Framing::Plain };
    let (link, mailbox) = begin(&node, stream, framing);
    let socket = websocket(node.hub.limits.message_bytes, deflate);
    let address = Mailbox::new(mailbox.clone());
    let mut own = Outgoing::new();
    let now = now();
    let (talk, flow) =
        PlainTalk::new(Arc::clone(&node), address, (pair, guest, token), socket, now, &mut own);
    let mut connection = Connection::begin(node, talk, link, mailbox, early, &own);
    connection.follow(flow, now.at);
    connection
}

/// A member of a room, as a plain WebSocket.
pub(crate) fn run_room(
    node: Arc<Node>,
    stream: Stream,
    early: Vec<u8>,
    name: PairId,
    peer: Peer,
    identity: Identity,
    deflate: Option<Agreement>,
) -> impl Future<Output = ()> + Send {
    let framing = if deflate.is_some() { Framing::Private } else { Framing::Room };
    let (link, mailbox) = begin(&node, stream, framing);
    let socket = websocket(node.hub.limits.message_bytes, deflate);
    let address = Mailbox::new(mailbox.clone());
    let talker =
        RoomTalker::new(Arc::clone(&node.hub), address, peer.clone(), identity, name.clone(), now().at);
    let talk = RoomTalk::new(Arc::clone(&node), name, peer.token, talker, socket);
    Connection::begin(node, talk, link, mailbox, early, &Outgoing::new())
}

/// A client's WebSocket to a service that has accepted it.
pub(crate) fn run_bridge(
    node: Arc<Node>,
    stream: Stream,
    early: Vec<u8>,
    tie: Tie,
    pass: Pass,
    deflate: Option<Agreement>,
) -> impl Future<Output = ()> + Send {
    let (link, mailbox) = begin(&node, stream, Framing::Plain);
    let socket = websocket(node.hub.limits.message_bytes, deflate);
    let address = Mailbox::new(mailbox.clone());
    tie.hand_over(address.clone());
    let talk = BridgeTalk::new(Arc::clone(&node), address, tie, pass, socket, now().at);
    Connection::begin(node, talk, link, mailbox, early, &Outgoing::new())
}

/// A client of an endpoint that is a channel.
pub(crate) fn run_channel(
    node: Arc<Node>,
    stream: Stream,
    early: Vec<u8>,
    voice: Voice,
    deflate: Option<Agreement>,
) -> impl Future<Output = ()> + Send {
    // Messages come one by one, to be taken out of their frames.
    let (link, mailbox) = begin(&node, stream, Framing::Private);
    let socket = websocket(node.hub.limits.message_bytes, deflate);
    let address = Mailbox::new(mailbox.clone());
    let talk = ChannelTalk::new(Arc::clone(&node), address, voice, socket, now().at);
    Connection::begin(node, talk, link, mailbox, early, &Outgoing::new())
}

/// A client of many endpoints.
pub(crate) fn run_mux(
    node: Arc<Node>,
    stream: Stream,
    early: Vec<u8>,
    visitor: Visitor,
) -> impl Future<Output = ()> + Send {
    // Not compressed, so that those who carry its routes can write to it themselves.
    let (link, mailbox) = begin(&node, stream, Framing::Plain);
    let socket = websocket(node.hub.limits.message_bytes, None);
    let address = Mailbox::new(mailbox.clone());
    let talk = MuxTalk::new(Arc::clone(&node), address, visitor, socket, now().at);
    Connection::begin(node, talk, link, mailbox, early, &Outgoing::new())
}

/// `/debug/echo`.
pub(crate) fn run_echo(
    node: Arc<Node>,
    stream: Stream,
    early: Vec<u8>,
    deflate: Option<Agreement>,
) -> impl Future<Output = ()> + Send {
    let (link, mailbox) = begin(&node, stream, Framing::Plain);
    let socket = websocket(node.hub.limits.message_bytes, deflate);
    let talk = EchoTalk::new(&node.hub, socket, now().at);
    Connection::begin(node, talk, link, mailbox, early, &Outgoing::new())
}

fn begin(node: &Node, stream: Stream, framing: Framing) -> (Link, Arc<PeerMailbox>) {
    let (link, direct) = Link::new(stream);
    (link, node.mailbox(framing, direct))
}

fn websocket(message_bytes: usize, deflate: Option<Agreement>) -> WebSocket {
    let limits = Limits { message_bytes, frame_bytes: message_bytes };
    WebSocket::new(limits, deflate)
}
