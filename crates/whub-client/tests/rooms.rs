//! Being in a room.

#![allow(clippy::unwrap_used, reason = "the helpers are a part of the tests")]

mod common;

use common::{FakeConnection, fake_hub, open, open_with, within};
use whub_client::{Client, Code, ErrorKind, Room, RoomEvent, RoomRole};
use whub_proto::{
    Body, Data, Failure, Flags, Join, Kind, Member, Members, Numbers, RoomAct, RoomEvent as Told, RoomMode,
    RoomRole as Role, RoomWhat, Success, Via, Welcome,
};

async fn tell(
    connection: &mut FakeConnection,
    id: u64,
    flags: Flags,
    what: RoomWhat,
    members: &[Member<'_>],
) {
    let told = Told { what, room: "r", members: Members::new(members), capacity: 8, ..Told::default() };
    connection.say_with(id, flags, None, &Body::RoomEvent(told), b"").await;
}

fn member(number: u32, role: Role) -> Member<'static> {
    Member { member: number, client: "c", info: "{}", role, ..Member::default() }
}

async fn enter(connection: &mut FakeConnection, client: &Client) -> (u64, Room) {
    let entering = tokio::spawn(client.room("r").secret("s").info("{}").capacity(8).into_future());
    let heard = connection.hear(Kind::Join).await;
    let Body::Join(join) = heard.frame().body else { unreachable!() };
    let wish =
        Join { room: "r", mode: RoomMode::Room, secret: "s", info: "{}", capacity: 8, ..Join::default() };
    assert_eq!(join, wish);
    let id = heard.id();
    let_in(connection, id, 3).await;
    let mut room = within(entering).await.unwrap().unwrap();
    let Some(RoomEvent::State(state)) = within(room.next()).await else { panic!("the state comes first") };
    assert_eq!((state.me, state.capacity, state.locked), (3, 8, false));
    let members: Vec<_> = state.members.iter().map(|member| (member.number, member.role)).collect();
    assert_eq!(members, [(1, RoomRole::Owner), (3, RoomRole::Member)]);
    (id, room)
}

/// In two events, as large rooms are told.
async fn let_in(connection: &mut FakeConnection, id: u64, number: u32) {
    connection.say(id, &Body::Ok(Success { member: number, ..Success::default() })).await;
    tell(connection, id, Flags::MORE, RoomWhat::State, &[member(1, Role::Owner)]).await;
    tell(connection, id, Flags::NONE, RoomWhat::State, &[member(number, Role::Member)]).await;
}

#[tokio::test(start_paused = true)]
async fn members_come_speak_change_and_go() {
    let (_hub, mut connection, client) = open().await;
    let (id, mut room) = enter(&mut connection, &client).await;
    tell(&mut connection, id, Flags::NONE, RoomWhat::Joined, &[member(4, Role::Member)]).await;
    assert!(matches!(within(room.next()).await, Some(RoomEvent::Joined(member)) if member.number == 4));

    let via = Via { client: "c-4", user: "ada", member: 4, time_ms: 5, ..Via::default() };
    let headers = [("k", "v")];
    let to = Data { to: Numbers::new(&[3]), headers: whub_proto::Headers::new(&headers), ..Data::default() };
    connection.say_with(id, Flags::MORE.with(Flags::TEXT), Some(&via), &Body::Data(to), b"in ").await;
    connection.say_with(id, Flags::TEXT, Some(&via), &Body::Data(Data::default()), b"pieces").await;
    let Some(RoomEvent::Message(message)) = within(room.next()).await else { panic!("a message") };
    assert_eq!((message.from(), message.client(), message.user(), message.time_ms()), (4, "c-4", "ada", 5));
    assert_eq!((message.to(), message.text().unwrap(), message.is_text()), (&[3][..], "in pieces", true));
    assert_eq!(message.headers().get("k"), Some("v"));

    tell(&mut connection, id, Flags::NONE, RoomWhat::Updated, &[member(4, Role::Moderator)]).await;
    let Some(RoomEvent::Updated { members, capacity, locked }) = within(room.next()).await else { panic!() };
    assert_eq!((members[0].role, capacity, locked), (RoomRole::Moderator, 8, false));
    let missed = Told { what: RoomWhat::Missed, room: "r", count: 7, ..Told::default() };
    connection.say(id, &Body::RoomEvent(missed)).await;
    assert_eq!(within(room.next()).await, Some(RoomEvent::Missed { count: 7 }));
    tell(&mut connection, id, Flags::NONE, RoomWhat::Left, &[member(4, Role::Member)]).await;
    assert!(matches!(within(room.next()).await, Some(RoomEvent::Left { member: 4, .. })));

    let closed = Told { what: RoomWhat::Closed, room: "r", reason: "too loud", ..Told::default() };
    connection.say(id, &Body::RoomEvent(closed)).await;
    assert_eq!(within(room.next()).await, None);
    let error = room.error().unwrap();
    assert_eq!((error.code(), error.to_string().contains("too loud")), (Code::Gone, true), "{error}");
    assert_eq!(room.send("anyone?").await.unwrap_err().kind(), ErrorKind::ConnectionLost);
}

