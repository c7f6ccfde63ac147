//! The session as a member of pairs.

use std::borrow::Cow;
use std::task::Waker;
use std::time::{Duration, Instant};

use whub_proto::names::PairId;
use whub_proto::{Body, Code, Flags, Frame, Join, Leave, RoomMode, RoomWhat, Success};

use crate::fault::Fault;
use crate::hub::Hub;
use crate::mailbox::{Parcel, Sent};
use crate::packet::Packet;
use crate::pairs::{Guest, Half, HalfId, Manner, SeatToken, event, replaced};
use crate::session::client::{ClientSession, Live, not_open};
use crate::session::kept::{Fate, Hold, KeptSeat, Line, Taken, closed, no_seat};
use crate::session::output::Handled;
use crate::session::seat::{Seat, Standing, part};

/// A seat in a pair, and the message that is being put together from `More` frames.
#[derive(Debug)]
pub(super) struct Membership {
    pair: PairId,
    place: Place,
    partial: Vec<u8>,
    /// This side has sent its last message.
    ended: bool,
    /// Until when somebody has to have come.
    until: Option<Instant>,
}

/// Whose the seat is.
#[derive(Debug)]
enum Place {
    /// The session's, and gone with it.
    Own(Seat),
    /// One that outlives the connection.
    Kept(Hold),
}

impl Membership {
    fn new(pair: PairId, place: Place, until: Option<Instant>) -> Self {
        Self { pair, place, partial: Vec::new(), ended: false, until }
    }

    pub(super) fn pair(&self) -> &PairId {
        &self.pair
    }

    pub(super) fn leave(self, hub: &Hub) {
        match self.place {
            Place::Own(seat) => seat.leave(hub),
            Place::Kept(hold) => hold.leave(hub),
        }
    }

    /// The connection is lost: a seat that is kept waits for another.
    pub(super) fn lose(self, hub: &Hub, now: Instant) {
        match self.place {
            Place::Own(seat) => seat.leave(hub),
            Place::Kept(hold) => hold.detach(hub, now),
        }
    }

    /// The client has so many bytes of what it was sent.
    pub(super) fn handle_credit(&self, bytes: u32) {
        match &self.place {
            // What is written to the connection is not waited for.
            Place::Own(_) => {}
            Place::Kept(hold) => hold.handle_credit(bytes),
        }
    }

    /// The session's client is read no more, or again.
    fn be_unheard(&self, is_unheard: bool) {
        match &self.place {
            Place::Own(_) => {}
            Place::Kept(hold) => hold.be_unheard(is_unheard),
        }
    }

    fn partner(&self) -> Option<&Half> {
        match &self.place {
            Place::Own(seat) => seat.partner(),
            Place::Kept(hold) => hold.partner(),
        }
    }

    /// The seat with that name, if it is the session's own.
    fn own_seat(&mut self, half: HalfId) -> Option<&mut Seat> {
        match &mut self.place {
            Place::Own(seat) => Some(seat).filter(|seat| seat.id() == half),
            Place::Kept(_) => None,
        }
    }
}

/// Tells a new partner that nothing will come from this side.
fn pass_end(partner: &Half) {
    let parcel = Parcel::Data { seat: partner.seat, text: false, end: true, payload: &[] };
    let (Sent::Room | Sent::Wait | Sent::Gone) = partner.mailbox.send(parcel);
}

impl ClientSession {
    pub(super) fn handle_join(&mut self, id: u64, join: &Join<'_>) {
        if !self.claim(id) {
            return;
        }
        let outcome = self.check_join(join).and_then(|pair| {
            if join.seat.is_empty() { self.join(id, pair, join) } else { self.join_again(id, pair, join) }
        });
        if let Err(fault) = outcome {
            self.refuse(id, &fault);
        }
    }

