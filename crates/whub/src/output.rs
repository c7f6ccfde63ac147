//! What goes to standard output and standard error. Standard output is for results only, so that it can be piped.

use std::io::{self, Write};

use serde_json::json;

use crate::exit::{Exit, Failure};

/// Writes `text` as it is.
pub(crate) fn print(text: &str) -> Result<(), Failure> {
    write(text.as_bytes())
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

/// Tells a failure on standard error, for people or as one JSON object.
pub(crate) fn report(failure: &Failure, json: bool) {
    let (code, name, _) = failure.exit.row();
    let text = if json {
        json!({ "error": { "kind": name, "exit": code, "message": failure.message, "advice": failure.advice } })
            .to_string()
    } else {
        format!("whub: {failure}")
    };
    // If standard error is gone there is nobody left to tell.
    let _ = writeln!(io::stderr(), "{text}");
}
