//! Where halves wait for each other.
//!
//! Only waiting halves are in the table. Once two have met, each holds the other and the table knows nothing of
//! them; so relaying needs no lookup, and a half that leaves tells its partner itself.
//!
//! An id whose first seat has set terms (a secret, a policy for third arrivals, one meeting only) is remembered for as
//! long as one of its seats is taken, so that the terms hold for everybody who comes meanwhile.

mod keeping;
mod places;
mod spent;
mod terms;

use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Instant;

use whub_proto::names::PairId;
use whub_proto::{Body, Members, RoomEvent, RoomWhat};

use crate::fault::Fault;
use crate::letter::Letter;
use crate::mailbox::{Mailbox, Parcel, Sent, SessionId};
use crate::packet::Packet;
use places::Shard;

pub(crate) use keeping::{Keeping, SeatToken};
pub use keeping::{TOKEN_BYTES, TokenDraw};
pub(crate) use places::replaced;
pub use spent::{SPENT_FOR, SPENT_IDS_MAX};
pub use terms::{About, Guest, INFO_BYTES_MAX, PairSecret, SECRET_BYTES_MAX};

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
    /// By the same, those about a partner's lost and regained connection among them.
    Follower,
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
    fn meet(&self, pair: &PairId, partner: Self, about: &Company) -> Result<(), Gone> {
        self.mailbox.post(Letter::Paired { half: self.id(), partner }).map_err(|_| Gone)?;
        match self.manner {
            Manner::Plain => self.say(["/remote:open", "/status:connected"]),
            Manner::Member | Manner::Follower => self.tell(&about.ready(pair)),
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

    fn tell(&self, packet: &Packet) {
        let (Sent::Room | Sent::Wait | Sent::Gone) =
            self.mailbox.send(Parcel::Packet { id: self.seat, packet });
    }

    /// Tells it, if it wants to know, that its partner's connection was lost or has come back.
    pub(crate) fn hear_of_partner(&self, pair: &PairId, what: RoomWhat) {
        match self.manner {
            Manner::Follower => self.tell(&event(pair, what)),
            Manner::Plain | Manner::Member | Manner::Stream => {}
        }
    }
}

/// A `RoomEvent` of a pair with nothing more to say.
pub(crate) fn event(pair: &PairId, what: RoomWhat) -> Packet {
    Packet::build(&Body::RoomEvent(RoomEvent { what, room: pair.as_str(), ..RoomEvent::default() }))
}

struct Gone;

/// Whom a half is together with, as it is told.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Company {
    /// This half waited, and may begin. It is member 1, the other 2.
    pub initiator: bool,
    /// What the other shows.
    pub about: Option<Arc<About>>,
}

impl Company {
    /// The number of the half that is told.
    pub(crate) fn member(&self) -> u32 {
        if self.initiator { 1 } else { 2 }
    }

    pub(crate) fn ready(&self, pair: &PairId) -> Packet {
        let members = [About::member(self.about.as_deref(), 3 - self.member())];
        Packet::build(&Body::RoomEvent(RoomEvent {
            what: RoomWhat::Ready,
            room: pair.as_str(),
            members: Members::new(&members),
            initiator: self.initiator,
            ..RoomEvent::default()
        }))
    }
}

/// What a half finds when it arrives.
#[derive(Debug, PartialEq)]
pub enum Arrival {
    /// Nobody; it waits now.
    Waiting,
    /// The half that waited, which has been told.
    Met(Half, Company),
}

/// A half at the door.
#[derive(Debug, Clone, Copy)]
pub struct Visit<'a> {
    /// The half.
    pub half: &'a Half,
    /// What it brings.
    pub guest: &'a Guest,
    /// When it comes; `None` for one that was here before and has lost its partner.
    pub now: Option<Instant>,
    /// It has a seat under terms already.
    pub seated: bool,
}

/// A half that was let in.
#[derive(Debug, PartialEq)]
pub struct Entrance {
    /// What it finds.
    pub arrival: Arrival,
    /// Its seat is one under terms, which it gives up by [`Pairs::leave`] even when it does not wait.
    pub seated: bool,
    /// Who has to go for it, and is yet to be told.
    pub replaces: Option<Half>,
}

/// The table of waiting halves: at most one per id.
#[derive(Debug)]
pub struct Pairs {
    shards: [Mutex<Shard>; SHARDS],
    serials: AtomicU64,
    /// Seats that outlive their connections.
    pub(crate) keeping: Keeping,
}

pub(crate) const SHARDS: usize = 16;

impl Default for Pairs {
    fn default() -> Self {
        Self {
            shards: std::array::from_fn(|_| Mutex::default()),
            serials: AtomicU64::new(0),
            keeping: Keeping::default(),
        }
    }
}

impl Pairs {
    /// Takes a seat: either the waiting half leaves the table and both are a pair, or this half waits. Both under
    /// one lock, so that two halves arriving at the same instant never meet the same third.
    ///
    /// # Errors
    /// When the terms of the id do not admit the half.
    pub fn arrive(&self, id: &PairId, visit: Visit<'_>) -> Result<Entrance, Fault> {
        let (mut visit, mut replaces) = (visit, None);
        loop {
            let entry = self.shard(id).enter(id, visit)?;
            visit.seated = entry.seated;
            replaces = replaces.or(entry.replaces);
            let Some((waiting, initiator)) = entry.meets else {
                return Ok(Entrance { arrival: Arrival::Waiting, seated: visit.seated, replaces });
            };
            let told = Company { initiator: !initiator, about: visit.guest.about.clone() };
            // The one that waited may have ended since; then the seat is still free.
            if waiting.half.meet(id, visit.half.clone(), &told).is_ok() {
                let company = Company { initiator, about: waiting.about };
                let arrival = Arrival::Met(waiting.half, company);
                return Ok(Entrance { arrival, seated: visit.seated, replaces });
            }
            self.shard(id).handle_missed(id);
        }
    }

    /// A half that waits, or has a seat under terms, goes. Does nothing when it has met somebody meanwhile and there are
    /// none.
    pub fn leave(&self, id: &PairId, half: HalfId) {
        self.shard(id).leave(id, half);
    }

    /// A half that waits steps aside for a while: it keeps its seat, and nobody meets it. False when it does not wait.
    pub(crate) fn step_aside(&self, id: &PairId, half: HalfId) -> bool {
        self.shard(id).step_aside(id, half)
    }

    /// A serial for a new seat.
    pub fn next_serial(&self) -> u64 {
        self.serials.fetch_add(1, Relaxed) + 1
    }

    /// Halves that wait now.
    #[must_use]
    pub fn waiting(&self) -> usize {
        self.shards.iter().map(|shard| shard.lock().unwrap_or_else(PoisonError::into_inner).waiting()).sum()
    }

    fn shard(&self, id: &PairId) -> std::sync::MutexGuard<'_, Shard> {
        let sum =
            id.as_str().bytes().fold(0_usize, |sum, byte| sum.wrapping_mul(31).wrapping_add(byte.into()));
        self.shards[sum % SHARDS].lock().unwrap_or_else(PoisonError::into_inner)
    }
}
