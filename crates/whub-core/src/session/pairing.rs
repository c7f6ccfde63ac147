//! The session as a member of pairs.

use std::borrow::Cow;

use whub_proto::names::PairId;
use whub_proto::{Body, Code, Flags, Frame, Join, Leave, RoomEvent, RoomMode, RoomWhat, Success};

use crate::fault::Fault;
use crate::hub::Hub;
use crate::mailbox::{Parcel, Sent};
use crate::packet::Packet;
use crate::pairs::{Half, HalfId, Manner};
use crate::session::client::{ClientSession, Live, not_open};
use crate::session::output::Handled;
use crate::session::seat::{Seat, Standing, part};

/// A seat in a pair, and the message that is being put together from `More` frames.
#[derive(Debug)]
pub(super) struct Membership {
    seat: Seat,
    partial: Vec<u8>,
    /// This side has sent its last message.
    ended: bool,
}

impl Membership {
    pub(super) fn pair(&self) -> &PairId {
        &self.seat.pair
    }

    pub(super) fn leave(self, hub: &Hub) {
        self.seat.leave(hub);
    }

    /// Tells a new partner that nothing will come from this side.
    fn pass_end(&self, partner: &Half) {
        if self.ended {
            let parcel = Parcel::Data { seat: partner.seat, text: false, end: true, payload: &[] };
            let (Sent::Room | Sent::Wait | Sent::Gone) = partner.mailbox.send(parcel);
        }
    }
}

impl ClientSession {
    pub(super) fn handle_join(&mut self, id: u64, join: &Join<'_>) {
        if !self.claim(id) {
            return;
        }
        match self.check_join(join) {
            Ok(pair) => self.join(id, pair),
            Err(fault) => self.refuse(id, &fault),
        }
    }

    fn check_join(&self, join: &Join<'_>) -> Result<PairId, Fault> {
        let pair = PairId::parse(join.room)
            .map_err(|error| Fault::fatal(error.code(), "join.room", error.to_string()))?;
        if join.mode != RoomMode::Pair {
            let reason = "this hub has pairs and rooms: join with mode pair or room";
            return Err(Fault::fatal(Code::Unsupported, "join.mode", reason));
        }
        if !join.secret.is_empty() || !join.info.is_empty() {
            let reason = "this hub has no secrets and no info for pairs yet: leave out secret and info";
            return Err(Fault::fatal(Code::Unsupported, "join.unsupported", reason));
        }
        let Some(identity) = self.identity() else { return Err(not_open()) };
        identity.grants.may_pair(&pair)?;
        if self.membership(&pair).is_some() || self.presence(&pair).is_some() {
            let reason = format!("this session has a seat in {pair} already");
            return Err(Fault::fatal(Code::Conflict, "join.conflict", reason));
        }
        let count = self.live.values().filter(|live| matches!(live, Live::Pair(_))).count();
        if count >= self.hub.limits.pairs {
            let reason = format!("a session may have seats in {count} pairs");
            return Err(Fault::fatal(Code::TooManyRequests, "pairs.limit", reason));
        }
        Ok(pair)
    }

    fn join(&mut self, id: u64, pair: PairId) {
        let serial = self.hub.pairs.next_serial();
        let me = Half { mailbox: self.me.clone(), seat: id, serial, manner: Manner::Member };
        let (seat, standing) = Seat::take(&self.hub, pair, me);
        self.send(id, Packet::build(&Body::Ok(Success { member: 1, ..Success::default() })));
        self.report(id, seat.pair.as_str(), standing);
        let membership = Membership { seat, partial: Vec::new(), ended: false };
        self.live.insert(id, Live::Pair(Box::new(membership)));
    }

    pub(super) fn handle_leave(&mut self, id: u64, leave: &Leave<'_>) {
        if !self.claim(id) {
            return;
        }
        if self.leave_room(leave) {
            self.agree(id);
            return;
        }
        let known = PairId::parse(leave.room).ok().and_then(|pair| self.membership(&pair));
        let Some(seat) = known else {
            let reason = format!("this session has no seat in {}", leave.room);
            self.refuse(id, &Fault::fatal(Code::NotFound, "join.not_found", reason));
            return;
        };
        if let Some(Live::Pair(membership)) = self.live.remove(&seat) {
            membership.leave(&self.hub);
        }
        self.agree(id);
    }

