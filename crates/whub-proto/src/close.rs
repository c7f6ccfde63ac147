//! What a WebSocket close code tells a client: whether to come back.
//!
//! Faults of WebSocket itself use the codes of RFC 6455 section 7.4.1; the hub's own are 4000 + [`Code`].
//! A client needs only the ranges: 4400–4499 stay away, 4500–4599 come back with back-off, 4600–4699 by the table.

use std::fmt;

use crate::{Code, code::Retry};

/// Whether a client connects again after its connection was closed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Reconnect {
    /// Stay away: it would end the same way.
    Never,
    /// Once with fresh credentials; if the same code comes back, stay away.
    WithNewToken,
    /// Soon, after a short random pause, to another node where one is known.
    AtOnce,
    /// With growing random pauses.
    Backoff,
}

/// What to do after the close code `ws_code`; 1006 stands for a connection that ended without one.
pub fn advice(ws_code: u16) -> Reconnect {
    match ws_code {
        1000 | 1002 | 1003 | 1007..=1010 | 1015 => Reconnect::Never,
        1001 | 1012 => Reconnect::AtOnce,
        3000 => Reconnect::WithNewToken,
        3003 => Reconnect::Never,
        4400..=4999 => own(Code::from(ws_code - 4000)),
        _ => Reconnect::Backoff,
    }
}

impl fmt::Display for Reconnect {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Never => "never",
            Self::WithNewToken => "with a new token",
            Self::AtOnce => "at once",
            Self::Backoff => "with back-off",
        })
    }
}

fn own(code: Code) -> Reconnect {
    if matches!(code, Code::Unauthorized | Code::TokenExpired) {
        return Reconnect::WithNewToken;
    }
    match code.retry() {
        Retry::Never => Reconnect::Never,
        Retry::AtOnce => Reconnect::AtOnce,
        Retry::After | Retry::Backoff => Reconnect::Backoff,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn own_codes_say_whether_to_come_back() {
        use Reconnect::{AtOnce, Backoff, Never, WithNewToken};
        for (code, wanted) in [
            (Code::Unauthorized, WithNewToken),
            (Code::TokenExpired, WithNewToken),
            (Code::Forbidden, Never),
            (Code::Replaced, Never),
            (Code::ProtocolError, Never),
            (Code::TooManyRequests, Backoff),
            (Code::SlowConsumer, Backoff),
            (Code::Internal, Backoff),
            (Code::Draining, AtOnce),
        ] {
            assert_eq!(advice(code.close_code()), wanted, "{code}");
        }
    }

    #[test]
    fn ranges_decide_for_codes_of_later_versions() {
        assert_eq!(advice(4455), Reconnect::Never);
        assert_eq!(advice(4555), Reconnect::Backoff);
        assert_eq!(advice(4655), Reconnect::Backoff);
    }

    #[test]
    fn codes_of_rfc_6455_say_whether_to_come_back() {
        assert_eq!(advice(1000), Reconnect::Never);
        assert_eq!(advice(1001), Reconnect::AtOnce);
        assert_eq!(advice(1002), Reconnect::Never);
        assert_eq!(advice(1006), Reconnect::Backoff);
        assert_eq!(advice(1011), Reconnect::Backoff);
        assert_eq!(advice(1013), Reconnect::Backoff);
    }
}
