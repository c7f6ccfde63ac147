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
    fn old_bytes_are_latin_1() {
        assert_eq!(text(&HeaderValue::from_bytes(b"caf\xe9").unwrap()), "café");
    }
}
