//! The session as a member of pairs.

use std::sync::atomic::Ordering::Relaxed;
use std::sync::{Arc, PoisonError};
use std::time::Duration;

use bytes::Bytes;
use whub_proto::{Body, Credit, Data, Flags, Join, Leave, RoomEvent, RoomMode, RoomWhat, Success, Third};

use super::{Flushed, Live, Session};
use crate::command::{Done, Seat, Utterance};
use crate::error::Error;
use crate::keep::{Keep, Said};
use crate::key::Key;
use crate::pair::{MESSAGE_BYTES_MAX, PairEvent, PairMessage, PairPartner, QUEUE_BYTES_MAX, ThirdArrival};
use crate::wanted::Wanted;

impl Session {
    /// Takes every seat that no connection has.
    pub(crate) fn take_seats(&mut self, wanted: &mut Wanted) {
        let free: Vec<Key> =
            wanted.seats.values().filter(|seat| seat.taken_on.is_none()).map(|seat| seat.key).collect();
        for key in free {
            self.join(key, wanted);
        }
    }

    pub(crate) fn join(&mut self, key: Key, wanted: &mut Wanted) {
        let Some(seat) = wanted.seats.get_mut(&key) else { return };
        let id = self.next_id();
        let terms = &seat.terms;
        let (token, received) = seat.keep.as_mut().and_then(Keep::resume).unwrap_or_default();
        let join = Join {
            room: seat.pair.as_str(),
            mode: RoomMode::Pair,
            secret: &terms.secret,
            info: &terms.info,
            third: third(terms.third),
            once: terms.once,
            grace_ms: milliseconds(terms.grace),
            ttl_ms: milliseconds(terms.ttl),
            seat: token,
            received,
            ..Join::default()
        };
        let is_new = token.is_empty();
        let fits = self.outbox.push_with(id, Flags::NONE, &Body::Join(join), &[], self.frame_bytes_max);
        if fits.is_err() {
            return end_seat(wanted, key, &Error::too_large("the info or the secret of a pair is too long"));
        }
        seat.taken_on = Some(self.serial);
        if seat.keep.is_some() {
            // From here on, what is not acknowledged is kept.
            self.outbox.push(id, Flags::NONE, &Body::Credit(Credit { bytes: 0 }));
        }
        if seat.ended && is_new {
            self.outbox.push_data(id, Flags::END, &[]);
            if let Some(keep) = &mut seat.keep {
                keep.note_end();
            }
        }
        self.ids.insert(key, id);
        self.live.insert(id, Live::Seat(key));
    }

    pub(crate) fn leave(&mut self, seat: &Seat, done: Option<Done>) {
        let Some(id) = self.ids.remove(&seat.key) else { return };
        self.live.remove(&id);
        let id = self.next_id();
        let leave = Leave { room: seat.pair.as_str(), ..Leave::default() };
        self.outbox.push(id, Flags::NONE, &Body::Leave(leave));
        if let Some(done) = done {
            self.live.insert(id, Live::Farewell(done));
        }
    }

    /// The client ends.
    pub(crate) fn leave_seats(&mut self, wanted: &Wanted) {
        let mine = Some(self.serial);
        for seat in wanted.seats.values().filter(|seat| seat.taken_on == mine && seat.keep.is_some()) {
            self.leave(seat, None);
        }
    }

    /// This connection is being left: its seats are free for another.
    pub(crate) fn release_seats(&mut self, wanted: &mut Wanted) {
        let mine = Some(self.serial);
        for seat in wanted.seats.values_mut().filter(|seat| seat.taken_on == mine) {
            self.leave(seat, None);
            forget_seat(seat);
        }
    }

    /// Sends a message, or the end.
    pub(crate) fn say(
        &mut self,
        key: Key,
        message: Option<Utterance>,
        ended: bool,
        done: Done,
        wanted: &mut Wanted,
    ) {
        let (Some(&id), Some(seat)) = (self.ids.get(&key), wanted.seats.get_mut(&key)) else {
            return drop(done.send(Err(Error::lost("the seat is not taken at present"))));
        };
        let Some(done) = end_once(seat, message.is_some(), ended, done) else { return };
        let said = Said { message, ended };
        match &mut seat.keep {
            Some(keep) => {
                if keep.say(said.clone(), done) {
                    self.push_said(id, &said);
                }
            }
            None => {
                self.push_said(id, &said);
                self.written.push(Flushed::Say(done));
            }
        }
    }

