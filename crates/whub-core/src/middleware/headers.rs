//! `headers`: which headers of a request reach its provider, and which of an answer its caller.
//!
//! Four things decide about a request's header, in this order:
//!
//! 1. What concerns one connection alone, and what begins with `whub-`, is the hub's own: a caller's never passes. What
//!    a caller over the protocol says of its way ([`is_about_the_way`]) passes only if `pass` lists it. A name with white
//!    space, control characters or letters beyond ASCII never passes.
//! 2. `block` lists it, or its like with `_` for `-`: it does not pass.
//! 3. `pass`, or the provider's registration, lists it: it passes.
//! 4. It is a credential or internal ([`is_kept_back`]), or `allow` is not empty and does not list it: it does not
//!    pass. Everything else does.

use whub_proto::names::Pattern;

use crate::fault::Fault;
use crate::hub::Now;
use crate::middleware::{AnswerHead, Asked, CallRecord, Door, HeaderNames, Interest, Middleware, PerService};

/// Rules for headers.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct HeaderRules {
    /// Request headers that never reach a provider.
    pub request_block: HeaderNames,
    /// If not empty, only these request headers reach a provider, and those that the hub itself sets.
    pub request_allow: HeaderNames,
    /// Request headers that reach providers although they are kept back by default.
    pub request_pass: HeaderNames,
    /// Response headers that never reach a caller.
    pub response_block: HeaderNames,
    /// If not empty, only these response headers reach a caller, and those that say what the body is.
    pub response_keep: HeaderNames,
}

impl HeaderRules {
    /// Whether a request's header reaches the provider. `wanted`: names that the provider asked for, `*` for any.
    #[must_use]
    pub fn passes(&self, name: &str, wanted: &[Box<str>]) -> bool {
        decide(&[self], name, wanted)
    }

    fn sees_answers(&self) -> bool {
        !self.response_block.is_empty() || !self.response_keep.is_empty()
    }
}

/// The step.
#[derive(Debug)]
pub struct HeaderStep {
    global: HeaderRules,
    services: PerService<HeaderRules>,
}

impl HeaderStep {
    /// Rules for all services, and further ones for some: what is blocked or passed adds up, `allow` and `keep` of a
    /// service hold instead of the global ones.
    #[must_use]
    pub fn new(global: HeaderRules, services: PerService<HeaderRules>) -> Self {
        Self { global, services }
    }

    /// Whether a header of a request to the service with this pattern reaches its provider.
    #[must_use]
    pub fn passes(&self, service: &Pattern, wanted: &[Box<str>], name: &str) -> bool {
        match self.services.find(service) {
            Some(own) => decide(&[own, &self.global], name, wanted),
            None => decide(&[&self.global], name, wanted),
        }
    }
}

impl Middleware for HeaderStep {
    fn name(&self) -> &'static str {
        "headers"
    }

    fn interest(&self) -> Interest {
        let answers = self.global.sees_answers() || self.services.iter().any(HeaderRules::sees_answers);
        Interest { answers, ..Interest::REQUEST_HEADERS }
    }

    fn before(&self, _: Now, call: &mut Asked<'_>) -> Result<(), Fault> {
        let Some(service) = call.service else { return Ok(()) };
        let wanted = call.pass_headers();
        // The doors within the process take the hub's own headers from their callers, so what is there is its word.
        let is_hubs_word = |name: &str| call.door != Door::Protocol && is_hub_to_provider(name);
        // Over the protocol nobody but the caller says which way it came; the operator may take its word, a provider not.
        let is_hearsay = |rules: &[&HeaderRules], name: &str| {
            call.door == Door::Protocol
                && is_about_the_way(name)
                && !rules.iter().any(|rules| rules.request_pass.contains(name))
        };
        let decide = |rules: &[&HeaderRules], name: &str| {
            is_hubs_word(name) || (!is_hearsay(rules, name) && decide(rules, name, &wanted))
        };
        match self.services.find(&service.pattern) {
            Some(own) => call.headers.retain(|name, _| decide(&[own, &self.global], name)),
            None => call.headers.retain(|name, _| decide(&[&self.global], name)),
        }
        Ok(())
    }

    fn answered(&self, _: Now, call: &CallRecord, answer: &mut AnswerHead<'_>) {
        let own = call.service.as_ref().and_then(|service| self.services.find(service));
        let rules = || own.into_iter().chain([&self.global]);
        if !rules().any(HeaderRules::sees_answers) {
            return;
        }
        let keep = rules().map(|rules| &rules.response_keep).find(|keep| !keep.is_empty());
        answer.headers.retain(|name, _| {
            let is_kept = keep.is_none_or(|keep| keep.contains(name) || describes_body(name));
            is_kept && !rules().any(|rules| rules.response_block.contains(name))
        });
    }
}

