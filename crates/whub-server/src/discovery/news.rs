//! News of providers, and who left lately.

use std::collections::VecDeque;
use std::sync::Weak;
use std::time::{Duration, Instant};

use serde_json::{Value, json};
use whub_core::{AccessRule, Hub, Provider, ServiceChange, ServiceEvent};
use whub_proto::names::{Channel, Pattern};
use whub_proto::{Body, Flags, Format, Publish, Writer};

use crate::connection::{Fanout, now};

/// Where the news are published. Its subscribers see every service, so it takes a grant that names it, or `admin`.
const CHANNEL: &str = "$services";

/// Departures that are remembered.
const DEPARTURES: usize = 256;

/// How long.
const REMEMBERED: Duration = Duration::from_secs(60);

/// A provider came or went.
#[derive(Debug, Clone)]
pub(crate) struct News {
    pub(crate) pattern: Pattern,
    /// Who may call, as this provider has it.
    pub(crate) access: AccessRule,
    came: bool,
    time_ms: u64,
    serial: u64,
    providers: usize,
    client: Box<str>,
    name: Box<str>,
    group: Box<str>,
    version: Box<str>,
}

impl News {
    pub(super) fn of(event: &ServiceEvent, time_ms: u64) -> Self {
        let registration = &event.provider.registration;
        Self {
            pattern: registration.pattern.clone(),
            access: registration.access.clone(),
            came: event.what == ServiceChange::Came,
            time_ms,
            serial: event.serial,
            providers: event.providers,
            client: registration.client.clone(),
            name: registration.name.clone(),
            group: registration.group.clone(),
            version: registration.version.clone(),
        }
    }

    /// The name of its event.
    pub(crate) fn name(&self) -> &'static str {
        if self.came { "came" } else { "left" }
    }

    /// As listeners read it.
    pub(crate) fn show(&self) -> Value {
        json!({
            "event": self.name(),
            "pattern": self.pattern.as_str(),
            "providers": self.providers,
            "provider": {
                "client": self.client,
                "name": self.name,
                "group": self.group,
                "version": self.version,
            },
            "serial": self.serial,
            "time_ms": self.time_ms,
        })
    }
}

/// What stands for news that were too many.
pub(super) fn gap(count: u64) -> Value {
    json!({ "event": "gap", "count": count })
}

/// Publishes on the hub's own channel.
pub(super) fn publish(hub: &Hub, told: &Value) {
    let channel = Channel::parse(CHANNEL).expect("a channel");
    if hub.channels.audience(&channel).subscribers.is_empty() {
        return;
    }
    let payload = told.to_string();
    let body = Body::Publish(Publish { channel: CHANNEL, format: Format::Json, ..Publish::default() });
    let mut writer = Writer::default();
    let Ok(envelope) = writer.envelope(&body) else { return };
    let issue = hub.issue(now(), "", "", &channel, (envelope, payload.as_bytes(), Flags::TEXT));
    let mut fanout = Fanout::default();
    fanout.add(issue);
    let publisher = hub.next_session();
    while !fanout.advance(publisher, &hub.counters) {}
}

/// A provider that has left.
#[derive(Debug, Clone)]
pub(crate) struct Departure {
    news: News,
    at: Instant,
    /// Where it counts the calls that it finishes.
    provider: Weak<Provider>,
}

impl Departure {
    /// As it is listed.
    pub(crate) fn show(&self) -> Value {
        json!({
            "client": self.news.client,
            "name": self.news.name,
            "time_ms": self.news.time_ms,
            "inflight": self.inflight(),
        })
    }

    /// Calls that it had when it left, and finishes.
    fn inflight(&self) -> u32 {
        self.provider.upgrade().map_or(0, |provider| provider.inflight())
    }
}

/// Who left lately, of all services.
#[derive(Debug, Default)]
pub(super) struct Departures(VecDeque<Departure>);

impl Departures {
    pub(super) fn note(&mut self, news: &News, provider: Weak<Provider>, at: Instant) {
        if news.came {
            return;
        }
        if self.0.len() == DEPARTURES {
            self.0.pop_front();
        }
        self.0.push_back(Departure { news: news.clone(), at, provider });
    }

    pub(super) fn of(&mut self, pattern: &Pattern, now: Instant) -> Vec<Departure> {
        self.0.retain(|departure| {
            now.saturating_duration_since(departure.at) < REMEMBERED || departure.inflight() > 0
        });
        self.0.iter().rev().filter(|departure| departure.news.pattern == *pattern).cloned().collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn left(pattern: &str, client: &str) -> News {
        News {
            pattern: Pattern::parse(pattern).unwrap(),
            access: AccessRule::Public,
            came: false,
            time_ms: 0,
            serial: 1,
            providers: 0,
            client: client.into(),
            name: Box::default(),
            group: Box::default(),
            version: Box::default(),
        }
    }

    #[test]
    fn departures_are_remembered_for_a_minute() {
        let begin = Instant::now();
        let mut departures = Departures::default();
        let mut note = |news, at| departures.note(&news, Weak::new(), at);
        note(left("/a", "c-1"), begin);
        note(left("/b", "c-2"), begin);
        note(left("/a", "c-3"), begin + Duration::from_secs(30));
        note(News { came: true, ..left("/a", "c-4") }, begin + Duration::from_secs(30));
        let a = Pattern::parse("/a").unwrap();
        let mut clients = |seconds| {
            let of = departures.of(&a, begin + Duration::from_secs(seconds));
            of.iter().map(|departure| departure.news.client.to_string()).collect::<Vec<_>>()
        };
        assert_eq!(clients(40), ["c-3", "c-1"]);
        assert_eq!(clients(70), ["c-3"]);
        assert!(clients(100).is_empty());
        for _ in 0..2 * DEPARTURES {
            departures.note(&left("/a", "c"), Weak::new(), begin);
        }
        assert_eq!(departures.0.len(), DEPARTURES);
    }
}
