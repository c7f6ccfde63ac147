//! The node in numbers, for programs: what `/v1/status`, `/status` and their like answer.

use serde_json::{Map, Value, json};
use whub_core::{Counters, Grants};

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
        "queued": queued(&hub.counters),
        "counters": named(hub.counters.each()),
        "transport": transport,
        "http": named(node.http.each().into_iter()),
    })
}

/// The services that the asker may call.
pub(crate) fn services(node: &Node, grants: &Grants) -> Value {
    let shown =
        node.hub.services.list().into_iter().filter(|service| {
            grants.admin || grants.call.iter().any(|granted| granted.covers(&service.pattern))
        });
    let services: Vec<Value> = shown
        .map(|service| {
            let providers = service.providers();
            json!({
                "pattern": service.pattern.as_str(),
                "providers": providers.len(),
                "inflight": providers.iter().map(|provider| u64::from(provider.inflight())).sum::<u64>(),
                "calls": providers.iter().map(|provider| provider.calls()).sum::<u64>(),
            })
        })
        .collect();
    json!({ "services": services })
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
