//! Lists of header names, as rules are written: `cookie`, `x-internal-*`, `*`.

use std::fmt;
use std::str::FromStr;

/// Header names, some of them by how they begin. ASCII case does not matter.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct HeaderNames(Vec<HeaderName>);

/// One entry of a list.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct HeaderName {
    /// Without the star, lower case.
    text: Box<str>,
    /// Whatever follows.
    is_prefix: bool,
}

/// Text that names no header.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error(
    "`{0}` is no header name; write letters, digits and `-`, with a `*` at the end for all that begin so"
)]
pub struct HeaderNameError(Box<str>);

impl HeaderNames {
    /// Whether there is none.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// Whether a name is on the list.
    #[must_use]
    pub fn contains(&self, name: &str) -> bool {
        self.0.iter().any(|entry| entry.matches(name))
    }

    /// The same with `_` and `-` being one, as they are to applications behind CGI and its descendants: what is on a
    /// list of the forbidden is to come in neither way.
    #[must_use]
    pub fn contains_alike(&self, name: &str) -> bool {
        self.0.iter().any(|entry| entry.matches_alike(name))
    }
}

impl FromIterator<HeaderName> for HeaderNames {
    fn from_iter<I: IntoIterator<Item = HeaderName>>(names: I) -> Self {
        Self(names.into_iter().collect())
    }
}

impl HeaderName {
    /// Whether it is this name, or begins it.
    #[must_use]
    pub fn matches(&self, name: &str) -> bool {
        if !self.is_prefix {
            return self.text.eq_ignore_ascii_case(name);
        }
        name.as_bytes()
            .get(..self.text.len())
            .is_some_and(|start| start.eq_ignore_ascii_case(self.text.as_bytes()))
    }

    fn matches_alike(&self, name: &str) -> bool {
        let start =
            if self.is_prefix { name.as_bytes().get(..self.text.len()) } else { Some(name.as_bytes()) };
        start.is_some_and(|start| is_alike(start, self.text.as_bytes()))
    }
}

fn is_alike(one: &[u8], other: &[u8]) -> bool {
    let folded = |byte: &u8| if *byte == b'_' { b'-' } else { byte.to_ascii_lowercase() };
    one.len() == other.len() && one.iter().map(folded).eq(other.iter().map(folded))
}

impl FromStr for HeaderName {
    type Err = HeaderNameError;

    fn from_str(text: &str) -> Result<Self, HeaderNameError> {
        let (name, is_prefix) = text.strip_suffix('*').map_or((text, false), |name| (name, true));
        let is_token =
            name.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"!#$%&'+-.^_`|~".contains(&byte));
        if !is_token || text.is_empty() {
            return Err(HeaderNameError(text.into()));
        }
        Ok(Self { text: name.to_ascii_lowercase().into(), is_prefix })
    }
}

impl fmt::Display for HeaderName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}{}", self.text, if self.is_prefix { "*" } else { "" })
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn names(list: &[&str]) -> HeaderNames {
        list.iter().map(|name| name.parse().unwrap()).collect()
    }

    #[test]
    fn names_match_in_any_case_and_stars_what_begins_so() {
        let list = names(&["Cookie", "x-internal-*"]);
        for (name, is_there) in [
            ("cookie", true),
            ("COOKIE", true),
            ("cookie2", false),
            ("x-Internal-", true),
            ("x-internal-a", true),
            ("x-internal", false),
            ("", false),
        ] {
            assert_eq!(list.contains(name), is_there, "{name}");
        }
        assert!(names(&["*"]).contains("anything"));
        assert!(!HeaderNames::default().contains("anything"));
    }

    #[test]
    fn underscores_are_hyphens_where_it_is_asked_for() {
        let list = names(&["X-Secret", "x_own", "x-internal-*"]);
        for (name, is_there) in [
            ("x_secret", true),
            ("X-SECRET", true),
            ("x-own", true),
            ("X_Internal_A", true),
            ("x_internal", false),
            ("xsecret", false),
            ("", false),
        ] {
            assert_eq!(list.contains_alike(name), is_there, "{name}");
        }
        assert!(!list.contains("x_secret"));
        assert!(names(&["*"]).contains_alike("any_thing"));
    }

    #[test]
    fn what_is_no_name_is_refused() {
        for text in ["", "a b", "a*b", "**", "ä", "a:"] {
            assert!(text.parse::<HeaderName>().is_err(), "{text}");
        }
        assert_eq!("X-A-*".parse::<HeaderName>().unwrap().to_string(), "x-a-*");
    }

    proptest! {
        #[test]
        fn a_star_is_the_same_as_starts_with(entry in "[a-z-]{0,4}", star: bool, name in "[a-zA-Zäß-]{0,6}") {
            prop_assume!(star || !entry.is_empty());
            let parsed: HeaderName = format!("{entry}{}", if star { "*" } else { "" }).parse().unwrap();
            let lower = name.to_ascii_lowercase();
            let expected = if star { lower.starts_with(&entry) } else { lower == entry };
            prop_assert_eq!(parsed.matches(&name), expected);
        }
    }
}
