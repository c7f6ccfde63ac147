//! What others say to a kept seat.

use std::task::Waker;

use bytes::Bytes;
use whub_proto::RoomWhat;

use super::KeptSeat;
use super::ring::Item;
use crate::letter::Letter;
use crate::mailbox::{Framing, Parcel, Post, Sent, SessionId, Undelivered};

impl Post for KeptSeat {
    fn session(&self) -> SessionId {
        self.session
    }

    fn framing(&self) -> Framing {
        Framing::Private
    }

    fn post(&self, letter: Letter) -> Result<(), Undelivered> {
        let mut inward = self.inward();
        if inward.over {
            return Err(Undelivered::Gone(letter));
        }
        let mut newcomer = None;
        if let (Letter::Paired { partner, .. }, true) = (&letter, inward.away) {
            newcomer = Some(partner.clone());
        }
        inward.letters.push_back(letter);
        if let Some(line) = &inward.line {
            // If the connection has ended, the letter waits for the next.
            let _ = line.mailbox.post(Letter::Stirred { seat: line.id, serial: self.token.serial });
        }
        drop(inward);
        if let Some(partner) = newcomer {
            partner.hear_of_partner(&self.pair, RoomWhat::Away);
        }
        Ok(())
    }

    fn send(&self, parcel: Parcel<'_>) -> Sent {
        let item = match parcel {
            Parcel::Data { text, end, payload, .. } => {
                Item::Data { text, end, payload: Bytes::copy_from_slice(payload) }
            }
            Parcel::Packet { packet, .. } => Item::Event(packet.clone()),
            // Nobody frames for a seat whose framing is private, and it is in no room.
            Parcel::Framed { .. } | Parcel::News { .. } => return Sent::Gone,
        };
        let mut inward = self.inward();
        if inward.over {
            return Sent::Gone;
        }
        if let Some(held) = &mut inward.held {
            held.push(item);
            return Sent::Room;
        }
        inward.push(item, self.room)
    }

    fn hold(&self) {
        let mut inward = self.inward();
        inward.held.get_or_insert_default();
        if let Some(line) = &inward.line {
            line.mailbox.hold();
        }
    }

    fn poll_room(&self, waker: &Waker) -> bool {
        let mut inward = self.inward();
        if inward.over {
            return true;
        }
        let line = inward.line.clone();
        let has_room = !inward.is_full(self.room) && line.is_none_or(|line| line.mailbox.poll_room(waker));
        // Who waits for a connection is woken by the next one too.
        if !has_room && !inward.waiting.iter().any(|known| known.will_wake(waker)) {
            inward.waiting.push(waker.clone());
        }
        has_room
    }
}