#[tokio::test(start_paused = true)]
async fn messages_and_commands_leave_as_they_are_meant() {
    let (mut hub, options) = fake_hub();
    let client = tokio::spawn(options.into_future());
    let mut connection = hub.accept().await;
    connection.welcome_with(Welcome { client: "c1", max_frame: 1024, ..Welcome::default() }).await;
    let client = client.await.unwrap().unwrap();
    let (id, room) = enter(&mut connection, &client).await;
    within(room.send("all")).await.unwrap();
    within(room.send_to(&[1, 2], "some")).await.unwrap();
    within(room.sender().send_bytes_to(&[1], vec![0; 1500])).await.unwrap();
    assert_eq!(room.send_to(&[], "nobody").await.unwrap_err().kind(), ErrorKind::Invalid);
    let mut heard = Vec::new();
    for _ in 0..5 {
        let frame = connection.hear(Kind::Data).await;
        let Body::Data(data) = frame.frame().body else { unreachable!() };
        assert_eq!(frame.id(), id);
        heard.push((data.to.iter().collect::<Vec<_>>(), frame.flags(), frame.payload().len()));
    }
    let expected = [
        (vec![], Flags::TEXT, 3),
        (vec![1, 2], Flags::TEXT, 4),
        (vec![1], Flags::MORE, 0),
        (vec![], Flags::MORE, 1008),
        (vec![], Flags::NONE, 492),
    ];
    assert_eq!(heard, expected);

    let sender = room.sender().clone();
    let kicking = tokio::spawn(async move { sender.kick(&[4, 5], "why").await });
    let heard = connection.hear(Kind::RoomCommand).await;
    let Body::RoomCommand(command) = heard.frame().body else { unreachable!() };
    assert_eq!((command.room, command.act, command.reason), ("r", RoomAct::Kick, "why"));
    assert_eq!(command.members.iter().collect::<Vec<_>>(), [4, 5]);
    let failure = Failure { code: Code::Forbidden, slug: "room.rights", ..Failure::default() };
    connection.refuse(heard.id(), failure).await;
    assert_eq!(within(kicking).await.unwrap().unwrap_err().code(), Code::Forbidden);
    drop(room);
    connection.hear(Kind::Leave).await;
}

#[tokio::test(start_paused = true)]
async fn a_room_is_entered_again_after_a_lost_connection_with_what_was_shown_last() {
    let (mut hub, options) = fake_hub();
    let (mut connection, client) = open_with(&mut hub, options).await;
    let (_, mut room) = enter(&mut connection, &client).await;
    let sender = room.sender().clone();
    let updating = tokio::spawn(async move { sender.update("\"away\"").await });
    let id = connection.hear(Kind::RoomCommand).await.id();
    connection.agree(id).await;
    within(updating).await.unwrap().unwrap();
    drop(connection);
    assert_eq!(within(room.next()).await, Some(RoomEvent::Interrupted));
    assert_eq!(room.send("hello?").await.unwrap_err().kind(), ErrorKind::ConnectionLost);
    let mut connection = hub.accept().await;
    connection.welcome().await;
    let heard = connection.hear(Kind::Join).await;
    let Body::Join(join) = heard.frame().body else { unreachable!() };
    assert_eq!((join.secret, join.info), ("s", "\"away\""));
    let_in(&mut connection, heard.id(), 9).await;
    let Some(RoomEvent::State(state)) = within(room.next()).await else { panic!("the state, anew") };
    assert_eq!((state.me, state.members.len()), (9, 2));
}

#[tokio::test(start_paused = true)]
async fn whoever_is_not_let_in_is_told_why() {
    let (_hub, mut connection, client) = open().await;
    let entering = tokio::spawn(client.room("r").into_future());
    let id = connection.hear(Kind::Join).await.id();
    let failure =
        Failure { code: Code::Unavailable, slug: "room.full", retry_ms: 1000, ..Failure::default() };
    connection.refuse(id, failure).await;
    let error = within(entering).await.unwrap().unwrap_err();
    assert_eq!((error.kind(), error.retryable()), (ErrorKind::Unavailable, true));
    assert!(within(client.room("/r").into_future()).await.is_err());
}
