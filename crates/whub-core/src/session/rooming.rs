//! The session as a member of rooms.

use std::borrow::Cow;
use std::sync::Arc;
use std::time::Instant;

use whub_proto::names::PairId;
use whub_proto::{
    Body, Code, Flags, Frame, HEAD_BYTES, Join, Kind, Leave, RoomAct, RoomCommand, Success, Via,
};

use crate::fault::Fault;
use crate::hub::{Hub, Now};
use crate::packet::Packet;
use crate::pairs::{PairSecret, SECRET_BYTES_MAX};
use crate::rooms::{Act, By, Entered, Entrant, Roll, Room, RoomMember, check_info, check_rate, not_in};
use crate::session::client::{ClientSession, Live, not_open};
use crate::session::output::Output;

/// A message of a room, ready for its receivers.
#[derive(Debug, Clone, PartialEq)]
pub struct RoomIssue {
    /// Who was in the room when it was sent.
    pub roll: Arc<Roll>,
    /// The number of its sender, who does not get it back.
    pub from: u32,
    /// The members that it is for, in the order of their numbers; empty = all.
    pub to: Box<[u32]>,
    /// The message, in as many pieces as frames allow: all but the last have the flag `More`.
    pub packets: Vec<Packet>,
}

impl RoomIssue {
    /// Whether this member gets it.
    #[must_use]
    pub fn is_for(&self, member: &RoomMember) -> bool {
        member.number != self.from && (self.to.is_empty() || self.to.binary_search(&member.number).is_ok())
    }

    /// How many get it.
    #[must_use]
    pub fn receivers(&self) -> usize {
        if self.to.is_empty() {
            return self.roll.members.len().saturating_sub(1);
        }
        self.to.iter().filter(|number| **number != self.from && self.roll.find(**number).is_some()).count()
    }
}

/// One presence in a room, and the message that is being put together from `More` frames.
#[derive(Debug)]
pub(super) struct Presence {
    room: Arc<Room>,
    number: u32,
    partial: Option<Partial>,
}

/// Whom a message is for, and its envelope, are what its first frame says.
#[derive(Debug, Default)]
struct Partial {
    to: Vec<u32>,
    envelope: Vec<u8>,
    payload: Vec<u8>,
}

/// What a member says.
pub(super) struct Said<'a> {
    pub(super) to: Vec<u32>,
    pub(super) text: bool,
    /// The envelope of the `Data`, which goes to the receivers as it is.
    pub(super) envelope: &'a [u8],
    pub(super) payload: &'a [u8],
}

impl Presence {
    /// Enters. What is to be said first comes with it.
    pub(super) fn enter(
        hub: &Hub,
        name: &PairId,
        entrant: &Entrant<'_>,
        now: Now,
    ) -> Result<(Self, Vec<Packet>), Fault> {
        check_info(&hub.limits.rooms, entrant.info)?;
        // What its peer is told of the room goes first, though a message may follow from another thread at once.
        entrant.mailbox.hold();
        let Entered { room, number, state } = hub.rooms.enter(&hub.limits.rooms, name, entrant, now)?;
        hub.counters.room_joins.one();
        Ok((Self { room, number, partial: None }, state))
    }

    pub(super) fn name(&self) -> &PairId {
        &self.room.name
    }

    pub(super) fn number(&self) -> u32 {
        self.number
    }

    pub(super) fn is(&self, room: &Arc<Room>, number: u32) -> bool {
        Arc::ptr_eq(&self.room, room) && self.number == number
    }

    pub(super) fn leave(self, hub: &Hub, reason: &str, now: Instant) {
        hub.rooms.leave(&hub.limits.rooms, &self.room, self.number, reason, now);
    }

    pub(super) fn act(&self, hub: &Hub, admin: bool, act: Act<'_>, now: Instant) -> Result<(), Fault> {
        let by = By::Member { number: self.number, admin };
        hub.rooms.act(&hub.limits.rooms, &self.room, by, act, now)
    }

