//! The node in numbers, for programs: what `/v1/status`, `/status` and their like answer.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Duration;

use serde_json::{Map, Value, json};
use whub_core::{AccessRule, Counters, Identity, Provider, Service, Stats};
use whub_proto::names::{Pattern, ServicePath};

use crate::discovery::Departure;
use crate::node::Node;

/// The node now.
pub(crate) fn status(node: &Node) -> Value {
    let hub = &node.hub;
    let transport: Map<String, Value> =
        node.transport.iter().map(|(name, value)| (name.to_owned(), value.into())).collect();
    json!({
        "node": hub.node,
        "server": hub.agent,
        "uptime_ms": u64::try_from(node.started.elapsed().as_millis()).unwrap_or(u64::MAX),
        "stopping": node.is_stopping(),
        "sessions": node.sessions(),
        "services": hub.services.list().len(),
        "filters": hub.channels.filters(),
        "waiting": hub.pairs.waiting(),
        "rooms": hub.rooms.len(),
        "room_members": hub.rooms.members(),
        "endpoints": node.routes.all().len(),
        "queued": queued(&hub.counters),
        "counters": named(hub.counters.each()),
        "transport": transport,
        "http": named(node.http.each().into_iter()),
    })
}

/// Whether somebody may know of a service: who may call it or provide it, and who administers.
pub(crate) fn may_see(identity: &Identity, pattern: &Pattern, access: &AccessRule) -> bool {
    let grants = &identity.grants;
    let covered = |granted: &[Pattern]| granted.iter().any(|granted| granted.covers(pattern));
    grants.admin
        || covered(&grants.provide)
        || (covered(&grants.call) && access.admit(identity.user.as_deref().unwrap_or_default()).is_ok())
}

/// The services that the asker may know of.
pub(crate) fn services(node: &Node, identity: &Identity) -> Value {
    let all = node.hub.services.list();
    let shown = all.iter().filter(|service| may_see(identity, &service.pattern, &service.access()));
    json!({ "services": shown.map(|service| brief(node, service)).collect::<Vec<_>>() })
}

/// The service with this pattern, or the one that takes this path, with its providers; nothing where the asker may not
/// know of it.
pub(crate) fn service(node: &Node, identity: &Identity, path: &str) -> Option<Value> {
    let services = &node.hub.services;
    let exact = Pattern::parse(path).ok().and_then(|pattern| services.get(&pattern));
    let found = exact.or_else(|| services.find(&ServicePath::parse(path).ok()?))?;
    may_see(identity, &found.pattern, &found.access()).then(|| whole(node, identity, &found))
}

fn brief(node: &Node, service: &Service) -> Value {
    let (providers, settings, stats) = (service.providers(), service.settings(), &service.stats);
    json!({
        "pattern": service.pattern.as_str(),
        "health": node.discovery.health_of_service(service).name(),
        "providers": providers.len(),
        "versions": distinct(providers.iter().map(|provider| &*provider.registration.version)),
        "groups": distinct(providers.iter().map(|provider| &*provider.registration.group)),
        "access": service.access().name(),
        "choose": settings.choose.name(),
        "inflight": service.inflight(),
        "waiting": service.waiting(),
        "calls": stats.calls.read(),
        "errors": stats.errors.total(),
        "moved": stats.moved.read(),
        "waited": stats.waited.read(),
        "unavailable": stats.unavailable.read(),
        "latency_ms": latency(stats),
    })
}

fn whole(node: &Node, identity: &Identity, service: &Service) -> Value {
    let mut shown = brief(node, service);
    shown["errors_by_code"] = errors(&service.stats);
    shown["latency_buckets"] = buckets(&service.stats);
    shown["provided_by"] = service
        .providers()
        .iter()
        .map(|provider| {
            let mut shown = of_provider(node, provider);
            if identity.grants.admin {
                shown["user"] = (*provider.registration.user).into();
            }
            shown
        })
        .collect();
    let left = node.discovery.departures(&service.pattern);
    shown["left_lately"] = left.iter().map(Departure::show).collect();
    shown
}

/// What a provider says of itself, and how it does. The users that it names, and its token, are nobody's business.
fn of_provider(node: &Node, provider: &Arc<Provider>) -> Value {
    let (registration, stats) = (&provider.registration, &provider.stats);
    let metadata: Map<String, Value> =
        registration.metadata.iter().map(|(name, value)| (name.to_string(), (**value).into())).collect();
    json!({
        "client": registration.client,
        "name": registration.name,
        "group": registration.group,
        "version": registration.version,
        "description": registration.description,
        "metadata": metadata,
        "weight": registration.weight,
        "access": registration.access.name(),
        "since_ms": registration.since_ms,
        "remote": registration.remote,
        "health": node.discovery.health(provider).name(),
        "inflight": provider.inflight(),
        "inflight_max": registration.inflight_max,
        "calls": provider.calls(),
        "errors": stats.errors.total(),
        "errors_by_code": errors(stats),
        "moved": stats.moved.read(),
        "latency_ms": latency(stats),
    })
}

/// Names that are not empty, each once, in order.
fn distinct<'a>(names: impl Iterator<Item = &'a str>) -> BTreeSet<&'a str> {
    names.filter(|name| !name.is_empty()).collect()
}

fn errors(stats: &Stats) -> Value {
    stats
        .errors
        .each()
        .map(|(code, count)| (code.name().unwrap_or("other").to_owned(), Value::from(count)))
        .collect()
}

/// How long answers took to begin.
fn latency(stats: &Stats) -> Value {
    let latency = stats.latency.read();
    json!({
        "count": latency.count,
        "p50": ms(latency.p50),
        "p90": ms(latency.p90),
        "p99": ms(latency.p99),
    })
}

/// Upper end in milliseconds and count of each bucket that holds something.
fn buckets(stats: &Stats) -> Value {
    stats.latency.buckets().map(|(end, count)| json!([ms(end), count])).collect()
}

/// Milliseconds to the microsecond.
fn ms(duration: Duration) -> f64 {
    (duration.as_secs_f64() * 1e6).round() / 1e3
}

/// Deliveries that wait in mailboxes: what was accepted and has met no fate yet.
pub(crate) fn queued(counters: &Counters) -> u64 {
    let gone = counters.deliveries_delivered.read()
        + counters.deliveries_dropped_slow.read()
        + counters.deliveries_dropped_gone.read();
    // Threads count at different times, so a moment's difference may be negative.
    counters.deliveries_accepted.read().saturating_sub(gone)
}

fn named(each: impl Iterator<Item = (&'static str, &'static str, u64)>) -> Map<String, Value> {
    each.map(|(name, _, value)| (name.to_owned(), value.into())).collect()
}
