//! Calls that wait for a free provider: first come, first served, and nobody for longer than it may.

// A failed unwrap is a failed test.
#![allow(clippy::unwrap_used)]

mod common;

use std::time::Duration;

use common::{Client, World};
use whub_core::{ServiceSettings, SessionLimits};
use whub_proto::names::ServicePath;
use whub_proto::{Body, Cancel, Credit, Data, Flags, Register, Request, Response, Unregister};

const NOTHING: [String; 0] = [];

fn provider(world: &World, path: &str, max_inflight: u32) -> Client {
    let mut client = world.client();
    client.says(world.now, 1, &Body::Register(Register { path, max_inflight, ..Register::default() }));
    assert_eq!(client.hears(), ["ok #1"]);
    client
}

fn ask(world: &World, caller: &mut Client, id: u64, payload: &[u8]) {
    caller.sends(
        world.now,
        id,
        Flags::END,
        &Body::Request(Request { path: "/a", ..Request::default() }),
        payload,
    );
}

fn respond(world: &World, provider: &mut Client, id: u64) {
    provider.sends(world.now, id, Flags::END, &Body::Response(Response::default()), b"");
}

fn asked(world: &World, provider: &mut Client) -> Vec<String> {
    provider.turn(world.now);
    let lines = provider.hears().into_iter();
    lines.map(|line| line.rsplit(' ').next().unwrap().trim_matches('\'').to_owned()).collect()
}

fn waiting(world: &World) -> usize {
    world.hub.services.find(&ServicePath::parse("/a").unwrap()).unwrap().waiting()
}

/// A provider with its one place taken, and a caller.
fn busy(world: &World) -> (Client, Client) {
    let (mut provider, mut caller) = (provider(world, "/a", 1), world.client());
    ask(world, &mut caller, 1, b"first");
    assert_eq!(asked(world, &mut provider), ["first"]);
    (provider, caller)
}

#[test]
fn a_place_that_becomes_free_goes_to_the_first_who_waits() {
    let world = World::new();
    let (mut provider, mut caller) = busy(&world);
    ask(&world, &mut caller, 3, b"second");
    ask(&world, &mut caller, 5, b"third");
    assert_eq!((caller.hears(), waiting(&world)), (NOTHING.to_vec(), 2));
    world.usher();
    assert_eq!(asked(&world, &mut provider), NOTHING);
    respond(&world, &mut provider, 2);
    ask(&world, &mut caller, 7, b"nobody overtakes");
    world.usher();
    assert_eq!(asked(&world, &mut provider), ["second"]);
    respond(&world, &mut provider, 4);
    world.usher();
    assert_eq!(asked(&world, &mut provider), ["third"]);
    respond(&world, &mut provider, 6);
    world.usher();
    assert_eq!(asked(&world, &mut provider), ["overtakes"]);
    respond(&world, &mut provider, 8);
    caller.turn(world.now);
    assert_eq!(caller.hears().len(), 4);
    assert!(caller.session.is_quiet() && provider.session.is_quiet() && waiting(&world) == 0);
}

#[test]
fn who_waits_too_long_is_told_to_come_again() {
    let mut world = World::new();
    let (_provider, mut caller) = busy(&world);
    ask(&world, &mut caller, 3, b"second");
    let due = world.usher().unwrap();
    assert_eq!(due, world.now.at + Duration::from_secs(1));
    world.pass(Duration::from_millis(999));
    world.usher();
    caller.turn(world.now);
    assert_eq!(caller.hears(), NOTHING);
    world.pass(Duration::from_millis(1));
    assert_eq!(world.usher(), None);
    caller.turn(world.now);
    assert_eq!(caller.hears(), ["error #3 503 service.overloaded retry 500"]);
    assert_eq!((waiting(&world), world.hub.counters.calls_waited_out.read()), (0, 1));
}

