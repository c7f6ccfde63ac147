//! Seats in pairs that outlive their connections.

#![allow(clippy::unwrap_used, reason = "the helpers are a part of the tests")]

mod common;

use std::time::Duration;

use common::{FakeConnection, fake_hub, open_with, within};
use whub_client::{Client, ErrorKind, Pair, PairEvent, ThirdArrival};
use whub_proto::{
    Body, Code, Credit, Data, Failure, Flags, Kind, Member, Members, RoomEvent, RoomWhat, Success, Third,
};

const GRACE: Duration = Duration::from_secs(30);

async fn tell(connection: &mut FakeConnection, id: u64, what: RoomWhat) {
    connection.say(id, &Body::RoomEvent(RoomEvent { what, room: "r", ..RoomEvent::default() })).await;
}

/// The hub gives a seat that it keeps, and has so much of what was said on it.
async fn seat(connection: &mut FakeConnection, id: u64, received: u64) {
    connection.say(id, &Body::Ok(Success { seat: "1-secret", received, ..Success::default() })).await;
}

/// A pair with a seat that is kept, and somebody there.
async fn join(connection: &mut FakeConnection, client: &Client) -> (u64, Pair) {
    let joining = tokio::spawn(client.pair("r").grace(GRACE).into_future());
    let id = connection.hear(Kind::Join).await.id();
    let heard = connection.hear(Kind::Credit).await;
    assert_eq!((heard.id(), heard.frame().body), (id, Body::Credit(Credit { bytes: 0 })));
    seat(connection, id, 0).await;
    tell(connection, id, RoomWhat::Ready).await;
    (id, within(joining).await.unwrap().unwrap())
}

/// Takes the seat on the next connection; what the client has is told.
async fn resume(connection: &mut FakeConnection) -> (u64, u64) {
    let heard = connection.hear(Kind::Join).await;
    let Body::Join(join) = heard.frame().body else { unreachable!() };
    assert_eq!((join.room, join.seat), ("r", "1-secret"));
    connection.hear(Kind::Credit).await;
    (heard.id(), join.received)
}

#[tokio::test(start_paused = true)]
async fn what_a_join_asks_for_reaches_the_hub_and_the_partner_is_shown() {
    let (mut hub, options) = fake_hub();
    let (mut connection, client) = open_with(&mut hub, options).await;
    let wish = client.pair("r").secret("s").info("{}").third(ThirdArrival::Replace).once(true);
    let joining = tokio::spawn(wish.grace(GRACE).ttl(Duration::from_secs(1)).into_future());
    let heard = connection.hear(Kind::Join).await;
    let Body::Join(join) = heard.frame().body else { unreachable!() };
    assert_eq!((join.secret, join.info, join.third, join.once), ("s", "{}", Third::Replace, true));
    assert_eq!((join.grace_ms, join.ttl_ms, join.seat), (30_000, 1000, ""));
    seat(&mut connection, heard.id(), 0).await;
    let members = [Member { member: 2, client: "c-2", user: "ada", info: "1", ..Member::default() }];
    let event = RoomEvent { what: RoomWhat::Ready, room: "r", initiator: true, ..RoomEvent::default() };
    let event = RoomEvent { members: Members::new(&members), ..event };
    connection.say(heard.id(), &Body::RoomEvent(event)).await;
    let mut pair = within(joining).await.unwrap().unwrap();
    let partner = pair.partner().unwrap();
    assert_eq!((partner.member, &*partner.client, &*partner.user, &*partner.info), (2, "c-2", "ada", "1"));
    for what in [RoomWhat::Away, RoomWhat::Back] {
        tell(&mut connection, heard.id(), what).await;
    }
    assert!(matches!(within(pair.next()).await, Some(PairEvent::Away)));
    assert!(matches!(within(pair.next()).await, Some(PairEvent::Back)));
}

#[tokio::test(start_paused = true)]
async fn a_lost_connection_takes_nothing_with_it() {
    let (mut hub, options) = fake_hub();
    let (mut connection, client) = open_with(&mut hub, options).await;
    let (id, pair) = join(&mut connection, &client).await;
    let (sender, mut receiver) = pair.split();
    for word in ["one", "two", "three"] {
        within(sender.send(word)).await.unwrap();
        connection.hear(Kind::Data).await;
    }
    connection.say_with(id, Flags::NONE, None, &Body::Data(Data::default()), b"heard").await;
    assert!(matches!(within(receiver.next()).await, Some(PairEvent::Message(_))));
    // Half a message comes again whole.
    connection.say_with(id, Flags::MORE, None, &Body::Data(Data::default()), b"hal").await;
    drop(connection);
    within(sender.send("four")).await.unwrap();
    let finishing = tokio::spawn(async move { sender.finish().await });
    let mut connection = hub.accept().await;
    connection.welcome().await;
    let (id, received) = resume(&mut connection).await;
    assert_eq!(received, 2, "an event and a message");
    // The hub has the first; the rest is said again, and what was said meanwhile.
    seat(&mut connection, id, 1).await;
    let mut again = Vec::new();
    for _ in 0..4 {
        let heard = connection.hear(Kind::Data).await;
        again.push((String::from_utf8(heard.payload().to_vec()).unwrap(), heard.flags()));
    }
    let said = |word: &str| (word.to_owned(), Flags::TEXT);
    assert_eq!(again, [said("two"), said("three"), said("four"), (String::new(), Flags::END)]);
    connection.say_with(id, Flags::NONE, None, &Body::Data(Data::default()), b"half").await;
    let event = within(receiver.next()).await;
    assert!(matches!(&event, Some(PairEvent::Message(said)) if said.bytes() == "half"), "{event:?}");
    assert!(!finishing.is_finished(), "the hub has not got all of it");
    connection.say(id, &Body::Credit(Credit { bytes: 4 * 64 + 12 })).await;
    within(finishing).await.unwrap().unwrap();
}

