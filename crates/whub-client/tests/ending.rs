//! Drain, close, and letting go.

mod common;

use std::time::Duration;

use common::{open, within};
use whub_client::{ErrorKind, Reply, Request, ServiceError};
use whub_proto::{Body, Flags, Kind, Request as WireRequest, Via};

#[tokio::test(start_paused = true)]
async fn drain_lets_handlers_finish() {
    let (_hub, mut connection, client) = open().await;
    let slow = |_: Request| async {
        tokio::time::sleep(Duration::from_secs(3)).await;
        Ok::<_, ServiceError>(Reply::text("done"))
    };
    let providing = tokio::spawn(client.provide("/slow", slow).into_future());
    let id = connection.hear(Kind::Register).await.id();
    connection.agree(id).await;
    let _service = within(providing).await.unwrap().unwrap();
    let request = WireRequest { path: "/slow", ..WireRequest::default() };
    let via = Via { path: "/slow", ..Via::default() };
    connection.say_with(2, Flags::END, Some(&via), &Body::Request(request), b"").await;

    let draining = tokio::spawn({
        let client = client.clone();
        async move { client.drain().await }
    });
    connection.hear(Kind::Drain).await;
    assert_eq!(client.call("/other").await.unwrap_err().kind(), ErrorKind::Closed);
    assert_eq!(connection.hear(Kind::Response).await.payload(), b"done");
    assert!(connection.hear_any().await.is_none());
    drop(connection);
    within(draining).await.unwrap().unwrap();
    assert!(client.state().is_closed());
    within(client.drain()).await.unwrap();
    within(client.close()).await.unwrap();
}

#[tokio::test(start_paused = true)]
async fn drain_does_not_wait_for_ever() {
    let (_hub, mut connection, client) = open().await;
    let calling = tokio::spawn(client.call("/slow").timeout(Duration::from_secs(100)).into_future());
    connection.hear(Kind::Request).await;
    let draining = tokio::spawn(async move { client.drain_within(Duration::from_secs(2)).await });
    connection.hear(Kind::Drain).await;
    assert!(connection.hear_any().await.is_none());
    drop(connection);
    assert_eq!(within(draining).await.unwrap().unwrap_err().kind(), ErrorKind::Timeout);
    assert_eq!(within(calling).await.unwrap().unwrap_err().kind(), ErrorKind::Closed);
}

#[tokio::test(start_paused = true)]
async fn close_writes_what_is_queued_and_fails_the_rest() {
    let (_hub, mut connection, client) = open().await;
    let calling = tokio::spawn(client.call("/slow").into_future());
    connection.hear(Kind::Request).await;
    let publishing = tokio::spawn(client.publish("log").text("last words").into_future());
    tokio::task::yield_now().await;
    let closing = tokio::spawn(async move { client.close().await });
    assert_eq!(connection.hear(Kind::Publish).await.payload(), b"last words");
    assert!(connection.hear_any().await.is_none());
    drop(connection);
    within(closing).await.unwrap().unwrap();
    within(publishing).await.unwrap().unwrap();
    assert_eq!(within(calling).await.unwrap().unwrap_err().kind(), ErrorKind::Closed);
}

#[tokio::test(start_paused = true)]
async fn the_connection_ends_with_its_last_handle() {
    let (_hub, mut connection, client) = open().await;
    let subscribing = tokio::spawn(client.subscribe("a").into_future());
    let id = connection.hear(Kind::Subscribe).await.id();
    connection.agree(id).await;
    let subscription = within(subscribing).await.unwrap().unwrap();
    drop(client);
    assert!(tokio::time::timeout(Duration::from_secs(5), connection.hear_any()).await.is_err());
    drop(subscription);
    connection.hear(Kind::Unsubscribe).await;
    assert!(connection.hear_any().await.is_none());
}
