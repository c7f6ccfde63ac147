//! Agreeing on permessage-deflate (RFC 7692 section 7.1): who keeps context, and how large windows are.

use std::fmt;

use super::{Deflater, Inflater};
use crate::{Role, handshake::Extension};

const NAME: &str = "permessage-deflate";

/// What this side wishes. The default keeps no context in either direction: an idle connection then owns no
/// compression state (47 KiB to inflate, 260 KiB to deflate with this window), at the price of a lower ratio
/// for streams of similar small messages.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Config {
    /// Whether this side's messages may refer to its earlier ones, where the peer allows it.
    pub keep_context: bool,
    /// Whether the peer's messages may.
    pub let_peer_keep_context: bool,
    /// Base-2 logarithm of this side's compression window in bytes, 9 to 15.
    pub window_bits: u8,
}

impl Default for Config {
    fn default() -> Self {
        Self { keep_context: false, let_peer_keep_context: false, window_bits: 12 }
    }
}

/// What both sides agreed on. Its text is the server's answer in `Sec-WebSocket-Extensions`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Agreement {
    params: Params,
    window_bits: u8,
}

/// The parameters of an offer or an answer.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
struct Params {
    server_no_context_takeover: bool,
    client_no_context_takeover: bool,
    server_max_window_bits: Option<u8>,
    client_max_window_bits: Option<Bits>,
}

/// `client_max_window_bits` may come without a value in an offer: "you may set it".
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Bits {
    Any,
    Max(u8),
}

impl Config {
    /// The server's part: agrees to one offer, or declines it (RFC 7692 section 5.1).
    #[must_use]
    pub fn accept(&self, offer: &Extension<'_>) -> Option<Agreement> {
        let offered = Params::parse(offer)?;
        let window_bits = offered.server_max_window_bits.unwrap_or(15).min(self.window_bits);
        // zlib cannot keep within a window of 256 bytes.
        if window_bits < 9 {
            return None;
        }
        let params = Params {
            server_no_context_takeover: offered.server_no_context_takeover || !self.keep_context,
            client_no_context_takeover: offered.client_no_context_takeover || !self.let_peer_keep_context,
            server_max_window_bits: offered.server_max_window_bits.map(|_| window_bits),
            // Any window can be inflated, so there is no need to narrow the client's.
            client_max_window_bits: None,
        };
        Some(Agreement { params, window_bits })
    }

    /// The client's part: the offer for `Sec-WebSocket-Extensions`.
    #[must_use]
    pub fn offer(&self) -> String {
        let params = Params {
            server_no_context_takeover: !self.let_peer_keep_context,
            client_no_context_takeover: !self.keep_context,
            server_max_window_bits: None,
            client_max_window_bits: Some(Bits::Any),
        };
        params.to_string()
    }

    /// The client's part: checks the server's answer to [`Config::offer`]; `None` if it does not fit.
    #[must_use]
    pub fn confirm(&self, answer: &Extension<'_>) -> Option<Agreement> {
        let mut params = Params::parse(answer)?;
        let window_bits = match params.client_max_window_bits {
            None => self.window_bits,
            Some(Bits::Max(bits)) => bits.min(self.window_bits),
            Some(Bits::Any) => return None,
        };
        // A client may always forgo its own context (RFC 7692 section 7.1.1.2).
        params.client_no_context_takeover |= !self.keep_context;
        Some(Agreement { params, window_bits })
    }
}

impl Agreement {
    /// The incoming half for the side that plays `role`.
    #[must_use]
    pub const fn inflater(&self, role: Role) -> Inflater {
        Inflater::new(match role {
            Role::Server => !self.params.client_no_context_takeover,
            Role::Client => !self.params.server_no_context_takeover,
        })
    }

    /// The outgoing half for the side that plays `role`. `None` if the window agreed on is too small for zlib:
    /// messages then go uncompressed, as is allowed at any time.
    #[must_use]
    pub fn deflater(&self, role: Role) -> Option<Deflater> {
        let keeps_context = match role {
            Role::Server => !self.params.server_no_context_takeover,
            Role::Client => !self.params.client_no_context_takeover,
        };
        (self.window_bits >= 9).then(|| Deflater::new(self.window_bits, keeps_context))
    }
}

impl fmt::Display for Agreement {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.params.fmt(f)
    }
}

impl Params {
    /// `None` for another extension, an unknown or doubled parameter, or a value out of its range: such offers are
    /// declined, such answers fail the connection (RFC 7692 section 7.1).
    fn parse(extension: &Extension<'_>) -> Option<Self> {
        if !extension.name.eq_ignore_ascii_case(NAME) {
            return None;
        }
        let mut params = Self::default();
        for (name, value) in &extension.params {
            let fresh = match (*name, *value) {
                ("server_no_context_takeover", None) => {
                    !std::mem::replace(&mut params.server_no_context_takeover, true)
                }
                ("client_no_context_takeover", None) => {
                    !std::mem::replace(&mut params.client_no_context_takeover, true)
                }
                ("server_max_window_bits", Some(value)) => {
                    params.server_max_window_bits.replace(parse_bits(value)?).is_none()
                }
                ("client_max_window_bits", None) => {
                    params.client_max_window_bits.replace(Bits::Any).is_none()
                }
                ("client_max_window_bits", Some(value)) => {
                    params.client_max_window_bits.replace(Bits::Max(parse_bits(value)?)).is_none()
                }
                _ => false,
            };
            if !fresh {
                return None;
            }
        }
        Some(params)
    }
}

/// A decimal number from 8 to 15 without leading zeroes (RFC 7692 section 7.1.2).
fn parse_bits(value: &str) -> Option<u8> {
    value.parse().ok().filter(|bits| (8..=15).contains(bits) && !value.starts_with(['0', '+']))
}

impl fmt::Display for Params {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(NAME)?;
        if self.server_no_context_takeover {
            f.write_str("; server_no_context_takeover")?;
        }
        if self.client_no_context_takeover {
            f.write_str("; client_no_context_takeover")?;
        }
        if let Some(bits) = self.server_max_window_bits {
            write!(f, "; server_max_window_bits={bits}")?;
        }
        match self.client_max_window_bits {
            None => Ok(()),
            Some(Bits::Any) => f.write_str("; client_max_window_bits"),
            Some(Bits::Max(bits)) => write!(f, "; client_max_window_bits={bits}"),
        }
    }
}
