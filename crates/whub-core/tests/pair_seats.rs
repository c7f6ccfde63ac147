//! Seats that outlive their connections: nothing is lost, nothing comes twice, and nobody waits for ever.

#![allow(clippy::unwrap_used)] // A failed unwrap is a failed test.

mod common;

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering::Relaxed};
use std::task::{Wake, Waker};
use std::time::Duration;

use common::{Client, World};
use whub_core::SessionLimits;
use whub_proto::{Body, Credit, Data, Flags, Hello, Join, Leave, RoomMode, Strings, Third};

/// A seat's token as the world draws it: the first seat's, the second's ...
fn token(serial: u64) -> String {
    let hex: String = b"sixteen secrets!".iter().map(|byte| format!("{byte:02x}")).collect();
    format!("{serial}-{hex}")
}

fn join(world: &World, client: &mut Client, join: Join<'_>) -> Vec<String> {
    let join = Join { room: "x", mode: RoomMode::Pair, ..join };
    client.says(world.now, 1, &Body::Join(join));
    client.hears()
}

fn keep(world: &World, client: &mut Client) -> Vec<String> {
    join(world, client, Join { grace_ms: 30_000, ..Join::default() })
}

fn resume(world: &World, client: &mut Client, serial: u64, received: u64) -> Vec<String> {
    join(world, client, Join { seat: &token(serial), received, ..Join::default() })
}

fn say(world: &World, client: &mut Client, payload: &str) {
    client.sends(world.now, 1, Flags::NONE, &Body::Data(Data::default()), payload.as_bytes());
}

fn hears(world: &World, client: &mut Client) -> Vec<String> {
    client.turn(world.now);
    client.hears()
}

/// Two that keep their seats, the first and the second of the world, and have heard of each other.
fn couple(world: &World) -> (Client, Client) {
    let (mut a, mut b) = (world.client(), world.client());
    assert_eq!(keep(world, &mut a), ["ok #1 seat received 0", "room_event #1 Waiting x"]);
    assert_eq!(keep(world, &mut b), ["ok #1 seat received 0", "room_event #1 Ready x"]);
    assert_eq!(hears(world, &mut a), ["room_event #1 Ready x initiator"]);
    (a, b)
}

#[test]
fn what_is_said_meanwhile_waits_for_who_comes_back() {
    let mut world = World::new();
    let (mut a, mut b) = couple(&world);
    say(&world, &mut b, "one");
    assert_eq!(a.hears(), ["data #1 'one'"]);
    a.vanishes(world.now);
    assert_eq!(hears(&world, &mut b), ["room_event #1 Away x"]);
    assert_eq!(world.hub.seats_away(), 1);
    say(&world, &mut b, "two");
    say(&world, &mut b, "three");
    world.pass(Duration::from_secs(29));
    assert_eq!(world.usher(), Some(world.now.at + Duration::from_secs(1)));
    let mut again = world.client();
    // Waiting, Ready and the first message.
    assert_eq!(
        resume(&world, &mut again, 1, 3),
        ["ok #1 seat received 0", "data #1 'two'", "data #1 'three'"]
    );
    assert_eq!(hears(&world, &mut b), ["room_event #1 Back x"]);
    assert_eq!((world.hub.seats_away(), world.usher()), (0, None));
    say(&world, &mut again, "four");
    assert_eq!(b.hears(), ["data #1 'four'"]);
}

#[test]
fn what_was_sent_but_not_received_comes_again() {
    let world = World::new();
    let (mut a, mut b) = couple(&world);
    for word in ["one", "two", "three"] {
        say(&world, &mut b, word);
    }
    a.vanishes(world.now);
    let mut again = world.client();
    assert_eq!(
        resume(&world, &mut again, 1, 3),
        ["ok #1 seat received 0", "data #1 'two'", "data #1 'three'"]
    );
    say(&world, &mut again, "here");
    again.vanishes(world.now);
    let mut third = world.client();
    // The hub has what this side said, so it is not to be sent again.
    assert_eq!(resume(&world, &mut third, 1, 5), ["ok #1 seat received 1"]);
    assert_eq!(
        hears(&world, &mut b),
        [
            "room_event #1 Away x",
            "room_event #1 Back x",
            "data #1 'here'",
            "room_event #1 Away x",
            "room_event #1 Back x"
        ]
    );
}

