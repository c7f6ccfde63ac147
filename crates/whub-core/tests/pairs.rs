//! Pairs: one partner each, whatever the order of arrivals and departures.

#![allow(clippy::unwrap_used)] // A failed unwrap is a failed test.

mod common;

use std::collections::HashSet;
use std::sync::Arc;
use std::time::Duration;

use common::{Client, World};
use whub_core::{
    Arrival, Guest, Half, HalfId, Hub, Mailbox, Manner, Parcel, PlainHalf, PlainOutput, Post, SessionLimits,
    Visit,
};
use whub_proto::names::PairId;
use whub_proto::{Body, Data, Flags, Join, Leave, RoomMode};

fn id(text: &str) -> PairId {
    PairId::parse(text).unwrap()
}

fn join(world: &World, client: &mut Client, seat: u64, room: &str) {
    client.says(world.now, seat, &Body::Join(Join { room, mode: RoomMode::Pair, ..Join::default() }));
}

fn data(world: &World, client: &mut Client, seat: u64, flags: Flags, payload: &[u8]) {
    client.sends(world.now, seat, flags, &Body::Data(Data::default()), payload);
}

#[test]
fn two_members_meet_and_talk() {
    let world = World::new();
    let (mut a, mut b) = (world.client(), world.client());
    join(&world, &mut a, 1, "x");
    assert_eq!(a.hears(), ["ok #1", "room_event #1 Waiting x"]);
    join(&world, &mut b, 5, "x");
    assert_eq!(b.hears(), ["ok #5", "room_event #5 Ready x"]);
    a.turn(world.now);
    assert_eq!(a.hears(), ["room_event #1 Ready x initiator"]);
    data(&world, &mut a, 1, Flags::TEXT, b"hi");
    data(&world, &mut b, 5, Flags::NONE, b"yo");
    assert_eq!(b.hears(), ["data #5 text 'hi'"]);
    assert_eq!(a.hears(), ["data #1 'yo'"]);
}

#[test]
fn who_is_left_behind_waits_or_gets_the_next() {
    let world = World::new();
    let (mut a, mut b, mut c) = (world.client(), world.client(), world.client());
    join(&world, &mut a, 1, "x");
    join(&world, &mut b, 1, "x");
    join(&world, &mut c, 1, "x");
    a.turn(world.now);
    a.hears();
    assert_eq!(c.hears(), ["ok #1", "room_event #1 Waiting x"]);
    b.vanishes(world.now);
    a.turn(world.now);
    assert_eq!(a.hears(), ["room_event #1 Left x", "room_event #1 Ready x"]);
    c.turn(world.now);
    assert_eq!(c.hears(), ["room_event #1 Ready x initiator"]);
    c.says(world.now, 3, &Body::Leave(Leave { room: "x", ..Leave::default() }));
    assert_eq!(c.hears(), ["ok #3"]);
    a.turn(world.now);
    assert_eq!(a.hears(), ["room_event #1 Left x", "room_event #1 Waiting x"]);
    assert_eq!(world.hub.pairs.waiting(), 1);
    a.vanishes(world.now);
    assert_eq!(world.hub.pairs.waiting(), 0);
}

#[test]
fn a_seat_whose_id_is_used_again_does_not_get_the_partner_of_the_earlier_one() {
    let world = World::new();
    let (mut a, mut b, mut c) = (world.client(), world.client(), world.client());
    join(&world, &mut a, 1, "x");
    // b meets a, which leaves before it has read that, and takes another seat by the same id.
    join(&world, &mut b, 1, "x");
    a.session_says(world.now, 3, &Body::Leave(Leave { room: "x", ..Leave::default() }));
    a.session_says(world.now, 1, &Body::Join(Join { room: "y", mode: RoomMode::Pair, ..Join::default() }));
    a.turn(world.now);
    b.turn(world.now);
    b.hears();
    join(&world, &mut c, 1, "y");
    a.turn(world.now);
    a.hears();
    data(&world, &mut a, 1, Flags::NONE, b"for c");
    assert_eq!(c.hears(), ["ok #1", "room_event #1 Ready y", "data #1 'for c'"]);
    assert_eq!(b.hears(), Vec::<String>::new());
}

