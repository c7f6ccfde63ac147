//! Pair ids: the meeting place of two peers.

use std::sync::Arc;

use super::{ID_BYTES_MAX, NAME_SEGMENTS_MAX, NameError, text};

/// The id of a pair or room: any text without control characters that does not begin with `/`, at most 256 bytes.
/// Decode it before: in a URL it is one percent-encoded segment.
#[derive(Clone, Debug)]
pub struct PairId {
    text: Arc<str>,
}

text::owned_name!(PairId);
text::text_identity!(PairId);

impl PairId {
    /// Checks a decoded id.
    pub fn parse(id: &str) -> Result<Self, NameError> {
        text::check(id, ID_BYTES_MAX, NAME_SEGMENTS_MAX)?;
        if id.starts_with('/') {
            return Err(NameError::LeadingSlash);
        }
        Ok(Self { text: id.into() })
    }

    /// Decodes and checks one raw segment of a URL path, as in `/pair/<id>`.
    pub fn from_url_segment(raw: &str) -> Result<Self, NameError> {
        Self::parse(&super::escape::decode(raw)?)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ids_are_plain_text() {
        assert_eq!(PairId::parse("room 42/ü").unwrap().as_str(), "room 42/ü");
        assert_eq!(PairId::from_url_segment("a%2Fb%20c").unwrap().as_str(), "a/b c");
    }

    #[test]
    fn bad_ids_say_why() {
        assert_eq!(PairId::parse(""), Err(NameError::Empty));
        assert_eq!(PairId::parse("/a"), Err(NameError::LeadingSlash));
        assert_eq!(PairId::parse("a\r"), Err(NameError::ControlCharacter));
        assert_eq!(PairId::parse(&"a".repeat(257)), Err(NameError::TooLong { max: 256 }));
        assert_eq!(PairId::from_url_segment("%2Fa"), Err(NameError::LeadingSlash));
        assert_eq!(PairId::from_url_segment("%zz"), Err(NameError::BadEscape));
    }
}
