//! Who may talk to the hub at all: no web page may use it on its visitor's machine.
//!
//! Two headers decide, because a browser sets them and a page cannot. `Host` must be an address, `localhost`, a
//! configured name, so that a page cannot reach the hub under a name of its own (DNS rebinding), or the host of a
//! service, which then is all that is reached. `Origin`, where
//! there is one, must be the hub's own, on the same machine, or configured (cross-site requests and WebSockets).
//! Requests that a page makes without `Origin`, such as images, betray themselves by `Sec-Fetch-Site`.

use std::borrow::Cow;
use std::net::IpAddr;

use hyper::header::{HOST, HeaderName, HeaderValue, ORIGIN};
use hyper::http::request::Parts;
use hyper::{StatusCode, Version};
use whub_proto::Code;
use whub_proto::names::canonical_host;

use crate::config::Http;
use crate::http::problem::Problem;
use crate::http::visit::Visit;

/// A web page of elsewhere that may read the answer.
#[derive(Debug, Clone)]
pub(super) struct Guest(HeaderValue);

/// Lets a request in.
///
/// # Errors
/// 400, 403 or 421.
pub(super) fn check(visit: &Visit, rules: &Http, parts: &Parts) -> Result<Option<Guest>, Problem> {
    let authority = authority(parts)?;
    if let Some(authority) = &authority
        && !authority.is_welcome(rules)
        && service_host(visit, rules, parts).is_none()
    {
        visit.node.http.refused_hosts.one();
        return Err(misdirected(authority.host));
    }
    let outcome = check_origin(visit, rules, parts, authority.as_ref());
    if outcome.is_err() {
        visit.node.http.refused_origins.one();
    }
    outcome
}

/// The host of the service that the request is for: somebody provides it, and it is none of the hub's own.
pub(super) fn service_host<'a>(visit: &Visit, rules: &Http, parts: &'a Parts) -> Option<Cow<'a, str>> {
    let Ok(Some(authority)) = authority(parts) else { return None };
    if authority.ip().is_some() || rules.is_own_host(authority.host) {
        return None;
    }
    let host = canonical_host(authority.host).ok()?;
    visit.node.hub.services.has_host(&host).then_some(host)
}

fn check_origin(
    visit: &Visit,
    rules: &Http,
    parts: &Parts,
    authority: Option<&Authority<'_>>,
) -> Result<Option<Guest>, Problem> {
    let mut origins = parts.headers.get_all(ORIGIN).iter();
    let Some(origin) = origins.next() else {
        return check_site(rules, parts, authority).map(|()| None);
    };
    let text = origin.to_str().ok().filter(|_| origins.next().is_none()).ok_or_else(foreign)?;
    let page = Page::parse(text);
    let is_own = page.as_ref().is_some_and(|page| {
        authority.is_some_and(|authority| {
            page.is_secure == visit.is_secure && authority.is_same(&page.authority, page.is_secure)
        })
    });
    if is_own {
        return Ok(None);
    }
    let is_neighbour = visit.is_local
        && page.is_some_and(|page| page.authority.is_loopback())
        && authority.is_some_and(Authority::is_loopback);
    if is_neighbour || rules.lists_origin(text) {
        return Ok(Some(Guest(origin.clone())));
    }
    Err(foreign())
}

/// A page's request that carries no `Origin`: an image, a script, a link. On the visitor's own machine it may not
/// come from elsewhere, but for links to the hub's page, which does nothing.
fn check_site(rules: &Http, parts: &Parts, authority: Option<&Authority<'_>>) -> Result<(), Problem> {
    let is = |name: &HeaderName, value| parts.headers.get(name).is_some_and(|known| known == value);
    let cross_site = is(&SEC_FETCH_SITE, "cross-site");
    let is_link = is(&SEC_FETCH_MODE, "navigate") && is(&SEC_FETCH_DEST, "document");
    if is_link && matches!(parts.uri.path(), "/" | "/dashboard") {
        return Ok(());
    }
    if cross_site && authority.is_some_and(Authority::is_loopback) && !rules.lists_origin("*") {
        return Err(foreign());
    }
    Ok(())
}

static SEC_FETCH_SITE: HeaderName = HeaderName::from_static("sec-fetch-site");
static SEC_FETCH_MODE: HeaderName = HeaderName::from_static("sec-fetch-mode");
static SEC_FETCH_DEST: HeaderName = HeaderName::from_static("sec-fetch-dest");

fn misdirected(host: &str) -> Problem {
    let detail = format!(
        "this hub is not called {host}, and nobody provides that host now; add the name to http.allowed_hosts if \
         the hub should be"
    );
    Problem::new(Code::BadRequest, "http.host", detail).with_status(StatusCode::MISDIRECTED_REQUEST)
}

fn foreign() -> Problem {
    let detail = "this web page may not use the hub; add its origin to http.allowed_origins if it should";
    Problem::new(Code::Forbidden, "http.origin", detail)
}

impl Guest {
    /// The page's origin, as its browser says it.
    pub(super) fn origin(&self) -> &HeaderValue {
        &self.0
    }
}

