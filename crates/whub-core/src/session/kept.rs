//! A seat in a pair that outlives its connection for a while.
//!
//! Others hold it by a mailbox of its own, which keeps what it passes on until the client is known to have it. So a
//! connection that is lost takes nothing with it: the partner's words wait here, and the next connection begins where
//! the last one ended. What the client says goes through here too, so that it is counted once, whichever connection
//! brought it.
//!
//! ```text
//!  partner --> inward: ring, letters --> line: mailbox of the connection, if there is one
//!  partner <-- outward: seat, count  <-- the session that has the latest generation
//! ```
//!
//! Two locks, because two kept seats speak to each other. `outward` is taken first; with it held, others' `inward` may be
//! taken, and nobody's `outward`. Pairs without such seats pass neither.
//!
//! What a client has, it says on the connection on which it also talks. While a partner of it has no room, that connection
//! is not read, so none of its rings can empty: then they take more, lest two that talk at once wait for each other.

mod hold;
mod inward;
mod outward;
mod post;
mod ring;
#[cfg(test)]
mod tests;

use std::fmt;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use whub_proto::names::PairId;
use whub_proto::{Body, Code, Credit, RoomEvent, RoomWhat};

use crate::fault::Fault;
use crate::hub::Hub;
use crate::letter::Letter;
use crate::mailbox::{Mailbox, Parcel, Sent, SessionId};
use crate::packet::Packet;
use crate::pairs::{Guest, Half, Manner, SeatToken, event, replaced};
use crate::session::seat::{Seat, Standing, part};
use hold::Passage;
use inward::Inward;
use outward::Outward;
use ring::{ENVELOPE, Item, Room};

pub(super) use hold::Hold;
pub(super) use inward::Line;

/// Who acknowledges does so before this many bytes are outstanding.
const ACKNOWLEDGE_BYTES: u64 = 64 * 1024;

/// The seat.
pub(crate) struct KeptSeat {
    session: SessionId,
    pair: PairId,
    token: SeatToken,
    grace: Duration,
    room: Room,
    // What others say. Held for a push, and for the write that it leads to.
    inward: Mutex<Inward>,
    // What the client says. Held while that is passed on, so that it keeps its order when connections change.
    outward: Mutex<Outward>,
}

/// How a seat was taken, or taken again.
#[derive(Debug)]
pub(super) struct Taken {
    pub(super) hold: Hold,
    pub(super) member: u32,
    pub(super) received: u64,
    pub(super) ended: bool,
    /// Until when somebody has to have come.
    pub(super) until: Option<Instant>,
    /// It is over already, and what is said of that is on its way.
    pub(super) over: bool,
}

/// What became of a seat while its letters were read.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Fate {
    /// It goes on.
    Stands,
    /// Another connection has it.
    TakenOver,
    /// It is over; the client has been told.
    Over,
}

impl KeptSeat {
    /// Takes a seat that will be kept. What there is to be said of it waits for the session to speak first.
    pub(super) fn take(
        hub: &Hub,
        now: Instant,
        pair: PairId,
        line: Line,
        guest: Guest,
        (token, grace, until): (SeatToken, Duration, Option<Instant>),
    ) -> Result<Taken, Fault> {
        let kept = Arc::new(Self {
            session: hub.next_session(),
            pair: pair.clone(),
            token,
            grace,
            room: Room::new(hub.limits.mailbox_bytes as u64, hub.limits.message_bytes as u64),
            inward: Mutex::new(Inward { line: Some(line), ..Inward::default() }),
            outward: Mutex::new(Outward::default()),
        });
        let mailbox = Mailbox::new(kept.clone());
        let me = Half { mailbox, seat: 0, serial: token.serial, manner: Manner::Follower };
        let mut outward = kept.outward();
        let (seat, standing) = Seat::take(hub, now, pair, me, guest)?;
        outward.seat = Some(seat);
        outward.member = standing.member();
        outward.partner_until = until.filter(|_| standing == Standing::Waiting);
        kept.report(&standing);
        hub.pairs.keeping.insert(Arc::clone(&kept));
        let hold = kept.hold_of(&outward);
        let (member, received) = (outward.member, 0);
        drop(outward);
        Ok(Taken { hold, member, received, ended: false, until, over: false })
    }

