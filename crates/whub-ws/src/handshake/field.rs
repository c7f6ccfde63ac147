//! Values of header fields: lists of tokens, and extensions with parameters (RFC 6455 section 9.1).

/// One entry of `Sec-WebSocket-Extensions`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Extension<'a> {
    /// Its registered name.
    pub name: &'a str,
    /// Its parameters in order, each with the value if it has one.
    pub params: Vec<(&'a str, Option<&'a str>)>,
}

/// Whether a byte may stand in a token (RFC 9110 section 5.6.2).
const fn is_token_byte(byte: u8) -> bool {
    byte.is_ascii_alphanumeric()
        || matches!(
            byte,
            b'!' | b'#'
                | b'$'
                | b'%'
                | b'&'
                | b'\''
                | b'*'
                | b'+'
                | b'-'
                | b'.'
                | b'^'
                | b'_'
                | b'`'
                | b'|'
                | b'~'
        )
}

/// Whether `text` is a token (RFC 9110 section 5.6.2).
pub(crate) fn is_token(text: &str) -> bool {
    !text.is_empty() && text.bytes().all(is_token_byte)
}

/// The entries of a comma-separated list without the blanks around them. Empty ones are skipped, as RFC 9110
/// section 5.6.1 wants.
pub(crate) fn list(value: &[u8]) -> impl Iterator<Item = &[u8]> {
    value.split(|byte| *byte == b',').map(|entry| entry.trim_ascii()).filter(|entry| !entry.is_empty())
}

/// Whether a list names `token`, in any case.
pub(crate) fn names(value: &[u8], token: &str) -> bool {
    list(value).any(|entry| entry.eq_ignore_ascii_case(token.as_bytes()))
}

/// Appends the entries of one `Sec-WebSocket-Extensions` field; `None` if it is malformed. A quoted value must be
/// a token inside; backslashes, which the grammar allows and nobody needs, are refused.
pub(crate) fn parse_extensions<'a>(value: &'a [u8], into: &mut Vec<Extension<'a>>) -> Option<()> {
    let mut rest = Cursor(std::str::from_utf8(value).ok()?);
    loop {
        if rest.is_at_end() {
            return Some(());
        }
        if rest.eat(',') {
            continue;
        }
        let mut extension = Extension { name: rest.token()?, params: Vec::new() };
        while rest.eat(';') {
            let name = rest.token()?;
            let value = if rest.eat('=') { Some(rest.value()?) } else { None };
            extension.params.push((name, value));
        }
        into.push(extension);
        if !rest.eat(',') && !rest.is_at_end() {
            return None;
        }
    }
}

/// What is left of a value to read; blanks between parts do not count.
struct Cursor<'a>(&'a str);

impl<'a> Cursor<'a> {
    fn skip_blanks(&mut self) {
        self.0 = self.0.trim_start_matches([' ', '\t']);
    }

    fn is_at_end(&mut self) -> bool {
        self.skip_blanks();
        self.0.is_empty()
    }

    fn eat(&mut self, mark: char) -> bool {
        self.skip_blanks();
        let rest = self.0.strip_prefix(mark);
        self.0 = rest.unwrap_or(self.0);
        rest.is_some()
    }

    fn token(&mut self) -> Option<&'a str> {
        self.skip_blanks();
        let end = self.0.bytes().position(|byte| !is_token_byte(byte)).unwrap_or(self.0.len());
        let (token, rest) = self.0.split_at(end);
        self.0 = rest;
        (!token.is_empty()).then_some(token)
    }

    fn value(&mut self) -> Option<&'a str> {
        if !self.eat('"') {
            return self.token();
        }
        let (value, rest) = self.0.split_once('"')?;
        self.0 = rest;
        is_token(value).then_some(value)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parsed(value: &str) -> Option<Vec<Extension<'_>>> {
        let mut extensions = Vec::new();
        parse_extensions(value.as_bytes(), &mut extensions).map(|()| extensions)
    }

    #[test]
    fn extensions_and_their_parameters() {
        let expected = vec![
            Extension { name: "a", params: vec![("b", None), ("c", Some("10")), ("d", Some("x"))] },
            Extension { name: "e", params: vec![] },
        ];
        assert_eq!(parsed(r#"a; b;c=10 ; d="x" ,, e"#), Some(expected));
        assert_eq!(parsed(""), Some(vec![]));
    }

    #[test]
    fn malformed_extensions() {
        for bad in ["a b", "a;", "a;=1", "a;b=", "a;b=\"", "a;b=\"x y\"", "a;b=\"\\x\"", ";a", "=", "a\u{0}"]
        {
            assert_eq!(parsed(bad), None, "{bad:?}");
        }
    }

    #[test]
    fn lists_name_tokens_in_any_case() {
        assert!(names(b"keep-alive, Upgrade", "upgrade"));
        assert!(!names(b"upgraded", "upgrade"));
    }
}
