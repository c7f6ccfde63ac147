//! What happened at the HTTP door.

use whub_core::Counter;

/// Counts since the start.
#[derive(Debug, Default)]
pub(crate) struct HttpCounters {
    /// Requests whose head was complete.
    pub(crate) requests: Counter,
    /// Connections that sent no complete request in time.
    pub(crate) slow_openers: Counter,
    /// Requests refused for their `Host`.
    pub(crate) refused_hosts: Counter,
    /// Requests refused for the web page they came from.
    pub(crate) refused_origins: Counter,
    /// WebSockets that came about.
    pub(crate) upgrades: Counter,
    /// Subscribers by server-sent events that came.
    pub(crate) event_streams: Counter,
}

impl HttpCounters {
    /// Name, help text and value of each.
    pub(crate) fn each(&self) -> [(&'static str, &'static str, u64); 6] {
        [
            ("http_requests", "HTTP requests whose head was complete.", self.requests.read()),
            (
                "http_slow_openers",
                "Connections without a complete HTTP request in time.",
                self.slow_openers.read(),
            ),
            ("http_refused_hosts", "HTTP requests refused for their Host.", self.refused_hosts.read()),
            (
                "http_refused_origins",
                "HTTP requests refused for the web page they came from.",
                self.refused_origins.read(),
            ),
            ("http_upgrades", "WebSockets that came about.", self.upgrades.read()),
            ("http_event_streams", "Subscribers by server-sent events that came.", self.event_streams.read()),
        ]
    }
}