#[test]
fn a_message_in_pieces_arrives_whole() {
    let world = World::new();
    let (mut a, mut b) = (world.client(), world.client());
    join(&world, &mut a, 1, "x");
    join(&world, &mut b, 1, "x");
    a.turn(world.now);
    b.hears();
    data(&world, &mut a, 1, Flags::MORE, b"one ");
    data(&world, &mut a, 1, Flags::MORE, b"two ");
    assert_eq!(b.hears(), Vec::<String>::new());
    data(&world, &mut a, 1, Flags::NONE, b"three");
    assert_eq!(b.hears(), ["data #1 'one two three'"]);
}

#[test]
fn last_words_that_nobody_hears_are_told_and_their_end_is_kept() {
    let world = World::new();
    let (mut a, mut b) = (world.client(), world.client());
    join(&world, &mut a, 1, "x");
    a.hears();
    data(&world, &mut a, 1, Flags::END, b"last words");
    assert_eq!(a.hears(), ["error 503 pair.alone retry 1"]);
    assert_eq!(world.hub.counters.pair_messages_lost.read(), 1);
    join(&world, &mut b, 1, "x");
    a.turn(world.now);
    assert_eq!(b.hears(), ["ok #1", "room_event #1 Ready x", "data #1 end"]);
}

#[test]
fn who_asks_is_told_whether_its_message_was_for_somebody() {
    let world = World::new();
    let (mut a, mut b) = (world.client(), world.client());
    join(&world, &mut a, 1, "x");
    a.hears();
    data(&world, &mut a, 1, Flags::ACK, b"hello?");
    assert_eq!(a.hears(), ["ok #1"], "a count of 0");
    join(&world, &mut b, 1, "x");
    a.turn(world.now);
    b.hears();
    a.hears();
    data(&world, &mut a, 1, Flags::MORE, b"hel");
    assert_eq!(a.hears(), Vec::<String>::new());
    data(&world, &mut a, 1, Flags::ACK, b"lo!");
    assert_eq!(a.hears(), ["ok #1 1"]);
    assert_eq!(b.hears(), ["data #1 'hello!'"]);
    data(&world, &mut a, 1, Flags::ACK | Flags::END, b"");
    assert_eq!(a.hears(), ["ok #1 1"]);
}

#[test]
fn a_message_beyond_the_limit_closes_its_sender() {
    let world = World::with_limits(SessionLimits { message_bytes: 4, ..SessionLimits::default() });
    let mut a = world.client();
    join(&world, &mut a, 1, "x");
    a.hears();
    data(&world, &mut a, 1, Flags::MORE, b"1234");
    data(&world, &mut a, 1, Flags::NONE, b"5");
    assert_eq!(a.hears(), ["error 605 protocol.error retry 0"]);
}

#[test]
fn unfinished_messages_of_many_pairs_are_bounded_together() {
    let world = World::with_limits(SessionLimits { message_bytes: 4, ..SessionLimits::default() });
    let mut a = world.client();
    join(&world, &mut a, 1, "x");
    join(&world, &mut a, 3, "y");
    a.hears();
    data(&world, &mut a, 1, Flags::MORE, b"123");
    data(&world, &mut a, 3, Flags::MORE, b"4");
    assert!(a.session.is_open());
    data(&world, &mut a, 3, Flags::MORE, b"5");
    assert_eq!(a.hears(), ["error 605 protocol.error retry 0"]);
}

#[test]
fn text_that_is_none_ends_its_sender_and_reaches_nobody() {
    let world = World::new();
    let (mut a, mut b) = (world.client(), world.client());
    join(&world, &mut a, 1, "x");
    join(&world, &mut b, 1, "x");
    a.turn(world.now);
    a.hears();
    b.hears();
    // Cut within a character: only the whole message counts.
    data(&world, &mut a, 1, Flags::MORE | Flags::TEXT, b"\xc3");
    data(&world, &mut a, 1, Flags::TEXT, b"\xa9");
    assert_eq!(b.hears(), ["data #1 text '\u{e9}'"]);
    data(&world, &mut a, 1, Flags::TEXT, b"\xff");
    assert_eq!(a.hears(), ["error 605 protocol.error retry 0"]);
    b.turn(world.now);
    assert_eq!(b.hears(), ["room_event #1 Left x", "room_event #1 Waiting x"]);
}

