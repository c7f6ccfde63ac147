//! A plain WebSocket on `/room/<name>`: one member of one room, without frames.
//!
//! Contract: after every `handle_*`, drain [`RoomTalker::poll_output`] until it is empty; call
//! [`RoomTalker::handle_timeout`] no later than [`RoomTalker::poll_timeout`] says. How wishes and events look to the
//! peer is the driver's.

use std::collections::VecDeque;
use std::sync::Arc;
use std::time::Instant;

use whub_proto::names::PairId;
use whub_proto::{Body, Code, Data, Headers, Numbers};

use crate::access::Identity;
use crate::fault::Fault;
use crate::hub::{Hub, Now};
use crate::letter::Letter;
use crate::mailbox::Mailbox;
use crate::packet::Packet;
use crate::rooms::{Act, Entrant, Room, check_rate};
use crate::session::client::Peer;
use crate::session::liveness::{Liveness, Silence};
use crate::session::rooming::{Presence, RoomIssue, Said, parse_secret};

/// One member.
#[derive(Debug)]
pub struct RoomTalker {
    hub: Arc<Hub>,
    me: Mailbox,
    peer: Peer,
    identity: Identity,
    name: PairId,
    stage: Stage,
    liveness: Liveness,
    /// When it may change the room as often as ever again.
    changes_full_at: Instant,
    output: VecDeque<RoomOutput>,
}

#[derive(Debug)]
enum Stage {
    /// Waiting for the wish to join.
    Door {
        until: Instant,
    },
    In(Box<Presence>),
    Ended,
}

/// What a member wants.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Wish<'a> {
    /// To be let in; the first wish of all.
    Join {
        /// What it knows of the room; of the first one, what all others have to know.
        secret: &'a str,
        /// Of the first one: how many may be in the room; 0 = as many as the hub allows.
        capacity: u16,
        /// What it shows to the others, JSON.
        info: &'a str,
    },
    /// To say something.
    Say {
        /// To whom; empty = all.
        to: &'a [u32],
        /// It is valid UTF-8.
        text: bool,
        /// What it is, where that is more than text or bytes, as a media type.
        media: Option<&'a str>,
        /// The message.
        payload: &'a [u8],
    },
    /// To have something done.
    Do(Act<'a>),
}

/// What the driver of a member is to do.
#[derive(Debug, Clone, PartialEq)]
pub enum RoomOutput {
    /// The peer is in, with this number; what follows are `State` events.
    Entered(u32),
    /// Show the peer this event.
    Event(Packet),
    /// Tell the peer that this went wrong.
    Refused(Fault),
    /// Deliver this message, before anything else that the member does is seen in the room.
    Room(RoomIssue),
    /// Send a WebSocket ping.
    Ping,
    /// Close with this fault's close code, or 1001 when the hub is stopping.
    Close(Fault),
}

impl RoomTalker {
    /// A member to be: it has connected, and its token permits the room.
    pub fn new(
        hub: Arc<Hub>,
        me: Mailbox,
        peer: Peer,
        identity: Identity,
        name: PairId,
        now: Instant,
    ) -> Self {
        hub.counters.sessions_opened.one();
        let stage = Stage::Door { until: now + hub.limits.hello_timeout };
        let liveness = Liveness::new(hub.limits.ping, now);
        Self { hub, me, peer, identity, name, stage, liveness, changes_full_at: now, output: VecDeque::new() }
    }

    /// Any byte of the peer.
    pub fn handle_alive(&mut self, now: Instant) {
        self.liveness.heard(now);
    }

    /// Whether others see in the room what this does: then they have to have what was said before.
    #[must_use]
    pub fn is_seen(&self, now: Now, wish: &Wish<'_>) -> bool {
        let mut full_at = self.changes_full_at;
        matches!(wish, Wish::Do(_)) && check_rate(&self.hub.limits.rooms, now.at, &mut full_at).is_ok()
    }

    /// The peer wants something.
    pub fn handle_wish(&mut self, now: Now, wish: Wish<'_>) {
        match (&self.stage, wish) {
            (Stage::Door { .. }, Wish::Join { secret, capacity, info }) => {
                self.enter(now, secret, capacity, info);
            }
            (Stage::Door { .. }, Wish::Say { .. } | Wish::Do(_)) => {
                let reason =
                    "the first message must be {\"join\":{}}, with what there is to say about joining";
                self.turn_away(Fault::fatal(Code::BadRequest, "room.join_first", reason));
            }
            (Stage::In(_), Wish::Join { .. }) => {
                let reason = "this WebSocket is in the room already";
                self.refuse(Fault::fatal(Code::Conflict, "join.conflict", reason));
            }
            (Stage::In(presence), Wish::Say { to, text, media, payload }) => {
                let envelope = envelope(to, media);
                let said = Said { to: to.to_vec(), text, envelope: &envelope, payload };
                let user = self.identity.user.as_deref().unwrap_or_default();
                let issue = presence.issue(&self.hub, now, (&self.peer.client, user), said);
                // Who was sent away a moment ago is about to learn it.
                if let Some(issue) = issue.filter(|issue| issue.receivers() > 0) {
                    self.output.push_back(RoomOutput::Room(issue));
                }
            }
            (Stage::In(presence), Wish::Do(act)) => {
                let done = check_rate(&self.hub.limits.rooms, now.at, &mut self.changes_full_at)
                    .and_then(|()| presence.act(&self.hub, self.identity.owns_rooms(), act, now.at));
                if let Err(fault) = done {
                    self.refuse(fault);
                }
            }
            (Stage::Ended, _) => {}
        }
    }

