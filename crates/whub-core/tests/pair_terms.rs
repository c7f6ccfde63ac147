//! What the first seat of a pair lays down: who may come, how often, and how long it waits.

#![allow(clippy::unwrap_used)] // A failed unwrap is a failed test.

mod common;

use std::sync::Arc;
use std::time::Duration;

use common::{Client, World};
use whub_core::{
    Arrival, Guest, Half, Manner, PlainHalf, PlainOutput, SPENT_FOR, StreamHalf, StreamStanding, Visit,
};
use whub_proto::names::PairId;
use whub_proto::{Body, Code, Join, Leave, RoomMode, Third};

const JOIN: Join<'static> = Join {
    room: "x",
    mode: RoomMode::Pair,
    secret: "",
    capacity: 0,
    info: "",
    third: Third::Next,
    once: false,
    grace_ms: 0,
    ttl_ms: 0,
    seat: "",
    received: 0,
};

fn join(world: &World, client: &mut Client, id: u64, join: Join<'_>) -> Vec<String> {
    client.says(world.now, id, &Body::Join(join));
    client.hears()
}

fn leave(world: &World, client: &mut Client, id: u64) -> Vec<String> {
    client.says(world.now, id, &Body::Leave(Leave { room: "x", ..Leave::default() }));
    client.hears()
}

/// What a client hears that has only been waiting.
fn hears(world: &World, client: &mut Client) -> Vec<String> {
    client.turn(world.now);
    client.hears()
}

fn plain(world: &World, secret: &str) -> (PlainHalf, Client) {
    let client = world.stranger();
    let guest = Guest::plain(None, secret).unwrap();
    let id = PairId::parse("x").unwrap();
    let half = PlainHalf::new(Arc::clone(&world.hub), client.mailbox.clone(), id, guest, world.now.at);
    (half, client)
}

fn closes(half: &mut PlainHalf) -> Option<Code> {
    std::iter::from_fn(|| half.poll_output()).find_map(|output| match output {
        PlainOutput::Close(fault) => Some(fault.code),
        PlainOutput::Text(_) | PlainOutput::Ping => None,
    })
}

#[test]
fn the_first_seat_sets_the_secret() {
    let world = World::new();
    let (mut a, mut b, mut c) = (world.client(), world.client(), world.client());
    let secret = Join { secret: "s3cret", ..JOIN };
    assert_eq!(join(&world, &mut a, 1, secret), ["ok #1", "room_event #1 Waiting x"]);
    for wrong in ["", "s3cre", "s3cret2", "S3cret"] {
        let refused = join(&world, &mut b, 1, Join { secret: wrong, ..JOIN });
        assert_eq!(refused, ["error #1 403 pair.secret retry 0"], "{wrong:?}");
    }
    assert_eq!(world.hub.counters.forbidden.read(), 4);
    assert_eq!(join(&world, &mut b, 1, secret), ["ok #1", "room_event #1 Ready x"]);
    // It holds as long as anybody is there.
    assert_eq!(join(&world, &mut c, 1, JOIN), ["error #1 403 pair.secret retry 0"]);
    a.vanishes(world.now);
    assert_eq!(hears(&world, &mut b), ["room_event #1 Left x", "room_event #1 Waiting x"]);
    assert_eq!(join(&world, &mut c, 1, JOIN), ["error #1 403 pair.secret retry 0"]);
    b.vanishes(world.now);
    assert_eq!(join(&world, &mut c, 1, JOIN), ["ok #1", "room_event #1 Waiting x"]);
}

#[test]
fn who_brings_a_secret_to_a_pair_without_one_is_refused() {
    let world = World::new();
    let (mut a, mut b) = (world.client(), world.client());
    join(&world, &mut a, 1, JOIN);
    assert_eq!(join(&world, &mut b, 1, Join { secret: "s", ..JOIN }), ["error #1 403 pair.secret retry 0"]);
    assert_eq!(world.hub.pairs.waiting(), 1);
}

