//! Publishing and subscribing.

#![allow(clippy::unwrap_used, reason = "the helpers are a part of the tests")]

mod common;

use common::{FakeConnection, open, within};
use whub_client::{Client, Code, ErrorKind, Event, Overflow, Subscription};
use whub_proto::{Body, Failure, Flags, Format, Gap, Kind, Publish, Success, Via};

async fn subscribe(connection: &mut FakeConnection, client: &Client, filter: &str) -> Subscription {
    let subscribing = tokio::spawn(client.subscribe(filter).into_future());
    let heard = connection.hear(Kind::Subscribe).await;
    let Body::Subscribe(subscribe) = heard.frame().body else { unreachable!() };
    assert_eq!(subscribe.filter, filter);
    connection.agree(heard.id()).await;
    within(subscribing).await.unwrap().unwrap()
}

async fn message(connection: &mut FakeConnection, channel: &str, payload: &str) {
    let via = Via { client: "c7", ..Via::default() };
    let publish = Publish { channel, format: Format::Text, ..Publish::default() };
    connection.say_with(0, Flags::TEXT, Some(&via), &Body::Message(publish), payload.as_bytes()).await;
}

#[tokio::test(start_paused = true)]
async fn a_live_message_reaches_every_filter_it_belongs_to() {
    let (_hub, mut connection, client) = open().await;
    let mut wide = subscribe(&mut connection, &client, "news/#").await;
    let mut narrow = subscribe(&mut connection, &client, "news/eu").await;
    message(&mut connection, "news/us", "one").await;
    message(&mut connection, "news/eu", "two").await;
    message(&mut connection, "other", "none").await;
    assert_eq!(within(wide.next()).await.unwrap().text().unwrap(), "one");
    assert_eq!(within(wide.next()).await.unwrap().text().unwrap(), "two");
    let got = within(narrow.next()).await.unwrap();
    assert_eq!((got.channel(), got.text().unwrap(), got.client()), ("news/eu", "two", "c7"));
}

#[tokio::test(start_paused = true)]
async fn the_same_filter_is_subscribed_to_once() {
    let (_hub, mut connection, client) = open().await;
    let mut one = subscribe(&mut connection, &client, "a/+").await;
    let mut other = within(client.subscribe("a/+").into_future()).await.unwrap();
    message(&mut connection, "a/b", "both").await;
    assert!(within(one.next()).await.is_some());
    assert!(within(other.next()).await.is_some());
    drop(one);
    drop(other);
    let heard = connection.hear(Kind::Unsubscribe).await;
    let Body::Unsubscribe(unsubscribe) = heard.frame().body else { unreachable!() };
    assert_eq!(unsubscribe.filter, "a/+");
    assert!(tokio::time::timeout(std::time::Duration::from_secs(1), connection.hear_any()).await.is_err());
}

#[tokio::test(start_paused = true)]
async fn a_publication_is_done_when_it_is_written_or_acknowledged() {
    let (_hub, mut connection, client) = open().await;
    within(client.publish("news/eu").text("hi").into_future()).await.unwrap();
    let heard = connection.hear(Kind::Publish).await;
    let Body::Publish(publish) = heard.frame().body else { unreachable!() };
    assert_eq!((heard.id(), heard.flags(), publish.channel), (0, Flags::TEXT, "news/eu"));

    let publishing = tokio::spawn(client.publish("news/eu").bytes("hi").ack().into_future());
    let heard = connection.hear(Kind::Publish).await;
    assert_eq!(heard.flags(), Flags::ACK);
    connection.say(heard.id(), &Body::Ok(Success { count: 3, offset: 9, ..Success::default() })).await;
    let published = within(publishing).await.unwrap().unwrap();
    assert_eq!((published.receivers, published.offset), (3, 9));
}

#[tokio::test(start_paused = true)]
async fn a_reader_that_falls_behind_loses_the_oldest_and_is_told() {
    let (_hub, mut connection, client) = open().await;
    let mut events = client.events();
    let subscribing = tokio::spawn(client.subscribe("a").capacity(2).into_future());
    let id = connection.hear(Kind::Subscribe).await.id();
    connection.agree(id).await;
    let mut subscription = within(subscribing).await.unwrap().unwrap();
    for text in ["1", "2", "3"] {
        message(&mut connection, "a", text).await;
    }
    let lagged = within(events.next()).await;
    assert!(matches!(&lagged, Some(Event::Lagged { channel, count: 1 }) if channel == "a"), "{lagged:?}");
    assert_eq!(within(subscription.next()).await.unwrap().text().unwrap(), "2");
    connection.say(0, &Body::Gap(Gap { channel: "a", count: 5, ..Gap::default() })).await;
    assert!(matches!(within(events.next()).await, Some(Event::Lagged { count: 5, .. })));
    assert_eq!(subscription.lagged(), 6);
}

#[tokio::test(start_paused = true)]
async fn a_strict_reader_that_falls_behind_ends_with_an_error() {
    let (_hub, mut connection, client) = open().await;
    let strict = client.subscribe("a").capacity(1).overflow(Overflow::Error);
    let subscribing = tokio::spawn(strict.into_future());
    let id = connection.hear(Kind::Subscribe).await.id();
    connection.agree(id).await;
    let mut subscription = within(subscribing).await.unwrap().unwrap();
    message(&mut connection, "a", "1").await;
    message(&mut connection, "a", "2").await;
    // Acknowledged, so that both messages have been handled before.
    let publishing = tokio::spawn(client.publish("b").ack().into_future());
    let id = connection.hear(Kind::Publish).await.id();
    connection.agree(id).await;
    within(publishing).await.unwrap().unwrap();
    assert_eq!(within(subscription.next()).await.unwrap().text().unwrap(), "1");
    assert!(within(subscription.next()).await.is_none());
    assert_eq!(subscription.error().unwrap().code(), Code::SlowConsumer);
}

#[tokio::test(start_paused = true)]
async fn a_refused_subscription_is_an_error() {
    let (_hub, mut connection, client) = open().await;
    let subscribing = tokio::spawn(client.subscribe("secret/#").into_future());
    let id = connection.hear(Kind::Subscribe).await.id();
    connection.refuse(id, Failure { code: Code::Forbidden, ..Failure::default() }).await;
    assert_eq!(within(subscribing).await.unwrap().unwrap_err().kind(), ErrorKind::Forbidden);
    assert_eq!(client.subscribe("/news").await.unwrap_err().kind(), ErrorKind::Invalid);
}
