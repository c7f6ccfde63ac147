//! How `/gateway` is spoken: the events of SocketMaster, in two spellings, and messages with a route's name in front.
//!
//! `{event: SMHandshake, data: SYN}` is how its README writes them, `{"event":"SMHandshake","data":"SYN"}` what many
//! clients make of it. Replies use the spelling that the client began with.

use std::borrow::Cow;

use serde::Deserialize;
use whub_core::GatewaySaying;

/// Longest first line of a message, `ROUTENAME=` among it, bytes.
const LINE_BYTES_MAX: usize = 256;

/// What stands before a route's name.
const ROUTE: &[u8] = b"ROUTENAME=";

/// What some clients wait for.
pub(crate) const ACK: &str = "ACK";

const HANDSHAKE: &str = "SMHandshake";
const END: &str = "SMHandshakeEnd";
const ERROR: &str = "SMError";
/// Beyond the original: what becomes of a route.
const NEWS: &str = "SMRoute";

/// How a client spells events.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(crate) enum Spelling {
    /// `{event: SMHandshake, data: SYN}`
    #[default]
    Bare,
    /// `{"event":"SMHandshake","data":"SYN"}`
    Json,
}

/// One message of a client.
#[derive(Debug, PartialEq)]
pub(crate) enum Heard<'a> {
    /// For the hub.
    Saying(Saying<'a>, Spelling),
    /// For an endpoint.
    Message { name: &'a str, body: &'a [u8] },
    /// Neither; what it lacks is a route.
    Nothing,
}

/// What a client says to the hub, which owns the name of a route if it was escaped.
#[derive(Debug, PartialEq)]
pub(crate) enum Saying<'a> {
    Syn,
    Ack,
    Route(Cow<'a, str>),
    End,
}

impl Saying<'_> {
    /// As the session takes it.
    pub(crate) fn as_core(&self) -> GatewaySaying<'_> {
        match self {
            Self::Syn => GatewaySaying::Syn,
            Self::Ack => GatewaySaying::Ack,
            Self::Route(name) => GatewaySaying::Route(name),
            Self::End => GatewaySaying::End,
        }
    }
}

#[derive(Deserialize)]
struct Event<'a> {
    #[serde(borrow)]
    event: Cow<'a, str>,
    #[serde(borrow, default)]
    data: Cow<'a, str>,
}

/// Reads a message. Text was checked to be UTF-8 by the WebSocket.
pub(crate) fn read(is_text: bool, payload: &[u8]) -> Heard<'_> {
    if let Some((name, body)) = routed(payload) {
        return Heard::Message { name, body };
    }
    let text = if is_text { std::str::from_utf8(payload).unwrap_or_default().trim() } else { "" };
    let Some((event, data, spelling)) = event(text) else { return Heard::Nothing };
    let saying = match (&*event, &*data) {
        (HANDSHAKE, "SYN") => Saying::Syn,
        (HANDSHAKE, ACK) => Saying::Ack,
        (HANDSHAKE, "") => return Heard::Nothing,
        (HANDSHAKE, _) => Saying::Route(data),
        (END, _) => Saying::End,
        _ => return Heard::Nothing,
    };
    Heard::Saying(saying, spelling)
}

/// The name and the body of a message for an endpoint.
fn routed(payload: &[u8]) -> Option<(&str, &[u8])> {
    let rest = payload.strip_prefix(ROUTE)?;
    let within = &rest[..rest.len().min(LINE_BYTES_MAX - ROUTE.len())];
    let end = within.iter().position(|byte| *byte == b'\n')?;
    let line = &rest[..end];
    let name = std::str::from_utf8(line.strip_suffix(b"\r").unwrap_or(line)).ok()?;
    Some((name, &rest[end + 1..]))
}

/// Event and data in either spelling.
fn event(text: &str) -> Option<(Cow<'_, str>, Cow<'_, str>, Spelling)> {
    let inner = text.strip_prefix('{')?.strip_suffix('}')?;
    if inner.trim_start().starts_with('"') {
        let Event { event, data } = serde_json::from_str(text).ok()?;
        return Some((event, data, Spelling::Json));
    }
    let rest = inner.trim_start().strip_prefix("event")?.trim_start().strip_prefix(':')?;
    let (event, rest) = rest.split_once(',').unwrap_or((rest, ""));
    let data = match rest.trim_start().strip_prefix("data") {
        Some(data) => data.trim_start().strip_prefix(':')?,
        None if rest.trim().is_empty() => "",
        None => return None,
    };
    Some((Cow::Borrowed(bare(event)), Cow::Borrowed(bare(data)), Spelling::Bare))
}

/// A value without the quotes that some put around it.
fn bare(value: &str) -> &str {
    let value = value.trim();
    ['"', '\''].into_iter().find_map(|quote| value.strip_prefix(quote)?.strip_suffix(quote)).unwrap_or(value)
}

impl Spelling {
    pub(crate) fn syn_ack(self) -> String {
        self.event(HANDSHAKE, "SYN/ACK")
    }

    pub(crate) fn ack(self) -> String {
        self.event(HANDSHAKE, ACK)
    }

    pub(crate) fn end_ack(self) -> String {
        self.event(END, ACK)
    }

    pub(crate) fn error(self, what: &str) -> String {
        self.event(ERROR, what)
    }

    /// What became of a route: `route down Endpoint1`.
    pub(crate) fn news(self, what: &str) -> String {
        self.event(NEWS, what)
    }

