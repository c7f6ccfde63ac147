//! Which web pages may use the hub, and under which names it answers.

use crate::browser::Browser;
use crate::common::Node;

async fn node() -> Node {
    Node::with(|config| {
        config.http.allowed_hosts = vec!["hub.example".into()];
        config.http.allowed_origins = vec!["https://app.example".into()];
        config.debug.echo = true;
    })
    .await
}

/// Sends a request as it is and returns the status line's number.
async fn status(node: &Node, request: &str) -> u16 {
    let mut browser = Browser::visit(node).await;
    browser.write(request.replace('\n', "\r\n")).await;
    browser.head().await.status
}

#[tokio::test]
async fn the_hub_answers_to_addresses_localhost_and_configured_names() {
    let node = node().await;
    for (host, expected) in [
        ("127.0.0.1", 200),
        ("127.0.0.1:9482", 200),
        ("[::1]:9482", 200),
        ("192.168.1.5", 200),
        ("LOCALHOST:1", 200),
        ("hub.example", 200),
        ("hub.example.:80", 200),
        ("evil.example", 421),
        ("localhost.evil.example", 421),
        ("127.0.0.1.evil.example", 421),
        ("hub.example:x", 400),
        ("a@localhost", 400),
        ("", 400),
    ] {
        let request = format!("GET /healthz HTTP/1.1\nHost: {host}\n\n");
        assert_eq!(status(&node, &request).await, expected, "{host}");
    }
    for (request, expected) in [
        ("GET /healthz HTTP/1.1\n\n", 400),
        ("GET /healthz HTTP/1.0\n\n", 200),
        ("GET /healthz HTTP/1.1\nHost: localhost\nHost: evil.example\n\n", 400),
        ("GET http://localhost/healthz HTTP/1.1\nHost: localhost\n\n", 200),
        ("GET http://evil.example/healthz HTTP/1.1\nHost: localhost\n\n", 400),
        ("GET http://evil.example/healthz HTTP/1.1\nHost: evil.example\n\n", 421),
    ] {
        assert_eq!(status(&node, request).await, expected, "{request}");
    }
}

#[tokio::test]
async fn web_pages_of_elsewhere_are_turned_away_everywhere() {
    let node = node().await;
    let upgrade = "Connection: upgrade\nUpgrade: websocket\nSec-WebSocket-Version: 13\n\
                   Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\n";
    for (host, origin, welcome) in [
        ("localhost:9482", "http://localhost:9482", true),
        ("localhost:9482", "http://127.0.0.1:3000", true),
        ("127.0.0.1:9482", "https://localhost", true),
        ("[::1]:9482", "http://localhost:3000", true),
        ("localhost:9482", "https://app.example", true),
        ("localhost:9482", "http://app.example", false),
        ("localhost:9482", "https://evil.example", false),
        ("localhost:9482", "http://localhost.evil.example", false),
        ("localhost:9482", "null", false),
        ("localhost:9482", "file://", false),
        ("hub.example", "http://hub.example", true),
        ("hub.example", "https://hub.example", false),
        ("hub.example", "http://hub.example:81", false),
        ("hub.example", "http://localhost", false),
        ("192.168.1.5", "http://192.168.1.5", true),
        ("192.168.1.5", "http://192.168.1.6", false),
    ] {
        for (line, fields, expected) in [
            ("GET /debug/echo", upgrade, 101),
            ("POST /v1/publish/news", "Content-Length: 0\n", 200),
            ("GET /service", "", 404),
            ("GET /v1/status", "", 200),
        ] {
            let request = format!("{line} HTTP/1.1\nHost: {host}\nOrigin: {origin}\n{fields}\n");
            let expected = if welcome { expected } else { 403 };
            assert_eq!(status(&node, &request).await, expected, "{request}");
        }
    }
    let twice = "GET / HTTP/1.1\nHost: localhost\nOrigin: http://localhost\nOrigin: http://evil.example\n\n";
    assert_eq!(status(&node, twice).await, 403);
}

#[tokio::test]
async fn requests_that_a_page_makes_without_origin_are_turned_away_on_the_own_machine() {
    let node = node().await;
    for (host, site, expected) in [
        ("localhost", "cross-site", 403),
        ("127.0.0.1", "cross-site", 403),
        ("localhost", "same-site", 404),
        ("localhost", "same-origin", 404),
        ("localhost", "none", 404),
        ("hub.example", "cross-site", 404),
    ] {
        let request = format!("GET /service HTTP/1.1\nHost: {host}\nSec-Fetch-Site: {site}\n\n");
        assert_eq!(status(&node, &request).await, expected, "{request}");
    }
}

#[tokio::test]
async fn a_link_may_lead_to_the_hubs_page_but_not_to_a_service() {
    let node = node().await;
    let link = "Sec-Fetch-Site: cross-site\nSec-Fetch-Mode: navigate\nSec-Fetch-Dest";
    for (path, dest, expected) in [
        ("/", "document", 200),
        ("/dashboard", "document", 200),
        ("/", "iframe", 403),
        ("/service", "document", 403),
    ] {
        let request = format!("GET {path} HTTP/1.1\nHost: localhost\n{link}: {dest}\n\n");
        assert_eq!(status(&node, &request).await, expected, "{path} {dest}");
    }
}

#[tokio::test]
async fn cross_origin_answers_follow_the_same_list() {
    let node = node().await;
    let mut browser = Browser::visit(&node).await;
    let asked = "OPTIONS /service\nOrigin: https://app.example\nAccess-Control-Request-Method: PATCH\n\
                 Access-Control-Request-Headers: x-a, authorization\nAccess-Control-Request-Private-Network: true";
    let answer = browser.ask(asked, b"").await;
    assert_eq!(answer.status, 204);
    for (name, value) in [
        ("access-control-allow-origin", "https://app.example"),
        ("access-control-allow-headers", "x-a, authorization"),
        ("access-control-allow-private-network", "true"),
        ("vary", "origin"),
    ] {
        assert!(answer.is(name, value), "{name}: {answer:?}");
    }
    assert!(answer.header("access-control-allow-methods").unwrap().contains("PATCH"));
    let answer = browser.ask("GET /nope\nOrigin: https://app.example", b"").await;
    assert!(answer.status == 404 && answer.is("access-control-allow-origin", "https://app.example"));
    let answer = browser.ask(&asked.replace("app.", "evil."), b"").await;
    assert!(answer.status == 403 && answer.header("access-control-allow-origin").is_none());
    let answer = browser.ask("GET /nope", b"").await;
    assert!(answer.header("access-control-allow-origin").is_none());
}
