//! The calls of a service that wait for a free provider, first come, first served.
//!
//! Who waits is timed and served by the [usher](crate::services::usher), who alone takes calls out at the front; callers
//! put them in at the end and take them back.

use std::collections::VecDeque;
use std::sync::atomic::{AtomicUsize, Ordering::SeqCst};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Instant;

use crate::call::{Call, CallKey};
use crate::services::usher::Bell;

/// Request bytes that may wait at one service: 4 MiB.
const BYTES_MAX: usize = 4 << 20;

/// The waiting calls of one service.
#[derive(Debug)]
pub(crate) struct Line {
    // Held for a push or a pop, never while something is sent.
    state: Mutex<State>,
    /// How many wait, the one in the usher's hand included, so that most calls need not take the lock.
    count: AtomicUsize,
    bell: Arc<Bell>,
}

#[derive(Debug, Default)]
struct State {
    calls: VecDeque<Waiting>,
    bytes: usize,
    /// The call that the usher offers to providers just now.
    in_hand: Option<InHand>,
    /// No wait ends before this, as far as is known.
    first_until: Option<Instant>,
    /// Nobody provides the service any more.
    closed: bool,
}

#[derive(Debug)]
struct InHand {
    key: CallKey,
    /// Its caller has taken it back.
    revoked: bool,
}

/// A call that waits.
#[derive(Debug)]
pub(crate) struct Waiting {
    pub(crate) call: Box<Call>,
    /// How long it may wait.
    pub(crate) until: Instant,
}

/// What became of a call that its caller takes back.
#[derive(Debug)]
pub(crate) enum Withdrawn {
    /// It waits no more, and has no outcome yet.
    Back(Box<Call>),
    /// The usher has it, and ends it.
    InHand,
    /// It waits no longer: its outcome, or the news of its provider, is on its way to the caller.
    Unknown,
}

impl Line {
    pub(crate) fn new(bell: Arc<Bell>) -> Self {
        Self { state: Mutex::default(), count: AtomicUsize::new(0), bell }
    }

    /// How many wait.
    pub(crate) fn count(&self) -> usize {
        self.count.load(SeqCst)
    }

    /// A place has become free.
    pub(crate) fn place_free(&self) {
        if self.count() > 0 {
            self.bell.ring();
        }
    }

    /// Puts a call at the end.
    ///
    /// # Errors
    /// The call, when `most` wait already, or too many bytes, or nobody provides the service any more.
    pub(crate) fn push(&self, waiting: Waiting, most: usize) -> Result<(), Box<Call>> {
        let mut state = self.lock();
        let bytes = waiting.call.request.len();
        if state.closed || self.count() >= most || state.bytes + bytes > BYTES_MAX {
            return Err(waiting.call);
        }
        state.bytes += bytes;
        state.note(waiting.until);
        state.calls.push_back(waiting);
        self.count.fetch_add(1, SeqCst);
        Ok(())
    }

    /// Takes a call back that waits.
    pub(crate) fn withdraw(&self, key: CallKey) -> Withdrawn {
        let mut state = self.lock();
        if let Some(in_hand) = state.in_hand.as_mut().filter(|in_hand| in_hand.key == key) {
            in_hand.revoked = true;
            return Withdrawn::InHand;
        }
        let index = state.calls.iter().position(|waiting| waiting.call.key() == key);
        let Some(waiting) = index.and_then(|index| state.calls.remove(index)) else {
            return Withdrawn::Unknown;
        };
        state.bytes -= waiting.call.request.len();
        self.count.fetch_sub(1, SeqCst);
        Withdrawn::Back(waiting.call)
    }

    /// Everybody whose time is up.
    pub(crate) fn expire(&self, now: Instant) -> Vec<Waiting> {
        let mut state = self.lock();
        if state.first_until.is_none_or(|until| until > now) {
            return Vec::new();
        }
        let all = std::mem::take(&mut state.calls).into_iter();
        let (expired, left): (Vec<_>, Vec<_>) = all.partition(|waiting| waiting.until <= now);
        state.first_until = left.iter().map(|waiting| waiting.until).min();
        state.calls = left.into();
        self.leave(&mut state, &expired);
        expired
    }

    /// When the first wait ends.
    pub(crate) fn first_until(&self) -> Option<Instant> {
        self.lock().first_until
    }

    /// The usher takes the first call in its hand.
    pub(crate) fn take(&self) -> Option<Waiting> {
        let mut state = self.lock();
        let waiting = state.calls.pop_front()?;
        state.bytes -= waiting.call.request.len();
        state.in_hand = Some(InHand { key: waiting.call.key(), revoked: false });
        Some(waiting)
    }

    /// A provider took the call in the usher's hand. True when its caller has taken it back meanwhile.
    pub(crate) fn taken(&self) -> bool {
        let mut state = self.lock();
        self.count.fetch_sub(1, SeqCst);
        state.in_hand.take().is_some_and(|in_hand| in_hand.revoked)
    }

    /// Nobody took it: it goes back to the front.
    ///
    /// # Errors
    /// The call, and whether it was its caller who took it back, when it may wait no longer.
    pub(crate) fn put_back(&self, waiting: Waiting) -> Result<(), (Box<Call>, bool)> {
        let mut state = self.lock();
        let revoked = state.in_hand.take().is_some_and(|in_hand| in_hand.revoked);
        if revoked || state.closed {
            self.count.fetch_sub(1, SeqCst);
            return Err((waiting.call, revoked));
        }
        state.bytes += waiting.call.request.len();
        state.note(waiting.until);
        state.calls.push_front(waiting);
        Ok(())
    }

    /// The last provider is gone: nobody waits here from now on.
    pub(crate) fn close(&self) -> Vec<Waiting> {
        let mut state = self.lock();
        state.closed = true;
        let left: Vec<_> = std::mem::take(&mut state.calls).into();
        self.leave(&mut state, &left);
        left
    }

    fn leave(&self, state: &mut State, gone: &[Waiting]) {
        state.bytes -= gone.iter().map(|waiting| waiting.call.request.len()).sum::<usize>();
        self.count.fetch_sub(gone.len(), SeqCst);
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl State {
    fn note(&mut self, until: Instant) {
        self.first_until = Some(self.first_until.map_or(until, |first| first.min(until)));
    }
}
