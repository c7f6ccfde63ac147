//! The beginning of each kind of conversation, from the bare stream to the loop.

use std::sync::Arc;
use std::time::Instant;

use whub_core::{Framing, Mailbox, Peer, Post as _};
use whub_proto::names::PairId;
use whub_transport::Stream;
use whub_ws::Limits;
use whub_ws::deflate::Agreement;

use crate::connection::client::{ClientTalk, Wire};
use crate::connection::echo::EchoTalk;
use crate::connection::plain::PlainTalk;
use crate::connection::websocket::WebSocket;
use crate::connection::{Connection, Link, Talk, now};
use crate::mailbox::PeerMailbox;
use crate::node::Node;

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
pub(crate) async fn run_session(
    node: Arc<Node>,
    stream: Stream,
    early: Vec<u8>,
    dialect: Dialect,
    deflate: Option<Agreement>,
    peer: Peer,
) {
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
    run(&node, talk, link, mailbox, early, Vec::new()).await;
}

/// One half of a pair, as a plain WebSocket.
pub(crate) async fn run_pair(
    node: Arc<Node>,
    stream: Stream,
    early: Vec<u8>,
    pair: PairId,
    deflate: Option<Agreement>,
) {
    let framing = if deflate.is_some() { Framing::Private } else { Framing::Plain };
    let (link, mailbox) = begin(&node, stream, framing);
    let socket = websocket(node.hub.limits.message_bytes, deflate);
    let address = Mailbox::new(mailbox.clone());
    let mut own = Vec::new();
    let talk = PlainTalk::new(Arc::clone(&node.hub), address, pair, socket, now().at, &mut own);
    run(&node, talk, link, mailbox, early, own).await;
}

/// `/debug/echo`.
pub(crate) async fn run_echo(node: Arc<Node>, stream: Stream, early: Vec<u8>, deflate: Option<Agreement>) {
    let (link, mailbox) = begin(&node, stream, Framing::Plain);
    let socket = websocket(node.hub.limits.message_bytes, deflate);
    let talk = EchoTalk::new(&node.hub, socket, now().at);
    run(&node, talk, link, mailbox, early, Vec::new()).await;
}

fn begin(node: &Node, stream: Stream, framing: Framing) -> (Link, Arc<PeerMailbox>) {
    let (link, direct) = Link::new(stream);
    (link, node.mailbox(framing, direct))
}

fn websocket(message_bytes: usize, deflate: Option<Agreement>) -> WebSocket {
    let limits = Limits { message_bytes, frame_bytes: message_bytes };
    WebSocket::new(limits, deflate)
}

async fn run<T: Talk>(
    node: &Arc<Node>,
    talk: T,
    link: Link,
    mailbox: Arc<PeerMailbox>,
    early: Vec<u8>,
    own: Vec<u8>,
) {
    let session = mailbox.session();
    let _present = node.presence();
    Connection::new(talk, link, mailbox).run(early, own).await;
    node.strike(session);
}
