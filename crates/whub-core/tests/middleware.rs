//! The chain: what its steps see of every call, and what they may change.

// A failed unwrap is a failed test.
#![allow(clippy::unwrap_used)]

mod common;

use std::sync::{Arc, Mutex};
use std::time::Duration;

use common::{Client, World};
use whub_core::middleware::{AnswerHead, Asked, CallRecord, Chain, Interest, Middleware, Outcome};
use whub_core::{Fault, Now, ServiceSettings};
use whub_proto::{Body, Cancel, Code, Data, Failure, Flags, Headers, Register, Request, Response};

/// A chain of these steps in the world's hub, with a clock that stands at the world's time.
fn chain(world: &World, steps: Vec<Arc<dyn Middleware>>) -> Arc<Mutex<Now>> {
    let clock = Arc::new(Mutex::new(world.now));
    let read = Arc::clone(&clock);
    world.hub.chain.replace(Chain::new(steps, Arc::new(move || *read.lock().unwrap())));
    clock
}

/// Notes what it sees.
#[derive(Debug, Default)]
struct Notes(Mutex<Vec<String>>);

impl Notes {
    fn take(&self) -> Vec<String> {
        std::mem::take(&mut self.0.lock().unwrap())
    }

    fn note(&self, line: String) {
        self.0.lock().unwrap().push(line);
    }
}

impl Middleware for Notes {
    fn name(&self) -> &'static str {
        "notes"
    }

    fn before(&self, _: Now, call: &mut Asked<'_>) -> Result<(), Fault> {
        let service = call.pattern().unwrap_or("nobody");
        self.note(format!("before {} {} for {service}", call.number, call.path.as_str()));
        Ok(())
    }

    fn answered(&self, _: Now, call: &CallRecord, answer: &mut AnswerHead<'_>) {
        self.note(format!("answered {} {}", call.number, answer.status));
    }

    fn ended(&self, _: Now, call: &CallRecord, outcome: &Outcome) {
        let first = outcome.first.map_or(-1, |first| i64::try_from(first.as_millis()).unwrap());
        self.note(format!(
            "ended {} {} {:?} {} up {} down {} first {first}ms all {}ms{}{}",
            call.number,
            outcome.status,
            outcome.code,
            outcome.slug,
            outcome.bytes_up,
            outcome.bytes_down,
            outcome.duration.as_millis(),
            if outcome.refused { " refused" } else { "" },
            outcome.provider.as_deref().map_or_else(String::new, |provider| format!(" by {provider}"))
                + if outcome.moved > 0 { " moved" } else { "" },
        ));
    }
}

fn provide(world: &World, pattern: &str) -> Client {
    let mut provider = world.client();
    provider.says(world.now, 1, &Body::Register(Register { path: pattern, ..Register::default() }));
    assert_eq!(provider.hears(), ["ok #1"]);
    provider
}

fn ask(world: &World, caller: &mut Client, path: &str, headers: &[(&str, &str)]) {
    let headers = Headers::new(headers);
    let body = Body::Request(Request { path, headers, ..Request::default() });
    caller.sends(world.now, 1, Flags::END, &body, b"ask");
}

fn watched() -> (World, Arc<Notes>, Arc<Mutex<Now>>) {
    let world = World::new();
    let notes = Arc::new(Notes::default());
    let clock = chain(&world, vec![Arc::clone(&notes) as Arc<dyn Middleware>]);
    (world, notes, clock)
}

#[test]
fn an_answer_in_pieces_is_seen_from_the_first_to_the_last() {
    let (mut world, notes, clock) = watched();
    let (mut provider, mut caller) = (provide(&world, "/a/*rest"), world.client());
    ask(&world, &mut caller, "/a/b", &[]);
    assert_eq!(notes.take(), ["before 1 /a/b for /a/*rest"]);
    provider.turn(world.now);
    provider.hears();
    world.pass(Duration::from_millis(20));
    *clock.lock().unwrap() = world.now;
    provider.sends(world.now, 2, Flags::NONE, &Body::Response(Response::default()), b"one");
    assert_eq!(notes.take(), ["answered 1 200"]);
    world.pass(Duration::from_millis(30));
    *clock.lock().unwrap() = world.now;
    provider.sends(world.now, 2, Flags::END, &Body::Data(Data::default()), b"two");
    assert_eq!(notes.take(), ["ended 1 200 Unspecified  up 3 down 6 first 20ms all 50ms by c-1"]);
    caller.turn(world.now);
    assert_eq!(caller.hears(), ["response #1 200 'one'", "data #1 end 'two'"]);
}

