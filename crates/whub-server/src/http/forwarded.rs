//! What a provider learns of the way that a request came: `Forwarded` (RFC 7239) and `X-Forwarded-*`.
//!
//! A client can write these fields itself. What it wrote is believed, and added to, only if it is one of
//! `http.trusted_proxies`; otherwise the hub's own account replaces it.

use std::net::IpAddr;

use hyper::HeaderMap;
use hyper::header::{FORWARDED, HeaderName, HeaderValue};
use hyper::http::request::Parts;
use whub_core::middleware::is_about_the_way;
use whub_transport::{Networks, PeerAddress};

use crate::config::Config;
use crate::http::visit::Visit;

const FOR: HeaderName = HeaderName::from_static("x-forwarded-for");
const HOST: HeaderName = HeaderName::from_static("x-forwarded-host");
const PORT: HeaderName = HeaderName::from_static("x-forwarded-port");
const PROTO: HeaderName = HeaderName::from_static("x-forwarded-proto");

/// A proxy writes no more than this many addresses; what is before them is nobody's business.
const CHAIN_MAX: usize = 32;

/// The way of one request.
#[derive(Debug)]
pub(super) struct Way {
    forwarded: String,
    /// Addresses, the client's first; empty where nobody on the way has one.
    chain: String,
    host: String,
    port: String,
    proto: &'static str,
    /// Where the client is, if a proxy said so.
    client: Option<IpAddr>,
    trusted: bool,
}

/// Where the request came in.
#[derive(Debug, Clone, Copy)]
pub(super) struct Entrance<'a> {
    pub(super) peer: &'a PeerAddress,
    pub(super) is_secure: bool,
    /// Host and port that the request names.
    pub(super) authority: &'a str,
}

impl Way {
    /// The way of a request that came in at `entrance`.
    pub(super) fn of(entrance: Entrance<'_>, proxies: &Networks, headers: &HeaderMap) -> Self {
        let trusted = proxies.contains(entrance.peer);
        let told = |name: &HeaderName| if trusted { joined(headers, name) } else { None };
        let own_proto = if entrance.is_secure { "https" } else { "http" };
        let proto = match told(&PROTO).as_deref().map(first) {
            Some("https" | "wss") => "https",
            Some("http" | "ws") => "http",
            Some(_) | None => own_proto,
        };
        let before = told(&FOR);
        let client = before.as_deref().and_then(|before| client(before, proxies));
        let peer = entrance.peer.ip();
        let chain = match (before, peer) {
            (Some(before), Some(peer)) => format!("{before}, {peer}"),
            (Some(before), None) => before,
            (None, Some(peer)) => peer.to_string(),
            (None, None) => String::new(),
        };
        let hop = hop(peer, entrance.authority, own_proto);
        let forwarded = match told(&FORWARDED) {
            Some(before) => format!("{before}, {hop}"),
            None => hop,
        };
        let host = told(&HOST).unwrap_or_else(|| entrance.authority.to_owned());
        let port = told(&PORT).unwrap_or_else(|| port(first(&host), proto).to_owned());
        Self { forwarded, chain, host, port, proto, client, trusted }
    }

    /// `http` or `https`, as the client sees it.
    pub(super) fn scheme(&self) -> &'static str {
        self.proto
    }

    /// Where the client is, if that is another place than the connection comes from.
    pub(super) fn client(&self) -> Option<IpAddr> {
        self.client
    }

    /// Puts the way in the place of what the client said about it.
    pub(super) fn apply<'p>(&'p self, pairs: &mut Vec<(&'p str, &'p str)>) {
        pairs.retain(|(name, _)| !is_own(name) && (self.trusted || !is_about_the_way(name)));
        pairs.push((FORWARDED.as_str(), &self.forwarded));
        if !self.chain.is_empty() {
            pairs.push(("x-forwarded-for", &self.chain));
        }
        if !self.host.is_empty() {
            pairs.push(("x-forwarded-host", &self.host));
        }
        pairs.push(("x-forwarded-port", &self.port));
        pairs.push(("x-forwarded-proto", self.proto));
    }
}

