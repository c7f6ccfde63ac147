//! Meeting another peer.

#![allow(clippy::unwrap_used, reason = "the helpers are a part of the tests")]

mod common;

use std::time::Duration;

use common::{FakeConnection, fake_hub, open, open_with, within};
use tokio::time::Instant;
use whub_client::{Client, ErrorKind, Pair, PairEvent};
use whub_proto::{Body, Data, Flags, Kind, RoomEvent, RoomMode, RoomWhat, Welcome};

async fn tell(connection: &mut FakeConnection, id: u64, what: RoomWhat) {
    connection.say(id, &Body::RoomEvent(RoomEvent { what, room: "r", ..RoomEvent::default() })).await;
}

async fn join(connection: &mut FakeConnection, client: &Client) -> (u64, Pair) {
    let joining = tokio::spawn(client.pair("r").into_future());
    let heard = connection.hear(Kind::Join).await;
    let Body::Join(join) = heard.frame().body else { unreachable!() };
    assert_eq!((join.room, join.mode), ("r", RoomMode::Pair));
    let id = heard.id();
    connection.agree(id).await;
    tell(connection, id, RoomWhat::Waiting).await;
    tell(connection, id, RoomWhat::Ready).await;
    (id, within(joining).await.unwrap().unwrap())
}

#[tokio::test(start_paused = true)]
async fn both_halves_speak_and_finish() {
    let (_hub, mut connection, client) = open().await;
    let (id, mut pair) = join(&mut connection, &client).await;
    within(pair.send("hello")).await.unwrap();
    within(pair.finish()).await.unwrap();
    let heard = connection.hear(Kind::Data).await;
    assert_eq!((heard.id(), heard.flags(), heard.payload()), (id, Flags::TEXT, &b"hello"[..]));
    assert_eq!(connection.hear(Kind::Data).await.flags(), Flags::END);
    assert_eq!(pair.send("more").await.unwrap_err().kind(), ErrorKind::Invalid);

    connection.say_with(id, Flags::MORE, None, &Body::Data(Data::default()), b"in ").await;
    connection.say_with(id, Flags::NONE, None, &Body::Data(Data::default()), b"pieces").await;
    connection.say_with(id, Flags::END, None, &Body::Data(Data::default()), b"").await;
    tell(&mut connection, id, RoomWhat::Left).await;
    let event = within(pair.next()).await;
    assert!(matches!(&event, Some(PairEvent::Message(said)) if said.bytes() == "in pieces"), "{event:?}");
    assert!(matches!(within(pair.next()).await, Some(PairEvent::Finished)));
    assert!(matches!(within(pair.next()).await, Some(PairEvent::Left { .. })));
}

#[tokio::test(start_paused = true)]
async fn nobody_can_be_spoken_to_before_they_are_there() {
    let (_hub, mut connection, client) = open().await;
    let joining = tokio::spawn(client.pair("r").wait_partner(false).into_future());
    let id = connection.hear(Kind::Join).await.id();
    connection.agree(id).await;
    let mut pair = within(joining).await.unwrap().unwrap();
    tell(&mut connection, id, RoomWhat::Waiting).await;
    assert!(matches!(within(pair.next()).await, Some(PairEvent::Waiting)));
    assert_eq!(pair.send("anyone?").await.unwrap_err().kind(), ErrorKind::Unavailable);
    tell(&mut connection, id, RoomWhat::Ready).await;
    assert!(matches!(within(pair.next()).await, Some(PairEvent::Ready { .. })));
    within(pair.send("hello")).await.unwrap();
    drop(pair);
    connection.hear(Kind::Data).await;
    connection.hear(Kind::Leave).await;
}

#[tokio::test(start_paused = true)]
async fn a_large_message_travels_in_frames_that_the_hub_takes() {
    let (mut hub, options) = fake_hub();
    let client = tokio::spawn(options.into_future());
    let mut connection = hub.accept().await;
    connection.welcome_with(Welcome { client: "c1", max_frame: 1024, ..Welcome::default() }).await;
    let client = client.await.unwrap().unwrap();
    let (_, pair) = join(&mut connection, &client).await;
    within(pair.send_bytes(vec![1; 2500])).await.unwrap();
    let mut frames = Vec::new();
    for _ in 0..3 {
        let heard = connection.hear(Kind::Data).await;
        frames.push((heard.payload().len(), heard.flags()));
    }
    assert_eq!(frames, [(1008, Flags::MORE), (1008, Flags::MORE), (484, Flags::NONE)]);
}

#[tokio::test(start_paused = true)]
async fn a_seat_is_taken_again_after_a_lost_connection() {
    let (mut hub, options) = fake_hub();
    let (mut connection, client) = open_with(&mut hub, options).await;
    let (_, mut pair) = join(&mut connection, &client).await;
    drop(connection);
    assert!(matches!(within(pair.next()).await, Some(PairEvent::Interrupted)));
    let mut connection = hub.accept().await;
    connection.welcome().await;
    let id = connection.hear(Kind::Join).await.id();
    tell(&mut connection, id, RoomWhat::Ready).await;
    assert!(matches!(within(pair.next()).await, Some(PairEvent::Ready { .. })));
}

#[tokio::test(start_paused = true)]
async fn a_pair_that_is_not_read_holds_back_the_connection() {
    let (_hub, mut connection, client) = open().await;
    let (id, mut pair) = join(&mut connection, &client).await;
    let sending = tokio::spawn(async move {
        for _ in 0..100 {
            connection.say_with(id, Flags::NONE, None, &Body::Data(Data::default()), &[0; 60_000]).await;
        }
        connection
    });
    tokio::time::sleep(Duration::from_secs(40)).await;
    assert!(!sending.is_finished(), "6 MB do not fit into a queue of 1 MiB");
    let begun = Instant::now();
    for _ in 0..100 {
        assert!(matches!(within(pair.next()).await, Some(PairEvent::Message(_))));
    }
    let mut connection = within(sending).await.unwrap();
    // One message alone may be more than waits.
    for _ in 0..2 {
        connection.say_with(id, Flags::NONE, None, &Body::Data(Data::default()), &[0; 1 << 20]).await;
        assert!(matches!(within(pair.next()).await, Some(PairEvent::Message(_))));
    }
    assert_eq!(begun.elapsed(), Duration::ZERO, "reading goes on at once");
}
