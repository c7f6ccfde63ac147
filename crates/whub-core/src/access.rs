//! What a client may do: patterns per verb. The same patterns that name services and channels grant them.

use std::sync::Arc;

use whub_proto::Code;
use whub_proto::names::{Channel, Filter, INBOX, PairId, Pattern, ServicePath};

use crate::fault::Fault;

/// What one client may do. An empty list permits nothing.
///
/// What a client asks for as a set, a pattern to provide or a filter to subscribe to, must be covered whole.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Grants {
    /// Patterns that cover the services it may provide.
    pub provide: Vec<Pattern>,
    /// Patterns of the paths it may call.
    pub call: Vec<Pattern>,
    /// Filters of the channels it may publish on.
    pub publish: Vec<Filter>,
    /// Filters that cover what it may subscribe to.
    pub subscribe: Vec<Filter>,
    /// Filters of the pairs and rooms it may join.
    pub pair: Vec<Filter>,
    /// Filters of the addresses it may send messages to: users, groups (`@ops`), clients; `#` for everybody.
    pub message: Vec<Filter>,
    /// The groups that messages reach it by, without `@`.
    pub groups: Vec<String>,
    /// Whether it may use the operations that concern others.
    pub admin: bool,
}

impl Grants {
    /// Every service, channel, pair and recipient, without administration. Channels that begin with `$` are the hub's own.
    #[must_use]
    pub fn all() -> Self {
        let services =
            || ["/*rest", "//:host/*rest"].map(|text| Pattern::parse(text).expect("a pattern")).into();
        let names = || vec![Filter::parse("#").expect("a filter")];
        Self {
            provide: services(),
            call: services(),
            publish: names(),
            subscribe: names(),
            pair: names(),
            message: names(),
            groups: Vec::new(),
            admin: false,
        }
    }

    /// Nothing.
    #[must_use]
    pub fn none() -> Self {
        Self::default()
    }

    /// # Errors
    /// `BadRequest` for a pattern of every host, which can only be granted; `Forbidden` when no granted pattern covers
    /// this one.
    pub fn may_provide(&self, pattern: &Pattern) -> Result<(), Fault> {
        if pattern.is_any_host() {
            let reason =
                format!("{pattern} means every host; name the one to provide, as in //app.example.com/*rest");
            return Err(Fault::fatal(Code::BadRequest, "service.any_host", reason));
        }
        demand(self.provide.iter().any(|granted| granted.covers(pattern)), "provide", pattern.as_str())
    }

    /// The hub's own services are not asked for here: each has an access rule of its own.
    ///
    /// # Errors
    /// `Forbidden` when no granted pattern matches the path.
    pub fn may_call(&self, path: &ServicePath<'_>) -> Result<(), Fault> {
        if path.is_own() {
            return Ok(());
        }
        demand(self.call.iter().any(|granted| granted.matches(path)), "call", path.as_str())
    }

    /// Endpoints of the gateway are called at `/gateway/<name>`, and granted as that.
    ///
    /// # Errors
    /// `Forbidden` when no granted pattern matches that path.
    pub fn may_reach(&self, endpoint: &str) -> Result<(), Fault> {
        let path = format!("/gateway/{}", escape(endpoint));
        let path = ServicePath::parse(&path)
            .map_err(|error| Fault::fatal(error.code(), "gateway.name", error.to_string()))?;
        demand(self.call.iter().any(|granted| granted.matches(&path)), "call", path.as_str())
    }

    /// # Errors
    /// `Forbidden` when no granted filter matches the channel.
    pub fn may_publish(&self, channel: &Channel<'_>) -> Result<(), Fault> {
        let is_granted = self.publish.iter().any(|granted| granted.matches(channel));
        demand(is_granted && channel.as_str() != INBOX, "publish on", channel.as_str())
    }

    /// The hub's own channels, which begin with `$`, are open to those who administer.
    ///
    /// # Errors
    /// `Forbidden` when no granted filter covers this one.
    pub fn may_subscribe(&self, filter: &Filter) -> Result<(), Fault> {
        let is_own = self.admin && filter.as_str().starts_with('$');
        let is_granted = is_own || self.subscribe.iter().any(|granted| granted.covers(filter));
        demand(is_granted, "subscribe to", filter.as_str())
    }

    /// # Errors
    /// `Forbidden` when the pair or room is not granted.
    pub fn may_pair(&self, id: &PairId) -> Result<(), Fault> {
        demand(self.pair.iter().any(|granted| granted.matches_pair(id)), "join", id.as_str())
    }

    /// Whether messages may be sent to this address: a user, a group (`@ops`) or a client.
    #[must_use]
    pub fn may_message(&self, address: &str) -> bool {
        let Ok(address) = Channel::parse(address) else { return false };
        self.message.iter().any(|granted| granted.matches(&address))
    }

    /// Whether messages may be sent to everybody at once.
    #[must_use]
    pub fn may_broadcast(&self) -> bool {
        self.message.iter().any(|granted| granted.as_str() == "#")
    }
}

/// A name as one segment of a path: escaped where a path would read it otherwise.
fn escape(name: &str) -> String {
    let mut escaped = String::with_capacity(name.len());
    for character in name.chars() {
        match character {
            '/' | '?' | '#' | '%' | ' ' => escaped.push_str(&format!("%{:02X}", u32::from(character))),
            other => escaped.push(other),
        }
    }
    escaped
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

impl Identity {
    /// Whether it may do in every room what its owner may. Only by a token: where anonymous peers may do everything, all
    /// members would be owners.
    #[must_use]
    pub fn owns_rooms(&self) -> bool {
        self.user.is_some() && self.grants.admin
    }
}

/// Decides who a peer is. Other ways than static tokens plug in here.
pub trait Authenticator: Send + Sync {
    /// The identity for a token, or for none.
    ///
    /// # Errors
    /// `Unauthorized`, in one wording for every reason, so that nobody learns which tokens exist.
    fn authenticate(&self, token: Option<&str>) -> Result<Identity, Fault>;

    /// What a user may do now who was [authenticated](Self::authenticate) before, `None` being anonymous. So that the
    /// hub's own services, which learn only who calls, can tell what the caller may do.
    fn grants(&self, user: Option<&str>) -> Arc<Grants>;
}
