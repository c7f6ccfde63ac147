//! Who provides what: a trie from patterns to services, each with its providers.

use std::sync::atomic::{AtomicU32, AtomicUsize, Ordering::Relaxed};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, RwLock};

use whub_proto::Code;
use whub_proto::names::{Pattern, ServicePath, Trie};

use crate::fault::Fault;
use crate::letter::{Call, Letter};
use crate::mailbox::{Mailbox, SessionId, Undelivered};

/// The table of services.
///
/// One lock for the whole trie is enough: readers share it for one walk of a few segments, and only registrations
/// write. Calls are posted after it was let go.
#[derive(Debug, Default)]
pub struct Services {
    table: RwLock<Trie<Arc<Service>>>,
}

/// A path pattern and those who serve it.
#[derive(Debug)]
pub struct Service {
    /// As registered.
    pub pattern: Pattern,
    providers: Mutex<Arc<[Arc<Provider>]>>,
    turn: AtomicUsize,
}

/// A session that registered a service.
#[derive(Debug)]
pub struct Provider {
    mailbox: Mailbox,
    /// Calls that the provider wants at most at once; 0 = no limit of its own.
    inflight_max: u32,
    inflight: AtomicU32,
    calls: crate::counters::Counter,
}

/// A call's place among the calls in flight of its provider.
#[derive(Debug)]
pub struct Seat(Arc<Provider>);

impl Drop for Seat {
    fn drop(&mut self) {
        self.0.inflight.fetch_sub(1, Relaxed);
    }
}

impl Services {
    /// Adds a provider.
    ///
    /// # Errors
    /// `Conflict` when this session provides the pattern already, or when the pattern names a segment differently
    /// from a pattern that is in use.
    pub fn register(&self, pattern: &Pattern, mailbox: Mailbox, inflight_max: u32) -> Result<(), Fault> {
        let provider = Arc::new(Provider {
            mailbox,
            inflight_max,
            inflight: AtomicU32::new(0),
            calls: crate::counters::Counter::default(),
        });
        let mut table = self.table.write().unwrap_or_else(PoisonError::into_inner);
        if let Some(service) = table.get(pattern) {
            return service.add(pattern, provider);
        }
        let service = Service {
            pattern: pattern.clone(),
            providers: Mutex::new(Arc::new([provider])),
            turn: AtomicUsize::new(0),
        };
        table.insert(pattern, Arc::new(service));
        Ok(())
    }

    /// Takes a provider away; the service goes with its last one.
    pub fn unregister(&self, pattern: &Pattern, session: SessionId) {
        let mut table = self.table.write().unwrap_or_else(PoisonError::into_inner);
        let Some(service) = table.get(pattern) else { return };
        if service.remove(session) {
            table.remove(pattern);
        }
    }

    /// The service for a path.
    #[must_use]
    pub fn find(&self, path: &ServicePath<'_>) -> Option<Arc<Service>> {
        let table = self.table.read().unwrap_or_else(PoisonError::into_inner);
        table.best(path).map(Arc::clone)
    }

    /// Whether somebody provides a service with this host, in its one spelling.
    #[must_use]
    pub fn has_host(&self, host: &str) -> bool {
        self.table.read().unwrap_or_else(PoisonError::into_inner).has_host(host)
    }

    /// Every service now, by pattern, for status pages.
    #[must_use]
    pub fn list(&self) -> Vec<Arc<Service>> {
        let table = self.table.read().unwrap_or_else(PoisonError::into_inner);
        let mut services = Vec::with_capacity(table.len());
        table.for_each(|service| services.push(Arc::clone(service)));
        services.sort_by(|one, other| one.pattern.as_str().cmp(other.pattern.as_str()));
        services
    }
}

impl Service {
    /// Who serves it now.
    #[must_use]
    pub fn providers(&self) -> Arc<[Arc<Provider>]> {
        Arc::clone(&self.lock())
    }

    /// Asks one provider after the other, beginning with whose turn it is, until one takes the call. `make` builds
    /// the call around the place it takes.
    ///
    /// # Errors
    /// `Unavailable` when each of them was full or just leaving.
    pub fn place(&self, mut make: impl FnMut(Seat) -> Call) -> Result<Mailbox, Fault> {
        let providers = self.providers();
        let first = self.turn.fetch_add(1, Relaxed);
        for step in 0..providers.len() {
            let provider = &providers[first.wrapping_add(step) % providers.len()];
            let Some(seat) = provider.take_seat() else { continue };
            match provider.mailbox.post(Letter::Call(Box::new(make(seat)))) {
                Ok(()) => {
                    provider.calls.one();
                    return Ok(provider.mailbox.clone());
                }
                Err(Undelivered::Full(_) | Undelivered::Gone(_)) => {}
            }
        }
        Err(Fault::passing(
            Code::Unavailable,
            "service.overloaded",
            RETRY_MS,
            format!("every provider of {} is busy; try again a little later", self.pattern),
        ))
    }

    fn add(&self, pattern: &Pattern, provider: Arc<Provider>) -> Result<(), Fault> {
        if self.pattern != *pattern {
            return Err(Fault::fatal(
                Code::Conflict,
                "service.pattern_conflict",
                format!("{pattern} names its segments differently from {}, which is in use", self.pattern),
            ));
        }
        let mut providers = self.lock();
        if providers.iter().any(|known| known.mailbox == provider.mailbox) {
            return Err(Fault::fatal(
                Code::Conflict,
                "service.registered",
                format!("this session provides {} already", self.pattern),
            ));
        }
        *providers = providers.iter().cloned().chain([provider]).collect();
        Ok(())
    }

    /// True when nobody is left.
    fn remove(&self, session: SessionId) -> bool {
        let mut providers = self.lock();
        *providers = providers.iter().filter(|known| known.mailbox.session() != session).cloned().collect();
        providers.is_empty()
    }

    fn lock(&self) -> MutexGuard<'_, Arc<[Arc<Provider>]>> {
        self.providers.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// When to come back to a service that is overloaded: about as long as a burst lasts.
const RETRY_MS: u32 = 500;

impl Provider {
    /// The provider's session.
    #[must_use]
    pub fn session(&self) -> SessionId {
        self.mailbox.session()
    }

    /// Calls in flight now.
    #[must_use]
    pub fn inflight(&self) -> u32 {
        self.inflight.load(Relaxed)
    }

    /// Calls that it was given so far.
    #[must_use]
    pub fn calls(&self) -> u64 {
        self.calls.read()
    }

    fn take_seat(self: &Arc<Self>) -> Option<Seat> {
        let taken = self.inflight.fetch_add(1, Relaxed);
        let seat = Seat(Arc::clone(self));
        (self.inflight_max == 0 || taken < self.inflight_max).then_some(seat)
    }
}
