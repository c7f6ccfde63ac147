//! What a handler answers.

use bytes::Bytes;
use futures_core::Stream;
use whub_proto::code::NOT_TAKEN;
use whub_proto::{Code, Format};

use crate::body::{Source, StreamError, to_json};
use crate::error::{Error, ErrorKind};
use crate::headers::Headers;

/// An answer: status, headers and a body of bytes or of a stream.
#[derive(Debug)]
pub struct Reply {
    pub(crate) status: u16,
    pub(crate) format: Format,
    pub(crate) text: bool,
    pub(crate) headers: Headers,
    pub(crate) body: Source,
}

impl Default for Reply {
    fn default() -> Self {
        Self {
            status: 200,
            format: Format::Unspecified,
            text: false,
            headers: Headers::default(),
            body: Source::default(),
        }
    }
}

impl Reply {
    /// An answer without a body.
    #[must_use]
    pub fn status(status: u16) -> Self {
        Self { status, ..Self::default() }
    }

    /// An answer of bytes.
    #[must_use]
    pub fn bytes(body: impl Into<Bytes>) -> Self {
        Self { format: Format::Bytes, body: Source::Bytes(body.into()), ..Self::default() }
    }

    /// An answer of text, `text/plain; charset=utf-8`.
    #[must_use]
    pub fn text(body: impl Into<String>) -> Self {
        let body = Source::Bytes(body.into().into());
        let reply = Self { format: Format::Text, text: true, body, ..Self::default() };
        reply.header("content-type", "text/plain; charset=utf-8")
    }

    /// An answer of JSON, `application/json`.
    ///
    /// # Errors
    /// When no JSON can be made of the value.
    pub fn json(value: &(impl serde::Serialize + ?Sized)) -> Result<Self, Error> {
        let body = Source::Bytes(to_json(value)?);
        let reply = Self { format: Format::Json, text: true, body, ..Self::default() };
        Ok(reply.header("content-type", "application/json"))
    }

    /// An answer whose body is still being made. The stream is read only as fast as the caller takes it; an error in
    /// it ends the call as failed.
    #[must_use]
    pub fn stream<S, E>(body: S) -> Self
    where
        S: Stream<Item = Result<Bytes, E>> + Send + 'static,
        E: Into<StreamError> + 'static,
    {
        Self { format: Format::Bytes, body: Source::stream(body), ..Self::default() }
    }

    /// The same answer with trailers, which are asked for once the body has been sent. Over HTTP/1.1 they reach callers
    /// only when a header `trailer` announces their names.
    #[must_use]
    pub fn trailers(mut self, trailers: impl Future<Output = Headers> + Send + 'static) -> Self {
        self.body = self.body.trailed(Box::pin(trailers));
        self
    }

    /// The same answer with another status.
    #[must_use]
    pub fn with_status(mut self, status: u16) -> Self {
        self.status = status;
        self
    }

    /// The same answer with a body that is still being made, as [`Reply::stream`] takes it.
    #[must_use]
    pub fn with_stream<S, E>(mut self, body: S) -> Self
    where
        S: Stream<Item = Result<Bytes, E>> + Send + 'static,
        E: Into<StreamError> + 'static,
    {
        self.body = Source::stream(body);
        self
    }

    /// The same answer with another header pair.
    #[must_use]
    pub fn header(mut self, name: impl Into<String>, value: impl Into<String>) -> Self {
        self.headers.push(name, value);
        self
    }

    /// The same answer, said to be of this format.
    #[must_use]
    pub fn with_format(mut self, format: Format) -> Self {
        self.format = format;
        self
    }
}

impl From<()> for Reply {
    fn from((): ()) -> Self {
        Self::status(204)
    }
}

impl From<&str> for Reply {
    fn from(body: &str) -> Self {
        Self::text(body)
    }
}

impl From<String> for Reply {
    fn from(body: String) -> Self {
        Self::text(body)
    }
}

impl From<Bytes> for Reply {
    fn from(body: Bytes) -> Self {
        Self::bytes(body)
    }
}

impl From<Vec<u8>> for Reply {
    fn from(body: Vec<u8>) -> Self {
        Self::bytes(body)
    }
}

