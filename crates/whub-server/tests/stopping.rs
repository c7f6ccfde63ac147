//! A node that stops: nobody new, everybody told, calls finished, then the end.

#![allow(clippy::unwrap_used)] // A failed unwrap is a failed test.

mod common;

use std::time::Duration;

use common::{Node, SOON};
use tokio::net::TcpStream;
use whub_proto::{Body, Code, Flags, Kind, Request, Response};

#[tokio::test]
async fn calls_in_flight_are_finished_before_the_node_ends() {
    let mut node = Node::start().await;
    let (mut caller, mut provider) = (node.client().await, node.client().await);
    provider.register(1, "/slow").await;
    let request = Body::Request(Request { path: "/slow", ..Request::default() });
    caller.send(1, Flags::END, &request, b"").await;
    let asked = provider.hear().await;
    node.stop();
    assert_eq!(caller.hear().await.kind, Kind::Drain);
    assert_eq!(provider.hear().await.kind, Kind::Drain);
    assert!(TcpStream::connect(node.authority()).await.is_err(), "nobody new");
    provider.send(asked.id, Flags::END, &Body::Response(Response::default()), b"done").await;
    assert_eq!(caller.hear().await.payload, b"done");
    for client in [&mut caller, &mut provider] {
        let heard = client.hear().await;
        let Body::Error(error) = heard.frame().body else { panic!("{heard:?}") };
        assert_eq!((error.code, error.retry_ms), (Code::Draining, 1));
        assert!(client.try_hear().await.is_none());
    }
    tokio::time::timeout(SOON, node.running).await.unwrap().unwrap();
}

#[tokio::test]
async fn a_call_that_does_not_end_is_cut_off_when_the_time_is_over() {
    let mut node = Node::with(|config| config.limits.drain = Duration::from_millis(200)).await;
    let (mut caller, mut provider) = (node.client().await, node.client().await);
    provider.register(1, "/slow").await;
    let request = Body::Request(Request { path: "/slow", ..Request::default() });
    caller.send(1, Flags::END, &request, b"").await;
    provider.hear().await;
    node.stop();
    let mut kinds = Vec::new();
    while let Some(heard) = caller.try_hear().await {
        kinds.push(heard.kind);
    }
    assert_eq!(kinds.first(), Some(&Kind::Drain));
    assert_eq!(kinds.last(), Some(&Kind::Error));
    tokio::time::timeout(SOON, node.running).await.unwrap().unwrap();
}

#[tokio::test]
async fn an_idle_node_ends_at_once() {
    let mut node = Node::start().await;
    node.stop();
    tokio::time::timeout(SOON, node.running).await.unwrap().unwrap();
}
