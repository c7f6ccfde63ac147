//! The one error of this crate: what went wrong, whose fault it is, and whether trying again makes sense.

use std::borrow::Cow;
use std::error::Error as StdError;
use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use whub_proto::{Code, Failure, code};

use crate::headers::Headers;

/// What kind of thing went wrong. Match on it with a wildcard: more kinds may come.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum ErrorKind {
    /// No answer before the deadline, ours or the hub's.
    Timeout,
    /// Somebody gave up: this program, or the other side.
    Cancelled,
    /// Nobody provides the service, or no such thing exists.
    NotFound,
    /// No credentials, wrong ones, or expired ones.
    Unauthorized,
    /// The credentials do not permit this.
    Forbidden,
    /// It contradicts what is already there.
    Conflict,
    /// A frame, message or body is above a limit.
    TooLarge,
    /// The connection to the hub could not be made, or ended before the outcome was known.
    ConnectionLost,
    /// The provider was lost after it may have begun the call.
    ProviderLost,
    /// The service, or the hub, answered an error that has no kind of its own here.
    RemoteError,
    /// One side broke the rules of the protocol.
    ProtocolError,
    /// Too much waits for a connection; nothing was queued.
    BufferFull,
    /// Every provider, or the hub, is too busy or stopping; nothing was begun.
    Unavailable,
    /// A name, URL, header or value of this program is malformed. Nothing was sent.
    Invalid,
    /// This client was drained or closed.
    Closed,
}

/// Why something did not succeed. Cheap to clone.
#[derive(Clone)]
pub struct Error(Arc<Inner>);

#[derive(Clone)]
struct Inner {
    kind: ErrorKind,
    code: Code,
    slug: Cow<'static, str>,
    reason: Cow<'static, str>,
    retry: Advice,
    headers: Headers,
    source: Option<Arc<dyn StdError + Send + Sync>>,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Advice {
    Never,
    AtOnce,
    After(Duration),
}

impl Error {
    /// What kind of error it is.
    #[must_use]
    pub fn kind(&self) -> ErrorKind {
        self.0.kind
    }

    /// The code of the public table; local errors have the one that a hub would have used.
    #[must_use]
    pub fn code(&self) -> Code {
        self.0.code
    }

    /// A stable string for programs, such as `service.not_found`; local ones begin with `client.`.
    #[must_use]
    pub fn slug(&self) -> &str {
        &self.0.slug
    }

    /// One sentence for people.
    #[must_use]
    pub fn reason(&self) -> &str {
        &self.0.reason
    }

    /// Whether the same thing may be tried again. After [`ErrorKind::ConnectionLost`] and
    /// [`ErrorKind::ProviderLost`] it may then happen twice.
    #[must_use]
    pub fn retryable(&self) -> bool {
        self.0.retry != Advice::Never
    }

    /// How long to wait before trying again; `None` where it makes no sense.
    #[must_use]
    pub fn retry_after(&self) -> Option<Duration> {
        match self.0.retry {
            Advice::Never => None,
            Advice::AtOnce => Some(Duration::ZERO),
            Advice::After(pause) => Some(pause),
        }
    }

    /// Header pairs that came with a remote error.
    #[must_use]
    pub fn headers(&self) -> &Headers {
        &self.0.headers
    }

    /// Whether connecting again would end the same way: wrong or missing credentials, a breach of the protocol,
    /// another connection that took over.
    pub(crate) fn is_fatal(&self) -> bool {
        matches!(self.kind(), ErrorKind::Unauthorized | ErrorKind::Forbidden | ErrorKind::ProtocolError)
            || self.code() == Code::Replaced
    }

    fn local(
        kind: ErrorKind,
        code: Code,
        slug: &'static str,
        retry: Advice,
        reason: Cow<'static, str>,
    ) -> Self {
        let (headers, source) = (Headers::default(), None);
        Self(Arc::new(Inner { kind, code, slug: slug.into(), reason, retry, headers, source }))
    }

    pub(crate) fn timeout(reason: impl Into<Cow<'static, str>>) -> Self {
        let retry = Advice::AtOnce;
        Self::local(ErrorKind::Timeout, Code::DeadlineExceeded, "client.timeout", retry, reason.into())
    }

    pub(crate) fn cancelled(reason: &'static str) -> Self {
        Self::local(ErrorKind::Cancelled, Code::Cancelled, "client.cancelled", Advice::Never, reason.into())
    }

    pub(crate) fn invalid(reason: impl Into<Cow<'static, str>>) -> Self {
        Self::local(ErrorKind::Invalid, Code::BadRequest, "client.invalid", Advice::Never, reason.into())
    }

    pub(crate) fn conflict(reason: impl Into<Cow<'static, str>>) -> Self {
        let kind = ErrorKind::Conflict;
        Self::local(kind, Code::Conflict, "client.conflict", Advice::Never, reason.into())
    }

    pub(crate) fn too_large(reason: impl Into<Cow<'static, str>>) -> Self {
        Self::local(ErrorKind::TooLarge, Code::TooLarge, "client.too_large", Advice::Never, reason.into())
    }

    pub(crate) fn lost(reason: impl Into<Cow<'static, str>>) -> Self {
        let (kind, retry) = (ErrorKind::ConnectionLost, Advice::AtOnce);
        Self::local(kind, Code::Unavailable, "client.connection_lost", retry, reason.into())
    }

    pub(crate) fn protocol(reason: impl Into<Cow<'static, str>>) -> Self {
        let kind = ErrorKind::ProtocolError;
        Self::local(kind, Code::ProtocolError, "client.protocol_error", Advice::Never, reason.into())
    }

