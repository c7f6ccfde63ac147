//! The client's side: the request, and whether the response fits it.

use base64::{Engine, prelude::BASE64_STANDARD};

use super::{Extension, VERSION, accept_key, field, parse_extensions};
use crate::deflate::{self, Agreement};

/// A request for a WebSocket over HTTP/1.1 (RFC 6455 section 4.1).
#[derive(Clone, Debug)]
pub struct Request<'a> {
    /// The value of `Host`: the server's name, with the port unless it is the scheme's own.
    pub authority: &'a str,
    /// Path and query, beginning with `/`.
    pub target: &'a str,
    /// Sixteen random bytes, new for each connection.
    pub nonce: [u8; 16],
    /// Subprotocols to offer, best first.
    pub protocols: &'a [&'a str],
    /// Offers permessage-deflate with these wishes.
    pub deflate: Option<deflate::Config>,
    /// Further fields, such as credentials.
    pub headers: &'a [(&'a str, &'a str)],
}

/// What server and client agreed on.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Established<'h> {
    /// The subprotocol that the server chose from those offered.
    pub protocol: Option<&'h str>,
    /// Whether and how messages may be compressed.
    pub deflate: Option<Agreement>,
}

/// Why no WebSocket came about.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum HandshakeError {
    /// Something in the request cannot stand in an HTTP head. The caller's fault; nothing was sent.
    #[error("the request has a byte that HTTP does not allow in its {0}")]
    Request(&'static str),
    /// The server answered with another status than 101. Whether to try again, the status says.
    #[error("the server answered {0} instead of 101")]
    Status(u16),
    /// A field of the response is absent or wrong. The server's fault, or a proxy's that knows no WebSocket.
    #[error("the server's `{0}` does not fit the request")]
    Response(&'static str),
}

impl Request<'_> {
    /// The bytes to send.
    ///
    /// # Errors
    /// [`HandshakeError::Request`] if a part holds blanks, line ends or control bytes where they may not be.
    pub fn encode(&self) -> Result<Vec<u8>, HandshakeError> {
        check(self.target.starts_with('/') && is_visible(self.target), "target")?;
        check(!self.authority.is_empty() && is_visible(self.authority), "host")?;
        check(self.protocols.iter().all(|protocol| field::is_token(protocol)), "subprotocols")?;
        check(self.headers.iter().all(|(name, value)| field::is_token(name) && is_value(value)), "headers")?;

        let mut out = format!("GET {} HTTP/1.1\r\nHost: {}\r\n", self.target, self.authority);
        out.push_str("Upgrade: websocket\r\nConnection: Upgrade\r\n");
        add(&mut out, "Sec-WebSocket-Key", &self.key());
        add(&mut out, "Sec-WebSocket-Version", VERSION);
        if !self.protocols.is_empty() {
            add(&mut out, "Sec-WebSocket-Protocol", &self.protocols.join(", "));
        }
        if let Some(config) = &self.deflate {
            add(&mut out, "Sec-WebSocket-Extensions", &config.offer());
        }
        for (name, value) in self.headers {
            add(&mut out, name, value);
        }
        out.push_str("\r\n");
        Ok(out.into_bytes())
    }

    /// Checks the response to this request (RFC 6455 section 4.1). Bytes after its head are frames already.
    ///
    /// # Errors
    /// [`HandshakeError::Status`] or [`HandshakeError::Response`]; close the transport then.
    pub fn verify<'h>(
        &self,
        status: u16,
        headers: impl IntoIterator<Item = (&'h str, &'h [u8])>,
    ) -> Result<Established<'h>, HandshakeError> {
        if status != 101 {
            return Err(HandshakeError::Status(status));
        }
        let fields = Fields::gather(headers)?;
        fits(fields.upgrade, "Upgrade")?;
        fits(fields.connection, "Connection")?;
        let accept = accept_key(self.key().as_bytes());
        fits(fields.accept == [accept.as_bytes()], "Sec-WebSocket-Accept")?;
        let protocol = self.verify_protocol(&fields.protocols)?;
        let deflate = self.verify_deflate(&fields.extensions)?;
        Ok(Established { protocol, deflate })
    }

    fn key(&self) -> String {
        BASE64_STANDARD.encode(self.nonce)
    }

    /// None chosen is fine, one that was not offered is not.
    fn verify_protocol<'h>(&self, chosen: &[&'h [u8]]) -> Result<Option<&'h str>, HandshakeError> {
        let Some((first, more)) = chosen.split_first() else { return Ok(None) };
        let protocol = std::str::from_utf8(first).ok().filter(|name| self.protocols.contains(name));
        fits(protocol.is_some() && more.is_empty(), "Sec-WebSocket-Protocol")?;
        Ok(protocol)
    }

    fn verify_deflate(&self, extensions: &[Extension<'_>]) -> Result<Option<Agreement>, HandshakeError> {
        let Some((first, more)) = extensions.split_first() else { return Ok(None) };
        let agreement = self.deflate.as_ref().and_then(|config| config.confirm(first));
        fits(agreement.is_some() && more.is_empty(), "Sec-WebSocket-Extensions")?;
        Ok(agreement)
    }
}

/// The fields of a response that matter.
#[derive(Default)]
struct Fields<'h> {
    upgrade: bool,
    connection: bool,
    accept: Vec<&'h [u8]>,
    protocols: Vec<&'h [u8]>,
    extensions: Vec<Extension<'h>>,
}

impl<'h> Fields<'h> {
    fn gather(headers: impl IntoIterator<Item = (&'h str, &'h [u8])>) -> Result<Self, HandshakeError> {
        let mut fields = Self::default();
        for (name, value) in headers {
            if name.eq_ignore_ascii_case("upgrade") {
                fields.upgrade |= value.trim_ascii().eq_ignore_ascii_case(b"websocket");
            } else if name.eq_ignore_ascii_case("connection") {
                fields.connection |= field::names(value, "upgrade");
            } else if name.eq_ignore_ascii_case("sec-websocket-accept") {
                fields.accept.push(value.trim_ascii());
            } else if name.eq_ignore_ascii_case("sec-websocket-protocol") {
                fields.protocols.push(value.trim_ascii());
            } else if name.eq_ignore_ascii_case("sec-websocket-extensions") {
                let parsed = parse_extensions(value, &mut fields.extensions);
                fits(parsed.is_some(), "Sec-WebSocket-Extensions")?;
            }
        }
        Ok(fields)
    }
}

fn add(out: &mut String, name: &str, value: &str) {
    out.push_str(name);
    out.push_str(": ");
    out.push_str(value);
    out.push_str("\r\n");
}

fn is_visible(text: &str) -> bool {
    text.bytes().all(|byte| byte.is_ascii_graphic())
}

fn is_value(text: &str) -> bool {
    text.bytes().all(|byte| byte == b'\t' || (byte >= b' ' && byte != 0x7f))
}

const fn check(is_sound: bool, part: &'static str) -> Result<(), HandshakeError> {
    if is_sound { Ok(()) } else { Err(HandshakeError::Request(part)) }
}

const fn fits(does_fit: bool, field: &'static str) -> Result<(), HandshakeError> {
    if does_fit { Ok(()) } else { Err(HandshakeError::Response(field)) }
}
