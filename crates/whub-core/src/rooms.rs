//! The rooms by name.
//!
//! A room is there from the first one that enters until a while after the last one has left, or until it is closed.
//! The table only leads to it; members hold their room and send to its [`Roll`] without looking here.

mod kept;
mod member;
mod news;
mod room;

use std::collections::HashMap;
use std::sync::atomic::{AtomicUsize, Ordering::Relaxed};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::Waker;
use std::time::{Duration, Instant};

use whub_proto::Code;
use whub_proto::names::PairId;

use crate::fault::Fault;
use crate::hub::Now;
use crate::middleware::Rate;
use kept::Kept;
pub use member::{Role, Roll, RoomMember};
pub use news::missed;
use room::NotEntered;
pub use room::{Act, By, Entrant, Room, Terms};
pub(crate) use room::{Entered, not_in};

/// What rooms may take.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RoomLimits {
    /// Rooms that a session may be in. Default 64.
    pub per_session: usize,
    /// Rooms of the node, those included that are kept although nobody is in them. Default 10,000.
    pub per_node: usize,
    /// Members of a room, whatever capacity its creator wishes. Default 256.
    pub members: u16,
    /// What a member shows to the others, in bytes. Default 4 KiB.
    pub info_bytes: usize,
    /// How long a room is kept that nobody is in, with its secret and capacity. Default 60 s.
    pub empty_ttl: Duration,
    /// How often a session may enter or change rooms, each time of which all members are told. Default 20 a second, 100
    /// at once.
    pub changes: Option<Rate>,
}

impl Default for RoomLimits {
    fn default() -> Self {
        Self {
            per_session: 64,
            per_node: 10_000,
            members: 256,
            info_bytes: 4 << 10,
            empty_ttl: Duration::from_secs(60),
            changes: Some(Rate { count: 20, period: Duration::from_secs(1), burst: 100 }),
        }
    }
}

/// The table.
#[derive(Debug)]
pub struct Rooms {
    shards: [Mutex<HashMap<PairId, Arc<Room>>>; SHARDS],
    count: AtomicUsize,
    kept: Kept,
}

const SHARDS: usize = 16;

impl Default for Rooms {
    fn default() -> Self {
        Self {
            shards: std::array::from_fn(|_| Mutex::default()),
            count: AtomicUsize::new(0),
            kept: Kept::default(),
        }
    }
}

impl Rooms {
    /// Somebody enters; the first one opens the room. Who enters a room that nobody is in owns it.
    pub(crate) fn enter(
        &self,
        limits: &RoomLimits,
        name: &PairId,
        entrant: &Entrant<'_>,
        now: Now,
    ) -> Result<Entered, Fault> {
        loop {
            let room = self.find_or_open(limits, name)?;
            match room.enter(limits, &self.kept, entrant, now) {
                Ok(entered) => return Ok(entered),
                Err(NotEntered::Refused(fault)) => return Err(fault),
                // Whoever ended it is about to take it off the table.
                Err(NotEntered::Ended) => self.forget(&room),
            }
        }
    }

    /// A member goes.
    pub(crate) fn leave(&self, limits: &RoomLimits, room: &Room, number: u32, reason: &str, now: Instant) {
        if room.leave(limits, &self.kept, number, shorten(reason), now) {
            self.tidy(limits, room, now);
        }
    }

    /// Has something done in a room.
    ///
    /// # Errors
    /// When `by` may not do that, or there is nobody to do it to; then nothing was done.
    pub fn act(
        &self,
        limits: &RoomLimits,
        room: &Arc<Room>,
        by: By,
        act: Act<'_>,
        now: Instant,
    ) -> Result<(), Fault> {
        let numbers = distinct(act.numbers())?;
        let act = match act {
            Act::Update(info) => {
                check_info(limits, info)?;
                act
            }
            Act::Kick(_, reason) => Act::Kick(&numbers, shorten(reason)),
            Act::Promote(_) => Act::Promote(&numbers),
            Act::Demote(_) => Act::Demote(&numbers),
            Act::Close(reason) => Act::Close(shorten(reason)),
            Act::Lock(_) => act,
        };
        if room.act(limits, &self.kept, by, act, now)? {
            self.tidy(limits, room, now);
        }
        Ok(())
    }

    /// The room of this name.
    #[must_use]
    pub fn find(&self, name: &PairId) -> Option<Arc<Room>> {
        self.shard(name).get(name).cloned()
    }

    /// All rooms, by name.
    #[must_use]
    pub fn list(&self) -> Vec<Arc<Room>> {
        let rooms =
            |shard: &Mutex<HashMap<PairId, Arc<Room>>>| -> Vec<_> { lock(shard).values().cloned().collect() };
        let mut all: Vec<_> = self.shards.iter().flat_map(rooms).collect();
        all.sort_by(|a, b| a.name.as_str().cmp(b.name.as_str()));
        all
    }

