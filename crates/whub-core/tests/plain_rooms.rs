//! Members of rooms on plain WebSockets.

#![allow(clippy::unwrap_used)] // A failed unwrap is a failed test.

mod common;

use std::sync::Arc;
use std::time::{Duration, Instant};

use common::{Client, InRoom, World};
use whub_core::middleware::Rate;
use whub_core::{
    Act, Fault, Grants, Identity, Letter, Peer, RoomLimits, RoomOutput, RoomTalker, SessionLimits, Wish,
};
use whub_proto::names::PairId;
use whub_proto::{Body, Code, Join, RoomAct, RoomCommand};

/// One member: its talker, and what its peer sees. The client lends its mailbox.
struct Plain {
    talker: RoomTalker,
    client: Client,
    /// When it came.
    now: Instant,
}

impl Plain {
    fn new(world: &World, user: Option<&str>) -> Self {
        let client = world.stranger();
        let peer = Peer { client: "c-p".into(), address: "".into(), token: None };
        let grants = Grants { admin: user == Some("root"), ..Grants::all() };
        let identity = Identity { user: user.map(Into::into), grants: Arc::new(grants) };
        let name = PairId::parse("x").unwrap();
        let hub = Arc::clone(&world.hub);
        let talker = RoomTalker::new(hub, client.mailbox.clone(), peer, identity, name, world.now.at);
        Self { talker, client, now: world.now.at }
    }

    /// One that is in.
    fn member(world: &World) -> Self {
        let mut plain = Self::new(world, None);
        plain.wants(world, JOIN);
        plain.hears();
        plain
    }

    fn wants(&mut self, world: &World, wish: Wish<'_>) {
        self.talker.handle_wish(world.now, wish);
        self.drain();
    }

    fn turn(&mut self) {
        while let Some(letter) = self.next_letter() {
            self.talker.handle_letter(self.now, letter);
            self.drain();
        }
    }

    fn next_letter(&self) -> Option<Letter> {
        self.client.inbox.state.lock().unwrap().letters.pop_front()
    }

    fn drain(&mut self) {
        while let Some(output) = self.talker.poll_output() {
            let bytes = match output {
                RoomOutput::Entered(number) => format!("(member {number})").into(),
                RoomOutput::Event(packet) => packet.to_vec(),
                RoomOutput::Refused(fault) => {
                    format!("(refused {} {})", u16::from(fault.code), fault.slug).into()
                }
                RoomOutput::Room(issue) => {
                    for member in issue.roll.members.iter().filter(|member| issue.is_for(member)) {
                        member.mailbox.publish(&InRoom { issue: &issue, seat: member.seat });
                    }
                    continue;
                }
                RoomOutput::Ping => "(ping)".into(),
                RoomOutput::Close(fault) => format!("(close {})", u16::from(fault.code)).into(),
            };
            self.client.inbox.state.lock().unwrap().frames.push(bytes);
        }
        self.client.turn_held();
    }

    fn hears(&mut self) -> Vec<String> {
        self.turn();
        self.client.hears()
    }
}

const JOIN: Wish<'static> = Wish::Join { secret: "", capacity: 8, info: "" };

fn say(payload: &str) -> Wish<'_> {
    Wish::Say { to: &[], text: true, media: None, payload: payload.as_bytes() }
}

#[test]
fn members_of_both_kinds_are_members_like_all() {
    let world = World::new();
    let mut plain = Plain::new(&world, None);
    plain.wants(&world, Wish::Join { secret: "s", capacity: 8, info: "1" });
    assert_eq!(plain.hears(), ["(member 1)", "room_event State x 1*=1 of 8"]);
    let mut framed = world.client();
    framed.says(world.now, 1, &Body::Join(Join { room: "x", secret: "s", ..Join::default() }));
    assert_eq!(framed.hears(), ["ok #1", "room_event #1 State x 1*=1 2 of 8"]);
    assert_eq!(plain.hears(), ["room_event Joined x 2"]);
    plain.wants(&world, say("hi"));
    let media = Some("application/json");
    plain.wants(&world, Wish::Say { to: &[2], text: true, media, payload: b"1" });
    plain.wants(&world, Wish::Say { to: &[7], text: true, media: None, payload: b"nobody" });
    let expected = ["data #1 text from 1 'hi'", "data #1 text from 1 content-type: application/json '1'"];
    assert_eq!(framed.hears(), expected);
    plain.wants(&world, Wish::Do(Act::Update("2")));
    assert_eq!(plain.hears(), ["room_event Updated x 1*=2 of 8"]);
    plain.talker.handle_lost(world.now.at);
    let news =
        ["room_event #1 Updated x 1*=2 of 8", "room_event #1 Left x 1", "room_event #1 Updated x 2* of 8"];
    assert_eq!(framed.hears(), news);
}

#[test]
fn nothing_comes_before_join_and_join_comes_once() {
    let mut world = World::new();
    for wish in [say("hi"), Wish::Do(Act::Lock(true))] {
        let mut early = Plain::new(&world, None);
        early.wants(&world, wish);
        assert_eq!(early.hears(), ["(refused 400 room.join_first)", "(close 400)"]);
        early.wants(&world, JOIN);
        assert_eq!(early.hears(), Vec::<String>::new(), "it is over");
    }
    let mut odd = Plain::new(&world, None);
    odd.talker.handle_unreadable(Fault::fatal(Code::BadRequest, "room.message", "no JSON"));
    odd.drain();
    assert_eq!(odd.hears(), ["(refused 400 room.message)", "(close 400)"]);
    let mut silent = Plain::new(&world, None);
    assert_eq!(silent.talker.poll_timeout(), world.now.at + Duration::from_secs(5));
    world.pass(Duration::from_secs(5));
    silent.talker.handle_timeout(world.now.at);
    silent.drain();
    assert_eq!(silent.hears(), ["(refused 408 room.join_timeout)", "(close 408)"]);
    let mut member = Plain::member(&world);
    member.wants(&world, JOIN);
    member.talker.handle_unreadable(Fault::fatal(Code::BadRequest, "room.message", "no JSON"));
    member.drain();
    assert_eq!(member.hears(), ["(refused 409 join.conflict)", "(refused 400 room.message)"]);
    assert_eq!(world.hub.rooms.members(), 1);
}

