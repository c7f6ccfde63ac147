//! Conversations with partners that write down what they get.

use std::sync::Mutex;
use std::sync::atomic::AtomicBool;
use std::sync::atomic::Ordering::Relaxed;

use whub_core::{Fate, Guest, Half, Hub, Manner, Parcel, Post, Publication, Sent, Undelivered, Visit};
use whub_proto::names::PairId;
use whub_proto::{Data, Hello, Join, Leave, RoomMode};

use super::*;
use crate::config::Config;
use crate::connection::now;

/// A half that writes down what it gets, in order.
struct Diary {
    session: SessionId,
    entries: Mutex<Vec<String>>,
    is_full: AtomicBool,
}

impl Diary {
    fn note(&self, entry: String) {
        self.entries.lock().unwrap_or_else(std::sync::PoisonError::into_inner).push(entry);
    }
}

impl Post for Diary {
    fn session(&self) -> SessionId {
        self.session
    }

    fn framing(&self) -> Framing {
        Framing::Plain
    }

    fn post(&self, letter: Letter) -> Result<(), Undelivered> {
        let text = format!("{letter:?}");
        self.note(text.split_whitespace().next().unwrap_or_default().to_owned());
        Ok(())
    }

    fn send(&self, parcel: Parcel<'_>) -> Sent {
        match parcel {
            Parcel::Data { payload, .. } => self.note(String::from_utf8_lossy(payload).into_owned()),
            Parcel::Framed { bytes, .. } => self.note(String::from_utf8_lossy(&bytes[2..]).into_owned()),
            Parcel::Packet { .. } | Parcel::News { .. } => self.note("packet".to_owned()),
        }
        if self.is_full.load(Relaxed) { Sent::Wait } else { Sent::Room }
    }

    fn hold(&self) {}

    fn poll_room(&self, _: &Waker) -> bool {
        !self.is_full.load(Relaxed)
    }

    fn publish(&self, _: &dyn Publication) -> Fate {
        Fate::DroppedGone
    }
}

/// Somebody who waits in a pair.
fn waiting(hub: &Hub, pair: &str) -> Arc<Diary> {
    let session = hub.next_session();
    let diary = Arc::new(Diary { session, entries: Mutex::default(), is_full: AtomicBool::new(false) });
    let half = Half {
        mailbox: Mailbox::new(diary.clone()),
        seat: 0,
        serial: hub.pairs.next_serial(),
        manner: Manner::Plain,
    };
    let visit = Visit { half: &half, guest: &Guest::default(), now: Some(now().at), seated: false };
    hub.pairs.arrive(&PairId::parse(pair).expect("an id"), visit).expect("a free place");
    diary
}

fn talk(node: &Arc<Node>) -> ClientTalk {
    let me = Mailbox::new(node.mailbox(Framing::Stream, None));
    let peer = Peer { client: "c".into(), address: "".into(), token: None };
    ClientTalk::new(Arc::clone(node), me, peer, Wire::stream(), now().at)
}

/// The peer sends these frames in one batch.
fn hear(talk: &mut ClientTalk, frames: &[(u64, Body<'_>, &[u8])]) {
    let mut input = Vec::new();
    for (id, body, payload) in frames {
        let packet = Packet::build(body);
        let mut frame = Vec::new();
        framing::encode_message(&mut frame, Framing::Stream, *id, &packet);
        frame.extend_from_slice(payload);
        input.extend_from_slice(&u32::try_from(frame.len()).expect("short").to_le_bytes());
        input.extend_from_slice(&frame);
    }
    let (mut own, mut relay) = (Outgoing::new(), Vec::new());
    let flow = talk.handle_bytes(now(), Bytes { input: &mut input, own: &mut own, relay: &mut relay });
    assert_eq!(flow, Flow::Go);
}

fn join(room: &str) -> Body<'_> {
    Body::Join(Join { room, mode: RoomMode::Pair, ..Join::default() })
}

#[test]
fn what_was_said_before_leaving_in_one_batch_arrives_before_the_news_of_it() {
    let node = Arc::new(Node::new(Config::default(), "test", Arc::default()));
    let diary = waiting(&node.hub, "x");
    let leave = Body::Leave(Leave { room: "x", ..Leave::default() });
    hear(
        &mut talk(&node),
        &[
            (0, Body::Hello(Hello::default()), b""),
            (1, join("x"), b""),
            (1, Body::Data(Data::default()), b"last words"),
            (3, leave, b""),
        ],
    );
    let entries = diary.entries.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
    assert_eq!(entries[..], ["Paired", "/remote:open", "/status:connected", "last words", "Parted"]);
}

#[test]
fn everybody_without_room_is_waited_for_not_only_the_last() {
    let node = Arc::new(Node::new(Config::default(), "test", Arc::default()));
    let (x, y) = (waiting(&node.hub, "x"), waiting(&node.hub, "y"));
    let mut talk = talk(&node);
    hear(&mut talk, &[(0, Body::Hello(Hello::default()), b""), (1, join("x"), b""), (3, join("y"), b"")]);
    let is_full = |x_is: bool, y_is: bool| {
        x.is_full.store(x_is, Relaxed);
        y.is_full.store(y_is, Relaxed);
    };
    is_full(true, true);
    let data = |id| (id, Body::Data(Data::default()), &b"a word"[..]);
    hear(&mut talk, &[data(1), data(3)]);
    assert!(!talk.poll_gate(Waker::noop()));
    is_full(true, false);
    assert!(!talk.poll_gate(Waker::noop()));
    is_full(false, false);
    assert!(talk.poll_gate(Waker::noop()));
    is_full(true, false);
    hear(&mut talk, &[data(1), data(3)]);
    assert!(!talk.poll_gate(Waker::noop()));
    hear(&mut talk, &[(5, Body::Leave(Leave { room: "x", ..Leave::default() }), b"")]);
    assert!(talk.poll_gate(Waker::noop()), "who has been left is not waited for");
}