#[test]
fn the_deadline_of_a_call_holds_while_it_waits() {
    let mut world = World::new();
    let (_provider, mut caller) = busy(&world);
    ask(&world, &mut caller, 3, b"patient");
    let hasty = Request { path: "/a", timeout_ms: 200, ..Request::default() };
    caller.sends(world.now, 5, Flags::END, &Body::Request(hasty), b"hasty");
    assert_eq!(world.usher(), Some(world.now.at + Duration::from_millis(200)));
    world.pass(Duration::from_millis(200));
    world.usher();
    caller.turn(world.now);
    assert_eq!(caller.hears(), ["error #5 504 call.deadline retry 0"]);
    assert_eq!(waiting(&world), 1);
}

#[test]
fn more_than_may_wait_are_refused_at_once() {
    let world = World::new();
    world.configure(ServiceSettings { queue: 2, ..ServiceSettings::default() });
    let (_provider, mut caller) = busy(&world);
    for id in [3, 5, 7] {
        ask(&world, &mut caller, id, b"x");
    }
    assert_eq!(caller.hears(), ["error #7 503 service.overloaded retry 500"]);
    let service = world.hub.services.find(&ServicePath::parse("/a").unwrap()).unwrap();
    assert_eq!((service.stats.waited.read(), service.stats.unavailable.read(), service.waiting()), (2, 1, 2));
    // What was refused was a call too, so that there are never more errors than calls.
    assert_eq!((service.stats.calls.read(), service.stats.errors.total()), (4, 1));
}

#[test]
fn more_bytes_than_may_wait_are_refused_at_once() {
    let world = World::new();
    let (_provider, mut caller) = busy(&world);
    let large = vec![b'x'; 900_000];
    for id in [3, 5, 7, 9] {
        ask(&world, &mut caller, id, &large);
    }
    assert_eq!(caller.hears(), NOTHING);
    ask(&world, &mut caller, 11, &large);
    assert_eq!(caller.hears(), ["error #11 503 service.overloaded retry 500"]);
}

#[test]
fn a_cancelled_call_waits_no_more_and_no_provider_hears_of_it() {
    let world = World::new();
    let (mut provider, mut caller) = busy(&world);
    ask(&world, &mut caller, 3, b"second");
    ask(&world, &mut caller, 5, b"third");
    caller.says(world.now, 3, &Body::Cancel(Cancel::default()));
    assert_eq!(caller.hears(), ["error #3 499 call.cancelled retry 0"]);
    respond(&world, &mut provider, 2);
    world.usher();
    assert_eq!(asked(&world, &mut provider), ["third"]);
    assert_eq!(world.hub.counters.calls_cancelled.read(), 1);
}

#[test]
fn a_cancel_that_crosses_with_the_place_reaches_the_provider() {
    let world = World::new();
    let (mut provider, mut caller) = busy(&world);
    ask(&world, &mut caller, 3, b"second");
    respond(&world, &mut provider, 2);
    world.usher();
    // The news that it has a place lies in the caller's mailbox.
    caller.session_says(world.now, 3, &Body::Cancel(Cancel::default()));
    caller.turn(world.now);
    assert_eq!(caller.hears(), ["error #3 499 call.cancelled retry 0", "response #1 end 200"]);
    provider.turn(world.now);
    assert_eq!(provider.hears().last().unwrap(), "cancel #4 499");
    assert!(provider.session.is_quiet() && world.hub.counters.calls_cancelled.read() == 1);
}

#[test]
fn a_caller_that_vanishes_waits_no_more() {
    let world = World::new();
    let (mut provider, mut caller) = busy(&world);
    let mut other = world.client();
    ask(&world, &mut other, 1, b"of the other");
    other.vanishes(world.now);
    assert_eq!(waiting(&world), 0);
    respond(&world, &mut provider, 2);
    caller.turn(world.now);
    world.usher();
    assert_eq!(asked(&world, &mut provider), NOTHING);
}

#[test]
fn a_provider_that_comes_serves_those_who_wait() {
    let world = World::new();
    let (_busy, mut caller) = busy(&world);
    ask(&world, &mut caller, 3, b"second");
    world.usher();
    let mut fresh = provider(&world, "/a", 0);
    world.usher();
    assert_eq!(asked(&world, &mut fresh), ["second"]);
}

