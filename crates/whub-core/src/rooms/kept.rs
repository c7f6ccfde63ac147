//! Rooms that nobody is in, and until when they are kept.

use std::collections::BTreeSet;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::task::Waker;
use std::time::Instant;

use whub_proto::names::PairId;

/// In the order in which their time comes. Changed together with the room's own state, so its lock is the inner one.
#[derive(Debug, Default)]
pub(super) struct Kept(Mutex<Waiting>);

#[derive(Debug, Default)]
struct Waiting {
    rooms: BTreeSet<(Instant, PairId)>,
    driver: Option<Waker>,
}

impl Kept {
    /// Nobody is in the room any more.
    pub(super) fn insert(&self, until: Instant, room: &PairId) {
        let mut waiting = self.lock();
        waiting.rooms.insert((until, room.clone()));
        let is_first = waiting.rooms.first().is_some_and(|(first, name)| *first == until && name == room);
        if is_first && let Some(driver) = waiting.driver.take() {
            driver.wake();
        }
    }

    /// Somebody is.
    pub(super) fn remove(&self, until: Instant, room: &PairId) {
        self.lock().rooms.remove(&(until, room.clone()));
    }

    /// Takes out a room whose time has come.
    pub(super) fn take_due(&self, now: Instant) -> Option<PairId> {
        let mut waiting = self.lock();
        let is_due = waiting.rooms.first().is_some_and(|(until, _)| *until <= now);
        is_due.then(|| waiting.rooms.pop_first()).flatten().map(|(_, room)| room)
    }

    /// Takes out the room whose time comes first.
    pub(super) fn take_first(&self) -> Option<PairId> {
        self.lock().rooms.pop_first().map(|(_, room)| room)
    }

    /// When the next one is due; the driver is woken when that has changed.
    pub(super) fn next(&self, driver: &Waker) -> Option<Instant> {
        let mut waiting = self.lock();
        waiting.driver = Some(driver.clone());
        waiting.rooms.first().map(|(until, _)| *until)
    }

    pub(super) fn len(&self) -> usize {
        self.lock().rooms.len()
    }

    fn lock(&self) -> MutexGuard<'_, Waiting> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
