//! `rate_limit`: how many calls a client, an address and a service get.

use std::net::IpAddr;
use std::sync::Arc;
use std::time::{Duration, Instant};

use whub_proto::Code;

use crate::fault::Fault;
use crate::hub::Now;
use crate::middleware::{Address, Asked, Buckets, Interest, Middleware, Network, PerService, Rate};

/// Rates; `None` = no limit.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Rates {
    /// Of each client: of each token's name, and of each session or HTTP connection without one.
    pub client: Option<Rate>,
    /// Of each address; of IPv6 each network of 64 bits.
    pub address: Option<Rate>,
    /// Of each service, whoever calls.
    pub service: Option<Rate>,
}

/// What the step is told.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct RateLimits {
    /// For all calls.
    pub global: Rates,
    /// Further ones, for some services.
    pub services: PerService<Rates>,
    /// Addresses that no rate of an address is for.
    pub exempt: Vec<Network>,
}

/// The step.
#[derive(Debug)]
pub struct RateLimit {
    global: Limiter,
    services: PerService<Limiter>,
    exempt: Vec<Network>,
}

/// Buckets of one set of rates.
#[derive(Debug, Clone)]
struct Limiter {
    client: Option<Arc<Buckets<Box<str>>>>,
    address: Option<Arc<Buckets<IpAddr>>>,
    service: Option<Arc<Buckets<Box<str>>>>,
}

impl RateLimit {
    /// The step with full buckets; those of `before` whose rate has not changed are kept as they are.
    #[must_use]
    pub fn new(limits: &RateLimits, before: Option<&Self>) -> Self {
        let own = |pattern: &_, rates: &Rates| {
            Limiter::new(*rates, before.and_then(|before| before.services.entry(pattern)))
        };
        Self {
            global: Limiter::new(limits.global, before.map(|before| &before.global)),
            services: limits.services.map(own),
            exempt: limits.exempt.clone(),
        }
    }

    /// Buckets that are kept now.
    #[must_use]
    pub fn buckets(&self) -> usize {
        self.services.iter().chain([&self.global]).map(Limiter::len).sum()
    }
}

impl Middleware for RateLimit {
    fn name(&self) -> &'static str {
        "rate_limit"
    }

    fn interest(&self) -> Interest {
        Interest::CALLS
    }

    fn before(&self, now: Now, call: &mut Asked<'_>) -> Result<(), Fault> {
        let address = Address::parse(call.caller.peer);
        let origin = if address.is_in(&self.exempt) { None } else { address.origin() };
        self.global.take(now.at, call, origin)?;
        match call.service.and_then(|service| self.services.find(&service.pattern)) {
            Some(own) => own.take(now.at, call, origin),
            None => Ok(()),
        }
    }
}

impl Limiter {
    fn new(rates: Rates, before: Option<&Self>) -> Self {
        Self {
            client: buckets(rates.client, before.and_then(|before| before.client.as_ref())),
            address: buckets(rates.address, before.and_then(|before| before.address.as_ref())),
            service: buckets(rates.service, before.and_then(|before| before.service.as_ref())),
        }
    }

    fn len(&self) -> usize {
        let named = [&self.client, &self.service].into_iter().flatten().map(|buckets| buckets.len());
        named.chain(self.address.as_ref().map(|buckets| buckets.len())).sum()
    }

    fn take(&self, now: Instant, call: &Asked<'_>, origin: Option<IpAddr>) -> Result<(), Fault> {
        if let Some(buckets) = &self.client {
            // A token's name cannot be that of a session, which the hub makes with a number at its end.
            let client = if call.caller.user.is_empty() { call.caller.client } else { call.caller.user };
            buckets
                .take(now, client)
                .map_err(|wait| too_many("rate.client", "this client", buckets.rate(), wait))?;
        }
        if let (Some(buckets), Some(origin)) = (&self.address, origin) {
            buckets
                .take(now, &origin)
                .map_err(|wait| too_many("rate.address", "this address", buckets.rate(), wait))?;
        }
        if let (Some(buckets), Some(pattern)) = (&self.service, call.pattern()) {
            buckets
                .take(now, pattern)
                .map_err(|wait| too_many("rate.service", "this service", buckets.rate(), wait))?;
        }
        Ok(())
    }
}

fn buckets<K: Ord>(rate: Option<Rate>, before: Option<&Arc<Buckets<K>>>) -> Option<Arc<Buckets<K>>> {
    let rate = rate?;
    let kept = before.filter(|before| before.rate() == rate).cloned();
    Some(kept.unwrap_or_else(|| Arc::new(Buckets::new(rate))))
}

fn too_many(slug: &'static str, whose: &str, rate: Rate, wait: Duration) -> Fault {
    let wait_ms = u32::try_from(wait.as_nanos().div_ceil(1_000_000)).unwrap_or(u32::MAX).max(1);
    let (count, period) = (rate.count, rate.period);
    let reason = format!("{whose} has had its {count} calls in {period:?}; try again in {wait_ms} ms");
    Fault::passing(Code::TooManyRequests, slug, wait_ms, reason)
}
