//! WebSockets that are calls, progress and trailers: what streams besides plain bodies.

mod common;

use std::time::Duration;

use common::{Client, World};
use whub_proto::{Body, Cancel, Data, Flags, Headers, Register, Request, Response};

fn pair(world: &World) -> (Client, Client) {
    let (mut caller, mut provider) = (world.client(), world.client());
    provider.says(world.now, 1, &Body::Register(Register { path: "/s", ..Register::default() }));
    provider.hears();
    let request = Request { path: "/s", method: "WEBSOCKET", ..Request::default() };
    caller.sends(world.now, 1, Flags::NONE, &Body::Request(request), b"");
    provider.turn(world.now);
    assert_eq!(provider.hears().len(), 1);
    (caller, provider)
}

fn open(world: &World) -> (Client, Client) {
    let (mut caller, mut provider) = pair(world);
    provider.says(world.now, 2, &Body::Response(Response { status: 101, ..Response::default() }));
    caller.turn(world.now);
    assert_eq!(caller.hears(), ["response #1 101"]);
    (caller, provider)
}

fn say(world: &World, client: &mut Client, id: u64, flags: Flags, payload: &[u8]) {
    client.sends(world.now, id, flags, &Body::Data(Data::default()), payload);
}

#[test]
fn messages_go_both_ways_until_each_side_has_ended() {
    let world = World::new();
    let (mut caller, mut provider) = open(&world);
    say(&world, &mut caller, 1, Flags::TEXT, b"hi");
    say(&world, &mut provider, 2, Flags::TEXT, b"ho");
    say(&world, &mut provider, 2, Flags::MORE, b"part");
    let bye = Data { close: 1000, reason: "bye", ..Data::default() };
    provider.sends(world.now, 2, Flags::END, &Body::Data(bye), b"");
    caller.turn(world.now);
    assert_eq!(caller.hears(), ["data #1 text 'ho'", "data #1 more 'part'", "data #1 end"]);
    assert!(!caller.session.is_quiet() && !provider.session.is_quiet());
    say(&world, &mut caller, 1, Flags::NONE, b"last words");
    say(&world, &mut caller, 1, Flags::END, b"");
    provider.turn(world.now);
    assert_eq!(provider.hears(), ["data #2 text 'hi'", "data #2 'last words'", "data #2 end"]);
    assert!(caller.session.is_quiet() && provider.session.is_quiet());
    assert_eq!(world.hub.counters.calls_answered.read(), 1);
    // The id is free again.
    caller.sends(world.now, 1, Flags::END, &Body::Request(Request { path: "/s", ..Request::default() }), b"");
    assert!(caller.closed.is_none());
}

#[test]
fn the_caller_may_end_first() {
    let world = World::new();
    let (mut caller, mut provider) = open(&world);
    say(&world, &mut caller, 1, Flags::END, b"");
    provider.turn(world.now);
    say(&world, &mut provider, 2, Flags::NONE, b"last");
    say(&world, &mut provider, 2, Flags::END, b"");
    caller.turn(world.now);
    assert_eq!(caller.hears(), ["data #1 'last'", "data #1 end"]);
    assert!(caller.session.is_quiet() && provider.session.is_quiet());
}

#[test]
fn both_may_end_at_once() {
    let world = World::new();
    let (mut caller, mut provider) = open(&world);
    say(&world, &mut caller, 1, Flags::END, b"");
    // The provider has not heard of it.
    provider.session_says(world.now, 2, &Body::Data(Data::default()));
    let bytes = common::frame(2, Flags::END, &Body::Data(Data::default()), b"");
    let frame = whub_proto::Frame::parse(&bytes, 1 << 20, whub_proto::Origin::Client).expect("a frame");
    provider.session.handle_frame(world.now, &frame);
    provider.turn(world.now);
    caller.turn(world.now);
    assert!(caller.session.is_quiet() && provider.session.is_quiet());
}

#[test]
fn a_side_that_does_not_end_is_not_waited_for_for_ever() {
    let mut world = World::new();
    let (mut caller, mut provider) = open(&world);
    world.pass(Duration::from_secs(40));
    provider.session.handle_alive(world.now.at);
    provider.wakes(world.now);
    assert!(!provider.session.is_quiet(), "an open WebSocket has no deadline");
    say(&world, &mut provider, 2, Flags::END, b"");
    world.pass(Duration::from_secs(30));
    provider.session.handle_alive(world.now.at);
    provider.wakes(world.now);
    assert_eq!(provider.hears(), ["cancel #2 408"]);
    caller.turn(world.now);
    assert_eq!(caller.hears(), ["data #1 end", "error #1 408 websocket.not_closed retry 0"]);
    assert!(caller.session.is_quiet() && provider.session.is_quiet());
}

