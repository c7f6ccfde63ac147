//! `Range` requests in bytes (RFC 9110, section 14).

/// Most parts of one answer; a request for more is answered with the whole.
const PARTS_MAX: usize = 16;

/// What a `Range` header comes to.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Ranges {
    /// None, or one that does not count: another unit, bad syntax, or more than is sensible.
    Whole,
    /// These parts, in the order asked for; at least one.
    Parts(Vec<Span>),
    /// Nothing of it lies within the file (416).
    Outside,
}

/// A part of a file.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Span {
    /// Its first byte.
    pub(crate) begin: u64,
    /// Its length, at least 1.
    pub(crate) bytes: u64,
}

impl Span {
    /// As `Content-Range` tells it of a file of `total` bytes.
    pub(crate) fn content_range(self, total: u64) -> String {
        format!("bytes {}-{}/{total}", self.begin, self.begin + self.bytes - 1)
    }
}

/// Reads a header's value, of a file of `total` bytes. Parts that together are longer than the file overlap, and are
/// an attack or a mistake: the whole is the better answer.
pub(crate) fn parse(said: Option<&str>, total: u64) -> Ranges {
    let Some(specs) = said.and_then(of_bytes) else { return Ranges::Whole };
    let mut parts = Vec::new();
    for (count, spec) in specs.split(',').map(str::trim).filter(|spec| !spec.is_empty()).enumerate() {
        if count == PARTS_MAX {
            return Ranges::Whole;
        }
        match span(spec, total) {
            Err(Malformed) => return Ranges::Whole,
            Ok(Some(span)) => parts.push(span),
            Ok(None) => {}
        }
    }
    if parts.is_empty() {
        return if specs.contains('-') { Ranges::Outside } else { Ranges::Whole };
    }
    let asked = parts.iter().map(|span| span.bytes).fold(0, u64::saturating_add);
    if parts.len() > 1 && asked > total { Ranges::Whole } else { Ranges::Parts(parts) }
}

struct Malformed;

/// The list behind `bytes=`.
fn of_bytes(said: &str) -> Option<&str> {
    let (unit, specs) = said.split_once('=')?;
    unit.trim().eq_ignore_ascii_case("bytes").then_some(specs)
}

/// One range; nothing where it lies behind the end.
fn span(spec: &str, total: u64) -> Result<Option<Span>, Malformed> {
    let (first, last) = spec.split_once('-').ok_or(Malformed)?;
    if first.is_empty() {
        let bytes = number(last)?.min(total);
        return Ok((bytes > 0).then(|| Span { begin: total - bytes, bytes }));
    }
    let begin = number(first)?;
    let end = if last.is_empty() { u64::MAX } else { number(last)? };
    if end < begin {
        return Err(Malformed);
    }
    let Some(rest) = total.checked_sub(begin).filter(|rest| *rest > 0) else { return Ok(None) };
    Ok(Some(Span { begin, bytes: (end - begin).saturating_add(1).min(rest) }))
}

/// A number of any length; one beyond all files is the same as the largest.
fn number(digits: &str) -> Result<u64, Malformed> {
    if digits.is_empty() || !digits.bytes().all(|byte| byte.is_ascii_digit()) {
        return Err(Malformed);
    }
    Ok(digits.parse().unwrap_or(u64::MAX))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn of(said: &str, total: u64) -> String {
        match parse(Some(said), total) {
            Ranges::Whole => "whole".to_owned(),
            Ranges::Outside => "outside".to_owned(),
            Ranges::Parts(parts) => {
                let shown: Vec<String> = parts.iter().map(|span| span.content_range(total)).collect();
                shown.join("; ")
            }
        }
    }

    #[test]
    fn ranges_are_read() {
        assert_eq!(parse(None, 10), Ranges::Whole);
        for (said, total, expected) in [
            ("bytes=0-0", 10, "bytes 0-0/10"),
            ("bytes=2-5", 10, "bytes 2-5/10"),
            ("Bytes = 2-5", 10, "bytes 2-5/10"),
            ("bytes=2-", 10, "bytes 2-9/10"),
            ("bytes=2-99", 10, "bytes 2-9/10"),
            ("bytes=-3", 10, "bytes 7-9/10"),
            ("bytes=-30", 10, "bytes 0-9/10"),
            ("bytes=0-99999999999999999999999", 10, "bytes 0-9/10"),
            ("bytes=0-18446744073709551615", 10, "bytes 0-9/10"),
            ("bytes=0-1, 8-", 10, "bytes 0-1/10; bytes 8-9/10"),
            ("bytes=8-,,0-1", 10, "bytes 8-9/10; bytes 0-1/10"),
            ("bytes=0-1,99-", 10, "bytes 0-1/10"),
            ("bytes=10-", 10, "outside"),
            ("bytes=-0", 10, "outside"),
            ("bytes=0-", 0, "outside"),
            ("bytes=-5", 0, "outside"),
            ("bytes=99999999999999999999999-", 10, "outside"),
            ("bytes=0-,0-", 10, "whole"),
            ("bytes=5-2", 10, "whole"),
            ("bytes=a-b", 10, "whole"),
            ("bytes=+1-2", 10, "whole"),
            ("bytes=1", 10, "whole"),
            ("bytes=", 10, "whole"),
            ("bytes", 10, "whole"),
            ("lines=0-1", 10, "whole"),
            ("bytes=0-0,1-1,2-2,3-3,4-4,5-5,6-6,7-7,8-8,9-9,0-0,1-1,2-2,3-3,4-4,5-5,6-6", 100, "whole"),
        ] {
            assert_eq!(of(said, total), expected, "{said} of {total}");
        }
    }
}
