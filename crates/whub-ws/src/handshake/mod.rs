//! The opening handshake (RFC 6455 section 4, RFC 8441): pure functions on the fields of requests and responses.
//!
//! Parsing HTTP, choosing a subprotocol, `Origin`, `Host` and credentials are the caller's business. Header fields
//! come in as pairs of name and value in any case, as `http::HeaderMap` and `httparse` give them.

mod client;
mod field;
mod server;

use base64::{Engine, prelude::BASE64_STANDARD};
use sha1::{Digest, Sha1};

pub use client::{Established, HandshakeError, Request};
pub use field::Extension;
pub(crate) use field::parse_extensions;
pub use server::{Refusal, Upgrade};

/// The one version of the protocol (RFC 6455 section 4.1).
pub const VERSION: &str = "13";

/// The value of `Sec-WebSocket-Accept` for a value of `Sec-WebSocket-Key` (RFC 6455 section 4.2.2).
///
/// ```
/// let accept = whub_ws::handshake::accept_key(b"dGhlIHNhbXBsZSBub25jZQ==");
/// assert_eq!(accept, "s3pPLMBiTxaQ9kYGzzhZRbK+xOo=");
/// ```
#[must_use]
pub fn accept_key(key: &[u8]) -> String {
    let mut hash = Sha1::new();
    hash.update(key);
    hash.update(b"258EAFA5-E914-47DA-95CA-C5AB0DC85B11");
    BASE64_STANDARD.encode(hash.finalize())
}

/// Whether a value of `Sec-WebSocket-Key` is sixteen bytes in base64 (RFC 6455 section 4.2.1).
#[must_use]
pub fn is_key(key: &[u8]) -> bool {
    // Decoded into a buffer with room for the padding's estimate, so that no key costs an allocation.
    let mut nonce = [0; 18];
    key.len() == 24 && BASE64_STANDARD.decode_slice(key, &mut nonce) == Ok(16)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn keys_are_sixteen_bytes_in_base64() {
        assert!(is_key(b"dGhlIHNhbXBsZSBub25jZQ=="));
        for bad in [
            "",
            "dGhlIHNhbXBsZSBub25jZQ",
            "dGhlIHNhbXBsZSBub25jZQ= ",
            "dGhlIHNhbXBsZSBub25j",
            "AAAAAAAAAAAAAAAAAAAAAAAA",
        ] {
            assert!(!is_key(bad.as_bytes()), "{bad:?}");
        }
    }
}
