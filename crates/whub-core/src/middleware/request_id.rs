//! `request_id`: every call has a name that its provider, its answer over HTTP and the log agree on. Requests over
//! HTTP have one from their door on.

use crate::fault::Fault;
use crate::hub::Now;
use crate::middleware::{Asked, Interest, Middleware};

/// The header that carries it.
const FIELD: &str = "x-request-id";

/// Longest id that is taken over from a caller, bytes.
const BYTES_MAX: usize = 128;

/// The step.
#[derive(Debug, Clone, Copy, Default)]
pub struct RequestId;

impl Middleware for RequestId {
    fn name(&self) -> &'static str {
        "request_id"
    }

    fn interest(&self) -> Interest {
        Interest::CALLS
    }

    fn before(&self, _: Now, call: &mut Asked<'_>) -> Result<(), Fault> {
        if !call.headers.get(FIELD).is_some_and(|id| is_sane(id.as_bytes())) {
            let id = format!("{}.{}", call.caller.client, call.number);
            call.headers.set(FIELD, id);
        }
        Ok(())
    }
}

/// Whether an id may be repeated in headers and logs: 1 to 128 of `A-Z a-z 0-9 - _ . : / + =`.
#[must_use]
pub fn is_sane(id: &[u8]) -> bool {
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
