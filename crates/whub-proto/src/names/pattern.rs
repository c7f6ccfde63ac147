//! Patterns of service paths: what a provider registers and what a token permits.

use std::{borrow::Cow, sync::Arc};

use super::{
    NAME_BYTES_MAX, NAME_SEGMENTS_MAX, NameError, ServicePath, escape, host, path, text,
    trie::{Key, Shape},
};

/// A set of service paths: literals, `:name` for one non-empty segment, a final `*rest` for the remainder.
///
/// Without `*rest` a pattern ignores one trailing slash of the path. Equality is by text, so `/a/:x` and `/a/:y`
/// differ although they match the same paths; a [`Trie`](super::Trie) keeps them in one place.
///
/// `//app.example.com/*rest` is a pattern of paths that have this host, and `//:host/*rest` one of all that have any.
/// Other patterns, `/*rest` among them, match no path that has a host.
#[derive(Clone, Debug)]
pub struct Pattern {
    text: Arc<str>,
    segments: Arc<[Segment]>,
}

text::owned_name!(Pattern);
super::text::text_identity!(Pattern);

#[derive(Clone, Debug, PartialEq, Eq)]
enum Segment {
    Literal(Box<str>),
    Param(Box<str>),
    Rest(Box<str>),
}

/// What the wildcards of a pattern took.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Captures<'a> {
    /// Name and decoded value of each `:name`, in order.
    pub params: Vec<(&'a str, Cow<'a, str>)>,
    /// What `*rest` took, raw: escapes and trailing slash untouched, without the slash before it.
    pub rest: Option<&'a str>,
}

impl Pattern {
    /// Parses a pattern. Text without the leading `/` gets it; one trailing slash is dropped; literals are brought
    /// into one spelling. `*` alone is a remainder without a name.
    pub fn parse(input: &str) -> Result<Self, NameError> {
        Self::parse_unless(input, path::is_own)
    }

    /// The same for the hub's own modules, which may provide under [`SERVICE_ROOTS`](super::SERVICE_ROOTS) too.
    pub fn parse_own(input: &str) -> Result<Self, NameError> {
        Self::parse_unless(input, |first| path::is_own(first) && !path::is_service_root(first))
    }

    fn parse_unless(input: &str, is_reserved: fn(&str) -> bool) -> Result<Self, NameError> {
        text::check(input, NAME_BYTES_MAX, NAME_SEGMENTS_MAX + 4)?;
        if let Some(input) = input.strip_prefix("//") {
            return Self::parse_host(input);
        }
        let input = input.strip_prefix('/').unwrap_or(input);
        let input = input.strip_suffix('/').unwrap_or(input);
        let segments = input.split('/').map(parse_segment).collect::<Result<Vec<_>, _>>()?;
        check_root(&segments, is_reserved)?;
        check_segments(&segments)?;
        Ok(Self { text: canonical(&segments).into(), segments: segments.into() })
    }

    /// `input` is what stands behind `//`.
    fn parse_host(input: &str) -> Result<Self, NameError> {
        let (host, rest) = input.split_once('/').map_or((input, None), |(host, rest)| (host, Some(rest)));
        let host = if host.starts_with(':') && host.len() > 1 && is_identifier(&host[1..]) {
            Segment::Param(host[1..].into())
        } else {
            Segment::Literal(host::canonical(host)?.into())
        };
        let rest = rest.map(|rest| rest.strip_suffix('/').unwrap_or(rest)).filter(|rest| !rest.is_empty());
        let rest = rest.into_iter().flat_map(|rest| rest.split('/')).map(parse_segment);
        let mut segments = vec![Segment::Literal("".into()), host];
        for segment in rest {
            segments.push(segment?);
        }
        check_segments(&segments[1..])?;
        Ok(Self { text: canonical(&segments).into(), segments: segments.into() })
    }

    /// The host of a pattern that has one of its own.
    pub fn host(&self) -> Option<&str> {
        match &*self.segments {
            [Segment::Literal(first), Segment::Literal(host), ..] if first.is_empty() => Some(host),
            _ => None,
        }
    }

