//! The mailbox of a service of this process: letters about calls, each to its call.

use std::collections::HashMap;
use std::collections::hash_map::Entry;
use std::fmt;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::Waker;
use std::time::Instant;

use tokio::runtime;
use tokio::sync::{Semaphore, watch};
use tokio::task::AbortHandle;
use whub_core::{
    Call, CallKey, Fate, Fault, Framing, Hub, Letter, Parcel, Post, Publication, Sent, SessionId, Undelivered,
};
use whub_proto::names::Pattern;

use crate::local::call::CallState;
use crate::local::{Handler, LocalService, running};

/// A local service as the hub sees it.
#[derive(Debug)]
pub(crate) struct LocalMailbox {
    session: SessionId,
    shared: Arc<Shared>,
}

/// What the mailbox and its calls share.
pub(super) struct Shared {
    pub(super) hub: Arc<Hub>,
    pub(super) pattern: Pattern,
    pub(super) handler: Arc<dyn Handler>,
    /// Calls that may be answered at once.
    pub(super) gate: Semaphore,
    calls_max: usize,
    runtime: runtime::Handle,
    // Held for a lookup or an insertion. Not while a task is spawned: a runtime that stops drops the task at once, and
    // its end takes this lock.
    calls: Mutex<Calls>,
    /// How many calls there are, for the one who waits until the last has ended.
    present: watch::Sender<usize>,
}

#[derive(Default)]
struct Calls {
    running: HashMap<CallKey, Running>,
    closed: bool,
}

struct Running {
    state: Arc<CallState>,
    /// `None` for the moment between the call's arrival and its task.
    task: Option<AbortHandle>,
}

impl Running {
    fn abort(&self) {
        if let Some(task) = &self.task {
            task.abort();
        }
    }
}

impl LocalMailbox {
    /// A mailbox whose calls run as tasks of the current runtime.
    pub(crate) fn new(hub: &Arc<Hub>, service: &LocalService) -> Self {
        let shared = Shared {
            hub: Arc::clone(hub),
            pattern: service.pattern.clone(),
            handler: Arc::clone(&service.handler),
            gate: Semaphore::new(service.concurrency.min(Semaphore::MAX_PERMITS)),
            calls_max: service.concurrency.saturating_add(service.queue),
            runtime: runtime::Handle::current(),
            calls: Mutex::default(),
            present: watch::Sender::new(0),
        };
        Self { session: hub.next_session(), shared: Arc::new(shared) }
    }

    /// Resolves when no call is under way.
    pub(crate) async fn idle(&self) {
        let mut present = self.shared.present.subscribe();
        // The sender lives as long as this.
        let _ = present.wait_for(|present| *present == 0).await;
    }

    /// Accepts nothing from here on; calls under way fail with this fault.
    pub(crate) fn close(&self, fault: &Fault) {
        let running = {
            let mut calls = self.shared.lock();
            calls.closed = true;
            std::mem::take(&mut calls.running)
        };
        self.shared.present.send_replace(0);
        for call in running.into_values() {
            if call.state.settle() {
                self.shared.hub.counters.calls_provider_lost.one();
                let failed = Letter::Failed { id: call.state.id, fault: fault.clone() };
                let _ = call.state.caller.post(failed);
            }
            call.abort();
        }
    }

    fn begin(&self, call: Call) -> Result<(), Undelivered> {
        let now = Instant::now();
        let state = CallState::new(call.caller.clone(), call.id, now, call.deadline, call.credit);
        let state = Arc::new(state);
        let key = CallKey { caller: state.caller.session(), id: state.id };
        if let Err(why) = self.shared.admit(key, &state) {
            return Err(why(Letter::Call(Box::new(call))));
        }
        call.caller.served_by(call.service.pattern.as_str());
        let task = running::run(Arc::clone(&self.shared), state, call, key);
        let task = self.shared.runtime.spawn(task).abort_handle();
        match self.shared.lock().running.get_mut(&key) {
            Some(running) => running.task = Some(task),
            // Ended already, or abandoned before there was a task to stop.
            None => task.abort(),
        }
        Ok(())
    }

    fn abandon(&self, key: CallKey) {
        let Some(call) = self.shared.remove(key) else { return };
        if call.state.settle() {
            self.shared.hub.counters.calls_cancelled.one();
        }
        call.abort();
    }

    fn state(&self, key: CallKey) -> Option<Arc<CallState>> {
        self.shared.lock().running.get(&key).map(|call| Arc::clone(&call.state))
    }
}

impl Shared {
    fn admit(&self, key: CallKey, state: &Arc<CallState>) -> Result<(), fn(Letter) -> Undelivered> {
        let mut calls = self.lock();
        if calls.closed {
            return Err(Undelivered::Gone);
        }
        if calls.running.len() >= self.calls_max {
            return Err(Undelivered::Full);
        }
        calls.running.insert(key, Running { state: Arc::clone(state), task: None });
        self.present.send_replace(calls.running.len());
        Ok(())
    }

    /// The call has ended.
    pub(super) fn forget(&self, key: CallKey) {
        self.remove(key);
    }

    fn remove(&self, key: CallKey) -> Option<Running> {
        let mut calls = self.lock();
        let Entry::Occupied(entry) = calls.running.entry(key) else { return None };
        let call = entry.remove();
        self.present.send_replace(calls.running.len());
        Some(call)
    }

    fn lock(&self) -> MutexGuard<'_, Calls> {
        self.calls.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Post for LocalMailbox {
    fn session(&self) -> SessionId {
        self.session
    }

    fn framing(&self) -> Framing {
        Framing::Private
    }

    fn post(&self, letter: Letter) -> Result<(), Undelivered> {
        match letter {
            Letter::Call(call) => return self.begin(*call),
            Letter::Upload { call, data } => {
                if let Some(state) = self.state(call) {
                    state.upload(Instant::now(), data);
                }
            }
            Letter::Refill { call, bytes } => {
                if let Some(state) = self.state(call) {
                    state.refill(bytes);
                }
            }
            Letter::Abandon { call, .. } => self.abandon(call),
            // For callers, halves of pairs and connections; this is none. Its end is the server's to tell.
            Letter::Answer { .. }
            | Letter::Credit { .. }
            | Letter::Placed { .. }
            | Letter::Failed { .. }
            | Letter::Paired { .. }
            | Letter::Parted { .. }
            | Letter::Drain { .. }
            | Letter::Recheck
            | Letter::Kick(_) => {}
        }
        Ok(())
    }

    fn send(&self, _: Parcel<'_>) -> Sent {
        // Parcels are for halves of pairs.
        Sent::Gone
    }

    fn hold(&self) {}

    fn poll_room(&self, _: &Waker) -> bool {
        // Credit bounds what waits for each call.
        true
    }

    fn publish(&self, _: &dyn Publication) -> Fate {
        Fate::DroppedGone
    }
}

impl fmt::Debug for Shared {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Shared({})", self.pattern)
    }
}
