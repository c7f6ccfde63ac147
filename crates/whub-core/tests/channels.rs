//! Publishing and subscribing.

mod common;

use std::sync::Arc;

use common::{Client, World};
use whub_core::{SessionLimits, Subscriber};
use whub_proto::names::{Channel, Filter};
use whub_proto::{Body, Flags, Publish, Subscribe, Unsubscribe};

fn subscribe(world: &World, client: &mut Client, id: u64, filter: &str) {
    client.says(world.now, id, &Body::Subscribe(Subscribe { filter, ..Subscribe::default() }));
    assert_eq!(client.hears(), [format!("ok #{id}")]);
}

fn publish(world: &World, client: &mut Client, id: u64, flags: Flags, channel: &str, payload: &[u8]) {
    client.sends(world.now, id, flags, &Body::Publish(Publish { channel, ..Publish::default() }), payload);
}

#[test]
fn a_message_reaches_every_subscriber_once_whatever_matched() {
    let world = World::new();
    let (mut a, mut b, mut publisher) = (world.client(), world.client(), world.client());
    subscribe(&world, &mut a, 1, "news/eu");
    subscribe(&world, &mut a, 3, "news/+");
    subscribe(&world, &mut a, 5, "#");
    subscribe(&world, &mut b, 1, "news/us");
    publish(&world, &mut publisher, 7, Flags::ACK | Flags::TEXT, "news/eu", b"hi");
    assert_eq!(publisher.hears(), ["ok #7 1"]);
    assert_eq!(a.hears(), ["message text news/eu 'hi'"]);
    assert_eq!(b.hears(), Vec::<String>::new());
    assert_eq!(world.hub.counters.published.read(), 1);
}

#[test]
fn without_ack_there_is_no_answer_and_without_subscribers_no_message() {
    let world = World::new();
    let mut publisher = world.client();
    publish(&world, &mut publisher, 0, Flags::NONE, "void", b"x");
    assert_eq!(publisher.hears(), Vec::<String>::new());
    publish(&world, &mut publisher, 1, Flags::ACK, "void", b"x");
    assert_eq!(publisher.hears(), ["ok #1"]);
}

#[test]
fn an_ack_needs_an_id() {
    let world = World::new();
    let mut publisher = world.client();
    publish(&world, &mut publisher, 0, Flags::ACK, "void", b"x");
    assert_eq!(publisher.hears(), ["error 605 protocol.error retry 0"]);
}

#[test]
fn no_echo_leaves_the_publisher_out_unless_another_filter_wants_it() {
    let world = World::new();
    let mut client = world.client();
    let quiet = Subscribe { filter: "a", no_echo: true, ..Subscribe::default() };
    client.says(world.now, 1, &Body::Subscribe(quiet));
    client.hears();
    publish(&world, &mut client, 0, Flags::NONE, "a", b"x");
    assert_eq!(client.hears(), Vec::<String>::new());
    subscribe(&world, &mut client, 3, "+");
    publish(&world, &mut client, 0, Flags::NONE, "a", b"x");
    assert_eq!(client.hears(), ["message a 'x'"]);
}

#[test]
fn who_unsubscribed_or_left_gets_nothing() {
    let world = World::new();
    let (mut a, mut b, mut publisher) = (world.client(), world.client(), world.client());
    subscribe(&world, &mut a, 1, "x/#");
    subscribe(&world, &mut b, 1, "x/#");
    publish(&world, &mut publisher, 1, Flags::ACK, "x/y", b"1");
    assert_eq!(publisher.hears(), ["ok #1 2"]);
    let unsubscribe = Unsubscribe { filter: "x/#", ..Unsubscribe::default() };
    a.says(world.now, 3, &Body::Unsubscribe(unsubscribe));
    a.says(world.now, 5, &Body::Unsubscribe(unsubscribe));
    b.vanishes(world.now);
    publish(&world, &mut publisher, 1, Flags::ACK, "x/y", b"2");
    assert_eq!(publisher.hears(), ["ok #1"]);
    assert_eq!(a.hears(), ["message x/y '1'", "ok #3", "error #5 404 subscribe.not_found retry 0"]);
    assert_eq!(world.hub.channels.filters(), 0);
}

#[test]
fn bad_subscriptions_and_publications_say_why() {
    let limits = SessionLimits { subscriptions: 1, ..SessionLimits::default() };
    let world = World::with_limits(limits);
    let mut client = world.client();
    subscribe(&world, &mut client, 1, "a");
    for (id, body, expected) in [
        (3, Subscribe { filter: "a", ..Subscribe::default() }, "error #3 409 subscribe.conflict retry 0"),
        (3, Subscribe { filter: "b", ..Subscribe::default() }, "error #3 429 subscriptions.limit retry 0"),
        (3, Subscribe { filter: "/b", ..Subscribe::default() }, "error #3 400 subscribe.filter retry 0"),
        (
            3,
            Subscribe { filter: "b", last: 3, ..Subscribe::default() },
            "error #3 501 subscribe.unsupported retry 0",
        ),
    ] {
        client.says(world.now, id, &Body::Subscribe(body));
        assert_eq!(client.hears(), [expected]);
    }
    publish(&world, &mut client, 0, Flags::NONE, "a/+", b"");
    assert_eq!(client.hears(), ["error 400 publish.channel retry 0"], "told even without an id");
}

#[test]
fn audiences_kept_ready_are_bounded_by_their_subscribers_too() {
    let world = World::new();
    let mut clients: Vec<_> = (0..2048).map(|_| world.stranger()).collect();
    let everything = Filter::parse("#").unwrap();
    for client in &mut clients {
        let subscriber = Subscriber { mailbox: client.mailbox.clone(), no_echo: false };
        world.hub.channels.subscribe(&everything, subscriber);
    }
    let audience = |name: &str| world.hub.channels.audience(&Channel::parse(name).unwrap());
    let first = audience("first");
    assert_eq!((first.subscribers.len(), Arc::strong_count(&first)), (2048, 2));
    for number in 0..600 {
        audience(&format!("c/{number}"));
    }
    assert_eq!(Arc::strong_count(&first), 1, "no longer kept");
}
