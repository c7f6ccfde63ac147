//! Requests whose provider is busy, or lost.

use whub_proto::{Body, Flags, Kind, Register, Request, Response};

use crate::browser::Browser;
use crate::calls::providing;
use crate::common::{Client, Heard, Node};

async fn answer(provider: &mut Client, asked: &Heard) {
    provider.send(asked.id, Flags::END, &Body::Response(Response::default()), b"done").await;
}

/// Loses the provider that has the request; what the other one hears.
async fn lose(mut one: Client, mut two: Client) -> (Client, Heard) {
    let (had, asked) = tokio::select! {
        heard = one.hear() => (true, heard),
        heard = two.hear() => (false, heard),
    };
    assert_eq!(asked.kind, Kind::Request);
    let mut left = if had {
        drop(one);
        two
    } else {
        drop(two);
        one
    };
    let again = left.hear().await;
    (left, again)
}

#[tokio::test]
async fn a_get_whose_provider_is_lost_is_answered_by_another() {
    let (node, one) = providing("/x").await;
    let mut two = node.client().await;
    two.register(1, "/x").await;
    let mut browser = Browser::visit(&node).await;
    let answering = async {
        let (mut left, asked) = lose(one, two).await;
        answer(&mut left, &asked).await;
        left
    };
    let (answer, _left) = tokio::join!(browser.ask("GET /x", b""), answering);
    assert_eq!((answer.status, answer.text(), answer.header("whub-moved")), (200, "done", Some("1")));
}

#[tokio::test]
async fn a_post_is_moved_when_it_says_that_it_may_be() {
    let (node, one) = providing("/x").await;
    let mut two = node.client().await;
    two.register(1, "/x").await;
    let mut browser = Browser::visit(&node).await;
    let answering = async {
        let (mut left, asked) = lose(one, two).await;
        let Body::Request(Request { idempotency, .. }) = asked.frame().body else { panic!("{asked:?}") };
        assert_eq!((idempotency, &asked.payload[..]), ("k-1", &b"body"[..]));
        answer(&mut left, &asked).await;
        left
    };
    let asking = browser.ask("POST /x\nIdempotency-Key: k-1", b"body");
    let (answer, _left) = tokio::join!(asking, answering);
    assert_eq!((answer.status, answer.header("whub-moved")), (200, Some("1")));
}

#[tokio::test]
async fn a_post_that_may_have_been_carried_out_is_not_made_again() {
    let (node, mut one) = providing("/x").await;
    let mut browser = Browser::visit(&node).await;
    let losing = async move {
        one.hear().await;
        drop(one);
    };
    let (answer, ()) = tokio::join!(browser.ask("POST /x", b"body"), losing);
    assert_eq!((answer.status, &answer.json()["slug"]), (502, &"service.provider_lost".into()));
    assert_eq!(answer.header("whub-moved"), None);
}

/// A node whose one provider takes one call at a time, and has it.
async fn busy() -> (Node, Client, Browser, Heard) {
    let node =
        Node::with(|config| config.service_defaults.queue_wait = std::time::Duration::from_secs(30)).await;
    let mut provider = node.client().await;
    provider.say(1, &Body::Register(Register { path: "/x", max_inflight: 1, ..Register::default() })).await;
    assert_eq!(provider.hear().await.kind, Kind::Ok);
    let mut first = Browser::visit(&node).await;
    first.write("GET /x HTTP/1.1\r\nHost: localhost\r\n\r\n").await;
    let asked = provider.hear().await;
    (node, provider, first, asked)
}

async fn until_one_waits(node: &Node) {
    node.until(|hub| hub.services.list().iter().any(|service| service.waiting() > 0)).await;
}

#[tokio::test]
async fn a_request_waits_for_a_place_and_its_body_with_it() {
    let (node, mut provider, mut first, asked) = busy().await;
    let mut second = Browser::visit(&node).await;
    second
        .write(
            "POST /x HTTP/1.1\r\nHost: localhost\r\nTransfer-Encoding: chunked\r\n\r\n4\r\nbody\r\n0\r\n\r\n",
        )
        .await;
    until_one_waits(&node).await;
    answer(&mut provider, &asked).await;
    assert_eq!(first.answer().await.status, 200);
    let asked = provider.hear().await;
    assert_eq!((asked.kind, asked.flags.contains(Flags::END)), (Kind::Request, false));
    let mut body = Vec::new();
    loop {
        let heard = provider.hear().await;
        assert_eq!((heard.kind, heard.id), (Kind::Data, asked.id));
        body.extend_from_slice(&heard.payload);
        if heard.flags.contains(Flags::END) {
            break;
        }
    }
    assert_eq!(body, b"body");
    answer(&mut provider, &asked).await;
    assert_eq!(second.answer().await.text(), "done");
}

#[tokio::test]
async fn a_visitor_who_leaves_waits_no_more() {
    let (node, mut provider, mut first, asked) = busy().await;
    let mut second = Browser::visit(&node).await;
    second.write("GET /x HTTP/1.1\r\nHost: localhost\r\n\r\n").await;
    until_one_waits(&node).await;
    drop(second);
    node.until(|hub| hub.services.list().iter().all(|service| service.waiting() == 0)).await;
    answer(&mut provider, &asked).await;
    assert_eq!(first.answer().await.status, 200);
    node.until(|hub| hub.counters.calls_cancelled.read() == 1).await;
}

#[tokio::test]
async fn those_who_wait_are_told_when_the_provider_goes() {
    let (node, provider, mut first, _) = busy().await;
    let mut second = Browser::visit(&node).await;
    second.write("POST /x HTTP/1.1\r\nHost: localhost\r\nContent-Length: 0\r\n\r\n").await;
    until_one_waits(&node).await;
    drop(provider);
    assert_eq!((first.answer().await.status, second.answer().await.status), (502, 503));
}
