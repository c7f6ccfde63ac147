//! What goes to standard output and standard error. Standard output is for results only, so that it can be piped.

use std::borrow::Cow;
use std::io::{self, Write};

use base64::{Engine, prelude::BASE64_STANDARD as BASE64};
use serde_json::{Map, Value, json};
use whub_client::Headers;

use crate::exit::{Exit, Failure};

/// Writes text for people.
pub(crate) fn print(text: &str) -> Result<(), Failure> {
    write(harmless(text).as_bytes())
}

/// Text without characters that command the terminal: much of what is shown was written by strangers, who may call
/// themselves whatever they like.
fn harmless(text: &str) -> Cow<'_, str> {
    escape(text, |char| is_command(char) && !matches!(char, '\n' | '\t'))
}

/// Text that stays on its line, harmless otherwise too.
pub(crate) fn one_line(text: &str) -> Cow<'_, str> {
    escape(text, is_command)
}

/// Control characters, and those that turn the direction of what follows.
fn is_command(char: char) -> bool {
    char.is_control() || matches!(char, '\u{202a}'..='\u{202e}' | '\u{2066}'..='\u{2069}')
}

fn escape(text: &str, is_hidden: impl Fn(char) -> bool) -> Cow<'_, str> {
    if !text.contains(&is_hidden) {
        return text.into();
    }
    let mut shown = String::with_capacity(text.len() + 8);
    for char in text.chars() {
        if is_hidden(char) {
            shown.extend(char.escape_default());
        } else {
            shown.push(char);
        }
    }
    shown.into()
}

/// Writes one JSON object and a line break.
pub(crate) fn print_json(value: &serde_json::Value) -> Result<(), Failure> {
    write(format!("{value}\n").as_bytes())
}

/// Writes bytes as they are and flushes, so that a reader behind a pipe sees them at once.
pub(crate) fn write(bytes: &[u8]) -> Result<(), Failure> {
    let mut out = io::stdout().lock();
    out.write_all(bytes).and_then(|()| out.flush()).map_err(broken)
}

/// A reader that went away (`whub … | head`) is no fault of ours, but there is nothing left to do either.
pub(crate) fn broken(error: io::Error) -> Failure {
    Failure::new(Exit::Failed, format!("cannot write to standard output: {error}"))
}

/// Tells something on standard error that is no failure.
pub(crate) fn note(text: &str) {
    let _ = writeln!(io::stderr(), "{}", harmless(text));
}

/// Header pairs as an object; a name that comes several times has a list.
pub(crate) fn headers(headers: &Headers) -> Value {
    let mut object = Map::new();
    for (name, value) in headers.iter() {
        match object.get_mut(name) {
            None => {
                object.insert(name.to_owned(), value.into());
            }
            Some(Value::Array(values)) => values.push(value.into()),
            Some(first) => *first = json!([first, value]),
        }
    }
    Value::Object(object)
}

/// Puts a payload into an object as the JSON form of the protocol does: `data` if it is JSON, else `text`, else `b64`.
pub(crate) fn put_payload(object: &mut Value, payload: &[u8], is_json: bool) {
    let data = if is_json { serde_json::from_slice::<Value>(payload).ok() } else { None };
    match (data, std::str::from_utf8(payload)) {
        (Some(data), _) => object["data"] = data,
        (None, Ok(text)) => object["text"] = text.into(),
        (None, Err(_)) => object["b64"] = BASE64.encode(payload).into(),
    }
}

/// Whether text is a JSON object or array. Numbers and words are JSON too, but nobody who types them means it.
pub(crate) fn is_json_container(text: &str) -> bool {
    text.trim_start().starts_with(['{', '[']) && serde_json::from_str::<serde::de::IgnoredAny>(text).is_ok()
}

/// Tells a failure on standard error, for people or as one JSON object.
pub(crate) fn report(failure: &Failure, json: bool) {
    let (code, name, _) = failure.exit.row();
    let text = if json {
        json!({ "error": { "kind": name, "exit": code, "message": failure.message, "advice": failure.advice } })
            .to_string()
    } else {
        harmless(&format!("whub: {failure}")).into_owned()
    };
    // If standard error is gone there is nobody left to tell.
    let _ = writeln!(io::stderr(), "{text}");
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_strangers_wrote_does_not_command_the_terminal() {
        assert_eq!(harmless("grün\t→\n"), "grün\t→\n");
        assert_eq!(harmless("\u{1b}]0;x\u{7}\r\u{9b}"), "\\u{1b}]0;x\\u{7}\\r\\u{9b}");
        assert_eq!(one_line("a\nb\u{202e}c"), "a\\nb\\u{202e}c");
    }

    #[test]
    fn payloads_are_shown_as_what_they_are() {
        let shown = |payload: &[u8], is_json| {
            let mut object = json!({});
            put_payload(&mut object, payload, is_json);
            object
        };
        assert_eq!(shown(b"{\"a\":1}", true), json!({ "data": { "a": 1 } }));
        assert_eq!(shown(b"{\"a\":1}", false), json!({ "text": "{\"a\":1}" }));
        assert_eq!(shown(b"no json", true), json!({ "text": "no json" }));
        assert_eq!(shown(&[0xff, 0], true), json!({ "b64": "/wA=" }));
    }

    #[test]
    fn headers_that_repeat_are_lists() {
        let pairs: Headers = [("a", "1"), ("b", "2"), ("a", "3"), ("a", "4")].into_iter().collect();
        assert_eq!(headers(&pairs), json!({ "a": ["1", "3", "4"], "b": "2" }));
    }

    #[test]
    fn only_objects_and_arrays_are_taken_for_json() {
        assert!(is_json_container(" {\"a\": [1]}") && is_json_container("[]"));
        assert!(
            !is_json_container("1") && !is_json_container("{oops}") && !is_json_container("[draft] hello")
        );
    }
}
