//! News of providers that come and go, for lists that live.

use std::fmt;
use std::sync::{Arc, PoisonError, RwLock};

use crate::services::Service;
use crate::services::provider::Provider;

/// A provider came or went.
#[derive(Debug, Clone)]
pub struct ServiceEvent {
    /// Which of the two.
    pub what: ServiceChange,
    /// The service.
    pub service: Arc<Service>,
    /// Who.
    pub provider: Arc<Provider>,
    /// How many provide the service now.
    pub providers: usize,
    /// Counts the changes of all services, from 1: events of different threads may be told in another order than they
    /// happened in.
    pub serial: u64,
}

/// What happened.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ServiceChange {
    /// It provides the service from now on.
    Came,
    /// It does not any more: it unregistered, drains, or its connection ended.
    Left,
}

/// Told of every change, by the thread that makes it, while no table is locked. It must not wait for anything.
pub trait ServiceObserver: Send + Sync {
    /// A provider came or went.
    fn changed(&self, event: &ServiceEvent);
}

/// Who wants to know.
#[derive(Default)]
pub(crate) struct Observers(RwLock<Vec<Arc<dyn ServiceObserver>>>);

impl Observers {
    pub(crate) fn add(&self, observer: Arc<dyn ServiceObserver>) {
        self.0.write().unwrap_or_else(PoisonError::into_inner).push(observer);
    }

    pub(crate) fn tell(&self, event: &ServiceEvent) {
        let observers = self.0.read().unwrap_or_else(PoisonError::into_inner).clone();
        for observer in observers {
            observer.changed(event);
        }
    }
}

impl fmt::Debug for Observers {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Observers")
    }
}
