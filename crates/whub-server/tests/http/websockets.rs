//! Handshakes over HTTP/1.1, and what they are refused for.

use whub_core::Grants;
use whub_server::config::{Config, Secret, Token};

use crate::browser::{Answer, Browser};
use crate::common::Node;

const HANDSHAKE: &str = "Connection: Upgrade\nUpgrade: websocket\nSec-WebSocket-Version: 13\n\
                         Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==";

async fn upgrade(node: &Node, path: &str, fields: &str) -> (Browser, Answer) {
    let mut browser = Browser::visit(node).await;
    let answer = browser.ask(&format!("GET {path}\n{HANDSHAKE}\n{fields}"), b"").await;
    (browser, answer)
}

#[tokio::test]
async fn an_echo_keeps_the_bytes_that_came_with_the_handshake() {
    let node = Node::with(|config| config.debug.echo = true).await;
    let mut browser = Browser::visit(&node).await;
    let hello = b"\x81\x85\x37\xfa\x21\x3d\x7f\x9f\x4d\x51\x58";
    let head = format!("GET /debug/echo HTTP/1.1\nHost: localhost\n{HANDSHAKE}\n\n").replace('\n', "\r\n");
    browser.write([head.as_bytes(), hello].concat()).await;
    let answer = browser.head().await;
    assert_eq!(answer.status, 101);
    assert!(answer.is("sec-websocket-accept", "s3pPLMBiTxaQ9kYGzzhZRbK+xOo="));
    assert_eq!(browser.exactly(7).await, b"\x81\x05Hello");
    browser.write(hello).await;
    assert_eq!(browser.exactly(7).await, b"\x81\x05Hello");
}

#[tokio::test]
async fn the_protocol_needs_one_of_its_subprotocols() {
    let node = Node::start().await;
    let (_, answer) = upgrade(&node, "/ws", "").await;
    assert_eq!(answer.status, 400);
    let detail = answer.json()["detail"].as_str().unwrap().to_owned();
    assert!(detail.contains("whub.v1 ") && detail.contains("whub.v1.json"), "{detail}");
    for protocol in ["whub.v1", "whub.v1.json"] {
        let (_, answer) = upgrade(&node, "/ws", &format!("Sec-WebSocket-Protocol: x, {protocol}")).await;
        assert_eq!(answer.status, 101);
        assert!(answer.is("sec-websocket-protocol", protocol));
    }
}

#[tokio::test]
async fn a_wrong_token_is_refused_before_the_upgrade() {
    let token = Token { name: "ops".into(), secret: Secret::new("s3cret").unwrap(), grant: Grants::all() };
    let node = Node::with(|config| config.tokens = vec![token]).await;
    // base64url of `s3cret` and `wrong`.
    let (good, bad) = ("whub.bearer.czNjcmV0", "whub.bearer.d3Jvbmc");
    for (path, fields, status) in [
        ("/ws", format!("Sec-WebSocket-Protocol: {good}, whub.v1"), 101),
        ("/ws", format!("Sec-WebSocket-Protocol: {bad}, whub.v1"), 401),
        ("/ws", "Sec-WebSocket-Protocol: whub.v1\nAuthorization: Bearer wrong".into(), 401),
        ("/ws", "Sec-WebSocket-Protocol: whub.v1".into(), 101),
        ("/pair/x", String::new(), 401),
        ("/pair/x", "Authorization: Bearer s3cret".into(), 101),
        ("/pair/x", format!("Sec-WebSocket-Protocol: whub.plain, {good}"), 101),
        ("/pair/x?token=s3cret", String::new(), 401),
    ] {
        let (_, answer) = upgrade(&node, path, &fields).await;
        assert_eq!(answer.status, status, "{path} {fields}");
        if status == 401 {
            assert_eq!(answer.json()["message"], "invalid credential");
        }
        let chosen = answer.header("sec-websocket-protocol").unwrap_or_default();
        assert!(!chosen.contains("bearer"), "a token is never repeated");
    }
}

#[tokio::test]
async fn what_is_no_handshake_is_told_what_is_missing() {
    let node = Node::start().await;
    let mut browser = Browser::visit(&node).await;
    let answer = browser.ask("GET /ws", b"").await;
    assert_eq!(answer.status, 426);
    assert!(answer.is("upgrade", "websocket") && answer.is("sec-websocket-version", "13"), "{answer:?}");
    let (_, answer) = upgrade(&node, "/pair/%2Fx", "").await;
    assert_eq!((answer.status, &answer.json()["slug"]), (400, &"pair.id".into()));
    for (path, status) in [
        ("/some/service", 404),
        ("/v1/call/some/service", 404),
        ("/other", 404),
        ("/pair/a/b", 404),
        ("/debug/echo", 404),
        ("/gateway/nowhere", 404),
        ("/healthz", 200),
    ] {
        let (_, answer) = upgrade(&node, path, "").await;
        assert_eq!(answer.status, status, "{path}");
    }
}

#[tokio::test]
async fn compression_is_agreed_where_it_is_configured() {
    let plain = Node::with(|config| config.debug.echo = true).await;
    let deflating = Node::with(|config| config.websocket.deflate = true).await;
    let offer = "Sec-WebSocket-Extensions: permessage-deflate\nSec-WebSocket-Protocol: whub.v1";
    for (node, path, agreed) in [
        (&plain, "/ws", false),
        (&plain, "/debug/echo", true),
        (&deflating, "/ws", true),
        (&deflating, "/pair/x", true),
    ] {
        let (_, answer) = upgrade(node, path, offer).await;
        assert_eq!(answer.status, 101);
        let extensions = answer.header("sec-websocket-extensions").unwrap_or_default();
        assert_eq!(extensions.starts_with("permessage-deflate"), agreed, "{path}: {extensions}");
    }
}

#[tokio::test]
async fn a_half_of_a_pair_ends_with_its_token() {
    let token = |secret: &str| Token {
        name: "ops".into(),
        secret: Secret::new(secret).unwrap(),
        grant: Grants::all(),
    };
    let node = Node::with(|config| config.tokens = vec![token("s3cret"), token("other")]).await;
    let (mut gone, answer) = upgrade(&node, "/pair/x", "Authorization: Bearer s3cret").await;
    assert_eq!(answer.status, 101);
    assert_eq!(gone.exactly(17).await, b"\x81\x0f/status:waiting");
    let (mut stays, _) = upgrade(&node, "/pair/y", "Authorization: Bearer other").await;
    assert_eq!(stays.exactly(17).await, b"\x81\x0f/status:waiting");
    node.handle.reload(Config { tokens: vec![token("other")], ..Config::default() });
    let close = gone.exactly(4).await;
    assert_eq!((close[0], &close[2..]), (0x88, &4401_u16.to_be_bytes()[..]));
    stays.write(b"\x89\x80\0\0\0\0").await;
    assert_eq!(stays.exactly(2).await, b"\x8a\0");
}
