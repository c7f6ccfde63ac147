//! Rooms: who is let in, who hears what in which order, and who may do what.

#![allow(clippy::unwrap_used)] // A failed unwrap is a failed test.

mod common;

use std::sync::Arc;
use std::task::Waker;
use std::time::Duration;

use common::{Client, World};
use whub_core::middleware::Rate;
use whub_core::{Grants, Identity, Letter, RoomLimits, SessionLimits};
use whub_proto::names::{Filter, PairId};
use whub_proto::{
    Body, Data, Flags, Hello, Join, Kind, Leave, Members, Numbers, RoomAct, RoomCommand, RoomEvent, RoomMode,
    RoomWhat,
};

const NOTHING: [&str; 0] = [];

fn limited(rooms: RoomLimits) -> World {
    World::with_limits(SessionLimits { rooms, ..SessionLimits::default() })
}

/// Rooms of 8, so that lines are short.
fn world() -> World {
    limited(RoomLimits { members: 8, ..RoomLimits::default() })
}

fn join(world: &World, client: &mut Client, id: u64, room: &str) {
    client.says(world.now, id, &Body::Join(Join { room, ..Join::default() }));
}

fn leave(world: &World, client: &mut Client, id: u64, room: &str) {
    client.says(world.now, id, &Body::Leave(Leave { room, ..Leave::default() }));
}

fn data(world: &World, client: &mut Client, id: u64, to: &[u32], payload: &[u8]) {
    let body = Body::Data(Data { to: Numbers::new(to), ..Data::default() });
    client.sends(world.now, id, Flags::TEXT, &body, payload);
}

fn command(world: &World, client: &mut Client, id: u64, act: RoomAct, members: &[u32]) {
    let members = Numbers::new(members);
    client.says(
        world.now,
        id,
        &Body::RoomCommand(RoomCommand { room: "x", act, members, ..Default::default() }),
    );
}

/// Three members of `x` who have heard of each other.
fn three(world: &World) -> [Client; 3] {
    let mut clients = [world.client(), world.client(), world.client()];
    for client in &mut clients {
        join(world, client, 1, "x");
    }
    for client in &mut clients {
        client.turn(world.now);
        client.hears();
    }
    clients
}

fn hear(world: &World, clients: &mut [Client], expected: &[&str]) {
    for (index, client) in clients.iter_mut().enumerate() {
        client.turn(world.now);
        assert_eq!(client.hears(), expected, "member {}", index + 1);
    }
}

// ------------------------------------------------------------------------------------------ coming and going

#[test]
fn a_newcomer_hears_who_is_there_and_the_others_hear_of_it() {
    let world = world();
    let (mut a, mut b) = (world.client(), world.client());
    a.says(world.now, 1, &Body::Join(Join { room: "x", info: "{}", ..Join::default() }));
    assert_eq!(a.hears(), ["ok #1", "room_event #1 State x 1*={} of 8"]);
    join(&world, &mut b, 5, "x");
    assert_eq!(b.hears(), ["ok #5", "room_event #5 State x 1*={} 2 of 8"]);
    assert_eq!(a.hears(), ["room_event #1 Joined x 2"]);
    let bye = Leave { room: "x", reason: "supper" };
    b.says(world.now, 7, &Body::Leave(bye));
    assert_eq!(b.hears(), ["ok #7"]);
    assert_eq!(a.hears(), ["room_event #1 Left x 2 (supper)"]);
}

#[test]
fn the_state_comes_before_what_others_say_at_the_same_time() {
    let world = world();
    let (mut a, mut b) = (world.client(), world.client());
    join(&world, &mut a, 1, "x");
    a.hears();
    // b's session has joined, and its driver has not sent yet what there is to say about it.
    let bytes = common::frame(1, Flags::NONE, &Body::Join(Join { room: "x", ..Join::default() }), b"");
    let frame = whub_proto::Frame::parse(&bytes, 1 << 20, whub_proto::Origin::Client).unwrap();
    b.session.handle_frame(world.now, &frame);
    data(&world, &mut a, 1, &[], b"welcome");
    assert_eq!(b.hears(), NOTHING);
    b.turn(world.now);
    assert_eq!(b.hears(), ["ok #1", "room_event #1 State x 1* 2 of 8", "data #1 text from 1 'welcome'"]);
}

