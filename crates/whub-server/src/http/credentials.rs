//! Where a request keeps its token. Never in the URL.

use base64::Engine as _;
use base64::prelude::BASE64_URL_SAFE_NO_PAD;
use hyper::HeaderMap;
use hyper::header::{AUTHORIZATION, HeaderName};

use crate::http::problem::Problem;

/// What a subprotocol begins with that is a token in disguise: browsers can set no header on a WebSocket.
const IN_PROTOCOL: &str = "whub.bearer.";

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
    let Some(encoded) = protocols.iter().find_map(|protocol| protocol.strip_prefix(IN_PROTOCOL)) else {
        return Ok(None);
    };
    let decoded = BASE64_URL_SAFE_NO_PAD.decode(encoded.trim_end_matches('='));
    let token = decoded.ok().and_then(|bytes| String::from_utf8(bytes).ok());
    token.map(Some).ok_or_else(|| {
        let detail = "the subprotocol whub.bearer.<token> needs the token in base64url";
        Problem::new(whub_proto::Code::BadRequest, "auth.encoding", detail)
    })
}

/// Whether a subprotocol is a token: never to be repeated to anyone.
pub(super) fn is_token(protocol: &str) -> bool {
    protocol.starts_with(IN_PROTOCOL)
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
    fn a_subprotocol_may_be_a_token() {
        assert_eq!(of_protocols(&["whub.v1"]).unwrap(), None);
        let found = of_protocols(&["whub.v1", "whub.bearer.czNjcmV0"]).unwrap();
        assert_eq!(found.as_deref(), Some("s3cret"));
        assert!(of_protocols(&["whub.bearer.~~"]).is_err());
    }
}
