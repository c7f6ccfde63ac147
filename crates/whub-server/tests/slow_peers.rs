//! Peers that read slowly or not at all: bounded memory, exact counts, and everyone else untouched.

#![allow(clippy::unwrap_used)] // A failed unwrap is a failed test.

mod common;

use std::time::Duration;

use common::{Client, Node, SOON, framed};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use whub_core::Counters;
use whub_proto::{Body, Data, Flags, Frame, HEAD_BYTES, Join, Kind, Origin, Publish, Response, RoomMode};
use whub_server::config::SlowPolicy;

const KIB: usize = 1024;

fn small_mailboxes(config: &mut whub_server::config::Config) {
    config.limits.mailbox_bytes = 64 * KIB;
}

fn message(channel: &str) -> Body<'_> {
    Body::Publish(Publish { channel, ..Publish::default() })
}

/// accepted = delivered + dropped + queued, where nothing is queued.
fn balanced(counters: &Counters) -> bool {
    counters.deliveries_accepted.read()
        == counters.deliveries_delivered.read()
            + counters.deliveries_dropped_slow.read()
            + counters.deliveries_dropped_gone.read()
}

#[tokio::test]
async fn a_subscriber_that_stops_reading_loses_messages_and_is_told_how_many() {
    const MESSAGES: u64 = 40_000;
    let node = Node::with(small_mailboxes).await;
    let (mut slow, mut fast, mut publisher) = (node.client().await, node.client().await, node.client().await);
    slow.subscribe(1, "news").await;
    fast.subscribe(1, "news").await;
    let reading = tokio::spawn(async move {
        let (mut messages, mut gaps) = (0, 0);
        while messages + gaps < MESSAGES {
            let heard = fast.hear().await;
            if let Body::Gap(gap) = heard.frame().body {
                gaps += u64::from(gap.count);
            } else {
                messages += 1;
            }
        }
        (messages, gaps)
    });
    let bytes = framed(0, Flags::NONE, &message("news"), &[7; KIB]);
    for _ in 0..MESSAGES {
        publisher.socket.write_all(&bytes).await.unwrap();
    }
    reading.await.unwrap();
    node.until(|hub| hub.counters.published.read() == MESSAGES).await;
    // Now the slow one reads: what came before the gap, the gap, what was queued after it.
    let (mut messages, mut missed) = (0, 0);
    while messages + missed < MESSAGES {
        let heard = slow.hear().await;
        if let Body::Gap(gap) = heard.frame().body {
            assert_eq!(gap.channel, "news");
            missed += u64::from(gap.count);
        } else {
            messages += 1;
        }
    }
    assert!(missed > 0, "the slow one was to miss something");
    node.until(|hub| balanced(&hub.counters)).await;
    let counters = &node.hub.counters;
    assert_eq!(counters.deliveries_accepted.read(), 2 * MESSAGES);
    assert!(counters.deliveries_dropped_slow.read() >= missed);
}

#[tokio::test]
async fn a_subscriber_that_leaves_with_messages_queued_is_accounted_for() {
    let node = Node::with(|config| config.limits.mailbox_bytes = 16 * KIB * KIB).await;
    let (mut slow, mut publisher) = (node.client().await, node.client().await);
    slow.subscribe(1, "news").await;
    let bytes = framed(0, Flags::NONE, &message("news"), &[7; 8 * KIB]);
    for _ in 0..2000 {
        publisher.socket.write_all(&bytes).await.unwrap();
    }
    node.until(|hub| hub.counters.deliveries_accepted.read() == 2000).await;
    drop(slow);
    node.until(|hub| balanced(&hub.counters)).await;
    assert!(node.hub.counters.deliveries_dropped_gone.read() > 0);
}

#[tokio::test]
async fn where_the_policy_says_so_a_slow_subscriber_is_closed() {
    let node = Node::with(|config| {
        small_mailboxes(config);
        config.channels.slow = SlowPolicy::Close;
    })
    .await;
    let (mut slow, mut publisher) = (node.client().await, node.client().await);
    slow.subscribe(1, "news").await;
    let bytes = framed(0, Flags::NONE, &message("news"), &[7; 8 * KIB]);
    while node.hub.counters.slow_consumers.read() == 0 {
        publisher.socket.write_all(&bytes).await.unwrap();
    }
    let mut last = None;
    while let Some(heard) = slow.try_hear().await {
        last = Some(heard);
    }
    assert_eq!(last.unwrap().kind, Kind::Error);
}

#[tokio::test]
async fn of_a_conflated_channel_a_slow_subscriber_gets_the_latest_message() {
    const MESSAGES: u32 = 2000;
    let node = Node::with(|config| {
        small_mailboxes(config);
        config.channels.slow = SlowPolicy::Conflate;
    })
    .await;
    let (mut slow, mut publisher) = (node.client().await, node.client().await);
    slow.subscribe(1, "price").await;
    for number in 0..MESSAGES {
        let mut payload = vec![0; 8 * KIB];
        payload[..4].copy_from_slice(&number.to_le_bytes());
        publisher.send(0, Flags::NONE, &message("price"), &payload).await;
    }
    node.until(|hub| hub.counters.deliveries_accepted.read() == u64::from(MESSAGES)).await;
    let (mut messages, mut missed, mut latest) = (0, 0, 0);
    while messages + missed < MESSAGES {
        let heard = slow.hear().await;
        if let Body::Gap(gap) = heard.frame().body {
            missed += gap.count;
        } else {
            messages += 1;
            latest = u32::from_le_bytes(heard.payload[..4].try_into().unwrap());
        }
    }
    assert!(missed > 0);
    assert_eq!(latest, MESSAGES - 1);
    node.until(|hub| balanced(&hub.counters)).await;
}

