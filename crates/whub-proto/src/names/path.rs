//! The path of a call: raw, as the caller wrote it.

use std::borrow::Cow;

use super::{NameError, PATH_BYTES_MAX, PATH_SEGMENTS_MAX, escape, host, text};

/// First segments that no provider may register: the hub itself serves them, now or later.
pub const RESERVED_ROOTS: [&str; 15] = [
    "v1",
    "ws",
    "pair",
    "room",
    "gateway",
    "debug",
    "dashboard",
    "healthz",
    "readyz",
    "metrics",
    "auth",
    "clients",
    "message",
    "services",
    "status",
];

/// Those of [`RESERVED_ROOTS`] under which the hub's own services live: they are called like any other, but only the
/// hub's own modules provide them.
pub const SERVICE_ROOTS: [&str; 6] = ["auth", "clients", "gateway", "message", "services", "status"];

/// The raw path of a call: begins with `/`, keeps its escapes, has no query and no fragment.
///
/// It is split first; then each segment is decoded by itself, so that `%2F` stays inside its segment. Empty segments
/// are allowed. Dot segments, bad escapes, control characters, and roots of the hub that are no services are errors.
///
/// `//app.example.com/path` is the path of a service with a host of its own. No root is the hub's there.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct ServicePath<'a> {
    text: Cow<'a, str>,
}

text::borrowed_name!(ServicePath);

impl<'a> ServicePath<'a> {
    /// Checks a raw path. Text without the leading `/` gets it. Allocates only in that case.
    pub fn parse(raw: &'a str) -> Result<Self, NameError> {
        if let Some(rest) = raw.strip_prefix("//") {
            return Self::parse_host(raw, rest);
        }
        let text = if raw.starts_with('/') { Cow::Borrowed(raw) } else { Cow::Owned(format!("/{raw}")) };
        check_raw(&text)?;
        let path = Self { text };
        let first = path.segments().next().unwrap_or_default();
        if is_own(&first) && !is_service_root(&first) {
            return Err(NameError::NoService);
        }
        drop(first);
        Ok(path)
    }

    /// The path `raw`, which begins with `/`, of the service that has this host. A port is ignored.
    pub fn of_host(host: &str, raw: &str) -> Result<ServicePath<'static>, NameError> {
        let host = host::canonical(host)?;
        check_raw(raw)?;
        if !raw.starts_with('/') {
            return Err(NameError::NotRaw);
        }
        Ok(ServicePath { text: Cow::Owned(format!("//{host}{raw}")) })
    }

    fn parse_host(raw: &'a str, rest: &'a str) -> Result<Self, NameError> {
        let (written, path) = rest.split_at(rest.find('/').unwrap_or(rest.len()));
        let path = if path.is_empty() { "/" } else { path };
        let host = host::canonical(written)?;
        if host == written && raw.len() == 2 + host.len() + path.len() {
            check_raw(path)?;
            return Ok(Self { text: Cow::Borrowed(raw) });
        }
        Self::of_host(&host, path)
    }

    /// The host, of a path that has one.
    pub fn host(&self) -> Option<&str> {
        self.text.strip_prefix("//")?.split('/').next()
    }

    /// The path without its host: what HTTP has behind the host.
    pub fn plain(&self) -> &str {
        match self.host() {
            Some(host) => &self.text[2 + host.len()..],
            None => &self.text,
        }
    }

    /// Whether the path lies under one of [`SERVICE_ROOTS`], where only the hub itself provides.
    pub fn is_own(&self) -> bool {
        self.segments().next().is_some_and(|first| is_service_root(&first))
    }

    /// The decoded segments. A trailing slash gives a last, empty one.
    pub fn segments(&self) -> impl Iterator<Item = Cow<'_, str>> {
        // `parse` has decoded every segment, so the raw text never comes back here.
        self.raw_segments().map(|raw| escape::decode(raw).unwrap_or(Cow::Borrowed(raw)))
    }

    /// The segments as the caller wrote them.
    pub fn raw_segments(&self) -> impl Iterator<Item = &str> {
        self.text[1..].split('/')
    }
}

/// What every raw path has to be, whosever it is.
fn check_raw(text: &str) -> Result<(), NameError> {
    text::check(text, PATH_BYTES_MAX, PATH_SEGMENTS_MAX + 1)?;
    if text.contains([' ', '?', '#']) {
        return Err(NameError::NotRaw);
    }
    for segment in text[1..].split('/') {
        check_segment(&escape::decode(segment)?)?;
    }
    Ok(())
}

