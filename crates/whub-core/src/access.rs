//! What a client may do: patterns per verb. The same patterns that name services and channels grant them.

use std::sync::Arc;

use whub_proto::Code;
use whub_proto::names::{Channel, Filter, PairId, Pattern, ServicePath};

use crate::fault::Fault;

/// What one client may do.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Grants {
    /// Patterns that it may provide, and whatever they cover.
    pub provide: Grant<Pattern>,
    /// Paths that it may call.
    pub call: Grant<Pattern>,
    /// Channels that it may publish on.
    pub publish: Grant<Filter>,
    /// Channels that it may subscribe to.
    pub subscribe: Grant<Filter>,
    /// Pairs that it may join: filters over their ids.
    pub pair: Grant<Filter>,
    /// May use the operations that concern others.
    pub admin: bool,
}

/// Everything, or what is listed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Grant<P> {
    /// Everything.
    All,
    /// What one of these covers; an empty list is nothing.
    Listed(Vec<P>),
}

impl<P> Grant<P> {
    fn allows(&self, covers: impl Fn(&P) -> bool) -> bool {
        match self {
            Self::All => true,
            Self::Listed(list) => list.iter().any(covers),
        }
    }
}

impl Grants {
    /// Everything but administration: what anonymous peers may do on a hub without tokens.
    #[must_use]
    pub fn all() -> Self {
        Self {
            provide: Grant::All,
            call: Grant::All,
            publish: Grant::All,
            subscribe: Grant::All,
            pair: Grant::All,
            admin: false,
        }
    }

    /// Nothing at all.
    #[must_use]
    pub fn none() -> Self {
        Self {
            provide: Grant::Listed(Vec::new()),
            call: Grant::Listed(Vec::new()),
            publish: Grant::Listed(Vec::new()),
            subscribe: Grant::Listed(Vec::new()),
            pair: Grant::Listed(Vec::new()),
            admin: false,
        }
    }

    /// # Errors
    /// `Forbidden` when no granted pattern covers this one.
    pub fn may_provide(&self, pattern: &Pattern) -> Result<(), Fault> {
        demand(self.provide.allows(|granted| granted.covers(pattern)), "provide", pattern.as_str())
    }

    /// # Errors
    /// `Forbidden` when no granted pattern matches the path.
    pub fn may_call(&self, path: &ServicePath<'_>) -> Result<(), Fault> {
        demand(self.call.allows(|granted| granted.matches(path)), "call", path.as_str())
    }

    /// # Errors
    /// `Forbidden` when no granted filter matches the channel.
    pub fn may_publish(&self, channel: &Channel<'_>) -> Result<(), Fault> {
        demand(self.publish.allows(|granted| granted.matches(channel)), "publish on", channel.as_str())
    }

    /// # Errors
    /// `Forbidden` when no granted filter covers this one.
    pub fn may_subscribe(&self, filter: &Filter) -> Result<(), Fault> {
        demand(self.subscribe.allows(|granted| granted.covers(filter)), "subscribe to", filter.as_str())
    }

    /// # Errors
    /// `Forbidden` when the pair is not granted.
    pub fn may_pair(&self, id: &PairId) -> Result<(), Fault> {
        demand(self.pair.allows(|granted| granted.matches_pair(id)), "join the pair", id.as_str())
    }
}

fn demand(allowed: bool, verb: &str, name: &str) -> Result<(), Fault> {
    if allowed {
        return Ok(());
    }
    Err(Fault::fatal(
        Code::Forbidden,
        "access.forbidden",
        format!("this client may not {verb} {name}; ask for a token that grants it"),
    ))
}

/// Who a session speaks for.
#[derive(Debug, Clone)]
pub struct Identity {
    /// The token's name; `None` for anonymous peers.
    pub user: Option<Arc<str>>,
    /// What it may do.
    pub grants: Arc<Grants>,
}

/// Decides who a peer is. Other ways than static tokens plug in here.
pub trait Authenticator: Send + Sync {
    /// The identity for a token, or for none.
    ///
    /// # Errors
    /// `Unauthorized`, in one wording for every reason, so that nobody learns which tokens exist.
    fn authenticate(&self, token: Option<&str>) -> Result<Identity, Fault>;
}