#[test]
fn the_end_of_input_is_passed_on_even_to_who_comes_later() {
    let world = World::new();
    let (mut a, mut b, mut c) = (world.client(), world.client(), world.client());
    join(&world, &mut a, 1, "x");
    data(&world, &mut a, 1, Flags::END, b"");
    a.hears();
    join(&world, &mut b, 1, "x");
    a.turn(world.now);
    assert_eq!(b.hears(), ["ok #1", "room_event #1 Ready x", "data #1 end"]);
    data(&world, &mut b, 1, Flags::NONE, b"still heard");
    assert_eq!(a.hears(), ["room_event #1 Ready x initiator", "data #1 'still heard'"]);
    join(&world, &mut c, 1, "x");
    c.hears();
    b.vanishes(world.now);
    a.turn(world.now);
    c.turn(world.now);
    assert_eq!(c.hears(), ["room_event #1 Ready x initiator", "data #1 end"]);
    data(&world, &mut a, 1, Flags::NONE, b"after the end");
    assert!(a.closed.is_some());
}

#[test]
fn a_message_alone_is_told_to_its_sender() {
    let world = World::new();
    let mut a = world.client();
    join(&world, &mut a, 1, "x");
    a.hears();
    data(&world, &mut a, 1, Flags::NONE, b"anybody?");
    assert_eq!(a.hears(), ["error 503 pair.alone retry 1"]);
    assert_eq!(world.hub.counters.pair_messages_lost.read(), 1);
}

#[test]
fn a_session_takes_one_seat_per_pair_and_as_many_as_it_may() {
    let world = World::with_limits(SessionLimits { pairs: 1, ..SessionLimits::default() });
    let mut a = world.client();
    join(&world, &mut a, 1, "x");
    a.hears();
    join(&world, &mut a, 3, "x");
    assert_eq!(a.hears(), ["error #3 409 join.conflict retry 0"]);
    join(&world, &mut a, 3, "y");
    assert_eq!(a.hears(), ["error #3 429 pairs.limit retry 0"]);
    join(&world, &mut a, 3, "/y");
    assert_eq!(a.hears(), ["error #3 400 join.room retry 0"]);
}

/// A plain half, as its driver sees it.
struct Plain {
    half: PlainHalf,
    client: Client,
}

impl Plain {
    fn new(world: &World, room: &str) -> Self {
        Self::with(world, room, "")
    }

    fn with(world: &World, room: &str, secret: &str) -> Self {
        // Only the mailbox of the client is used.
        let client = world.stranger();
        let guest = Guest::plain(None, secret).unwrap();
        let half =
            PlainHalf::new(Arc::clone(&world.hub), client.mailbox.clone(), id(room), guest, world.now.at);
        Self { half, client }
    }

    fn hears(&mut self) -> Vec<String> {
        let mut texts = Vec::new();
        loop {
            while let Some(output) = self.half.poll_output() {
                texts.push(match output {
                    PlainOutput::Text(text) => text.into_owned(),
                    PlainOutput::Ping => "(ping)".to_owned(),
                    PlainOutput::Close(fault) => format!("(close {})", u16::from(fault.code)),
                });
            }
            let letter = self.client.inbox.state.lock().unwrap().letters.pop_front();
            let Some(letter) = letter else { break };
            self.half.handle_letter(letter);
        }
        texts
    }

    /// Texts that others wrote into the mailbox.
    fn was_told(&mut self) -> Vec<String> {
        self.client.session.poll_output();
        self.client.turn_held();
        self.client.hears()
    }
}

#[test]
fn the_five_texts_come_in_the_order_of_the_original() {
    let world = World::new();
    let mut a = Plain::new(&world, "x");
    assert_eq!(a.hears(), ["/status:waiting"]);
    a.half.handle_lonely("hello?");
    assert_eq!(a.hears(), ["/error:0001:The message was not received by anyone.:hello?"]);
    let mut b = Plain::new(&world, "x");
    assert_eq!(b.hears(), ["/status:connected"]);
    assert_eq!(a.hears(), Vec::<String>::new());
    assert_eq!(a.was_told(), ["data text '/remote:open'", "data text '/status:connected'"]);
    assert!(a.half.partner().is_some() && b.half.partner().is_some());
    let mut c = Plain::new(&world, "x");
    assert_eq!(c.hears(), ["/status:waiting"]);
    a.half.handle_lost();
    assert_eq!(b.hears(), ["/remote:close", "/status:connected"]);
    assert_eq!(c.hears(), Vec::<String>::new());
    assert_eq!(c.was_told(), ["data text '/remote:open'", "data text '/status:connected'"]);
    c.half.handle_lost();
    assert_eq!(b.hears(), ["/remote:close", "/status:waiting"]);
    b.half.handle_lost();
    assert_eq!(world.hub.pairs.waiting(), 0);
}