    /// `Data` of a pair: a whole message, or a piece of one. Pieces are put together here, because a message that
    /// reached its receiver by half could not be followed by anything else.
    pub(super) fn handle_member_data<'a>(&'a mut self, frame: &Frame<'a>) -> Handled<'a> {
        let limit = self.hub.limits.message_bytes;
        let Some(Live::Pair(membership)) = self.live.get_mut(&frame.head.id) else { return Handled::Done };
        if membership.ended {
            self.violate("Data after the last message of this seat");
            return Handled::Done;
        }
        if membership.partial.len() + frame.payload.len() > limit {
            self.violate(format!("a message of a pair may have {limit} bytes"));
            return Handled::Done;
        }
        if frame.head.flags.contains(Flags::MORE) {
            if self.partial_bytes() + frame.payload.len() > limit {
                self.violate(format!(
                    "the unfinished messages of all pairs and rooms may have {limit} bytes together"
                ));
                return Handled::Done;
            }
            let Some(Live::Pair(membership)) = self.live.get_mut(&frame.head.id) else {
                return Handled::Done;
            };
            membership.partial.extend_from_slice(frame.payload);
            return Handled::Done;
        }
        self.relay(frame)
    }

    fn relay<'a>(&'a mut self, frame: &Frame<'a>) -> Handled<'a> {
        let (text, end) = (frame.head.flags.contains(Flags::TEXT), frame.head.flags.contains(Flags::END));
        if self.partner(frame.head.id).is_none() {
            self.handle_alone(frame.head.id, end);
            return Handled::Done;
        }
        let Some(Live::Pair(membership)) = self.live.get_mut(&frame.head.id) else { return Handled::Done };
        membership.ended = end;
        let payload = match std::mem::take(&mut membership.partial) {
            partial if partial.is_empty() => Cow::Borrowed(frame.payload),
            mut partial => {
                partial.extend_from_slice(frame.payload);
                Cow::Owned(partial)
            }
        };
        if text && std::str::from_utf8(&payload).is_err() {
            // A plain partner would be closed for what it passes on as text.
            self.violate("a message with the flag Text must be valid UTF-8");
            return Handled::Done;
        }
        let Some(Live::Pair(membership)) = self.live.get(&frame.head.id) else { return Handled::Done };
        match membership.seat.partner() {
            Some(partner) => Handled::Relay { partner, text, end, payload },
            None => Handled::Done,
        }
    }

    /// A message reached nobody. The end of input is kept for whoever comes.
    fn handle_alone(&mut self, id: u64, end: bool) {
        let Some(Live::Pair(membership)) = self.live.get_mut(&id) else { return };
        membership.partial = Vec::new();
        membership.ended = end;
        if end {
            return;
        }
        self.hub.counters.pair_messages_lost.one();
        let reason = "the message was not received by anyone; wait for the event `ready`";
        self.refuse(0, &Fault::passing(Code::Unavailable, "pair.alone", 1, reason));
    }

    /// Bytes of messages whose last piece is yet to come.
    pub(super) fn partial_bytes(&self) -> usize {
        let bytes = |live: &Live| match live {
            Live::Pair(membership) => membership.partial.len(),
            Live::Room(presence) => presence.partial_bytes(),
            Live::Call(_) | Live::Subscription(_) => 0,
        };
        self.live.values().map(bytes).sum()
    }

    fn partner(&self, id: u64) -> Option<&Half> {
        match self.live.get(&id) {
            Some(Live::Pair(membership)) => membership.seat.partner(),
            Some(Live::Call(_) | Live::Subscription(_) | Live::Room(_)) | None => None,
        }
    }

    pub(super) fn handle_paired(&mut self, half: HalfId, partner: Half) {
        match self.live.get_mut(&half.seat) {
            Some(Live::Pair(membership)) if membership.seat.id() == half => {
                membership.pass_end(&partner);
                membership.seat.handle_paired(partner);
            }
            // The seat was left while the letter was on its way, and its id may name something else by now.
            Some(Live::Pair(_) | Live::Room(_) | Live::Call(_) | Live::Subscription(_)) | None => {
                part(&partner, half)
            }
        }
    }

    pub(super) fn handle_parted(&mut self, half: HalfId, partner: HalfId) {
        let Some(Live::Pair(membership)) = self.live.get_mut(&half.seat) else { return };
        let Some(standing) = membership.seat.handle_parted(&self.hub, partner) else { return };
        if let Some(partner) = membership.seat.partner() {
            membership.pass_end(partner);
        }
        let pair = membership.seat.pair.clone();
        self.tell(half.seat, pair.as_str(), RoomWhat::Left);
        self.report(half.seat, pair.as_str(), standing);
    }

    fn report(&mut self, id: u64, pair: &str, standing: Standing) {
        match standing {
            Standing::Waiting => self.tell(id, pair, RoomWhat::Waiting),
            Standing::Paired => self.tell(id, pair, RoomWhat::Ready),
        }
    }

    fn tell(&mut self, id: u64, room: &str, what: RoomWhat) {
        let event = RoomEvent { what, room, ..RoomEvent::default() };
        self.send(id, Packet::build(&Body::RoomEvent(event)));
    }

    pub(super) fn membership(&self, wanted: &PairId) -> Option<u64> {
        self.live.iter().find_map(|(id, live)| match live {
            Live::Pair(membership) if membership.seat.pair == *wanted => Some(*id),
            Live::Pair(_) | Live::Room(_) | Live::Call(_) | Live::Subscription(_) => None,
        })
    }
}