    fn event(self, event: &str, data: &str) -> String {
        match self {
            Self::Bare => format!("{{event: {event}, data: {data}}}"),
            // A string always serialises.
            Self::Json => {
                let data = serde_json::to_string(data).unwrap_or_default();
                format!("{{\"event\":\"{event}\",\"data\":{data}}}")
            }
        }
    }
}

/// What stands before each message of an endpoint.
pub(crate) fn tag(name: &str) -> Vec<u8> {
    [ROUTE, name.as_bytes(), b"\n"].concat()
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn said(text: &str) -> Heard<'_> {
        read(true, text.as_bytes())
    }

    #[test]
    fn both_spellings_say_the_same() {
        for (text, saying, spelling) in [
            ("{event: SMHandshake, data: SYN}", Saying::Syn, Spelling::Bare),
            ("{event:SMHandshake,data:ACK}", Saying::Ack, Spelling::Bare),
            ("{ event: \"SMHandshake\", data: 'SYN' }\r\n", Saying::Syn, Spelling::Bare),
            ("{event: SMHandshake, data: Endpoint 1}", Saying::Route("Endpoint 1".into()), Spelling::Bare),
            ("{event: SMHandshakeEnd}", Saying::End, Spelling::Bare),
            ("{event: SMHandshakeEnd, data: }", Saying::End, Spelling::Bare),
            ("{event: SMHandshakeEnd, data: ACK}", Saying::End, Spelling::Bare),
            (r#"{"event":"SMHandshake","data":"SYN"}"#, Saying::Syn, Spelling::Json),
            (r#" {"data": "ACK", "event": "SMHandshake"} "#, Saying::Ack, Spelling::Json),
            (r#"{"event":"SMHandshake","data":"caf\u00e9"}"#, Saying::Route("café".into()), Spelling::Json),
            (r#"{"event":"SMHandshakeEnd"}"#, Saying::End, Spelling::Json),
        ] {
            assert_eq!(said(text), Heard::Saying(saying, spelling), "{text}");
        }
    }

    #[test]
    fn what_is_no_event_is_nothing() {
        for text in [
            "",
            "{}",
            "SYN",
            "{event}",
            "{event: Other, data: SYN}",
            "{event: SMHandshake, data: }",
            "{\"event\":1}",
            "{event: a, b: c}",
        ] {
            assert_eq!(said(text), Heard::Nothing, "{text}");
        }
        assert_eq!(read(false, b"{event: SMHandshake, data: SYN}"), Heard::Nothing, "not as binary");
    }

    #[test]
    fn a_message_has_its_route_in_the_first_line() {
        let body = |payload| match read(false, payload) {
            Heard::Message { name, body } => (name.to_owned(), body.to_vec()),
            other @ (Heard::Saying(..) | Heard::Nothing) => panic!("{other:?}"),
        };
        assert_eq!(body(b"ROUTENAME=a\nhello"), ("a".to_owned(), b"hello".to_vec()));
        assert_eq!(body(b"ROUTENAME=a b\r\n\x00\n\xff"), ("a b".to_owned(), b"\x00\n\xff".to_vec()));
        assert_eq!(body(b"ROUTENAME=\n"), (String::new(), Vec::new()));
        let long = [b"ROUTENAME=".as_slice(), &[b'a'; 245], b"\nx"].concat();
        assert_eq!(body(&long).0.len(), 245);
        for payload in [
            b"ROUTENAME=a".as_slice(),
            b"routename=a\nb",
            b"ROUTENAME=\xff\nb",
            &[b"ROUTENAME=".as_slice(), &[b'a'; 246], b"\nx"].concat(),
        ] {
            assert_eq!(read(true, payload), Heard::Nothing);
        }
    }

    #[test]
    fn replies_are_spelt_as_the_client_spells() {
        assert_eq!(Spelling::Bare.syn_ack(), "{event: SMHandshake, data: SYN/ACK}");
        assert_eq!(Spelling::Json.end_ack(), r#"{"event":"SMHandshakeEnd","data":"ACK"}"#);
        assert_eq!(
            Spelling::Json.error("unknown route \""),
            r#"{"event":"SMError","data":"unknown route \""}"#
        );
        assert_eq!(tag("Endpoint1"), b"ROUTENAME=Endpoint1\n");
    }

    proptest! {
        #[test]
        fn no_message_breaks_the_reader(text in r#"(ROUTENAME=|event|data|SMHandshake|SMHandshakeEnd|[{}:,"'\\\r\n\t aé]|\PC)*"#) {
            let _ = read(true, text.as_bytes());
            let _ = read(true, format!("{{{text}}}").as_bytes());
            let _ = read(true, format!("{{event: SMHandshake, data: {text}}}").as_bytes());
        }

        #[test]
        fn no_bytes_break_the_reader(is_text: bool, payload in proptest::collection::vec(any::<u8>(), 0..300)) {
            let _ = read(is_text, &payload);
            let _ = read(is_text, &[ROUTE, &payload].concat());
        }

        #[test]
        fn what_is_tagged_is_read(name in "[^\r\n]{1,60}", body in proptest::collection::vec(any::<u8>(), 0..100)) {
            let payload = [tag(&name), body.clone()].concat();
            prop_assert_eq!(read(false, &payload), Heard::Message { name: &name, body: &body });
        }
    }
}
