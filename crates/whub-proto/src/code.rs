//! The public table of codes: what went wrong, whose fault it is, whether trying again helps.
//!
//! Numbers below 600 follow HTTP, so that the HTTP bridge needs no table; 600 and above are the hub's own.
//! `docs/codes.md` is generated from the table here.

use std::fmt;

/// Whose doing it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Fault {
    /// The peer that asked: caller, publisher, subscriber or provider of a bad registration.
    Caller,
    /// The program that provides the service.
    Provider,
    /// This hub, or the node that serves the peer.
    Hub,
    /// Nobody: a deadline passed.
    Time,
}

/// Whether the same request may be sent again, and when. `retry_ms` of an error overrides it: 0 do not retry,
/// 1 at once, else not before that many milliseconds.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Retry {
    /// It will fail again until something else is changed.
    Never,
    /// Once, at once (for `ProviderLost`: only what may safely run twice).
    AtOnce,
    /// Not before the time that the error names.
    After,
    /// With growing pauses.
    Backoff,
}

/// Declares [`Code`]: number, JSON name, fault, retry advice, HTTP status, meaning.
macro_rules! codes {
    ($($variant:ident = $number:literal, $name:literal, $fault:ident, $retry:ident, $http:literal, $meaning:literal;)+) => {
        /// A code of `Error`, `Cancel` or `Drain`. Open: unknown numbers are kept.
        #[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
        #[non_exhaustive]
        pub enum Code {
            /// 0: no code was given; treated like `Internal`.
            #[default]
            Unspecified,
            $(#[doc = $meaning] $variant,)+
            /// A number of a later version; judged by its hundred.
            Unknown(u16),
        }

        impl Code {
            /// Every code that this build knows, `Unspecified` apart.
            pub const ALL: &'static [Self] = &[$(Self::$variant),+];

            /// The row of the public table; `None` for `Unspecified` and unknown numbers.
            pub fn row(self) -> Option<&'static Row> {
                match self {
                    $(Self::$variant => Some(&const { Row {
                        code: Self::$variant,
                        number: $number,
                        name: $name,
                        fault: Fault::$fault,
                        retry: Retry::$retry,
                        http_status: $http,
                        meaning: $meaning,
                    }}),)+
                    Self::Unspecified | Self::Unknown(_) => None,
                }
            }

            /// The code of that name, as [`Code::name`] spells it.
            pub fn from_name(name: &str) -> Option<Self> {
                match name {
                    "unspecified" => Some(Self::Unspecified),
                    $($name => Some(Self::$variant),)+
                    _ => None,
                }
            }
        }

        impl From<u16> for Code {
            fn from(number: u16) -> Self {
                match number {
                    0 => Self::Unspecified,
                    $($number => Self::$variant,)+
                    other => Self::Unknown(other),
                }
            }
        }

        impl From<Code> for u16 {
            fn from(code: Code) -> Self {
                match code {
                    Code::Unspecified => 0,
                    $(Code::$variant => $number,)+
                    Code::Unknown(other) => other,
                }
            }
        }
    };
}

codes! {
    BadRequest = 400, "bad_request", Caller, Never, 400, "The request is malformed: a bad name, header or value.";
    Unauthorized = 401, "unauthorized", Caller, Never, 401, "No credentials, or wrong ones.";
    Forbidden = 403, "forbidden", Caller, Never, 403, "The credentials do not permit this.";
    NotFound = 404, "not_found", Caller, Never, 404, "Nobody provides this service, or no such thing exists.";
    Timeout = 408, "timeout", Caller, Backoff, 408, "The peer did not send in time what it had begun.";
    Conflict = 409, "conflict", Caller, Never, 409, "It contradicts what is already there.";
    Gone = 410, "gone", Caller, Never, 410, "It existed and has ended for good.";
    TooLarge = 413, "too_large", Caller, Never, 413, "A frame, message or body is above its limit.";
    TooManyRequests = 429, "too_many_requests", Caller, After, 429, "A rate limit or quota is used up.";
    Cancelled = 499, "cancelled", Caller, Never, 499, "The caller gave up, or its connection was lost.";
    Internal = 500, "internal", Hub, Backoff, 500, "The hub failed; its log says more.";
    Unsupported = 501, "unsupported", Caller, Never, 501, "This hub does not know the request or the feature.";
    ProviderLost = 502, "provider_lost", Provider, AtOnce, 502, "The provider was lost after it may have begun the call.";
    Unavailable = 503, "unavailable", Provider, After, 503, "Every provider is full or paused; the call was not begun.";
    DeadlineExceeded = 504, "deadline_exceeded", Time, Backoff, 504, "No answer came before the deadline.";
    TokenExpired = 601, "token_expired", Caller, AtOnce, 401, "The token ran out; come back with a new one.";
    SlowConsumer = 602, "slow_consumer", Caller, Backoff, 503, "The subscriber read too slowly for what it asked for.";
    Replaced = 603, "replaced", Caller, Never, 409, "Another connection took over this session or seat.";
    Draining = 604, "draining", Hub, AtOnce, 503, "The node is stopping; connect to another, or again.";
    ProtocolError = 605, "protocol_error", Caller, Never, 400, "The peer broke the rules of the protocol.";
}