#[test]
fn a_lost_connection_is_a_member_less() {
    let world = world();
    let [mut a, b, c] = three(&world);
    a.vanishes(world.now);
    hear(&world, &mut [b, c], &["room_event #1 Left x 1", "room_event #1 Updated x 2* of 8"]);
}

#[test]
fn numbers_are_never_given_twice() {
    let world = world();
    let [_a, b, mut c] = three(&world);
    leave(&world, &mut c, 3, "x");
    c.hears();
    join(&world, &mut c, 1, "x");
    assert_eq!(c.hears(), ["ok #1", "room_event #1 State x 1* 2 4 of 8"]);
    hear(&world, &mut [b], &["room_event #1 Left x 3", "room_event #1 Joined x 4"]);
}

#[test]
fn a_large_room_is_told_in_several_events_and_the_last_one_says_so() {
    let world = limited(RoomLimits { members: 600, ..RoomLimits::default() });
    let mut clients: Vec<Client> = (0..601).map(|_| world.client()).collect();
    for client in &mut clients[..599] {
        join(&world, client, 1, "x");
    }
    let last = &mut clients[599];
    join(&world, last, 1, "x");
    let lines = last.hears();
    let states: Vec<bool> =
        lines[1..].iter().map(|line| line.starts_with("room_event #1 more State")).collect();
    assert_eq!(states, [true, true, false]);
    let told: usize = lines[1..]
        .iter()
        .map(|line| line.split(' ').filter(|word| word.trim_end_matches('*').parse::<u32>().is_ok()).count())
        .sum();
    // Each event also names the capacity.
    assert_eq!(told, 600 + 3);
    join(&world, &mut clients[600], 1, "x");
    assert_eq!(clients[600].hears(), ["error #1 503 room.full retry 1000"]);
}

#[test]
fn long_infos_are_told_in_several_events_too() {
    let world = limited(RoomLimits { members: 64, ..RoomLimits::default() });
    let info = format!("\"{}\"", "x".repeat(4000));
    let mut clients: Vec<Client> = (0..40).map(|_| world.client()).collect();
    for client in &mut clients {
        client.says(world.now, 1, &Body::Join(Join { room: "x", info: &info, ..Join::default() }));
    }
    let lines = clients[39].hears();
    assert_eq!(lines.iter().filter(|line| line.contains(" State ")).count(), 5, "of 8 members each");
    assert_eq!(lines.iter().map(|line| line.matches("\"xxx").count()).sum::<usize>(), 40);
}

// ------------------------------------------------------------------------------------------ messages

#[test]
fn messages_go_to_all_but_their_sender_or_to_some() {
    let world = world();
    let [mut a, mut b, mut c] = three(&world);
    data(&world, &mut a, 1, &[], b"all");
    data(&world, &mut a, 1, &[3], b"c");
    data(&world, &mut a, 1, &[3, 2, 2, 1, 99], b"both");
    assert_eq!(b.hears(), ["data #1 text from 1 'all'", "data #1 text from 1 'both'"]);
    let expected = ["data #1 text from 1 'all'", "data #1 text from 1 'c'", "data #1 text from 1 'both'"];
    assert_eq!(c.hears(), expected);
    assert_eq!(a.hears(), NOTHING);
}

#[test]
fn whoever_asks_learns_how_many_were_reached() {
    let world = world();
    let [mut a, mut b, _c] = three(&world);
    let to = |to| Body::Data(Data { to: Numbers::new(to), ..Data::default() });
    a.sends(world.now, 1, Flags::ACK, &to(&[]), b"all");
    a.sends(world.now, 1, Flags::ACK, &to(&[2]), b"b");
    a.sends(world.now, 1, Flags::ACK, &to(&[1, 9]), b"nobody");
    assert_eq!(a.hears(), ["ok #1 2", "ok #1 1", "ok #1"]);
    assert_eq!(b.hears(), ["data #1 from 1 'all'", "data #1 from 1 'b'"]);
}

