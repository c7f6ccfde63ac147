//! Who provides what: a trie from patterns to services, each with its providers.

mod access;
mod events;
mod histogram;
mod line;
mod provider;
mod registration;
mod roster;
mod settings;
mod stats;
mod usher;

use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, RwLock};
use std::task::Waker;
use std::time::Instant;

use whub_proto::Code;
use whub_proto::names::{Pattern, ServicePath, Trie};

use crate::call::{Call, CallKey};
use crate::fault::Fault;
use crate::mailbox::{Mailbox, SessionId};

pub use access::AccessRule;
pub use events::{ServiceChange, ServiceEvent, ServiceObserver};
pub use histogram::{Histogram, Latency};
pub use provider::{Provider, Seat};
pub use registration::Registration;
pub use settings::{Choose, ServicePolicies, ServiceSettings};
pub use stats::{Errors, Stats};

pub(crate) use line::{Waiting, Withdrawn};

use events::Observers;
use line::Line;
use provider::Refused;
use roster::{Chance, mix};

pub(crate) use roster::{Roster, hash};
use usher::Bell;

/// The table of services.
///
/// One lock for the whole trie is enough: readers share it for one walk of a few segments, and only registrations
/// write. Calls are posted after it was let go.
#[derive(Debug, Default)]
pub struct Services {
    table: RwLock<Table>,
    observers: Observers,
    bell: Arc<Bell>,
    /// Makes choices unpredictable; a number from outside, since nothing here is random.
    seed: AtomicU64,
}

#[derive(Debug, Default)]
struct Table {
    services: Trie<Arc<Service>>,
    policies: ServicePolicies,
    /// Changes so far.
    serial: u64,
}

/// A path pattern and those who serve it.
#[derive(Debug)]
pub struct Service {
    /// As registered.
    pub pattern: Pattern,
    /// What happened to its calls since its first provider came.
    pub stats: Stats,
    roster: Mutex<Arc<Roster>>,
    line: Arc<Line>,
    bell: Arc<Bell>,
    /// Counts choices.
    turn: AtomicU64,
    seed: u64,
}

/// A provider that has left, and the calls that waited for a place if it was the last one.
#[derive(Debug)]
#[must_use = "calls that waited need an outcome"]
pub struct Left {
    /// Who; `None` when it did not provide the pattern.
    pub provider: Option<Arc<Provider>>,
    pub(crate) stranded: Vec<Waiting>,
}

impl Services {
    /// Makes choices unpredictable to those who do not know the number.
    pub fn seed(&self, seed: u64) {
        self.seed.store(seed, Relaxed);
    }

    /// Puts new settings into force, for services that are there and those to come.
    pub fn configure(&self, policies: ServicePolicies) {
        let mut table = self.table.write().unwrap_or_else(PoisonError::into_inner);
        table.services.for_each(|service| {
            let settings = Arc::clone(policies.settings(&service.pattern));
            service.change(|roster| (roster.providers.to_vec(), settings));
        });
        table.policies = policies;
    }

    /// Tells `observer` of every provider that comes or goes from now on.
    pub fn observe(&self, observer: Arc<dyn ServiceObserver>) {
        self.observers.add(observer);
    }

    /// Adds a provider.
    ///
    /// # Errors
    /// `Conflict` when this session provides the pattern already, or when the pattern names a segment differently
    /// from a pattern that is in use.
    pub fn register(&self, registration: Registration, mailbox: Mailbox) -> Result<Arc<Provider>, Fault> {
        let (event, provider) = {
            let mut table = self.table.write().unwrap_or_else(PoisonError::into_inner);
            let (service, is_new) = match table.services.get(&registration.pattern) {
                Some(service) => (Arc::clone(service), false),
                None => (Arc::new(self.service(&registration.pattern, &table.policies)), true),
            };
            let provider = service.add(registration, mailbox)?;
            if is_new {
                table.services.insert(&service.pattern, Arc::clone(&service));
            }
            (table.event(ServiceChange::Came, service, &provider), provider)
        };
        event.service.line.place_free();
        self.observers.tell(&event);
        Ok(provider)
    }