#[test]
fn plain_halves_and_requests_need_the_secret_too() {
    let world = World::new();
    let mut a = world.client();
    join(&world, &mut a, 1, Join { secret: "s3cret", ..JOIN });
    let (mut wrong, _) = plain(&world, "");
    assert_eq!(closes(&mut wrong), Some(Code::Forbidden));
    assert!(wrong.partner().is_none());
    wrong.handle_lost();
    let stranger = world.stranger();
    let guest = Guest::plain(None, "other").unwrap();
    let id = PairId::parse("x").unwrap();
    let mailbox = stranger.mailbox.clone();
    let stream = StreamHalf::new(Arc::clone(&world.hub), mailbox, id, guest, world.now.at);
    assert!(matches!(stream.standing(), StreamStanding::Broken(fault) if fault.code == Code::Forbidden));
    let (mut right, _client) = plain(&world, "s3cret");
    assert_eq!(closes(&mut right), None);
    assert!(right.partner().is_some());
}

#[test]
fn what_a_half_shows_reaches_its_partner() {
    let world = World::new();
    let (mut a, mut b) = (world.client_of("ada"), world.client_of("bob"));
    join(&world, &mut a, 1, Join { info: r#"{"n":1}"#, ..JOIN });
    assert_eq!(
        join(&world, &mut b, 1, Join { info: "2", ..JOIN }),
        ["ok #1", r#"room_event #1 Ready x with 1 ada {"n":1}"#]
    );
    assert_eq!(hears(&world, &mut a), ["room_event #1 Ready x initiator with 2 bob 2"]);
    let mut c = world.client();
    for (info, code) in [("{", 400), ("\"\u{1}\"", 400), (&"1".repeat(4097)[..], 413)] {
        let heard = join(&world, &mut c, 1, Join { info, ..JOIN });
        assert_eq!(heard, [format!("error #1 {code} join.info retry 0")]);
    }
}

#[test]
fn a_third_is_rejected_where_the_first_said_so() {
    let world = World::new();
    let (mut a, mut b, mut c) = (world.client(), world.client(), world.client());
    join(&world, &mut a, 1, Join { third: Third::Reject, ..JOIN });
    // What the second says of it changes nothing.
    join(&world, &mut b, 1, Join { third: Third::Replace, ..JOIN });
    assert_eq!(join(&world, &mut c, 1, JOIN), ["error #1 409 pair.full retry 0"]);
    let (mut page, _) = plain(&world, "");
    assert_eq!(closes(&mut page), Some(Code::Conflict));
    leave(&world, &mut b, 3);
    assert_eq!(join(&world, &mut c, 1, JOIN), ["ok #1", "room_event #1 Waiting x"]);
    assert_eq!(
        hears(&world, &mut a),
        ["room_event #1 Ready x initiator", "room_event #1 Left x", "room_event #1 Ready x"]
    );
    assert_eq!(hears(&world, &mut c), ["room_event #1 Ready x initiator"]);
}

#[test]
fn a_third_replaces_the_one_that_came_second() {
    let world = World::new();
    let (mut a, mut b, mut c) = (world.client(), world.client(), world.client());
    join(&world, &mut a, 1, Join { third: Third::Replace, ..JOIN });
    join(&world, &mut b, 1, JOIN);
    hears(&world, &mut a);
    assert_eq!(join(&world, &mut c, 1, JOIN), ["ok #1", "room_event #1 Waiting x"]);
    let told = "another has taken this place in the pair";
    assert_eq!(
        hears(&world, &mut b),
        [format!("room_event #1 Closed x: {told}"), "error #1 603 pair.replaced retry 0".to_owned()]
    );
    assert_eq!(hears(&world, &mut a), ["room_event #1 Left x", "room_event #1 Ready x initiator"]);
    assert_eq!(hears(&world, &mut c), ["room_event #1 Ready x"]);
    // A page is closed, and leaves at once.
    leave(&world, &mut c, 3);
    hears(&world, &mut a);
    let (mut page, inbox) = plain(&world, "");
    join(&world, &mut b, 1, JOIN);
    let letter = inbox.inbox.state.lock().unwrap().letters.pop_front().unwrap();
    page.handle_letter(letter);
    assert_eq!(closes(&mut page), Some(Code::Replaced));
    assert!(page.partner().is_none());
    assert_eq!(
        hears(&world, &mut a),
        ["room_event #1 Ready x initiator", "room_event #1 Left x", "room_event #1 Ready x initiator"]
    );
}

#[test]
fn who_was_replaced_does_not_come_back_by_losing_its_partner() {
    let world = World::new();
    let id = PairId::parse("x").unwrap();
    let guest = Guest { third: Third::Replace, ..Guest::default() };
    let halves: Vec<_> = (1..4).map(|serial| half(&world, serial)).collect();
    let visit = |half, now, seated| world.hub.pairs.arrive(&id, Visit { half, guest: &guest, now, seated });
    let now = Some(world.now.at);
    assert_eq!(visit(&halves[0], now, false).unwrap().arrival, Arrival::Waiting);
    assert!(matches!(visit(&halves[1], now, false).unwrap().arrival, Arrival::Met(..)));
    assert_eq!(visit(&halves[2], now, false).unwrap().replaces.as_ref(), Some(&halves[1]));
    // Its partner leaves before it has read that it was replaced.
    world.hub.pairs.leave(&id, halves[0].id());
    assert_eq!(visit(&halves[1], None, true).unwrap_err().slug, "pair.replaced");
    assert_eq!(world.hub.pairs.waiting(), 1);
}

fn half(world: &World, serial: u64) -> Half {
    Half { mailbox: world.stranger().mailbox, seat: 0, serial, manner: Manner::Plain }
}

#[test]
fn an_id_for_one_meeting_is_spent_after_it() {
    let mut world = World::new();
    let (mut a, mut b, mut c) = (world.client(), world.client(), world.client());
    join(&world, &mut a, 1, Join { once: true, ..JOIN });
    leave(&world, &mut a, 3);
    // Nobody had met, so nothing was spent.
    join(&world, &mut a, 1, Join { once: true, ..JOIN });
    join(&world, &mut b, 1, JOIN);
    hears(&world, &mut a);
    assert_eq!(join(&world, &mut c, 1, JOIN), ["error #1 410 pair.spent retry 0"]);
    a.vanishes(world.now);
    let told = "this pair was for one meeting, which has been; take another id";
    assert_eq!(
        hears(&world, &mut b),
        [
            "room_event #1 Left x".to_owned(),
            format!("room_event #1 Closed x: {told}"),
            "error #1 410 pair.spent retry 0".to_owned()
        ]
    );
    assert_eq!(join(&world, &mut c, 1, JOIN), ["error #1 410 pair.spent retry 0"]);
    let (mut page, _) = plain(&world, "");
    assert_eq!(closes(&mut page), Some(Code::Gone));
    world.pass(SPENT_FOR);
    assert_eq!(join(&world, &mut c, 1, JOIN), ["ok #1", "room_event #1 Waiting x"]);
}

#[test]
fn a_seat_that_nobody_comes_to_ends_in_time() {
    let mut world = World::new();
    let (mut a, mut b) = (world.client(), world.client());
    join(&world, &mut a, 1, Join { ttl_ms: 1000, ..JOIN });
    assert_eq!(a.session.poll_timeout(), world.now.at + Duration::from_secs(1));
    world.pass(Duration::from_secs(1));
    a.wakes(world.now);
    let told = "nobody came to this pair within its time";
    assert_eq!(
        a.hears(),
        [format!("room_event #1 Closed x: {told}"), "error #1 410 pair.expired retry 0".to_owned()]
    );
    assert_eq!(world.hub.pairs.waiting(), 0);
    // Who has had a partner in time may wait for the next as long as it likes.
    join(&world, &mut a, 1, Join { ttl_ms: 1000, ..JOIN });
    join(&world, &mut b, 1, JOIN);
    hears(&world, &mut a);
    b.vanishes(world.now);
    hears(&world, &mut a);
    world.pass(Duration::from_secs(2));
    a.wakes(world.now);
    assert_eq!(a.hears(), Vec::<String>::new());
    assert_eq!(world.hub.pairs.waiting(), 1);
}