    /// Takes the seat again, from whichever connection has it. The client has `received` messages and events.
    pub(super) fn attach(self: &Arc<Self>, hub: &Hub, line: Line, received: u64) -> Result<Taken, Fault> {
        let mut outward = self.outward();
        if outward.seat.is_none() {
            return Err(no_seat());
        }
        line.mailbox.hold();
        let mut newcomers = Vec::new();
        let stale = {
            let mut inward = self.inward();
            let stale = inward.attach(line, received, &self.pair)?;
            if outward.until.is_some() {
                newcomers.extend(inward.newcomers());
            }
            stale
        };
        outward.generation += 1;
        // The answer says what was taken.
        outward.outstanding = 0;
        if let Some(stale) = stale {
            // It finds out that it has the seat no more. One that is gone has to find out nothing.
            let _ = stale.mailbox.post(Letter::Stirred { seat: stale.id, serial: self.token.serial });
        }
        if let Some(until) = outward.until.take() {
            hub.pairs.keeping.expect_no_more(until, self.token.serial);
            if let Some(partner) = outward.seat.as_ref().and_then(Seat::partner) {
                partner.hear_of_partner(&self.pair, RoomWhat::Back);
            }
            // They came just before the seat stepped aside.
            newcomers.iter().for_each(|newcomer| newcomer.hear_of_partner(&self.pair, RoomWhat::Back));
        }
        let fate = self.read_letters(hub, &mut outward);
        let aside = std::mem::take(&mut outward.aside);
        if fate == Fate::Stands && aside {
            self.wait_again(hub, &mut outward);
        }
        let taken = Taken {
            hold: self.hold_of(&outward),
            member: outward.member,
            received: outward.received,
            ended: outward.ended,
            until: outward.partner_until,
            over: outward.seat.is_none(),
        };
        drop(outward);
        Ok(taken)
    }

    /// Whether the seat is one in this pair, and the token its own.
    pub(super) fn is(&self, pair: &PairId, token: &SeatToken) -> bool {
        self.token.is(token) && self.pair == *pair
    }

    pub(crate) fn serial(&self) -> u64 {
        self.token.serial
    }

    pub(super) fn token(&self) -> String {
        self.token.text()
    }

    /// Nobody came back in time; or somebody did just now, and was lost again, and has time anew.
    pub(crate) fn handle_overdue(&self, hub: &Hub, now: Instant) {
        let mut outward = self.outward();
        if outward.until.is_some_and(|until| until <= now) {
            self.finish(hub, &mut outward);
        }
    }

    /// Another has taken its place. While there is a connection its session is told by a letter.
    pub(super) fn handle_replaced(&self, hub: &Hub) {
        let mut outward = self.outward();
        if outward.until.is_some() {
            self.finish(hub, &mut outward);
        }
    }

    fn detach(self: &Arc<Self>, hub: &Hub, generation: u64, now: Instant) {
        let mut outward = self.outward();
        if outward.generation != generation || outward.seat.is_none() {
            return;
        }
        loop {
            let letter = self.inward().next_letter_or_away();
            let Some(letter) = letter else { break };
            if self.handle_letter(hub, &mut outward, letter) == Fate::Over {
                return;
            }
        }
        self.wait_for_client(hub, &mut outward, now);
    }