/// Why a handler could not answer. The caller sees code, slug and reason.
#[derive(Clone, Debug)]
pub struct ServiceError {
    pub(crate) code: Code,
    pub(crate) slug: String,
    pub(crate) reason: String,
    pub(crate) retry_ms: u32,
    pub(crate) headers: Headers,
}

impl ServiceError {
    /// An error with a code of the public table and a sentence for people.
    #[must_use]
    pub fn new(code: Code, reason: impl Into<String>) -> Self {
        let (slug, reason) = (code.slug().to_owned(), reason.into());
        Self { code, slug, reason, retry_ms: 0, headers: Headers::default() }
    }

    /// What the caller sent is not what the service takes (400).
    #[must_use]
    pub fn bad_request(reason: impl Into<String>) -> Self {
        Self::new(Code::BadRequest, reason)
    }

    /// The service knows no such thing (404).
    #[must_use]
    pub fn not_found(reason: impl Into<String>) -> Self {
        Self::new(Code::NotFound, reason)
    }

    /// The service failed (500).
    #[must_use]
    pub fn internal(reason: impl Into<String>) -> Self {
        Self::new(Code::Internal, reason)
    }

    /// The call was not begun, and nothing of it was done: the hub asks another provider if there is one, else the
    /// caller is told (503).
    #[must_use]
    pub fn not_taken(reason: impl Into<String>) -> Self {
        Self::new(Code::Unavailable, reason).slug(NOT_TAKEN)
    }

    /// The same error with a stable string for programs.
    #[must_use]
    pub fn slug(mut self, slug: impl Into<String>) -> Self {
        self.slug = slug.into();
        self
    }

    /// The same error, worth another try after `pause`; zero means at once.
    #[must_use]
    pub fn retry_after(mut self, pause: std::time::Duration) -> Self {
        self.retry_ms = u32::try_from(pause.as_millis()).unwrap_or(u32::MAX).max(1);
        self
    }

    /// The same error with another header pair.
    #[must_use]
    pub fn header(mut self, name: impl Into<String>, value: impl Into<String>) -> Self {
        self.headers.push(name, value);
        self
    }
}

impl std::fmt::Display for ServiceError {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(&self.reason)
    }
}

impl std::error::Error for ServiceError {}

/// A body that could not be read is the caller's fault; an error of a call made on the way is passed on. That such a call
/// was not begun says nothing about the one that made it.
impl From<Error> for ServiceError {
    fn from(error: Error) -> Self {
        let invalid = error.kind() == ErrorKind::Invalid;
        let code = if invalid { Code::BadRequest } else { error.code() };
        let retry_ms = error
            .retry_after()
            .map_or(0, |pause| u32::try_from(pause.as_millis()).unwrap_or(u32::MAX).max(1));
        Self {
            code,
            slug: if error.slug() == NOT_TAKEN { code.slug() } else { error.slug() }.to_owned(),
            reason: error.reason().to_owned(),
            retry_ms,
            headers: error.headers().clone(),
        }
    }
}

impl From<std::io::Error> for ServiceError {
    #[expect(clippy::wildcard_enum_match_arm, reason = "what else a file can do is the service's own affair")]
    fn from(error: std::io::Error) -> Self {
        let code = match error.kind() {
            std::io::ErrorKind::NotFound => Code::NotFound,
            std::io::ErrorKind::PermissionDenied => Code::Forbidden,
            _ => Code::Internal,
        };
        Self::new(code, error.to_string())
    }
}

impl From<serde_json::Error> for ServiceError {
    fn from(error: serde_json::Error) -> Self {
        Self::bad_request(error.to_string())
    }
}

#[cfg(test)]
mod tests {
    use whub_proto::Failure;

    use super::*;

    #[test]
    fn a_call_that_was_not_taken_on_the_way_does_not_make_its_caller_one() {
        let own = ServiceError::not_taken("the printer is off");
        assert_eq!((own.code, own.slug.as_str()), (Code::Unavailable, NOT_TAKEN));
        let inner = Error::remote(&Failure { code: own.code, slug: &own.slug, ..Failure::default() });
        assert_eq!(ServiceError::from(inner).slug, "unavailable");
    }
}
