//! Where halves wait for each other.
//!
//! Only waiting halves are in the table. Once two have met, each holds the other and the table knows nothing of
//! them; so relaying needs no lookup, and a half that leaves tells its partner itself.

use std::collections::HashMap;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::sync::{Mutex, PoisonError};

use whub_proto::names::PairId;
use whub_proto::{Body, RoomEvent, RoomWhat};

use crate::letter::Letter;
use crate::mailbox::{Mailbox, Parcel, Sent, SessionId};
use crate::packet::Packet;

/// Names a half: its session and the id that the session gave it (0 on a plain WebSocket).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct HalfId {
    /// The session.
    pub session: SessionId,
    /// The id of the `Join`; 0 on a plain WebSocket.
    pub seat: u64,
    /// Counts the hub's seats: ids of joins are used again, this is not.
    pub serial: u64,
}

/// How a half is told what happens.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Manner {
    /// By the five texts of `/pair/<id>`.
    Plain,
    /// By `RoomEvent` frames.
    Member,
    /// By nothing but the partner's bytes and their end.
    Stream,
}

/// One half of a pair as others hold it.
#[derive(Debug, Clone, PartialEq)]
pub struct Half {
    /// Its session.
    pub mailbox: Mailbox,
    /// The id of its `Join`.
    pub seat: u64,
    /// Which of the hub's seats it is, from [`Pairs::next_serial`].
    pub serial: u64,
    /// How it is told things.
    pub manner: Manner,
}

impl Half {
    /// Its name.
    #[must_use]
    pub fn id(&self) -> HalfId {
        HalfId { session: self.mailbox.session(), seat: self.seat, serial: self.serial }
    }

    /// Tells a half that waited that `partner` came: first its session, then its peer. The order matters: whatever
    /// the peer sends in response finds a session that knows its partner.
    fn meet(&self, pair: &PairId, partner: Self) -> Result<(), Gone> {
        self.mailbox.post(Letter::Paired { half: self.id(), partner }).map_err(|_| Gone)?;
        match self.manner {
            Manner::Plain => self.say(["/remote:open", "/status:connected"]),
            Manner::Member => self.tell(pair, RoomWhat::Ready, true),
            Manner::Stream => {}
        }
        Ok(())
    }

    fn say(&self, texts: [&str; 2]) {
        for text in texts {
            let parcel = Parcel::Data { seat: self.seat, text: true, end: false, payload: text.as_bytes() };
            let (Sent::Room | Sent::Wait | Sent::Gone) = self.mailbox.send(parcel);
        }
    }

    fn tell(&self, pair: &PairId, what: RoomWhat, initiator: bool) {
        let event = RoomEvent { what, room: pair.as_str(), initiator, ..RoomEvent::default() };
        let packet = Packet::build(&Body::RoomEvent(event));
        let (Sent::Room | Sent::Wait | Sent::Gone) =
            self.mailbox.send(Parcel::Packet { id: self.seat, packet: &packet });
    }
}

struct Gone;

/// What a half finds when it arrives.
#[derive(Debug, PartialEq)]
pub enum Arrival {
    /// Nobody; it waits now.
    Waiting,
    /// The half that waited, which has been told.
    Met(Half),
}

/// The table of waiting halves: at most one per id.
#[derive(Debug)]
pub struct Pairs {
    shards: [Mutex<HashMap<PairId, Half>>; SHARDS],
    serials: AtomicU64,
}

const SHARDS: usize = 16;

impl Default for Pairs {
    fn default() -> Self {
        Self { shards: std::array::from_fn(|_| Mutex::default()), serials: AtomicU64::new(0) }
    }
}

impl Pairs {
    /// Takes a seat: either the waiting half leaves the table and both are a pair, or this half waits. Both under
    /// one lock, so that two halves arriving at the same instant never meet the same third.
    pub fn arrive(&self, id: &PairId, half: &Half) -> Arrival {
        loop {
            let waiting = {
                let mut shard = self.shard(id);
                match shard.remove(id) {
                    Some(waiting) => waiting,
                    None => {
                        shard.insert(id.clone(), half.clone());
                        return Arrival::Waiting;
                    }
                }
            };
            // The one that waited may have ended since; then the seat is still free.
            if waiting.meet(id, half.clone()).is_ok() {
                return Arrival::Met(waiting);
            }
        }
    }

    /// A waiting half goes. Does nothing when it has met somebody meanwhile.
    pub fn leave(&self, id: &PairId, half: HalfId) {
        let mut shard = self.shard(id);
        if shard.get(id).is_some_and(|waiting| waiting.id() == half) {
            shard.remove(id);
        }
    }

    /// A serial for a new seat.
    pub fn next_serial(&self) -> u64 {
        self.serials.fetch_add(1, Relaxed) + 1
    }

    /// Halves that wait now.
    #[must_use]
    pub fn waiting(&self) -> usize {
        self.shards.iter().map(|shard| shard.lock().unwrap_or_else(PoisonError::into_inner).len()).sum()
    }

    fn shard(&self, id: &PairId) -> std::sync::MutexGuard<'_, HashMap<PairId, Half>> {
        let sum =
            id.as_str().bytes().fold(0_usize, |sum, byte| sum.wrapping_mul(31).wrapping_add(byte.into()));
        self.shards[sum % SHARDS].lock().unwrap_or_else(PoisonError::into_inner)
    }
}