    fn push_said(&mut self, id: u64, said: &Said) {
        let end = Flags::NONE.with_if(said.ended, Flags::END);
        match &said.message {
            Some(Utterance { payload, text }) => {
                let last = end.with_if(*text, Flags::TEXT);
                let more = Flags::MORE.with_if(*text, Flags::TEXT);
                self.outbox.push_split(id, last, more, payload, self.frame_bytes_max);
            }
            None => self.outbox.push_data(id, end, &[]),
        }
    }

    /// The hub gave us the seat.
    pub(super) fn handle_seated(&mut self, id: u64, key: Key, success: &Success<'_>, wanted: &mut Wanted) {
        let Some(seat) = wanted.seats.get_mut(&key) else { return };
        if let Some(keep) = &mut seat.keep {
            match keep.handle_seated(success.seat, success.received) {
                Some(again) => again.iter().for_each(|said| self.push_said(id, said)),
                None => seat.keep.take().into_iter().for_each(Keep::give_up),
            }
        }
        if !seat.wait
            && let Some(done) = seat.done.take()
        {
            drop(done.send(Ok(())));
        }
    }

    /// The hub has so much of what was said on a kept seat.
    pub(super) fn handle_seat_credit(&mut self, key: Key, bytes: u32, wanted: &mut Wanted) {
        if let Some(keep) = wanted.seats.get_mut(&key).and_then(|seat| seat.keep.as_mut()) {
            keep.handle_credit(bytes);
        }
    }

    /// `Data` with an id of ours: more of an answer, or a message of a pair.
    pub(super) fn handle_data(
        &mut self,
        id: u64,
        flags: Flags,
        data: &Data<'_>,
        payload: Bytes,
        wanted: &mut Wanted,
    ) -> Result<(), Error> {
        let Some(Live::Seat(key)) = self.live.get(&id) else {
            return self.handle_answer(id, flags, data, payload);
        };
        let Some(seat) = wanted.seats.get_mut(key) else { return Ok(()) };
        let Some(message) = assemble(seat, flags, payload)? else { return Ok(()) };
        if let Some(bytes) = seat.keep.as_mut().and_then(|keep| keep.receive(message.len())) {
            self.outbox.push(id, Flags::NONE, &Body::Credit(Credit { bytes }));
        }
        let end = flags.contains(Flags::END);
        // An end with an empty payload is only the end.
        if !(end && message.is_empty()) {
            let bytes = message.len();
            let message = PairMessage::new(message, flags.contains(Flags::TEXT));
            seat.events.push(PairEvent::Message(message), bytes);
        }
        if end {
            seat.events.push(PairEvent::Finished, 0);
        }
        if seat.events.load().1 >= QUEUE_BYTES_MAX {
            self.choked.push(Arc::clone(&seat.events));
        }
        Ok(())
    }

    /// Whether a pair's messages are not taken, so that no more may be read.
    pub(crate) fn is_choked(&mut self) -> bool {
        self.choked.retain(|events| events.load().1 >= QUEUE_BYTES_MAX && Arc::strong_count(events) > 1);
        !self.choked.is_empty()
    }

    pub(super) fn handle_room_event(&mut self, id: u64, event: &RoomEvent<'_>, wanted: &mut Wanted) {
        let Some(Live::Seat(key)) = self.live.get(&id) else { return };
        let Some(seat) = wanted.seats.get_mut(key) else { return };
        if let (Some(keep), true) = (&mut seat.keep, event.what != RoomWhat::Missed)
            && let Some(bytes) = keep.receive(0)
        {
            self.outbox.push(id, Flags::NONE, &Body::Credit(Credit { bytes }));
        }
        match event.what {
            RoomWhat::Ready => {
                let partner = partner(event);
                *seat.partner.lock().unwrap_or_else(PoisonError::into_inner) = Some(partner.clone());
                seat.together.store(true, Relaxed);
                // Who waits for the partner learns of it by the pair itself.
                match seat.done.take() {
                    Some(done) => drop(done.send(Ok(()))),
                    None => {
                        seat.events.push(PairEvent::Ready { initiator: event.initiator, partner }, 0);
                    }
                }
            }
            RoomWhat::Waiting => {
                seat.together.store(false, Relaxed);
                if seat.done.is_none() {
                    seat.events.push(PairEvent::Waiting, 0);
                }
            }
            RoomWhat::Left => {
                seat.together.store(false, Relaxed);
                seat.partial = Vec::new();
                seat.events.push(PairEvent::Left { reason: event.reason.to_owned() }, 0);
            }
            RoomWhat::Closed => {
                let reason = if event.reason.is_empty() { "the hub ended the pair" } else { event.reason };
                let error = Error::from_code(whub_proto::Code::Gone, reason.to_owned());
                let key = seat.key;
                self.live.remove(&id);
                self.ids.remove(&key);
                end_seat(wanted, key, &error);
            }
            RoomWhat::Away => seat.events.push(PairEvent::Away, 0),
            RoomWhat::Back => seat.events.push(PairEvent::Back, 0),
            RoomWhat::Missed => {
                if let Some(keep) = &mut seat.keep {
                    keep.miss(event.count);
                }
                seat.events.push(PairEvent::Missed { count: event.count }, 0);
            }
            RoomWhat::State | RoomWhat::Joined | RoomWhat::Updated | RoomWhat::Unknown(_) => {}
        }
    }