    pub(super) fn partial_bytes(&self) -> usize {
        self.partial.as_ref().map_or(0, |partial| partial.payload.len())
    }

    /// A message with the hub's via, for those who are in the room now; `None` if its sender is not.
    pub(super) fn issue(
        &self,
        hub: &Hub,
        now: Now,
        (client, user): (&str, &str),
        said: Said<'_>,
    ) -> Option<RoomIssue> {
        let roll = self.room.roll_for(self.number)?;
        let via = Via {
            client,
            user,
            node: &hub.node,
            time_ms: now.unix_ms,
            member: self.number,
            ..Via::default()
        };
        let mut to = said.to;
        to.sort_unstable();
        to.dedup();
        hub.counters.room_messages.one();
        let packets = pieces(hub.limits.frame_bytes, &via, said.text, said.envelope, said.payload);
        Some(RoomIssue { roll, from: self.number, to: to.into(), packets })
    }
}

/// A message as frames, each no longer than a frame may be. The envelope travels with the first, the via with all.
fn pieces(frame_bytes: usize, via: &Via<'_>, text: bool, envelope: &[u8], payload: &[u8]) -> Vec<Packet> {
    /// What a via takes beside its texts.
    const VIA_BYTES: usize = 96;
    let via_bytes = VIA_BYTES + via.client.len() + via.user.len() + via.node.len();
    let room = |envelope: &[u8]| frame_bytes.saturating_sub(HEAD_BYTES + via_bytes + envelope.len()).max(4);
    let (mut packets, mut rest, mut envelope) = (Vec::with_capacity(1), payload, envelope);
    loop {
        let (piece, tail) = rest.split_at(piece_end(rest, room(envelope), text));
        let more = !tail.is_empty();
        let flags = Flags::NONE.with_if(text, Flags::TEXT).with_if(more, Flags::MORE);
        packets.push(Packet::forward(Kind::Data, flags, Some(via), envelope, piece));
        if !more {
            return packets;
        }
        (rest, envelope) = (tail, &[]);
    }
}

/// Where to cut: a text is cut between characters, so that every piece is valid UTF-8.
fn piece_end(rest: &[u8], max: usize, text: bool) -> usize {
    if rest.len() <= max {
        return rest.len();
    }
    let is_boundary = |end: &usize| !text || rest[*end] & 0xc0 != 0x80;
    (max.saturating_sub(3)..=max).rev().find(is_boundary).unwrap_or(max)
}

/// `None` for an empty text.
pub(super) fn parse_secret(secret: &str) -> Result<Option<PairSecret>, Fault> {
    PairSecret::new(secret).map_err(|_| {
        let reason = format!("a room's secret may have {SECRET_BYTES_MAX} bytes");
        Fault::fatal(Code::TooLarge, "room.secret_bytes", reason)
    })
}

impl ClientSession {
    /// Whether others see in a room what this frame does: then they have to have what was said before. Changes beyond
    /// the rate are refused, so that nobody can have the driver do this over and over.
    #[must_use]
    pub fn is_seen_in_rooms(&self, now: Now, body: &Body<'_>) -> bool {
        if let Body::Leave(leave) = body {
            return PairId::parse(leave.room).is_ok_and(|name| self.presence(&name).is_some());
        }
        let mut full_at = self.changes_full_at;
        matches!(body, Body::Join(_) | Body::RoomCommand(_))
            && check_rate(&self.hub.limits.rooms, now.at, &mut full_at).is_ok()
    }

    pub(super) fn handle_enter(&mut self, now: Now, id: u64, join: &Join<'_>) {
        if !self.claim(id) {
            return;
        }
        match self.enter_room(now, id, join) {
            Ok((presence, state)) => {
                let member = presence.number();
                self.live.insert(id, Live::Room(Box::new(presence)));
                self.send(id, Packet::build(&Body::Ok(Success { member, ..Success::default() })));
                for packet in state {
                    self.send(id, packet);
                }
            }
            Err(fault) => self.refuse(id, &fault),
        }
    }