#[test]
fn a_connection_that_still_holds_the_seat_is_taken_over_at_once() {
    let world = World::new();
    let (mut stale, mut b) = couple(&world);
    let mut fresh = world.client();
    assert_eq!(resume(&world, &mut fresh, 1, 2), ["ok #1 seat received 0"]);
    // What the stale connection still brings is dropped: the client sends it again.
    say(&world, &mut stale, "late");
    say(&world, &mut fresh, "now");
    assert_eq!(hears(&world, &mut b), ["data #1 'now'"], "it is told nothing");
    let told = "another has taken this place in the pair";
    assert_eq!(
        hears(&world, &mut stale),
        [format!("room_event #1 Closed x: {told}"), "error #1 603 pair.replaced retry 0".to_owned()]
    );
    stale.vanishes(world.now);
    say(&world, &mut b, "still there");
    assert_eq!(fresh.hears(), ["data #1 'still there'"]);
    assert_eq!(hears(&world, &mut b), Vec::<String>::new());
}

#[test]
fn a_seat_is_taken_by_its_secret_alone() {
    let world = World::new();
    let (mut a, _b) = couple(&world);
    let mut thief = world.client();
    let (mut wrong, right) = (token(1), token(1));
    wrong.replace_range(wrong.len() - 1.., "0");
    let fresh = join(&world, &mut thief, Join { seat: &wrong, ..Join::default() });
    assert_eq!(fresh, ["error #1 410 pair.seat_gone retry 0"]);
    for (room, seat) in [("y", &right[..]), ("x", "1-"), ("x", &token(99)[..])] {
        let join = Join { room, seat, mode: RoomMode::Pair, ..Join::default() };
        thief.says(world.now, 1, &Body::Join(join));
        assert_eq!(thief.hears(), ["error #1 410 pair.seat_gone retry 0"], "{room} {seat}");
    }
    assert_eq!(resume(&world, &mut thief, 1, 9), ["error #1 400 join.received retry 0"]);
    assert_eq!(hears(&world, &mut a), Vec::<String>::new());
}

#[test]
fn a_seat_that_is_over_when_it_is_taken_again_names_nothing_any_more() {
    let world = World::new();
    let (mut a, mut b, mut c) = (world.client(), world.client(), world.client());
    join(&world, &mut a, Join { third: Third::Replace, ..Join::default() });
    keep(&world, &mut b);
    hears(&world, &mut a);
    join(&world, &mut c, Join::default());
    // b's session has not read that c took its place; its client comes again on another connection.
    let mut fresh = world.client();
    let closed = "room_event #1 Closed x: another has taken this place in the pair";
    let heard = resume(&world, &mut fresh, 2, 1);
    assert_eq!(heard, ["ok #1 seat received 0", closed, "error #1 603 pair.replaced retry 0"]);
    fresh.says(world.now, 3, &Body::Join(Join { room: "x", mode: RoomMode::Pair, ..Join::default() }));
    assert_eq!(fresh.hears()[0], "ok #3");
}

#[test]
fn after_its_grace_a_seat_is_left() {
    let mut world = World::new();
    let (mut a, mut b) = couple(&world);
    a.vanishes(world.now);
    hears(&world, &mut b);
    world.pass(Duration::from_secs(30));
    assert_eq!(world.usher(), None);
    assert_eq!(hears(&world, &mut b), ["room_event #1 Left x", "room_event #1 Waiting x"]);
    let mut again = world.client();
    assert_eq!(resume(&world, &mut again, 1, 2), ["error #1 410 pair.seat_gone retry 0"]);
    assert_eq!(world.hub.seats_away(), 0);
}

#[test]
fn who_leaves_or_breaks_the_rules_does_not_come_back() {
    let world = World::new();
    let (mut a, mut b) = couple(&world);
    a.says(world.now, 3, &Body::Leave(Leave { room: "x", ..Leave::default() }));
    assert_eq!(hears(&world, &mut b), ["room_event #1 Left x", "room_event #1 Waiting x"]);
    let mut c = world.client();
    keep(&world, &mut c);
    hears(&world, &mut b);
    // Only a hub says that.
    c.says(world.now, 0, &Body::Welcome(whub_proto::Welcome { client: "c", ..Default::default() }));
    assert!(c.closed.is_some());
    assert_eq!(hears(&world, &mut b), ["room_event #1 Left x", "room_event #1 Waiting x"]);
    assert_eq!(world.hub.seats_away(), 0);
}

#[test]
fn a_silent_peer_is_one_that_was_lost() {
    let mut world = World::new();
    let (mut a, mut b) = couple(&world);
    world.pass(Duration::from_secs(25));
    a.wakes(world.now);
    world.pass(Duration::from_secs(25));
    a.wakes(world.now);
    assert!(a.closed.is_some());
    assert_eq!(hears(&world, &mut b), ["room_event #1 Away x"]);
}

