//! Leads calls that wait to providers that have become free, and tells those who waited too long.
//!
//! Contract: the driver calls [`Hub::handle_waiting`](crate::Hub::handle_waiting) when it begins, whenever the waker
//! that it handed in there is woken, and when the time that came out has come. One driver per hub.
//!
//! Places become free in the middle of other work, under who knows which lock, so nothing is sent from there: a bell is
//! rung, and the usher comes.

use std::sync::{Arc, Mutex, PoisonError};
use std::task::Waker;

use crate::services::Service;

/// Calls the usher.
#[derive(Debug, Default)]
pub(crate) struct Bell {
    // Held for a look, never while another lock is taken.
    state: Mutex<State>,
}

#[derive(Debug, Default)]
struct State {
    waker: Option<Waker>,
    /// Services at which somebody waits.
    services: Vec<Arc<Service>>,
}

impl Bell {
    /// Something may have become possible at a service where somebody waits.
    pub(crate) fn ring(&self) {
        let waker = self.with(|state| state.waker.clone());
        if let Some(waker) = waker {
            waker.wake();
        }
    }

    /// Somebody has begun to wait at this service.
    pub(crate) fn attend(&self, service: &Arc<Service>) {
        self.with(|state| {
            if !state.services.iter().any(|known| Arc::ptr_eq(known, service)) {
                state.services.push(Arc::clone(service));
            }
        });
        self.ring();
    }

    /// The usher comes: where somebody waits, and whom to wake from now on.
    pub(crate) fn answer(&self, waker: &Waker) -> Vec<Arc<Service>> {
        self.with(|state| {
            if !state.waker.as_ref().is_some_and(|known| known.will_wake(waker)) {
                state.waker = Some(waker.clone());
            }
            state.services.clone()
        })
    }

    /// Services at which nobody waits any more are forgotten.
    pub(crate) fn tidy(&self) {
        self.with(|state| state.services.retain(|service| service.waiting() > 0));
    }

    fn with<T>(&self, act: impl FnOnce(&mut State) -> T) -> T {
        act(&mut self.state.lock().unwrap_or_else(PoisonError::into_inner))
    }
}
