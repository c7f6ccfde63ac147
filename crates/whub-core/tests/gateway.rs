//! The handshake of `/gateway`, as dialogues.

// Where the made-up clock starts is the one thing it has to ask; a failed unwrap is a failed test.
#![allow(clippy::disallowed_methods, clippy::unwrap_used)]

use std::time::{Duration, Instant};

use whub_core::{GatewayOutput as Output, GatewaySaying as Saying, GatewaySession, Unrouted};

const PATIENCE: Duration = Duration::from_secs(10);
const PING: Duration = Duration::from_secs(25);

fn session(now: Instant) -> GatewaySession {
    GatewaySession::new(PATIENCE, 2, PING, now)
}

/// The hub knows `Endpoint1`, `Endpoint2` and `Endpoint3`, in any case.
fn find(name: &str) -> Option<Box<str>> {
    ["endpoint1", "endpoint2", "endpoint3"]
        .into_iter()
        .find(|known| known.eq_ignore_ascii_case(name))
        .map(Into::into)
}

fn drain(session: &mut GatewaySession) -> Vec<Output> {
    std::iter::from_fn(|| session.poll_output()).collect()
}

fn say(session: &mut GatewaySession, saying: Saying<'_>) -> Vec<Output> {
    session.handle_saying(saying, find);
    drain(session)
}

fn uses(route: &str, name: &str) -> Output {
    Output::Use { route: route.into(), name: name.into() }
}

fn error(text: &str) -> Output {
    Output::Error(text.to_owned())
}

fn opened(now: Instant) -> GatewaySession {
    let mut session = session(now);
    for saying in [Saying::Syn, Saying::Ack, Saying::End] {
        say(&mut session, saying);
    }
    session
}

#[test]
fn the_handshake_step_by_step() {
    let mut session = session(Instant::now());
    assert_eq!(say(&mut session, Saying::Syn), [Output::SynAck]);
    assert_eq!(say(&mut session, Saying::Ack), []);
    assert_eq!(say(&mut session, Saying::Route("Endpoint1")), [Output::Ack]);
    assert_eq!(say(&mut session, Saying::Route("Endpoint2")), [Output::Ack]);
    assert!(!session.is_open());
    let used = [uses("endpoint1", "Endpoint1"), uses("endpoint2", "Endpoint2")];
    assert_eq!(say(&mut session, Saying::End), [&[Output::EndAck][..], &used].concat());
    assert!(session.is_open());
    assert_eq!(say(&mut session, Saying::End), [Output::EndAck], "said twice, it is answered twice");
    assert_eq!(session.handle_message("ENDPOINT1", find), Ok("endpoint1".into()));
    assert_eq!(drain(&mut session), [], "it goes by the name that came first");
    assert_eq!(
        session.handle_message("Endpoint1", |_| None),
        Ok("endpoint1".into()),
        "it is not looked up again"
    );
}

#[test]
fn a_route_that_was_not_named_before_may_be_used_all_the_same() {
    let mut session = opened(Instant::now());
    assert_eq!(session.handle_message("endpoint3", find), Ok("endpoint3".into()));
    assert_eq!(drain(&mut session), [uses("endpoint3", "endpoint3")]);
    assert_eq!(say(&mut session, Saying::Route("endpoint1")), [uses("endpoint1", "endpoint1"), Output::Ack]);
}

#[test]
fn what_is_unknown_changes_nothing() {
    let mut session = opened(Instant::now());
    assert_eq!(say(&mut session, Saying::Route("nowhere")), [error("unknown route nowhere")]);
    assert_eq!(session.handle_message("nowhere", find), Err(Unrouted::Unknown));
    assert_eq!(drain(&mut session), [error("unknown route nowhere")]);
    assert_eq!(say(&mut session, Saying::Other), [error("missing route")]);
    assert!(session.is_open());
}

#[test]
fn routes_have_a_bound() {
    let mut session = opened(Instant::now());
    say(&mut session, Saying::Route("endpoint1"));
    say(&mut session, Saying::Route("endpoint2"));
    assert_eq!(say(&mut session, Saying::Route("endpoint3")), [error("too many routes endpoint3")]);
}

#[test]
fn out_of_turn_it_is_told_the_step_and_at_the_eighth_time_shown_the_door() {
    let mut session = session(Instant::now());
    assert_eq!(say(&mut session, Saying::Ack), [error("expected SYN")]);
    say(&mut session, Saying::Syn);
    assert_eq!(say(&mut session, Saying::Syn), [Output::SynAck], "a repeated SYN is answered again");
    assert_eq!(say(&mut session, Saying::Route("endpoint1")), [error("expected ACK")]);
    say(&mut session, Saying::Ack);
    assert_eq!(session.handle_message("endpoint1", find), Err(Unrouted::Early));
    assert_eq!(drain(&mut session), [error("expected a route or SMHandshakeEnd")]);
    for _ in 0..4 {
        assert_eq!(say(&mut session, Saying::Other).len(), 1);
    }
    let last = say(&mut session, Saying::Other);
    assert_eq!(last[1], Output::Close("too many messages out of turn"));
}

#[test]
fn the_handshake_has_a_deadline() {
    let start = Instant::now();
    let mut session = session(start);
    say(&mut session, Saying::Syn);
    session.handle_alive(start + PATIENCE / 2);
    assert_eq!(session.poll_timeout(), start + PATIENCE, "talking does not put it off");
    session.handle_timeout(start + PATIENCE);
    let said = drain(&mut session);
    assert_eq!(
        said,
        [error("handshake not finished within 10 s"), Output::Close("the handshake took too long")]
    );
}

#[test]
fn who_is_silent_is_asked_and_then_left() {
    let start = Instant::now();
    let mut session = opened(start);
    session.handle_timeout(start + PING);
    assert_eq!(drain(&mut session), [Output::Ping]);
    session.handle_timeout(start + 2 * PING);
    assert_eq!(drain(&mut session), [Output::Close("no sign of life from the peer")]);
}
