//! The name of a request, which its answer, its provider and the log agree on.

use hyper::HeaderMap;
use hyper::header::{HeaderName, HeaderValue};

use crate::http::visit::Visit;

/// The field that carries it.
pub(super) static FIELD: HeaderName = HeaderName::from_static("x-request-id");

/// Longest id that is taken over from a request, bytes.
const BYTES_MAX: usize = 128;

/// The id: the client's own if it is sane, else made.
pub(super) fn of(headers: &HeaderMap, visit: &Visit) -> HeaderValue {
    if let Some(id) = headers.get(&FIELD).filter(|id| is_sane(id.as_bytes())) {
        return id.clone();
    }
    let made = format!("{}.{}", visit.client, visit.requests());
    // Letters, digits, `-` and `.` always make a value.
    HeaderValue::from_maybe_shared(bytes::Bytes::from(made)).unwrap_or(HeaderValue::from_static("-"))
}

/// The id as text.
pub(super) fn text(id: &HeaderValue) -> &str {
    id.to_str().unwrap_or("-")
}

fn is_sane(id: &[u8]) -> bool {
    let allowed = |byte: &u8| byte.is_ascii_alphanumeric() || b"-_.:/+=".contains(byte);
    (1..=BYTES_MAX).contains(&id.len()) && id.iter().all(allowed)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ids_of_clients_are_taken_over_when_they_are_sane() {
        assert!(is_sane(b"0af7651916cd43dd-8448eb211c80319c"));
        assert!(!is_sane(b""));
        assert!(!is_sane(b"a b"));
        assert!(!is_sane("ä".as_bytes()));
        assert!(!is_sane(&[b'a'; 129]));
    }
}
