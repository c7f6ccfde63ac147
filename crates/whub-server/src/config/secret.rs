//! A string that never prints itself.

use std::fmt;

use subtle::ConstantTimeEq;

/// A token's secret. `Debug`, `Display` and serialisation give `[redacted]`; only [`Secret::expose`] gives the text.
#[derive(Clone)]
pub struct Secret(String);

/// What stands in for a secret wherever it would be printed.
pub(crate) const REDACTED: &str = "[redacted]";

impl Secret {
    /// Takes a secret as the peer has to send it.
    ///
    /// # Errors
    /// A sentence that says what is wrong when `text` is empty or is not visible ASCII (it travels in HTTP headers).
    pub fn new(text: impl Into<String>) -> Result<Self, &'static str> {
        let text = text.into();
        if text.is_empty() {
            return Err("is empty");
        }
        if !text.bytes().all(|byte| byte.is_ascii_graphic()) {
            return Err("has spaces or characters that cannot travel in an HTTP header; use visible ASCII");
        }
        Ok(Self(text))
    }

    /// Takes the value of a header, such as `Bearer …`, which unlike a token may have spaces within.
    ///
    /// # Errors
    /// A sentence that says what is wrong when `text` is empty, or is not visible ASCII with spaces in between.
    pub fn of_header(text: impl Into<String>) -> Result<Self, &'static str> {
        let text = text.into();
        if text.is_empty() {
            return Err("is empty");
        }
        if text.trim() != text || !text.bytes().all(|byte| byte == b' ' || byte.is_ascii_graphic()) {
            return Err("has characters that cannot travel in an HTTP header; use visible ASCII");
        }
        Ok(Self(text))
    }

    /// The secret itself. Never log it.
    #[must_use]
    pub fn expose(&self) -> &str {
        &self.0
    }

    /// Compares with what a peer presented, in a time that does not depend on where they differ.
    #[must_use]
    pub fn matches(&self, presented: &[u8]) -> bool {
        self.0.as_bytes().ct_eq(presented).into()
    }
}

impl PartialEq for Secret {
    fn eq(&self, other: &Self) -> bool {
        self.matches(other.0.as_bytes())
    }
}

impl Eq for Secret {}

impl fmt::Debug for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(REDACTED)
    }
}

impl fmt::Display for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(REDACTED)
    }
}

impl serde::Serialize for Secret {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(REDACTED)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_secret_never_prints() {
        let secret = Secret::new("hunter2").unwrap();
        assert_eq!(format!("{secret} {secret:?} {secret:#?}"), "[redacted] [redacted] [redacted]");
        assert_eq!(serde_json::to_string(&secret).unwrap(), "\"[redacted]\"");
        assert_eq!(secret.expose(), "hunter2");
    }

    #[test]
    fn a_secret_matches_only_itself() {
        let secret = Secret::new("hunter2").unwrap();
        assert!(secret.matches(b"hunter2"));
        assert!(!secret.matches(b"hunter3"));
        assert!(!secret.matches(b"hunter"));
        assert!(!secret.matches(b""));
    }

    #[test]
    fn empty_and_unprintable_secrets_are_refused() {
        assert!(Secret::new("").is_err());
        assert!(Secret::new("two words").is_err());
        assert!(Secret::new("line\n").is_err());
        assert!(Secret::new("schlüssel").is_err());
        assert!(Secret::of_header("Bearer abc").is_ok());
        for text in ["", " Bearer", "Bearer a\r\nX: y", "schlüssel"] {
            assert!(Secret::of_header(text).is_err(), "{text:?}");
        }
    }
}
