//! The answers that a session owes as a provider. It alone knows them, so it alone decides how each call ends.

use std::collections::{BTreeMap, BTreeSet};
use std::time::{Duration, Instant};

use crate::letter::{Call, CallId, CallKey};
use crate::mailbox::Mailbox;
use crate::services::Seat;

/// Calls by the id that this connection knows them by.
#[derive(Debug, Default)]
pub(super) struct Owed {
    calls: BTreeMap<u64, Debt>,
    ids: BTreeMap<CallKey, u64>,
    deadlines: BTreeSet<(Instant, u64)>,
    /// The newest id; ids of the hub are even.
    last_id: u64,
}

/// One call that is owed an outcome.
#[derive(Debug)]
pub(super) struct Debt {
    pub(super) caller: Mailbox,
    /// The call, as its caller knows it.
    pub(super) id: CallId,
    deadline: Instant,
    /// How long the answer may take to begin, from the last word of the caller.
    timeout: Duration,
    /// The head of the response went out.
    pub(super) answered: bool,
    /// Bytes of response body that the caller accepts; negative after a large first frame.
    pub(super) credit: i64,
    /// Held for as long as the call is in flight.
    _seat: Seat,
}

impl Debt {
    pub(super) fn key(&self) -> CallKey {
        CallKey { caller: self.caller.session(), id: self.id }
    }
}

impl Owed {
    pub(super) fn is_empty(&self) -> bool {
        self.calls.is_empty()
    }

    /// Notes the call and gives it an id.
    pub(super) fn add(&mut self, now: Instant, call: Call) -> u64 {
        self.last_id += 2;
        let id = self.last_id;
        let debt = Debt {
            caller: call.caller,
            id: call.id,
            deadline: call.deadline,
            timeout: call.deadline.saturating_duration_since(now),
            answered: false,
            credit: call.credit.into(),
            _seat: call.seat,
        };
        self.deadlines.insert((debt.deadline, id));
        self.ids.insert(debt.key(), id);
        self.calls.insert(id, debt);
        id
    }

    pub(super) fn get(&mut self, id: u64) -> Option<&mut Debt> {
        self.calls.get_mut(&id)
    }

    pub(super) fn id(&self, key: CallKey) -> Option<u64> {
        self.ids.get(&key).copied()
    }

    /// An id that was given out on this connection, whether the call still lives or not.
    pub(super) fn was_given(&self, id: u64) -> bool {
        id != 0 && id.is_multiple_of(2) && id <= self.last_id
    }

    /// The request's body goes on, so the provider does not have all that it is to answer yet.
    pub(super) fn renew(&mut self, now: Instant, id: u64) {
        let Some(debt) = self.calls.get_mut(&id) else { return };
        if debt.answered {
            return;
        }
        self.deadlines.remove(&(debt.deadline, id));
        debt.deadline = now + debt.timeout;
        self.deadlines.insert((debt.deadline, id));
    }

    /// The answer has begun in time; how long the rest of it takes is up to its two ends.
    pub(super) fn begin(&mut self, id: u64) {
        let Some(debt) = self.calls.get_mut(&id) else { return };
        debt.answered = true;
        self.deadlines.remove(&(debt.deadline, id));
    }

    /// The call has its outcome.
    pub(super) fn settle(&mut self, id: u64) -> Option<Debt> {
        let debt = self.calls.remove(&id)?;
        self.deadlines.remove(&(debt.deadline, id));
        self.ids.remove(&debt.key());
        Some(debt)
    }

    pub(super) fn first_deadline(&self) -> Option<Instant> {
        self.deadlines.first().map(|(deadline, _)| *deadline)
    }

    /// One call whose time is up.
    pub(super) fn expire(&mut self, now: Instant) -> Option<(u64, Debt)> {
        let (deadline, id) = *self.deadlines.first()?;
        if deadline > now {
            return None;
        }
        self.settle(id).map(|debt| (id, debt))
    }

    /// Every call, because the provider is gone.
    pub(super) fn settle_all(&mut self) -> impl Iterator<Item = Debt> + use<> {
        self.ids.clear();
        self.deadlines.clear();
        std::mem::take(&mut self.calls).into_values()
    }
}
