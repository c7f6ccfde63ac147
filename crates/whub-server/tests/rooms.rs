//! Rooms on a real node: members that read slowly or not at all, order on the wire, and time.

// A failed unwrap is a failed test, and what a client hears is an event or a message.
#![allow(clippy::unwrap_used, clippy::wildcard_enum_match_arm)]

mod common;

use std::time::Duration;

use common::{Client, Node, framed};
use tokio::io::AsyncWriteExt;
use whub_core::Counters;
use whub_proto::{Body, Data, Flags, Join, Kind, Leave, RoomAct, RoomCommand, RoomEvent, RoomWhat};
use whub_server::config::Config;

const KIB: usize = 1024;

fn small_mailboxes(config: &mut Config) {
    config.limits.mailbox_bytes = 64 * KIB;
    config.limits.message_bytes = 64 * KIB;
}

/// A member of `x`, which has read what it is told first.
async fn member(node: &Node) -> Client {
    let mut client = node.client().await;
    client.say(1, &Body::Join(Join { room: "x", ..Join::default() })).await;
    assert_eq!(client.hear().await.kind, Kind::Ok);
    assert_eq!(client.hear().await.kind, Kind::RoomEvent);
    client
}

/// Reads events until one of this kind.
async fn hear_event(client: &mut Client, what: RoomWhat) {
    loop {
        let heard = client.hear().await;
        if matches!(heard.frame().body, Body::RoomEvent(event) if event.what == what) {
            return;
        }
    }
}

/// accepted = delivered + dropped + queued, where nothing is queued.
fn balanced(counters: &Counters) -> bool {
    counters.deliveries_accepted.read()
        == counters.deliveries_delivered.read()
            + counters.deliveries_dropped_slow.read()
            + counters.deliveries_dropped_gone.read()
}

#[tokio::test]
async fn a_member_that_stops_reading_loses_messages_and_is_told_how_many_and_holds_up_nobody() {
    const MESSAGES: u64 = 40_000;
    let node = Node::with(small_mailboxes).await;
    let (mut sender, mut slow, mut fast) = (member(&node).await, member(&node).await, member(&node).await);
    hear_event(&mut sender, RoomWhat::Joined).await;
    hear_event(&mut sender, RoomWhat::Joined).await;
    let reading = tokio::spawn(async move {
        let (mut messages, mut missed) = (0, 0);
        while messages + missed < MESSAGES {
            match fast.hear().await.frame().body {
                Body::RoomEvent(event) => missed += u64::from(event.count),
                _ => messages += 1,
            }
        }
        fast
    });
    let bytes = framed(1, Flags::NONE, &Body::Data(Data::default()), &[7; KIB]);
    for _ in 0..MESSAGES {
        sender.socket.write_all(&bytes).await.unwrap();
    }
    // It is done although the other one has not read a byte.
    let _fast = reading.await.unwrap();
    node.until(|hub| hub.counters.room_messages.read() == MESSAGES).await;
    // News come to the slow one too, at their place: behind what it is told of those that are missing.
    sender
        .say(3, &Body::RoomCommand(RoomCommand { room: "x", act: RoomAct::Lock, ..Default::default() }))
        .await;
    hear_event(&mut sender, RoomWhat::Updated).await;
    let (mut messages, mut missed, mut before_news) = (0, 0, None);
    while messages + missed < MESSAGES || before_news.is_none() {
        let heard = slow.hear().await;
        match heard.frame().body {
            Body::RoomEvent(RoomEvent { what: RoomWhat::Missed, room, count, .. }) => {
                assert_eq!((heard.id, room), (1, "x"));
                missed += u64::from(count);
            }
            Body::RoomEvent(RoomEvent { what: RoomWhat::Updated, .. }) => {
                before_news = Some(messages + missed)
            }
            Body::RoomEvent(event) => assert_eq!(event.what, RoomWhat::Joined),
            _ => messages += 1,
        }
    }
    assert!(missed > 0, "the slow one was to miss something");
    assert_eq!(before_news, Some(MESSAGES), "all of it was said before the room was locked");
    node.until(|hub| balanced(&hub.counters)).await;
    let counters = &node.hub.counters;
    assert_eq!(counters.deliveries_accepted.read(), 2 * MESSAGES);
    assert!(counters.deliveries_dropped_slow.read() >= missed);
    assert_eq!(counters.slow_consumers.read(), 0);
}

