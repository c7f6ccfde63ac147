//! Errors as people and programs see them over HTTP: `application/problem+json` (RFC 9457).

use std::borrow::Cow;

use bytes::Bytes;
use hyper::header::{
    ALLOW, CONNECTION, CONTENT_TYPE, HeaderValue, RETRY_AFTER, SEC_WEBSOCKET_VERSION, UPGRADE,
    WWW_AUTHENTICATE,
};
use hyper::{Response, StatusCode};
use serde::Serialize;
use whub_core::{Fault, MOVED};
use whub_proto::{Code, Failure};

use crate::http::body::HttpBody;

/// What went wrong with a request.
#[derive(Debug)]
pub(super) struct Problem {
    code: Code,
    status: StatusCode,
    slug: Cow<'static, str>,
    detail: Cow<'static, str>,
    /// The text that clients of the seed system know, where it differs from `detail`.
    message: Option<Cow<'static, str>>,
    retry_ms: u32,
    allow: Option<&'static str>,
    upgrade: bool,
    /// How often the call was moved to another provider.
    moved: u8,
}

#[derive(Serialize)]
struct Document<'a> {
    r#type: &'a str,
    title: &'a str,
    status: u16,
    detail: &'a str,
    code: u16,
    slug: &'a str,
    retry_ms: u32,
    message: &'a str,
}

impl Problem {
    /// A problem that the same request would meet again.
    pub(super) fn new(code: Code, slug: &'static str, detail: impl Into<Cow<'static, str>>) -> Self {
        Fault::fatal(code, slug, detail).into()
    }

    /// The method is not for this path.
    pub(super) fn method(path: &str, allow: &'static str) -> Self {
        Self {
            status: StatusCode::METHOD_NOT_ALLOWED,
            message: Some(format!("unsupported method for uri {path}").into()),
            allow: Some(allow),
            ..Self::new(Code::BadRequest, "http.method", format!("{path} takes {allow}"))
        }
    }

    /// Nothing is served at this path.
    pub(super) fn not_found(path: &str) -> Self {
        Self::new(Code::NotFound, "service.not_found", format!("can not find service for uri {path}"))
    }

    /// The same with a status of its own, where the code's is too coarse.
    pub(super) fn with_status(self, status: StatusCode) -> Self {
        Self { status, ..self }
    }

    /// The same, naming WebSocket as what is wanted instead.
    pub(super) fn with_upgrade(self) -> Self {
        Self { upgrade: true, ..self }
    }

    /// The same with the text that clients of the seed system know.
    pub(super) fn with_message(self, message: impl Into<Cow<'static, str>>) -> Self {
        Self { message: Some(message.into()), ..self }
    }

    /// What a service answered instead of a response.
    pub(super) fn of_service(failure: &Failure<'_>) -> Self {
        let slug = if failure.slug.is_empty() { failure.code.slug() } else { failure.slug };
        let detail = if failure.reason.is_empty() { failure.code.meaning() } else { failure.reason };
        Self {
            slug: slug.to_owned().into(),
            retry_ms: failure.retry_ms,
            ..Self::new(failure.code, "", detail.to_owned())
        }
    }

    pub(super) fn code(&self) -> Code {
        self.code
    }

    /// The answer.
    pub(super) fn into_response(self) -> Response<HttpBody> {
        let document = Document {
            r#type: "about:blank",
            title: self.status.canonical_reason().unwrap_or_else(|| self.code.meaning()),
            status: self.status.as_u16(),
            detail: &self.detail,
            code: self.code.into(),
            slug: &self.slug,
            retry_ms: self.retry_ms,
            message: self.message.as_deref().unwrap_or(&self.detail),
        };
        // Strings and numbers always serialise.
        let text = serde_json::to_vec(&document).unwrap_or_default();
        let mut response = Response::new(HttpBody::full(Bytes::from(text)));
        *response.status_mut() = self.status;
        let headers = response.headers_mut();
        headers.insert(CONTENT_TYPE, HeaderValue::from_static("application/problem+json"));
        if self.retry_ms > 0 && matches!(self.status.as_u16(), 429 | 503) {
            headers.insert(RETRY_AFTER, self.retry_ms.div_ceil(1000).into());
        }
        if self.status == StatusCode::UNAUTHORIZED {
            headers.insert(WWW_AUTHENTICATE, HeaderValue::from_static("Bearer realm=\"whub\""));
        }
        if let Some(allow) = self.allow {
            headers.insert(ALLOW, HeaderValue::from_static(allow));
        }
        if self.moved > 0 {
            headers.insert(MOVED, u16::from(self.moved).into());
        }
        if self.upgrade {
            headers.insert(UPGRADE, HeaderValue::from_static("websocket"));
            headers.insert(CONNECTION, HeaderValue::from_static("upgrade"));
            headers.insert(SEC_WEBSOCKET_VERSION, HeaderValue::from_static(whub_ws::handshake::VERSION));
        }
        response
    }
}

impl From<Fault> for Problem {
    fn from(fault: Fault) -> Self {
        let status =
            StatusCode::from_u16(fault.code.http_status()).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);
        Self {
            code: fault.code,
            status,
            slug: fault.slug.into(),
            detail: fault.reason,
            message: (fault.code == Code::Unauthorized).then_some("invalid credential".into()),
            retry_ms: fault.retry_ms,
            allow: None,
            upgrade: false,
            moved: fault.moved,
        }
    }
}
