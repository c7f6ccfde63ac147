//! The answers that a session owes as a provider. It alone knows them, so it alone decides how each call ends.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::{Duration, Instant};

use crate::call::{Call, CallKey};
use crate::packet::Packet;
use crate::services::Provider;

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
    /// The call; its request is kept only where it may be needed again.
    pub(super) call: Box<Call>,
    /// When it ends without an answer, or a WebSocket that one side has left.
    deadline: Instant,
    /// How long the answer may take to begin, from the last word of the caller.
    timeout: Duration,
    pub(super) stage: Stage,
    /// The caller has ended its direction.
    pub(super) upload_ended: bool,
    /// Bytes of response body that the caller accepts; negative after a large first frame.
    pub(super) credit: i64,
    /// Bytes of progress that were passed on.
    pub(super) progress: usize,
}

/// How far the answer is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Stage {
    /// Nothing was answered yet.
    Asked,
    /// The head of the response went out.
    Answered,
    /// A WebSocket is open.
    Open,
    /// A WebSocket whose provider has ended its direction.
    HalfOpen,
}

/// A request that may not be carried out twice is kept until its answer begins, in case that its provider does not take
/// it, if its body is no longer than this: 64 KiB.
const KEPT_BYTES_MAX: usize = 64 * 1024;

impl Owed {
    pub(super) fn is_empty(&self) -> bool {
        self.calls.is_empty()
    }

    /// Notes the call and gives it an id. What comes out is the request.
    pub(super) fn add(&mut self, now: Instant, mut call: Box<Call>) -> (u64, Packet) {
        self.last_id += 2;
        let id = self.last_id;
        let is_kept = call.ended && (call.idempotent || call.request.payload_len() <= KEPT_BYTES_MAX);
        let request = if is_kept {
            call.request.clone()
        } else {
            std::mem::replace(&mut call.request, Packet::empty())
        };
        let debt = Debt {
            deadline: call.deadline,
            timeout: call.deadline.saturating_duration_since(now),
            stage: Stage::Asked,
            upload_ended: call.ended,
            credit: call.credit.into(),
            progress: 0,
            call,
        };
        self.deadlines.insert((debt.deadline, id));
        self.ids.insert(debt.call.key(), id);
        self.calls.insert(id, debt);
        (id, request)
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
        let Some(debt) = self.calls.get(&id) else { return };
        if debt.stage == Stage::Asked {
            let deadline = now + debt.timeout;
            self.end_by(id, deadline);
        }
    }

    /// From now on the call ends then, if it has not before.
    pub(super) fn end_by(&mut self, id: u64, deadline: Instant) {
        let Some(debt) = self.calls.get_mut(&id) else { return };
        self.deadlines.remove(&(debt.deadline, id));
        debt.deadline = deadline;
        self.deadlines.insert((deadline, id));
    }

    /// The answer has begun in time; how long the rest of it takes is up to its two ends.
    pub(super) fn begin(&mut self, id: u64, stage: Stage) {
        let Some(debt) = self.calls.get_mut(&id) else { return };
        debt.stage = stage;
        debt.call.request = Packet::empty();
        self.deadlines.remove(&(debt.deadline, id));
    }

    /// The call has its outcome.
    pub(super) fn settle(&mut self, id: u64) -> Option<Debt> {
        let debt = self.calls.remove(&id)?;
        self.deadlines.remove(&(debt.deadline, id));
        self.ids.remove(&debt.call.key());
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

    /// The calls of one registration.
    pub(super) fn of(&self, provider: &Arc<Provider>) -> Vec<u64> {
        let is_its =
            |debt: &Debt| debt.call.seat.as_ref().is_some_and(|seat| Arc::ptr_eq(seat.provider(), provider));
        self.calls.iter().filter(|(_, debt)| is_its(debt)).map(|(id, _)| *id).collect()
    }

    /// Every call, because the provider is gone.
    pub(super) fn settle_all(&mut self) -> impl Iterator<Item = Debt> + use<> {
        self.ids.clear();
        self.deadlines.clear();
        std::mem::take(&mut self.calls).into_values()
    }
}