/// Host and port, as a client wrote them.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Authority<'a> {
    /// Without the brackets of an IPv6 address.
    host: &'a str,
    port: Option<u16>,
}

/// What the request is addressed to; `None` where HTTP/1.0 lets it be unsaid.
fn authority(parts: &Parts) -> Result<Option<Authority<'_>>, Problem> {
    let mut hosts = parts.headers.get_all(HOST).iter();
    let (host, None) = (hosts.next(), hosts.next()) else { return Err(bad_host()) };
    let host =
        host.map(|host| host.to_str().ok().and_then(Authority::parse).ok_or_else(bad_host)).transpose()?;
    let target = parts.uri.authority().map(|target| Authority::parse(target.as_str()).ok_or_else(bad_host));
    match (target.transpose()?, host) {
        // HTTP/2 allows both, but not that they differ; so do we for absolute forms of HTTP/1.
        (Some(target), Some(host)) if target != host => Err(bad_host()),
        (Some(_), None) if parts.version == Version::HTTP_11 => Err(bad_host()),
        (None, None) if parts.version != Version::HTTP_10 => Err(bad_host()),
        (Some(named), _) | (None, Some(named)) => Ok(Some(named)),
        (None, None) => Ok(None),
    }
}

fn bad_host() -> Problem {
    Problem::new(
        Code::BadRequest,
        "http.host",
        "a request names its host once, as a name or address with a port",
    )
}

impl<'a> Authority<'a> {
    fn parse(text: &'a str) -> Option<Self> {
        let (host, port) = match text.strip_prefix('[') {
            Some(rest) => {
                let (host, rest) = rest.split_once(']')?;
                host.parse::<std::net::Ipv6Addr>().ok()?;
                (host, if rest.is_empty() { None } else { Some(rest.strip_prefix(':')?) })
            }
            None => match text.split_once(':') {
                Some((host, port)) => (host, Some(port)),
                None => (text, None),
            },
        };
        let is_name = !host.is_empty()
            && host.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"-._:".contains(&byte));
        let port = port.filter(|port| !port.is_empty()).map(str::parse).transpose().ok()?;
        is_name.then_some(Self { host, port })
    }

    fn is_welcome(&self, rules: &Http) -> bool {
        self.ip().is_some() || self.host.eq_ignore_ascii_case("localhost") || rules.lists_host(self.host)
    }

    fn is_loopback(&self) -> bool {
        self.host.eq_ignore_ascii_case("localhost")
            || self.ip().is_some_and(|ip| ip.to_canonical().is_loopback())
    }

    fn is_same(&self, other: &Authority<'_>, is_secure: bool) -> bool {
        let usual = if is_secure { 443 } else { 80 };
        self.host.eq_ignore_ascii_case(other.host)
            && self.port.unwrap_or(usual) == other.port.unwrap_or(usual)
    }

    fn ip(&self) -> Option<IpAddr> {
        self.host.parse().ok()
    }
}

/// Where a page comes from.
#[derive(Debug)]
struct Page<'a> {
    is_secure: bool,
    authority: Authority<'a>,
}

impl<'a> Page<'a> {
    /// `None` for `null` and schemes that are not the web's.
    fn parse(origin: &'a str) -> Option<Self> {
        let (scheme, rest) = origin.split_once("://")?;
        let is_secure = match scheme {
            "https" => true,
            "http" => false,
            _ => return None,
        };
        Some(Self { is_secure, authority: Authority::parse(rest)? })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn authorities_are_names_or_addresses_with_a_port() {
        let parse = |text| Authority::parse(text).map(|found| (found.host, found.port));
        assert_eq!(parse("localhost:9482"), Some(("localhost", Some(9482))));
        assert_eq!(parse("127.0.0.1"), Some(("127.0.0.1", None)));
        assert_eq!(parse("[::1]:80"), Some(("::1", Some(80))));
        assert_eq!(parse("hub.example:"), Some(("hub.example", None)));
        for bad in ["", ":80", "a b", "user@host", "[::1", "[::1]80", "[x]", "h:x", "h:99999", "h/p", "a:1:2"]
        {
            assert_eq!(parse(bad), None, "{bad}");
        }
    }

    #[test]
    fn loopback_is_a_name_and_two_ranges() {
        let is_loopback = |text| Authority::parse(text).unwrap().is_loopback();
        assert!(is_loopback("LocalHost:3000"));
        assert!(is_loopback("127.9.9.9"));
        assert!(is_loopback("[::1]"));
        assert!(is_loopback("[::ffff:127.0.0.1]"));
        assert!(!is_loopback("localhost.evil.example"));
        assert!(!is_loopback("192.168.0.1"));
    }

    #[test]
    fn the_usual_port_may_be_left_out() {
        let is_same = |one, other, secure| {
            Authority::parse(one).unwrap().is_same(&Authority::parse(other).unwrap(), secure)
        };
        assert!(is_same("Hub.example", "hub.example:443", true));
        assert!(!is_same("hub.example", "hub.example:443", false));
        assert!(!is_same("hub.example:1", "hub.example:2", false));
    }
}
