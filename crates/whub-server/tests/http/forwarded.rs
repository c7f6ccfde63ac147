//! What providers learn of a request's way: written by the hub, believed only of proxies that are configured.

use whub_proto::{Body, Flags, Response};

use crate::browser::Browser;
use crate::common::{Client, Node};

/// The provider's view of one request.
async fn seen(node: &Node, provider: &mut Client, fields: &str) -> (Vec<(String, String)>, String, String) {
    let mut browser = Browser::visit(node).await;
    let head = format!("GET /s\n{fields}");
    let asking = browser.ask(&head, b"");
    let answering = async {
        let asked = provider.hear().await;
        let frame = asked.frame();
        let Body::Request(request) = frame.body else { panic!("{asked:?}") };
        let headers = request.headers.iter().map(|(name, value)| (name.to_owned(), value.to_owned()));
        let seen =
            (headers.collect::<Vec<_>>(), request.scheme.to_owned(), frame.via.unwrap().peer.to_owned());
        provider.send(asked.id, Flags::END, &Body::Response(Response::default()), b"").await;
        seen
    };
    let (answer, seen) = tokio::join!(asking, answering);
    assert_eq!(answer.status, 200, "{answer:?}");
    seen
}

fn values<'a>(headers: &'a [(String, String)], name: &str) -> Vec<&'a str> {
    headers.iter().filter(|(known, _)| known == name).map(|(_, value)| value.as_str()).collect()
}

const CLAIMS: &str = "X-Forwarded-For: 203.0.113.9\nX-Forwarded-Proto: https\nX-Forwarded-Host: shop.example\n\
                      Forwarded: for=203.0.113.9\nX-Real-Ip: 203.0.113.9\nX-Forwarded-Prefix: /shop";

#[tokio::test]
async fn a_client_cannot_say_that_it_is_someone_else() {
    let node = Node::start().await;
    let mut provider = node.client().await;
    provider.register(1, "/s").await;
    let (headers, scheme, peer) = seen(&node, &mut provider, CLAIMS).await;
    assert_eq!(values(&headers, "forwarded"), ["for=127.0.0.1;host=localhost;proto=http"]);
    assert_eq!(values(&headers, "x-forwarded-for"), ["127.0.0.1"]);
    assert_eq!(values(&headers, "x-forwarded-host"), ["localhost"]);
    assert_eq!(values(&headers, "x-forwarded-port"), ["80"]);
    assert_eq!(values(&headers, "x-forwarded-proto"), ["http"]);
    assert!(values(&headers, "x-real-ip").is_empty() && values(&headers, "x-forwarded-prefix").is_empty());
    assert!(scheme == "http" && peer.starts_with("127.0.0.1:"), "{scheme} {peer}");
}

#[tokio::test]
async fn a_configured_proxy_is_believed_and_added_to() {
    let proxies = whub_transport::Networks(vec!["127.0.0.0/8".parse().unwrap()]);
    let node = Node::with(|config| config.http.trusted_proxies = proxies).await;
    let mut provider = node.client().await;
    provider.register(1, "/s").await;
    let (headers, scheme, peer) = seen(&node, &mut provider, CLAIMS).await;
    let forwarded = "for=203.0.113.9, for=127.0.0.1;host=localhost;proto=http";
    assert_eq!(values(&headers, "forwarded"), [forwarded]);
    assert_eq!(values(&headers, "x-forwarded-for"), ["203.0.113.9, 127.0.0.1"]);
    assert_eq!(values(&headers, "x-forwarded-host"), ["shop.example"]);
    assert_eq!(values(&headers, "x-forwarded-port"), ["443"]);
    assert_eq!(values(&headers, "x-real-ip"), ["203.0.113.9"]);
    assert_eq!((&*scheme, &*peer), ("https", "203.0.113.9"));
}

#[tokio::test]
async fn a_trace_goes_through() {
    let node = Node::start().await;
    let mut provider = node.client().await;
    provider.register(1, "/s").await;
    let told = "Traceparent: 00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-00\nTracestate: a=1\nTracestate: b=2";
    let (headers, ..) = seen(&node, &mut provider, told).await;
    let [parent] = values(&headers, "traceparent")[..] else { panic!("{headers:?}") };
    assert!(
        parent.starts_with("00-4bf92f3577b34da6a3ce929d0e0e4736-") && parent.ends_with("-00"),
        "{parent}"
    );
    assert!(!parent.contains("00f067aa0ba902b7"));
    assert_eq!(values(&headers, "tracestate"), ["a=1", "b=2"]);
    let (headers, ..) = seen(&node, &mut provider, "Traceparent: 00-nonsense\nTracestate: a=1").await;
    assert_eq!(values(&headers, "traceparent")[0].len(), 55);
    assert!(values(&headers, "tracestate").is_empty());
}

#[tokio::test]
async fn what_the_hub_adds_refuses_no_legal_request() {
    let node = Node::start().await;
    let mut provider = node.client().await;
    provider.register(1, "/s").await;
    // With `Host` that makes 64, the limit.
    let fields: Vec<_> = (0..63).map(|number| format!("X-{number}: {number}")).collect();
    let (headers, ..) = seen(&node, &mut provider, &fields.join("\n")).await;
    assert_eq!(headers.iter().filter(|(name, value)| *name == format!("x-{value}")).count(), 63);
    assert!(headers.len() > 64);
}