    pub(crate) fn buffer_full(reason: impl Into<Cow<'static, str>>) -> Self {
        let retry = Advice::After(Duration::from_secs(1));
        let kind = ErrorKind::BufferFull;
        Self::local(kind, Code::Unavailable, "client.buffer_full", retry, reason.into())
    }

    pub(crate) fn unavailable(reason: impl Into<Cow<'static, str>>, pause: Duration) -> Self {
        let (kind, retry) = (ErrorKind::Unavailable, Advice::After(pause));
        Self::local(kind, Code::Unavailable, "client.unavailable", retry, reason.into())
    }

    pub(crate) fn slow_consumer(reason: impl Into<Cow<'static, str>>) -> Self {
        let (kind, retry) = (ErrorKind::RemoteError, Advice::AtOnce);
        Self::local(kind, Code::SlowConsumer, "client.slow_consumer", retry, reason.into())
    }

    pub(crate) fn closed() -> Self {
        let reason = "this client was closed".into();
        Self::local(ErrorKind::Closed, Code::Cancelled, "client.closed", Advice::Never, reason)
    }

    /// An error that a peer sent. Its `retry_ms` decides whether to come back.
    pub(crate) fn remote(failure: &Failure<'_>) -> Self {
        let slug = if failure.slug.is_empty() { failure.code.slug() } else { failure.slug };
        let reason = if failure.reason.is_empty() { failure.code.meaning() } else { failure.reason };
        Self(Arc::new(Inner {
            kind: kind_of(failure.code),
            code: failure.code,
            slug: slug.to_owned().into(),
            reason: reason.to_owned().into(),
            retry: Advice::from_ms(failure.retry_ms),
            headers: Headers::from(failure.headers),
            source: None,
        }))
    }

    /// A code without more: a close code of a WebSocket, the status of a refused upgrade.
    pub(crate) fn from_code(code: Code, reason: impl Into<Cow<'static, str>>) -> Self {
        let retry = match code.retry() {
            code::Retry::Never => Advice::Never,
            code::Retry::AtOnce => Advice::AtOnce,
            code::Retry::After | code::Retry::Backoff => Advice::After(Duration::from_secs(1)),
        };
        Self::local(kind_of(code), code, "", retry, reason.into()).with_slug(code.slug())
    }

    pub(crate) fn with_source(self, source: impl StdError + Send + Sync + 'static) -> Self {
        self.changed(|inner| inner.source = Some(Arc::new(source)))
    }

    fn with_slug(self, slug: &'static str) -> Self {
        self.changed(|inner| inner.slug = slug.into())
    }

    fn changed(mut self, change: impl FnOnce(&mut Inner)) -> Self {
        change(Arc::make_mut(&mut self.0));
        self
    }
}

impl Advice {
    fn from_ms(retry_ms: u32) -> Self {
        match retry_ms {
            0 => Self::Never,
            1 => Self::AtOnce,
            ms => Self::After(Duration::from_millis(ms.into())),
        }
    }
}

#[expect(clippy::wildcard_enum_match_arm, reason = "codes are open")]
fn kind_of(code: Code) -> ErrorKind {
    match code {
        Code::BadRequest => ErrorKind::Invalid,
        Code::Unauthorized | Code::TokenExpired => ErrorKind::Unauthorized,
        Code::Forbidden => ErrorKind::Forbidden,
        Code::NotFound | Code::Gone => ErrorKind::NotFound,
        Code::Timeout | Code::DeadlineExceeded => ErrorKind::Timeout,
        Code::Conflict => ErrorKind::Conflict,
        Code::TooLarge => ErrorKind::TooLarge,
        Code::Cancelled => ErrorKind::Cancelled,
        Code::ProviderLost => ErrorKind::ProviderLost,
        Code::TooManyRequests | Code::Unavailable | Code::Draining => ErrorKind::Unavailable,
        Code::ProtocolError => ErrorKind::ProtocolError,
        // One that has no kind here is the remote side's own affair.
        _ => ErrorKind::RemoteError,
    }
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0.reason)
    }
}

impl fmt::Debug for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Error")
            .field("kind", &self.0.kind)
            .field("code", &self.0.code)
            .field("slug", &self.0.slug)
            .field("reason", &self.0.reason)
            .field("retry_after", &self.retry_after())
            .finish()
    }
}

impl StdError for Error {
    fn source(&self) -> Option<&(dyn StdError + 'static)> {
        self.0.source.as_ref().map(|source| &**source as &(dyn StdError + 'static))
    }
}

impl From<whub_proto::names::NameError> for Error {
    fn from(error: whub_proto::names::NameError) -> Self {
        Self::invalid(error.to_string()).with_source(error)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_remote_error_says_when_to_come_back() {
        let failure = Failure { code: Code::Unavailable, retry_ms: 500, ..Failure::default() };
        let error = Error::remote(&failure);
        assert_eq!(error.kind(), ErrorKind::Unavailable);
        assert_eq!(error.retry_after(), Some(Duration::from_millis(500)));
        assert_eq!(error.slug(), "unavailable");
        let never = Error::remote(&Failure { code: Code::NotFound, slug: "service.not_found", ..failure });
        assert_eq!((never.kind(), never.slug()), (ErrorKind::NotFound, "service.not_found"));
        assert!(Error::remote(&Failure { retry_ms: 1, ..failure }).retryable());
        assert!(!Error::remote(&Failure { retry_ms: 0, ..failure }).retryable());
    }

    #[test]
    fn only_what_cannot_get_better_is_fatal() {
        for (code, fatal) in [
            (Code::Unauthorized, true),
            (Code::Forbidden, true),
            (Code::ProtocolError, true),
            (Code::Replaced, true),
            (Code::Draining, false),
            (Code::SlowConsumer, false),
            (Code::Internal, false),
        ] {
            assert_eq!(Error::from_code(code, "").is_fatal(), fatal, "{code}");
        }
    }
}
