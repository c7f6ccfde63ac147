//! Header fields between the protocol and HTTP.

use hyper::HeaderMap;
use hyper::header::{CONNECTION, HeaderName, HeaderValue};

use crate::headers::Headers;

/// The pairs as HTTP has them. What HTTP cannot carry is left out.
pub(super) fn map(headers: &Headers) -> HeaderMap {
    let mut map = HeaderMap::with_capacity(headers.len() + 4);
    for (name, value) in headers.iter() {
        let (Ok(name), Ok(value)) = (HeaderName::try_from(name), HeaderValue::from_bytes(value.as_bytes()))
        else {
            continue;
        };
        map.append(name, value);
    }
    map
}

/// Takes out what concerns one connection alone (RFC 9110 section 7.6.1), and what `Connection` says does.
pub(super) fn strip_hop_by_hop(map: &mut HeaderMap) {
    let named: Vec<HeaderName> = map
        .get_all(CONNECTION)
        .iter()
        .filter_map(|value| value.to_str().ok())
        .flat_map(|value| value.split(','))
        .filter_map(|name| HeaderName::try_from(name.trim()).ok())
        .collect();
    for name in named {
        map.remove(name);
    }
    for name in HOP_BY_HOP {
        map.remove(name);
    }
}

/// Takes out what has to be known before a body (RFC 9110 section 6.5.1), and what the hub or this exposer alone may say: an
/// application may take trailers for headers. What frames a message hyper leaves out.
pub(super) fn strip_from_trailers(map: &mut HeaderMap) {
    strip_hop_by_hop(map);
    let names: Vec<HeaderName> = map.keys().filter(|name| !may_follow(name.as_str())).cloned().collect();
    for name in names {
        map.remove(name);
    }
}

fn may_follow(name: &str) -> bool {
    let is_of_the_way = name.starts_with("x-forwarded-") || name.starts_with("whub-");
    !is_of_the_way
        && !matches!(
            name,
            "authorization"
                | "cookie"
                | "expect"
                | "forwarded"
                | "host"
                | "traceparent"
                | "tracestate"
                | "via"
                | "x-client-ip"
                | "x-original-host"
                | "x-real-ip"
                | "x-request-id"
        )
}

const HOP_BY_HOP: [&str; 9] = [
    "connection",
    "keep-alive",
    "proxy-authenticate",
    "proxy-authorization",
    "proxy-connection",
    "te",
    "transfer-encoding",
    "upgrade",
    "http2-settings",
];

/// The value as text. Bytes that are not UTF-8 are taken for Latin-1, which they were before there was UTF-8.
pub(super) fn text(value: &HeaderValue) -> String {
    match std::str::from_utf8(value.as_bytes()) {
        Ok(text) => text.to_owned(),
        Err(_) => value.as_bytes().iter().map(|&byte| char::from(byte)).collect(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_concerns_one_connection_stays_there() {
        let headers: Headers = [
            ("connection", "close, X-Mine"),
            ("x-mine", "1"),
            ("keep-alive", "5"),
            ("upgrade", "h2c"),
            ("te", "trailers"),
            ("cookie", "a=b"),
            ("cookie", "c=d"),
            ("x-größe", "left out"),
            ("x-city", "Zürich"),
        ]
        .into_iter()
        .collect();
        let mut map = map(&headers);
        strip_hop_by_hop(&mut map);
        let left: Vec<_> = map.iter().map(|(name, value)| (name.as_str(), text(value))).collect();
        assert_eq!(left, [("cookie", "a=b".into()), ("cookie", "c=d".into()), ("x-city", "Zürich".into())]);
    }

    #[test]
    fn what_has_to_come_first_is_no_trailer() {
        let names = ["x-sum", "cookie", "te", "x-forwarded-for", "whub-client", "authorization", "digest"];
        let mut map = map(&names.map(|name| (name, "1")).into_iter().collect());
        strip_from_trailers(&mut map);
        assert_eq!(map.keys().collect::<Vec<_>>(), ["x-sum", "digest"]);
    }

    #[test]
    fn old_bytes_are_latin_1() {
        assert_eq!(text(&HeaderValue::from_bytes(b"caf\xe9").unwrap()), "café");
    }
}
