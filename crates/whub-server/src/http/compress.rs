//! Answers compressed with gzip for clients that accept it.
//!
//! Only what is worth it: media types that are text at heart, bodies that are not known to be short, and nothing that
//! the service has encoded, cut into ranges, or signed. A body is flushed whenever its source has nothing more to say
//! for now, so events arrive as they did before.

use std::io::Write as _;

use bytes::Bytes;
use flate2::write::GzEncoder;
use hyper::body::Body as _;
use hyper::header::{
    ACCEPT_ENCODING, ACCEPT_RANGES, CACHE_CONTROL, CONTENT_ENCODING, CONTENT_LENGTH, CONTENT_RANGE,
    CONTENT_TYPE, ETAG, HeaderName, HeaderValue, VARY,
};
use hyper::{HeaderMap, Method, Response, StatusCode};

use crate::config::Compression;
use crate::http::body::{BrokenOff, HttpBody};

/// Level of effort: most of the gain for a third of the time.
const LEVEL: u32 = 4;

/// Compressed bytes that go out at once while the source goes on, bytes.
const PIECE_BYTES: usize = 16 * 1024;

/// Headers that vouch for the bytes as they are.
const VOUCHING: [HeaderName; 4] = [
    HeaderName::from_static("content-digest"),
    HeaderName::from_static("repr-digest"),
    HeaderName::from_static("digest"),
    HeaderName::from_static("content-md5"),
];

/// Whether a client takes gzip, of which it speaks in its request.
pub(super) fn is_accepted(headers: &HeaderMap) -> bool {
    let mut accepted = false;
    for value in headers.get_all(ACCEPT_ENCODING) {
        let Ok(value) = value.to_str() else { continue };
        for entry in value.split(',') {
            let (coding, weight) = entry.split_once(';').unwrap_or((entry, ""));
            let is_refused = is_zero(weight);
            match coding.trim() {
                coding if coding.eq_ignore_ascii_case("gzip") || coding.eq_ignore_ascii_case("x-gzip") => {
                    return !is_refused;
                }
                "*" => accepted = !is_refused,
                _ => {}
            }
        }
    }
    accepted
}

/// Whether a weight is `q=0`, however many zeros it has.
fn is_zero(weight: &str) -> bool {
    let weight = weight.trim();
    let value = weight.strip_prefix("q=").or_else(|| weight.strip_prefix("Q="));
    value.is_some_and(|value| value.trim().parse::<f32>() == Ok(0.0))
}

/// Compresses an answer, if that is wanted, allowed and worth it.
pub(super) fn compress(
    rules: &Compression,
    method: &Method,
    accepted: bool,
    response: Response<HttpBody>,
) -> Response<HttpBody> {
    if !rules.enabled || !is_worth_it(rules, method, &response) {
        return response;
    }
    let (mut parts, body) = response.into_parts();
    parts.headers.append(VARY, HeaderValue::from_static("accept-encoding"));
    if !accepted {
        return Response::from_parts(parts, body);
    }
    parts.headers.remove(CONTENT_LENGTH);
    // Ranges are of the bytes as the service has them.
    parts.headers.remove(ACCEPT_RANGES);
    parts.headers.insert(CONTENT_ENCODING, HeaderValue::from_static("gzip"));
    if let Some(weak) = parts.headers.get(ETAG).and_then(weakened) {
        parts.headers.insert(ETAG, weak);
    }
    // HEAD is told what GET would be.
    let body = if method == Method::HEAD { body } else { body.gzipped() };
    Response::from_parts(parts, body)
}

fn is_worth_it(rules: &Compression, method: &Method, response: &Response<HttpBody>) -> bool {
    let (status, headers) = (response.status(), response.headers());
    let is_bodiless = status.is_informational()
        || matches!(status, StatusCode::NO_CONTENT | StatusCode::NOT_MODIFIED | StatusCode::PARTIAL_CONTENT);
    let is_fixed = headers.contains_key(CONTENT_ENCODING)
        || headers.contains_key(CONTENT_RANGE)
        || VOUCHING.iter().any(|name| headers.contains_key(name))
        || headers.get_all(CACHE_CONTROL).iter().any(says_no_transform);
    // An answer to HEAD has no body; its fields are about that of GET.
    let own = response.body().size_hint().exact().filter(|_| method != Method::HEAD);
    let length = own.or_else(|| {
        headers
            .get(CONTENT_LENGTH)
            .and_then(|length| length.to_str().ok())
            .and_then(|length| length.parse().ok())
    });
    let is_short = length.is_some_and(|length| length < rules.min_bytes as u64 || length == 0);
    !is_bodiless
        && !is_fixed
        && !is_short
        && headers.get(CONTENT_TYPE).is_some_and(|media| is_listed(rules, media))
}

