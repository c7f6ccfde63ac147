//! Publishing by POST, subscribing by server-sent events.

use std::time::Duration;

use whub_proto::{Body, Format, Kind};

use crate::browser::Browser;
use crate::common::{Node, SOON};

/// A subscriber whose head and first line have come.
async fn listen(node: &Node, path: &str) -> Browser {
    let mut browser = Browser::visit(node).await;
    browser.write(format!("GET {path} HTTP/1.1\r\nHost: localhost\r\n\r\n")).await;
    let head = browser.head().await;
    assert!(head.status == 200 && head.is("content-type", "text/event-stream"), "{head:?}");
    assert_eq!(browser.chunk().await.unwrap(), b"retry: 2000\n\n");
    browser
}

async fn event(browser: &mut Browser) -> String {
    String::from_utf8(browser.chunk().await.expect("an event")).unwrap()
}

#[tokio::test]
async fn a_message_reaches_subscribers_of_both_kinds() {
    let node = Node::start().await;
    let mut client = node.client().await;
    client.subscribe(1, "news/+").await;
    let mut events = listen(&node, "/v1/subscribe/news/%23").await;
    let mut plain = listen(&node, "/v1/subscribe/news/+?as=data").await;
    let mut browser = Browser::visit(&node).await;
    let answer =
        browser.ask("POST /v1/publish/news/a%20b\nContent-Type: application/json", br#"{"n": 1}"#).await;
    assert_eq!((answer.status, answer.json()["count"].as_u64()), (200, Some(3)));

    let heard = client.hear().await;
    let frame = heard.frame();
    let Body::Message(message) = frame.body else { panic!("{heard:?}") };
    assert_eq!((heard.kind, message.channel, message.format), (Kind::Message, "news/a b", Format::Json));
    assert_eq!(heard.payload, br#"{"n": 1}"#);

    let text = event(&mut events).await;
    let data = text.strip_prefix("event: message\ndata: ").unwrap();
    let mirror: serde_json::Value = serde_json::from_str(data).unwrap();
    assert_eq!((&mirror["channel"], &mirror["data"]["n"]), (&"news/a b".into(), &1.into()));
    assert_eq!(event(&mut plain).await, "event: message\ndata: {\"n\": 1}\n\n");

    browser.ask("PUT /v1/publish/news/x", b"two\nlines").await;
    assert_eq!(event(&mut plain).await, "event: message\ndata: two\ndata: lines\n\n");
    browser.ask("PUT /v1/publish/news/x", b"\xff").await;
    assert_eq!(event(&mut plain).await, "event: base64\ndata: /w==\n\n");
}

#[tokio::test]
async fn names_and_sizes_are_checked() {
    let node = Node::with(|config| config.limits.body_bytes = Some(1000)).await;
    let mut browser = Browser::visit(&node).await;
    for (head, body, status) in [
        ("POST /v1/publish/a/+", vec![], 400),
        ("POST /v1/publish/", vec![], 400),
        ("POST /v1/publish//a", vec![], 400),
        ("POST /v1/publish/%ff", vec![], 400),
        ("POST /v1/publish/a", vec![b'x'; 1000], 200),
        ("GET /v1/subscribe/a/%23/b", vec![], 400),
        ("GET /v1/subscribe/a?as=xml", vec![], 400),
    ] {
        let answer = browser.ask(head, &body).await;
        assert_eq!(answer.status, status, "{head}: {answer:?}");
    }
    assert_eq!(browser.ask("POST /v1/publish/a", &[b'x'; 1001]).await.status, 413);
}

#[tokio::test]
async fn a_subscriber_that_reads_nothing_loses_messages_but_none_uncounted() {
    const BUDGET: usize = 64 * 1024;
    let node = Node::with(|config| config.limits.mailbox_bytes = BUDGET).await;
    let mut events = listen(&node, "/v1/subscribe/c?as=data").await;
    let mut browser = Browser::visit(&node).await;
    let message = vec![b'm'; 32 * 1024];
    let mut published = 0_u64;
    while node.hub.counters.deliveries_dropped_slow.read() < 10 {
        assert_eq!(browser.ask("POST /v1/publish/c", &message).await.status, 200);
        published += 1;
        assert!(published < 20_000, "a bounded queue fills");
    }
    let mut seen = 0;
    let mut missed = 0;
    while seen + missed < published {
        let text = event(&mut events).await;
        seen += text.matches("event: message\n").count() as u64;
        for gap in text.split("event: gap\ndata: ").skip(1) {
            let gap: serde_json::Value = serde_json::from_str(gap.split('\n').next().unwrap()).unwrap();
            missed += gap["count"].as_u64().unwrap();
        }
    }
    assert_eq!(missed, node.hub.counters.deliveries_dropped_slow.read());
    drop(events);
    node.until(|hub| hub.channels.filters() == 0).await;
    let counters = &node.hub.counters;
    let fates = counters.deliveries_delivered.read()
        + counters.deliveries_dropped_slow.read()
        + counters.deliveries_dropped_gone.read();
    assert_eq!(counters.deliveries_accepted.read(), fates);
}

#[tokio::test]
async fn events_end_when_the_node_stops_and_say_when_to_come_back() {
    let mut node = Node::start().await;
    let mut events = listen(&node, "/v1/subscribe/c").await;
    node.stop();
    let text = event(&mut events).await;
    assert!(text.starts_with("retry: ") && text.contains("event: drain\n"), "{text}");
    assert!(events.chunk().await.is_none(), "a whole body");
    tokio::time::timeout(SOON, node.running).await.unwrap().unwrap();
}

#[tokio::test]
async fn a_subscriber_whose_rights_are_gone_is_told_and_let_go() {
    let node = Node::start().await;
    let mut events = listen(&node, "/v1/subscribe/c").await;
    let mut config = whub_server::config::Config::default();
    config.auth.anonymous = Some(whub_core::Grants::none());
    node.handle.reload(config);
    let text = event(&mut events).await;
    assert!(text.starts_with("event: error\n") && text.contains("401"), "{text}");
    assert!(events.chunk().await.is_none());
    node.until(|hub| hub.channels.filters() == 0).await;
}

#[tokio::test]
async fn a_subscriber_that_is_quiet_hears_heartbeats_and_a_dead_one_is_let_go() {
    // Long enough for a busy machine to say something in time.
    let ping = Duration::from_secs(2);
    let node = Node::with(|config| {
        config.limits.ping = ping;
        config.limits.first_request = 2 * ping;
    })
    .await;
    let mut events = listen(&node, "/v1/subscribe/quiet").await;
    for _ in 0..2 {
        assert_eq!(event(&mut events).await, ":\n\n");
    }
    let deaf = listen(&node, "/v1/subscribe/loud").await;
    let message = vec![b'm'; 256 * 1024];
    while node.hub.counters.dead_peers.read() == 0 {
        Browser::visit(&node).await.ask("POST /v1/publish/loud", &message).await;
    }
    node.until(|hub| hub.channels.filters() == 1).await;
    drop(deaf);
    assert_eq!(event(&mut events).await, ":\n\n", "the others live on");
}