#[test]
fn the_hub_bounds_grace_and_the_number_of_seats_that_it_keeps() {
    let limits =
        SessionLimits { pair_grace: Duration::from_secs(5), pair_seats: 1, ..SessionLimits::default() };
    let mut world = World::with_limits(limits);
    let (mut a, mut b) = couple(&world);
    a.vanishes(world.now);
    hears(&world, &mut b);
    b.vanishes(world.now);
    assert_eq!(world.hub.seats_away(), 1);
    let mut again = world.client();
    assert_eq!(resume(&world, &mut again, 2, 3), ["error #1 410 pair.seat_gone retry 0"]);
    assert_eq!(world.usher(), Some(world.now.at + Duration::from_secs(5)));
    world.pass(Duration::from_secs(5));
    world.usher();
    assert_eq!((world.hub.seats_away(), world.hub.pairs.waiting()), (0, 0));

    let limits = SessionLimits { pair_grace: Duration::ZERO, ..SessionLimits::default() };
    let world = World::with_limits(limits);
    let mut a = world.client();
    assert_eq!(keep(&world, &mut a), ["ok #1", "room_event #1 Waiting x"]);
}

#[test]
fn nobody_meets_somebody_who_is_away() {
    let world = World::new();
    let (mut a, mut b) = (world.client(), world.client());
    keep(&world, &mut a);
    a.vanishes(world.now);
    assert_eq!(world.hub.pairs.waiting(), 0);
    assert_eq!(join(&world, &mut b, Join::default()), ["ok #1", "room_event #1 Waiting x"]);
    let mut again = world.client();
    assert_eq!(resume(&world, &mut again, 1, 1), ["ok #1 seat received 0", "room_event #1 Ready x"]);
    assert_eq!(hears(&world, &mut b), ["room_event #1 Ready x initiator"]);
}

#[test]
fn a_partner_that_leaves_meanwhile_is_told_of_in_its_place() {
    let world = World::new();
    let (mut a, mut b) = couple(&world);
    a.vanishes(world.now);
    say(&world, &mut b, "last words");
    b.says(world.now, 3, &Body::Leave(Leave { room: "x", ..Leave::default() }));
    let mut c = world.client();
    assert_eq!(join(&world, &mut c, Join::default()), ["ok #1", "room_event #1 Waiting x"]);
    let mut again = world.client();
    assert_eq!(
        resume(&world, &mut again, 1, 2),
        ["ok #1 seat received 0", "data #1 'last words'", "room_event #1 Left x", "room_event #1 Ready x"]
    );
    assert_eq!(hears(&world, &mut c), ["room_event #1 Ready x initiator"]);
}

#[test]
fn the_end_of_input_outlives_the_connection() {
    let world = World::new();
    let (mut a, mut b) = couple(&world);
    a.sends(world.now, 1, Flags::END, &Body::Data(Data::default()), b"that was all");
    a.vanishes(world.now);
    b.says(world.now, 3, &Body::Leave(Leave { room: "x", ..Leave::default() }));
    let mut again = world.client();
    assert_eq!(
        resume(&world, &mut again, 1, 2),
        ["ok #1 seat received 1", "room_event #1 Left x", "room_event #1 Waiting x"]
    );
    let mut c = world.client();
    assert_eq!(join(&world, &mut c, Join::default()), ["ok #1", "room_event #1 Ready x"]);
    again.turn(world.now);
    assert_eq!(c.hears(), ["data #1 end"]);
    say(&world, &mut again, "after the end");
    assert!(again.closed.is_some());
}

#[test]
fn who_does_not_say_what_it_has_misses_what_the_ring_has_lost() {
    let limits = SessionLimits { mailbox_bytes: 1, ..SessionLimits::default() };
    let world = World::with_limits(limits);
    let (mut a, mut b) = couple(&world);
    // The ring has 128 KiB at least.
    let piece = "x".repeat(50_000);
    for _ in 0..4 {
        say(&world, &mut b, &piece);
    }
    a.vanishes(world.now);
    let mut again = world.client();
    let heard = resume(&world, &mut again, 1, 2);
    assert_eq!(heard[..2], ["ok #1 seat received 0", "room_event #1 Missed x x2"]);
    assert_eq!(heard.len(), 4);
}

/// Counts how often it is woken.
#[derive(Default)]
struct Bell(AtomicUsize);

impl Wake for Bell {
    fn wake(self: Arc<Self>) {
        self.0.fetch_add(1, Relaxed);
    }
}

