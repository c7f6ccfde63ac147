//! Calls whose provider is lost: moved to another one where that is harmless, told to their caller where it is not.

mod common;

use std::sync::Arc;
use std::time::Duration;

use common::{Client, World};
use whub_core::ServiceSettings;
use whub_proto::code::NOT_TAKEN;
use whub_proto::{Body, Cancel, Code, Credit, Data, Failure, Flags, Register, Request, Response, Unregister};

const LOST: &str = "error #1 502 service.provider_lost retry 1";

fn provider(world: &World, max_inflight: u32) -> Client {
    let mut client = world.client();
    client.says(world.now, 1, &Body::Register(Register { path: "/a", max_inflight, ..Register::default() }));
    assert_eq!(client.hears(), ["ok #1"]);
    client
}

fn ask_with(world: &World, caller: &mut Client, request: Request<'_>) {
    caller.sends(world.now, 1, Flags::END, &Body::Request(Request { path: "/a", ..request }), b"ask");
}

fn ask_idempotent(world: &World, caller: &mut Client) {
    ask_with(world, caller, Request { idempotency: "k1", ..Request::default() });
}

fn respond(world: &World, provider: &mut Client, id: u64) {
    provider.sends(world.now, id, Flags::END, &Body::Response(Response::default()), b"done");
}

/// Has the call, then does not exist any more.
fn take_and_die(world: &World, provider: &mut Client) {
    provider.turn(world.now);
    assert_eq!(provider.hears().len(), 1);
    provider.vanishes(world.now);
}

#[test]
fn an_idempotent_call_is_moved_and_the_answer_says_so() {
    let mut world = World::new();
    let (mut one, mut caller) = (provider(&world, 0), world.client());
    ask_idempotent(&world, &mut caller);
    let mut two = provider(&world, 0);
    world.pass(Duration::from_secs(3));
    take_and_die(&world, &mut one);
    two.turn(world.now);
    assert_eq!(
        two.hears(),
        ["request #2 end /a by c-1 for 27000ms as /a 'ask'"],
        "with what is left of its time"
    );
    respond(&world, &mut two, 2);
    caller.turn(world.now);
    assert_eq!(caller.hears(), ["response #1 end 200 moved 1 'done'"]);
    assert_eq!(
        (world.hub.counters.calls_moved.read(), world.hub.counters.calls_provider_lost.read()),
        (1, 0)
    );
}

#[test]
fn safe_methods_are_moved_and_others_are_not() {
    for (method, moved) in
        [("GET", true), ("HEAD", true), ("OPTIONS", true), ("POST", false), ("PUT", false), ("", false)]
    {
        let world = World::new();
        let (mut one, mut caller) = (provider(&world, 0), world.client());
        ask_with(&world, &mut caller, Request { method, ..Request::default() });
        let mut two = provider(&world, 0);
        take_and_die(&world, &mut one);
        two.turn(world.now);
        caller.turn(world.now);
        assert_eq!((two.hears().len() == 1, caller.hears() == [LOST]), (moved, !moved), "{method}");
    }
}

#[test]
fn a_request_that_never_left_is_moved_whatever_it_is() {
    let world = World::new();
    let (mut one, mut caller) = (provider(&world, 0), world.client());
    ask_with(&world, &mut caller, Request::default());
    let mut two = provider(&world, 0);
    // The letter lies in its mailbox.
    one.vanishes(world.now);
    two.turn(world.now);
    respond(&world, &mut two, 2);
    caller.turn(world.now);
    assert_eq!(caller.hears(), ["response #1 end 200 moved 1 'done'"]);
}

#[test]
fn a_request_that_crosses_with_the_end_of_a_registration_is_moved() {
    let world = World::new();
    let (mut one, mut caller) = (provider(&world, 0), world.client());
    ask_with(&world, &mut caller, Request::default());
    let mut two = provider(&world, 0);
    // The letter lies in its mailbox, and the client knows no service for it any more.
    one.session_says(world.now, 3, &Body::Unregister(Unregister { path: "/a", grace_ms: 0 }));
    one.turn(world.now);
    assert_eq!(one.hears(), ["ok #3"]);
    two.turn(world.now);
    respond(&world, &mut two, 2);
    caller.turn(world.now);
    assert_eq!(caller.hears(), ["response #1 end 200 moved 1 'done'"]);
}

