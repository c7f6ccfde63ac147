//! Where a request keeps its token, and the secret of a pair. Never in the URL.

use base64::Engine as _;
use base64::prelude::BASE64_URL_SAFE_NO_PAD;
use hyper::HeaderMap;
use hyper::header::{AUTHORIZATION, HeaderName};
use whub_proto::Code;

use crate::http::problem::Problem;

/// What a subprotocol begins with that is a token in disguise: browsers can set no header on a WebSocket.
const IN_PROTOCOL: &str = "whub.bearer.";

/// The same of a pair's secret.
const SECRET_IN_PROTOCOL: &str = "whub.secret.";

/// Carries the secret of a pair.
static SECRET: HeaderName = HeaderName::from_static("whub-pair-secret");

/// Carries the hub's own token where `Authorization` is the application's.
pub(crate) const OWN: HeaderName = HeaderName::from_static("whub-token");

/// The token that a header carries: `Whub-Token`, else `Authorization: Bearer`.
pub(super) fn of_header(headers: &HeaderMap) -> Option<&str> {
    own(headers).or_else(|| bearer(headers))
}

/// The token of `Whub-Token`, which is for the hub alone.
pub(super) fn own(headers: &HeaderMap) -> Option<&str> {
    headers.get(OWN)?.to_str().ok().map(str::trim)
}

/// The token of `Authorization: Bearer`. Other schemes are not the hub's.
pub(super) fn bearer(headers: &HeaderMap) -> Option<&str> {
    let value = headers.get(AUTHORIZATION)?.to_str().ok()?;
    let (scheme, token) = value.split_once(' ')?;
    scheme.eq_ignore_ascii_case("bearer").then(|| token.trim())
}

/// The token among the subprotocols of a WebSocket.
///
/// # Errors
/// When it is no base64url.
pub(super) fn of_protocols(protocols: &[&str]) -> Result<Option<String>, Problem> {
    let detail = "the subprotocol whub.bearer.<token> needs the token in base64url";
    in_protocols(protocols, IN_PROTOCOL, Problem::new(Code::BadRequest, "auth.encoding", detail))
}

/// The secret of a pair that a request carries: in the header `Whub-Pair-Secret`, or among the subprotocols of a WebSocket.
/// Empty without one.
///
/// # Errors
/// When it is no text, or no base64url.
pub(super) fn pair_secret(headers: &HeaderMap, protocols: &[&str]) -> Result<String, Problem> {
    if let Some(value) = headers.get(&SECRET) {
        let text = std::str::from_utf8(value.as_bytes()).map(|text| text.trim().to_owned());
        let detail = "Whub-Pair-Secret must be UTF-8";
        return text.map_err(|_| Problem::new(Code::BadRequest, "pair.secret_encoding", detail));
    }
    let detail = "the subprotocol whub.secret.<secret> needs the secret in base64url";
    let problem = Problem::new(Code::BadRequest, "pair.secret_encoding", detail);
    Ok(in_protocols(protocols, SECRET_IN_PROTOCOL, problem)?.unwrap_or_default())
}

fn in_protocols(protocols: &[&str], prefix: &str, problem: Problem) -> Result<Option<String>, Problem> {
    let Some(encoded) = protocols.iter().find_map(|protocol| protocol.strip_prefix(prefix)) else {
        return Ok(None);
    };
    let decoded = BASE64_URL_SAFE_NO_PAD.decode(encoded.trim_end_matches('='));
    let text = decoded.ok().and_then(|bytes| String::from_utf8(bytes).ok());
    text.map(Some).ok_or(problem)
}

/// Whether a subprotocol is a token or a secret: never to be repeated to anyone.
pub(super) fn is_token(protocol: &str) -> bool {
    protocol.starts_with(IN_PROTOCOL) || protocol.starts_with(SECRET_IN_PROTOCOL)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_scheme_is_read_in_any_case_and_others_are_left_alone() {
        let mut headers = HeaderMap::new();
        assert_eq!(of_header(&headers), None);
        headers.insert(AUTHORIZATION, "bearer  s3cret".parse().unwrap());
        assert_eq!(of_header(&headers), Some("s3cret"));
        headers.insert(AUTHORIZATION, "Basic dTpw".parse().unwrap());
        assert_eq!(of_header(&headers), None);
    }

    #[test]
    fn the_hubs_own_header_goes_before() {
        let mut headers = HeaderMap::new();
        headers.insert(AUTHORIZATION, "Bearer app".parse().unwrap());
        headers.insert(OWN, "s3cret".parse().unwrap());
        assert_eq!((of_header(&headers), bearer(&headers)), (Some("s3cret"), Some("app")));
    }

    #[test]
    fn a_subprotocol_may_be_a_secret_and_the_header_goes_before() {
        let mut headers = HeaderMap::new();
        let offered = ["whub.plain", "whub.secret.w6lcMA"];
        assert_eq!(pair_secret(&headers, &offered).unwrap(), "\u{e9}\\0");
        assert!(pair_secret(&headers, &["whub.secret.~~"]).is_err());
        headers.insert(&SECRET, "s3cret".parse().unwrap());
        assert_eq!(pair_secret(&headers, &offered).unwrap(), "s3cret");
        assert!(offered.iter().any(|offer| is_token(offer)));
    }

    #[test]
    fn a_subprotocol_may_be_a_token() {
        assert_eq!(of_protocols(&["whub.v1"]).unwrap(), None);
        let found = of_protocols(&["whub.v1", "whub.bearer.czNjcmV0"]).unwrap();
        assert_eq!(found.as_deref(), Some("s3cret"));
        assert!(of_protocols(&["whub.bearer.~~"]).is_err());
    }
}
