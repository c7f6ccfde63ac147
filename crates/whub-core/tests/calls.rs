//! Calls: exactly one outcome each, whatever happens to either side.

mod common;

use std::time::Duration;

use common::{Client, World};
use whub_core::{ServiceSettings, SessionLimits};
use whub_proto::{Body, Cancel, Code, Credit, Data, Failure, Flags, Register, Request, Response, Unregister};

const SECOND: Duration = Duration::from_secs(1);

fn provide(world: &World, client: &mut Client, pattern: &str, max_inflight: u32) {
    let register = Register { path: pattern, max_inflight, ..Register::default() };
    client.says(world.now, 1, &Body::Register(register));
    assert_eq!(client.hears(), ["ok #1"]);
}

fn request(path: &str) -> Body<'_> {
    Body::Request(Request { path, ..Request::default() })
}

fn call(world: &World, caller: &mut Client, id: u64, path: &str) {
    caller.sends(world.now, id, Flags::END, &request(path), b"ask");
}

fn respond(world: &World, provider: &mut Client, id: u64, flags: Flags, payload: &[u8]) {
    provider.sends(world.now, id, flags, &Body::Response(Response::default()), payload);
}

#[test]
fn a_call_reaches_the_provider_and_its_answer_the_caller() {
    let world = World::new();
    let (mut caller, mut provider) = (world.client(), world.client());
    provide(&world, &mut provider, "/math/:op", 0);
    call(&world, &mut caller, 7, "/math/add");
    provider.turn(world.now);
    assert_eq!(provider.hears(), ["request #2 end /math/add by c-1 for 30000ms as /math/:op 'ask'"]);
    respond(&world, &mut provider, 2, Flags::END, b"sum");
    caller.turn(world.now);
    assert_eq!(caller.hears(), ["response #7 end 200 'sum'"]);
    assert!(caller.session.is_quiet() && provider.session.is_quiet());
    assert_eq!(world.hub.counters.calls_answered.read(), 1);
}

#[test]
fn paths_reach_the_provider_as_they_are_written_properly() {
    let world = World::new();
    let (mut caller, mut provider) = (world.client(), world.client());
    provide(&world, &mut provider, "/math/*rest", 0);
    let register = Register { path: "//app.example/*rest", ..Register::default() };
    provider.says(world.now, 3, &Body::Register(register));
    assert_eq!(provider.hears(), ["ok #3"]);
    for (id, path, seen) in [
        (1, "math/a%20b//", "/math/a%20b//"),
        (3, "//APP.example:80/x", "//app.example/x"),
        (5, "//app.example", "//app.example/"),
    ] {
        call(&world, &mut caller, id, path);
        provider.turn(world.now);
        let heard = provider.hears();
        assert!(heard.len() == 1 && heard[0].contains(&format!(" end {seen} by c-1 ")), "{heard:?}");
    }
}

#[test]
fn nobody_provides_it() {
    let world = World::new();
    let mut caller = world.client();
    call(&world, &mut caller, 1, "/nope");
    assert_eq!(caller.hears(), ["error #1 404 service.not_found retry 0"]);
    call(&world, &mut caller, 1, "/nope");
    assert_eq!(caller.hears(), ["error #1 404 service.not_found retry 0"], "the id is free again");
}

#[test]
fn a_lost_provider_is_told_at_once() {
    let world = World::new();
    let (mut caller, mut provider) = (world.client(), world.client());
    provide(&world, &mut provider, "/slow", 0);
    call(&world, &mut caller, 1, "/slow");
    provider.turn(world.now);
    provider.vanishes(world.now);
    caller.turn(world.now);
    assert_eq!(caller.hears(), ["error #1 502 service.provider_lost retry 1"]);
    call(&world, &mut caller, 3, "/slow");
    assert_eq!(caller.hears(), ["error #3 404 service.not_found retry 0"], "its services left with it");
}