#[test]
fn a_message_in_pieces_arrives_whole_and_its_first_piece_says_for_whom() {
    let world = world();
    let [mut a, mut b, mut c] = three(&world);
    let to = Body::Data(Data { to: Numbers::new(&[2]), ..Data::default() });
    a.sends(world.now, 1, Flags::MORE, &to, b"one ");
    a.sends(world.now, 1, Flags::MORE, &Body::Data(Data::default()), b"two ");
    assert_eq!(b.hears(), NOTHING);
    a.sends(world.now, 1, Flags::NONE, &Body::Data(Data::default()), b"three");
    assert_eq!(b.hears(), ["data #1 from 1 'one two three'"]);
    assert_eq!(c.hears(), NOTHING);
}

#[test]
fn what_is_longer_than_a_frame_leaves_in_pieces_between_characters() {
    let rooms = RoomLimits { members: 8, ..RoomLimits::default() };
    let world = World::with_limits(SessionLimits { frame_bytes: 180, rooms, ..SessionLimits::default() });
    let [mut a, mut b, _c] = three(&world);
    let text = "ä".repeat(60);
    data(&world, &mut a, 1, &[], text.as_bytes());
    let lines = b.hears();
    assert!(lines.len() > 1, "{lines:?}");
    let (last, others) = lines.split_last().unwrap();
    assert!(others.iter().all(|line| line.starts_with("data #1 text more from 1 'ä")), "{lines:?}");
    assert!(last.starts_with("data #1 text from 1 'ä"), "{lines:?}");
    assert_eq!(lines.iter().map(|line| line.matches('ä').count()).sum::<usize>(), 60);
}

#[test]
fn a_message_beyond_the_limit_closes_its_sender() {
    let world = World::with_limits(SessionLimits { message_bytes: 4, ..SessionLimits::default() });
    let mut a = world.client();
    join(&world, &mut a, 1, "x");
    a.hears();
    a.sends(world.now, 1, Flags::MORE, &Body::Data(Data::default()), b"1234");
    a.sends(world.now, 1, Flags::NONE, &Body::Data(Data::default()), b"5");
    assert_eq!(a.hears(), ["error 605 protocol.error retry 0"]);
}

#[test]
fn unfinished_messages_of_many_rooms_are_bounded_together() {
    let world = World::with_limits(SessionLimits { message_bytes: 4, ..SessionLimits::default() });
    let mut a = world.client();
    join(&world, &mut a, 1, "x");
    a.says(world.now, 3, &Body::Join(Join { room: "y", mode: RoomMode::Pair, ..Join::default() }));
    a.hears();
    a.sends(world.now, 1, Flags::MORE, &Body::Data(Data::default()), b"123");
    a.sends(world.now, 3, Flags::MORE, &Body::Data(Data::default()), b"12");
    assert_eq!(a.hears(), ["error 605 protocol.error retry 0"]);
}

#[test]
fn text_that_is_none_closes_its_sender() {
    let world = world();
    let [mut a, mut b, _c] = three(&world);
    data(&world, &mut a, 1, &[], b"\xff");
    assert_eq!(a.hears(), ["error 605 protocol.error retry 0"]);
    assert_eq!(b.hears(), ["room_event #1 Left x 1", "room_event #1 Updated x 2* of 8"]);
}

