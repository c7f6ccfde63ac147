//! Frames of applications' own kinds find their handlers; others stay unknown.

#![allow(clippy::unwrap_used)] // A failed unwrap is a failed test.

mod common;

use std::sync::{Arc, Mutex};

use common::World;
use whub_core::{Fault, FrameHandler, Now, Packet, Reply, Sender};
use whub_proto::{Body, Code, Flags, Frame, Kind};

/// Answers as the payload says, and writes down who asked.
#[derive(Default)]
struct Obedient(Mutex<Vec<String>>);

impl FrameHandler for Obedient {
    fn handle(&self, _: Now, from: Sender<'_>, frame: &Frame<'_>) -> Reply {
        self.0.lock().unwrap().push(format!("{} at {}", from.client, from.address));
        match frame.payload {
            b"agree" => Reply::Ok,
            b"refuse" => Reply::Refused(Fault::fatal(Code::Conflict, "own.no", "no")),
            b"later" => Reply::Later,
            _ => Reply::Frame(Packet::forward(Kind::Unknown(129), Flags::TEXT, None, &[], frame.payload)),
        }
    }
}

#[test]
fn the_handler_of_a_kind_answers_its_frames() {
    let world = World::new();
    let handler = Arc::new(Obedient::default());
    world.hub.handlers.add(128, handler.clone()).unwrap();
    let mut client = world.client();
    for (id, payload) in [(1, &b"agree"[..]), (3, b"refuse"), (5, b"later"), (7, b"echo"), (0, b"agree")] {
        client.sends(world.now, id, Flags::NONE, &Body::Unknown(128), payload);
    }
    assert_eq!(client.hears(), ["ok #1", "error #3 409 own.no retry 0", "unknown #7 text 'echo'"]);
    assert_eq!(handler.0.lock().unwrap().len(), 5);
    assert_eq!(handler.0.lock().unwrap()[0], "c-1 at 192.0.2.1:9");
    client.sends(world.now, 9, Flags::NONE, &Body::Unknown(129), b"agree");
    assert_eq!(client.hears(), ["error #9 501 frame.unsupported retry 0"]);
    world.hub.handlers.remove(128);
    client.sends(world.now, 11, Flags::NONE, &Body::Unknown(128), b"agree");
    assert_eq!(client.hears(), ["error #11 501 frame.unsupported retry 0"]);
}

#[test]
fn an_even_id_is_no_clients() {
    let world = World::new();
    world.hub.handlers.add(128, Arc::new(Obedient::default())).unwrap();
    let mut client = world.client();
    client.sends(world.now, 2, Flags::NONE, &Body::Unknown(128), b"agree");
    assert!(client.hears()[0].contains(" 605 protocol.error"));
}

#[test]
fn each_kind_of_applications_has_one_handler() {
    let world = World::new();
    let add = |kind| world.hub.handlers.add(kind, Arc::new(Obedient::default())).map_err(|fault| fault.code);
    assert_eq!(add(191), Ok(()));
    assert_eq!(add(191), Err(Code::Conflict));
    for kind in [0, 18, 64, 127, 192] {
        assert_eq!(add(kind), Err(Code::BadRequest), "{kind}");
    }
}