#[test]
fn a_call_that_crosses_with_the_providers_end_is_told_too() {
    let world = World::new();
    let (mut caller, mut provider) = (world.client(), world.client());
    provide(&world, &mut provider, "/slow", 0);
    call(&world, &mut caller, 1, "/slow");
    // The letter lies in the mailbox when the connection ends.
    provider.vanishes(world.now);
    caller.turn(world.now);
    assert_eq!(caller.hears(), ["error #1 502 service.provider_lost retry 1"]);
}

#[test]
fn the_deadline_ends_the_call_and_a_late_answer_is_dropped() {
    let mut world = World::new();
    let (mut caller, mut provider) = (world.client(), world.client());
    provide(&world, &mut provider, "/slow", 0);
    let body = Body::Request(Request { path: "/slow", timeout_ms: 1500, ..Request::default() });
    caller.sends(world.now, 1, Flags::END, &body, b"");
    provider.turn(world.now);
    provider.hears();
    assert_eq!(provider.session.poll_timeout(), world.now.at + Duration::from_millis(1500));
    world.pass(2 * SECOND);
    provider.wakes(world.now);
    assert_eq!(provider.hears(), ["cancel #2 504"]);
    caller.turn(world.now);
    assert_eq!(caller.hears(), ["error #1 504 call.deadline retry 0"]);
    respond(&world, &mut provider, 2, Flags::END, b"late");
    caller.turn(world.now);
    assert_eq!(caller.hears(), Vec::<String>::new());
    assert_eq!(world.hub.counters.answers_late.read(), 1);
    assert!(provider.closed.is_none());
}

#[test]
fn a_provider_may_give_a_call_up_before_and_within_its_answer() {
    let world = World::new();
    let (mut caller, mut provider) = (world.client(), world.client());
    provide(&world, &mut provider, "/a", 1);
    call(&world, &mut caller, 1, "/a");
    provider.turn(world.now);
    provider.says(world.now, 2, &Body::Cancel(Cancel::default()));
    caller.turn(world.now);
    assert_eq!(caller.hears(), ["error #1 502 service.cancelled retry 0"]);
    call(&world, &mut caller, 3, "/a");
    provider.turn(world.now);
    respond(&world, &mut provider, 4, Flags::NONE, b"beg");
    let cancel = Cancel { code: Code::Internal, reason: "the disk is full" };
    provider.says(world.now, 4, &Body::Cancel(cancel));
    // Too late, and counted as such.
    provider.says(world.now, 4, &Body::Cancel(cancel));
    caller.turn(world.now);
    assert_eq!(caller.hears(), ["response #3 200 'beg'", "error #3 500 service.cancelled retry 0"]);
    let counters = &world.hub.counters;
    assert_eq!((counters.calls_answered.read(), counters.answers_late.read()), (2, 1));
    assert!(caller.session.is_quiet());
    // Of a call that it was never given a provider says nothing.
    provider.says(world.now, 6, &Body::Cancel(cancel));
    assert!(provider.closed.is_some());
}

#[test]
fn a_cancelled_call_is_told_to_both() {
    let world = World::new();
    let (mut caller, mut provider) = (world.client(), world.client());
    provide(&world, &mut provider, "/slow", 0);
    call(&world, &mut caller, 1, "/slow");
    provider.turn(world.now);
    provider.hears();
    caller.says(world.now, 1, &Body::Cancel(Cancel::default()));
    assert_eq!(caller.hears(), ["error #1 499 call.cancelled retry 0"]);
    provider.turn(world.now);
    assert_eq!(provider.hears(), ["cancel #2 499"]);
    caller.says(world.now, 1, &Body::Cancel(Cancel::default()));
    assert_eq!(caller.hears(), Vec::<String>::new(), "a second cancel finds nothing");
}

#[test]
fn a_caller_that_vanishes_harms_nobody() {
    let world = World::new();
    let (mut caller, mut provider) = (world.client(), world.client());
    provide(&world, &mut provider, "/slow", 0);
    call(&world, &mut caller, 1, "/slow");
    provider.turn(world.now);
    provider.hears();
    caller.vanishes(world.now);
    provider.turn(world.now);
    assert_eq!(provider.hears(), ["cancel #2 499"]);
    respond(&world, &mut provider, 2, Flags::END, b"for nobody");
    assert!(provider.closed.is_none());
}

