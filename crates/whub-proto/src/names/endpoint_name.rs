//! Endpoint names: the routes of the gateway.

use std::sync::Arc;

use super::{ID_BYTES_MAX, NameError, text};

/// The route name of an endpoint: one segment, at most 256 bytes, compared byte by byte. The gateway's own handshake,
/// which ignores case and knows reserved words, adds its rules on top.
#[derive(Clone, Debug)]
pub struct EndpointName {
    text: Arc<str>,
}

text::owned_name!(EndpointName);
text::text_identity!(EndpointName);

impl EndpointName {
    /// Checks a decoded name.
    pub fn parse(name: &str) -> Result<Self, NameError> {
        text::check(name, ID_BYTES_MAX, usize::MAX)?;
        if name.contains('/') {
            return Err(NameError::Slash);
        }
        Ok(Self { text: name.into() })
    }

    /// Decodes and checks one raw segment of a URL path, as in `/gateway/<name>`.
    pub fn from_url_segment(raw: &str) -> Result<Self, NameError> {
        Self::parse(&super::escape::decode(raw)?)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_is_one_segment() {
        assert_eq!(EndpointName::from_url_segment("My%20Endpoint").unwrap().as_str(), "My Endpoint");
        assert_eq!(EndpointName::parse("a/b"), Err(NameError::Slash));
        assert_eq!(EndpointName::parse(""), Err(NameError::Empty));
    }
}
