//! What a peer may do, and the tokens that say so.

use super::Secret;

/// Patterns of what a peer may do. An empty list permits nothing.
///
/// Service patterns (`provide`, `call`) are written like `/math/*rest`; filters (`publish`, `subscribe`, `pair`) like
/// `news/#`, where pair ids are matched as if they were channels.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Grant {
    /// Patterns that cover the services the peer may provide.
    pub provide: Vec<String>,
    /// Patterns of the service paths the peer may call.
    pub call: Vec<String>,
    /// Filters of the channels the peer may publish to.
    pub publish: Vec<String>,
    /// Filters that cover what the peer may subscribe to.
    pub subscribe: Vec<String>,
    /// Filters of the pair ids the peer may join.
    pub pair: Vec<String>,
    /// Whether the peer may use the administrative part of the HTTP API.
    pub admin: bool,
}

impl Grant {
    /// Every service, channel and pair, without administration.
    #[must_use]
    pub fn all() -> Self {
        let services = || vec!["/*rest".to_owned()];
        let names = || vec!["#".to_owned()];
        Self {
            provide: services(),
            call: services(),
            publish: names(),
            subscribe: names(),
            pair: names(),
            admin: false,
        }
    }

    /// Nothing.
    #[must_use]
    pub fn none() -> Self {
        Self::default()
    }
}

/// A token of the configuration: a secret and what its bearer may do.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Token {
    /// Name for logs and listings; unique.
    pub name: String,
    /// What the peer presents; unique.
    pub secret: Secret,
    /// What the peer may then do.
    pub grant: Grant,
}
