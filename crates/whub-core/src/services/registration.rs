//! What a provider says of itself.

use whub_proto::names::Pattern;
use whub_proto::{Code, Headers, Register};

use crate::fault::Fault;
use crate::services::access::AccessRule;

/// Longest group and version, bytes.
const NAME_BYTES_MAX: usize = 128;

/// Longest description, bytes.
const DESCRIPTION_BYTES_MAX: usize = 1024;

/// Longest metadata, keys and values together, bytes.
const METADATA_BYTES_MAX: usize = 8 * 1024;

/// Longest list of users, or of headers to pass.
const LIST_MAX: usize = 256;

/// One provider of one service, as it is listed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Registration {
    /// The service.
    pub pattern: Pattern,
    /// Name of a set of providers, for lists and statistics; empty = none.
    pub group: Box<str>,
    /// Version of the program.
    pub version: Box<str>,
    /// One sentence for people.
    pub description: Box<str>,
    /// Free pairs, in the order given.
    pub metadata: Box<[(Box<str>, Box<str>)]>,
    /// Its share of the calls against other providers'. 1 unless it says otherwise.
    pub weight: u16,
    /// Calls that it wants at most at once; 0 = no limit of its own.
    pub inflight_max: u32,
    /// Who may call it.
    pub access: AccessRule,
    /// Request headers, in lower case, that it wants although they are kept back by default.
    pub pass_headers: Box<[Box<str>]>,
    /// The hub's name for the client.
    pub client: Box<str>,
    /// What the client calls itself in `Hello`; empty = nothing.
    pub name: Box<str>,
    /// The token's name; empty for anonymous providers.
    pub user: Box<str>,
    /// When it registered, milliseconds since 1970.
    pub since_ms: u64,
    /// It is another node that passes the calls on.
    pub remote: bool,
}

impl Registration {
    /// A provider that says nothing of itself: weight 1, no limit, public.
    #[must_use]
    pub fn new(pattern: Pattern) -> Self {
        Self {
            pattern,
            group: Box::default(),
            version: Box::default(),
            description: Box::default(),
            metadata: Box::default(),
            weight: 1,
            inflight_max: 0,
            access: AccessRule::Public,
            pass_headers: Box::default(),
            client: Box::default(),
            name: Box::default(),
            user: Box::default(),
            since_ms: 0,
            remote: false,
        }
    }

    /// Reads the frame of a provider.
    ///
    /// # Errors
    /// `BadRequest` or `TooLarge` when something is not within its bounds, or the pattern is none.
    pub fn parse(register: &Register<'_>) -> Result<Self, Fault> {
        let pattern = Pattern::parse(register.path)
            .map_err(|error| Fault::fatal(error.code(), "register.path", error.to_string()))?;
        if register.weight == 0 {
            return Err(Fault::fatal(Code::BadRequest, "register.weight", "the weight is at least 1"));
        }
        check("group", register.group.len(), NAME_BYTES_MAX)?;
        check("version", register.version.len(), NAME_BYTES_MAX)?;
        check("description", register.description.len(), DESCRIPTION_BYTES_MAX)?;
        check("headers", bytes(register.headers), METADATA_BYTES_MAX)?;
        check("clients", register.clients.iter().count(), LIST_MAX)?;
        check("pass_headers", register.pass_headers.iter().count(), LIST_MAX)?;
        Ok(Self {
            group: register.group.into(),
            version: register.version.into(),
            description: register.description.into(),
            metadata: register.headers.iter().map(|(key, value)| (key.into(), value.into())).collect(),
            weight: register.weight,
            inflight_max: register.max_inflight,
            access: AccessRule::asked(register.access, register.clients.iter())?,
            pass_headers: register.pass_headers.iter().map(|name| name.to_ascii_lowercase().into()).collect(),
            ..Self::new(pattern)
        })
    }
}

fn bytes(headers: Headers<'_>) -> usize {
    headers.iter().map(|(key, value)| key.len() + value.len()).sum()
}

fn check(field: &str, size: usize, most: usize) -> Result<(), Fault> {
    if size <= most {
        return Ok(());
    }
    let reason = format!("`{field}` of a registration may have {most}, not {size}");
    Err(Fault::fatal(Code::TooLarge, "register.too_large", reason))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_out_of_bounds_is_refused_by_name() {
        let long = "x".repeat(2000);
        for register in [
            Register { path: "/a", group: &long, ..Register::default() },
            Register { path: "/a", version: &long, ..Register::default() },
            Register { path: "/a", description: &long, ..Register::default() },
            Register { path: "/a", weight: 0, ..Register::default() },
            Register { path: "/a/*x/y", ..Register::default() },
        ] {
            assert!(Registration::parse(&register).is_err(), "{register:?}");
        }
        let register = Register { path: "a/", description: &long[..1024], ..Register::default() };
        let registration = Registration::parse(&register).unwrap();
        assert_eq!((registration.pattern.as_str(), registration.weight), ("/a", 1));
    }
}