    /// Takes a provider away; the service goes with its last one.
    pub fn unregister(&self, pattern: &Pattern, session: SessionId) -> Left {
        let none = Left { provider: None, stranded: Vec::new() };
        let (event, stranded) = {
            let mut table = self.table.write().unwrap_or_else(PoisonError::into_inner);
            let Some(service) = table.services.get(pattern).cloned() else { return none };
            let Some(provider) = service.remove(session) else { return none };
            let mut stranded = Vec::new();
            if service.providers().is_empty() {
                table.services.remove(pattern);
                stranded = service.line.close();
            }
            (table.event(ServiceChange::Left, service, &provider), stranded)
        };
        self.observers.tell(&event);
        Left { provider: Some(event.provider), stranded }
    }

    /// The service for a path.
    #[must_use]
    pub fn find(&self, path: &ServicePath<'_>) -> Option<Arc<Service>> {
        let table = self.table.read().unwrap_or_else(PoisonError::into_inner);
        table.services.best(path).map(Arc::clone)
    }

    /// The service with exactly this pattern.
    #[must_use]
    pub fn get(&self, pattern: &Pattern) -> Option<Arc<Service>> {
        let table = self.table.read().unwrap_or_else(PoisonError::into_inner);
        table.services.get(pattern).map(Arc::clone)
    }

    /// Whether somebody provides a service with this host, in its one spelling.
    #[must_use]
    pub fn has_host(&self, host: &str) -> bool {
        self.table.read().unwrap_or_else(PoisonError::into_inner).services.has_host(host)
    }

    /// Every service now, by pattern, for status pages.
    #[must_use]
    pub fn list(&self) -> Vec<Arc<Service>> {
        let table = self.table.read().unwrap_or_else(PoisonError::into_inner);
        let mut services = Vec::with_capacity(table.services.len());
        table.services.for_each(|service| services.push(Arc::clone(service)));
        services.sort_by(|one, other| one.pattern.as_str().cmp(other.pattern.as_str()));
        services
    }

    /// The usher comes: see [`Bell::answer`].
    pub(crate) fn attended(&self, waker: &Waker) -> Vec<Arc<Service>> {
        self.bell.answer(waker)
    }

    /// The usher has done what can be done.
    pub(crate) fn tidy(&self) {
        self.bell.tidy();
    }

    fn service(&self, pattern: &Pattern, policies: &ServicePolicies) -> Service {
        let settings = Arc::clone(policies.settings(pattern));
        Service {
            pattern: pattern.clone(),
            stats: Stats::default(),
            roster: Mutex::new(Arc::new(Roster::new(Vec::new(), settings))),
            line: Arc::new(Line::new(Arc::clone(&self.bell))),
            bell: Arc::clone(&self.bell),
            turn: AtomicU64::new(0),
            // So that services of one hub choose differently.
            seed: mix(self.seed.load(Relaxed) ^ hash(pattern.as_str().as_bytes())),
        }
    }
}

impl Table {
    fn event(
        &mut self,
        what: ServiceChange,
        service: Arc<Service>,
        provider: &Arc<Provider>,
    ) -> ServiceEvent {
        self.serial += 1;
        let providers = service.providers().len();
        ServiceEvent { what, service, provider: Arc::clone(provider), providers, serial: self.serial }
    }
}

impl Service {
    /// Who serves it now.
    #[must_use]
    pub fn providers(&self) -> Arc<[Arc<Provider>]> {
        Arc::clone(&self.roster().providers)
    }

    /// What the configuration says of it.
    #[must_use]
    pub fn settings(&self) -> Arc<ServiceSettings> {
        Arc::clone(&self.roster().settings)
    }

    /// Who may call it.
    #[must_use]
    pub fn access(&self) -> AccessRule {
        self.roster().access.clone()
    }

