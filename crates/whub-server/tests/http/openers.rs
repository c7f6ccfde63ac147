//! Connections that keep the hub waiting.

use std::time::Duration;

use tokio::time::Instant;

use crate::browser::Browser;
use crate::common::Node;

#[tokio::test]
async fn who_does_not_come_to_a_request_in_time_is_gone() {
    const PATIENCE: Duration = Duration::from_millis(300);
    let node = Node::with(|config| config.limits.first_request = PATIENCE).await;
    let preface = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n";
    let settings = [&preface[..], &[0, 0, 0, 4, 0, 0, 0, 0, 0]].concat();
    for opening in [
        &b""[..],
        b"G",
        b"GET / HT",
        b"GET / HTTP/1.1\r\nHost: localhost\r\nX-A: ",
        b"\r\n",
        &preface[..5],
        preface,
        &settings,
    ] {
        let began = Instant::now();
        let mut browser = Browser::visit(&node).await;
        browser.write(opening).await;
        browser.until_the_end().await;
        assert!(began.elapsed() >= PATIENCE, "{opening:?} took {:?}", began.elapsed());
    }
}

#[tokio::test]
async fn an_idle_connection_is_closed_but_one_that_waits_for_its_answer_is_not() {
    // Long enough for a busy machine to say its first words in time.
    const PATIENCE: Duration = Duration::from_secs(2);
    let node = Node::with(|config| config.limits.first_request = PATIENCE).await;
    let mut provider = node.client().await;
    provider.register(1, "/slow").await;
    let mut browser = Browser::visit(&node).await;
    let answering = async {
        let asked = provider.hear().await;
        // A connection that waited for nothing would be closed after twice its patience.
        tokio::time::sleep(PATIENCE * 3).await;
        let response = whub_proto::Body::Response(whub_proto::Response::default());
        provider.send(asked.id, whub_proto::Flags::END, &response, b"at last").await;
    };
    let (answer, ()) = tokio::join!(browser.ask("GET /slow", b""), answering);
    assert_eq!(answer.text(), "at last");
    assert!(browser.until_the_end().await.is_empty());
}