#[test]
fn the_callers_messages_need_credit() {
    let world = World::new();
    let (mut caller, _provider) = open(&world);
    say(&world, &mut caller, 1, Flags::NONE, &[0; 262_144]);
    assert!(caller.closed.is_none());
    say(&world, &mut caller, 1, Flags::NONE, b"x");
    assert_eq!(caller.hears(), ["error 605 protocol.error retry 0"]);
}

#[test]
fn a_refused_websocket_is_an_answer_like_any_other() {
    let world = World::new();
    let (mut caller, mut provider) = pair(&world);
    let response = Response { status: 403, ..Response::default() };
    provider.sends(world.now, 2, Flags::END, &Body::Response(response), b"no");
    caller.turn(world.now);
    assert_eq!(caller.hears(), ["response #1 end 403 'no'"]);
    assert!(caller.session.is_quiet() && provider.session.is_quiet());
}

#[test]
fn either_side_may_break_off() {
    let world = World::new();
    let (mut caller, mut provider) = open(&world);
    caller.says(world.now, 1, &Body::Cancel(Cancel::default()));
    provider.turn(world.now);
    assert_eq!(provider.hears(), ["cancel #2 499"]);
    let (mut caller, mut provider) = open(&world);
    provider.vanishes(world.now);
    caller.turn(world.now);
    assert_eq!(caller.hears(), ["error #1 502 service.provider_lost retry 1"]);
}

#[test]
fn status_101_answers_nothing_else() {
    let world = World::new();
    let (mut caller, mut provider) = pair(&world);
    provider.says(world.now, 2, &Body::Response(Response { status: 403, ..Response::default() }));
    caller.turn(world.now);
    caller.sends(world.now, 3, Flags::END, &Body::Request(Request { path: "/s", ..Request::default() }), b"");
    provider.turn(world.now);
    provider.says(world.now, 4, &Body::Response(Response { status: 101, ..Response::default() }));
    caller.turn(world.now);
    assert_eq!(caller.hears().last().map(String::as_str), Some("error #3 502 service.bad_answer retry 0"));
    assert_eq!(provider.hears().last().map(String::as_str), Some("cancel #4 400"));
    assert!(provider.closed.is_none());
}

#[test]
fn progress_goes_before_the_answer_and_does_not_put_off_its_deadline() {
    let mut world = World::new();
    let (mut caller, mut provider) = pair(&world);
    let request = Request { path: "/s", timeout_ms: 1000, ..Request::default() };
    caller.sends(world.now, 3, Flags::END, &Body::Request(request), b"");
    provider.turn(world.now);
    provider.hears();
    world.pass(Duration::from_millis(999));
    let progress = Response { status: 102, headers: Headers::new(&[("done", "99")]), ..Response::default() };
    provider.says(world.now, 4, &Body::Response(progress));
    world.pass(Duration::from_millis(1));
    provider.wakes(world.now);
    caller.turn(world.now);
    assert_eq!(caller.hears(), ["response #3 102", "error #3 504 call.deadline retry 0"]);
}

#[test]
fn progress_is_bounded_and_cannot_be_the_end() {
    let world = World::new();
    let (mut caller, mut provider) = pair(&world);
    let progress = Body::Response(Response { status: 199, ..Response::default() });
    for _ in 0..3 {
        provider.sends(world.now, 2, Flags::NONE, &progress, &[0; 400_000]);
    }
    caller.turn(world.now);
    assert_eq!((caller.hears().len(), world.hub.counters.progress_dropped.read()), (2, 1));
    provider.sends(world.now, 2, Flags::END, &progress, b"");
    assert_eq!(provider.hears(), ["error 605 protocol.error retry 0"]);
    caller.turn(world.now);
    assert_eq!(caller.hears(), ["error #1 502 service.provider_lost retry 1"]);
}

#[test]
fn trailers_reach_the_other_side() {
    let world = World::new();
    let (mut caller, mut provider) = pair(&world);
    let trailers = Body::Data(Data { headers: Headers::new(&[("sum", "9f")]), ..Data::default() });
    caller.sends(world.now, 1, Flags::END, &trailers, b"");
    provider.turn(world.now);
    assert_eq!(provider.hears(), ["data #2 end sum: 9f"]);
    provider.says(world.now, 2, &Body::Response(Response::default()));
    provider.sends(world.now, 2, Flags::END, &trailers, b"x");
    caller.turn(world.now);
    assert_eq!(caller.hears(), ["response #1 200", "data #1 end sum: 9f 'x'"]);
}
