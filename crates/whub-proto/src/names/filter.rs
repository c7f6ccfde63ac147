//! Filters of channels: what a subscriber asks for and what a token permits.

use std::sync::Arc;

use super::{
    Channel, NameError, PairId, channel, text,
    trie::{Key, Shape},
};

/// A set of channels, with the rules of MQTT: `+` is one segment, a final `#` is the remainder, which may be empty
/// (`sport/#` matches `sport`). A wildcard in the first place does not match channels that begin with `$`.
#[derive(Clone, Debug)]
pub struct Filter {
    text: Arc<str>,
}

text::owned_name!(Filter);
super::text::text_identity!(Filter);

impl Filter {
    /// Checks a filter.
    pub fn parse(filter: &str) -> Result<Self, NameError> {
        channel::check(filter)?;
        let mut segments = filter.split('/').peekable();
        while let Some(segment) = segments.next() {
            match segment {
                "+" => {}
                "#" if segments.peek().is_none() => {}
                literal if !literal.contains(['+', '#']) => {}
                _ => return Err(NameError::BadWildcard),
            }
        }
        Ok(Self { text: filter.into() })
    }

    /// Whether there is no wildcard, so that the filter is the name of one channel.
    pub fn is_literal(&self) -> bool {
        !self.text.contains(['+', '#'])
    }

    /// Whether the channel belongs to the filter.
    pub fn matches(&self, channel: &Channel<'_>) -> bool {
        if channel.is_special() && self.text.starts_with(['+', '#']) {
            return false;
        }
        self.matches_segments(channel.segments())
    }

    /// Whether the pair id belongs to the filter: tokens grant pairs by filters too. `$` has no meaning here.
    pub fn matches_pair(&self, id: &PairId) -> bool {
        self.matches_segments(id.as_str().split('/'))
    }

    /// Whether every channel of `other` belongs to this filter too.
    pub fn covers(&self, other: &Self) -> bool {
        if *self == *other {
            return true;
        }
        let special = other.text.starts_with('$');
        if special && self.text.starts_with(['+', '#']) {
            return false;
        }
        // No channel is empty, so `#` alone means `+/#`.
        let theirs = if &*other.text == "#" { "+/#" } else { &*other.text };
        let mut theirs = theirs.split('/');
        for ours in self.text.split('/') {
            match (ours, theirs.next()) {
                ("#", _) => return true,
                ("+", Some(segment)) if segment != "#" => {}
                (literal, Some(segment)) if literal == segment && segment != "#" => {}
                _ => return false,
            }
        }
        theirs.next().is_none()
    }

    fn matches_segments<'a>(&self, mut segments: impl Iterator<Item = &'a str>) -> bool {
        for ours in self.text.split('/') {
            match (ours, segments.next()) {
                ("#", _) => return true,
                ("+", Some(_)) => {}
                (literal, Some(segment)) if literal == segment => {}
                _ => return false,
            }
        }
        segments.next().is_none()
    }
}

impl Shape for Filter {
    fn keys(&self) -> impl Iterator<Item = Key<'_>> {
        self.text.split('/').map(|segment| match segment {
            "+" => Key::One,
            "#" => Key::Rest,
            literal => Key::Literal(literal),
        })
    }
}

impl From<&Channel<'_>> for Filter {
    fn from(channel: &Channel<'_>) -> Self {
        Self { text: channel.as_str().into() }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn filter(text: &str) -> Filter {
        Filter::parse(text).expect(text)
    }

    #[test]
    fn bad_filters_say_why() {
        for (text, error) in [
            ("", NameError::Empty),
            ("/#", NameError::LeadingSlash),
            ("a/#/b", NameError::BadWildcard),
            ("a+", NameError::BadWildcard),
            ("a/b#", NameError::BadWildcard),
            ("a//b", NameError::EmptySegment),
        ] {
            assert_eq!(Filter::parse(text), Err(error), "{text}");
        }
    }

    #[test]
    fn matching_follows_mqtt() {
        for (text, channel, matches) in [
            ("sport/#", "sport", true),
            ("sport/#", "sport/tennis/player1", true),
            ("sport/#", "sports", false),
            ("sport/+", "sport", false),
            ("sport/+", "sport/tennis", true),
            ("sport/+", "sport/tennis/player1", false),
            ("+/+", "sport/tennis", true),
            ("+/tennis/#", "sport/tennis", true),
            ("#", "sport", true),
            ("#", "$sys/load", false),
            ("+/load", "$sys/load", false),
            ("$sys/#", "$sys/load", true),
            ("$sys/+", "$sys/load", true),
            ("a", "a", true),
            ("a", "A", false),
        ] {
            assert_eq!(filter(text).matches(&Channel::parse(channel).unwrap()), matches, "{text} {channel}");
        }
    }

    #[test]
    fn a_filter_covers_what_it_always_matches() {
        for (a, b, covers) in [
            ("#", "a/+/#", true),
            ("#", "$sys/#", false),
            ("+/#", "#", true),
            ("a/#", "a", true),
            ("a/#", "a/+", true),
            ("a/+", "a/#", false),
            ("a/+/#", "a/#", false),
            ("a/+", "a/b", true),
            ("a/b", "a/+", false),
            ("$sys/#", "$sys/+", true),
            ("+", "+", true),
        ] {
            assert_eq!(filter(a).covers(&filter(b)), covers, "{a} covers {b}");
        }
    }
}
