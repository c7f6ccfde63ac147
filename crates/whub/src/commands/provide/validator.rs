//! What tells two versions of a file apart, and the conditions that callers make of it (RFC 9110, sections 8.8 and 13).

use std::{
    fs::Metadata,
    os::unix::fs::MetadataExt,
    time::{Duration, SystemTime, UNIX_EPOCH},
};

use whub_client::Headers;

/// How old the last change must be before the tag is a strong one. Clocks of file systems tick coarsely: a second change
/// within the tick of the first leaves no trace.
const SETTLED: Duration = Duration::from_secs(2);

/// Entity tag and date of one version of a file.
#[derive(Clone, Debug)]
pub(crate) struct Validator {
    /// With its quotes, and with `W/` while it is weak.
    pub(crate) tag: String,
    /// Last change in whole seconds, as HTTP dates are.
    modified: SystemTime,
}

/// What the conditions of a request come to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Verdict {
    /// Answer as if there were none.
    Go,
    /// The caller has this version (304).
    NotModified,
    /// The caller wanted another version (412).
    Failed,
}

impl Validator {
    /// Of a file as it is at `now`.
    pub(crate) fn of(metadata: &Metadata, now: SystemTime) -> Self {
        let modified = metadata.modified().unwrap_or(UNIX_EPOCH);
        // No inode and no other time: the same file at another provider shall have the same tag.
        let opaque = format!("{:x}-{:x}.{:x}", metadata.len(), metadata.mtime(), metadata.mtime_nsec());
        let changed = UNIX_EPOCH + Duration::from_secs(metadata.ctime().try_into().unwrap_or_default());
        let settled = now.duration_since(changed.max(modified)).is_ok_and(|age| age >= SETTLED);
        Self {
            tag: if settled { format!("\"{opaque}\"") } else { format!("W/\"{opaque}\"") },
            modified: whole_seconds(modified),
        }
    }

    /// The date as HTTP writes it.
    pub(crate) fn last_modified(&self) -> String {
        httpdate::fmt_http_date(self.modified)
    }

    /// Weighs the conditions in the order of RFC 9110, section 13.2.2.
    pub(crate) fn judge(&self, headers: &Headers) -> Verdict {
        if let Some(tags) = list(headers, "if-match") {
            if !names(&tags, |tag| self.is_strongly(tag)) {
                return Verdict::Failed;
            }
        } else if date(headers, "if-unmodified-since").is_some_and(|date| self.modified > date) {
            return Verdict::Failed;
        }
        if let Some(tags) = list(headers, "if-none-match") {
            if names(&tags, |tag| self.is_weakly(tag)) {
                return Verdict::NotModified;
            }
        } else if date(headers, "if-modified-since").is_some_and(|date| self.modified <= date) {
            return Verdict::NotModified;
        }
        Verdict::Go
    }

    /// Whether `If-Range`, if there is one, still names this version; of another one a part is of no use.
    pub(crate) fn is_same_range(&self, headers: &Headers) -> bool {
        let Some(said) = headers.get("if-range") else { return true };
        let said = said.trim();
        if said.starts_with('"') || said.starts_with("W/") {
            return self.is_strongly(said);
        }
        // A date is as good as a strong tag only once the tag is one.
        !self.is_weak() && httpdate::parse_http_date(said).is_ok_and(|date| date == self.modified)
    }

    fn is_weak(&self) -> bool {
        self.tag.starts_with("W/")
    }

    fn is_strongly(&self, tag: &str) -> bool {
        !self.is_weak() && tag == self.tag
    }

    fn is_weakly(&self, tag: &str) -> bool {
        opaque(tag) == opaque(&self.tag)
    }
}

fn opaque(tag: &str) -> &str {
    tag.strip_prefix("W/").unwrap_or(tag)
}

fn whole_seconds(time: SystemTime) -> SystemTime {
    let since = time.duration_since(UNIX_EPOCH).unwrap_or_default();
    UNIX_EPOCH + Duration::from_secs(since.as_secs())
}

/// All lines of a header as one list.
fn list(headers: &Headers, name: &str) -> Option<String> {
    let values: Vec<&str> = headers
        .iter()
        .filter(|(known, _)| known.eq_ignore_ascii_case(name))
        .map(|(_, value)| value)
        .collect();
    (!values.is_empty()).then(|| values.join(","))
}