    /// Whether it is one of paths that have any host, `//:host/…`: it can be granted, but not provided.
    pub fn is_any_host(&self) -> bool {
        self.has_host() && self.host().is_none()
    }

    fn has_host(&self) -> bool {
        matches!(&*self.segments, [Segment::Literal(first), ..] if first.is_empty())
    }

    /// Whether it was made by [`Self::parse_own`] for paths where only the hub itself provides.
    pub fn is_own(&self) -> bool {
        matches!(&*self.segments, [Segment::Literal(first), ..] if path::is_service_root(first))
    }

    /// Whether the path belongs to the pattern.
    pub fn matches(&self, path: &ServicePath<'_>) -> bool {
        self.walk(path, |_, _| {}).is_some()
    }

    /// What the wildcards took, or `None` if the path does not belong to the pattern.
    pub fn captures<'a>(&'a self, path: &'a ServicePath<'_>) -> Option<Captures<'a>> {
        let mut params = Vec::new();
        let rest = self.walk(path, |name, value| params.push((name, value)))?;
        Some(Captures { params, rest })
    }

    /// Whether every path of `other` belongs to this pattern too.
    pub fn covers(&self, other: &Self) -> bool {
        if self.has_host() != other.has_host() {
            return false;
        }
        // No path begins with an empty segment, so `/*rest` alone means `/:x/*rest`.
        let alone = matches!(&*other.segments, [Segment::Rest(_)]);
        let mut theirs = alone.then_some(Key::One).into_iter().chain(other.keys());
        for ours in self.keys() {
            match (ours, theirs.next()) {
                (Key::Rest, _) => return true,
                (Key::Literal(a), Some(Key::Literal(b))) if a == b => {}
                (Key::One, Some(Key::Literal(_) | Key::One)) => {}
                (Key::Literal(_) | Key::One, _) => return false,
            }
        }
        theirs.next().is_none()
    }

    /// The names of `:name` segments, in order.
    pub fn params(&self) -> impl Iterator<Item = &str> {
        self.segments.iter().filter_map(|segment| match segment {
            Segment::Param(name) => Some(&**name),
            Segment::Literal(_) | Segment::Rest(_) => None,
        })
    }

    /// Walks pattern and path together. `Some(rest)` is a match.
    fn walk<'a>(
        &'a self,
        path: &'a ServicePath<'_>,
        mut param: impl FnMut(&'a str, Cow<'a, str>),
    ) -> Option<Option<&'a str>> {
        if self.has_host() != path.host().is_some() {
            return None;
        }
        let mut remaining = Some(&path.as_str()[1..]);
        for segment in self.segments.iter() {
            if let Segment::Rest(_) = segment {
                return Some(Some(remaining.unwrap_or_default()));
            }
            let raw = remaining?;
            let (raw, after) = raw.split_once('/').map_or((raw, None), |(raw, after)| (raw, Some(after)));
            let value = escape::decode(raw).ok()?;
            match segment {
                Segment::Literal(literal) if **literal == *value => {}
                Segment::Param(name) if !value.is_empty() => param(name, value),
                Segment::Literal(_) | Segment::Param(_) | Segment::Rest(_) => return None,
            }
            remaining = after;
        }
        matches!(remaining, None | Some("")).then_some(None)
    }
}

impl Shape for Pattern {
    fn keys(&self) -> impl Iterator<Item = Key<'_>> {
        self.segments.iter().map(|segment| match segment {
            Segment::Literal(literal) => Key::Literal(literal),
            Segment::Param(_) => Key::One,
            Segment::Rest(_) => Key::Rest,
        })
    }
}

fn parse_segment(raw: &str) -> Result<Segment, NameError> {
    if let Some(name) = raw.strip_prefix(':') {
        let valid = !name.is_empty() && is_identifier(name);
        return if valid { Ok(Segment::Param(name.into())) } else { Err(NameError::BadParameter) };
    }
    if let Some(name) = raw.strip_prefix('*') {
        return if is_identifier(name) {
            Ok(Segment::Rest(name.into()))
        } else {
            Err(NameError::BadParameter)
        };
    }
    if raw.contains([' ', '?', '#']) {
        return Err(NameError::NotRaw);
    }
    let literal = escape::decode(raw)?;
    path::check_segment(&literal)?;
    Ok(Segment::Literal(literal.into()))
}

