//! What a client may not have yet, and how much of it there may be.

use std::collections::VecDeque;

use bytes::Bytes;

use crate::packet::Packet;
use crate::session::kept::ACKNOWLEDGE_BYTES;

/// What a message or an event counts beside its payload, for the ring and for credit, bytes.
pub(super) const ENVELOPE: u64 = 64;

/// A ring is never smaller than twice what may be outstanding between two acknowledgements.
const RING_BYTES_MIN: u64 = 2 * ACKNOWLEDGE_BYTES;

/// Clients say so much that they do not know to be taken, and one message; the acknowledgements come behind it.
const SAID_BYTES_MAX: u64 = 1024 * 1024;

/// What the client may not have yet, in order.
#[derive(Default)]
pub(super) struct Ring {
    pub(super) items: VecDeque<Item>,
    /// Items before these, all of which the client is taken to have, or has missed.
    pub(super) before: u64,
    pub(super) bytes: u64,
    /// What no connection was given, bytes at the end.
    pub(super) unsent: u64,
    /// The client says what it has, and this much of that has not been taken away yet.
    pub(super) credit: Option<u64>,
}

impl Ring {
    pub(super) fn push(&mut self, item: Item, is_unsent: bool) {
        self.bytes += item.weight();
        if is_unsent {
            self.unsent += item.weight();
        }
        self.items.push_back(item);
    }

    /// Bytes that more has to wait for.
    pub(super) fn outstanding(&self) -> u64 {
        if self.credit.is_some() { self.bytes } else { self.unsent }
    }

    /// Of a client that does not say what it has, the oldest is forgotten that was sent. Events alone can fill a ring
    /// without being waited for, so there is an end to those in any case.
    pub(super) fn trim(&mut self, room: Room) {
        while (self.credit.is_none() && self.bytes - self.unsent > room.ring_bytes && self.items.len() > 1)
            || self.items.len() > room.items_max()
        {
            self.pop();
        }
    }

    pub(super) fn acknowledge(&mut self, bytes: u64) {
        let mut credit = self.credit.unwrap_or_default() + bytes;
        while let Some(first) = self.items.front()
            && first.weight() <= credit
        {
            credit -= first.weight();
            self.pop();
        }
        self.credit = Some(if self.items.is_empty() { 0 } else { credit });
    }

    /// Forgets what the client has. Returns how much it misses; `None` when it has more than there was.
    pub(super) fn resume(&mut self, received: u64) -> Option<u64> {
        if received > self.before + self.items.len() as u64 {
            return None;
        }
        let missed = self.before.saturating_sub(received);
        while self.before < received {
            self.pop();
        }
        self.credit = self.credit.map(|_| 0);
        Some(missed)
    }

    pub(super) fn pop(&mut self) {
        if let Some(item) = self.items.pop_front() {
            self.bytes -= item.weight();
            self.unsent = self.unsent.min(self.bytes);
            self.before += 1;
        }
    }
}

/// What a ring takes before whoever sends more has to wait.
#[derive(Clone, Copy)]
pub(super) struct Room {
    pub(super) ring_bytes: u64,
    /// The same while the client cannot be heard. Between its acknowledgements there is no more than this.
    pub(super) unheard_bytes: u64,
}

impl Room {
    pub(super) fn new(mailbox_bytes: u64, message_bytes: u64) -> Self {
        let ring_bytes = mailbox_bytes.max(RING_BYTES_MIN);
        Self { ring_bytes, unheard_bytes: ring_bytes + SAID_BYTES_MAX + 2 * message_bytes }
    }

    /// Messages and events of a ring, however small they are.
    pub(super) fn items_max(self) -> usize {
        usize::try_from(2 * (self.ring_bytes + SAID_BYTES_MAX) / ENVELOPE).unwrap_or(usize::MAX)
    }
}

/// A message or an event for the client.
pub(super) enum Item {
    Data { text: bool, end: bool, payload: Bytes },
    Event(Packet),
}

impl Item {
    pub(super) fn weight(&self) -> u64 {
        ENVELOPE
            + match self {
                Self::Data { payload, .. } => payload.len() as u64,
                Self::Event(_) => 0,
            }
    }
}
