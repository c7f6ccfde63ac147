//! The steps in their order, and the place where the hub keeps them.

use std::fmt;
use std::sync::atomic::{AtomicU8, AtomicU64, Ordering::Relaxed};
use std::sync::{Arc, PoisonError, RwLock};

use crate::fault::Fault;
use crate::hub::Now;
use crate::middleware::{AnswerHead, Asked, CallRecord, Interest, Middleware, Outcome};

/// Tells the time where nobody hands it in: outcomes come by letter, and a letter carries no time. It is the
/// driver's clock; tests make it up.
pub type Clock = Arc<dyn Fn() -> Now + Send + Sync>;

/// Steps in order. Immutable: a reload makes a new one, with the steps that stay.
pub struct Chain {
    steps: Box<[Arc<dyn Middleware>]>,
    interest: Interest,
    clock: Clock,
}

impl Chain {
    /// A chain of these steps.
    #[must_use]
    pub fn new(steps: Vec<Arc<dyn Middleware>>, clock: Clock) -> Self {
        let none = Interest { bare_calls: false, answers: false, ends: false };
        let interest = steps.iter().fold(none, |all, step| all.or(step.interest()));
        Self { steps: steps.into(), interest, clock }
    }

    /// The steps in order.
    #[must_use]
    pub fn steps(&self) -> &[Arc<dyn Middleware>] {
        &self.steps
    }

    /// Whether answers and ends are to be watched.
    pub(crate) fn watches(&self) -> bool {
        self.interest.answers || self.interest.ends
    }

    /// Whether the heads of answers are to be shown.
    pub(crate) fn sees_answers(&self) -> bool {
        self.interest.answers
    }

    pub(crate) fn now(&self) -> Now {
        (self.clock)()
    }

    /// Every step's word before the call, until one refuses.
    pub(crate) fn before(&self, now: Now, asked: &mut Asked<'_>) -> Result<(), Fault> {
        self.steps.iter().try_for_each(|step| step.before(now, asked))
    }

    /// Every step's word about the answer, the last step first.
    pub(crate) fn answered(&self, now: Now, record: &CallRecord, answer: &mut AnswerHead<'_>) {
        self.steps.iter().rev().for_each(|step| step.answered(now, record, answer));
    }

    /// The end of a call that was never made.
    pub(crate) fn turned_away(&self, now: Now, asked: &Asked<'_>, fault: &Fault) {
        if self.interest.ends {
            let outcome = Outcome::refused(fault, asked.payload.len() as u64);
            self.ended(now, &CallRecord::new(now, asked), &outcome);
        }
    }

    /// Tells every step, the last first.
    pub(crate) fn ended(&self, now: Now, record: &CallRecord, outcome: &Outcome) {
        self.steps.iter().rev().for_each(|step| step.ended(now, record, outcome));
    }
}

impl fmt::Debug for Chain {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_list().entries(self.steps.iter().map(|step| step.name())).finish()
    }
}

/// Where the hub keeps its chain. Calls under way keep the one that they began with.
#[derive(Debug, Default)]
pub struct ChainSlot {
    /// Which calls the chain wants, so that the others do not even take the lock.
    wants: AtomicU8,
    // Read for as long as it takes to clone the pointer.
    chain: RwLock<Option<Arc<Chain>>>,
    numbers: AtomicU64,
}

const NONE: u8 = 0;
const THOSE_WITH_HEADERS: u8 = 1;
const ALL: u8 = 2;

impl ChainSlot {
    /// Puts another chain into force, for the calls that come from now on.
    pub fn replace(&self, chain: Chain) {
        let wants = match (chain.steps.is_empty(), chain.interest) {
            (true, _) => NONE,
            (false, Interest { bare_calls: false, answers: false, ends: false }) => THOSE_WITH_HEADERS,
            (false, _) => ALL,
        };
        let mut slot = self.chain.write().unwrap_or_else(PoisonError::into_inner);
        *slot = Some(Arc::new(chain));
        self.wants.store(wants, Relaxed);
    }

    /// The chain that is in force, if there is one.
    #[must_use]
    pub fn current(&self) -> Option<Arc<Chain>> {
        self.chain.read().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// The chain for a call, if it is of interest, and the call's number.
    pub(crate) fn for_call(&self, has_headers: bool) -> Option<(Arc<Chain>, u64)> {
        match self.wants.load(Relaxed) {
            NONE => return None,
            THOSE_WITH_HEADERS if !has_headers => return None,
            _ => {}
        }
        let chain = self.current()?;
        Some((chain, self.numbers.fetch_add(1, Relaxed) + 1))
    }
}