fn is_identifier(name: &str) -> bool {
    name.bytes().all(|byte| byte.is_ascii_alphanumeric() || matches!(byte, b'_' | b'-'))
}

/// `/` itself and the hub's roots are reserved.
fn check_root(segments: &[Segment], is_reserved: fn(&str) -> bool) -> Result<(), NameError> {
    match segments {
        [Segment::Literal(first), ..] if is_reserved(first) => Err(NameError::Reserved),
        _ => Ok(()),
    }
}

fn check_segments(segments: &[Segment]) -> Result<(), NameError> {
    if segments.len() > NAME_SEGMENTS_MAX {
        return Err(NameError::TooDeep { max: NAME_SEGMENTS_MAX });
    }
    let mut names = Vec::new();
    for (index, segment) in segments.iter().enumerate() {
        match segment {
            Segment::Literal(literal) if literal.is_empty() => return Err(NameError::EmptySegment),
            Segment::Rest(_) if index + 1 < segments.len() => return Err(NameError::RestNotLast),
            Segment::Param(name) | Segment::Rest(name) if names.contains(&name) => {
                return Err(NameError::DuplicateParameter);
            }
            Segment::Param(name) | Segment::Rest(name) => names.push(name),
            Segment::Literal(_) => {}
        }
    }
    Ok(())
}

