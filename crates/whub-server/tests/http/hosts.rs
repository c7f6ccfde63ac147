//! Services with a host of their own.

use whub_proto::{Body, Flags, Kind, Register, Response};

use crate::browser::Browser;
use crate::common::{Client, Node};

/// A request by its raw text, and the status of the answer.
async fn status(node: &Node, text: &str) -> u16 {
    let mut browser = Browser::visit(node).await;
    browser.write(text).await;
    browser.answer().await.status
}

async fn get(node: &Node, host: &str, path: &str, fields: &str) -> u16 {
    status(node, &format!("GET {path} HTTP/1.1\r\nHost: {host}\r\n{fields}\r\n")).await
}

/// Answers 299 for ever, and says which paths it was asked for.
fn answering(mut provider: Client) -> tokio::sync::mpsc::UnboundedReceiver<String> {
    let (asked, paths) = tokio::sync::mpsc::unbounded_channel();
    tokio::spawn(async move {
        loop {
            let heard = provider.hear().await;
            if heard.kind != Kind::Request {
                continue;
            }
            let frame = heard.frame();
            let Body::Request(request) = frame.body else { panic!("a request") };
            let _ = asked.send(format!("{} {}", frame.via.unwrap_or_default().path, request.path));
            let answer = Body::Response(Response { status: 299, ..Response::default() });
            provider.send(heard.id, Flags::END, &answer, b"").await;
        }
    });
    paths
}

#[tokio::test]
async fn behind_its_host_every_path_is_the_services() {
    let node = Node::start().await;
    let mut provider = node.client().await;
    provider.register(1, "//app.example.com/*rest").await;
    let mut paths = answering(provider);
    for (host, path) in [
        ("app.example.com", "/"),
        ("App.Example.com:9482", "/healthz"),
        ("app.example.com.", "/v1/status"),
        ("app.example.com", "/ws"),
        ("app.example.com", "/metrics"),
        ("app.example.com", "/.well-known/x"),
        ("app.example.com", "//a//b/"),
        ("app.example.com", "/a%2Fb"),
    ] {
        assert_eq!(get(&node, host, path, "").await, 299, "{host} {path}");
        assert_eq!(paths.recv().await.unwrap(), format!("//app.example.com/*rest {path}"));
    }
    assert_eq!(get(&node, "app.example.com", "/a/../b", "").await, 400);
    // The hub is the hub under its own names, and cannot be asked for the host by a path.
    assert_eq!(get(&node, "localhost", "/healthz", "").await, 200);
    assert_eq!(get(&node, "127.0.0.1", "//app.example.com/x", "").await, 404);
    assert_eq!(get(&node, "127.0.0.1", "/v1/call//app.example.com/x", "").await, 404);
    assert_eq!(get(&node, "127.0.0.1", "/app.example.com/x", "").await, 404);
}

#[tokio::test]
async fn a_host_that_nobody_provides_is_not_welcome() {
    let node = Node::start().await;
    assert_eq!(get(&node, "app.example.com", "/", "").await, 421);
    let mut provider = node.client().await;
    provider.register(1, "//app.example.com/api/*rest").await;
    assert_eq!(get(&node, "app.example.com", "/other", "").await, 404);
    assert_eq!(get(&node, "other.example.com", "/", "").await, 421);
    assert_eq!(get(&node, "api", "/", "").await, 421);
    drop(provider);
    node.until(|hub| !hub.services.has_host("app.example.com")).await;
    assert_eq!(get(&node, "app.example.com", "/api/x", "").await, 421);
}

#[tokio::test]
async fn pages_of_the_host_may_use_it_and_pages_of_elsewhere_may_not() {
    let node = Node::start().await;
    let mut provider = node.client().await;
    provider.register(1, "//app.localhost/*rest").await;
    let _paths = answering(provider);
    let own = "Origin: http://app.localhost:9482\r\n";
    assert_eq!(get(&node, "app.localhost:9482", "/x", own).await, 299);
    assert_eq!(get(&node, "app.localhost:9482", "/x", "Origin: http://evil.example\r\n").await, 403);
    assert_eq!(get(&node, "app.localhost:9482", "/x", "Origin: http://other.localhost:9482\r\n").await, 403);
    let link = "Sec-Fetch-Site: cross-site\r\nSec-Fetch-Mode: navigate\r\nSec-Fetch-Dest: document\r\n";
    assert_eq!(get(&node, "app.localhost:9482", "/x", link).await, 299);
    // Nor may its pages use the hub.
    assert_eq!(get(&node, "127.0.0.1:9482", "/v1/status", own).await, 403);
}

#[tokio::test]
async fn the_hubs_own_names_are_no_services() {
    let node =
        Node::with(|config| config.http.allowed_hosts = vec!["hub.example.com".into(), "*".into()]).await;
    let mut provider = node.client().await;
    provider.register(1, "//hub.example.com/*rest").await;
    provider.register(3, "//app.example.com/*rest").await;
    let _paths = answering(provider);
    assert_eq!(get(&node, "hub.example.com", "/healthz", "").await, 200);
    assert_eq!(get(&node, "app.example.com", "/healthz", "").await, 299);
    assert_eq!(get(&node, "elsewhere.example.com", "/healthz", "").await, 200);
    let mut provider = node.client().await;
    for path in ["//:host/*rest", "//localhost/*rest", "//127.0.0.1/*rest"] {
        provider.say(1, &Body::Register(Register { path, ..Register::default() })).await;
        assert_eq!(provider.hear().await.kind, Kind::Error, "{path}");
    }
}