#[test]
fn a_call_is_moved_twice_at_most() {
    let world = World::new();
    let (mut one, mut caller) = (provider(&world, 0), world.client());
    ask_idempotent(&world, &mut caller);
    let mut providers = Vec::new();
    for _ in 0..2 {
        providers.push(provider(&world, 0));
        take_and_die(&world, &mut one);
        one = providers.pop().unwrap_or_else(|| world.client());
    }
    let mut fourth = provider(&world, 0);
    take_and_die(&world, &mut one);
    fourth.turn(world.now);
    assert_eq!(fourth.hears().len(), 0);
    caller.turn(world.now);
    assert_eq!(caller.hears(), [format!("{LOST} moved 2")]);
}

#[test]
fn nobody_is_left_to_move_to() {
    let world = World::new();
    let (mut one, mut caller) = (provider(&world, 0), world.client());
    ask_idempotent(&world, &mut caller);
    take_and_die(&world, &mut one);
    caller.turn(world.now);
    assert_eq!(caller.hears(), [LOST], "at once, not at the deadline");
}

#[test]
fn an_answer_that_has_begun_is_not_moved() {
    let world = World::new();
    let (mut one, mut caller) = (provider(&world, 0), world.client());
    ask_idempotent(&world, &mut caller);
    let mut two = provider(&world, 0);
    one.turn(world.now);
    one.sends(world.now, 2, Flags::NONE, &Body::Response(Response::default()), b"half");
    one.vanishes(world.now);
    caller.turn(world.now);
    assert_eq!(caller.hears(), ["response #1 200 'half'", LOST]);
    two.turn(world.now);
    assert_eq!(two.hears().len(), 0);
}

#[test]
fn a_request_whose_body_is_not_at_hand_is_not_moved() {
    let world = World::new();
    let (mut one, mut caller) = (provider(&world, 0), world.client());
    let request = Request { path: "/a", idempotency: "k1", ..Request::default() };
    caller.sends(world.now, 1, Flags::NONE, &Body::Request(request), b"a");
    caller.sends(world.now, 1, Flags::END, &Body::Data(Data::default()), b"b");
    let mut two = provider(&world, 0);
    one.turn(world.now);
    one.vanishes(world.now);
    caller.turn(world.now);
    assert_eq!(caller.hears(), [LOST]);
    two.turn(world.now);
    assert_eq!(two.hears().len(), 0);
}

#[test]
fn progress_is_no_answer_so_the_call_is_still_moved() {
    let world = World::new();
    let (mut one, mut caller) = (provider(&world, 0), world.client());
    ask_idempotent(&world, &mut caller);
    one.turn(world.now);
    one.says(world.now, 2, &Body::Response(Response { status: 102, ..Response::default() }));
    let mut two = provider(&world, 0);
    one.vanishes(world.now);
    two.turn(world.now);
    respond(&world, &mut two, 2);
    caller.turn(world.now);
    assert_eq!(caller.hears(), ["response #1 102", "response #1 end 200 moved 1 'done'"]);
}

#[test]
fn a_moved_call_may_have_to_wait() {
    let world = World::new();
    let (mut one, mut caller) = (provider(&world, 0), world.client());
    ask_idempotent(&world, &mut caller);
    let (mut two, mut other) = (provider(&world, 1), world.client());
    one.turn(world.now);
    one.hears();
    // The first has a call in flight already, so this one goes to the second.
    other.sends(world.now, 1, Flags::END, &Body::Request(Request { path: "/a", ..Request::default() }), b"");
    two.turn(world.now);
    assert_eq!(two.hears().len(), 1);
    one.vanishes(world.now);
    world.usher();
    respond(&world, &mut two, 2);
    world.usher();
    two.turn(world.now);
    respond(&world, &mut two, 4);
    caller.turn(world.now);
    assert_eq!(caller.hears(), ["response #1 end 200 moved 1 'done'"]);
}