#[test]
fn a_second_answer_is_dropped_and_counted() {
    let world = World::new();
    let (mut caller, mut provider) = (world.client(), world.client());
    provide(&world, &mut provider, "/twice", 0);
    call(&world, &mut caller, 1, "/twice");
    provider.turn(world.now);
    respond(&world, &mut provider, 2, Flags::END, b"one");
    respond(&world, &mut provider, 2, Flags::END, b"two");
    caller.turn(world.now);
    assert_eq!(caller.hears(), ["response #1 end 200 'one'"]);
    assert_eq!(world.hub.counters.answers_late.read(), 1);
}

#[test]
fn an_answer_for_someone_elses_call_closes_the_offender() {
    let world = World::new();
    let (mut caller, mut provider, mut offender) = (world.client(), world.client(), world.client());
    provide(&world, &mut provider, "/mine", 0);
    call(&world, &mut caller, 1, "/mine");
    provider.turn(world.now);
    respond(&world, &mut offender, 2, Flags::END, b"forged");
    assert_eq!(offender.hears(), ["error 605 protocol.error retry 0"]);
    assert!(offender.closed.is_some());
    respond(&world, &mut provider, 2, Flags::END, b"genuine");
    caller.turn(world.now);
    assert_eq!(caller.hears(), ["response #1 end 200 'genuine'"]);
}

#[test]
fn a_service_may_answer_by_an_error() {
    let world = World::new();
    let (mut caller, mut provider) = (world.client(), world.client());
    provide(&world, &mut provider, "/fussy", 0);
    call(&world, &mut caller, 1, "/fussy");
    provider.turn(world.now);
    let failure = Failure { code: whub_proto::Code::Conflict, slug: "mine", ..Failure::default() };
    provider.says(world.now, 2, &Body::Error(failure));
    caller.turn(world.now);
    assert_eq!(caller.hears(), ["error #1 409 mine retry 0"]);
}

#[test]
fn full_providers_are_skipped() {
    let world = World::new();
    world.configure(ServiceSettings { queue: 0, ..ServiceSettings::default() });
    let (mut caller, mut one, mut two) = (world.client(), world.client(), world.client());
    provide(&world, &mut one, "/work", 1);
    provide(&world, &mut two, "/work", 2);
    for id in [1, 3, 5] {
        call(&world, &mut caller, id, "/work");
    }
    one.turn(world.now);
    two.turn(world.now);
    assert_eq!((one.hears().len(), two.hears().len()), (1, 2));
    call(&world, &mut caller, 7, "/work");
    assert_eq!(caller.hears(), ["error #7 503 service.overloaded retry 500"]);
    respond(&world, &mut one, 2, Flags::END, b"done");
    call(&world, &mut caller, 9, "/work");
    one.turn(world.now);
    assert_eq!(one.hears().len(), 1, "its place is free again");
}

#[test]
fn a_provider_with_a_full_mailbox_is_skipped() {
    let world = World::new();
    world.configure(ServiceSettings { queue: 0, ..ServiceSettings::default() });
    let (mut caller, mut one) = (world.client(), world.client());
    provide(&world, &mut one, "/work", 0);
    one.inbox.state.lock().unwrap().full = true;
    call(&world, &mut caller, 1, "/work");
    assert_eq!(caller.hears(), ["error #1 503 service.overloaded retry 500"]);
}