#[test]
fn who_says_what_it_has_is_sent_no_more_than_the_ring_holds() {
    let limits = SessionLimits { mailbox_bytes: 1, ..SessionLimits::default() };
    let world = World::with_limits(limits);
    let (mut a, mut b) = couple(&world);
    a.says(world.now, 1, &Body::Credit(Credit { bytes: 0 }));
    let piece = "x".repeat(50_000);
    say(&world, &mut b, &piece);
    say(&world, &mut b, &piece);
    assert!(b.has_room(Waker::noop()));
    say(&world, &mut b, &piece);
    let bell = Arc::new(Bell::default());
    assert!(!b.has_room(&Waker::from(Arc::clone(&bell))));
    // Two events and one message.
    a.says(world.now, 1, &Body::Credit(Credit { bytes: 2 * 64 + 50_064 }));
    assert_eq!(bell.0.load(Relaxed), 1);
    assert!(b.has_room(Waker::noop()));
    say(&world, &mut b, &piece);
    assert!(!b.has_room(Waker::noop()));
    a.vanishes(world.now);
    let mut again = world.client();
    assert_eq!(resume(&world, &mut again, 1, 3).len(), 4, "the answer and three messages");
}

/// Both rings are full, and what would empty them stands behind what they have no room for.
#[test]
fn two_that_talk_at_once_do_not_wait_for_each_other_for_ever() {
    let limits = SessionLimits { mailbox_bytes: 1, message_bytes: 50_000, ..SessionLimits::default() };
    let world = World::with_limits(limits);
    let (mut a, mut b) = couple(&world);
    for client in [&mut a, &mut b] {
        client.says(world.now, 1, &Body::Credit(Credit { bytes: 0 }));
    }
    let piece = "x".repeat(50_000);
    for _ in 0..3 {
        say(&world, &mut a, &piece);
        say(&world, &mut b, &piece);
    }
    let bell = Arc::new(Bell::default());
    assert!(!a.has_room(&Waker::from(Arc::clone(&bell))));
    assert!(b.has_room(Waker::noop()), "nobody listens to the one that would have to make room");
    // There is an end to that, too.
    while b.has_room(Waker::noop()) {
        say(&world, &mut b, &piece);
    }
    assert!(a.has_room(Waker::noop()), "now nobody listens to the other");
    b.says(world.now, 1, &Body::Credit(Credit { bytes: 2 * 50_064 }));
    assert!(a.has_room(Waker::noop()));
    assert!(!b.has_room(Waker::noop()), "it has to wait again, for one that is listened to");
}

/// Each waits for the other in another pair, and says there what it has in this one.
#[test]
fn two_that_share_two_pairs_do_not_wait_for_each_other_across_them() {
    let limits = SessionLimits { mailbox_bytes: 1, message_bytes: 50_000, ..SessionLimits::default() };
    let world = World::with_limits(limits);
    let (mut a, mut b) = (world.client(), world.client());
    for (seat, room) in [(1, "x"), (3, "y")] {
        for client in [&mut a, &mut b] {
            let join = Join { room, mode: RoomMode::Pair, grace_ms: 30_000, ..Join::default() };
            client.says(world.now, seat, &Body::Join(join));
            client.says(world.now, seat, &Body::Credit(Credit { bytes: 0 }));
        }
    }
    let piece = "x".repeat(50_000);
    let speak = |client: &mut Client, seat| {
        client.sends(world.now, seat, Flags::TEXT, &Body::Data(Data::default()), piece.as_bytes());
    };
    for _ in 0..3 {
        speak(&mut a, 1);
        speak(&mut b, 3);
    }
    a.has_room(Waker::noop());
    assert!(b.has_room(Waker::noop()), "the other one cannot say now that it has made room");
    for _ in 0..3 {
        speak(&mut b, 3);
    }
    b.says(world.now, 1, &Body::Credit(Credit { bytes: 2 * 50_064 }));
    assert!(a.has_room(Waker::noop()));
}

#[test]
fn who_comes_back_waits_for_its_first_partner_no_longer_than_it_said() {
    let mut world = World::new();
    let mut a = world.client();
    join(&world, &mut a, Join { grace_ms: 30_000, ttl_ms: 10_000, ..Join::default() });
    world.pass(Duration::from_secs(4));
    a.vanishes(world.now);
    let mut again = world.client();
    assert_eq!(resume(&world, &mut again, 1, 1), ["ok #1 seat received 0", "room_event #1 Waiting x"]);
    world.pass(Duration::from_secs(6));
    again.wakes(world.now);
    let told = "room_event #1 Closed x: nobody came to this pair within its time";
    assert_eq!(again.hears(), [told, "error #1 410 pair.expired retry 0"]);
    assert_eq!(world.hub.pairs.waiting(), 0);
}

