//! Opening handshakes: what is a sound request, a fitting response, and an agreement on compression.

use proptest::prelude::*;
use whub_ws::{
    Role,
    deflate::{Agreement, Config},
    handshake::{Established, HandshakeError, Refusal, Request, Upgrade},
};

type Fields<'a> = Vec<(&'a str, &'a [u8])>;

/// The request of RFC 6455 section 1.3.
fn sample() -> Fields<'static> {
    vec![
        ("Host", b"server.example.com"),
        ("upgrade", b"WebSocket"),
        ("Connection", b"keep-alive, Upgrade"),
        ("Sec-WebSocket-Key", b"dGhlIHNhbXBsZSBub25jZQ=="),
        ("Origin", b"http://example.com"),
        ("Sec-WebSocket-Protocol", b"chat, superchat"),
        ("Sec-WebSocket-Version", b"13"),
    ]
}

fn with<'a>(name: &str, value: &'a [u8]) -> Fields<'a> {
    let mut fields: Fields<'a> = sample();
    for field in &mut fields {
        if field.0 == name {
            field.1 = value;
        }
    }
    fields
}

fn without(name: &str) -> Fields<'static> {
    sample().into_iter().filter(|field| field.0 != name).collect()
}

fn doubled<'a>(name: &'a str, value: &'a [u8]) -> Fields<'a> {
    let mut fields: Fields<'a> = sample();
    fields.push((name, value));
    fields
}

#[test]
fn the_request_of_the_standard() {
    let upgrade = Upgrade::from_http1(sample()).unwrap();
    assert_eq!(upgrade.accept.as_deref(), Some("s3pPLMBiTxaQ9kYGzzhZRbK+xOo="));
    assert_eq!(upgrade.protocols, ["chat", "superchat"]);
    assert_eq!(upgrade.choose_protocol(|name| name == "superchat"), Some("superchat"));
    assert_eq!(upgrade.choose_protocol(|_| false), None);
    assert!(Upgrade::is_wanted(sample()));
    assert!(!Upgrade::is_wanted(without("upgrade")));
}

#[test]
fn requests_that_are_refused() {
    let cases = [
        (without("upgrade"), Refusal::NotWebSocket, 426),
        (with("upgrade", b"h2c"), Refusal::NotWebSocket, 426),
        (without("Connection"), Refusal::NotWebSocket, 426),
        (with("Connection", b"keep-alive"), Refusal::NotWebSocket, 426),
        (without("Sec-WebSocket-Version"), Refusal::Version, 426),
        (with("Sec-WebSocket-Version", b"8"), Refusal::Version, 426),
        (doubled("Sec-WebSocket-Version", b"13"), Refusal::Version, 426),
        (without("Sec-WebSocket-Key"), Refusal::Key, 400),
        (with("Sec-WebSocket-Key", b"c2hvcnQ="), Refusal::Key, 400),
        (doubled("sec-websocket-key", b"dGhlIHNhbXBsZSBub25jZQ=="), Refusal::Key, 400),
        (with("Sec-WebSocket-Protocol", b"chat, chat"), Refusal::Protocol, 400),
        (doubled("Sec-WebSocket-Protocol", b"superchat"), Refusal::Protocol, 400),
        (with("Sec-WebSocket-Protocol", b"two words"), Refusal::Protocol, 400),
        (doubled("Sec-WebSocket-Extensions", b"a; b=\""), Refusal::Extensions, 400),
    ];
    for (fields, refusal, status) in cases {
        assert_eq!(Upgrade::from_http1(fields.clone()), Err(refusal), "{fields:?}");
        assert_eq!(refusal.status(), status);
    }
}

#[test]
fn over_http2_neither_upgrade_nor_key_is_needed() {
    let fields: Fields<'_> = vec![("sec-websocket-version", b"13"), ("sec-websocket-protocol", b"chat")];
    let upgrade = Upgrade::from_extended_connect(fields).unwrap();
    assert_eq!((upgrade.protocols, upgrade.accept), (vec!["chat"], None));
    assert_eq!(Upgrade::from_extended_connect([]), Err(Refusal::Version));
}