#[test]
fn what_members_are_told_says_who_sent_it() {
    let world = world();
    let (mut a, mut b) = (world.client_of("ada"), world.client());
    join(&world, &mut a, 1, "x");
    join(&world, &mut b, 1, "x");
    b.hears();
    let headers = [("k", "v")];
    let body = Body::Data(Data { headers: whub_proto::Headers::new(&headers), ..Data::default() });
    a.sends(world.now, 1, Flags::NONE, &body, b"hi");
    let frames = std::mem::take(&mut b.inbox.state.lock().unwrap().frames);
    let frame = whub_proto::Frame::parse(&frames[0], 1 << 20, whub_proto::Origin::Hub).unwrap();
    let via = frame.via.unwrap();
    assert_eq!(
        (via.member, via.client, via.user, via.node, via.time_ms),
        (1, "c-1", "ada", "n1", world.now.unix_ms)
    );
    let Body::Data(data) = frame.body else { panic!("Data") };
    assert_eq!(data.headers.get("k"), Some("v"));
}

// ------------------------------------------------------------------------------------------ who is let in

#[test]
fn a_secret_is_not_printed_with_its_room() {
    let world = world();
    let mut a = world.client();
    a.says(world.now, 1, &Body::Join(Join { room: "x", secret: "s3cret", ..Join::default() }));
    let room = world.hub.rooms.find(&PairId::parse("x").unwrap()).unwrap();
    assert!(room.is_secret());
    let shown = format!("{room:?}");
    assert!(!shown.contains("s3cret") && !shown.contains("115, 51, 99"), "{shown}");
}

#[test]
fn secret_lock_and_capacity_are_looked_at_in_this_order() {
    let world = world();
    let (mut a, mut b, mut c) = (world.client(), world.client(), world.client());
    let with = |secret, capacity| Body::Join(Join { room: "x", secret, capacity, ..Join::default() });
    a.says(world.now, 1, &with("s3cret", 2));
    assert_eq!(a.hears(), ["ok #1", "room_event #1 State x 1* of 2"]);
    for wrong in ["", "s3cre", "s3cret2"] {
        b.says(world.now, 1, &with(wrong, 0));
        assert_eq!(b.hears(), ["error #1 403 room.secret retry 0"]);
    }
    b.says(world.now, 1, &with("s3cret", 9));
    assert_eq!(b.hears(), ["ok #1", "room_event #1 State x 1* 2 of 2"]);
    a.hears();
    c.says(world.now, 1, &with("s3cret", 0));
    assert_eq!(c.hears(), ["error #1 503 room.full retry 1000"]);
    command(&world, &mut a, 3, RoomAct::Lock, &[]);
    assert_eq!(a.hears(), ["ok #3", "room_event #1 Updated x of 2 locked"]);
    c.says(world.now, 1, &with("s3cret", 0));
    assert_eq!(c.hears(), ["error #1 409 room.locked retry 0"]);
    c.says(world.now, 1, &with("guess", 0));
    assert_eq!(c.hears(), ["error #1 403 room.secret retry 0"]);
    command(&world, &mut a, 3, RoomAct::Unlock, &[]);
    assert_eq!(a.hears(), ["ok #3", "room_event #1 Updated x of 2"]);
    assert_eq!(b.hears(), ["room_event #1 Updated x of 2 locked", "room_event #1 Updated x of 2"]);
}

#[test]
fn a_room_without_a_secret_takes_nobody_who_brings_one() {
    let world = world();
    let (mut a, mut b) = (world.client(), world.client());
    join(&world, &mut a, 1, "x");
    b.says(world.now, 1, &Body::Join(Join { room: "x", secret: "mine", ..Join::default() }));
    assert_eq!(b.hears(), ["error #1 403 room.secret retry 0"]);
}