    /// The peer said something that is no wish.
    pub fn handle_unreadable(&mut self, fault: Fault) {
        match self.stage {
            Stage::Door { .. } => self.turn_away(fault),
            Stage::In(_) => self.refuse(fault),
            Stage::Ended => {}
        }
    }

    fn enter(&mut self, now: Now, secret: &str, capacity: u16, info: &str) {
        let secret = match parse_secret(secret) {
            Ok(secret) => secret,
            Err(fault) => return self.turn_away(fault),
        };
        let entrant = Entrant {
            mailbox: self.me.clone(),
            seat: 0,
            client: &self.peer.client,
            user: self.identity.user.as_deref().unwrap_or_default(),
            info,
            secret,
            capacity,
        };
        match Presence::enter(&self.hub, &self.name, &entrant, now) {
            Ok((presence, state)) => {
                self.output.push_back(RoomOutput::Entered(presence.number()));
                self.output.extend(state.into_iter().map(RoomOutput::Event));
                self.stage = Stage::In(Box::new(presence));
            }
            Err(fault) => self.turn_away(fault),
        }
    }

    /// A letter from another session.
    pub fn handle_letter(&mut self, now: Instant, letter: Letter) {
        match letter {
            Letter::Expelled { room, number, event, .. } => self.handle_expelled(&room, number, event),
            Letter::Drain { .. } => self.give_up(now, Fault::draining()),
            // Its driver knows with what token it came.
            Letter::Recheck => {}
            Letter::Kick(fault) => self.give_up(now, fault),
            Letter::Call(_)
            | Letter::Upload { .. }
            | Letter::Abandon { .. }
            | Letter::Refill { .. }
            | Letter::Answer { .. }
            | Letter::Credit { .. }
            | Letter::Placed { .. }
            | Letter::Paired { .. }
            | Letter::Parted { .. }
            | Letter::Replaced { .. }
            | Letter::Stirred { .. }
            | Letter::Failed { .. } => {}
        }
    }

    /// The rules have changed, and the peer is somebody else by them, or may do something else.
    pub fn handle_identity(&mut self, identity: Identity) {
        self.identity = identity;
    }

    /// Time has passed.
    pub fn handle_timeout(&mut self, now: Instant) {
        if let Stage::Door { until } = self.stage {
            if now >= until {
                self.turn_away(Fault::fatal(
                    Code::Timeout,
                    "room.join_timeout",
                    "no wish to join came in time",
                ));
            }
            return;
        }
        match self.liveness.handle_timeout(now) {
            Silence::Bearable => {}
            Silence::Ask => self.output.push_back(RoomOutput::Ping),
            Silence::Dead => {
                self.hub.counters.dead_peers.one();
                let fault = Fault::passing(Code::Timeout, "peer.silent", 1, "no sign of life from the peer");
                self.give_up(now, fault);
            }
        }
    }

    /// The connection has ended, however it did.
    pub fn handle_lost(&mut self, now: Instant) {
        self.leave(now);
        self.hub.counters.sessions_closed.one();
    }

    /// When [`Self::handle_timeout`] is due.
    pub fn poll_timeout(&self) -> Instant {
        match self.stage {
            Stage::Door { until } => until,
            Stage::In(_) | Stage::Ended => self.liveness.poll_timeout(),
        }
    }

    /// What to do next.
    pub fn poll_output(&mut self) -> Option<RoomOutput> {
        let output = self.output.pop_front();
        if output.is_none() {
            self.output = VecDeque::new();
        }
        output
    }

    /// The connection is to end, which may take a while; the others need not wait for that.
    fn give_up(&mut self, now: Instant, fault: Fault) {
        self.leave(now);
        self.output.push_back(RoomOutput::Close(fault));
    }

    fn leave(&mut self, now: Instant) {
        if let Stage::In(presence) = std::mem::replace(&mut self.stage, Stage::Ended) {
            presence.leave(&self.hub, "", now);
        }
    }

    fn handle_expelled(&mut self, room: &Arc<Room>, number: u32, event: Packet) {
        if !matches!(&self.stage, Stage::In(presence) if presence.is(room, number)) {
            return;
        }
        self.stage = Stage::Ended;
        self.hub.counters.room_expulsions.one();
        self.output.push_back(RoomOutput::Event(event));
        let reason = "this member was sent away, or the room was closed";
        self.output.push_back(RoomOutput::Close(Fault::fatal(Code::Gone, "room.closed", reason)));
    }

    fn turn_away(&mut self, fault: Fault) {
        self.stage = Stage::Ended;
        self.refuse(fault.clone());
        self.output.push_back(RoomOutput::Close(fault));
    }

    fn refuse(&mut self, fault: Fault) {
        if fault.code == Code::Forbidden {
            self.hub.counters.forbidden.one();
        }
        self.output.push_back(RoomOutput::Refused(fault));
    }
}

/// The envelope of a `Data` frame that says this; empty where there is nothing to say.
fn envelope(to: &[u32], media: Option<&str>) -> Vec<u8> {
    if to.is_empty() && media.is_none() {
        return Vec::new();
    }
    let pairs = [("content-type", media.unwrap_or_default())];
    let headers = Headers::new(if media.is_some() { &pairs } else { &[] });
    let packet = Packet::build(&Body::Data(Data { to: Numbers::new(to), headers, ..Data::default() }));
    let length = usize::from(packet.head(0).env_len);
    packet.rest()[..length].to_vec()
}
