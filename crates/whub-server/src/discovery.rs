//! Who provides what, for programs and people who look: the list of services, each provider's health, and the news of
//! those who come and go.
//!
//! The list is made in [`report`](crate::report). Here is what it cannot read off the tables: which providers fail at
//! present, which left a short while ago, and who is told of it. News go to those who listen at `/v1/services?watch`,
//! each of whom sees the services that it may call or provide, and to subscribers of the channel `$services`, who see all.

mod health;
mod news;

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use tokio::sync::broadcast;
use tokio::sync::broadcast::error::RecvError;
use whub_core::{Hub, Provider, Service, ServiceEvent, ServiceObserver};
use whub_proto::names::Pattern;

pub(crate) use health::Health;
pub(crate) use news::{Departure, News};

use crate::connection::now;
use health::Samples;
use news::Departures;

/// News that may wait for one who listens; who is slower than that is told how many were left out.
const NEWS: usize = 1024;

/// How often providers are looked at. A provider's health is that of its last two to three such times.
const SAMPLING: Duration = Duration::from_secs(15);

/// What is known of services beside the tables.
#[derive(Debug)]
pub(crate) struct Discovery {
    news: broadcast::Sender<Arc<News>>,
    // Held for a note or a copy.
    state: Mutex<State>,
}

#[derive(Debug, Default)]
struct State {
    departures: Departures,
    samples: Samples,
}

impl Default for Discovery {
    fn default() -> Self {
        Self { news: broadcast::Sender::new(NEWS), state: Mutex::default() }
    }
}

impl Discovery {
    /// Who comes and goes from now on.
    pub(crate) fn news(&self) -> broadcast::Receiver<Arc<News>> {
        self.news.subscribe()
    }

    /// How a provider does at present.
    pub(crate) fn health(&self, provider: &Arc<Provider>) -> Health {
        if self.lock().samples.fails(provider) {
            return Health::Failing;
        }
        if provider.is_full() { Health::Full } else { Health::Open }
    }

    /// How a service does at present: as its best provider.
    pub(crate) fn health_of_service(&self, service: &Service) -> Health {
        let each = service.providers();
        each.iter().map(|provider| self.health(provider)).min().unwrap_or(Health::Gone)
    }

    /// Who provided the service until a short while ago, the latest first.
    pub(crate) fn departures(&self, pattern: &Pattern) -> Vec<Departure> {
        self.lock().departures.of(pattern, Instant::now())
    }

    /// Looks at every provider, and tells the channel who comes and goes, for as long as the node runs.
    pub(crate) async fn run(&self, hub: &Hub) {
        let mut news = self.news();
        let mut sampling = tokio::time::interval(SAMPLING);
        sampling.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
        loop {
            tokio::select! {
                _ = sampling.tick() => self.sample(hub),
                heard = news.recv() => match heard {
                    Ok(told) => news::publish(hub, &told.show()),
                    Err(RecvError::Lagged(count)) => news::publish(hub, &news::gap(count)),
                    Err(RecvError::Closed) => return,
                },
            }
        }
    }

    fn sample(&self, hub: &Hub) {
        let services = hub.services.list();
        let providers = services.iter().flat_map(|service| service.providers().to_vec());
        self.lock().samples.take(providers);
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl ServiceObserver for Discovery {
    fn changed(&self, event: &ServiceEvent) {
        let told = News::of(event, now().unix_ms);
        self.lock().departures.note(&told, Arc::downgrade(&event.provider), Instant::now());
        // Without listeners nobody is left to hear it.
        let _ = self.news.send(Arc::new(told));
    }
}
