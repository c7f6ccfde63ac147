//! Values of flags that several commands share: durations, headers, data.

use std::{io, path::PathBuf, time::Duration};

use whub_server::config::parse_duration;

/// Reads `5s`, `250ms`, `1m30s`.
pub(crate) fn duration(text: &str) -> Result<Duration, String> {
    let duration = parse_duration(text).ok_or("write it with its unit, such as 5s, 250ms or 1m30s")?;
    if duration.is_zero() {
        return Err("must be longer than nothing".to_owned());
    }
    Ok(duration)
}

/// The same, where nothing at all is a choice too: `0s`.
pub(crate) fn duration_or_none(text: &str) -> Result<Duration, String> {
    parse_duration(text).ok_or_else(|| "write it with its unit, such as 5s, 250ms or 1m30s".to_owned())
}

/// Reads `name: value`; the name comes out in lower case.
pub(crate) fn header(text: &str) -> Result<(String, String), String> {
    let (name, value) = text.split_once(':').ok_or("write it as NAME:VALUE, such as x-tenant:acme")?;
    let name = name.trim();
    let token = |byte: u8| byte.is_ascii_alphanumeric() || b"!#$%&'*+-.^_`|~".contains(&byte);
    if name.is_empty() || !name.bytes().all(token) {
        return Err(format!("`{name}` is no name of a header"));
    }
    if value.bytes().any(|byte| byte.is_ascii_control() && byte != b'\t') {
        return Err("the value has a control character".to_owned());
    }
    Ok((name.to_ascii_lowercase(), value.trim().to_owned()))
}

/// What to send.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Data {
    /// The text itself.
    Text(String),
    /// `@FILE`.
    File(PathBuf),
    /// `-`.
    Input,
}

impl Data {
    /// Reads the value of `--data`. Text that begins with `@` can come by `-`.
    pub(crate) fn parse(text: &str) -> Result<Self, String> {
        match text.strip_prefix('@') {
            Some("") => Err("@ names no file".to_owned()),
            Some(file) => Ok(Self::File(file.into())),
            None => Ok(Self::text_or_input(text)),
        }
    }

    fn text_or_input(text: &str) -> Self {
        if text == "-" { Self::Input } else { Self::Text(text.to_owned()) }
    }

    /// The place to read it from.
    pub(crate) async fn open(&self) -> io::Result<Box<dyn tokio::io::AsyncRead + Send + Unpin>> {
        Ok(match self {
            Self::Text(text) => Box::new(io::Cursor::new(text.clone())),
            Self::File(path) => Box::new(tokio::fs::File::open(path).await?),
            Self::Input => Box::new(tokio::io::stdin()),
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn durations_want_units() {
        assert_eq!(duration("1m30s"), Ok(Duration::from_secs(90)));
        assert_eq!(duration("5").unwrap_err(), "write it with its unit, such as 5s, 250ms or 1m30s");
        assert_eq!(duration("0s").unwrap_err(), "must be longer than nothing");
    }

    #[test]
    fn headers_are_names_and_values() {
        let pair = |name: &str, value: &str| Ok((name.to_owned(), value.to_owned()));
        assert_eq!(header("X-Tag: a:b "), pair("x-tag", "a:b"));
        assert_eq!(header("x-empty:"), pair("x-empty", ""));
        assert_eq!(header("nothing").unwrap_err(), "write it as NAME:VALUE, such as x-tenant:acme");
        assert_eq!(header("two words: x").unwrap_err(), "`two words` is no name of a header");
        assert_eq!(header("x: a\r\ny: b").unwrap_err(), "the value has a control character");
    }

    #[test]
    fn data_is_text_a_file_or_standard_input() {
        assert_eq!(Data::parse("{\"n\":1}"), Ok(Data::Text("{\"n\":1}".to_owned())));
        assert_eq!(Data::parse("@body.json"), Ok(Data::File("body.json".into())));
        assert_eq!(Data::parse("-"), Ok(Data::Input));
        assert_eq!(Data::parse("").unwrap(), Data::Text(String::new()));
        assert_eq!(Data::parse("@").unwrap_err(), "@ names no file");
    }
}
