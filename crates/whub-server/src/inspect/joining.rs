//! The inspector's place in the chain: it joins when somebody looks, and leaves when that no longer counts, so that a
//! node whose calls nobody inspects pays nothing for it.

use std::sync::{Arc, PoisonError};
use std::time::Instant;

use whub_core::Fault;
use whub_core::middleware::Middleware;

use super::{Scope, Watched};
use crate::node::Node;

/// Whether the inspector is on its way out.
#[derive(Debug, Default)]
pub(super) struct Seat {
    /// A task waits for the end of the last watch.
    is_timed: bool,
}

impl Node {
    /// Somebody looks at the calls of a scope: they are recorded for a time.
    ///
    /// # Errors
    /// When too many scopes are watched.
    pub(crate) fn inspect(self: &Arc<Self>, scope: &Scope) -> Result<(), Fault> {
        self.inspector.watch(scope, Instant::now() + self.config().inspect.linger)?;
        self.seat_inspector();
        let mut seat = self.inspector.seat.lock().unwrap_or_else(PoisonError::into_inner);
        if !std::mem::replace(&mut seat.is_timed, true) {
            let node = Arc::downgrade(self);
            tokio::spawn(async move {
                while let Some(node) = node.upgrade() {
                    let Some(until) = node.leave_if_over() else { return };
                    drop(node);
                    tokio::time::sleep_until(until.into()).await;
                }
            });
        }
        Ok(())
    }

    /// Forgets all calls and records no more than the configuration wants.
    pub(crate) fn stop_inspecting(&self) {
        self.inspector.clear();
        self.seat_inspector();
    }

    /// Puts the inspector behind the last step of the chain, or takes it out, as somebody watches or not. Whoever
    /// makes another chain calls this afterwards.
    pub(crate) fn seat_inspector(&self) {
        let seat = self.inspector.seat.lock().unwrap_or_else(PoisonError::into_inner);
        let watched = self.inspector.watched(Instant::now()) != Watched::Not;
        let mine: Arc<dyn Middleware> = self.inspector.clone();
        let current = self.hub.chain.current();
        let is_there = current.is_some_and(|chain| chain.steps().iter().any(|step| Arc::ptr_eq(step, &mine)));
        match (watched, is_there) {
            (true, false) => self.chain.add(&self.hub, &self.config(), mine),
            (false, true) => self.chain.remove(&self.hub, &self.config(), mine.name()),
            (true, true) | (false, false) => {}
        }
        drop(seat);
    }

    /// Leaves the chain if nobody watches any more; otherwise says when to look again.
    fn leave_if_over(&self) -> Option<Instant> {
        {
            // Looked at under the lock: whoever begins to watch afterwards finds no timer, and starts one.
            let mut seat = self.inspector.seat.lock().unwrap_or_else(PoisonError::into_inner);
            if let Watched::Until(until) = self.inspector.watched(Instant::now()) {
                return Some(until);
            }
            seat.is_timed = false;
        }
        self.seat_inspector();
        None
    }
}