#[tokio::test]
async fn a_member_that_does_not_even_take_the_news_is_ended() {
    let node = Node::with(|config| {
        small_mailboxes(config);
        config.rooms.changes = None;
    })
    .await;
    let (mut busy, _deaf) = (member(&node).await, member(&node).await);
    hear_event(&mut busy, RoomWhat::Joined).await;
    let info = "x".repeat(4 * KIB);
    let update = RoomCommand { room: "x", info: &info, ..RoomCommand::default() };
    let bytes = framed(3, Flags::NONE, &Body::RoomCommand(update), b"");
    while node.hub.counters.slow_consumers.read() == 0 {
        busy.socket.write_all(&bytes).await.unwrap();
        assert_eq!(busy.hear().await.kind, Kind::Ok);
        assert_eq!(busy.hear().await.kind, Kind::RoomEvent);
    }
    hear_event(&mut busy, RoomWhat::Left).await;
    assert_eq!(node.hub.rooms.members(), 1);
}

#[tokio::test]
async fn what_was_said_in_one_batch_with_leaving_comes_before_the_news_of_it() {
    let node = Node::start().await;
    let (mut a, mut b) = (member(&node).await, member(&node).await);
    hear_event(&mut a, RoomWhat::Joined).await;
    let mut batch = framed(1, Flags::TEXT, &Body::Data(Data::default()), b"last words");
    batch.extend(framed(3, Flags::NONE, &Body::Leave(Leave { room: "x", ..Leave::default() }), b""));
    b.socket.write_all(&batch).await.unwrap();
    let heard = a.hear().await;
    assert_eq!((heard.kind, &heard.payload[..]), (Kind::Data, &b"last words"[..]));
    hear_event(&mut a, RoomWhat::Left).await;
}

#[tokio::test]
async fn members_that_have_other_ids_and_other_framings_get_the_same() {
    let node = Node::start().await;
    let mut a = member(&node).await;
    let mut others = Vec::new();
    for id in 0..20 {
        let (mut client, id) = (node.client().await, 2 * id + 1);
        client.say(id, &Body::Join(Join { room: "x", ..Join::default() })).await;
        assert_eq!(client.hear().await.kind, Kind::Ok);
        others.push((id, client));
    }
    for _ in 0..20 {
        hear_event(&mut a, RoomWhat::Joined).await;
    }
    // Longer than a frame, so that it comes in pieces.
    let bytes: Vec<u8> = (0..3_000_000_u32).map(|at| at as u8).collect();
    let pieces = bytes.chunks(1_000_000).collect::<Vec<_>>();
    for (index, piece) in pieces.iter().enumerate() {
        let flags = Flags::NONE.with_if(index + 1 < pieces.len(), Flags::MORE);
        a.send(1, flags, &Body::Data(Data::default()), piece).await;
    }
    for (id, client) in &mut others {
        let mut whole = Vec::new();
        loop {
            let heard = client.hear().await;
            if heard.kind != Kind::Data {
                continue;
            }
            assert_eq!((heard.id, heard.frame().via.unwrap().member), (*id, 1));
            assert!(heard.bytes.len() <= 1 << 20, "no frame is longer than a frame may be");
            whole.extend_from_slice(&heard.payload);
            if !heard.flags.contains(Flags::MORE) {
                break;
            }
        }
        assert!(whole == bytes);
    }
    node.until(|hub| balanced(&hub.counters)).await;
    assert_eq!(node.hub.counters.deliveries_accepted.read(), 20, "one message, however many pieces");
}

#[tokio::test]
async fn an_empty_room_ends_by_itself() {
    let node = Node::with(|config| config.rooms.empty_ttl = Duration::from_millis(20)).await;
    for _ in 0..3 {
        let client = member(&node).await;
        assert_eq!(node.hub.rooms.len(), 1);
        drop(client);
        node.until(|hub| hub.rooms.is_empty()).await;
    }
}
