//! Prints `docs/codes.md` from the public table of codes; a test fails when the committed page is stale.
//!
//! ```sh
//! cargo run -q -p whub-proto --example codes_doc > docs/codes.md
//! ```

use std::{
    fmt::Write as _,
    io::{self, Write as _},
};

use whub_proto::{Code, close};

#[allow(dead_code, reason = "unused where a test includes this file")]
fn main() -> io::Result<()> {
    io::stdout().write_all(page().as_bytes())
}

/// The page, Markdown.
pub(crate) fn page() -> String {
    let mut page = String::from(INTRODUCTION);
    for row in Code::ALL.iter().filter_map(|code| code.row()) {
        let close = row.code.close_code();
        // Writing to a `String` cannot fail.
        let _ = writeln!(
            page,
            "| {} | `{}` | {} | {} | {} | {} | {} | {} |",
            row.number,
            row.name,
            row.meaning,
            row.fault,
            row.retry,
            row.http_status,
            close,
            close::advice(close),
        );
    }
    page.push_str(CLOSING);
    page
}

const INTRODUCTION: &str = "\
# Codes

<!-- Generated: cargo run -q -p whub-proto --example codes_doc > docs/codes.md -->

Every error that a peer can see has one of these codes, in `Error`, `Cancel` and `Drain` frames, in HTTP problem documents and in WebSocket
close frames. Numbers below 600 are HTTP's; 600 and above are the hub's own.

- **Name** is the spelling in JSON, and the `slug` of an error that has no finer one (such as `service.not_found`).
- **Fault** says whose doing it is: the `caller` (whoever asked), the `provider`, the `hub`, or `time`.
- **Retry** is the advice where an error carries no `retry_ms`. If it does, that holds: 0 do not retry, 1 at once, else not before that many milliseconds.
  `provider_lost` and `deadline_exceeded` leave open whether the call ran, so repeat only what may run twice.
- **Close** is the WebSocket close code, 4000 + number, and **reconnect** what a client does when it sees it.

| number | name | meaning | fault | retry | HTTP | close | reconnect |
|---|---|---|---|---|---|---|---|
";

const CLOSING: &str = "
Codes of later versions are judged by their hundred: 4xx is the caller's fault and not to be repeated, everything else is the hub's and may be
tried again with back-off.

## Close codes by range

A client that knows only these ranges behaves well:

| close code | reconnect |
|---|---|
| 1000, 1002, 1003, 1007–1010, 1015 | never: the end was meant, or the same bytes would end the same way |
| 1001, 1012 | at once, after a short random pause |
| 1011, 1013, 1014, and no code at all (1005, 1006) | with back-off |
| 3000, 4401, 4601 | once, with a new token |
| 3003, 4400–4499 (but 4401, 4408 and 4429) | never |
| 4408, 4429, 4500–4599 (but 4501 and 4502) | with back-off |
| 4501 | never |
| 4502 | at once |
| 4600–4699 | as in the table above; unknown ones with back-off |
| all others | with back-off |

\"At once\" is after a random pause of up to half a second; \"with back-off\" doubles the longest pause with every try, up to 20 s.
";
