//! What an endpoint may be called: a word of the gateway's handshake, a line of `ROUTENAME=`, and a segment of a URL.

use whub_proto::names::{EndpointName, NameError};

/// Longest name, bytes: `ROUTENAME=` and the end of its line fit into 256 with it.
pub(super) const NAME_BYTES_MAX: usize = 200;

/// What clients say in the handshake itself.
const WORDS: [&str; 3] = ["SYN", "SYN/ACK", "ACK"];

/// Marks of the handshake's own notation.
const NOTATION: &str = "{},:=\"";

/// Marks that mean something else in a URL. A space is none of them: it is percent-encoded.
const URL: &str = "/?#%\\";

/// Why `name` cannot be one, completing "… ".
pub(super) fn flaw(name: &str) -> Option<String> {
    if WORDS.iter().any(|word| word.eq_ignore_ascii_case(name)) {
        return Some("is a word of the gateway's handshake".to_owned());
    }
    if name.len() > NAME_BYTES_MAX {
        return Some(format!("is longer than {NAME_BYTES_MAX} bytes"));
    }
    if let Some(mark) = name.chars().find(|mark| NOTATION.contains(*mark)) {
        return Some(format!("has a `{mark}`, which the gateway's handshake uses itself"));
    }
    if let Some(mark) = name.chars().find(|mark| URL.contains(*mark)) {
        return Some(format!("has a `{mark}`; a name is one segment of the URL /gateway/<name>"));
    }
    if matches!(name, "." | "..") {
        return Some("is a step of a path; a name is one segment of the URL /gateway/<name>".to_owned());
    }
    if name.trim() != name {
        return Some("begins or ends with white space".to_owned());
    }
    match EndpointName::parse(name) {
        Ok(_) => None,
        Err(NameError::Empty) => Some("is empty".to_owned()),
        Err(NameError::ControlCharacter) => Some("has control characters".to_owned()),
        Err(other) => Some(format!("cannot be used: {other}")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_can_be_said_in_the_handshake_in_a_line_and_in_a_url() {
        for name in ["endpoint1", "My Endpoint", "größe", "a.b", "chat-2_x~!", "SYNC", &"x".repeat(200)] {
            assert_eq!(flaw(name), None, "{name}");
        }
        for name in
            ["", " ", "a ", "syn", "Ack", "syn/ack", "a/b", "a?b", "a#b", "a%20b", "a\\b", ".", "..", "a\tb"]
        {
            assert!(flaw(name).is_some(), "{name}");
        }
        for mark in NOTATION.chars().chain(['\u{7f}', '\u{85}', '\n', '\0']) {
            assert!(flaw(&format!("a{mark}b")).is_some(), "{mark}");
        }
        assert!(flaw(&"x".repeat(201)).is_some());
    }
}
