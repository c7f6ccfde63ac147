//! The session as a member of pairs.

use std::sync::Arc;
use std::sync::atomic::Ordering::Relaxed;

use bytes::Bytes;
use whub_proto::{Body, Data, Flags, Join, Leave, RoomEvent, RoomMode, RoomWhat};

use super::{Flushed, Live, Session};
use crate::command::{Done, Seat, Utterance};
use crate::error::Error;
use crate::key::Key;
use crate::pair::{MESSAGE_BYTES_MAX, PairEvent, PairMessage, QUEUE_BYTES_MAX};
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
        let (room, secret) = (seat.pair.as_str(), seat.secret.as_str());
        let join = Join { room, secret, mode: RoomMode::Pair, ..Join::default() };
        self.outbox.push(id, Flags::NONE, &Body::Join(join));
        seat.taken_on = Some(self.serial);
        if seat.ended {
            self.outbox.push_data(id, Flags::END, &[]);
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

    /// This connection is being left: its seats are free for another.
    pub(crate) fn release_seats(&mut self, wanted: &mut Wanted) {
        let mine = Some(self.serial);
        for seat in wanted.seats.values_mut().filter(|seat| seat.taken_on == mine) {
            self.leave(seat, None);
            interrupt_seat(seat);
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
        if seat.ended {
            let outcome =
                if message.is_none() { Ok(()) } else { Err(Error::invalid("this side has finished")) };
            return drop(done.send(outcome));
        }
        seat.ended = ended;
        let end = Flags::NONE.with_if(ended, Flags::END);
        match message {
            Some(Utterance { payload, text }) => {
                let last = end.with_if(text, Flags::TEXT);
                let more = Flags::MORE.with_if(text, Flags::TEXT);
                self.outbox.push_split(id, last, more, &payload, self.frame_bytes_max);
            }
            None => self.outbox.push_data(id, end, &[]),
        }
        self.written.push(Flushed::Say(done));
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
        match event.what {
            RoomWhat::Ready => {
                seat.together.store(true, Relaxed);
                // Who waits for the partner learns of it by the pair itself.
                match seat.done.take() {
                    Some(done) => drop(done.send(Ok(()))),
                    None => seat.events.push(PairEvent::Ready { initiator: event.initiator }, 0),
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
            RoomWhat::State
            | RoomWhat::Joined
            | RoomWhat::Updated
            | RoomWhat::Away
            | RoomWhat::Back
            | RoomWhat::Missed
            | RoomWhat::Unknown(_) => {}
        }
    }

    /// The hub refused the seat.
    pub(super) fn handle_unseated(&mut self, key: Key, error: &Error, wanted: &mut Wanted) {
        self.ids.remove(&key);
        end_seat(wanted, key, error);
    }
}

/// The hub gave us the seat.
pub(super) fn handle_seated(key: Key, wanted: &mut Wanted) {
    let Some(seat) = wanted.seats.get_mut(&key).filter(|seat| !seat.wait) else { return };
    if let Some(done) = seat.done.take() {
        drop(done.send(Ok(())));
    }
}

/// The connection is gone, and the seat with it until the next one.
pub(super) fn interrupt(key: Key, wanted: &mut Wanted) {
    if let Some(seat) = wanted.seats.get_mut(&key) {
        interrupt_seat(seat);
    }
}

fn interrupt_seat(seat: &mut Seat) {
    (seat.taken_on, seat.partial) = (None, Vec::new());
    seat.together.store(false, Relaxed);
    if seat.done.is_none() {
        seat.events.push(PairEvent::Interrupted, 0);
    }
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
    let Some(seat) = wanted.seats.remove(&key) else { return };
    seat.together.store(false, Relaxed);
    if let Some(done) = seat.done {
        drop(done.send(Err(error.clone())));
    }
    seat.events.close(Some(error.clone()));
}