#[test]
fn joins_that_cannot_be_are_refused() {
    let world = limited(RoomLimits { per_session: 2, info_bytes: 4, ..RoomLimits::default() });
    let mut a = world.client();
    let info = Body::Join(Join { room: "x", info: "12345", ..Join::default() });
    a.says(world.now, 1, &info);
    let secret = "x".repeat(300);
    a.says(world.now, 1, &Body::Join(Join { room: "x", secret: &secret, ..Join::default() }));
    join(&world, &mut a, 1, "/x");
    assert_eq!(
        a.hears(),
        [
            "error #1 413 room.info retry 0",
            "error #1 413 room.secret_bytes retry 0",
            "error #1 400 join.room retry 0"
        ]
    );
    join(&world, &mut a, 1, "x");
    join(&world, &mut a, 3, "x");
    a.says(world.now, 3, &Body::Join(Join { room: "x", mode: RoomMode::Pair, ..Join::default() }));
    join(&world, &mut a, 3, "y");
    join(&world, &mut a, 5, "z");
    assert_eq!(
        a.hears(),
        [
            "ok #1",
            "room_event #1 State x 1* of 256",
            "error #3 409 join.conflict retry 0",
            "error #3 409 join.conflict retry 0",
            "ok #3",
            "room_event #3 State y 1* of 256",
            "error #5 429 rooms.limit retry 0",
        ]
    );
    leave(&world, &mut a, 5, "z");
    assert_eq!(a.hears(), ["error #5 404 join.not_found retry 0"]);
    join(&world, &mut a, 2, "even");
    assert_eq!(a.hears(), ["error 605 protocol.error retry 0"]);
}

#[test]
fn whoever_changes_rooms_too_often_is_told_when_to_go_on() {
    let changes = Some(Rate { count: 1, period: Duration::from_secs(1), burst: 2 });
    let mut world = limited(RoomLimits { changes, ..RoomLimits::default() });
    let mut a = world.client();
    join(&world, &mut a, 1, "x");
    leave(&world, &mut a, 3, "x");
    join(&world, &mut a, 1, "x");
    a.hears();
    command(&world, &mut a, 5, RoomAct::Lock, &[]);
    join(&world, &mut a, 5, "y");
    let error = "error #5 429 rooms.rate retry 1000";
    assert_eq!(a.hears(), [error, error]);
    world.pass(Duration::from_secs(1));
    command(&world, &mut a, 5, RoomAct::Lock, &[]);
    assert_eq!(a.hears()[0], "ok #5");
    // Speaking and leaving are not meant.
    data(&world, &mut a, 1, &[], b"hi");
    leave(&world, &mut a, 7, "x");
    assert_eq!(a.hears(), ["ok #7"]);
}

#[test]
fn rooms_are_granted_by_the_patterns_of_pairs() {
    let world = world();
    let mut a = world.stranger();
    let grant = |pattern: &str| {
        let pair = vec![Filter::parse(pattern).unwrap()];
        Identity { user: Some("ada".into()), grants: Arc::new(Grants { pair, ..Grants::none() }) }
    };
    a.identity = Ok(grant("lobby/+"));
    a.says(world.now, 0, &Body::Hello(Hello::default()));
    a.hears();
    join(&world, &mut a, 1, "x");
    join(&world, &mut a, 1, "lobby/1");
    assert_eq!(
        a.hears(),
        ["error #1 403 access.forbidden retry 0", "ok #1", "room_event #1 State lobby/1 1* of 8"]
    );
    // The rules change: the room is left, and its id told why.
    a.identity = Ok(grant("elsewhere"));
    a.mailbox.post(Letter::Recheck).unwrap();
    a.turn(world.now);
    assert_eq!(a.hears(), ["error #1 403 access.forbidden retry 0"]);
    assert_eq!(world.hub.rooms.members(), 0);
}

// ------------------------------------------------------------------------------------------ rights

