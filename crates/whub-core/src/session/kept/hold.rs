//! What a session that speaks for a kept seat holds of it: the right to speak, as long as its connection is the latest.

use std::sync::Arc;
use std::task::Waker;
use std::time::Instant;

use super::{Fate, KeptSeat};
use crate::hub::Hub;
use crate::letter::Letter;
use crate::mailbox::{Parcel, Post, Sent, SessionId, Undelivered};
use crate::pairs::Half;
use crate::session::seat::Seat;

/// What a session that speaks for a seat holds.
#[derive(Debug)]
pub(in crate::session) struct Hold {
    pub(in crate::session) kept: Arc<KeptSeat>,
    pub(super) generation: u64,
    /// The partner, by way of the seat.
    pub(super) partner: Option<Half>,
}

impl Hold {
    pub(in crate::session) fn partner(&self) -> Option<&Half> {
        self.partner.as_ref()
    }

    /// Reads the letters of the seat.
    pub(in crate::session) fn handle_letters(&mut self, hub: &Hub) -> Fate {
        let mut outward = self.kept.outward();
        if outward.generation != self.generation || outward.seat.is_none() {
            return Fate::TakenOver;
        }
        let fate = self.kept.read_letters(hub, &mut outward);
        self.partner = self.kept.partner(&outward);
        fate
    }

    /// The client said something while alone: it was taken, and reached nobody.
    pub(in crate::session) fn handle_alone(&self, end: bool, bytes: usize) {
        let mut outward = self.kept.outward();
        if outward.generation == self.generation {
            outward.ended |= end;
            self.kept.count(&mut outward, bytes, end);
        }
    }

    /// The client has so much, and wants to be told of what it says itself.
    pub(in crate::session) fn handle_credit(&self, bytes: u32) {
        let mut outward = self.kept.outward();
        if outward.generation != self.generation {
            return;
        }
        outward.acknowledges = true;
        let mut inward = self.kept.inward();
        inward.ring.acknowledge(bytes.into());
        inward.relieve(self.kept.room);
    }

    /// The connection is read no more, or again.
    pub(in crate::session) fn be_unheard(&self, is_unheard: bool) {
        let outward = self.kept.outward();
        if outward.generation == self.generation {
            self.kept.inward().be_unheard(is_unheard, self.kept.room);
        }
    }

    /// The connection is lost: the seat waits for another one.
    pub(in crate::session) fn detach(self, hub: &Hub, now: Instant) {
        self.kept.detach(hub, self.generation, now);
    }

    pub(in crate::session) fn leave(self, hub: &Hub) {
        let mut outward = self.kept.outward();
        if outward.generation == self.generation {
            self.kept.finish(hub, &mut outward);
        }
    }
}

/// The way from the session to the partner.
pub(super) struct Passage {
    pub(super) kept: Arc<KeptSeat>,
    pub(super) generation: u64,
}

impl Post for Passage {
    fn session(&self) -> SessionId {
        self.kept.session
    }

    fn post(&self, letter: Letter) -> Result<(), Undelivered> {
        Err(Undelivered::Gone(letter))
    }

    fn send(&self, parcel: Parcel<'_>) -> Sent {
        match parcel {
            Parcel::Data { text, end, payload, .. } => self.kept.pass(self.generation, text, end, payload),
            Parcel::Packet { .. } | Parcel::News { .. } | Parcel::Framed { .. } => Sent::Gone,
        }
    }

    fn poll_room(&self, waker: &Waker) -> bool {
        let outward = self.kept.outward();
        if outward.generation != self.generation {
            return true;
        }
        outward.seat.as_ref().and_then(Seat::partner).is_none_or(|partner| partner.mailbox.poll_room(waker))
    }
}
