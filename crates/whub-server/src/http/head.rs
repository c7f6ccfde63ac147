//! Heads of requests and answers, translated between HTTP and the protocol.

use hyper::header::{self, HeaderName, HeaderValue};
use hyper::http::request::Parts;
use hyper::{HeaderMap, Response, StatusCode};
use whub_core::Packet;
use whub_core::middleware::{is_hubs_own, is_kept_back};
use whub_proto::{Code, Format, Headers};

use crate::config::Limits;
use crate::http::credentials;
use crate::http::problem::Problem;
use crate::http::request_id;

/// Header fields that hyper parses without being told a number.
pub(super) const FIELDS_HYPER: usize = 100;

/// The caller's deadline in milliseconds.
pub(super) const TIMEOUT: HeaderName = HeaderName::from_static("x-timeout-ms");

/// Requests with the same value go to the same provider.
pub(super) const KEY: HeaderName = HeaderName::from_static("whub-key");

/// Present: the request may be carried out twice.
pub(super) const IDEMPOTENCY_KEY: HeaderName = HeaderName::from_static("idempotency-key");

/// Longest deadline that a caller may name: one hour.
const TIMEOUT_MS_MAX: u32 = 3_600_000;

/// Whether a head is no larger than it may be. One that does not even fit into what is read of a connection at once was
/// refused by hyper.
///
/// # Errors
/// 431.
pub(super) fn check(parts: &Parts, limits: &Limits) -> Result<(), Problem> {
    let (slug, detail) = if parts.headers.len() > limits.header_fields {
        let limit = limits.header_fields;
        (
            "http.header_fields",
            format!("the request has more than limits.header_fields, {limit} header fields"),
        )
    } else if size(parts) > limits.header_bytes {
        let limit = limits.header_bytes;
        (
            "http.head_too_large",
            format!("the head of the request has more than limits.header_bytes, {limit} bytes"),
        )
    } else {
        return Ok(());
    };
    let problem = Problem::new(Code::TooLarge, slug, detail);
    Err(problem.with_status(StatusCode::REQUEST_HEADER_FIELDS_TOO_LARGE))
}

/// The bytes of a head as HTTP/1.1 has them, without needless blanks.
fn size(parts: &Parts) -> usize {
    let target = parts.uri.path_and_query().map_or(0, |target| target.as_str().len());
    let fields = parts.headers.iter().map(|(name, value)| name.as_str().len() + value.len() + ": \r\n".len());
    parts.method.as_str().len() + target + "  HTTP/1.1\r\n\r\n".len() + fields.sum::<usize>()
}

/// The pairs of a request that its provider may get to see. Which of them it does is for the chain's rules to say;
/// left out here is what is the hub's own affair, `Authorization` with it if that held the hub's credential.
///
/// # Errors
/// When a value is no text.
pub(super) fn pairs(headers: &HeaderMap, hides_authorization: bool) -> Result<Vec<(&str, &str)>, Problem> {
    let mut pairs = Vec::with_capacity(headers.len() + 1);
    for (name, value) in headers {
        let is_credential = hides_authorization && name == header::AUTHORIZATION;
        let is_own = is_hubs_own(name.as_str()) && name != header::TRAILER || name == request_id::FIELD;
        // A handshake that lost its `Upgrade` on the way is no WebSocket; its token is one still.
        let is_credential = is_credential || (name == header::SEC_WEBSOCKET_PROTOCOL && offers_token(value));
        if is_own || is_credential || is_named_in_connection(headers, name) {
            continue;
        }
        let Ok(value) = std::str::from_utf8(value.as_bytes()) else {
            // What would not be passed by default need not be text either.
            if is_kept_back(name.as_str()) {
                continue;
            }
            let detail = format!("the value of the header field {name} is not UTF-8");
            return Err(Problem::new(Code::BadRequest, "http.header", detail));
        };
        pairs.push((name.as_str(), value));
    }
    Ok(pairs)
}

/// Whether a list of subprotocols has a token of the hub among them.
fn offers_token(protocols: &HeaderValue) -> bool {
    let mut offers = protocols.as_bytes().split(|byte| *byte == b',').map(<[u8]>::trim_ascii);
    offers.any(|offer| std::str::from_utf8(offer).is_ok_and(credentials::is_token))
}

/// Whether `Connection` declares the field to be hop-by-hop.
fn is_named_in_connection(headers: &HeaderMap, name: &HeaderName) -> bool {
    headers.get_all(header::CONNECTION).iter().any(|value| {
        let value = value.as_bytes();
        value
            .split(|byte| *byte == b',')
            .any(|entry| entry.trim_ascii().eq_ignore_ascii_case(name.as_str().as_bytes()))
    })
}

/// The value of a field that says something to the hub; empty where there is none.
///
/// # Errors
/// When it is no text.
pub(super) fn text<'a>(headers: &'a HeaderMap, name: &HeaderName) -> Result<&'a str, Problem> {
    let Some(value) = headers.get(name) else { return Ok("") };
    std::str::from_utf8(value.as_bytes()).map_err(|_| {
        let detail = format!("the value of the header field {name} is not UTF-8");
        Problem::new(Code::BadRequest, "http.header", detail)
    })
}