#[test]
fn when_there_is_no_room_the_caller_is_told_of_the_loss() {
    let world = World::new();
    world.configure(ServiceSettings { queue: 0, ..ServiceSettings::default() });
    let (mut one, mut caller) = (provider(&world, 0), world.client());
    ask_idempotent(&world, &mut caller);
    let two = provider(&world, 0);
    two.inbox.state.lock().expect("nobody panicked").full = true;
    take_and_die(&world, &mut one);
    caller.turn(world.now);
    assert_eq!(caller.hears(), [LOST]);
}

#[test]
fn cancel_finds_a_call_that_was_moved() {
    let world = World::new();
    let (mut one, mut caller) = (provider(&world, 0), world.client());
    ask_idempotent(&world, &mut caller);
    let mut two = provider(&world, 0);
    take_and_die(&world, &mut one);
    // Before the caller's session has read where its call is now.
    caller.session_says(world.now, 1, &Body::Cancel(Cancel::default()));
    caller.turn(world.now);
    assert_eq!(caller.hears(), ["error #1 499 call.cancelled retry 0"]);
    two.turn(world.now);
    assert_eq!(two.hears().last().map(String::as_str), Some("cancel #2 499"));
    assert!(two.session.is_quiet() && world.hub.counters.calls_cancelled.read() == 1);
}

#[test]
fn credit_that_the_lost_provider_had_holds_for_the_next() {
    let world = World::new();
    let (mut one, mut caller) = (provider(&world, 0), world.client());
    ask_with(&world, &mut caller, Request { idempotency: "k1", credit: 2, ..Request::default() });
    caller.says(world.now, 1, &Body::Credit(Credit { bytes: 4 }));
    let mut two = provider(&world, 0);
    one.turn(world.now);
    one.vanishes(world.now);
    caller.turn(world.now);
    two.turn(world.now);
    two.sends(world.now, 2, Flags::NONE, &Body::Response(Response::default()), b"12");
    two.sends(world.now, 2, Flags::END, &Body::Data(Data::default()), b"3456");
    caller.turn(world.now);
    assert_eq!(caller.hears(), ["response #1 200 moved 1 '12'", "data #1 end '3456'"]);
}

#[test]
fn the_error_of_a_service_says_how_often_its_call_was_moved() {
    let world = World::new();
    let (mut one, mut caller) = (provider(&world, 0), world.client());
    ask_idempotent(&world, &mut caller);
    let mut two = provider(&world, 0);
    take_and_die(&world, &mut one);
    two.turn(world.now);
    let failure = Failure { code: Code::Conflict, slug: "mine", ..Failure::default() };
    two.says(world.now, 2, &Body::Error(failure));
    caller.turn(world.now);
    assert_eq!(caller.hears(), ["error #1 409 mine retry 0 moved 1"]);
}

#[test]
fn calls_of_a_provider_whose_grace_is_over_are_moved_too() {
    let mut world = World::new();
    let (mut one, mut caller) = (provider(&world, 0), world.client());
    ask_idempotent(&world, &mut caller);
    let mut two = provider(&world, 0);
    one.turn(world.now);
    one.says(world.now, 3, &Body::Unregister(Unregister { path: "/a", grace_ms: 1000 }));
    world.pass(Duration::from_secs(1));
    one.wakes(world.now);
    assert_eq!(one.hears().last().map(String::as_str), Some("cancel #2 604"));
    two.turn(world.now);
    respond(&world, &mut two, 2);
    respond(&world, &mut one, 2);
    caller.turn(world.now);
    assert_eq!(caller.hears(), ["response #1 end 200 moved 1 'done'"]);
    assert_eq!(world.hub.counters.answers_late.read(), 1);
}

// ------------------------------------------------------------------------------------ calls that are not taken

/// Has the call, and says that it has not begun it.
fn refuse(world: &World, provider: &mut Client, id: u64) {
    provider.turn(world.now);
    assert_eq!(provider.hears().len(), 1);
    let failure = Failure { code: Code::Unavailable, slug: NOT_TAKEN, retry_ms: 1000, ..Failure::default() };
    provider.says(world.now, id, &Body::Error(failure));
}