    /// How many there are, the empty ones included.
    #[must_use]
    pub fn len(&self) -> usize {
        self.count.load(Relaxed)
    }

    /// Whether there are none.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// How many are kept that nobody is in.
    #[must_use]
    pub fn kept(&self) -> usize {
        self.kept.len()
    }

    /// Members of all rooms.
    #[must_use]
    pub fn members(&self) -> usize {
        self.list().iter().map(|room| room.roll().members.len()).sum()
    }

    /// Ends the rooms that were kept long enough. `waker` is woken when one is to be looked at sooner than what comes out
    /// says. One driver per hub does this.
    pub fn handle_empty(&self, now: Instant, waker: &Waker) -> Option<Instant> {
        while let Some(name) = self.kept.take_due(now) {
            self.end(&name, Some(now));
        }
        self.kept.next(waker)
    }

    fn find_or_open(&self, limits: &RoomLimits, name: &PairId) -> Result<Arc<Room>, Fault> {
        loop {
            {
                let mut shard = self.shard(name);
                if let Some(room) = shard.get(name) {
                    return Ok(Arc::clone(room));
                }
                if self.count.fetch_add(1, Relaxed) < limits.per_node {
                    let room = Arc::new(Room::new(name.clone()));
                    shard.insert(name.clone(), Arc::clone(&room));
                    return Ok(room);
                }
                self.count.fetch_sub(1, Relaxed);
            }
            // Rooms that are only kept give way to new ones.
            let Some(oldest) = self.kept.take_first() else {
                let reason =
                    format!("this node has room for {} rooms, and all of them are in use", limits.per_node);
                return Err(Fault::passing(Code::Unavailable, "rooms.node_limit", 1000, reason));
            };
            self.end(&oldest, None);
        }
    }

    /// What remains to be done about a room that nobody is in.
    fn tidy(&self, limits: &RoomLimits, room: &Room, now: Instant) {
        if room.has_ended() || (limits.empty_ttl.is_zero() && room.end_if_empty(Some(now))) {
            self.forget(room);
        }
    }

    fn end(&self, name: &PairId, now: Option<Instant>) {
        let Some(room) = self.find(name) else { return };
        if room.end_if_empty(now) {
            self.forget(&room);
        }
    }

    /// Takes an ended room off the table, unless another has its name already.
    fn forget(&self, room: &Room) {
        let mut shard = self.shard(&room.name);
        if shard.get(&room.name).is_some_and(|known| std::ptr::eq(&**known, room)) {
            shard.remove(&room.name);
            self.count.fetch_sub(1, Relaxed);
        }
    }

    fn shard(&self, name: &PairId) -> MutexGuard<'_, HashMap<PairId, Arc<Room>>> {
        let sum =
            name.as_str().bytes().fold(0_usize, |sum, byte| sum.wrapping_mul(31).wrapping_add(byte.into()));
        lock(&self.shards[sum % SHARDS])
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

/// One more change by a session whose bucket of them is full at that time.
pub(crate) fn check_rate(limits: &RoomLimits, now: Instant, full_at: &mut Instant) -> Result<(), Fault> {
    let Some(rate) = limits.changes else { return Ok(()) };
    rate.draw(now, full_at).map_err(|wait| {
        let retry_ms = u32::try_from(wait.as_millis()).unwrap_or(u32::MAX).max(1);
        let reason = "rooms were entered or changed too often; messages are not meant by this";
        Fault::passing(Code::TooManyRequests, "rooms.rate", retry_ms, reason)
    })
}

/// What a member shows goes to all others, so it is short.
pub(crate) fn check_info(limits: &RoomLimits, info: &str) -> Result<(), Fault> {
    if info.len() > limits.info_bytes {
        let reason = format!("info may have {} bytes", limits.info_bytes);
        return Err(Fault::fatal(Code::TooLarge, "room.info", reason));
    }
    Ok(())
}

/// The members that a command names, each once.
fn distinct(numbers: &[u32]) -> Result<Vec<u32>, Fault> {
    const NUMBERS_MAX: usize = 256;
    if numbers.len() > NUMBERS_MAX {
        let reason = format!("a command names {NUMBERS_MAX} members at most");
        return Err(Fault::fatal(Code::TooLarge, "room.members", reason));
    }
    let mut numbers = numbers.to_vec();
    numbers.sort_unstable();
    numbers.dedup();
    Ok(numbers)
}

/// A reason is one sentence. What is longer is cut.
fn shorten(reason: &str) -> &str {
    const BYTES_MAX: usize = 256;
    let end = (0..=BYTES_MAX.min(reason.len())).rev().find(|end| reason.is_char_boundary(*end));
    &reason[..end.unwrap_or(0)]
}