    fn enter_room(&mut self, now: Now, id: u64, join: &Join<'_>) -> Result<(Presence, Vec<Packet>), Fault> {
        check_rate(&self.hub.limits.rooms, now.at, &mut self.changes_full_at)?;
        let name = parse_name(join.room)?;
        let Some(identity) = self.identity() else { return Err(not_open()) };
        identity.grants.may_pair(&name)?;
        if self.presence(&name).is_some() || self.membership(&name).is_some() {
            let reason = format!("this session has joined {name} already");
            return Err(Fault::fatal(Code::Conflict, "join.conflict", reason));
        }
        let count = self.live.values().filter(|live| matches!(live, Live::Room(_))).count();
        if count >= self.hub.limits.rooms.per_session {
            let reason = format!("a session may be in {count} rooms");
            return Err(Fault::fatal(Code::TooManyRequests, "rooms.limit", reason));
        }
        let entrant = Entrant {
            mailbox: self.me.clone(),
            seat: id,
            client: &self.peer.client,
            user: identity.user.as_deref().unwrap_or_default(),
            info: join.info,
            secret: parse_secret(join.secret)?,
            capacity: join.capacity,
        };
        Presence::enter(&self.hub, &name, &entrant, now)
    }

    /// Leaves the room if that is what is meant; false when this is about a pair, or nothing.
    pub(super) fn leave_room(&mut self, leave: &Leave<'_>) -> bool {
        let seat = PairId::parse(leave.room).ok().and_then(|name| self.presence(&name));
        let Some(seat) = seat else { return false };
        if let Some(Live::Room(presence)) = self.live.remove(&seat) {
            presence.leave(&self.hub, leave.reason, self.clock);
            self.me.forget_room(seat);
        }
        true
    }

    pub(super) fn handle_room_command(&mut self, id: u64, command: &RoomCommand<'_>) {
        if !self.claim(id) {
            return;
        }
        // The answer goes first, then the news of what was done.
        self.me.hold();
        match self.command(command) {
            Ok(()) => self.agree(id),
            Err(fault) => self.refuse(id, &fault),
        }
    }

    fn command(&mut self, command: &RoomCommand<'_>) -> Result<(), Fault> {
        check_rate(&self.hub.limits.rooms, self.clock, &mut self.changes_full_at)?;
        let name = parse_name(command.room)?;
        let Some(identity) = self.identity() else { return Err(not_open()) };
        let admin = identity.owns_rooms();
        let members: Vec<u32> = command.members.iter().collect();
        let act = match command.act {
            RoomAct::Update => Act::Update(command.info),
            RoomAct::Kick => Act::Kick(&members, command.reason),
            RoomAct::Lock => Act::Lock(true),
            RoomAct::Unlock => Act::Lock(false),
            RoomAct::Promote => Act::Promote(&members),
            RoomAct::Demote => Act::Demote(&members),
            RoomAct::Close => Act::Close(command.reason),
            RoomAct::Unknown(number) => {
                let reason = format!("this hub does not know what act {number} is");
                return Err(Fault::fatal(Code::Unsupported, "room.act", reason));
            }
        };
        match self.presence(&name).and_then(|seat| self.live.get(&seat)) {
            Some(Live::Room(presence)) => presence.act(&self.hub, admin, act, self.clock),
            Some(Live::Pair(_) | Live::Call(_) | Live::Subscription(_)) | None if admin => {
                let room = self.hub.rooms.find(&name).ok_or_else(not_in)?;
                self.hub.rooms.act(&self.hub.limits.rooms, &room, By::Admin, act, self.clock)
            }
            Some(Live::Pair(_) | Live::Call(_) | Live::Subscription(_)) | None => Err(not_in()),
        }
    }

