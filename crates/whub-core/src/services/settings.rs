//! What the hub's configuration says about services: how a provider is chosen, who waits how long, who may call.

use std::sync::Arc;
use std::time::Duration;

use whub_proto::names::Pattern;

use crate::services::access::AccessRule;

/// How the provider of a call is chosen.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Choose {
    /// Of two taken at random, the one with fewer calls in flight for its weight.
    #[default]
    LeastLoaded,
    /// In turn, each as often as its weight says.
    RoundRobin,
    /// At random, as likely as its weight says.
    Random,
    /// The same provider for the same key, or for the same caller where the call has none.
    Sticky,
    /// Those of this node before those of others, and of them the least loaded.
    Local,
}

impl Choose {
    /// Every way, by its name in the configuration.
    pub const ALL: &'static [(&'static str, Self)] = &[
        ("least_loaded", Self::LeastLoaded),
        ("round_robin", Self::RoundRobin),
        ("random", Self::Random),
        ("sticky", Self::Sticky),
        ("local", Self::Local),
    ];

    /// The way of that name.
    #[must_use]
    pub fn from_name(name: &str) -> Option<Self> {
        Self::ALL.iter().find(|(known, _)| *known == name).map(|(_, choose)| *choose)
    }

    /// Its name in the configuration.
    #[must_use]
    pub fn name(self) -> &'static str {
        Self::ALL.iter().find(|(_, known)| *known == self).map_or("least_loaded", |(name, _)| name)
    }
}

/// The settings of a service.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ServiceSettings {
    /// How a provider is chosen. Default: least loaded.
    pub choose: Choose,
    /// Calls that may wait for a free provider; 0 = none. Default 64.
    pub queue: usize,
    /// How long a call may wait for one. Default 1 s.
    pub queue_wait: Duration,
    /// Deadline of calls that name none; `None` = the hub's.
    pub call_timeout: Option<Duration>,
    /// Who may call, whatever the providers say; `None` = as the strictest of them says.
    pub access: Option<AccessRule>,
}

impl Default for ServiceSettings {
    fn default() -> Self {
        Self {
            choose: Choose::LeastLoaded,
            queue: 64,
            queue_wait: Duration::from_secs(1),
            call_timeout: None,
            access: None,
        }
    }
}

/// The settings of all services: those of the narrowest pattern that covers a service, else the defaults.
#[derive(Debug, Clone, Default)]
pub struct ServicePolicies {
    /// For services that no pattern covers.
    pub default: Arc<ServiceSettings>,
    /// By the pattern that they are for.
    pub entries: Vec<(Pattern, Arc<ServiceSettings>)>,
}

impl ServicePolicies {
    /// The settings of the service with this pattern.
    #[must_use]
    pub fn settings(&self, service: &Pattern) -> &Arc<ServiceSettings> {
        let covering = self.entries.iter().filter(|(pattern, _)| pattern.covers(service));
        // Of two that cover each other, the later one.
        let narrowest = covering.reduce(|best, next| if best.0.covers(&next.0) { next } else { best });
        narrowest.map_or(&self.default, |(_, settings)| settings)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_narrowest_pattern_decides() {
        let settings = |queue| Arc::new(ServiceSettings { queue, ..ServiceSettings::default() });
        let entry = |pattern: &str, queue| (Pattern::parse(pattern).unwrap(), settings(queue));
        let policies = ServicePolicies {
            default: settings(0),
            entries: vec![entry("/a/b", 1), entry("/a/*rest", 2), entry("/*rest", 3), entry("/x/*rest", 4)],
        };
        for (service, queue) in [("/a/b", 1), ("/a/c", 2), ("/a/b/c", 2), ("/q", 3), ("/x/:y", 4)] {
            assert_eq!(policies.settings(&Pattern::parse(service).unwrap()).queue, queue, "{service}");
        }
        assert_eq!(ServicePolicies::default().settings(&Pattern::parse("/q").unwrap()).queue, 64);
    }
}
