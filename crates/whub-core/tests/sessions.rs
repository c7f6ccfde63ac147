//! The frame around everything else: greeting, rights, silence, the end.

mod common;

use std::sync::Arc;
use std::time::Duration;

use common::World;
use whub_core::{Fault, Grants, Identity, Letter};
use whub_proto::names::{Filter, Pattern};
use whub_proto::{
    Auth, Body, Code, Flags, Hello, Join, Publish, Register, Request, RoomMode, Subscribe, Welcome,
};

const SECOND: Duration = Duration::from_secs(1);

#[test]
fn the_first_frame_is_hello() {
    let world = World::new();
    let mut client = world.stranger();
    client.says(world.now, 1, &Body::Subscribe(Subscribe { filter: "a", ..Subscribe::default() }));
    assert_eq!(client.hears(), ["error 605 protocol.error retry 0"]);
}

#[test]
fn hello_is_said_once_and_in_time() {
    let mut world = World::new();
    let mut twice = world.client();
    twice.says(world.now, 0, &Body::Hello(Hello::default()));
    assert_eq!(twice.hears(), ["error 605 protocol.error retry 0"]);
    let mut silent = world.stranger();
    assert_eq!(silent.session.poll_timeout(), world.now.at + 5 * SECOND);
    world.pass(5 * SECOND);
    silent.wakes(world.now);
    assert_eq!(silent.hears(), ["error 408 hello.timeout retry 0"]);
}

#[test]
fn a_client_of_another_time_is_told_the_versions() {
    let world = World::new();
    let mut client = world.stranger();
    client.says(world.now, 0, &Body::Hello(Hello { min_version: 2, max_version: 3, ..Hello::default() }));
    assert_eq!(client.hears(), ["error 501 hello.version retry 0"]);
    assert_eq!(client.closed.unwrap().reason, "this hub speaks protocol version 1, the client 2 to 3");
}

#[test]
fn a_wrong_token_is_turned_away() {
    let world = World::new();
    let mut client = world.stranger();
    client.identity = Err(Fault::fatal(Code::Unauthorized, "auth.invalid", "no"));
    client.says(world.now, 0, &Body::Hello(Hello { token: "wrong", ..Hello::default() }));
    assert_eq!(client.hears(), ["error 401 auth.invalid retry 0"]);
    assert_eq!(world.hub.counters.unauthorized.read(), 1);
}

#[test]
fn every_verb_asks_for_its_right() {
    let world = World::new();
    let mut client = world.stranger();
    let grants = Grants {
        provide: vec![Pattern::parse("/mine/*rest").unwrap()],
        publish: vec![Filter::parse("open/#").unwrap()],
        ..Grants::none()
    };
    client.identity = Ok(Identity { user: Some("ops".into()), grants: Arc::new(grants) });
    client.says(world.now, 0, &Body::Hello(Hello::default()));
    client.hears();
    let forbidden = |id: u64| format!("error #{id} 403 access.forbidden retry 0");
    client.says(world.now, 1, &Body::Register(Register { path: "/mine/x", ..Register::default() }));
    client.says(world.now, 3, &Body::Register(Register { path: "/other", ..Register::default() }));
    client.says(world.now, 5, &Body::Request(Request { path: "/mine/x", ..Request::default() }));
    client.says(world.now, 7, &Body::Subscribe(Subscribe { filter: "open/a", ..Subscribe::default() }));
    client.says(world.now, 9, &Body::Join(Join { room: "x", mode: RoomMode::Pair, ..Join::default() }));
    client.sends(
        world.now,
        11,
        Flags::ACK,
        &Body::Publish(Publish { channel: "open/a", ..Publish::default() }),
        b"",
    );
    client.sends(
        world.now,
        13,
        Flags::ACK,
        &Body::Publish(Publish { channel: "shut", ..Publish::default() }),
        b"",
    );
    let expected = [
        "ok #1".into(),
        forbidden(3),
        forbidden(5),
        forbidden(7),
        forbidden(9),
        "ok #11".into(),
        forbidden(13),
    ];
    assert_eq!(client.hears(), expected);
    assert_eq!(world.hub.counters.forbidden.read(), 5);
}

#[test]
fn a_token_is_renewed_in_place_and_a_bad_one_changes_nothing() {
    let world = World::new();
    let mut client = world.client();
    client.says(world.now, 1, &Body::Auth(Auth { token: "new", ..Auth::default() }));
    assert_eq!(client.hears(), ["ok #1"]);
    client.identity = Err(Fault::fatal(Code::Unauthorized, "auth.invalid", "no"));
    client.says(world.now, 3, &Body::Auth(Auth { token: "bad", ..Auth::default() }));
    assert_eq!(client.hears(), ["error #3 401 auth.invalid retry 0"]);
    assert!(client.session.is_open());
    assert_eq!(client.asked, [None, Some("new".into()), Some("bad".into())]);
    client.mailbox.post(Letter::Recheck).unwrap();
    client.turn(world.now);
    assert_eq!(
        client.asked.last(),
        Some(&Some("new".into())),
        "the token that held is the one that is checked"
    );
    assert_eq!(client.hears(), ["error 401 auth.invalid retry 0"], "but new rules end it");
}