#[test]
fn who_waits_for_a_stale_connection_goes_on_with_the_next() {
    let world = World::new();
    let (stale, mut b) = couple(&world);
    stale.inbox.state.lock().unwrap().deaf = true;
    say(&world, &mut b, "into a void");
    let bell = Arc::new(Bell::default());
    assert!(!b.has_room(&Waker::from(Arc::clone(&bell))));
    let mut fresh = world.client();
    assert_eq!(resume(&world, &mut fresh, 1, 2), ["ok #1 seat received 0", "data #1 'into a void'"]);
    assert_eq!(bell.0.load(Relaxed), 1);
    assert!(b.has_room(Waker::noop()));
}

#[test]
fn while_somebody_is_away_its_partner_is_held_back_not_heard_in_part() {
    let limits = SessionLimits { mailbox_bytes: 1, ..SessionLimits::default() };
    let world = World::with_limits(limits);
    let (mut a, mut b) = couple(&world);
    a.vanishes(world.now);
    hears(&world, &mut b);
    let piece = "x".repeat(50_000);
    for _ in 0..2 {
        say(&world, &mut b, &piece);
        assert!(b.has_room(Waker::noop()));
    }
    say(&world, &mut b, &piece);
    assert!(!b.has_room(Waker::noop()));
    let mut again = world.client();
    assert_eq!(resume(&world, &mut again, 1, 2).len(), 4, "the answer and three messages");
    assert!(b.has_room(Waker::noop()));
}

#[test]
fn who_keeps_what_it_says_is_told_what_was_taken() {
    let world = World::new();
    let (mut a, mut b) = couple(&world);
    a.says(world.now, 1, &Body::Credit(Credit { bytes: 0 }));
    say(&world, &mut a, &"x".repeat(60_000));
    assert_eq!(a.hears(), Vec::<String>::new());
    say(&world, &mut a, &"x".repeat(60_000));
    assert_eq!(a.hears(), ["credit #1 120128"]);
    a.sends(world.now, 1, Flags::END, &Body::Data(Data::default()), b"");
    assert_eq!(a.hears(), ["credit #1 64"], "the end is waited for");
    assert_eq!(hears(&world, &mut b).len(), 3);
}

#[test]
fn a_seat_whose_holder_is_away_can_be_given_to_another() {
    let world = World::new();
    let (mut a, mut b, mut c) = (world.client(), world.client(), world.client());
    join(&world, &mut a, Join { third: Third::Replace, ..Join::default() });
    keep(&world, &mut b);
    hears(&world, &mut a);
    b.vanishes(world.now);
    assert_eq!(world.hub.seats_away(), 1);
    assert_eq!(join(&world, &mut c, Join::default()), ["ok #1", "room_event #1 Waiting x"]);
    assert_eq!(world.hub.seats_away(), 0);
    assert_eq!(hears(&world, &mut a), ["room_event #1 Left x", "room_event #1 Ready x initiator"]);
    assert_eq!(hears(&world, &mut c), ["room_event #1 Ready x"]);
}

#[test]
fn only_those_who_want_to_hear_of_connections_do() {
    let world = World::new();
    let (mut kept, mut plain) = (world.client(), world.client());
    keep(&world, &mut kept);
    join(&world, &mut plain, Join::default());
    kept.vanishes(world.now);
    assert_eq!(hears(&world, &mut plain), Vec::<String>::new());
    let mut again = world.client();
    resume(&world, &mut again, 1, 2);
    assert_eq!(hears(&world, &mut plain), Vec::<String>::new());
    again.says(world.now, 3, &Body::Leave(Leave { room: "x", ..Leave::default() }));
    assert_eq!(hears(&world, &mut plain), ["room_event #1 Left x", "room_event #1 Waiting x"]);

    let mut follower = world.stranger();
    let features = Strings::new(&["pair.seats"]);
    follower.says(world.now, 0, &Body::Hello(Hello { features, ..Hello::default() }));
    follower.hears();
    join(&world, &mut follower, Join::default());
    let mut kept = world.client();
    plain.vanishes(world.now);
    hears(&world, &mut follower);
    keep(&world, &mut kept);
    kept.vanishes(world.now);
    assert_eq!(hears(&world, &mut follower), ["room_event #1 Ready x initiator", "room_event #1 Away x"]);
}
