//! What can go wrong between the exposer and its application, as callers and logs are told.

use std::time::Duration;

use whub_proto::Code;
use whub_transport::DialError;

use crate::serve::ServiceError;

/// When a caller may come back to an application that is down.
const RETRY: Duration = Duration::from_secs(1);

/// Why the application did not answer.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Trouble {
    /// Nobody listens there, or TLS was not agreed. Nothing was sent.
    Unreachable(String),
    /// It did not take the connection in time. Nothing was sent.
    Late(Duration),
    /// It took the connection and hung up before any of the request was sent.
    Unsent(String),
    /// It took the request and hung up, or answered what is no HTTP.
    Broken(String),
    /// What it is asked, it asks of the hub: the request has been here before.
    Loop,
}

impl Trouble {
    /// Whether the application was not even reached.
    pub(super) fn is_down(&self) -> bool {
        matches!(self, Self::Unreachable(_) | Self::Late(_))
    }
}

impl From<hyper::Error> for Trouble {
    fn from(error: hyper::Error) -> Self {
        Self::Broken(told(&error))
    }
}

/// An error and what it came from.
pub(super) fn told(error: &hyper::Error) -> String {
    let mut text = error.to_string();
    let mut source = std::error::Error::source(error);
    while let Some(inner) = source {
        text.push_str(&format!(": {inner}"));
        source = inner.source();
    }
    text
}

impl From<DialError> for Trouble {
    fn from(error: DialError) -> Self {
        match error {
            DialError::Late { within, .. } => Self::Late(within),
            DialError::Unknown { source, .. } => {
                Self::Unreachable(format!("its name is not known: {source}"))
            }
            DialError::Unreachable { source, .. } => Self::Unreachable(source.to_string()),
            DialError::Tls { source, .. } => Self::Unreachable(format!("no TLS: {source}")),
            DialError::NotAHub { .. } => Self::Unreachable("it does not speak HTTP".to_owned()),
            DialError::Trust(error) => Self::Unreachable(error.to_string()),
        }
    }
}

impl std::fmt::Display for Trouble {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Unreachable(why) => write!(f, "it cannot be reached: {why}"),
            Self::Late(within) => write!(f, "it did not take a connection within {within:?}"),
            Self::Unsent(why) | Self::Broken(why) => write!(f, "it broke off: {why}"),
            Self::Loop => f.write_str("its address leads back to this service"),
        }
    }
}

/// Callers are not told where the application is.
impl From<Trouble> for ServiceError {
    fn from(trouble: Trouble) -> Self {
        let reason = format!("the application behind this service fails: {trouble}");
        match trouble {
            // Nothing was sent, so another provider may have the call.
            Trouble::Unreachable(_) | Trouble::Late(_) | Trouble::Unsent(_) => {
                Self::not_taken(reason).retry_after(RETRY)
            }
            Trouble::Broken(_) => Self::new(Code::ProviderLost, reason).slug("expose.broken"),
            Trouble::Loop => Self::new(Code::ProviderLost, reason).slug("expose.loop"),
        }
    }
}