#[test]
fn whoever_is_not_let_in_is_told_why_and_closed() {
    let world = World::new();
    let mut owner = Plain::member(&world);
    let mut wrong = Plain::new(&world, None);
    wrong.wants(&world, Wish::Join { secret: "guess", capacity: 0, info: "" });
    assert_eq!(wrong.hears(), ["(refused 403 room.secret)", "(close 403)"]);
    owner.wants(&world, Wish::Do(Act::Lock(true)));
    let mut late = Plain::new(&world, None);
    late.wants(&world, JOIN);
    assert_eq!(late.hears(), ["(refused 409 room.locked)", "(close 409)"]);
}

#[test]
fn whoever_is_sent_away_is_told_and_closed() {
    let world = World::new();
    let (mut owner, mut other) = (Plain::member(&world), Plain::member(&world));
    other.wants(&world, Wish::Do(Act::Kick(&[1], "")));
    assert_eq!(other.hears(), ["(refused 403 room.rights)"]);
    owner.wants(&world, Wish::Do(Act::Kick(&[2], "bye")));
    assert_eq!(other.hears(), ["room_event Closed x: bye", "(close 410)"]);
    other.wants(&world, say("but"));
    assert_eq!(owner.hears(), ["room_event Joined x 2", "room_event Left x 2 (bye)"]);
    other.talker.handle_lost(world.now.at);
    assert_eq!(owner.hears(), Vec::<String>::new(), "it had left already");
}

#[test]
fn administrators_own_every_room() {
    let world = World::new();
    let mut owner = Plain::member(&world);
    let mut root = Plain::new(&world, Some("root"));
    root.wants(&world, JOIN);
    root.hears();
    root.wants(&world, Wish::Do(Act::Close("")));
    assert_eq!(
        owner.hears(),
        ["room_event Joined x 2", "room_event Closed x: the room was closed", "(close 410)"]
    );
    assert_eq!(root.hears(), ["room_event Closed x: the room was closed", "(close 410)"]);
}

#[test]
fn changes_are_bounded_and_the_driver_is_told_which_are_seen() {
    let changes = Some(Rate { count: 1, period: Duration::from_secs(1), burst: 1 });
    let rooms = RoomLimits { changes, ..RoomLimits::default() };
    let world = World::with_limits(SessionLimits { rooms, ..SessionLimits::default() });
    let mut member = Plain::member(&world);
    let lock = Wish::Do(Act::Lock(true));
    assert!(member.talker.is_seen(world.now, &lock) && !member.talker.is_seen(world.now, &say("hi")));
    member.wants(&world, lock);
    assert!(!member.talker.is_seen(world.now, &lock));
    member.wants(&world, lock);
    assert_eq!(member.hears(), ["room_event Updated x of 8 locked", "(refused 429 rooms.rate)"]);
    let mut framed = world.client();
    let command = Body::RoomCommand(RoomCommand { room: "x", act: RoomAct::Lock, ..RoomCommand::default() });
    assert!(framed.session.is_seen_in_rooms(world.now, &command));
    framed.says(world.now, 1, &command);
    assert!(!framed.session.is_seen_in_rooms(world.now, &command));
}

#[test]
fn a_silent_member_is_pinged_then_closed_and_a_stopping_hub_says_so() {
    let mut world = World::new();
    let mut member = Plain::member(&world);
    world.pass(Duration::from_secs(25));
    member.talker.handle_timeout(world.now.at);
    member.drain();
    assert_eq!(member.hears(), ["(ping)"]);
    world.pass(Duration::from_secs(25));
    member.talker.handle_timeout(world.now.at);
    member.drain();
    assert_eq!(member.hears(), ["(close 408)"]);
    let (grace, linger, retry) = (Duration::ZERO, Duration::ZERO, Duration::ZERO);
    member.client.mailbox.post(Letter::Drain { grace, linger, retry }).unwrap();
    assert_eq!(member.hears(), ["(close 604)"]);
}

#[test]
fn whoever_is_given_up_is_in_the_room_no_more() {
    let mut world = World::new();
    let mut framed = world.client();
    framed.says(world.now, 1, &Body::Join(Join { room: "x", ..Join::default() }));
    let (mut silent, mut unwelcome) = (Plain::member(&world), Plain::member(&world));
    framed.hears();
    world.pass(Duration::from_secs(50));
    silent.talker.handle_timeout(world.now.at);
    silent.drain();
    assert_eq!(silent.client.hears(), ["room_event Joined x 3", "(close 408)"]);
    // Though its connection may linger.
    assert_eq!(framed.hears(), ["room_event #1 Left x 2"]);
    let fault = Fault::fatal(Code::Unauthorized, "auth.token", "the token is no longer valid");
    unwelcome.client.mailbox.post(Letter::Kick(fault)).unwrap();
    assert_eq!(unwelcome.hears(), ["room_event Left x 2", "(close 401)"]);
    assert_eq!(framed.hears(), ["room_event #1 Left x 3"]);
    silent.talker.handle_lost(world.now.at);
    assert_eq!(framed.hears(), Vec::<String>::new());
}