/// The way that the request came.
pub(super) fn way(visit: &Visit, config: &Config, parts: &Parts) -> Way {
    let entrance = Entrance { peer: &visit.peer, is_secure: visit.is_secure, authority: authority(parts) };
    Way::of(entrance, &config.http.trusted_proxies, &parts.headers)
}

pub(super) fn authority(parts: &Parts) -> &str {
    let named = parts.headers.get(hyper::header::HOST).and_then(|host| host.to_str().ok());
    parts.uri.authority().map(|authority| authority.as_str()).or(named).unwrap_or_default()
}

/// Fields that the hub writes.
fn is_own(name: &str) -> bool {
    matches!(
        name,
        "forwarded" | "x-forwarded-for" | "x-forwarded-host" | "x-forwarded-port" | "x-forwarded-proto"
    )
}

/// All values of a field as one list.
fn joined(headers: &HeaderMap, name: &HeaderName) -> Option<String> {
    let texts: Vec<&str> =
        headers.get_all(name).iter().filter_map(|value| HeaderValue::to_str(value).ok()).collect();
    let text = texts.join(", ");
    (!text.trim().is_empty()).then_some(text)
}

fn first(list: &str) -> &str {
    list.split(',').next().unwrap_or_default().trim()
}

/// The last address before the proxies that are trusted.
fn client(chain: &str, proxies: &Networks) -> Option<IpAddr> {
    let addresses = chain.rsplit(',').take(CHAIN_MAX).map_while(|entry| address(entry.trim()));
    let mut known = None;
    for ip in addresses {
        known = Some(ip);
        if !proxies.contains(&PeerAddress::tcp((ip, 0).into())) {
            break;
        }
    }
    known
}

/// An entry of `X-Forwarded-For`: an address, perhaps with a port.
fn address(entry: &str) -> Option<IpAddr> {
    let bare = entry.parse().ok();
    bare.or_else(|| entry.parse::<std::net::SocketAddr>().ok().map(|at| at.ip()))
        .or_else(|| entry.strip_prefix('[')?.strip_suffix(']')?.parse().ok())
        .map(|ip: IpAddr| ip.to_canonical())
}

/// This hub's element of `Forwarded`.
fn hop(peer: Option<IpAddr>, authority: &str, proto: &str) -> String {
    let node = match peer {
        Some(IpAddr::V4(ip)) => ip.to_string(),
        Some(IpAddr::V6(ip)) => format!("\"[{ip}]\""),
        None => "unknown".to_owned(),
    };
    if authority.is_empty() {
        return format!("for={node};proto={proto}");
    }
    // Names and addresses with a port need quotes only for colons and brackets; the door has let nothing else in.
    let plain = authority.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"-._".contains(&byte));
    if plain {
        return format!("for={node};host={authority};proto={proto}");
    }
    format!("for={node};host=\"{authority}\";proto={proto}")
}