    fn wait_for_client(self: &Arc<Self>, hub: &Hub, outward: &mut Outward, now: Instant) {
        let Some(seat) = &outward.seat else { return };
        // Who comes meanwhile is not told of somebody that is not there.
        outward.aside = seat.partner().is_none() && seat.step_aside(hub);
        let until = now + self.grace;
        if !hub.pairs.keeping.expect(until, Arc::clone(self), hub.limits.pair_seats) {
            self.finish(hub, outward);
            return;
        }
        outward.until = Some(until);
        if let Some(partner) = outward.seat.as_ref().and_then(Seat::partner) {
            partner.hear_of_partner(&self.pair, RoomWhat::Away);
        }
    }

    fn wait_again(&self, hub: &Hub, outward: &mut Outward) {
        let Some(seat) = &mut outward.seat else { return };
        match seat.arrive(hub, None) {
            Ok(standing) => {
                outward.member = standing.member();
                outward.partner_until = outward.partner_until.filter(|_| standing == Standing::Waiting);
                self.report(&standing);
                self.pass_end(outward);
            }
            Err(fault) => self.close(hub, outward, &fault),
        }
    }

    fn read_letters(&self, hub: &Hub, outward: &mut Outward) -> Fate {
        loop {
            let letter = self.inward().letters.pop_front();
            let Some(letter) = letter else { return Fate::Stands };
            if self.handle_letter(hub, outward, letter) == Fate::Over {
                return Fate::Over;
            }
        }
    }

    fn handle_letter(&self, hub: &Hub, outward: &mut Outward, letter: Letter) -> Fate {
        let Some(seat) = &mut outward.seat else { return Fate::Over };
        match letter {
            Letter::Paired { partner, .. } => {
                seat.handle_paired(partner);
                (outward.member, outward.partner_until) = (1, None);
                self.pass_end(outward);
            }
            Letter::Parted { partner, .. } => {
                let Some(outcome) = seat.handle_parted(hub, partner) else { return Fate::Stands };
                self.speak(&event(&self.pair, RoomWhat::Left));
                match outcome {
                    Ok(standing) => {
                        outward.member = standing.member();
                        self.report(&standing);
                        self.pass_end(outward);
                    }
                    Err(fault) => {
                        self.close(hub, outward, &fault);
                        return Fate::Over;
                    }
                }
            }
            Letter::Replaced { .. } => {
                self.close(hub, outward, &replaced());
                return Fate::Over;
            }
            Letter::Call(_)
            | Letter::Expelled { .. }
            | Letter::Upload { .. }
            | Letter::Abandon { .. }
            | Letter::Refill { .. }
            | Letter::Answer { .. }
            | Letter::Credit { .. }
            | Letter::Failed { .. }
            | Letter::Placed { .. }
            | Letter::Stirred { .. }
            | Letter::Drain { .. }
            | Letter::Recheck
            | Letter::Kick(_) => {}
        }
        Fate::Stands
    }

    /// Tells a new partner that nothing will come from this side.
    fn pass_end(&self, outward: &Outward) {
        if let Some(partner) = outward.seat.as_ref().and_then(Seat::partner)
            && outward.ended
        {
            let parcel = Parcel::Data { seat: partner.seat, text: false, end: true, payload: &[] };
            let (Sent::Room | Sent::Wait | Sent::Gone) = partner.mailbox.send(parcel);
        }
    }

    /// The seat's own words of an arrival, before those of others.
    fn report(&self, standing: &Standing) {
        match standing {
            Standing::Waiting => self.speak(&event(&self.pair, RoomWhat::Waiting)),
            Standing::Paired(company) => self.speak(&company.ready(&self.pair)),
        }
        self.inward().release(self.room);
    }

    fn speak(&self, packet: &Packet) {
        self.inward().push(Item::Event(packet.clone()), self.room);
    }

    /// Ends the seat for a reason of the hub's, which the client is told if it is there.
    fn close(&self, hub: &Hub, outward: &mut Outward, fault: &Fault) {
        self.speak(&closed(&self.pair, fault));
        let line = self.inward().line.clone();
        if let Some(line) = line {
            let parcel = Parcel::Packet { id: line.id, packet: &fault.packet() };
            let (Sent::Room | Sent::Wait | Sent::Gone) = line.mailbox.send(parcel);
        }
        self.finish(hub, outward);
    }