/// Two halves of a pair, by the id 1.
async fn couple(node: &Node) -> (Client, Client) {
    let (mut sender, mut receiver) = (node.client().await, node.client().await);
    for client in [&mut sender, &mut receiver] {
        client.say(1, &Body::Join(Join { room: "x", mode: RoomMode::Pair, ..Join::default() })).await;
        assert_eq!(client.hear().await.kind, Kind::Ok);
        assert_eq!(client.hear().await.kind, Kind::RoomEvent);
    }
    assert_eq!(sender.hear().await.kind, Kind::RoomEvent);
    (sender, receiver)
}

#[tokio::test]
async fn a_slow_half_is_waited_for_and_loses_nothing() {
    const MESSAGES: usize = 3000;
    let node = Node::with(small_mailboxes).await;
    let (mut sender, mut receiver) = couple(&node).await;
    let sending = tokio::spawn(async move {
        for number in 0..MESSAGES {
            let mut payload = vec![0; 8 * KIB];
            payload[..8].copy_from_slice(&(number as u64).to_le_bytes());
            sender.send(1, Flags::NONE, &Body::Data(Data::default()), &payload).await;
        }
        sender
    });
    // 24 MB cannot be anywhere but in the receiver's hands: mailboxes hold 64 KiB and sockets a few MiB.
    for number in 0..MESSAGES {
        let heard = receiver.hear().await;
        assert_eq!(heard.payload[..8], (number as u64).to_le_bytes());
    }
    sending.await.unwrap();
    assert_eq!(node.hub.counters.pair_messages_lost.read(), 0);
}

/// Pings stand behind what it has not read, so it answers none of them; and the one that waits for it is not listened to.
#[tokio::test]
async fn a_half_that_rests_for_many_pings_is_waited_for_too() {
    const MESSAGES: usize = 2000;
    const PINGS: usize = 4;
    let node = Node::with(|config| {
        small_mailboxes(config);
        config.limits.ping = Duration::from_secs(1);
    })
    .await;
    let (sender, mut receiver) = couple(&node).await;
    let (mut hears, mut says) = sender.socket.into_split();
    let sending = tokio::spawn(async move {
        let bytes = framed(1, Flags::NONE, &Body::Data(Data::default()), &[7; 8 * KIB]);
        for _ in 0..MESSAGES {
            says.write_all(&bytes).await.unwrap();
        }
        says
    });
    // A ping has a head and nothing else. It is asked so often because the other one has stopped reading.
    let mut pings = vec![0; PINGS * (4 + HEAD_BYTES)];
    tokio::time::timeout(SOON, hears.read_exact(&mut pings)).await.expect("pings in time").unwrap();
    for ping in pings.chunks_exact(4 + HEAD_BYTES) {
        assert_eq!(Frame::parse(&ping[4..], KIB, Origin::Hub).unwrap().head.kind, Kind::Ping);
    }
    assert!(!sending.is_finished());
    let mut messages = 0;
    while messages < MESSAGES {
        let is_data = receiver.hear().await.kind == Kind::Data;
        messages += usize::from(is_data);
    }
    sending.await.unwrap();
    assert_eq!(node.hub.counters.dead_peers.read(), 0);
}

#[tokio::test]
async fn a_caller_that_never_reads_is_not_read_from_and_others_are_served() {
    let node = Node::with(small_mailboxes).await;
    let mut provider = node.client().await;
    provider.register(1, "/big").await;
    let answering = tokio::spawn(async move {
        while let Some(request) = provider.try_hear().await {
            if request.kind == Kind::Request {
                let body = Body::Response(Response::default());
                provider.send(request.id, Flags::END, &body, &[1; 200 * KIB]).await;
            }
        }
    });
    let mut deaf = node.client().await;
    let request = |path| Body::Request(whub_proto::Request { path, ..Default::default() });
    let mut asked = 0;
    let flood = async {
        for id in (1..).step_by(2) {
            deaf.send(id, Flags::END, &request("/big"), &[0; KIB]).await;
            asked = id;
        }
    };
    // It gets stuck, because nobody reads its requests any more; how soon depends on the sockets.
    let stuck = tokio::time::timeout(Duration::from_secs(2), flood).await;
    assert!(stuck.is_err());
    let mut other = node.client().await;
    other.send(1, Flags::END, &request("/big"), b"").await;
    assert_eq!(other.hear().await.payload.len(), 200 * KIB);
    drop(deaf);
    answering.abort();
}

#[tokio::test]
async fn a_provider_that_never_reads_holds_up_nothing_else_of_its_callers() {
    let node = Node::with(small_mailboxes).await;
    let (mut stuck, mut calm, mut caller) = (node.client().await, node.client().await, node.client().await);
    stuck.register(1, "/stuck").await;
    calm.register(1, "/calm").await;
    let request = |path| Body::Request(whub_proto::Request { path, ..Default::default() });
    let mut id = 1;
    // Uploads begin until the stuck one has no room left.
    loop {
        caller.send(id, Flags::NONE, &request("/stuck"), &[0; 200 * KIB]).await;
        caller.say(0, &Body::Ping).await;
        if caller.hear().await.kind == Kind::Error {
            assert_eq!(caller.hear().await.kind, Kind::Pong);
            break;
        }
        id += 2;
    }
    // And go on as far as they have credit.
    for upload in (1..id).step_by(2) {
        caller.send(upload, Flags::NONE, &Body::Data(Data::default()), &[0; 50 * KIB]).await;
    }
    caller.send(id, Flags::END, &request("/calm"), b"").await;
    let asked = calm.hear().await;
    calm.send(asked.id, Flags::END, &Body::Response(Response::default()), b"at once").await;
    assert_eq!(caller.hear().await.payload, b"at once");
    drop(stuck);
}