#[test]
fn bodies_stream_both_ways_under_credit() {
    let world = World::new();
    let (mut caller, mut provider) = (world.client(), world.client());
    provide(&world, &mut provider, "/stream", 0);
    let body = Body::Request(Request { path: "/stream", credit: 4, ..Request::default() });
    caller.sends(world.now, 1, Flags::NONE, &body, b"a");
    caller.sends(world.now, 1, Flags::END, &Body::Data(Data::default()), b"b");
    provider.turn(world.now);
    assert_eq!(provider.hears(), ["request #2 /stream by c-1 for 30000ms as /stream 'a'", "data #2 end 'b'"]);
    respond(&world, &mut provider, 2, Flags::NONE, b"123");
    provider.sends(world.now, 2, Flags::NONE, &Body::Data(Data::default()), b"4");
    caller.says(world.now, 1, &Body::Credit(Credit { bytes: 2 }));
    provider.turn(world.now);
    assert_eq!(provider.hears(), ["credit #2 2"]);
    provider.sends(world.now, 2, Flags::END, &Body::Data(Data::default()), b"56");
    caller.turn(world.now);
    assert_eq!(caller.hears(), ["response #1 200 '123'", "data #1 '4'", "data #1 end '56'"]);
}

#[test]
fn an_answer_that_began_in_time_may_take_longer_than_the_deadline() {
    let mut world = World::new();
    let (mut caller, mut provider) = (world.client(), world.client());
    provide(&world, &mut provider, "/stream", 0);
    call(&world, &mut caller, 1, "/stream");
    provider.turn(world.now);
    respond(&world, &mut provider, 2, Flags::NONE, b"begin");
    world.pass(40 * SECOND);
    provider.session.handle_alive(world.now.at);
    provider.wakes(world.now);
    provider.sends(world.now, 2, Flags::END, &Body::Data(Data::default()), b"end");
    caller.turn(world.now);
    assert_eq!(caller.hears(), ["response #1 200 'begin'", "data #1 end 'end'"]);
}

#[test]
fn the_deadline_counts_from_the_last_of_the_request() {
    let mut world = World::new();
    let (mut caller, mut provider) = (world.client(), world.client());
    provide(&world, &mut provider, "/upload", 0);
    caller.sends(world.now, 1, Flags::NONE, &request("/upload"), b"");
    provider.turn(world.now);
    for _ in 0..3 {
        world.pass(20 * SECOND);
        provider.session.handle_alive(world.now.at);
        caller.sends(world.now, 1, Flags::NONE, &Body::Data(Data::default()), b"more");
        provider.turn(world.now);
        provider.wakes(world.now);
    }
    assert_eq!(caller.hears(), Vec::<String>::new());
    world.pass(30 * SECOND);
    provider.session.handle_alive(world.now.at);
    provider.wakes(world.now);
    caller.turn(world.now);
    assert_eq!(caller.hears(), ["error #1 504 call.deadline retry 0"]);
}

#[test]
fn more_than_the_credit_closes_the_provider_and_ends_the_call() {
    let world = World::new();
    let (mut caller, mut provider) = (world.client(), world.client());
    provide(&world, &mut provider, "/stream", 0);
    let body = Body::Request(Request { path: "/stream", credit: 4, ..Request::default() });
    caller.sends(world.now, 1, Flags::END, &body, b"");
    provider.turn(world.now);
    provider.hears();
    respond(&world, &mut provider, 2, Flags::NONE, b"12345");
    assert_eq!(provider.hears(), Vec::<String>::new(), "the first frame may be as large as it likes");
    provider.sends(world.now, 2, Flags::NONE, &Body::Data(Data::default()), b"6");
    assert_eq!(provider.hears(), ["error 605 protocol.error retry 0"]);
    caller.turn(world.now);
    assert_eq!(caller.hears(), ["response #1 200 '12345'", "error #1 502 service.provider_lost retry 1"]);
}

#[test]
fn the_providers_credit_reaches_the_caller() {
    let world = World::new();
    let (mut caller, mut provider) = (world.client(), world.client());
    provide(&world, &mut provider, "/upload", 0);
    caller.sends(world.now, 1, Flags::NONE, &request("/upload"), &[0; 262_144]);
    provider.turn(world.now);
    provider.hears();
    provider.says(world.now, 2, &Body::Credit(Credit { bytes: 1 }));
    caller.turn(world.now);
    assert_eq!(caller.hears(), ["credit #1 1"]);
    caller.sends(world.now, 1, Flags::NONE, &Body::Data(Data::default()), b"x");
    assert!(caller.closed.is_none());
    caller.sends(world.now, 1, Flags::NONE, &Body::Data(Data::default()), b"y");
    assert_eq!(caller.hears(), ["error 605 protocol.error retry 0"]);
}