    /// Gives the place up, and tells the partner.
    fn finish(&self, hub: &Hub, outward: &mut Outward) {
        let Some(mut seat) = outward.seat.take() else { return };
        let me = seat.id();
        let letters = self.inward().finish();
        hub.pairs.keeping.remove(self.token.serial);
        if let Some(until) = outward.until.take() {
            hub.pairs.keeping.expect_no_more(until, self.token.serial);
        }
        for letter in letters {
            if let Letter::Parted { partner, .. } = letter {
                seat.lose(partner);
            } else if let Letter::Paired { partner, .. } = letter {
                if seat.partner().is_some() { part(&partner, me) } else { seat.handle_paired(partner) }
            }
        }
        seat.leave(hub);
    }

    /// Passes a message of the client on, if its connection is the latest. One that comes too late is dropped: the client
    /// sends it again on the next.
    fn pass(&self, generation: u64, text: bool, end: bool, payload: &[u8]) -> Sent {
        let mut outward = self.outward();
        if outward.generation != generation {
            return Sent::Gone;
        }
        let Some(partner) = outward.seat.as_ref().and_then(Seat::partner) else { return Sent::Gone };
        let sent = partner.mailbox.send(Parcel::Data { seat: partner.seat, text, end, payload });
        outward.ended |= end;
        self.count(&mut outward, payload.len(), end);
        sent
    }

    /// Counts a message of the client, and tells it now and then; at once at the end, which it may be waiting for.
    fn count(&self, outward: &mut Outward, bytes: usize, end: bool) {
        outward.received += 1;
        outward.outstanding += ENVELOPE + bytes as u64;
        if !outward.acknowledges || (outward.outstanding < ACKNOWLEDGE_BYTES && !end) {
            return;
        }
        let bytes = u32::try_from(std::mem::take(&mut outward.outstanding)).unwrap_or(u32::MAX);
        let Some(line) = self.inward().line.clone() else { return };
        let packet = Packet::build(&Body::Credit(Credit { bytes }));
        let (Sent::Room | Sent::Wait | Sent::Gone) =
            line.mailbox.send(Parcel::Packet { id: line.id, packet: &packet });
    }

    fn hold_of(self: &Arc<Self>, outward: &Outward) -> Hold {
        Hold { kept: Arc::clone(self), generation: outward.generation, partner: self.partner(outward) }
    }

    /// The partner as the session may have it: whatever goes there goes through [`Self::pass`].
    fn partner(self: &Arc<Self>, outward: &Outward) -> Option<Half> {
        let Half { seat, serial, manner, .. } = *outward.seat.as_ref()?.partner()?;
        let passage = Passage { kept: Arc::clone(self), generation: outward.generation };
        Some(Half { mailbox: Mailbox::new(Arc::new(passage)), seat, serial, manner })
    }

    fn inward(&self) -> MutexGuard<'_, Inward> {
        self.inward.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn outward(&self) -> MutexGuard<'_, Outward> {
        self.outward.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl fmt::Debug for KeptSeat {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "KeptSeat({:?})", self.token)
    }
}

/// The event that tells a half of its seat's end.
pub(super) fn closed(pair: &PairId, fault: &Fault) -> Packet {
    let reason = &fault.reason;
    let event = RoomEvent { what: RoomWhat::Closed, room: pair.as_str(), reason, ..RoomEvent::default() };
    Packet::build(&Body::RoomEvent(event))
}

/// One wording for every reason, so that nobody learns which seats there are.
pub(super) fn no_seat() -> Fault {
    let reason = "there is no such seat (any more): join anew";
    Fault::fatal(Code::Gone, "pair.seat_gone", reason)
}

fn ahead() -> Fault {
    Fault::fatal(Code::BadRequest, "join.received", "the hub has not sent that many messages on this seat")
}