/// The port of an authority, or the usual one.
fn port<'a>(authority: &'a str, proto: &str) -> &'a str {
    let named = authority.rsplit_once(':').map(|(_, port)| port);
    match named.filter(|port| !port.is_empty() && port.bytes().all(|byte| byte.is_ascii_digit())) {
        Some(port) => port,
        None if proto == "https" => "443",
        None => "80",
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn way(peer: &str, proxies: &str, fields: &[(&'static str, &'static str)]) -> Vec<(String, String)> {
        let peer = PeerAddress::tcp((peer.parse::<IpAddr>().unwrap(), 1).into());
        let proxies = Networks(proxies.split_whitespace().map(|text| text.parse().unwrap()).collect());
        let mut headers = HeaderMap::new();
        for (name, value) in fields {
            headers.append(*name, HeaderValue::from_static(value));
        }
        let entrance = Entrance { peer: &peer, is_secure: false, authority: "hub.example:8080" };
        let way = Way::of(entrance, &proxies, &headers);
        let mut pairs: Vec<_> = fields.to_vec();
        way.apply(&mut pairs);
        let mut shown: Vec<_> =
            pairs.into_iter().map(|(name, value)| (name.to_owned(), value.to_owned())).collect();
        shown.push(("client".into(), format!("{:?} {}", way.client(), way.scheme())));
        shown
    }

    fn is(shown: &[(String, String)], expected: &[(&str, &str)]) {
        let shown: Vec<_> = shown.iter().map(|(name, value)| (name.as_str(), value.as_str())).collect();
        assert_eq!(shown, expected);
    }

    const LIES: &[(&str, &str)] = &[
        ("x-forwarded-for", "1.2.3.4"),
        ("forwarded", "for=1.2.3.4"),
        ("x-forwarded-proto", "https"),
        ("x-forwarded-prefix", "/admin"),
        ("x-real-ip", "1.2.3.4"),
        ("x_forwarded_for", "1.2.3.4"),
        ("x-tenant", "acme"),
    ];

    #[test]
    fn what_a_stranger_says_is_replaced() {
        is(
            &way("192.0.2.7", "10.0.0.0/8", LIES),
            &[
                ("x-tenant", "acme"),
                ("forwarded", "for=192.0.2.7;host=\"hub.example:8080\";proto=http"),
                ("x-forwarded-for", "192.0.2.7"),
                ("x-forwarded-host", "hub.example:8080"),
                ("x-forwarded-port", "8080"),
                ("x-forwarded-proto", "http"),
                ("client", "None http"),
            ],
        );
    }

    #[test]
    fn what_a_trusted_proxy_says_is_added_to() {
        let said = &[
            ("x-forwarded-for", "6.6.6.6, 203.0.113.9"),
            ("x-forwarded-for", "10.0.0.2"),
            ("x-forwarded-proto", "https"),
            ("x-forwarded-host", "shop.example"),
            ("x-forwarded-prefix", "/shop"),
            ("forwarded", "for=203.0.113.9"),
        ];
        is(
            &way("10.0.0.1", "10.0.0.0/8", said),
            &[
                ("x-forwarded-prefix", "/shop"),
                ("forwarded", "for=203.0.113.9, for=10.0.0.1;host=\"hub.example:8080\";proto=http"),
                ("x-forwarded-for", "6.6.6.6, 203.0.113.9, 10.0.0.2, 10.0.0.1"),
                ("x-forwarded-host", "shop.example"),
                ("x-forwarded-port", "443"),
                ("x-forwarded-proto", "https"),
                ("client", "Some(203.0.113.9) https"),
            ],
        );
    }

    #[test]
    fn addresses_of_ipv6_are_quoted_and_nobody_is_unknown() {
        let shown = way("2001:db8::1", "", &[]);
        assert_eq!(shown[0].1, "for=\"[2001:db8::1]\";host=\"hub.example:8080\";proto=http");
        assert_eq!(shown[1].1, "2001:db8::1");
        assert_eq!(hop(None, "hub.example", "https"), "for=unknown;host=hub.example;proto=https");
        assert_eq!(hop(None, "", "http"), "for=unknown;proto=http");
    }

    #[test]
    fn who_the_client_is_stops_at_what_cannot_be_read() {
        let proxies = Networks(vec!["10.0.0.0/8".parse().unwrap()]);
        for (chain, expected) in [
            ("1.1.1.1, 10.0.0.3", Some("1.1.1.1")),
            ("evil, 10.0.0.3", Some("10.0.0.3")),
            ("9.9.9.9:4711", Some("9.9.9.9")),
            ("[2001:db8::2]:80, 10.1.1.1", Some("2001:db8::2")),
            ("[2001:db8::2]", Some("2001:db8::2")),
            ("unknown", None),
        ] {
            assert_eq!(client(chain, &proxies), expected.map(|ip| ip.parse().unwrap()), "{chain}");
        }
    }
}