/// `rules`: the service's before the global ones.
fn decide(rules: &[&HeaderRules], name: &str, wanted: &[Box<str>]) -> bool {
    // `Trailer` announces what follows the body, which goes as far as that does.
    let is_hubs_own = is_hubs_own(name) && !name.eq_ignore_ascii_case("trailer");
    if !is_plain(name) || is_hubs_own || rules.iter().any(|rules| rules.request_block.contains_alike(name)) {
        return false;
    }
    let is_wanted = || wanted.iter().any(|known| &**known == "*" || known.eq_ignore_ascii_case(name));
    if rules.iter().any(|rules| rules.request_pass.contains(name)) || is_wanted() {
        return true;
    }
    let allow = rules.iter().map(|rules| &rules.request_allow).find(|allow| !allow.is_empty());
    !is_kept_back(name) && allow.is_none_or(|allow| allow.contains(name) || is_set_by_hub(name))
}

/// Whether a name is one that everybody reads alike. Over the protocol any text may come; `cookie ` is a cookie to those
/// who trim, and a Kelvin sign a `k` to those who fold case.
fn is_plain(name: &str) -> bool {
    !name.is_empty() && name.bytes().all(|byte| byte.is_ascii_graphic())
}

/// What a list of names holds that a match on text is quicker for.
macro_rules! is_one_of {
    ($name:expr, $($known:literal)|+) => {
        $($name.eq_ignore_ascii_case($known))||+
    };
}

/// Never passed on: what concerns one connection alone, and what is said between a client and the hub.
#[must_use]
pub fn is_hubs_own(name: &str) -> bool {
    is_hop_by_hop(name)
        || name.eq_ignore_ascii_case("expect")
        || name.as_bytes().get(..5).is_some_and(|start| is_same(start, b"whub-"))
}

/// What concerns one connection alone (RFC 9110 section 7.6.1, and what older software takes for it).
#[must_use]
pub fn is_hop_by_hop(name: &str) -> bool {
    is_one_of!(
        name,
        "connection"
            | "keep-alive"
            | "proxy-authenticate"
            | "proxy-authorization"
            | "proxy-connection"
            | "te"
            | "trailer"
            | "transfer-encoding"
            | "upgrade"
            | "http2-settings"
    )
}

/// What applications take a proxy's word for: who asked, and by which way. The hub says it of calls over HTTP; what a
/// caller says of itself is hearsay.
#[must_use]
pub fn is_about_the_way(name: &str) -> bool {
    let name = name.as_bytes();
    let known: [&[u8]; 4] = [b"forwarded", b"x-real-ip", b"x-client-ip", b"x-original-host"];
    name.get(..12).is_some_and(|start| is_same(start, b"x-forwarded-"))
        || known.iter().any(|known| is_same(name, known))
}

/// Whether a name is the `known` one, in any case; with `_` for `-` too, because applications behind CGI and its
/// descendants (`HTTP_X_REAL_IP`) cannot tell the two apart.
fn is_same(name: &[u8], known: &[u8]) -> bool {
    let same =
        |(name, known): (&u8, &u8)| name.eq_ignore_ascii_case(known) || (*name == b'_' && *known == b'-');
    name.len() == known.len() && name.iter().zip(known).all(same)
}

/// What the hub may tell providers by a header of its own.
fn is_hub_to_provider(name: &str) -> bool {
    name.starts_with("whub-") && name != "whub-token"
}

/// Kept back from providers unless a rule passes them: credentials, what the hub acts on itself, and what the seed
/// system held back.
#[must_use]
pub fn is_kept_back(name: &str) -> bool {
    is_one_of!(
        name,
        "authorization"
            | "cookie"
            | "r-token"
            | "x-to"
            | "x-from"
            | "host"
            | "user-agent"
            | "accept"
            | "accept-encoding"
            | "content-length"
            | "from"
            | "to"
            | "id"
            | "whr"
            | "x-timeout-ms"
    )
}

/// What the hub says to providers about a call over HTTP: no list of allowed names has to name it.
fn is_set_by_hub(name: &str) -> bool {
    is_one_of!(
        name,
        "x-request-id"
            | "traceparent"
            | "tracestate"
            | "forwarded"
            | "x-forwarded-for"
            | "x-forwarded-host"
            | "x-forwarded-proto"
            | "x-forwarded-port"
            | "x-forwarded-prefix"
    )
}

/// Without these a body could not be read.
fn describes_body(name: &str) -> bool {
    is_one_of!(name, "content-type" | "content-length" | "content-encoding" | "content-range")
}