#[test]
fn every_way_to_end_is_seen_once() {
    let (mut world, notes, clock) = watched();
    let mut caller = world.client();
    ask(&world, &mut caller, "/nope", &[]);
    assert_eq!(
        notes.take(),
        [
            "before 1 /nope for nobody",
            "ended 1 404 NotFound service.not_found up 3 down 0 first -1ms all 0ms refused"
        ]
    );
    let mut provider = provide(&world, "/a");

    ask(&world, &mut caller, "/a", &[]);
    provider.turn(world.now);
    let failure = Failure { code: Code::Conflict, slug: "bank.closed", ..Failure::default() };
    provider.sends(world.now, 2, Flags::NONE, &Body::Error(failure), b"");
    assert_eq!(notes.take()[1..], ["ended 2 409 Conflict bank.closed up 3 down 0 first -1ms all 0ms by c-1"]);
    caller.turn(world.now);

    ask(&world, &mut caller, "/a", &[]);
    provider.turn(world.now);
    world.pass(Duration::from_secs(31));
    *clock.lock().unwrap() = world.now;
    provider.wakes(world.now);
    assert_eq!(
        notes.take()[1..],
        ["ended 3 504 DeadlineExceeded call.deadline up 3 down 0 first -1ms all 31000ms by c-1"]
    );
    caller.turn(world.now);

    ask(&world, &mut caller, "/a", &[]);
    provider.turn(world.now);
    caller.says(world.now, 1, &Body::Cancel(Cancel::default()));
    provider.turn(world.now);
    assert_eq!(
        notes.take()[1..],
        ["ended 4 499 Cancelled call.cancelled up 3 down 0 first -1ms all 0ms by c-1"]
    );

    ask(&world, &mut caller, "/a", &[]);
    provider.turn(world.now);
    caller.vanishes(world.now);
    provider.turn(world.now);
    assert_eq!(
        notes.take()[1..],
        ["ended 5 499 Cancelled call.cancelled up 3 down 0 first -1ms all 0ms by c-1"]
    );

    let mut caller = world.client();
    ask(&world, &mut caller, "/a", &[]);
    provider.turn(world.now);
    provider.vanishes(world.now);
    assert_eq!(
        notes.take()[1..],
        ["ended 6 502 ProviderLost service.provider_lost up 3 down 0 first -1ms all 0ms by c-1"]
    );
}

#[test]
fn a_call_that_no_provider_has_room_for_ends_too() {
    let (world, notes, _) = watched();
    world.configure(ServiceSettings { queue: 0, ..ServiceSettings::default() });
    let (provider, mut caller) = (provide(&world, "/a"), world.client());
    provider.inbox.state.lock().unwrap().full = true;
    ask(&world, &mut caller, "/a", &[]);
    let ends = notes.take();
    assert_eq!(ends.len(), 2, "{ends:?}");
    assert_eq!(ends[1], "ended 1 503 Unavailable service.overloaded up 3 down 0 first -1ms all 0ms refused");
}

/// Refuses a path, sets and removes headers, bounds bodies.
#[derive(Debug)]
struct Rules;

impl Middleware for Rules {
    fn name(&self) -> &'static str {
        "rules"
    }

    fn interest(&self) -> Interest {
        Interest { ends: false, ..Interest::ALL }
    }

    fn before(&self, _: Now, call: &mut Asked<'_>) -> Result<(), Fault> {
        if call.path.as_str() == "/a/secret" {
            return Err(Fault::fatal(Code::Forbidden, "rules.secret", "not for you"));
        }
        call.headers.remove("cookie");
        call.headers.set("x-seen", "yes");
        (call.request_bytes_max, call.response_bytes_max) = (8, 8);
        Ok(())
    }

    fn answered(&self, _: Now, _: &CallRecord, answer: &mut AnswerHead<'_>) {
        answer.headers.remove("x-internal");
        answer.headers.set("x-by", "rules");
    }
}

fn ruled() -> (World, Arc<Notes>, Client, Client) {
    let world = World::new();
    let notes = Arc::new(Notes::default());
    chain(&world, vec![Arc::clone(&notes) as Arc<dyn Middleware>, Arc::new(Rules)]);
    let (provider, caller) = (provide(&world, "/a/*rest"), world.client());
    (world, notes, provider, caller)
}

#[test]
fn a_refused_call_reaches_nobody() {
    let (world, notes, mut provider, mut caller) = ruled();
    ask(&world, &mut caller, "/a/secret", &[]);
    assert_eq!(caller.hears(), ["error #1 403 rules.secret retry 0"]);
    provider.turn(world.now);
    assert_eq!(provider.hears(), Vec::<String>::new());
    assert_eq!(
        notes.take()[1..],
        ["ended 1 403 Forbidden rules.secret up 3 down 0 first -1ms all 0ms refused"]
    );
}

