//! The server's side: is this a sound request for a WebSocket, and what does it offer?

use super::{VERSION, accept_key, field, is_key, parse_extensions};
use crate::{
    deflate::{self, Agreement},
    handshake::Extension,
};

/// A sound request for a WebSocket.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Upgrade<'a> {
    /// The subprotocols that the client speaks, best first; each a token, none twice.
    pub protocols: Vec<&'a str>,
    /// The extensions that the client offers, best first.
    pub extensions: Vec<Extension<'a>>,
    /// The value of `Sec-WebSocket-Accept` to answer with; `None` over HTTP/2 and HTTP/3, which need none.
    pub accept: Option<String>,
}

/// Why a request does not become a WebSocket. The client's fault; the same request will fail again.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum Refusal {
    /// `Connection` does not name `upgrade`, or `Upgrade` does not name `websocket`.
    #[error("not a WebSocket request: `Upgrade: websocket` and `Connection: Upgrade` are needed")]
    NotWebSocket,
    /// `Sec-WebSocket-Version` is absent, doubled or not 13.
    #[error("`Sec-WebSocket-Version` must be 13")]
    Version,
    /// `Sec-WebSocket-Key` is absent, doubled or not sixteen bytes in base64.
    #[error("`Sec-WebSocket-Key` must be sixteen bytes in base64, once")]
    Key,
    /// `Sec-WebSocket-Protocol` holds something else than tokens, or one twice.
    #[error("`Sec-WebSocket-Protocol` must list different tokens")]
    Protocol,
    /// `Sec-WebSocket-Extensions` is malformed.
    #[error("`Sec-WebSocket-Extensions` is malformed")]
    Extensions,
}

impl Refusal {
    /// The HTTP status of the answer. With 426 belong `Upgrade: websocket`, `Connection: Upgrade` and
    /// `Sec-WebSocket-Version: 13` (RFC 6455 section 4.4).
    #[must_use]
    pub const fn status(self) -> u16 {
        match self {
            Self::NotWebSocket | Self::Version => 426,
            Self::Key | Self::Protocol | Self::Extensions => 400,
        }
    }
}

impl<'a> Upgrade<'a> {
    /// Checks a GET of HTTP/1.1 (RFC 6455 section 4.2.1). The method and the HTTP version are the caller's to check,
    /// and that there is no body.
    ///
    /// # Errors
    /// What is missing or wrong.
    pub fn from_http1(headers: impl IntoIterator<Item = (&'a str, &'a [u8])>) -> Result<Self, Refusal> {
        let fields = Fields::gather(headers)?;
        if !fields.upgrade || !fields.connection {
            return Err(Refusal::NotWebSocket);
        }
        fields.version.once(|value| value == VERSION.as_bytes()).ok_or(Refusal::Version)?;
        let key = fields.key.once(is_key).ok_or(Refusal::Key)?;
        Ok(Self { protocols: fields.protocols, extensions: fields.extensions, accept: Some(accept_key(key)) })
    }

    /// Checks a CONNECT with `:protocol: websocket` of HTTP/2 or HTTP/3 (RFC 8441, RFC 9220), where the transport
    /// itself takes the place of `Upgrade`, `Connection` and the key. The pseudo-headers are the caller's to check.
    ///
    /// # Errors
    /// What is missing or wrong.
    pub fn from_extended_connect(
        headers: impl IntoIterator<Item = (&'a str, &'a [u8])>,
    ) -> Result<Self, Refusal> {
        let fields = Fields::gather(headers)?;
        fields.version.once(|value| value == VERSION.as_bytes()).ok_or(Refusal::Version)?;
        Ok(Self { protocols: fields.protocols, extensions: fields.extensions, accept: None })
    }

    /// Whether an HTTP/1.1 request asks for a WebSocket, sound or not.
    #[must_use]
    pub fn is_wanted(headers: impl IntoIterator<Item = (&'a str, &'a [u8])>) -> bool {
        headers
            .into_iter()
            .any(|(name, value)| name.eq_ignore_ascii_case("upgrade") && field::names(value, "websocket"))
    }

    /// The first of the client's subprotocols that `is_spoken` here.
    #[must_use]
    pub fn choose_protocol(&self, is_spoken: impl Fn(&str) -> bool) -> Option<&'a str> {
        self.protocols.iter().copied().find(|protocol| is_spoken(protocol))
    }

    /// Agrees on permessage-deflate if one of the offers can be met; answer with the agreement's text in
    /// `Sec-WebSocket-Extensions`.
    #[must_use]
    pub fn accept_deflate(&self, config: &deflate::Config) -> Option<Agreement> {
        self.extensions.iter().find_map(|offer| config.accept(offer))
    }
}

/// What the fields of a request say, before it is known whether that is enough.
#[derive(Default)]
struct Fields<'a> {
    upgrade: bool,
    connection: bool,
    version: Single<'a>,
    key: Single<'a>,
    protocols: Vec<&'a str>,
    extensions: Vec<Extension<'a>>,
}

impl<'a> Fields<'a> {
    fn gather(headers: impl IntoIterator<Item = (&'a str, &'a [u8])>) -> Result<Self, Refusal> {
        let mut fields = Self::default();
        for (name, value) in headers {
            if name.eq_ignore_ascii_case("upgrade") {
                fields.upgrade |= field::names(value, "websocket");
            } else if name.eq_ignore_ascii_case("connection") {
                fields.connection |= field::names(value, "upgrade");
            } else if name.eq_ignore_ascii_case("sec-websocket-version") {
                fields.version.add(value);
            } else if name.eq_ignore_ascii_case("sec-websocket-key") {
                fields.key.add(value);
            } else if name.eq_ignore_ascii_case("sec-websocket-protocol") {
                add_protocols(value, &mut fields.protocols).ok_or(Refusal::Protocol)?;
            } else if name.eq_ignore_ascii_case("sec-websocket-extensions") {
                parse_extensions(value, &mut fields.extensions).ok_or(Refusal::Extensions)?;
            }
        }
        Ok(fields)
    }
}

fn add_protocols<'a>(value: &'a [u8], into: &mut Vec<&'a str>) -> Option<()> {
    for entry in field::list(value) {
        let protocol = std::str::from_utf8(entry).ok().filter(|entry| field::is_token(entry))?;
        if into.contains(&protocol) {
            return None;
        }
        into.push(protocol);
    }
    Some(())
}

/// A field that may come only once.
#[derive(Default)]
struct Single<'a> {
    value: Option<&'a [u8]>,
    doubled: bool,
}

impl<'a> Single<'a> {
    fn add(&mut self, value: &'a [u8]) {
        self.doubled |= self.value.replace(value.trim_ascii()).is_some();
    }

    fn once(&self, is_sound: impl Fn(&[u8]) -> bool) -> Option<&'a [u8]> {
        self.value.filter(|value| !self.doubled && is_sound(value))
    }
}
