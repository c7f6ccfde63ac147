//! What others say to a kept seat: it waits here until the client is known to have it.

use std::collections::VecDeque;
use std::task::Waker;

use whub_proto::names::PairId;
use whub_proto::{Body, RoomEvent, RoomWhat};

use crate::fault::Fault;
use crate::letter::Letter;
use crate::mailbox::{Mailbox, Parcel, Sent};
use crate::packet::Packet;
use crate::pairs::Half;
use crate::session::kept::ahead;
use crate::session::kept::ring::{Item, Ring, Room};

/// What others have said, and the connection that it goes to.
#[derive(Default)]
pub(super) struct Inward {
    pub(super) line: Option<Line>,
    /// The session has let go of the seat, and another is waited for.
    pub(super) away: bool,
    /// The connection is not read, because a partner has no room.
    pub(super) unheard: bool,
    pub(super) letters: VecDeque<Letter>,
    pub(super) ring: Ring,
    /// While the session has yet to speak, others wait.
    pub(super) held: Option<Vec<Item>>,
    pub(super) waiting: Vec<Waker>,
    pub(super) over: bool,
}

/// The connection that serves a seat.
#[derive(Debug, Clone)]
pub(in crate::session) struct Line {
    pub(in crate::session) mailbox: Mailbox,
    /// The id of the `Join` there.
    pub(in crate::session) id: u64,
}

impl Inward {
    /// Keeps it, and passes it on if there is a connection.
    pub(super) fn push(&mut self, item: Item, room: Room) -> Sent {
        let sent = match &self.line {
            Some(line) => line.send(&item),
            None => Sent::Gone,
        };
        if sent == Sent::Gone {
            // The session will find out by itself.
            self.line = None;
        }
        self.ring.push(item, sent == Sent::Gone);
        self.ring.trim(room);
        if self.is_full(room) || sent == Sent::Wait { Sent::Wait } else { Sent::Room }
    }

    pub(super) fn is_full(&self, room: Room) -> bool {
        let outstanding = self.ring.outstanding();
        if self.unheard && outstanding > room.ring_bytes {
            return outstanding > room.unheard_bytes || self.ring.items.len() > room.items_max() / 2;
        }
        outstanding > room.ring_bytes
    }

    pub(super) fn release(&mut self, room: Room) {
        for item in self.held.take().unwrap_or_default() {
            self.push(item, room);
        }
    }

    pub(super) fn relieve(&mut self, room: Room) {
        if !self.is_full(room) {
            self.waiting.drain(..).for_each(Waker::wake);
        }
    }

    /// The connection is read no more, or again.
    pub(super) fn be_unheard(&mut self, unheard: bool, room: Room) {
        if std::mem::replace(&mut self.unheard, unheard) != unheard {
            self.relieve(room);
        }
    }

    /// The next letter, or none from here on: the session has gone.
    pub(super) fn next_letter_or_away(&mut self) -> Option<Letter> {
        let letter = self.letters.pop_front();
        if letter.is_none() {
            (self.line, self.away, self.unheard) = (None, true, false);
        }
        letter
    }

    /// Begins with another connection, where the client says that it stands. Returns the one that was there.
    pub(super) fn attach(&mut self, line: Line, received: u64, pair: &PairId) -> Result<Option<Line>, Fault> {
        let missed = self.ring.resume(received).ok_or_else(ahead)?;
        if missed > 0 {
            let count = u32::try_from(missed).unwrap_or(u32::MAX);
            let what = RoomWhat::Missed;
            let event = RoomEvent { what, room: pair.as_str(), count, ..RoomEvent::default() };
            line.send(&Item::Event(Packet::build(&Body::RoomEvent(event))));
        }
        for item in &self.ring.items {
            line.send(item);
        }
        self.ring.unsent = 0;
        (self.away, self.unheard) = (false, false);
        // They look at the ring again, and at this connection.
        self.waiting.drain(..).for_each(Waker::wake);
        Ok(self.line.replace(line))
    }

    /// Who has come and is yet to be read of.
    pub(super) fn newcomers(&self) -> impl Iterator<Item = Half> {
        self.letters.iter().filter_map(|letter| {
            if let Letter::Paired { partner, .. } = letter { Some(partner.clone()) } else { None }
        })
    }

    /// Nothing more is taken. Returns the letters that were not read.
    pub(super) fn finish(&mut self) -> VecDeque<Letter> {
        self.over = true;
        (self.line, self.held, self.ring) = (None, None, Ring::default());
        self.waiting.drain(..).for_each(Waker::wake);
        std::mem::take(&mut self.letters)
    }
}

impl Line {
    fn send(&self, item: &Item) -> Sent {
        self.mailbox.send(match item {
            Item::Data { text, end, payload } => {
                Parcel::Data { seat: self.id, text: *text, end: *end, payload }
            }
            Item::Event(packet) => Parcel::Packet { id: self.id, packet },
        })
    }
}
