//! Channels: named streams that clients publish to.

use std::borrow::Cow;

use super::{NAME_BYTES_MAX, NAME_SEGMENTS_MAX, NameError, text};

/// The name of a channel: non-empty segments, no leading `/`, no wildcard, taken as it is (nothing is decoded).
/// Names whose first character is `$` are the hub's own business; wildcards at the beginning do not match them.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Channel<'a> {
    text: Cow<'a, str>,
}

text::borrowed_name!(Channel);

impl<'a> Channel<'a> {
    /// Checks the name of a channel, without allocating.
    pub fn parse(name: &'a str) -> Result<Self, NameError> {
        check(name)?;
        if name.contains(['+', '#']) {
            return Err(NameError::Wildcard);
        }
        Ok(Self { text: Cow::Borrowed(name) })
    }

    /// The segments.
    pub fn segments(&self) -> impl Iterator<Item = &str> {
        self.text.split('/')
    }

    /// Whether it begins with `$`.
    pub fn is_special(&self) -> bool {
        self.text.starts_with('$')
    }
}

/// What channels and filters have in common.
pub(super) fn check(name: &str) -> Result<(), NameError> {
    text::check(name, NAME_BYTES_MAX, NAME_SEGMENTS_MAX)?;
    if name.starts_with('/') {
        return Err(NameError::LeadingSlash);
    }
    if name.ends_with('/') || name.contains("//") {
        return Err(NameError::EmptySegment);
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_channel_is_taken_as_it_is() {
        let channel = Channel::parse("news/a%2Fb/ü x").unwrap();
        assert_eq!(channel.segments().collect::<Vec<_>>(), ["news", "a%2Fb", "ü x"]);
        assert!(Channel::parse("$sys/load").unwrap().is_special());
    }

    #[test]
    fn bad_channels_say_why() {
        for (name, error) in [
            ("", NameError::Empty),
            ("/news", NameError::LeadingSlash),
            ("news/", NameError::EmptySegment),
            ("news//eu", NameError::EmptySegment),
            ("news/+", NameError::Wildcard),
            ("c#", NameError::Wildcard),
            ("a\u{0}", NameError::ControlCharacter),
            ("a\u{9c}", NameError::ControlCharacter),
        ] {
            assert_eq!(Channel::parse(name), Err(error), "{name}");
        }
        assert!(Channel::parse(&["a"; 32].join("/")).is_ok());
        assert_eq!(Channel::parse(&["a"; 33].join("/")), Err(NameError::TooDeep { max: 32 }));
        assert_eq!(Channel::parse(&"a".repeat(1025)), Err(NameError::TooLong { max: 1024 }));
    }
}