/// Whether a list of tags is `*` or holds one that is meant. A tag may hold commas, so the quotes count.
fn names(tags: &str, is_meant: impl Fn(&str) -> bool) -> bool {
    let mut rest = tags.trim();
    if rest == "*" {
        return true;
    }
    while !rest.is_empty() {
        rest = rest.trim_start_matches([',', ' ', '\t']);
        let prefix = if rest.starts_with("W/") { 2 } else { 0 };
        // What is no tag ends the list: nothing after it can be trusted.
        let Some(quoted) = rest[prefix..].strip_prefix('"') else { return false };
        let Some(end) = quoted.find('"') else { return false };
        let (tag, after) = rest.split_at(prefix + end + 2);
        if is_meant(tag) {
            return true;
        }
        rest = after;
    }
    false
}

/// A date that cannot be read is no condition (RFC 9110, section 13.1.3).
fn date(headers: &Headers, name: &str) -> Option<SystemTime> {
    httpdate::parse_http_date(headers.get(name)?.trim()).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    const DATE: &str = "Sun, 06 Nov 1994 08:49:37 GMT";
    const LATER: &str = "Sun, 06 Nov 1994 08:49:38 GMT";
    const EARLIER: &str = "Sun, 06 Nov 1994 08:49:36 GMT";

    fn validator(tag: &str) -> Validator {
        Validator { tag: tag.to_owned(), modified: httpdate::parse_http_date(DATE).unwrap() }
    }

    fn headers(pairs: &[(&str, &str)]) -> Headers {
        pairs.iter().copied().collect()
    }

    #[test]
    fn conditions_are_weighed_in_order() {
        use Verdict::{Failed, Go, NotModified};
        let strong = validator("\"a\"");
        for (pairs, verdict) in [
            (&[][..], Go),
            (&[("if-none-match", "\"a\"")], NotModified),
            (&[("if-none-match", "W/\"a\"")], NotModified),
            (&[("if-none-match", "\"x,y\" , \"a\"")], NotModified),
            (&[("if-none-match", "\"x\""), ("if-none-match", "\"a\"")], NotModified),
            (&[("if-none-match", "*")], NotModified),
            (&[("if-none-match", "\"x, \"a\"")], Go),
            (&[("if-none-match", "a")], Go),
            (&[("if-none-match", "")], Go),
            (&[("if-none-match", "\"b\""), ("if-modified-since", LATER)], Go),
            (&[("if-modified-since", DATE)], NotModified),
            (&[("if-modified-since", EARLIER)], Go),
            (&[("if-modified-since", "yesterday")], Go),
            (&[("if-match", "\"a\"")], Go),
            (&[("if-match", "*")], Go),
            (&[("if-match", "\"b\"")], Failed),
            (&[("if-match", "W/\"a\"")], Failed),
            (&[("if-match", "\"b\""), ("if-none-match", "\"a\"")], Failed),
            (&[("if-match", "\"a\""), ("if-none-match", "\"a\"")], NotModified),
            (&[("if-match", "\"a\""), ("if-unmodified-since", EARLIER)], Go),
            (&[("if-unmodified-since", EARLIER)], Failed),
            (&[("if-unmodified-since", DATE)], Go),
        ] {
            assert_eq!(strong.judge(&headers(pairs)), verdict, "{pairs:?}");
        }
        let weak = validator("W/\"a\"");
        assert_eq!(weak.judge(&headers(&[("if-none-match", "\"a\"")])), NotModified);
        assert_eq!(weak.judge(&headers(&[("if-match", "W/\"a\"")])), Failed);
    }

    #[test]
    fn a_part_is_given_of_the_same_version_only() {
        let (strong, weak) = (validator("\"a\""), validator("W/\"a\""));
        for (said, of_strong, of_weak) in [
            ("\"a\"", true, false),
            ("W/\"a\"", false, false),
            ("\"b\"", false, false),
            (DATE, true, false),
            (EARLIER, false, false),
            (LATER, false, false),
            ("nonsense", false, false),
        ] {
            let headers = headers(&[("if-range", said)]);
            assert_eq!((strong.is_same_range(&headers), weak.is_same_range(&headers)), (of_strong, of_weak));
        }
        assert!(weak.is_same_range(&Headers::default()));
    }

    #[test]
    fn a_tag_is_weak_until_the_file_has_rested() {
        let path = std::env::temp_dir().join(format!("whub-validator-{}", std::process::id()));
        std::fs::write(&path, "x").unwrap();
        let metadata = std::fs::metadata(&path).unwrap();
        std::fs::remove_file(&path).unwrap();
        let changed = metadata.modified().unwrap();
        let fresh = Validator::of(&metadata, changed);
        let rested = Validator::of(&metadata, changed + 2 * SETTLED);
        assert_eq!(fresh.tag, format!("W/{}", rested.tag));
        assert!(rested.tag.starts_with('"'));
    }
}