/// The deadline that the caller names; 0 for the hub's.
///
/// # Errors
/// When it is no number from 1 to one hour.
pub(super) fn timeout_ms(headers: &HeaderMap) -> Result<u32, Problem> {
    let Some(value) = headers.get(TIMEOUT) else { return Ok(0) };
    let ms = value.to_str().ok().and_then(|text| text.parse().ok());
    ms.filter(|ms| (1..=TIMEOUT_MS_MAX).contains(ms)).ok_or_else(|| {
        let detail = format!("{TIMEOUT} is a number of milliseconds from 1 to {TIMEOUT_MS_MAX}");
        Problem::new(Code::BadRequest, "http.timeout", detail)
    })
}

/// What a body is, by its `Content-Type`.
pub(super) fn format(headers: &HeaderMap) -> Format {
    let Some(value) = headers.get(header::CONTENT_TYPE).and_then(|value| value.to_str().ok()) else {
        return Format::Unspecified;
    };
    let media = value.split(';').next().unwrap_or_default().trim();
    if media.len() > 5 && media.as_bytes()[..5].eq_ignore_ascii_case(b"text/") {
        return Format::Text;
    }
    match media.to_ascii_lowercase().as_str() {
        "application/json" => Format::Json,
        "application/octet-stream" => Format::Bytes,
        "application/msgpack" | "application/vnd.msgpack" | "application/x-msgpack" => Format::Msgpack,
        "application/cbor" => Format::Cbor,
        "application/protobuf" | "application/x-protobuf" => Format::Protobuf,
        other if other.ends_with("+json") => Format::Json,
        _ => Format::Unspecified,
    }
}

/// Whether a body of this format may be shown as text if it is some.
pub(super) fn may_be_text(format: Format) -> bool {
    matches!(format, Format::Unspecified | Format::Text | Format::Json)
}

/// Sets the headers of an answer. Values share the packet's bytes.
pub(super) fn fill<B>(response: &mut Response<B>, packet: &Packet, headers: Headers<'_>) {
    let filled = response.headers_mut();
    filled.reserve(headers.len() + 3);
    for (name, value) in headers {
        if is_hubs_own(name) || matches!(name, "content-length" | "x-request-id") {
            continue;
        }
        let shared = packet.share(value.as_bytes());
        let field = (HeaderName::from_bytes(name.as_bytes()), HeaderValue::from_maybe_shared(shared));
        let (Ok(name), Ok(value)) = field else {
            // It could only break the answer's frame.
            tracing::debug!(?name, "a header of an answer is left out: HTTP cannot carry it");
            continue;
        };
        filled.append(name, value);
    }
}

/// Adds headers that come with a service's error, where the hub has set none.
pub(super) fn fill_beside<B>(response: &mut Response<B>, packet: &Packet, headers: Headers<'_>) {
    let own: Vec<HeaderName> = response.headers().keys().cloned().collect();
    let mut filled = Response::new(());
    fill(&mut filled, packet, headers);
    for (name, value) in filled.headers() {
        if !own.contains(name) {
            response.headers_mut().append(name.clone(), value.clone());
        }
    }
}

/// The status of an answer.
pub(super) fn status(number: u16) -> Option<StatusCode> {
    StatusCode::from_u16(number).ok().filter(|status| !status.is_informational())
}

/// What a body is that the service did not name.
pub(super) fn content_type(format: Format) -> HeaderValue {
    HeaderValue::from_static(match format {
        Format::Text => "text/plain; charset=utf-8",
        Format::Bytes => "application/octet-stream",
        Format::Msgpack => "application/msgpack",
        Format::Cbor => "application/cbor",
        Format::Protobuf => "application/protobuf",
        Format::FlatBuffers => "application/octet-stream",
        // As clients of the seed system know it.
        Format::Unspecified | Format::Json | Format::Unknown(_) => "application/json; charset=UTF-8",
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_end_to_end_is_left_for_the_rules() {
        let mut headers = HeaderMap::new();
        for (name, value) in [
            ("authorization", "Bearer s"),
            ("cookie", "c"),
            ("connection", "close, X-Secret"),
            ("x-secret", "1"),
            ("whub-token", "s"),
            ("sec-websocket-protocol", "chat, whub.bearer.cw"),
            ("x-request-id", "1"),
            ("x-tenant", "acme"),
        ] {
            headers.append(name, value.parse().unwrap());
        }
        let all = [("authorization", "Bearer s"), ("cookie", "c"), ("x-tenant", "acme")];
        assert_eq!(pairs(&headers, false).unwrap(), all);
        assert_eq!(pairs(&headers, true).unwrap(), all[1..]);
    }

    #[test]
    fn formats_follow_the_media_type() {
        let of = |media: &str| {
            let mut headers = HeaderMap::new();
            headers.insert(header::CONTENT_TYPE, media.parse().unwrap());
            format(&headers)
        };
        assert_eq!(of("application/json; charset=utf-8"), Format::Json);
        assert_eq!(of("application/problem+json"), Format::Json);
        assert_eq!(of("Text/HTML"), Format::Text);
        assert_eq!(of("application/x-www-form-urlencoded"), Format::Unspecified);
        assert_eq!(format(&HeaderMap::new()), Format::Unspecified);
    }

    #[test]
    fn deadlines_are_bounded() {
        let of = |text: &str| {
            let mut headers = HeaderMap::new();
            headers.insert(TIMEOUT, text.parse().unwrap());
            timeout_ms(&headers)
        };
        assert_eq!(of("250").unwrap(), 250);
        for bad in ["0", "-1", "soon", "3600001"] {
            assert!(of(bad).is_err(), "{bad}");
        }
        assert_eq!(timeout_ms(&HeaderMap::new()).unwrap(), 0);
    }
}