fn canonical(segments: &[Segment]) -> String {
    let mut text = String::new();
    for segment in segments {
        text.push('/');
        match segment {
            Segment::Literal(literal) => escape::encode_literal(literal, &mut text),
            Segment::Param(name) => text.extend([":", name]),
            Segment::Rest(name) => text.extend(["*", name]),
        }
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    fn pattern(text: &str) -> Pattern {
        Pattern::parse(text).expect(text)
    }

    fn matches(text: &str, raw: &str) -> bool {
        pattern(text).matches(&ServicePath::parse(raw).expect(raw))
    }

    #[test]
    fn the_text_is_canonical() {
        for (input, text) in [
            ("billing/:op", "/billing/:op"),
            ("/billing/", "/billing"),
            ("/caf%C3%A9/%61", "/café/a"),
            ("/%3Aid/a%2fb", "/%3Aid/a%2Fb"),
            ("/files/*rest", "/files/*rest"),
            ("/*", "/*"),
        ] {
            assert_eq!(pattern(input).as_str(), text);
            assert_eq!(pattern(text), pattern(input));
        }
    }

    #[test]
    fn bad_patterns_say_why() {
        for (input, error) in [
            ("", NameError::Empty),
            ("/", NameError::Reserved),
            ("/v1/x", NameError::Reserved),
            ("/%76%31", NameError::Reserved),
            ("/.well-known", NameError::Reserved),
            ("/a//b", NameError::EmptySegment),
            ("//a", NameError::BadHost),
            ("//", NameError::BadHost),
            ("//localhost/*rest", NameError::BadHost),
            ("//*/x", NameError::BadHost),
            ("//:/x", NameError::BadHost),
            ("//a.b//c", NameError::EmptySegment),
            ("//a.b/*rest/c", NameError::RestNotLast),
            ("//:x/:x", NameError::DuplicateParameter),
            ("/a/..", NameError::DotSegment),
            ("/a/*rest/b", NameError::RestNotLast),
            ("/a/:", NameError::BadParameter),
            ("/a/:x.json", NameError::BadParameter),
            ("/:x/:x", NameError::DuplicateParameter),
            ("/:x/*x", NameError::DuplicateParameter),
            ("/a?b", NameError::NotRaw),
            ("/a%", NameError::BadEscape),
        ] {
            assert_eq!(Pattern::parse(input), Err(error), "{input}");
        }
        assert!(Pattern::parse(&"/a".repeat(NAME_SEGMENTS_MAX)).is_ok());
        assert_eq!(Pattern::parse(&"/a".repeat(NAME_SEGMENTS_MAX + 1)), Err(NameError::TooDeep { max: 32 }));
    }

    #[test]
    fn a_parameter_takes_one_non_empty_segment() {
        assert!(matches("/a/:x", "/a/b"));
        assert!(matches("/a/:x", "/a/b%2Fc"));
        assert!(!matches("/a/:x", "/a/b/c"));
        assert!(!matches("/a/:x", "/a/"));
        assert!(!matches("/a/:x", "/a"));
    }

    #[test]
    fn one_trailing_slash_is_ignored_without_rest() {
        assert!(matches("/a", "/a/"));
        assert!(!matches("/a", "/a//"));
        assert!(matches("/a/:x", "/a/b/"));
    }

    #[test]
    fn rest_takes_zero_or_more_and_stays_raw() {
        let files = pattern("/files/*rest");
        for (raw, rest) in [("/files", ""), ("/files/", ""), ("/files/a%20b//c/", "a%20b//c/")] {
            let path = ServicePath::parse(raw).unwrap();
            assert_eq!(files.captures(&path).and_then(|c| c.rest), Some(rest), "{raw}");
        }
    }

    #[test]
    fn a_host_is_a_world_of_its_own() {
        for (text, raw, is_match) in [
            ("//app.example/*rest", "//app.example/", true),
            ("//app.example/*rest", "//app.example/v1//x", true),
            ("//app.example/*rest", "//other.example/", false),
            ("//app.example/*rest", "/app.example/x", false),
            ("//app.example", "//app.example/", true),
            ("//app.example", "//app.example/x", false),
            ("//app.example/api/:x", "//app.example/api/1", true),
            ("//:host/*rest", "//app.example/x", true),
            ("//:host/*rest", "/app.example/x", false),
            ("/*rest", "//app.example/x", false),
            ("/:a/:b", "//app.example/x", false),
            ("/:a/*rest", "//app.example/x", false),
        ] {
            assert_eq!(matches(text, raw), is_match, "{text} {raw}");
        }
        let pattern = pattern("//App.Example:8080/*rest/");
        assert_eq!((pattern.as_str(), pattern.host()), ("//app.example/*rest", Some("app.example")));
        let path = ServicePath::parse("//app.example/a%20b/").unwrap();
        assert_eq!(pattern.captures(&path).and_then(|captures| captures.rest), Some("a%20b/"));
        let any = super::Pattern::parse("//:host/*rest").unwrap();
        assert!(any.is_any_host() && !pattern.is_any_host());
        assert_eq!(any.captures(&path).unwrap().params, [("host", "app.example".into())]);
    }

    #[test]
    fn captures_are_decoded() {
        let pattern = pattern("/:a/x/:b");
        let path = ServicePath::parse("/1%202/x/3/").unwrap();
        let captures = pattern.captures(&path).unwrap();
        assert_eq!(captures.params, [("a", "1 2".into()), ("b", "3".into())]);
        assert_eq!(captures.rest, None);
    }

    #[test]
    fn a_pattern_covers_what_it_always_matches() {
        for (a, b, covers) in [
            ("/*", "/a/:x", true),
            ("/a/*", "/a", true),
            ("/a/*", "/a/:x/*r", true),
            ("/a/:x", "/a/b", true),
            ("/a/:x", "/a/:y", true),
            ("/a/b", "/a/:x", false),
            ("/a/:x", "/a/*r", false),
            ("/a", "/a/*r", false),
            ("/a", "/b", false),
            ("/:x/*r", "/*r", true),
            ("/:x/:y/*r", "/*r", false),
            ("/*r", "//a.b/*r", false),
            ("//:host/*r", "//a.b/*r", true),
            ("//:host/*r", "//:h/x", true),
            ("//:host/*r", "/a.b/*r", false),
            ("//a.b/*r", "//a.b", true),
            ("//a.b/*r", "//b.b", false),
            ("//a.b", "//a.b/*r", false),
        ] {
            assert_eq!(pattern(a).covers(&pattern(b)), covers, "{a} covers {b}");
        }
    }
}
