//! What a provider says of its service when it registers it.

use whub_proto as proto;

/// Who may call a service. What the hub's configuration says of the service wins over it.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub enum Access {
    /// Everybody whom the hub lets call it.
    #[default]
    Public,
    /// Of those, whoever showed a credential.
    Authenticated,
    /// Of those, only these users.
    Named(Vec<String>),
}

/// What a provider says of its service: for lists, for the choice among several providers, and for who may call.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Offer {
    /// Name of a set of providers, for lists and statistics; empty = none.
    pub group: String,
    /// Version of the program.
    pub version: String,
    /// One sentence for people.
    pub description: String,
    /// Free pairs that are shown where services are listed: no secrets.
    pub metadata: Vec<(String, String)>,
    /// Its share of calls against other providers of the pattern; at least 1.
    pub weight: u16,
    /// Who may call.
    pub access: Access,
    /// Request headers it wants although hubs keep them back by default, such as `cookie`.
    pub pass_headers: Vec<String>,
}

impl Default for Offer {
    fn default() -> Self {
        Self {
            group: String::new(),
            version: String::new(),
            description: String::new(),
            metadata: Vec::new(),
            weight: 1,
            access: Access::Public,
            pass_headers: Vec::new(),
        }
    }
}

impl Offer {
    /// Hands the frame that registers it to `write`.
    pub(crate) fn register(&self, path: &str, inflight_max: u32, write: impl FnOnce(proto::Register<'_>)) {
        let metadata: Vec<(&str, &str)> =
            self.metadata.iter().map(|(key, value)| (key.as_str(), value.as_str())).collect();
        let (access, clients) = match &self.access {
            // Left to the hub's configuration.
            Access::Public => (proto::Access::Unspecified, Vec::new()),
            Access::Authenticated => (proto::Access::Authenticated, Vec::new()),
            Access::Named(users) => (proto::Access::Named, users.iter().map(String::as_str).collect()),
        };
        let pass_headers: Vec<&str> = self.pass_headers.iter().map(String::as_str).collect();
        write(proto::Register {
            path,
            group: &self.group,
            weight: self.weight.max(1),
            max_inflight: inflight_max,
            version: &self.version,
            headers: proto::Headers::new(&metadata),
            description: &self.description,
            access,
            clients: proto::Strings::new(&clients),
            pass_headers: proto::Strings::new(&pass_headers),
        });
    }
}
