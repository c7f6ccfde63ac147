//! The chain of every call, put together from the configuration and what programs and modules add.

use std::sync::{Arc, Mutex, PoisonError};

use whub_core::Hub;
use whub_core::middleware::{
    Authentication, BlockList, Blocking, Chain, FromTo, HeaderName, HeaderRules, HeaderStep, Middleware,
    Network, PerService, RateLimit, RateLimits, Rates, RequestId, SizeLimit, Sizes, Throttle,
};
use whub_proto::names::Pattern;
use whub_transport::Networks;

use crate::access_log::AccessLog;
use crate::config::{Config, RequestHeaders, ResponseHeaders, ServiceRules};
use crate::connection::now;

/// Steps that every hub knows, in the order that suits most.
pub(crate) const KNOWN: [&str; 8] = [
    "request_id",
    "access_log",
    "from_to",
    "block_list",
    "rate_limit",
    "size_limit",
    "authentication",
    "headers",
];

/// What the next chain is made of beside the configuration.
#[derive(Debug, Default)]
pub(crate) struct ChainMaker(
    // Held while a chain is made and put into force, so that the last one asked for wins.
    Mutex<State>,
);

#[derive(Debug, Default)]
struct State {
    /// Steps that were added by name.
    added: Vec<Arc<dyn Middleware>>,
    /// Those that remember something.
    block_list: Option<Arc<BlockList>>,
    rate_limit: Option<Arc<RateLimit>>,
    /// The rules for headers that are in force.
    headers: Option<Arc<HeaderStep>>,
}

impl ChainMaker {
    /// Makes the chain anew and puts it into force. Counts and buckets stay where their settings do.
    pub(crate) fn apply(&self, hub: &Hub, config: &Config) {
        self.lock().apply(hub, config);
    }

    /// Adds a step, in the place of one with its name. Where `middleware.order` does not name it, it is the last.
    pub(crate) fn add(&self, hub: &Hub, config: &Config, step: Arc<dyn Middleware>) {
        let mut state = self.lock();
        state.added.retain(|known| known.name() != step.name());
        state.added.push(step);
        state.apply(hub, config);
    }

    /// Takes a step out that was added.
    pub(crate) fn remove(&self, hub: &Hub, config: &Config, name: &str) {
        let mut state = self.lock();
        state.added.retain(|known| known.name() != name);
        state.apply(hub, config);
    }