#[test]
fn what_it_takes_to_do_something() {
    // Act, whom, and what the member, the moderator and the owner of the room are answered.
    let rights = "error #9 403 room.rights retry 0";
    let cases: [(RoomAct, &[u32], [&str; 3]); 8] = [
        (RoomAct::Lock, &[], [rights, "ok #9", "ok #9"]),
        (RoomAct::Unlock, &[], [rights, "ok #9", "ok #9"]),
        (RoomAct::Kick, &[4], [rights, "ok #9", "ok #9"]),
        (RoomAct::Kick, &[2], [rights, "error #9 400 room.kick_self retry 0", "ok #9"]),
        (RoomAct::Kick, &[1], [rights, rights, "error #9 400 room.kick_self retry 0"]),
        (RoomAct::Promote, &[4], [rights, rights, "ok #9"]),
        (RoomAct::Demote, &[2], [rights, rights, "ok #9"]),
        (RoomAct::Close, &[], [rights, rights, "ok #9"]),
    ];
    for (act, whom, expected) in cases {
        for (index, expected) in [3, 2, 1].into_iter().zip(expected) {
            let world = world();
            let [a, b, c] = three(&world);
            let mut clients = [a, b, c, world.client()];
            join(&world, &mut clients[3], 1, "x");
            command(&world, &mut clients[0], 7, RoomAct::Promote, &[2]);
            for client in &mut clients {
                client.hears();
            }
            command(&world, &mut clients[index - 1], 9, act, whom);
            assert_eq!(clients[index - 1].hears()[0], expected, "{act:?} {whom:?} by member {index}");
        }
    }
}

#[test]
fn whoever_is_sent_away_is_told_why_and_so_are_the_others() {
    let world = world();
    let [mut a, mut b, mut c] = three(&world);
    let members = Numbers::new(&[2]);
    let kick =
        RoomCommand { room: "x", act: RoomAct::Kick, members, reason: "too loud", ..Default::default() };
    a.says(world.now, 3, &Body::RoomCommand(kick));
    assert_eq!(a.hears(), ["ok #3", "room_event #1 Left x 2 (too loud)"]);
    assert_eq!(c.hears(), ["room_event #1 Left x 2 (too loud)"]);
    // What it still says before it has heard of it reaches nobody.
    let late = common::frame(1, Flags::ACK, &Body::Data(Data::default()), b"but");
    let late = whub_proto::Frame::parse(&late, 1 << 20, whub_proto::Origin::Client).unwrap();
    b.session.handle_frame(world.now, &late);
    b.turn(world.now);
    assert_eq!(b.hears(), ["error #1 404 join.not_found retry 0", "room_event #1 Closed x: too loud"]);
    assert_eq!(a.hears(), NOTHING);
    // The id is free again, and nothing keeps it from coming back.
    join(&world, &mut b, 1, "x");
    assert_eq!(b.hears(), ["ok #1", "room_event #1 State x 1* 3 4 of 8"]);
}

#[test]
fn news_of_an_expulsion_does_not_end_a_later_membership() {
    let world = world();
    let [mut a, mut b, _c] = three(&world);
    command(&world, &mut a, 3, RoomAct::Kick, &[2]);
    // b leaves and comes back with the same id before it reads that it was sent away.
    b.session_says(world.now, 5, &Body::Leave(Leave { room: "x", ..Leave::default() }));
    b.session_says(world.now, 1, &Body::Join(Join { room: "x", ..Join::default() }));
    b.turn(world.now);
    assert_eq!(b.hears(), ["ok #5", "ok #1", "room_event #1 State x 1* 3 4 of 8"]);
    data(&world, &mut b, 1, &[], b"here");
    assert_eq!(a.hears().last().unwrap(), "data #1 text from 4 'here'");
}

#[test]
fn commands_that_mean_nobody_do_nothing() {
    let world = world();
    let [mut a, b, c] = three(&world);
    command(&world, &mut a, 3, RoomAct::Kick, &[]);
    command(&world, &mut a, 3, RoomAct::Kick, &[2, 9]);
    command(&world, &mut a, 3, RoomAct::Demote, &[1]);
    command(&world, &mut a, 3, RoomAct::Unknown(99), &[]);
    a.says(world.now, 3, &Body::RoomCommand(RoomCommand { room: "y", ..Default::default() }));
    assert_eq!(
        a.hears(),
        [
            "error #3 400 room.members retry 0",
            "error #3 404 room.no_member retry 0",
            "error #3 409 room.owner retry 0",
            "error #3 501 room.act retry 0",
            "error #3 404 join.not_found retry 0",
        ]
    );
    hear(&world, &mut [b, c], &NOTHING);
}