    /// Request headers, in lower case, that every provider of it wants although they are kept back by default.
    #[must_use]
    pub fn pass_headers(&self) -> Arc<[Box<str>]> {
        Arc::clone(&self.roster().pass_headers)
    }

    /// Calls that wait for a free provider now.
    #[must_use]
    pub fn waiting(&self) -> usize {
        self.line.count()
    }

    /// Calls in flight at its providers now.
    #[must_use]
    pub fn inflight(&self) -> u64 {
        self.providers().iter().map(|provider| u64::from(provider.inflight())).sum()
    }

    /// Whether `user` may call it; empty for anonymous callers.
    ///
    /// # Errors
    /// `Unauthorized` or `Forbidden`.
    pub fn admit(&self, user: &str) -> Result<(), Fault> {
        self.roster().access.admit(user)
    }

    /// Hands the call to a provider that has a place for it, as the settings say.
    ///
    /// # Errors
    /// The call, when each of them is full or just leaving.
    pub(crate) fn offer(&self, roster: &Roster, call: Box<Call>) -> Result<Mailbox, Refused> {
        let turn = self.turn.fetch_add(1, Relaxed);
        roster.offer(Chance { turn, random: mix(self.seed.wrapping_add(turn)) }, call)
    }

    /// Has the call wait for a free provider.
    ///
    /// # Errors
    /// The call, when too many wait, or nobody provides the service any more.
    pub(crate) fn wait(self: &Arc<Self>, now: Instant, call: Box<Call>) -> Result<(), Box<Call>> {
        let settings = self.settings();
        let until = (now + settings.queue_wait).min(call.deadline);
        self.line.push(Waiting { call, until }, settings.queue)?;
        self.stats.waited.one();
        // The usher looks at once: a place may have become free before anybody waited for it.
        self.bell.attend(self);
        Ok(())
    }

    /// Takes a call back that waits.
    pub(crate) fn withdraw(&self, call: CallKey) -> Withdrawn {
        self.line.withdraw(call)
    }

    pub(crate) fn line(&self) -> &Line {
        &self.line
    }

    fn add(&self, registration: Registration, mailbox: Mailbox) -> Result<Arc<Provider>, Fault> {
        let pattern = &registration.pattern;
        if self.pattern != *pattern {
            return Err(Fault::fatal(
                Code::Conflict,
                "service.pattern_conflict",
                format!("{pattern} names its segments differently from {}, which is in use", self.pattern),
            ));
        }
        if self.providers().iter().any(|known| known.session() == mailbox.session()) {
            return Err(Fault::fatal(
                Code::Conflict,
                "service.registered",
                format!("this session provides {} already", self.pattern),
            ));
        }
        let provider = Arc::new(Provider::new(registration, mailbox, Arc::clone(&self.line)));
        let with = |roster: &Roster| {
            let all = roster.providers.iter().chain([&provider]).cloned().collect();
            (all, Arc::clone(&roster.settings))
        };
        self.change(with);
        Ok(provider)
    }

    fn remove(&self, session: SessionId) -> Option<Arc<Provider>> {
        let provider = self.providers().iter().find(|known| known.session() == session).cloned()?;
        let without = |roster: &Roster| {
            let left = roster.providers.iter().filter(|known| known.session() != session).cloned().collect();
            (left, Arc::clone(&roster.settings))
        };
        self.change(without);
        provider.leave();
        Some(provider)
    }

    /// Puts another roster in place. Only while the table is locked for writing.
    fn change(&self, next: impl FnOnce(&Roster) -> (Vec<Arc<Provider>>, Arc<ServiceSettings>)) {
        let (providers, settings) = next(&self.roster());
        *self.lock() = Arc::new(Roster::new(providers, settings));
    }

    pub(crate) fn roster(&self) -> Arc<Roster> {
        Arc::clone(&self.lock())
    }

    fn lock(&self) -> MutexGuard<'_, Arc<Roster>> {
        self.roster.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