    /// The first name in `middleware.order` that no step has.
    pub(crate) fn unknown<'a>(&self, config: &'a Config) -> Option<&'a str> {
        let state = self.lock();
        let is_known =
            |name: &str| KNOWN.contains(&name) || state.added.iter().any(|step| step.name() == name);
        config.middleware.order.iter().map(String::as_str).find(|name| !is_known(name))
    }

    /// Whether a header of requests to a service reaches its providers, which asked for the names in `wanted`.
    pub(crate) fn passes(&self, service: &Pattern, wanted: &[Box<str>], name: &str) -> bool {
        let headers = self.lock().headers.clone();
        headers.is_some_and(|headers| headers.passes(service, wanted, name))
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, State> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl State {
    fn apply(&mut self, hub: &Hub, config: &Config) {
        let mut steps = Vec::new();
        for name in &config.middleware.order {
            steps.extend(self.step(name, config));
        }
        let is_placed =
            |step: &Arc<dyn Middleware>| config.middleware.order.iter().any(|name| name == step.name());
        steps.extend(self.added.iter().filter(|step| !is_placed(step)).cloned());
        hub.chain.replace(Chain::new(steps, Arc::new(now)));
    }

    /// The step of that name, if it has anything to do.
    fn step(&mut self, name: &str, config: &Config) -> Option<Arc<dyn Middleware>> {
        if let Some(added) = self.added.iter().find(|step| step.name() == name) {
            return Some(Arc::clone(added));
        }
        match name {
            "request_id" => Some(Arc::new(RequestId)),
            "access_log" => Some(Arc::new(AccessLog)),
            "from_to" => Some(Arc::new(FromTo)),
            "block_list" => self.block_list(config),
            "rate_limit" => self.rate_limit(config),
            "size_limit" => size_limit(config),
            "authentication" => authentication(config),
            "headers" => {
                let step = Arc::new(headers(config));
                self.headers = Some(Arc::clone(&step));
                Some(step)
            }
            // Reported where the configuration is taken over.
            _ => None,
        }
    }

    fn block_list(&mut self, config: &Config) -> Option<Arc<dyn Middleware>> {
        let block_for = config.rate.block_for;
        let blocking = Blocking {
            blocked: networks(&config.middleware.block),
            throttle: config.rate.throttle.map(|rate| Throttle {
                count: rate.count,
                window: rate.period,
                block_for,
            }),
            exempt: networks(&config.rate.exempt),
        };
        let is_needed = !blocking.blocked.is_empty() || blocking.throttle.is_some();
        let step = is_needed.then(|| Arc::new(BlockList::new(blocking, self.block_list.as_deref())));
        self.block_list.clone_from(&step);
        step.map(|step| step as Arc<dyn Middleware>)
    }

    fn rate_limit(&mut self, config: &Config) -> Option<Arc<dyn Middleware>> {
        let rates = &config.rate;
        let limits = RateLimits {
            global: Rates { client: rates.client, address: rates.address, service: rates.service },
            services: per_service(config, |rules| Rates {
                client: rules.rate_client,
                address: rules.rate_address,
                service: rules.rate,
            }),
            exempt: networks(&rates.exempt),
        };
        let is_set = |rates: &Rates| *rates != Rates::default();
        let is_needed = is_set(&limits.global) || limits.services.iter().any(is_set);
        let step = is_needed.then(|| Arc::new(RateLimit::new(&limits, self.rate_limit.as_deref())));
        self.rate_limit.clone_from(&step);
        step.map(|step| step as Arc<dyn Middleware>)
    }
}

fn size_limit(config: &Config) -> Option<Arc<dyn Middleware>> {
    let bytes = |limit: Option<usize>| limit.map(|bytes| bytes as u64);
    let global = Sizes {
        request: bytes(config.middleware.request_bytes),
        response: bytes(config.middleware.response_bytes),
    };
    let services = per_service(config, |rules| Sizes {
        request: bytes(rules.request_bytes),
        response: bytes(rules.response_bytes),
    });
    let is_set = |sizes: &Sizes| *sizes != Sizes::default();
    let is_needed = is_set(&global) || services.iter().any(is_set);
    is_needed.then(|| Arc::new(SizeLimit { global, services }) as Arc<dyn Middleware>)
}

fn authentication(config: &Config) -> Option<Arc<dyn Middleware>> {
    let required = config.authentication.required.clone();
    (!required.is_empty()).then(|| Arc::new(Authentication { required }) as Arc<dyn Middleware>)
}

fn headers(config: &Config) -> HeaderStep {
    let global = rules(&config.headers.request, &config.headers.response);
    HeaderStep::new(global, per_service(config, |own| rules(&own.request, &own.response)))
}

fn rules(request: &RequestHeaders, response: &ResponseHeaders) -> HeaderRules {
    let names = |list: &[HeaderName]| list.iter().cloned().collect();
    HeaderRules {
        request_block: names(&request.block),
        request_allow: names(&request.allow),
        request_pass: names(&request.pass),
        response_block: names(&response.block),
        response_keep: names(&response.keep),
    }
}

fn per_service<T>(config: &Config, read: impl Fn(&ServiceRules) -> T) -> PerService<T> {
    let entries = config.services.iter().map(|entry| (entry.pattern.clone(), read(&entry.rules)));
    PerService::new(entries.collect())
}

fn networks(networks: &Networks) -> Vec<Network> {
    let network = |network: &whub_transport::Network| match *network {
        whub_transport::Network::Ip { base, prefix } => Network::Ip { base, prefix },
        whub_transport::Network::Unix => Network::Unix,
    };
    networks.0.iter().map(network).collect()
}