fn request(deflate: Option<Config>) -> Request<'static> {
    Request {
        authority: "localhost:9482",
        target: "/ws?x=1",
        nonce: *b"the sample nonce",
        protocols: &["whub.v1", "chat"],
        deflate,
        headers: &[("Authorization", "Bearer t")],
    }
}

/// The response's fields that fit [`request`].
fn response() -> Fields<'static> {
    vec![
        ("Upgrade", b"websocket"),
        ("connection", b"upgrade"),
        ("Sec-WebSocket-Accept", b"s3pPLMBiTxaQ9kYGzzhZRbK+xOo="),
        ("sec-websocket-protocol", b"chat"),
    ]
}

#[test]
fn a_request_as_bytes() {
    let bytes = request(Some(Config::default())).encode().unwrap();
    let expected = "GET /ws?x=1 HTTP/1.1\r\nHost: localhost:9482\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n\
        Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\nSec-WebSocket-Version: 13\r\n\
        Sec-WebSocket-Protocol: whub.v1, chat\r\n\
        Sec-WebSocket-Extensions: permessage-deflate; server_no_context_takeover; client_no_context_takeover; \
        client_max_window_bits\r\nAuthorization: Bearer t\r\n\r\n";
    assert_eq!(std::str::from_utf8(&bytes), Ok(expected));
}

#[test]
fn nothing_slips_into_a_request() {
    let refused =
        |request: Request<'_>, part| assert_eq!(request.encode(), Err(HandshakeError::Request(part)));
    refused(Request { target: "/a b", ..request(None) }, "target");
    refused(Request { target: "ws", ..request(None) }, "target");
    refused(Request { authority: "a\r\nb", ..request(None) }, "host");
    refused(Request { protocols: &["a,b"], ..request(None) }, "subprotocols");
    refused(Request { headers: &[("x", "1\r\nHost: evil")], ..request(None) }, "headers");
    refused(Request { headers: &[("x:", "1")], ..request(None) }, "headers");
}

#[test]
fn responses() {
    let established = request(None).verify(101, response());
    assert_eq!(established, Ok(Established { protocol: Some("chat"), deflate: None }));
    assert_eq!(request(None).verify(401, []), Err(HandshakeError::Status(401)));

    let changed = |name: &'static str, value: &'static [u8]| {
        let mut fields: Fields<'static> = response().into_iter().filter(|field| field.0 != name).collect();
        if !value.is_empty() {
            fields.push((name, value));
        }
        request(None).verify(101, fields)
    };
    for (name, value, field) in [
        ("Upgrade", &b""[..], "Upgrade"),
        ("connection", b"close", "Connection"),
        ("Sec-WebSocket-Accept", b"", "Sec-WebSocket-Accept"),
        ("Sec-WebSocket-Accept", b"wrong", "Sec-WebSocket-Accept"),
        ("sec-websocket-protocol", b"never-offered", "Sec-WebSocket-Protocol"),
        ("sec-websocket-extensions", b"permessage-deflate", "Sec-WebSocket-Extensions"),
    ] {
        assert_eq!(changed(name, value), Err(HandshakeError::Response(field)), "{name}");
    }
}

fn keeping() -> Config {
    Config { keep_context: true, let_peer_keep_context: true, window_bits: 15 }
}

/// What a server answers to the value of `Sec-WebSocket-Extensions`.
fn answer(offers: &'static str, config: Config) -> Option<Agreement> {
    let fields = doubled("Sec-WebSocket-Extensions", offers.as_bytes());
    Upgrade::from_http1(fields).expect("only the offers vary").accept_deflate(&config)
}

