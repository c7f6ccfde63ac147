//! Fields that follow a body (RFC 9110 section 6.5), translated between HTTP and the protocol.

use hyper::HeaderMap;
use hyper::header::{HeaderName, HeaderValue};
use whub_core::Packet;
use whub_core::middleware::{is_hubs_own, is_kept_back};
use whub_proto::{Body, Data, Flags, Headers, Kind};

/// Fields of trailers that a body may have; the protocol carries no more pairs.
const FIELDS_MAX: usize = 64;

/// What a name must not be: what frames, routes, authorizes or changes the meaning of a message has to be known
/// before its body (RFC 9110 section 6.5.1).
const FORBIDDEN: &[&str] = &[
    "accept",
    "accept-charset",
    "accept-encoding",
    "accept-language",
    "age",
    "authentication-info",
    "authorization",
    "cache-control",
    "content-encoding",
    "content-length",
    "content-range",
    "content-type",
    "cookie",
    "date",
    "expect",
    "expires",
    "forwarded",
    "from",
    "host",
    "if-match",
    "if-modified-since",
    "if-none-match",
    "if-range",
    "if-unmodified-since",
    "location",
    "max-forwards",
    "pragma",
    "range",
    "referer",
    "retry-after",
    "set-cookie",
    "traceparent",
    "tracestate",
    "user-agent",
    "vary",
    "via",
    "warning",
    "www-authenticate",
    "x-request-id",
    "x-timeout-ms",
];

fn is_allowed(name: &str) -> bool {
    let is_said_before = name.starts_with("x-forwarded-") || is_kept_back(name);
    !FORBIDDEN.contains(&name) && !is_said_before && !is_hubs_own(name)
}

/// The frame that ends a request's body with its trailers; `None` when they cannot be carried.
pub(super) fn of_request(trailers: &HeaderMap) -> Option<Packet> {
    let allowed = trailers.iter().filter(|(name, _)| is_allowed(name.as_str()));
    let pair = |(name, value): (&'_ HeaderName, &'_ HeaderValue)| {
        Some((name.as_str().to_owned(), std::str::from_utf8(value.as_bytes()).ok()?.to_owned()))
    };
    let owned: Vec<_> = allowed.map(pair).collect::<Option<_>>()?;
    if owned.len() > FIELDS_MAX {
        return None;
    }
    let pairs: Vec<_> = owned.iter().map(|(name, value)| (name.as_str(), value.as_str())).collect();
    let data = Data { headers: Headers::new(&pairs), ..Data::default() };
    Packet::try_build(&Body::Data(data), Flags::END, None, &[]).ok()
}

/// The trailers of an answer, on the last frame of its body.
pub(super) fn of_answer(packet: &Packet) -> Option<HeaderMap> {
    if packet.head(0).kind != Kind::Data || packet.head(0).env_len == 0 {
        return None;
    }
    let frame = packet.frame().ok()?;
    let Body::Data(data) = frame.body else { return None };
    let mut trailers = HeaderMap::new();
    for (name, value) in data.headers {
        // What HTTP cannot carry here is left out.
        let (Ok(name), Ok(value)) = (HeaderName::from_bytes(name.as_bytes()), HeaderValue::from_str(value))
        else {
            continue;
        };
        if is_allowed(name.as_str()) {
            trailers.append(name, value);
        }
    }
    (!trailers.is_empty()).then_some(trailers)
}

/// `Trailer` of an answer, without what must not come there. HTTP/1.1 sends only trailers that were announced.
pub(super) fn announced(headers: Headers<'_>) -> Option<HeaderValue> {
    let lists = headers.iter().filter(|(name, _)| *name == "trailer").map(|(_, value)| value);
    let names = lists.flat_map(|list| list.split(',')).map(|name| name.trim().to_ascii_lowercase());
    let names: Vec<String> = names.filter(|name| !name.is_empty() && is_allowed(name)).collect();
    if names.is_empty() {
        return None;
    }
    HeaderValue::from_str(&names.join(", ")).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn of(pairs: &[(&'static str, &'static str)]) -> HeaderMap {
        let mut trailers = HeaderMap::new();
        for (name, value) in pairs {
            trailers.append(*name, HeaderValue::from_static(value));
        }
        trailers
    }

    #[test]
    fn what_a_message_cannot_do_without_is_no_trailer() {
        let sent = of(&[
            ("content-length", "5"),
            ("authorization", "Bearer s"),
            ("transfer-encoding", "chunked"),
            ("x-forwarded-for", "10.0.0.1"),
            ("grpc-status", "0"),
            ("server-timing", "a"),
            ("server-timing", "b"),
        ]);
        let packet = of_request(&sent).unwrap();
        let Body::Data(data) = packet.frame().unwrap().body else { panic!() };
        let expected = [("grpc-status", "0"), ("server-timing", "a"), ("server-timing", "b")];
        assert_eq!(data.headers.iter().collect::<Vec<_>>(), expected);
        let back = of_answer(&packet).unwrap();
        assert_eq!((back.len(), &back["grpc-status"]), (3, &HeaderValue::from_static("0")));
    }

    #[test]
    fn trailers_are_announced_without_what_they_must_not_be() {
        let pairs = [("trailer", "Grpc-Status, Content-Length,"), ("trailer", "x-sum")];
        assert_eq!(announced(Headers::new(&pairs)).unwrap(), "grpc-status, x-sum");
        assert_eq!(announced(Headers::new(&[("trailer", "host")])), None);
    }

    #[test]
    fn more_than_a_frame_may_carry_are_not_carried() {
        let mut many = HeaderMap::new();
        for _ in 0..65 {
            many.append("x-a", HeaderValue::from_static("1"));
        }
        assert!(of_request(&many).is_none());
    }
}
