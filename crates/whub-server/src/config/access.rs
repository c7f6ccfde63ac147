//! What a peer may do, and the tokens that say so.

use whub_proto::names::{Filter, Pattern};

use super::Secret;

/// Patterns of what a peer may do. An empty list permits nothing.
///
/// Service patterns (`provide`, `call`) are written like `/math/*rest`, filters (`publish`, `subscribe`, `pair`) like
/// `news/#`. What a peer asks for as a set, a pattern to provide or a filter to subscribe to, must be covered whole.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Grant {
    /// Patterns that cover the services the peer may provide.
    pub provide: Vec<Pattern>,
    /// Patterns of the service paths the peer may call.
    pub call: Vec<Pattern>,
    /// Filters of the channels the peer may publish to.
    pub publish: Vec<Filter>,
    /// Filters that cover what the peer may subscribe to.
    pub subscribe: Vec<Filter>,
    /// Filters of the pair ids the peer may join.
    pub pair: Vec<Filter>,
    /// Whether the peer may use the administrative part of the HTTP API.
    pub admin: bool,
}

impl Grant {
    /// Every service, channel and pair, without administration. Channels that begin with `$` are the hub's own.
    #[must_use]
    pub fn all() -> Self {
        let services = || vec![Pattern::parse("/*rest").expect("a pattern")];
        let names = || vec![Filter::parse("#").expect("a filter")];
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
