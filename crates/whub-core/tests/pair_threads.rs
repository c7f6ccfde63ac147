//! Kept seats of one pair in many threads at once: nobody waits for ever, and no half hears two partners as one.

#![allow(clippy::unwrap_used)] // A failed unwrap is a failed test.

mod common;

use std::time::Duration;

use common::{Client, World};
use whub_proto::{Body, Credit, Data, Flags, Join, Leave, RoomMode, Third};

const THREADS: u64 = 4;
const STEPS: u64 = 4000;

/// A generator that is good enough to mix what threads do.
struct Dice(u64);

impl Dice {
    fn roll(&mut self, sides: u64) -> u64 {
        self.0 = self.0.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (self.0 >> 33) % sides
    }
}

/// One half: at most one seat at a time.
struct Half<'a> {
    world: &'a World,
    dice: Dice,
    name: u64,
    third: Third,
    client: Option<Client>,
    /// The seat that it can come back to, and what it has received there.
    token: String,
    received: u64,
    said: u64,
    /// Whom it hears, since it was told that somebody is there.
    partner: Option<String>,
    /// Of each message, the last of its sender.
    last: u64,
    heard: u64,
}

impl Half<'_> {
    fn step(&mut self) {
        match (self.dice.roll(10), self.client.is_some()) {
            // Now and then it forgets that it has a seat, but where that kept others out for long.
            (0, false) if self.third != Third::Reject => self.enter(false),
            (_, false) => self.enter(!self.token.is_empty()),
            (0, true) => self.leave(),
            (1, true) => {
                self.listen();
                if let Some(mut client) = self.client.take() {
                    client.vanishes(self.world.now);
                }
            }
            // Another connection, before the hub has noticed anything.
            (2, true) => {
                self.listen();
                self.enter(true);
            }
            (3..7, true) => self.say(),
            (7, true) => drop(self.world.usher()),
            (_, true) => self.listen(),
        }
    }

    fn enter(&mut self, again: bool) {
        let mut client = self.world.client();
        let (seat, received) = if again { (&self.token[..], self.received) } else { ("", 0) };
        let join = Join { room: "x", mode: RoomMode::Pair, seat, received, ..Join::default() };
        let join = Join { third: self.third, grace_ms: 30_000, ..join };
        client.session_says(self.world.now, 1, &Body::Join(join));
        client.session_says(self.world.now, 1, &Body::Credit(Credit { bytes: 0 }));
        let answer = client.hears_first();
        if answer.starts_with("error") {
            self.token.clear();
            return;
        }
        if seat.is_empty() {
            (self.received, self.partner) = (0, None);
        }
        self.token.clone_from(&client.seat);
        self.client = Some(client);
        self.listen();
    }

    fn leave(&mut self) {
        let Some(mut client) = self.client.take() else { return };
        client.says(self.world.now, 3, &Body::Leave(Leave { room: "x", ..Leave::default() }));
        self.token.clear();
    }

    fn say(&mut self) {
        self.said += 1;
        let message = format!("{} {}", self.name, self.said);
        let Some(client) = &mut self.client else { return };
        client.sends(self.world.now, 1, Flags::NONE, &Body::Data(Data::default()), message.as_bytes());
        self.listen();
    }

    fn listen(&mut self) {
        let Some(client) = &mut self.client else { return };
        client.turn(self.world.now);
        let mut is_over = false;
        for line in client.hears() {
            if let Some((_, said)) = line.split_once("data #1 '") {
                self.received += 1;
                self.heard += 1;
                let (name, number) = said.trim_end_matches('\'').split_once(' ').unwrap();
                let number: u64 = number.parse().unwrap();
                match &self.partner {
                    Some(partner) if partner.is_empty() => self.last = 0,
                    Some(partner) => assert_eq!(partner, name, "two partners at once"),
                    None => panic!("{line}: nobody is there"),
                }
                assert!(number > self.last, "{line} after {}", self.last);
                (self.partner, self.last) = (Some(name.to_owned()), number);
            } else if let Some(event) = line.strip_prefix("room_event #1 ") {
                self.received += 1;
                match event.split(' ').next().unwrap() {
                    "Ready" => {
                        assert_eq!(self.partner, None, "somebody is there already");
                        self.partner = Some(String::new());
                    }
                    "Left" => assert!(self.partner.take().is_some(), "somebody left who was not there"),
                    "Waiting" => assert_eq!(self.partner, None, "somebody is there"),
                    "Closed" => is_over = true,
                    other => assert!(matches!(other, "Away" | "Back"), "{line}"),
                }
            }
        }
        if is_over {
            self.client = None;
            self.token.clear();
        }
    }
}

#[test]
fn seats_that_are_kept_in_many_threads_get_one_partner_each() {
    let world = World::new();
    let (world, mut total) = (&world, 0);
    for third in [Third::Next, Third::Reject, Third::Replace] {
        let live = |name: u64| {
            let mut half = Half {
                world,
                dice: Dice(name),
                name,
                third,
                client: None,
                token: String::new(),
                received: 0,
                said: 0,
                partner: None,
                last: 0,
                heard: 0,
            };
            (0..STEPS).for_each(|_| half.step());
            half.listen();
            half.leave();
            half.heard
        };
        let heard: u64 = std::thread::scope(|scope| {
            let threads: Vec<_> = (1..=THREADS).map(|name| scope.spawn(move || live(name))).collect();
            threads.into_iter().map(|thread| thread.join().unwrap()).sum()
        });
        total += heard;
        // What is still kept is given up in time; then nobody is left.
        world.hub.handle_waiting(world.now.at + Duration::from_secs(31), std::task::Waker::noop());
        assert_eq!((world.hub.seats_away(), world.hub.pairs.waiting()), (0, 0));
    }
    assert!(total > 100, "{total}");
}