/// The slug of an `Error` by which a provider says that it has not begun the call: with `Unavailable`, the hub asks
/// another provider.
pub const NOT_TAKEN: &str = "call.not_taken";

/// One row of the public table.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Row {
    /// The code.
    pub code: Code,
    /// Its number on the wire.
    pub number: u16,
    /// Its name in the JSON mirror, and the slug of an error that has no finer one.
    pub name: &'static str,
    /// Whose doing it is.
    pub fault: Fault,
    /// Whether trying again helps.
    pub retry: Retry,
    /// The status of an HTTP answer.
    pub http_status: u16,
    /// One sentence for people.
    pub meaning: &'static str,
}

impl Code {
    /// The name in the JSON mirror, lower snake case; `None` for unknown numbers.
    pub fn name(self) -> Option<&'static str> {
        if self == Self::Unspecified {
            return Some("unspecified");
        }
        self.row().map(|row| row.name)
    }

    /// The machine string of an error that has no finer one, such as `service.not_found`.
    pub fn slug(self) -> &'static str {
        self.row().map_or("internal", |row| row.name)
    }

    /// One sentence for people.
    pub fn meaning(self) -> &'static str {
        self.row().map_or("The peer gave no code that this version knows.", |row| row.meaning)
    }

    /// Whose doing it is; unknown numbers are judged by their hundred.
    pub fn fault(self) -> Fault {
        match (self.row(), u16::from(self)) {
            (Some(row), _) => row.fault,
            (None, 400..=499) => Fault::Caller,
            (None, _) => Fault::Hub,
        }
    }

    /// Whether trying again helps; unknown numbers are judged by their hundred.
    pub fn retry(self) -> Retry {
        match (self.row(), u16::from(self)) {
            (Some(row), _) => row.retry,
            (None, 400..=499) => Retry::Never,
            (None, _) => Retry::Backoff,
        }
    }

    /// The status of an HTTP answer.
    pub fn http_status(self) -> u16 {
        match (self.row(), u16::from(self)) {
            (Some(row), _) => row.http_status,
            (None, number @ 400..=599) => number,
            (None, _) => 500,
        }
    }

    /// The code of a WebSocket close frame: 4000 + number. Numbers that do not fit are closed as `Internal`.
    pub fn close_code(self) -> u16 {
        match u16::from(self) {
            number @ 400..=999 => 4000 + number,
            _ => 4500,
        }
    }
}

impl fmt::Display for Code {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.name() {
            Some(name) => f.write_str(name),
            None => write!(f, "code {}", u16::from(*self)),
        }
    }
}

impl fmt::Display for Fault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Caller => "caller",
            Self::Provider => "provider",
            Self::Hub => "hub",
            Self::Time => "time",
        })
    }
}

impl fmt::Display for Retry {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Never => "never",
            Self::AtOnce => "at once",
            Self::After => "after `retry_ms`",
            Self::Backoff => "with back-off",
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_number_survives_the_round_trip() {
        for number in 0..=u16::MAX {
            assert_eq!(u16::from(Code::from(number)), number);
        }
    }

    #[test]
    fn every_name_finds_its_code() {
        for &code in Code::ALL {
            assert_eq!(code.name().and_then(Code::from_name), Some(code));
        }
    }

    #[test]
    fn own_codes_have_http_statuses() {
        let statuses = [601, 602, 603, 604, 605].map(|number| Code::from(number).http_status());
        assert_eq!(statuses, [401, 503, 409, 503, 400]);
    }

    #[test]
    fn codes_below_600_are_their_own_http_status() {
        for &code in Code::ALL {
            if u16::from(code) < 600 {
                assert_eq!(code.http_status(), u16::from(code));
            }
        }
    }

    #[test]
    fn unknown_codes_are_judged_by_their_hundred() {
        let teapot = Code::from(418);
        assert_eq!(
            (teapot.fault(), teapot.retry(), teapot.http_status()),
            (Fault::Caller, Retry::Never, 418)
        );
        let later = Code::from(650);
        assert_eq!((later.fault(), later.retry(), later.http_status()), (Fault::Hub, Retry::Backoff, 500));
    }

    #[test]
    fn close_codes_stay_in_the_private_range() {
        for number in 0..=u16::MAX {
            assert!((4400..=4999).contains(&Code::from(number).close_code()));
        }
        assert_eq!(Code::SlowConsumer.close_code(), 4602);
    }
}