#[tokio::test(start_paused = true)]
async fn a_seat_that_is_gone_is_taken_anew_and_that_is_told() {
    let (mut hub, options) = fake_hub();
    let (mut connection, client) = open_with(&mut hub, options).await;
    let (_, mut pair) = join(&mut connection, &client).await;
    drop(connection);
    let mut connection = hub.accept().await;
    connection.welcome().await;
    let (id, _) = resume(&mut connection).await;
    let gone = Failure { code: Code::Gone, slug: "pair.seat_gone", ..Failure::default() };
    connection.refuse(id, gone).await;
    assert!(matches!(within(pair.next()).await, Some(PairEvent::Interrupted)));
    assert!(!pair.is_together());
    let heard = connection.hear(Kind::Join).await;
    let Body::Join(join) = heard.frame().body else { unreachable!() };
    assert_eq!((join.seat, join.received, join.grace_ms), ("", 0, 30_000));
    seat(&mut connection, heard.id(), 0).await;
    tell(&mut connection, heard.id(), RoomWhat::Ready).await;
    assert!(matches!(within(pair.next()).await, Some(PairEvent::Ready { .. })));
}

#[tokio::test(start_paused = true)]
async fn nobody_waits_for_a_hub_longer_than_it_keeps_the_seat() {
    let (mut hub, options) = fake_hub();
    let (mut connection, client) = open_with(&mut hub, options).await;
    let (_, mut pair) = join(&mut connection, &client).await;
    let begun = tokio::time::Instant::now();
    hub.refuse.store(true, std::sync::atomic::Ordering::SeqCst);
    drop(connection);
    let event = tokio::time::timeout(2 * GRACE, pair.next()).await.unwrap();
    assert!(matches!(event, Some(PairEvent::Interrupted)), "{event:?}");
    assert_eq!(begun.elapsed(), GRACE);
    assert_eq!(pair.send("x").await.unwrap_err().kind(), ErrorKind::Unavailable);
}

#[tokio::test(start_paused = true)]
async fn a_hub_that_keeps_no_seats_is_served_as_before() {
    let (mut hub, options) = fake_hub();
    let (mut connection, client) = open_with(&mut hub, options).await;
    let joining = tokio::spawn(client.pair("r").grace(GRACE).into_future());
    let id = connection.hear(Kind::Join).await.id();
    connection.agree(id).await;
    tell(&mut connection, id, RoomWhat::Ready).await;
    let mut pair = within(joining).await.unwrap().unwrap();
    within(pair.finish()).await.unwrap();
    drop(connection);
    assert!(matches!(within(pair.next()).await, Some(PairEvent::Interrupted)));
}

#[tokio::test(start_paused = true)]
async fn who_says_much_waits_for_the_hub_and_who_hears_much_tells_it() {
    let (mut hub, options) = fake_hub();
    let (mut connection, client) = open_with(&mut hub, options).await;
    let (id, pair) = join(&mut connection, &client).await;
    within(pair.send_bytes(vec![0; 600_000])).await.unwrap();
    let (sender, mut receiver) = pair.split();
    let saying = tokio::spawn(async move { sender.send_bytes(vec![0; 600_000]).await });
    connection.hear(Kind::Data).await;
    connection.hear(Kind::Data).await;
    tokio::time::sleep(Duration::from_secs(1)).await;
    assert!(!saying.is_finished(), "more than 1 MiB may be lost");
    connection.say(id, &Body::Credit(Credit { bytes: 600_064 })).await;
    within(saying).await.unwrap().unwrap();
    for _ in 0..2 {
        connection.say_with(id, Flags::NONE, None, &Body::Data(Data::default()), &[0; 20_000]).await;
        within(receiver.next()).await.unwrap();
    }
    // The event is one of the things that arrived.
    let heard = connection.hear(Kind::Credit).await;
    assert_eq!((heard.id(), heard.frame().body), (id, Body::Credit(Credit { bytes: 64 + 2 * 20_064 })));
}
