//! Percent escapes of single path segments (RFC 3986 section 2.1).

use std::borrow::Cow;

use super::NameError;

/// Decodes one segment. What is not escaped is taken as it is, `+` included.
pub(super) fn decode(segment: &str) -> Result<Cow<'_, str>, NameError> {
    if !segment.contains('%') {
        return Ok(Cow::Borrowed(segment));
    }
    let mut decoded = Vec::with_capacity(segment.len());
    let mut rest = segment.as_bytes();
    while let Some((&byte, after)) = rest.split_first() {
        rest = after;
        if byte != b'%' {
            decoded.push(byte);
            continue;
        }
        let (&[high, low], after) = rest.split_first_chunk().ok_or(NameError::BadEscape)?;
        decoded.push(digit(high)? << 4 | digit(low)?);
        rest = after;
    }
    String::from_utf8(decoded).map(Cow::Owned).map_err(|_| NameError::BadEscape)
}

fn digit(byte: u8) -> Result<u8, NameError> {
    match byte {
        b'0'..=b'9' => Ok(byte - b'0'),
        b'a'..=b'f' => Ok(byte - b'a' + 10),
        b'A'..=b'F' => Ok(byte - b'A' + 10),
        _ => Err(NameError::BadEscape),
    }
}

/// Appends a decoded literal so that it reads back as the same literal: escapes what would have a meaning of its own.
pub(super) fn encode_literal(literal: &str, out: &mut String) {
    for (index, character) in literal.char_indices() {
        let special = match character {
            '%' | '/' | '?' | '#' | ' ' => true,
            ':' | '*' => index == 0,
            _ => false,
        };
        if special {
            out.push_str(&format!("%{:02X}", u32::from(character)));
        } else {
            out.push(character);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn escapes_are_decoded_once() {
        assert_eq!(decode("a%2Fb%20c").as_deref(), Ok("a/b c"));
        assert_eq!(decode("%2541").as_deref(), Ok("%41"));
        assert_eq!(decode("caf%c3%A9+").as_deref(), Ok("café+"));
        assert!(matches!(decode("plain"), Ok(Cow::Borrowed("plain"))));
    }

    #[test]
    fn bad_escapes_are_refused() {
        for bad in ["%", "%4", "%zz", "%+1", "%ff", "%c3"] {
            assert_eq!(decode(bad), Err(NameError::BadEscape), "{bad}");
        }
    }

    #[test]
    fn literals_read_back_as_themselves() {
        for literal in [":id", "*", "a/b", "100%", "a b", "?#", "é"] {
            let mut text = String::new();
            encode_literal(literal, &mut text);
            assert_eq!(decode(&text).as_deref(), Ok(literal));
            assert!(!text.starts_with([':', '*']) && !text.contains('/'));
        }
    }
}