#[test]
fn offers_and_answers() {
    let none = "permessage-deflate";
    let both = "permessage-deflate; server_no_context_takeover; client_no_context_takeover";
    let server = "permessage-deflate; server_no_context_takeover";
    let client = "permessage-deflate; client_no_context_takeover";
    let small = "permessage-deflate; server_max_window_bits=9";
    for (offer, kept, default) in [
        (none, none, both),
        ("x-webkit-deflate-frame, permessage-deflate", none, both),
        ("permessage-deflate; server_no_context_takeover", server, both),
        ("permessage-deflate; client_no_context_takeover", client, both),
        ("permessage-deflate; client_max_window_bits", none, both),
        ("permessage-deflate; client_max_window_bits=8", none, both),
        ("permessage-deflate; server_max_window_bits=9", small, &format!("{both}; server_max_window_bits=9")),
        (
            "permessage-deflate; server_max_window_bits=\"9\"",
            small,
            &format!("{both}; server_max_window_bits=9"),
        ),
        // A window of 256 bytes cannot be kept to: the next offer is taken, if there is one.
        ("permessage-deflate; server_max_window_bits=8, permessage-deflate", none, both),
    ] {
        assert_eq!(
            answer(offer, keeping()).map(|agreed| agreed.to_string()).as_deref(),
            Some(kept),
            "{offer}"
        );
        assert_eq!(
            answer(offer, Config::default()).map(|agreed| agreed.to_string()).as_deref(),
            Some(default)
        );
    }
}

#[test]
fn offers_that_are_declined() {
    for offer in [
        "",
        "x-webkit-deflate-frame",
        "permessage-deflate; unknown",
        "permessage-deflate; server_max_window_bits",
        "permessage-deflate; server_max_window_bits=8",
        "permessage-deflate; server_max_window_bits=16",
        "permessage-deflate; server_max_window_bits=09",
        "permessage-deflate; server_max_window_bits=+9",
        "permessage-deflate; client_max_window_bits=7",
        "permessage-deflate; client_max_window_bits; client_max_window_bits",
        "permessage-deflate; server_no_context_takeover=1",
        "permessage-deflate; server_no_context_takeover; server_no_context_takeover",
    ] {
        assert_eq!(answer(offer, keeping()), None, "{offer}");
    }
}

/// What a client makes of the server's answer.
fn confirmed(answer: &'static str, config: Config) -> Result<Option<Agreement>, HandshakeError> {
    let mut fields = response();
    fields.push(("Sec-WebSocket-Extensions", answer.as_bytes()));
    request(Some(config)).verify(101, fields).map(|established| established.deflate)
}

#[test]
fn answers_are_confirmed() {
    for answer in [
        "permessage-deflate",
        "permessage-deflate; server_no_context_takeover; client_no_context_takeover",
        "permessage-deflate; server_max_window_bits=8; client_max_window_bits=10",
    ] {
        let agreed = confirmed(answer, keeping()).unwrap().expect("the answer fits");
        assert!(agreed.deflater(Role::Client).is_some(), "{answer}");
    }
    // The server may narrow the client's window below what zlib can do; then nothing is compressed.
    let narrow = confirmed("permessage-deflate; client_max_window_bits=8", keeping()).unwrap();
    assert!(narrow.expect("the answer fits").deflater(Role::Client).is_none());

    for answer in [
        "permessage-deflate; client_max_window_bits",
        "permessage-deflate; unknown",
        "permessage-deflate, permessage-deflate",
        "bbf-usp-protocol",
    ] {
        let refused = Err(HandshakeError::Response("Sec-WebSocket-Extensions"));
        assert_eq!(confirmed(answer, keeping()), refused, "{answer}");
    }
}

proptest! {
    #[test]
    fn no_field_is_too_strange(value in proptest::collection::vec(any::<u8>(), 0..60), index in 0..7_usize) {
        let mut fields: Fields<'_> = sample();
        fields[index].1 = &value;
        fields.push(("sec-websocket-extensions", &value));
        if let Ok(upgrade) = Upgrade::from_http1(fields) {
            prop_assert!(upgrade.accept.is_some());
        }
    }
}
