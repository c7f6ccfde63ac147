//! What happens when connections are lost, refused, silent or being left.

#![allow(clippy::unwrap_used, reason = "the helpers are a part of the tests")]

mod common;

use std::sync::atomic::{AtomicU32, Ordering::SeqCst};
use std::time::Duration;

use common::{FakeConnection, fake_hub, open, open_with, within};
use tokio::time::Instant;
use whub_client::{Code, ErrorKind, Event, ServiceError, State};
use whub_proto::{Body, Drain, Failure, Flags, Kind, Response, Success, Welcome};

#[tokio::test(start_paused = true)]
async fn the_first_failure_is_told_unless_it_is_to_be_retried() {
    let (hub, options) = fake_hub();
    hub.refuse.store(true, SeqCst);
    assert_eq!(options.await.unwrap_err().kind(), ErrorKind::ConnectionLost);

    let (mut hub, options) = fake_hub();
    hub.refuse.store(true, SeqCst);
    let client = tokio::spawn(options.retry_initial(true).into_future());
    tokio::time::sleep(Duration::from_secs(30)).await;
    hub.refuse.store(false, SeqCst);
    hub.accept().await.welcome().await;
    assert!(within(client).await.unwrap().is_ok());
}

#[tokio::test(start_paused = true)]
async fn everything_wanted_is_told_to_the_next_connection() {
    let (mut hub, options) = fake_hub();
    let (mut connection, client) = open_with(&mut hub, options).await;
    let mut events = client.events();
    let providing =
        tokio::spawn(client.provide("/a", |_| async { Ok::<_, ServiceError>("a") }).into_future());
    let id = connection.hear(Kind::Register).await.id();
    connection.agree(id).await;
    let _service = within(providing).await.unwrap().unwrap();
    let subscribing = tokio::spawn(client.subscribe("news/+").into_future());
    let id = connection.hear(Kind::Subscribe).await.id();
    connection.agree(id).await;
    let subscription = within(subscribing).await.unwrap().unwrap();

    drop(connection);
    let begun = Instant::now();
    let mut connection = hub.accept().await;
    assert!(begun.elapsed() <= Duration::from_millis(501), "the first pause is below half a second");
    connection.welcome().await;
    let id = connection.hear(Kind::Register).await.id();
    connection.agree(id).await;
    let id = connection.hear(Kind::Subscribe).await.id();
    connection.say(id, &Body::Ok(Success { recovered: true, ..Success::default() })).await;
    assert!(matches!(within(events.next()).await, Some(Event::Reconnecting { attempt: 1, .. })));
    assert!(matches!(within(events.next()).await, Some(Event::Open { .. })));
    let event = within(events.next()).await;
    assert!(matches!(event, Some(Event::Resubscribed { recovered: true, .. })), "{event:?}");
    assert!(subscription.recovered());
}

#[tokio::test(start_paused = true)]
async fn calls_in_flight_fail_and_safe_ones_are_sent_again() {
    let (mut hub, options) = fake_hub();
    let (mut connection, client) = open_with(&mut hub, options).await;
    let plain = tokio::spawn(client.call("/pay").into_future());
    connection.hear(Kind::Request).await;
    let safe = tokio::spawn(client.call("/look").idempotency("k1").into_future());
    connection.hear(Kind::Request).await;
    drop(connection);
    let error = within(plain).await.unwrap().unwrap_err();
    assert_eq!((error.kind(), error.retryable()), (ErrorKind::ConnectionLost, true));

    let mut connection = hub.accept().await;
    connection.welcome().await;
    let heard = connection.hear(Kind::Request).await;
    let Body::Request(request) = heard.frame().body else { unreachable!() };
    assert_eq!((request.path, request.idempotency), ("/look", "k1"));
    connection.say_with(heard.id(), Flags::END, None, &Body::Response(Response::default()), b"seen").await;
    assert_eq!(within(safe).await.unwrap().unwrap().text().await.unwrap(), "seen");
}

#[tokio::test(start_paused = true)]
async fn what_is_said_without_a_connection_waits_up_to_a_bound() {
    let (mut hub, options) = fake_hub();
    let (connection, client) = open_with(&mut hub, options).await;
    hub.refuse.store(true, SeqCst);
    drop(connection);
    while !matches!(client.state(), State::Reconnecting) {
        tokio::task::yield_now().await;
    }
    for number in 0..1000_u32 {
        within(client.publish("log").text(number.to_string()).into_future()).await.unwrap();
    }
    let error = within(client.publish("log").text("one more").into_future()).await.unwrap_err();
    assert_eq!((error.kind(), error.retryable()), (ErrorKind::BufferFull, true));

    hub.refuse.store(false, SeqCst);
    let mut connection = hub.accept().await;
    connection.welcome().await;
    for number in 0..1000_u32 {
        assert_eq!(connection.hear(Kind::Publish).await.payload(), number.to_string().as_bytes());
    }
}

#[tokio::test(start_paused = true)]
async fn a_call_without_a_connection_waits_with_its_whole_body() {
    let (mut hub, options) = fake_hub();
    let (connection, client) = open_with(&mut hub, options).await;
    hub.refuse.store(true, SeqCst);
    drop(connection);
    while !matches!(client.state(), State::Reconnecting) {
        tokio::task::yield_now().await;
    }
    let calling = tokio::spawn(client.call("/late").body(vec![5; 100_000]).into_future());
    tokio::time::sleep(Duration::from_millis(100)).await;
    hub.refuse.store(false, SeqCst);
    let mut connection = hub.accept().await;
    connection.welcome().await;
    let request = connection.hear(Kind::Request).await;
    let data = connection.hear(Kind::Data).await;
    assert_eq!(request.payload().len() + data.payload().len(), 100_000);
    assert_eq!(data.flags(), Flags::END);
    answer(&mut connection, request.id()).await;
    assert!(within(calling).await.unwrap().is_ok());
}