fn is_listed(rules: &Compression, media: &HeaderValue) -> bool {
    let Ok(media) = media.to_str() else { return false };
    let media = media.split(';').next().unwrap_or_default().trim();
    rules.types.iter().any(|listed| match listed.strip_suffix('*') {
        Some(start) => media.get(..start.len()).is_some_and(|begin| begin.eq_ignore_ascii_case(start)),
        None => listed.eq_ignore_ascii_case(media),
    })
}

fn says_no_transform(value: &HeaderValue) -> bool {
    let Ok(value) = value.to_str() else { return false };
    value.split(',').any(|directive| directive.trim().eq_ignore_ascii_case("no-transform"))
}

/// The compressed bytes are not the ones that a strong tag vouches for.
fn weakened(tag: &HeaderValue) -> Option<HeaderValue> {
    let text = tag.to_str().ok().filter(|text| !text.starts_with("W/"))?;
    HeaderValue::from_str(&format!("W/{text}")).ok()
}

/// A stream that is being compressed. Its window and tables take about 256 KiB.
pub(super) struct Gzip {
    encoder: GzEncoder<Vec<u8>>,
    /// Bytes went in that may not have come out.
    pending: bool,
    is_finished: bool,
}

impl Gzip {
    pub(super) fn new() -> Self {
        Self {
            encoder: GzEncoder::new(Vec::new(), flate2::Compression::new(LEVEL)),
            pending: false,
            is_finished: false,
        }
    }

    /// Takes bytes in. What has come out of them, if that is enough to be sent.
    pub(super) fn write(&mut self, bytes: &[u8]) -> Result<Option<Bytes>, BrokenOff> {
        self.pending = true;
        self.encoder.write_all(bytes).map_err(broken)?;
        Ok(if self.encoder.get_ref().len() >= PIECE_BYTES { self.take() } else { None })
    }

    /// Everything that went in comes out.
    pub(super) fn flush(&mut self) -> Result<Option<Bytes>, BrokenOff> {
        if std::mem::take(&mut self.pending) {
            self.encoder.flush().map_err(broken)?;
        }
        Ok(self.take())
    }

    /// The rest.
    pub(super) fn finish(&mut self) -> Result<Option<Bytes>, BrokenOff> {
        self.is_finished = true;
        self.encoder.try_finish().map_err(broken)?;
        Ok(self.take())
    }

    /// Nothing follows.
    pub(super) fn is_finished(&self) -> bool {
        self.is_finished
    }

    fn take(&mut self) -> Option<Bytes> {
        let bytes = std::mem::take(self.encoder.get_mut());
        (!bytes.is_empty()).then(|| bytes.into())
    }
}

impl std::fmt::Debug for Gzip {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Gzip")
    }
}

/// Writing to memory does not fail.
fn broken(error: std::io::Error) -> BrokenOff {
    BrokenOff(format!("it could not be compressed: {error}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn accepts(value: &'static str) -> bool {
        let mut headers = HeaderMap::new();
        headers.insert(ACCEPT_ENCODING, HeaderValue::from_static(value));
        is_accepted(&headers)
    }

    #[test]
    fn gzip_is_accepted_by_name_or_by_star_unless_it_is_refused() {
        for value in ["gzip", "br, GZIP;q=0.5", "*", "deflate, *;q=0.1", "x-gzip", "*;q=0, gzip"] {
            assert!(accepts(value), "{value}");
        }
        for value in ["", "br", "gzip;q=0", "gzip; q=0.000, *", "identity", "*;q=0"] {
            assert!(!accepts(value), "{value}");
        }
        assert!(!is_accepted(&HeaderMap::new()));
    }

    #[test]
    fn strong_tags_become_weak() {
        let weak = |text: &'static str| weakened(&HeaderValue::from_static(text));
        assert_eq!(weak("\"a\"").unwrap(), "W/\"a\"");
        assert_eq!(weak("W/\"a\""), None);
    }
}