    /// `Data` of a room: a whole message, or a piece of one. Pieces are put together here, because a message that
    /// reached its receivers by half could not be followed by anything else.
    pub(super) fn handle_room_data(&mut self, now: Now, frame: &Frame<'_>) {
        let limit = self.hub.limits.message_bytes;
        let partial_bytes = self.partial_bytes();
        let Some(Live::Room(presence)) = self.live.get_mut(&frame.head.id) else { return };
        if presence.partial_bytes() + frame.payload.len() > limit {
            self.violate(format!("a message of a room may have {limit} bytes"));
            return;
        }
        if frame.head.flags.contains(Flags::MORE) {
            if partial_bytes + frame.payload.len() > limit {
                let reason =
                    format!("the unfinished messages of all pairs and rooms may have {limit} bytes together");
                self.violate(reason);
                return;
            }
            let partial = presence.partial.get_or_insert_with(|| Partial::begin(frame));
            partial.payload.extend_from_slice(frame.payload);
            return;
        }
        let partial = presence.partial.take();
        self.speak(now, frame, partial);
    }

    fn speak(&mut self, now: Now, frame: &Frame<'_>, partial: Option<Partial>) {
        let text = frame.head.flags.contains(Flags::TEXT);
        let (to, envelope, payload) = match partial {
            None => (receivers(frame), Cow::Borrowed(frame.envelope), Cow::Borrowed(frame.payload)),
            Some(mut partial) => {
                partial.payload.extend_from_slice(frame.payload);
                (partial.to, Cow::Owned(partial.envelope), Cow::Owned(partial.payload))
            }
        };
        if text && std::str::from_utf8(&payload).is_err() {
            // Plain members would be closed for what they are sent as text.
            self.violate("a message with the flag Text must be valid UTF-8");
            return;
        }
        let Some(Live::Room(presence)) = self.live.get(&frame.head.id) else { return };
        let user = self.identity().and_then(|identity| identity.user.as_deref()).unwrap_or_default();
        let said = Said { to, text, envelope: &envelope, payload: &payload };
        let issue = presence.issue(&self.hub, now, (&self.peer.client, user), said);
        let is_asked = frame.head.flags.contains(Flags::ACK);
        let Some(issue) = issue else {
            if is_asked {
                self.refuse(frame.head.id, &not_in());
            }
            return;
        };
        let count = u32::try_from(issue.receivers()).unwrap_or(u32::MAX);
        if count > 0 {
            self.push(Output::Room(issue));
        }
        if is_asked {
            self.send(frame.head.id, Packet::build(&Body::Ok(Success { count, ..Success::default() })));
        }
    }

    /// Somebody has sent this member away, or closed the room.
    pub(super) fn handle_expelled(&mut self, room: &Arc<Room>, seat: u64, number: u32, event: Packet) {
        // It may have left meanwhile, and its id may name something else by now.
        if matches!(self.live.get(&seat), Some(Live::Room(presence)) if presence.is(room, number)) {
            self.live.remove(&seat);
            self.me.forget_room(seat);
            self.hub.counters.room_expulsions.one();
            self.send(seat, event);
        }
    }

    /// The id of the room in which the session is under this name.
    pub(super) fn presence(&self, wanted: &PairId) -> Option<u64> {
        self.live.iter().find_map(|(id, live)| match live {
            Live::Room(presence) if presence.name() == wanted => Some(*id),
            Live::Room(_) | Live::Pair(_) | Live::Call(_) | Live::Subscription(_) => None,
        })
    }
}

impl Partial {
    fn begin(frame: &Frame<'_>) -> Self {
        Self { to: receivers(frame), envelope: frame.envelope.to_vec(), payload: Vec::new() }
    }
}

/// Whom a `Data` frame is for; empty = all.
#[allow(clippy::wildcard_enum_match_arm)] // Only `Data` comes here.
fn receivers(frame: &Frame<'_>) -> Vec<u32> {
    match &frame.body {
        Body::Data(data) => data.to.iter().collect(),
        _ => Vec::new(),
    }
}

fn parse_name(name: &str) -> Result<PairId, Fault> {
    PairId::parse(name).map_err(|error| Fault::fatal(error.code(), "join.room", error.to_string()))
}