/// Whether the hub itself serves what begins with this decoded segment. The empty one is `/` itself, or `//...`,
/// which no pattern but a lone `*rest` could match.
pub(super) fn is_own(first: &str) -> bool {
    first.is_empty() || first == ".well-known" || RESERVED_ROOTS.contains(&first)
}

/// Whether the hub's own services live under this decoded segment.
pub(super) fn is_service_root(first: &str) -> bool {
    SERVICE_ROOTS.contains(&first)
}

pub(super) fn check_segment(decoded: &str) -> Result<(), NameError> {
    if matches!(decoded, "." | "..") {
        return Err(NameError::DotSegment);
    }
    if text::has_control(decoded) {
        return Err(NameError::ControlCharacter);
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn segments(raw: &str) -> Vec<String> {
        let path = ServicePath::parse(raw).expect(raw);
        path.segments().map(Cow::into_owned).collect()
    }

    #[test]
    fn paths_are_split_first_and_decoded_then() {
        assert_eq!(segments("/a%2Fb/c"), ["a/b", "c"]);
        assert_eq!(segments("/a//b/"), ["a", "", "b", ""]);
        assert_eq!(segments("a"), ["a"]);
    }

    #[test]
    fn the_raw_text_is_kept() {
        assert_eq!(ServicePath::parse("/a%2fb/").unwrap().as_str(), "/a%2fb/");
        assert_eq!(ServicePath::parse("a").unwrap().as_str(), "/a");
    }

    #[test]
    fn bad_paths_say_why() {
        for (raw, error) in [
            ("/a/../b", NameError::DotSegment),
            ("/a/%2e%2E", NameError::DotSegment),
            ("/a/%2", NameError::BadEscape),
            ("/a%00", NameError::ControlCharacter),
            ("/a\n", NameError::ControlCharacter),
            ("/a%C2%85", NameError::ControlCharacter),
            ("/a?b=c", NameError::NotRaw),
            ("/a b", NameError::NotRaw),
            ("/", NameError::NoService),
            ("", NameError::NoService),
            ("//evil", NameError::BadHost),
            ("//127.0.0.1/x", NameError::BadHost),
            ("//a.b/../x", NameError::DotSegment),
            ("///x", NameError::BadHost),
            ("/%76%31/nodes", NameError::NoService),
            ("/.well-known/x", NameError::NoService),
        ] {
            assert_eq!(ServicePath::parse(raw), Err(error), "{raw}");
        }
    }

    #[test]
    fn the_hubs_own_services_are_called_by_paths_too() {
        assert!(ServicePath::parse("/status").unwrap().is_own());
        assert!(ServicePath::parse("/%73tatus/info").unwrap().is_own());
        assert!(!ServicePath::parse("/statuses").unwrap().is_own());
    }

    #[test]
    fn a_host_stands_before_its_paths() {
        for (raw, text, host, plain) in [
            ("//app.example.com/a/b/", "//app.example.com/a/b/", "app.example.com", "/a/b/"),
            ("//APP.example.com:8080", "//app.example.com/", "app.example.com", "/"),
            ("//app.example.com/v1/status", "//app.example.com/v1/status", "app.example.com", "/v1/status"),
            ("//app.example.com//x", "//app.example.com//x", "app.example.com", "//x"),
        ] {
            let path = ServicePath::parse(raw).expect(raw);
            assert_eq!((path.as_str(), path.host(), path.plain()), (text, Some(host), plain));
            assert!(!path.is_own());
            assert_eq!(ServicePath::of_host(host, plain), Ok(path));
        }
        let path = ServicePath::parse("/app.example.com/x").unwrap();
        assert_eq!((path.host(), path.plain()), (None, "/app.example.com/x"));
        assert_eq!(ServicePath::of_host("a.b", "x"), Err(NameError::NotRaw));
    }

    #[test]
    fn length_and_depth_are_bounded() {
        let long = format!("/{}", "a".repeat(PATH_BYTES_MAX));
        assert_eq!(ServicePath::parse(&long), Err(NameError::TooLong { max: PATH_BYTES_MAX }));
        assert!(ServicePath::parse(&"/a".repeat(PATH_SEGMENTS_MAX)).is_ok());
        assert!(ServicePath::parse(&"/a".repeat(PATH_SEGMENTS_MAX + 1)).is_err());
    }
}