#[test]
fn headers_are_changed_in_both_directions() {
    let (world, _, mut provider, mut caller) = ruled();
    ask(&world, &mut caller, "/a/b", &[("cookie", "c=1"), ("x-tenant", "acme")]);
    provider.turn(world.now);
    let headers = provider.headers_heard();
    assert_eq!(headers, [("x-tenant".to_owned(), "acme".to_owned()), ("x-seen".into(), "yes".into())]);
    let pairs = [("x-internal", "1"), ("content-type", "text/plain")];
    let response = Response { status: 201, headers: Headers::new(&pairs), ..Response::default() };
    provider.sends(world.now, 2, Flags::END, &Body::Response(response), b"made");
    caller.turn(world.now);
    let headers = caller.headers_heard();
    assert_eq!(
        headers,
        [("content-type".to_owned(), "text/plain".to_owned()), ("x-by".into(), "rules".into())]
    );
}

#[test]
fn a_request_that_grows_too_long_ends_for_both() {
    let (world, notes, mut provider, mut caller) = ruled();
    let body = Body::Request(Request { path: "/a/b", ..Request::default() });
    caller.sends(world.now, 1, Flags::NONE, &body, b"12345");
    provider.turn(world.now);
    provider.hears();
    caller.sends(world.now, 1, Flags::NONE, &Body::Data(Data::default()), b"678");
    assert_eq!(caller.hears(), Vec::<String>::new());
    caller.sends(world.now, 1, Flags::NONE, &Body::Data(Data::default()), b"9");
    assert_eq!(caller.hears(), ["error #1 413 call.request_too_large retry 0"]);
    provider.turn(world.now);
    assert_eq!(provider.hears(), ["data #2 '678'", "cancel #2 413"]);
    assert_eq!(
        notes.take()[1..],
        ["ended 1 413 TooLarge call.request_too_large up 9 down 0 first -1ms all 0ms by c-1"]
    );
    assert!(caller.session.is_quiet() && provider.session.is_quiet());
}

#[test]
fn an_answer_that_grows_too_long_ends_for_both() {
    let (world, notes, mut provider, mut caller) = ruled();
    ask(&world, &mut caller, "/a/b", &[]);
    provider.turn(world.now);
    provider.hears();
    provider.sends(world.now, 2, Flags::NONE, &Body::Response(Response::default()), b"12345");
    provider.sends(world.now, 2, Flags::NONE, &Body::Data(Data::default()), b"6789");
    assert_eq!(provider.hears(), ["cancel #2 499"]);
    provider.sends(world.now, 2, Flags::END, &Body::Data(Data::default()), b"0");
    caller.turn(world.now);
    let heard = caller.hears();
    assert_eq!(heard, ["response #1 200 '12345'", "error #1 502 call.response_too_large retry 0"]);
    let seen = notes.take();
    assert_eq!(seen.len(), 3, "{seen:?}");
    assert_eq!(
        seen[2],
        "ended 1 200 ProviderLost call.response_too_large up 3 down 9 first 0ms all 0ms by c-1"
    );
    assert!(caller.session.is_quiet() && provider.session.is_quiet());
}

#[test]
fn a_call_keeps_the_chain_it_began_with() {
    let (world, notes, _) = watched();
    let (mut provider, mut caller) = (provide(&world, "/a"), world.client());
    ask(&world, &mut caller, "/a", &[]);
    chain(&world, Vec::new());
    provider.turn(world.now);
    provider.sends(world.now, 2, Flags::END, &Body::Response(Response::default()), b"");
    assert_eq!(notes.take().len(), 3);
    caller.turn(world.now);
    ask(&world, &mut caller, "/a", &[]);
    assert_eq!(notes.take(), Vec::<String>::new());
}

#[test]
fn a_call_that_is_moved_is_one_call() {
    let (world, notes, _) = watched();
    let (mut first, mut caller) = (provide(&world, "/a"), world.client());
    let idempotent = Body::Request(Request { path: "/a", idempotency: "k", ..Request::default() });
    caller.sends(world.now, 1, Flags::END, &idempotent, b"ask");
    first.turn(world.now);
    let mut second = provide(&world, "/a");
    first.vanishes(world.now);
    second.turn(world.now);
    second.sends(world.now, 2, Flags::END, &Body::Response(Response::default()), b"sum");
    assert_eq!(
        notes.take(),
        [
            "before 1 /a for /a",
            "answered 1 200",
            "ended 1 200 Unspecified  up 3 down 3 first 0ms all 0ms by c-1 moved"
        ]
    );
    caller.turn(world.now);
    assert_eq!(caller.hears(), ["response #1 end 200 moved 1 'sum'"]);
}

#[test]
fn progress_is_no_answer() {
    let (world, notes, _) = watched();
    let (mut provider, mut caller) = (provide(&world, "/a"), world.client());
    ask(&world, &mut caller, "/a", &[]);
    provider.turn(world.now);
    notes.take();
    let progress = Response { status: 102, ..Response::default() };
    provider.sends(world.now, 2, Flags::NONE, &Body::Response(progress), b"");
    assert_eq!(notes.take(), Vec::<String>::new());
    provider.sends(world.now, 2, Flags::END, &Body::Response(Response::default()), b"");
    assert_eq!(notes.take().len(), 2);
}
