//! Log lines on standard error: for people or as JSON, and never with a secret in them.

use std::{
    borrow::Cow,
    io::{self, IsTerminal, Write},
};

use tracing_subscriber::{
    Registry,
    filter::{ParseError, Targets},
    fmt::{self, MakeWriter},
    layer::SubscriberExt,
    reload,
    util::SubscriberInitExt,
};
use whub_server::config::{Log, LogFormat};

/// Changes the level while the process runs.
#[derive(Debug)]
pub(crate) struct Levels(reload::Handle<Targets, Registry>);

impl Levels {
    /// Applies `level`, as `log.level` has it.
    pub(crate) fn set(&self, level: &str) {
        // The configuration was checked, and the subscriber lives as long as the process.
        if let Ok(targets) = parse(level) {
            let _ = self.0.reload(targets);
        }
    }
}

/// Starts logging. To be called once.
pub(crate) fn start(log: &Log) -> Levels {
    let (levels, handle) = reload::Layer::new(parse(&log.level).unwrap_or_default());
    let registry = tracing_subscriber::registry().with(levels);
    match log.format {
        LogFormat::Console => {
            let colours = io::stderr().is_terminal();
            registry.with(fmt::layer().with_writer(Redacting).with_ansi(colours)).init();
        }
        LogFormat::Json => {
            registry.with(fmt::layer().json().flatten_event(true).with_writer(Redacting)).init()
        }
    }
    Levels(handle)
}

fn parse(level: &str) -> Result<Targets, ParseError> {
    level.parse()
}

/// Standard error behind a guard. Code that logs redacts by itself; this is for the day it forgets.
#[derive(Clone, Copy, Debug)]
struct Redacting;

impl<'a> MakeWriter<'a> for Redacting {
    type Writer = Self;

    fn make_writer(&'a self) -> Self {
        *self
    }
}

impl Write for Redacting {
    /// The formatter hands over one whole line at a time.
    fn write(&mut self, line: &[u8]) -> io::Result<usize> {
        let text = String::from_utf8_lossy(line);
        io::stderr().write_all(redact(&text).as_bytes())?;
        Ok(line.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        io::stderr().flush()
    }
}

/// What a secret follows in a log line, in lower case.
const MARKS: [&str; 6] =
    ["token=", "bearer ", "whub.bearer.", "authorization: basic ", "whub.secret.", "whub-pair-secret: "];

/// Replaces what follows a mark, up to the end of the word.
pub(crate) fn redact(line: &str) -> Cow<'_, str> {
    let lower = line.to_ascii_lowercase();
    let next = |from: usize| {
        MARKS.iter().filter_map(|mark| Some(lower[from..].find(mark)? + from + mark.len())).min()
    };
    let Some(mut start) = next(0) else { return Cow::Borrowed(line) };
    let mut redacted = String::with_capacity(line.len());
    let mut copied = 0;
    loop {
        let secret = line[start..].find(|c: char| !is_secret(c)).map_or(line.len(), |length| start + length);
        redacted.push_str(&line[copied..start]);
        if secret > start {
            redacted.push_str("[redacted]");
        }
        copied = secret;
        match next(secret) {
            Some(found) => start = found,
            None => break,
        }
    }
    redacted.push_str(&line[copied..]);
    Cow::Owned(redacted)
}

/// Characters a token can have in a URL, a header or a subprotocol.
fn is_secret(c: char) -> bool {
    c.is_ascii_alphanumeric() || "-._~+/=%!$*".contains(c)
}

#[cfg(test)]
mod tests {
    use super::redact;

    #[test]
    fn secrets_are_replaced_wherever_they_stand() {
        for (line, safe) in [
            ("GET /ws?token=hunter2&x=1 HTTP/1.1", "GET /ws?token=[redacted]&x=1 HTTP/1.1"),
            ("authorization: Bearer abc.def-ghi", "authorization: Bearer [redacted]"),
            ("{\"h\":\"BEARER abc=\"}", "{\"h\":\"BEARER [redacted]\"}"),
            ("whub.bearer.c2VjcmV0, whub.v1", "whub.bearer.[redacted], whub.v1"),
            ("whub.plain, whub.secret.c2VjcmV0", "whub.plain, whub.secret.[redacted]"),
            ("access_token=a&refresh_token=b", "access_token=[redacted]&refresh_token=[redacted]"),
            ("Authorization: Basic dXNlcjpw", "Authorization: Basic [redacted]"),
            ("ends with token=", "ends with token="),
            ("größe token=ü", "größe token=ü"),
        ] {
            assert_eq!(redact(line), safe);
        }
    }

    #[test]
    fn other_lines_stay_as_they_are() {
        for line in ["", "listening on ws://127.0.0.1:9482", "token \"ci\" opened a session", "größer"] {
            assert!(matches!(redact(line), std::borrow::Cow::Borrowed(same) if same == line));
        }
    }
}