#[test]
fn what_new_rules_no_longer_grant_ends() {
    let world = World::new();
    let mut client = world.client();
    client.says(world.now, 1, &Body::Subscribe(Subscribe { filter: "kept/#", ..Subscribe::default() }));
    client.says(world.now, 3, &Body::Subscribe(Subscribe { filter: "#", ..Subscribe::default() }));
    client.says(world.now, 5, &Body::Join(Join { room: "x", mode: RoomMode::Pair, ..Join::default() }));
    client.says(world.now, 7, &Body::Register(Register { path: "/mine", ..Register::default() }));
    client.hears();
    let grants = Grants { subscribe: vec![Filter::parse("kept/#").unwrap()], ..Grants::none() };
    client.identity = Ok(Identity { user: Some("ops".into()), grants: Arc::new(grants) });
    client.mailbox.post(Letter::Recheck).unwrap();
    client.turn(world.now);
    let forbidden = |id: &str| format!("error {id}403 access.forbidden retry 0");
    assert_eq!(client.hears(), [forbidden(""), forbidden("#3 "), forbidden("#5 ")]);
    assert!(client.session.is_open());
    assert_eq!((world.hub.channels.filters(), world.hub.pairs.waiting()), (1, 0));
    assert!(world.hub.services.list().is_empty());
}

#[test]
fn silence_is_answered_by_a_ping_and_then_by_the_end() {
    let mut world = World::new();
    let mut client = world.client();
    world.pass(25 * SECOND);
    client.wakes(world.now);
    assert_eq!(client.hears(), ["(ping)"]);
    world.pass(25 * SECOND);
    client.wakes(world.now);
    assert_eq!(client.hears(), ["error 408 peer.silent retry 1"]);
    assert_eq!(world.hub.counters.dead_peers.read(), 1);
}

#[test]
fn a_ping_is_answered_with_its_id_and_payload() {
    let world = World::new();
    let mut client = world.client();
    client.sends(world.now, 9, Flags::NONE, &Body::Ping, b"abc");
    assert_eq!(client.hears(), ["pong #9 'abc'"]);
}

#[test]
fn frames_of_hubs_are_refused_and_unknown_ones_answered() {
    let world = World::new();
    let mut client = world.client();
    client.says(world.now, 1, &Body::History(whub_proto::History { channel: "a", ..Default::default() }));
    assert_eq!(client.hears(), ["error #1 501 history.unsupported retry 0"]);
    client.says(world.now, 0, &Body::Welcome(Welcome { client: "me", ..Welcome::default() }));
    assert_eq!(client.hears(), ["error 605 protocol.error retry 0"]);
}

#[test]
fn a_stopping_node_says_so_finishes_calls_and_closes() {
    let mut world = World::new();
    let (mut caller, mut provider, mut idle) = (world.client(), world.client(), world.client());
    provider.says(world.now, 1, &Body::Register(Register { path: "/a", ..Register::default() }));
    caller.sends(world.now, 1, Flags::END, &Body::Request(Request { path: "/a", ..Request::default() }), b"");
    provider.turn(world.now);
    provider.hears();
    for client in [&mut caller, &mut provider, &mut idle] {
        let drain = Letter::Drain { grace: 10 * SECOND, linger: SECOND, retry: SECOND };
        client.mailbox.post(drain).unwrap();
        client.turn(world.now);
        assert_eq!(client.hears(), ["drain grace 10000 retry 1000"]);
        assert!(client.closed.is_none());
    }
    caller.sends(world.now, 3, Flags::END, &Body::Request(Request { path: "/a", ..Request::default() }), b"");
    assert_eq!(caller.hears(), ["error #3 604 node.draining retry 1"]);
    world.pass(SECOND);
    for client in [&mut caller, &mut provider, &mut idle] {
        client.wakes(world.now);
    }
    assert_eq!(idle.hears(), ["error 604 node.draining retry 1"]);
    assert!(caller.closed.is_none() && provider.closed.is_none(), "a call is in flight");
    provider.sends(world.now, 2, Flags::END, &Body::Response(whub_proto::Response::default()), b"done");
    caller.turn(world.now);
    for client in [&mut caller, &mut provider] {
        assert!(client.session.poll_timeout() <= world.now.at);
        client.wakes(world.now);
        assert!(client.closed.is_some());
    }
    assert_eq!(caller.hears(), ["response #1 end 200 'done'", "error 604 node.draining retry 1"]);
}

#[test]
fn a_translated_frame_with_a_mistake_is_answered_and_what_is_no_frame_ends_the_session() {
    let world = World::new();
    let mut client = world.client();
    client.session.handle_untranslatable(0, Fault::fatal(Code::BadRequest, "json.invalid", "field `b64`"));
    client.session.handle_untranslatable(7, Fault::fatal(Code::Unsupported, "json.invalid", "kind `x`"));
    client.turn(world.now);
    assert_eq!(client.hears(), ["error 400 json.invalid retry 0", "error #7 501 json.invalid retry 0"]);
    client.session.handle_untranslatable(0, Fault::fatal(Code::ProtocolError, "json.invalid", "no JSON"));
    client.turn(world.now);
    assert_eq!(client.hears(), ["error 605 json.invalid retry 0"]);
    assert!(client.closed.is_some());
}