    /// The hub refused the seat, or ended it. One that it has not kept is taken anew.
    pub(super) fn handle_unseated(&mut self, key: Key, error: &Error, wanted: &mut Wanted) {
        self.ids.remove(&key);
        match wanted.seats.get_mut(&key) {
            Some(seat) if error.slug() == SEAT_GONE && seat.keep.as_ref().is_some_and(Keep::is_resuming) => {
                forget_seat(seat);
                self.join(key, wanted);
            }
            Some(_) | None => end_seat(wanted, key, error),
        }
    }
}

/// What the hub calls a seat that it does not keep any more.
const SEAT_GONE: &str = "pair.seat_gone";

/// The connection is gone, and the seat with it until the next one; unless it is kept, and nobody has to know.
pub(super) fn interrupt(key: Key, wanted: &mut Wanted) {
    let Some(seat) = wanted.seats.get_mut(&key) else { return };
    if seat.keep.as_ref().is_some_and(Keep::has_seat) {
        (seat.taken_on, seat.partial) = (None, Vec::new());
    } else {
        forget_seat(seat);
    }
}

/// The seat is free for another connection, which takes it as if for the first time.
pub(crate) fn forget_seat(seat: &mut Seat) {
    (seat.taken_on, seat.partial) = (None, Vec::new());
    seat.together.store(false, Relaxed);
    if let Some(keep) = &mut seat.keep {
        keep.fail(&Error::lost("the seat in the pair was lost with the connection"));
    }
    if seat.done.is_none() {
        seat.events.push(PairEvent::Interrupted, 0);
    }
}

/// Something is said without a connection, on a seat that is kept: it is sent once there is one.
pub(crate) fn say_later(seat: &mut Seat, message: Option<Utterance>, ended: bool, done: Done) {
    let Some(done) = end_once(seat, message.is_some(), ended, done) else { return };
    match &mut seat.keep {
        Some(keep) => {
            keep.say(Said { message, ended }, done);
        }
        None => drop(done.send(Err(Error::lost("there is no connection to the hub at present")))),
    }
}

/// Nothing is said after the end; to end twice is no harm.
fn end_once(seat: &mut Seat, has_message: bool, ended: bool, done: Done) -> Option<Done> {
    if seat.ended {
        let outcome = if has_message { Err(Error::invalid("this side has finished")) } else { Ok(()) };
        drop(done.send(outcome));
        return None;
    }
    seat.ended = ended;
    Some(done)
}

fn partner(event: &RoomEvent<'_>) -> PairPartner {
    let member = event.members.get(0).unwrap_or_default();
    PairPartner {
        member: member.member,
        client: member.client.to_owned(),
        user: member.user.to_owned(),
        info: member.info.to_owned(),
    }
}

fn third(third: ThirdArrival) -> Third {
    match third {
        ThirdArrival::Next => Third::Next,
        ThirdArrival::Reject => Third::Reject,
        ThirdArrival::Replace => Third::Replace,
    }
}

fn milliseconds(time: Duration) -> u32 {
    u32::try_from(time.as_millis()).unwrap_or(u32::MAX)
}

/// A whole message, once its last piece is there.
fn assemble(seat: &mut Seat, flags: Flags, payload: Bytes) -> Result<Option<Bytes>, Error> {
    let more = flags.contains(Flags::MORE);
    if seat.partial.is_empty() && !more {
        return Ok(Some(payload));
    }
    if seat.partial.len() + payload.len() > MESSAGE_BYTES_MAX {
        return Err(Error::protocol(format!("a message of a pair has more than {MESSAGE_BYTES_MAX} bytes")));
    }
    seat.partial.extend_from_slice(&payload);
    Ok((!more).then(|| std::mem::take(&mut seat.partial).into()))
}

fn end_seat(wanted: &mut Wanted, key: Key, error: &Error) {
    let Some(mut seat) = wanted.seats.remove(&key) else { return };
    seat.together.store(false, Relaxed);
    if let Some(keep) = &mut seat.keep {
        keep.fail(error);
    }
    if let Some(done) = seat.done {
        drop(done.send(Err(error.clone())));
    }
    seat.events.close(Some(error.clone()));
}