#[test]
fn a_session_may_have_so_many_calls_in_flight() {
    let world = World::with_limits(SessionLimits { calls: 1, ..SessionLimits::default() });
    let (mut caller, mut provider) = (world.client(), world.client());
    provide(&world, &mut provider, "/slow", 0);
    call(&world, &mut caller, 1, "/slow");
    call(&world, &mut caller, 3, "/slow");
    assert_eq!(caller.hears(), ["error #3 429 calls.inflight retry 100"]);
}

#[test]
fn an_id_that_is_used_again_gets_no_answer_to_its_earlier_call() {
    let world = World::new();
    let (mut caller, mut one, mut two) = (world.client(), world.client(), world.client());
    provide(&world, &mut one, "/one", 0);
    provide(&world, &mut two, "/two", 0);
    call(&world, &mut caller, 7, "/one");
    one.turn(world.now);
    caller.says(world.now, 7, &Body::Cancel(Cancel::default()));
    assert_eq!(caller.hears(), ["error #7 499 call.cancelled retry 0"]);
    call(&world, &mut caller, 7, "/two");
    // The first provider has not heard of the cancel when it answers.
    let late = whub_core::Letter::Answer {
        id: whub_core::CallId { id: 7, serial: 1 },
        packet: whub_core::Packet::build(&Body::Response(Response::default())),
        last: true,
    };
    caller.mailbox.post(late).unwrap();
    caller.turn(world.now);
    assert_eq!(caller.hears(), Vec::<String>::new());
    two.turn(world.now);
    respond(&world, &mut two, 2, Flags::END, b"mine");
    caller.turn(world.now);
    assert_eq!(caller.hears(), ["response #7 end 200 'mine'"]);
}

#[test]
fn ids_that_live_or_are_even_break_the_protocol() {
    let world = World::new();
    let (mut caller, mut provider) = (world.client(), world.client());
    provide(&world, &mut provider, "/slow", 0);
    call(&world, &mut caller, 1, "/slow");
    call(&world, &mut caller, 1, "/slow");
    assert_eq!(caller.hears(), ["error 605 protocol.error retry 0"]);
    let mut even = world.client();
    call(&world, &mut even, 2, "/slow");
    assert_eq!(even.hears(), ["error 605 protocol.error retry 0"]);
    assert_eq!(world.hub.counters.protocol_errors.read(), 2);
}

#[test]
fn unregistering_stops_new_calls_and_lets_old_ones_finish() {
    let world = World::new();
    let (mut caller, mut provider) = (world.client(), world.client());
    provide(&world, &mut provider, "/a", 0);
    call(&world, &mut caller, 1, "/a");
    let unregister = Unregister { path: "/a", ..Unregister::default() };
    provider.says(world.now, 3, &Body::Unregister(unregister));
    call(&world, &mut caller, 3, "/a");
    assert_eq!(caller.hears(), ["error #3 404 service.not_found retry 0"]);
    respond(&world, &mut provider, 2, Flags::END, b"done");
    caller.turn(world.now);
    assert_eq!(caller.hears(), ["response #1 end 200 'done'"]);
    provider.says(world.now, 5, &Body::Unregister(unregister));
    assert_eq!(provider.hears().last().unwrap(), "error #5 404 service.not_registered retry 0");
}

#[test]
fn registering_twice_and_reserved_roots_are_refused() {
    let world = World::new();
    let mut provider = world.client();
    provide(&world, &mut provider, "/a", 0);
    for (id, path, expected) in [
        (3, "/a", "error #3 409 service.registered retry 0"),
        (5, "/v1/x", "error #5 403 register.path retry 0"),
        (7, "/", "error #7 403 register.path retry 0"),
    ] {
        provider.says(world.now, id, &Body::Register(Register { path, ..Register::default() }));
        assert_eq!(provider.hears(), [expected]);
    }
}