    fn check_join(&self, join: &Join<'_>) -> Result<PairId, Fault> {
        let pair = PairId::parse(join.room)
            .map_err(|error| Fault::fatal(error.code(), "join.room", error.to_string()))?;
        if join.mode != RoomMode::Pair {
            let reason = "this hub has pairs and rooms: join with mode pair or room";
            return Err(Fault::fatal(Code::Unsupported, "join.mode", reason));
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

    fn join(&mut self, id: u64, pair: PairId, join: &Join<'_>) -> Result<(), Fault> {
        let user = self.identity().and_then(|identity| identity.user.clone());
        let mut guest = Guest::of_join(join, &self.peer.client, user)?;
        let wait = Duration::from_millis(join.ttl_ms.into());
        let until = (!wait.is_zero()).then(|| self.clock + wait);
        let grace = Duration::from_millis(join.grace_ms.into()).min(self.hub.limits.pair_grace);
        let serial = self.hub.pairs.next_serial();
        let secret = self.hub.draw_token.filter(|_| !grace.is_zero()).and_then(|draw| draw());
        let Some(secret) = secret else {
            guest.kept = false;
            return self.take_own(id, pair, serial, guest, until);
        };
        let line = Line { mailbox: self.me.clone(), id };
        let terms = (SeatToken::new(serial, secret), grace, until);
        let taken = KeptSeat::take(&self.hub, self.clock, pair.clone(), line, guest, terms)?;
        self.welcome_to_seat(id, pair, taken);
        Ok(())
    }

    fn take_own(
        &mut self,
        id: u64,
        pair: PairId,
        serial: u64,
        guest: Guest,
        until: Option<Instant>,
    ) -> Result<(), Fault> {
        let manner = if self.follows { Manner::Follower } else { Manner::Member };
        let me = Half { mailbox: self.me.clone(), seat: id, serial, manner };
        let (seat, standing) = Seat::take(&self.hub, self.clock, pair.clone(), me, guest)?;
        self.send(id, Packet::build(&Body::Ok(Success { member: standing.member(), ..Success::default() })));
        self.report(id, &pair, &standing);
        self.sit_down(id, Membership::new(pair, Place::Own(seat), until));
        Ok(())
    }

    /// The client comes back to a seat, whether or not the hub has noticed yet that it was away.
    fn join_again(&mut self, id: u64, pair: PairId, join: &Join<'_>) -> Result<(), Fault> {
        let token = SeatToken::parse(join.seat).ok_or_else(no_seat)?;
        let kept = self.hub.pairs.keeping.find(token.serial).filter(|kept| kept.is(&pair, &token));
        let line = Line { mailbox: self.me.clone(), id };
        let taken = kept.ok_or_else(no_seat)?.attach(&self.hub, line, join.received)?;
        self.welcome_to_seat(id, pair, taken);
        Ok(())
    }

    fn welcome_to_seat(&mut self, id: u64, pair: PairId, taken: Taken) {
        let Taken { hold, member, received, ended, until, over } = taken;
        let seat = hold.kept.token();
        let success = Success { member, received, seat: &seat, ..Success::default() };
        self.send(id, Packet::build(&Body::Ok(success)));
        if over {
            return;
        }
        let membership = Membership { ended, ..Membership::new(pair, Place::Kept(hold), until) };
        self.sit_down(id, membership);
    }

    fn sit_down(&mut self, id: u64, mut membership: Membership) {
        membership.until = membership.until.filter(|_| membership.partner().is_none());
        let has_end = membership.until.is_some();
        self.live.insert(id, Live::Pair(Box::new(membership)));
        if has_end {
            self.reckon_seats();
        }
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
        let is_asked = frame.head.flags.contains(Flags::ACK);
        if self.partner(frame.head.id).is_none() {
            self.handle_alone(frame.head.id, end, is_asked, frame.payload.len());
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
        if is_asked {
            self.confirm(frame.head.id, 1);
        }
        let Some(Live::Pair(membership)) = self.live.get(&frame.head.id) else { return Handled::Done };
        match membership.partner() {
            Some(partner) => Handled::Relay { partner, text, end, payload },
            None => Handled::Done,
        }
    }

    /// The message was for so many.
    fn confirm(&mut self, id: u64, count: u32) {
        self.send(id, Packet::build(&Body::Ok(Success { count, ..Success::default() })));
    }

    /// A message reached nobody. The end of input is kept for whoever comes.
    fn handle_alone(&mut self, id: u64, end: bool, is_asked: bool, bytes: usize) {
        let Some(Live::Pair(membership)) = self.live.get_mut(&id) else { return };
        let bytes = std::mem::take(&mut membership.partial).len() + bytes;
        membership.ended = end;
        if let Place::Kept(hold) = &membership.place {
            hold.handle_alone(end, bytes);
        }
        let is_message = !end || bytes > 0;
        if is_message {
            self.hub.counters.pair_messages_lost.one();
        }
        if is_asked {
            return self.confirm(id, 0);
        }
        if !is_message {
            return;
        }
        let reason = "the message was not received by anyone; wait for the event `ready`";
        self.refuse(0, &Fault::passing(Code::Unavailable, "pair.alone", 1, reason));
    }

    /// A partner took what was relayed, and has to have room before more is.
    pub fn handle_full(&mut self, partner: Half) {
        self.awaited.push(partner);
    }

    /// Whether everybody has room; otherwise `waker` is woken once they may have, and nothing is to be read until then.
    /// Who has left is not waited for.
    pub fn poll_room(&mut self, waker: &Waker) -> bool {
        if self.awaited.is_empty() {
            return true;
        }
        let mut awaited = std::mem::take(&mut self.awaited);
        awaited.retain(|half| self.is_partner(half) && !half.mailbox.poll_room(waker));
        self.awaited = awaited;
        self.be_unheard(!self.awaited.is_empty());
        self.awaited.is_empty()
    }

    /// Somebody has yet to have room.
    #[must_use]
    pub fn is_waiting(&self) -> bool {
        !self.awaited.is_empty()
    }

    /// Somebody in a pair may be waiting for it to read on.
    #[must_use]
    pub fn is_paired(&self) -> bool {
        self.live.values().any(|live| match live {
            Live::Pair(membership) => membership.partner().is_some(),
            Live::Call(_) | Live::Subscription(_) | Live::Room(_) => false,
        })
    }

    /// The client's word of what it has stands behind what is not read: in every pair, whichever of them is waited for.
    fn be_unheard(&mut self, is_unheard: bool) {
        if std::mem::replace(&mut self.is_unheard, is_unheard) == is_unheard {
            return;
        }
        for live in self.live.values() {
            match live {
                Live::Pair(membership) => membership.be_unheard(is_unheard),
                Live::Call(_) | Live::Subscription(_) | Live::Room(_) => {}
            }
        }
    }

    fn is_partner(&self, half: &Half) -> bool {
        self.live.values().any(|live| match live {
            Live::Pair(membership) => membership.partner().is_some_and(|partner| partner.id() == half.id()),
            Live::Call(_) | Live::Subscription(_) | Live::Room(_) => false,
        })
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
            Some(Live::Pair(membership)) => membership.partner(),
            Some(Live::Call(_) | Live::Subscription(_) | Live::Room(_)) | None => None,
        }
    }

    pub(super) fn handle_paired(&mut self, half: HalfId, partner: Half) {
        let Some(Live::Pair(membership)) = self.live.get_mut(&half.seat) else { return part(&partner, half) };
        let ended = membership.ended;
        // The seat may have been left while the letter was on its way, and its id name something else by now.
        let Some(seat) = membership.own_seat(half) else { return part(&partner, half) };
        if ended {
            pass_end(&partner);
        }
        seat.handle_paired(partner);
        if membership.until.take().is_some() {
            self.reckon_seats();
        }
    }

    pub(super) fn handle_parted(&mut self, half: HalfId, partner: HalfId) {
        let Some(Live::Pair(membership)) = self.live.get_mut(&half.seat) else { return };
        let Some(seat) = membership.own_seat(half) else { return };
        let Some(outcome) = seat.handle_parted(&self.hub, partner) else { return };
        if let (true, Some(partner)) = (membership.ended, membership.partner()) {
            pass_end(partner);
        }
        let pair = membership.pair.clone();
        self.send(half.seat, event(&pair, RoomWhat::Left));
        match outcome {
            Ok(standing) => self.report(half.seat, &pair, &standing),
            Err(fault) => self.end_seat(half.seat, &fault),
        }
    }

    /// Another has taken the place of one of the session's halves.
    pub(super) fn handle_replaced(&mut self, half: HalfId) {
        let Some(Live::Pair(membership)) = self.live.get_mut(&half.seat) else { return };
        if membership.own_seat(half).is_some() {
            self.end_seat(half.seat, &replaced());
        }
    }

    /// A kept seat has letters, or is another connection's now.
    pub(super) fn handle_stirred(&mut self, id: u64, serial: u64) {
        let Some(Live::Pair(membership)) = self.live.get_mut(&id) else { return };
        let Place::Kept(hold) = &mut membership.place else { return };
        if hold.kept.serial() != serial {
            return;
        }
        match hold.handle_letters(&self.hub) {
            Fate::Stands => {
                membership.until = membership.until.filter(|_| membership.partner().is_none());
                self.reckon_seats();
            }
            Fate::Over => drop(self.live.remove(&id)),
            Fate::TakenOver => {
                let pair = membership.pair.clone();
                self.live.remove(&id);
                self.tell_end(id, &pair, &replaced());
            }
        }
    }

    /// Seats that nobody has come to in time are over.
    pub(super) fn expire_seats(&mut self, now: Instant) {
        if self.seats_until.is_none_or(|until| now < until) {
            return;
        }
        let is_over = |(id, live): (&u64, &Live)| match live {
            Live::Pair(membership) => membership.until.filter(|until| *until <= now).map(|_| *id),
            Live::Call(_) | Live::Subscription(_) | Live::Room(_) => None,
        };
        let over: Vec<u64> = self.live.iter().filter_map(is_over).collect();
        for id in over {
            let reason = "nobody came to this pair within its time";
            self.end_seat(id, &Fault::fatal(Code::Gone, "pair.expired", reason));
        }
        self.reckon_seats();
    }

    fn reckon_seats(&mut self) {
        let until = |live: &Live| match live {
            Live::Pair(membership) => membership.until,
            Live::Call(_) | Live::Subscription(_) | Live::Room(_) => None,
        };
        self.seats_until = self.live.values().filter_map(until).min();
    }

    /// Ends a seat for a reason of the hub's.
    fn end_seat(&mut self, id: u64, fault: &Fault) {
        let Some(Live::Pair(membership)) = self.live.remove(&id) else { return };
        let pair = membership.pair.clone();
        membership.leave(&self.hub);
        self.tell_end(id, &pair, fault);
    }

    fn tell_end(&mut self, id: u64, pair: &PairId, fault: &Fault) {
        self.send(id, closed(pair, fault));
        self.refuse(id, fault);
    }

    fn report(&mut self, id: u64, pair: &PairId, standing: &Standing) {
        let packet = match standing {
            Standing::Waiting => event(pair, RoomWhat::Waiting),
            Standing::Paired(company) => company.ready(pair),
        };
        self.send(id, packet);
    }

    pub(super) fn membership(&self, wanted: &PairId) -> Option<u64> {
        self.live.iter().find_map(|(id, live)| match live {
            Live::Pair(membership) if membership.pair == *wanted => Some(*id),
            Live::Pair(_) | Live::Room(_) | Live::Call(_) | Live::Subscription(_) => None,
        })
    }
}