#[test]
fn the_owner_is_followed_by_a_moderator_and_then_by_whoever_came_first() {
    let world = world();
    let [mut a, mut b, mut c] = three(&world);
    command(&world, &mut a, 3, RoomAct::Promote, &[3]);
    assert_eq!(b.hears(), ["room_event #1 Updated x 3+ of 8"]);
    a.vanishes(world.now);
    assert_eq!(b.hears(), ["room_event #1 Left x 1", "room_event #1 Updated x 3* of 8"]);
    c.vanishes(world.now);
    assert_eq!(b.hears(), ["room_event #1 Left x 3", "room_event #1 Updated x 2* of 8"]);
    command(&world, &mut b, 3, RoomAct::Lock, &[]);
    assert_eq!(b.hears()[0], "ok #3");
}

#[test]
fn members_show_something_else() {
    let world = world();
    let [a, mut b, c] = three(&world);
    let update = RoomCommand { room: "x", info: "\"away\"", ..RoomCommand::default() };
    b.says(world.now, 3, &Body::RoomCommand(update));
    assert_eq!(b.hears(), ["ok #3", "room_event #1 Updated x 2=\"away\" of 8"]);
    hear(&world, &mut [a, c], &["room_event #1 Updated x 2=\"away\" of 8"]);
    let long = "x".repeat(5000);
    b.says(
        world.now,
        3,
        &Body::RoomCommand(RoomCommand { room: "x", info: &long, ..RoomCommand::default() }),
    );
    assert_eq!(b.hears(), ["error #3 413 room.info retry 0"]);
}

#[test]
fn a_closed_room_ends_for_all_and_another_may_follow() {
    let world = world();
    let [mut a, b, c] = three(&world);
    command(&world, &mut a, 3, RoomAct::Close, &[]);
    assert_eq!(a.hears(), ["ok #3", "room_event #1 Closed x: the room was closed"]);
    hear(&world, &mut [b, c], &["room_event #1 Closed x: the room was closed"]);
    assert_eq!(world.hub.rooms.len(), 0);
    join(&world, &mut a, 1, "x");
    assert_eq!(a.hears(), ["ok #1", "room_event #1 State x 1* of 8"]);
}

#[test]
fn who_administers_owns_every_room_from_inside_and_from_outside() {
    let world = world();
    let [a, _b, c] = three(&world);
    let mut admin = world.stranger();
    let grants = Arc::new(Grants { admin: true, ..Grants::all() });
    admin.identity = Ok(Identity { user: Some("root".into()), grants: Arc::clone(&grants) });
    admin.says(world.now, 0, &Body::Hello(Hello::default()));
    admin.hears();
    command(&world, &mut admin, 1, RoomAct::Kick, &[2]);
    assert_eq!(admin.hears(), ["ok #1"]);
    join(&world, &mut admin, 1, "x");
    admin.hears();
    command(&world, &mut admin, 3, RoomAct::Kick, &[1]);
    assert_eq!(
        admin.hears(),
        ["ok #3", "room_event #1 Left x 1 (sent away)", "room_event #1 Updated x 3* of 8"]
    );
    drop((a, c));
    // Whoever has no name is nobody special, even where everybody may administer.
    let mut nameless = world.stranger();
    nameless.identity = Ok(Identity { user: None, grants });
    nameless.says(world.now, 0, &Body::Hello(Hello::default()));
    nameless.hears();
    command(&world, &mut nameless, 1, RoomAct::Close, &[]);
    assert_eq!(nameless.hears(), ["error #1 404 join.not_found retry 0"]);
}

// ------------------------------------------------------------------------------------------ empty rooms