const NOT_TAKEN_BY_ANYBODY: &str = "error #1 503 call.not_taken retry 1000";

#[test]
fn a_call_that_was_not_begun_goes_to_another_provider_whatever_it_is() {
    let mut world = World::new();
    let (mut one, mut caller) = (provider(&world, 0), world.client());
    ask_with(&world, &mut caller, Request { method: "POST", timeout_ms: 2000, ..Request::default() });
    let mut two = provider(&world, 0);
    world.pass(Duration::from_millis(500));
    refuse(&world, &mut one, 2);
    two.turn(world.now);
    assert_eq!(two.hears(), ["request #2 end /a by c-1 for 1500ms as /a 'ask'"]);
    respond(&world, &mut two, 2);
    caller.turn(world.now);
    assert_eq!(caller.hears(), ["response #1 end 200 moved 1 'done'"]);
    let counters = &world.hub.counters;
    assert_eq!((counters.calls_moved.read(), counters.calls_not_taken.read()), (1, 1));
    assert_eq!((counters.calls_provider_lost.read(), counters.calls_answered.read()), (0, 1));
}

#[test]
fn who_has_not_taken_a_call_is_not_asked_again() {
    let world = World::new();
    let (mut one, mut caller) = (provider(&world, 0), world.client());
    ask_with(&world, &mut caller, Request::default());
    let mut two = provider(&world, 0);
    refuse(&world, &mut one, 2);
    refuse(&world, &mut two, 2);
    caller.turn(world.now);
    assert_eq!(caller.hears(), [format!("{NOT_TAKEN_BY_ANYBODY} moved 1")], "nobody is left to ask");
    one.turn(world.now);
    assert_eq!(one.hears().len(), 0);
    assert!(one.session.is_quiet() && two.session.is_quiet());
}

#[test]
fn three_providers_are_asked_and_no_fourth() {
    let world = World::new();
    let (mut one, mut caller) = (provider(&world, 0), world.client());
    ask_with(&world, &mut caller, Request::default());
    for _ in 0..2 {
        let next = provider(&world, 0);
        refuse(&world, &mut one, 2);
        // It is refused by each of them, so that only the new one is left.
        one = next;
    }
    let mut fourth = provider(&world, 0);
    refuse(&world, &mut one, 2);
    fourth.turn(world.now);
    assert_eq!(fourth.hears().len(), 0);
    caller.turn(world.now);
    assert_eq!(caller.hears(), [format!("{NOT_TAKEN_BY_ANYBODY} moved 2")]);
    assert_eq!(world.hub.counters.calls_not_taken.read(), 3);
}

#[test]
fn alone_a_provider_is_believed_at_once() {
    let world = World::new();
    let (mut one, mut caller) = (provider(&world, 0), world.client());
    ask_idempotent(&world, &mut caller);
    refuse(&world, &mut one, 2);
    caller.turn(world.now);
    assert_eq!(caller.hears(), [NOT_TAKEN_BY_ANYBODY]);
    assert_eq!(world.hub.counters.calls_moved.read(), 0);
}