#[test]
fn a_plain_half_and_a_member_meet() {
    let world = World::new();
    let mut a = Plain::new(&world, "x");
    a.hears();
    let mut b = world.client();
    join(&world, &mut b, 1, "x");
    assert_eq!(b.hears(), ["ok #1", "room_event #1 Ready x"]);
    assert_eq!(a.was_told(), ["data text '/remote:open'", "data text '/status:connected'"]);
    a.hears();
    let partner = a.half.partner().unwrap();
    partner.mailbox.send(Parcel::Data { seat: partner.seat, text: true, end: false, payload: b"hi" });
    assert_eq!(b.hears(), ["data #1 text 'hi'"]);
    a.half.handle_lost();
    b.turn(world.now);
    assert_eq!(b.hears(), ["room_event #1 Left x", "room_event #1 Waiting x"]);
}

#[test]
fn a_silent_plain_half_is_pinged_then_closed() {
    let mut world = World::new();
    let mut a = Plain::new(&world, "x");
    a.hears();
    world.pass(Duration::from_secs(25));
    a.half.handle_timeout(world.now.at);
    assert_eq!(a.hears(), ["(ping)"]);
    world.pass(Duration::from_secs(25));
    a.half.handle_timeout(world.now.at);
    assert_eq!(a.hears(), ["(close 408)"]);
}

#[test]
fn who_is_given_up_is_gone_for_its_partner_at_once() {
    let mut world = World::new();
    let mut a = Plain::new(&world, "x");
    let mut b = world.client();
    join(&world, &mut b, 1, "x");
    a.hears();
    b.hears();
    world.pass(Duration::from_secs(50));
    a.half.handle_timeout(world.now.at);
    // Its connection is still there, and is being closed.
    b.turn(world.now);
    assert_eq!(b.hears(), ["room_event #1 Left x", "room_event #1 Waiting x"]);
}

/// Halves that arrive at the same instant, from several threads: nobody shares a seat.
#[test]
fn thousands_of_simultaneous_arrivals_never_share_a_seat() {
    const THREADS: usize = 4;
    const ARRIVALS: usize = 2000;
    let world = World::new();
    let halves: Vec<Vec<Half>> =
        (0..THREADS).map(|_| (0..ARRIVALS).map(|_| half(&world)).collect()).collect();
    let met: Vec<(HalfId, HalfId)> = std::thread::scope(|scope| {
        let hub = &world.hub;
        let arrive = |halves: &[Half]| {
            let pair = id("crowd");
            let met = |half: &Half| match arrive(hub, &pair, half) {
                Arrival::Met(partner, _) => Some((half.id(), partner.id())),
                Arrival::Waiting => None,
            };
            halves.iter().filter_map(met).collect::<Vec<_>>()
        };
        let threads: Vec<_> = halves.iter().map(|halves| scope.spawn(move || arrive(halves))).collect();
        threads.into_iter().flat_map(|thread| thread.join().unwrap()).collect()
    });
    assert_eq!(met.len(), THREADS * ARRIVALS / 2);
    let seats: HashSet<HalfId> = met.iter().flat_map(|(one, other)| [*one, *other]).collect();
    assert_eq!(seats.len(), THREADS * ARRIVALS);
    assert_eq!(world.hub.pairs.waiting(), 0);
}

fn arrive(hub: &Hub, id: &PairId, half: &Half) -> Arrival {
    let visit = Visit { half, guest: &Guest::default(), now: None, seated: false };
    hub.pairs.arrive(id, visit).unwrap().arrival
}

fn half(world: &World) -> Half {
    let inbox: Arc<dyn Post> = world.stranger().inbox;
    Half {
        mailbox: Mailbox::new(inbox),
        seat: 0,
        serial: world.hub.pairs.next_serial(),
        manner: Manner::Plain,
    }
}

#[test]
fn who_waited_and_has_ended_is_not_met() {
    let world = World::new();
    let gone = world.stranger();
    let seat = Half { mailbox: gone.mailbox.clone(), seat: 0, serial: 1, manner: Manner::Plain };
    assert_eq!(arrive(&world.hub, &id("x"), &seat), Arrival::Waiting);
    // Its mailbox has closed, but it has not left the table yet.
    gone.inbox.close();
    let late = half(&world);
    assert_eq!(arrive(&world.hub, &id("x"), &late), Arrival::Waiting);
    world.hub.pairs.leave(&id("x"), seat.id());
    assert_eq!(world.hub.pairs.waiting(), 1, "the late one is not taken for it");
}