#[test]
fn those_who_wait_are_told_when_the_last_provider_leaves() {
    let world = World::new();
    let (mut one, mut caller) = busy(&world);
    ask(&world, &mut caller, 3, b"second");
    one.says(world.now, 3, &Body::Unregister(Unregister { path: "/a", grace_ms: 0 }));
    caller.turn(world.now);
    assert_eq!(caller.hears(), ["error #3 503 service.gone retry 1000"]);
    ask(&world, &mut caller, 5, b"third");
    assert_eq!(caller.hears(), ["error #5 404 service.not_found retry 0"]);
}

#[test]
fn a_provider_that_reads_slowly_is_asked_again_soon() {
    let mut world = World::new();
    let (mut slow, mut caller) = (provider(&world, "/a", 0), world.client());
    slow.inbox.state.lock().unwrap().full = true;
    ask(&world, &mut caller, 1, b"first");
    assert_eq!(world.usher(), Some(world.now.at + Duration::from_millis(10)));
    slow.inbox.state.lock().unwrap().full = false;
    world.pass(Duration::from_millis(10));
    world.usher();
    assert_eq!(asked(&world, &mut slow), ["first"]);
}

#[test]
fn the_body_and_the_credit_of_a_waiting_call_follow_it() {
    let world = World::new();
    let (mut provider, mut caller) = busy(&world);
    let request = Body::Request(Request { path: "/a", credit: 1, ..Request::default() });
    caller.sends(world.now, 3, Flags::NONE, &request, b"one");
    caller.sends(world.now, 3, Flags::NONE, &Body::Data(Data::default()), b"two");
    caller.says(world.now, 3, &Body::Credit(Credit { bytes: 5 }));
    caller.sends(world.now, 3, Flags::END, &Body::Data(Data::default()), b"three");
    respond(&world, &mut provider, 2);
    world.usher();
    caller.turn(world.now);
    provider.turn(world.now);
    assert_eq!(
        provider.hears(),
        [
            "request #4 /a by c-1 for 30000ms as /a 'one'",
            "credit #4 5",
            "data #4 'two'",
            "data #4 end 'three'"
        ]
    );
    provider.sends(world.now, 4, Flags::NONE, &Body::Response(Response::default()), b"1");
    provider.sends(world.now, 4, Flags::END, &Body::Data(Data::default()), b"23456");
    assert!(provider.closed.is_none(), "all of it was granted");
}

#[test]
fn a_call_that_was_offered_in_vain_very_often_is_still_told_its_place() {
    let world = World::new();
    let (mut provider, mut caller) = busy(&world);
    let request = Body::Request(Request { path: "/a", ..Request::default() });
    caller.sends(world.now, 3, Flags::NONE, &request, b"one");
    caller.sends(world.now, 3, Flags::END, &Body::Data(Data::default()), b"two");
    for _ in 0..1000 {
        world.usher();
    }
    respond(&world, &mut provider, 2);
    world.usher();
    caller.turn(world.now);
    provider.turn(world.now);
    assert_eq!(
        provider.hears(),
        ["request #4 /a by c-1 for 30000ms as /a 'one'", "data #4 end 'two'"],
        "the body follows it"
    );
}

#[test]
fn bodies_that_wait_on_a_session_are_bounded_together() {
    let world = World::with_limits(SessionLimits { frame_bytes: 1 << 20, ..SessionLimits::default() });
    let (_provider, mut caller) = busy(&world);
    let piece = vec![b'x'; 250_000];
    let mut refused = Vec::new();
    for call in 1..30 {
        let id = call * 2 + 1;
        caller.sends(
            world.now,
            id,
            Flags::NONE,
            &Body::Request(Request { path: "/a", ..Request::default() }),
            b"",
        );
        caller.sends(world.now, id, Flags::NONE, &Body::Data(Data::default()), &piece);
        refused.extend(caller.hears());
    }
    assert_eq!(refused.len(), 13, "4 MiB are 16 pieces: {refused:?}");
    assert!(refused[0].ends_with("503 service.overloaded retry 500") && caller.closed.is_none());
    caller.vanishes(world.now);
    assert_eq!(waiting(&world), 0);
}