#[test]
fn what_is_not_at_hand_or_was_answered_is_not_moved() {
    // The body goes on.
    let world = World::new();
    let (mut one, mut caller) = (provider(&world, 0), world.client());
    let request = Request { path: "/a", ..Request::default() };
    caller.sends(world.now, 1, Flags::NONE, &Body::Request(request), b"a");
    let mut two = provider(&world, 0);
    refuse(&world, &mut one, 2);
    caller.turn(world.now);
    assert_eq!(caller.hears(), [NOT_TAKEN_BY_ANYBODY]);
    two.turn(world.now);
    assert_eq!(two.hears().len(), 0);

    // It is longer than what is kept.
    let world = World::new();
    let (mut one, mut caller) = (provider(&world, 0), world.client());
    caller.sends(world.now, 1, Flags::END, &Body::Request(request), &vec![b'x'; (64 << 10) + 1]);
    let mut two = provider(&world, 0);
    refuse(&world, &mut one, 2);
    caller.turn(world.now);
    assert_eq!(caller.hears(), [NOT_TAKEN_BY_ANYBODY]);
    two.turn(world.now);
    assert_eq!(two.hears().len(), 0);

    // The answer had begun.
    let world = World::new();
    let (mut one, mut caller) = (provider(&world, 0), world.client());
    ask_idempotent(&world, &mut caller);
    let mut two = provider(&world, 0);
    one.turn(world.now);
    one.hears();
    one.sends(world.now, 2, Flags::NONE, &Body::Response(Response::default()), b"half");
    let failure = Failure { code: Code::Unavailable, slug: NOT_TAKEN, ..Failure::default() };
    one.says(world.now, 2, &Body::Error(failure));
    caller.turn(world.now);
    assert_eq!(caller.hears(), ["response #1 200 'half'", "error #1 503 call.not_taken retry 0"]);
    two.turn(world.now);
    assert_eq!(two.hears().len(), 0);
}

#[test]
fn another_error_is_an_answer() {
    let world = World::new();
    let (mut one, mut caller) = (provider(&world, 0), world.client());
    ask_idempotent(&world, &mut caller);
    let mut two = provider(&world, 0);
    one.turn(world.now);
    let failure = Failure { code: Code::Unavailable, slug: "shop.closed", ..Failure::default() };
    one.says(world.now, 2, &Body::Error(failure));
    caller.turn(world.now);
    assert_eq!(caller.hears(), ["error #1 503 shop.closed retry 0"]);
    two.turn(world.now);
    assert_eq!(two.hears().len(), 0);
}

#[test]
fn a_call_that_was_not_taken_waits_for_the_others_and_no_longer_than_they_are_there() {
    let world = World::new();
    let (mut one, mut caller) = (provider(&world, 0), world.client());
    ask_with(&world, &mut caller, Request::default());
    let (mut two, mut other) = (provider(&world, 1), world.client());
    // The first has a call in flight already, so this one goes to the second, which is full then.
    other.sends(world.now, 1, Flags::END, &Body::Request(Request { path: "/a", ..Request::default() }), b"");
    two.turn(world.now);
    assert_eq!(two.hears().len(), 1);
    refuse(&world, &mut one, 2);
    world.usher();
    one.turn(world.now);
    assert_eq!(one.hears().len(), 0, "although it has room");
    caller.turn(world.now);
    assert_eq!(caller.hears().len(), 0);
    two.vanishes(world.now);
    world.usher();
    caller.turn(world.now);
    assert_eq!(caller.hears(), ["error #1 503 service.overloaded retry 500 moved 1"]);
    assert!(world.hub.services.list().iter().all(|service| service.waiting() == 0));
}

#[test]
fn what_nobody_at_another_node_takes_comes_to_one_of_this() {
    let (near, far) = (World::new(), World::new());
    let now = far.now;
    let _joined = whub_core::join(&near.hub, &far.hub, Arc::new(move || now));
    let (mut there, mut caller) = (provider(&far, 0), near.client());
    ask_with(&near, &mut caller, Request::default());
    let mut here = provider(&near, 0);
    refuse(&far, &mut there, 2);
    here.turn(near.now);
    respond(&near, &mut here, 2);
    caller.turn(near.now);
    assert_eq!(caller.hears(), ["response #1 end 200 moved 1 'done'"]);
    // With nobody else it is the answer.
    here.vanishes(near.now);
    caller.sends(
        near.now,
        3,
        Flags::END,
        &Body::Request(Request { path: "/a", ..Request::default() }),
        b"ask",
    );
    refuse(&far, &mut there, 4);
    caller.turn(near.now);
    assert_eq!(caller.hears(), ["error #3 503 call.not_taken retry 1000"]);
    let (near, far) = (&near.hub.counters, &far.hub.counters);
    assert_eq!((near.calls_accepted.read(), near.calls_answered.read(), near.calls_moved.read()), (2, 2, 1));
    assert_eq!((far.calls_accepted.read(), far.calls_answered.read()), (2, 2));
}