#[test]
fn an_empty_room_is_kept_for_a_while_with_its_terms_and_unlocked() {
    let mut world = world();
    let (mut a, mut b) = (world.client(), world.client());
    let with = |secret| Body::Join(Join { room: "x", secret, capacity: 3, ..Join::default() });
    a.says(world.now, 1, &with("s"));
    command(&world, &mut a, 3, RoomAct::Lock, &[]);
    a.vanishes(world.now);
    let due = world.hub.rooms.handle_empty(world.now.at, Waker::noop());
    assert_eq!(due, Some(world.now.at + Duration::from_secs(60)));
    world.pass(Duration::from_secs(59));
    assert_eq!(world.hub.rooms.handle_empty(world.now.at, Waker::noop()), due);
    b.says(world.now, 1, &with("other"));
    b.says(world.now, 1, &with("s"));
    assert_eq!(b.hears(), ["error #1 403 room.secret retry 0", "ok #1", "room_event #1 State x 2* of 3"]);
    assert_eq!(
        (world.hub.rooms.handle_empty(world.now.at, Waker::noop()), world.hub.rooms.kept()),
        (None, 0)
    );
    // Gone for good once its time has passed.
    leave(&world, &mut b, 3, "x");
    b.hears();
    world.pass(Duration::from_secs(60));
    assert_eq!(world.hub.rooms.handle_empty(world.now.at, Waker::noop()), None);
    assert_eq!(world.hub.rooms.len(), 0);
    b.says(world.now, 1, &with("other"));
    assert_eq!(b.hears(), ["ok #1", "room_event #1 State x 1* of 3"]);
}

#[test]
fn without_time_to_live_an_empty_room_is_gone_at_once() {
    let world = limited(RoomLimits { empty_ttl: Duration::ZERO, ..RoomLimits::default() });
    let mut a = world.client();
    join(&world, &mut a, 1, "x");
    leave(&world, &mut a, 3, "x");
    assert_eq!(world.hub.rooms.len(), 0);
}

#[test]
fn kept_rooms_give_way_to_new_ones_the_oldest_first() {
    let mut world = limited(RoomLimits { per_node: 2, ..RoomLimits::default() });
    let mut a = world.client();
    for room in ["old", "older"] {
        join(&world, &mut a, 1, room);
        world.pass(Duration::from_secs(1));
        leave(&world, &mut a, 3, room);
    }
    join(&world, &mut a, 1, "new");
    let names = |world: &World| -> Vec<String> {
        world.hub.rooms.list().iter().map(|room| room.name.as_str().to_owned()).collect()
    };
    assert_eq!(names(&world), ["new", "older"]);
    join(&world, &mut a, 5, "newer");
    assert_eq!(names(&world), ["new", "newer"]);
    a.hears();
    join(&world, &mut a, 7, "newest");
    assert_eq!(a.hears(), ["error #7 503 rooms.node_limit retry 1000"]);
}

#[test]
fn the_driver_is_woken_when_a_room_is_due_sooner() {
    let world = world();
    let bell = Arc::new(Bell::default());
    assert_eq!(world.hub.rooms.handle_empty(world.now.at, &Waker::from(Arc::clone(&bell))), None);
    let mut a = world.client();
    join(&world, &mut a, 1, "x");
    a.vanishes(world.now);
    assert!(bell.0.load(std::sync::atomic::Ordering::Relaxed));
}

#[derive(Default)]
struct Bell(std::sync::atomic::AtomicBool);

impl std::task::Wake for Bell {
    fn wake(self: Arc<Self>) {
        self.0.store(true, std::sync::atomic::Ordering::Relaxed);
    }
}

// ------------------------------------------------------------------------------------------ events by others

#[test]
fn clients_do_not_make_events() {
    let world = world();
    let mut a = world.client();
    join(&world, &mut a, 1, "x");
    a.hears();
    let event =
        RoomEvent { what: RoomWhat::Joined, room: "x", members: Members::default(), ..Default::default() };
    a.says(world.now, 1, &Body::RoomEvent(event));
    assert_eq!(a.hears(), ["error 605 protocol.error retry 0"]);
    assert_eq!(Kind::RoomCommand.name(), Some("room_command"));
}