#[tokio::test(start_paused = true)]
async fn a_large_message_does_not_wait_without_a_connection() {
    let (mut hub, options) = fake_hub();
    let (connection, client) = open_with(&mut hub, options).await;
    hub.refuse.store(true, SeqCst);
    drop(connection);
    while !matches!(client.state(), State::Reconnecting) {
        tokio::task::yield_now().await;
    }
    let large = client.publish("log").bytes(vec![0; (1 << 20) + 1]);
    assert_eq!(large.await.unwrap_err().kind(), ErrorKind::BufferFull);
}

#[tokio::test(start_paused = true)]
async fn a_fatal_error_ends_the_client() {
    let (mut hub, options) = fake_hub();
    let (mut connection, client) = open_with(&mut hub, options).await;
    let subscribing = tokio::spawn(client.subscribe("a").into_future());
    let id = connection.hear(Kind::Subscribe).await.id();
    connection.agree(id).await;
    let mut subscription = within(subscribing).await.unwrap().unwrap();
    connection.refuse(0, Failure { code: Code::Replaced, reason: "taken over", ..Failure::default() }).await;
    drop(connection);
    let error = within(client.closed()).await.unwrap();
    assert_eq!(error.code(), Code::Replaced);
    assert!(within(subscription.next()).await.is_none());
    assert_eq!(subscription.error().unwrap().code(), Code::Replaced);
    assert_eq!(client.call("/a").await.unwrap_err().code(), Code::Replaced);
}

#[tokio::test(start_paused = true)]
async fn wrong_credentials_are_tried_once_more_with_a_fresh_token() {
    static ASKED: AtomicU32 = AtomicU32::new(0);
    let (mut hub, options) = fake_hub();
    let options = options.token_provider(|| async { Ok(format!("t{}", ASKED.fetch_add(1, SeqCst))) });
    let client = tokio::spawn(options.into_future());
    for token in ["t0", "t1"] {
        let mut connection = hub.accept().await;
        let heard = connection.hear(Kind::Hello).await;
        let Body::Hello(hello) = heard.frame().body else { unreachable!() };
        assert_eq!((hello.scheme, hello.token), ("bearer", token));
        connection.refuse(0, Failure { code: Code::Unauthorized, ..Failure::default() }).await;
    }
    assert_eq!(within(client).await.unwrap().unwrap_err().kind(), ErrorKind::Unauthorized);
}

#[tokio::test(start_paused = true)]
async fn a_token_is_renewed_before_it_runs_out() {
    let (mut hub, options) = fake_hub();
    let client = tokio::spawn(options.token("secret").into_future());
    let mut connection = hub.accept().await;
    connection.welcome_with(Welcome { client: "c1", token_ttl_ms: 20_000, ..Welcome::default() }).await;
    let _client = within(client).await.unwrap().unwrap();
    let begun = Instant::now();
    let heard = connection.hear(Kind::Auth).await;
    assert_eq!(begun.elapsed().as_secs(), 10);
    let Body::Auth(auth) = heard.frame().body else { unreachable!() };
    assert_eq!(auth.token, "secret");
}

#[tokio::test(start_paused = true)]
async fn a_silent_hub_is_asked_and_then_given_up() {
    let (mut hub, options) = fake_hub();
    let (mut connection, client) = open_with(&mut hub, options).await;
    let begun = Instant::now();
    connection.hear(Kind::Ping).await;
    assert_eq!(begun.elapsed().as_secs(), 25);
    assert!(connection.hear_any().await.is_none());
    assert_eq!(begun.elapsed().as_secs(), 50);
    hub.accept().await.welcome().await;
    drop(client);
}

#[tokio::test(start_paused = true)]
async fn the_hub_s_pings_are_answered() {
    let (_hub, mut connection, _client) = open().await;
    connection.say_with(4, Flags::NONE, None, &Body::Ping, b"12345678").await;
    let pong = connection.hear(Kind::Pong).await;
    assert_eq!((pong.id(), pong.payload()), (4, &b"12345678"[..]));
}

#[tokio::test(start_paused = true)]
async fn a_draining_hub_is_left_after_the_next_connection_stands() {
    let (mut hub, options) = fake_hub();
    let (mut old, client) = open_with(&mut hub, options).await;
    let subscribing = tokio::spawn(client.subscribe("a").into_future());
    let id = old.hear(Kind::Subscribe).await.id();
    old.agree(id).await;
    let _subscription = within(subscribing).await.unwrap().unwrap();
    let calling = tokio::spawn(client.call("/slow").into_future());
    let call = old.hear(Kind::Request).await.id();

    old.say(0, &Body::Drain(Drain { grace_ms: 8000, retry_ms: 1, ..Drain::default() })).await;
    let mut new = hub.accept().await;
    new.welcome().await;
    let id = new.hear(Kind::Subscribe).await.id();
    new.agree(id).await;
    old.say_with(call, Flags::END, None, &Body::Response(Response::default()), b"done").await;
    assert_eq!(within(calling).await.unwrap().unwrap().text().await.unwrap(), "done");
    assert!(old.hear_any().await.is_none());
    let calling = tokio::spawn(client.call("/next").into_future());
    let id = new.hear(Kind::Request).await.id();
    answer(&mut new, id).await;
    assert!(within(calling).await.unwrap().is_ok());
}

async fn answer(connection: &mut FakeConnection, id: u64) {
    connection.say_with(id, Flags::END, None, &Body::Response(Response::default()), b"").await;
}
