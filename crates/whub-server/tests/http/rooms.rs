//! `/v1/rooms`: who is where, and what administrators may do about it.

use serde_json::{Value, json};
use whub_core::Grants;
use whub_proto::names::Filter;
use whub_proto::{Body, Join, Kind, RoomWhat};
use whub_server::config::{Config, Secret, Token};

use crate::browser::Browser;
use crate::common::{Client, Node};

async fn member(node: &Node, room: &str, info: &str) -> Client {
    let mut client = node.client().await;
    client.say(1, &Body::Join(Join { room, info, secret: "s", ..Join::default() })).await;
    assert_eq!(client.hear().await.kind, Kind::Ok);
    assert_eq!(client.hear().await.kind, Kind::RoomEvent);
    client
}

async fn ask(node: &Node, head: &str) -> (u16, Value) {
    let answer = Browser::visit(node).await.ask(head, b"").await;
    (answer.status, serde_json::from_slice(&answer.body).unwrap_or_default())
}

async fn hear_event(client: &mut Client) -> (RoomWhat, String) {
    let heard = client.hear().await;
    let Body::RoomEvent(event) = heard.frame().body else { panic!("{heard:?}") };
    (event.what, event.reason.to_owned())
}

#[tokio::test]
async fn rooms_are_shown_and_cleared() {
    let node = Node::start().await;
    assert_eq!(ask(&node, "GET /v1/rooms").await, (200, json!({ "rooms": [] })));
    let mut a = member(&node, "a/b", "{\"nick\":\"ada\"}").await;
    let mut b = member(&node, "a/b", "").await;
    assert_eq!(hear_event(&mut a).await.0, RoomWhat::Joined);
    let room =
        json!({ "room": "a/b", "members": 2, "capacity": 256, "locked": false, "secret": true, "owner": 1 });
    assert_eq!(ask(&node, "GET /v1/rooms").await, (200, json!({ "rooms": [room] })));
    let (status, told) = ask(&node, "GET /v1/rooms/a%2Fb").await;
    assert_eq!((status, &told["members"], &told["present"][1]["member"]), (200, &json!(2), &json!(2)));
    assert_eq!(told["present"][0]["info"], "{\"nick\":\"ada\"}");
    assert!(!told.to_string().contains("\"s\""), "secrets are not shown");

    assert_eq!(ask(&node, "DELETE /v1/rooms/a%2Fb/members/2").await.0, 200);
    let (what, reason) = hear_event(&mut b).await;
    assert_eq!(
        (what, &reason[..]),
        (RoomWhat::Closed, "an administrator of the hub has sent this member away")
    );
    assert_eq!(hear_event(&mut a).await.0, RoomWhat::Left);
    assert_eq!(ask(&node, "DELETE /v1/rooms/a%2Fb/members/2").await.0, 404);
    assert_eq!(ask(&node, "DELETE /v1/rooms/a%2Fb").await.0, 200);
    assert_eq!(hear_event(&mut a).await.0, RoomWhat::Closed);
    assert_eq!(ask(&node, "GET /v1/rooms/a%2Fb").await.0, 404);
    for (head, status) in [
        ("PUT /v1/rooms", 405),
        ("DELETE /v1/rooms", 405),
        ("PUT /v1/rooms/x", 405),
        ("GET /v1/rooms/x/members/1", 405),
        ("GET /v1/rooms/x/members", 404),
        ("GET /v1/roomsx", 404),
        ("GET /room/x", 426),
        ("GET /room/x/y", 404),
    ] {
        assert_eq!(ask(&node, head).await.0, status, "{head}");
    }
}

#[tokio::test]
async fn rooms_are_for_those_who_administer() {
    let node = Node::with(|config: &mut Config| {
        let token = |name: &str, admin| Token {
            name: name.to_owned(),
            secret: Secret::new(format!("{name}-secret-secret").as_str()).unwrap(),
            grant: Grants { admin, ..Grants::all() },
        };
        config.tokens = vec![token("user", false), token("root", true)];
    })
    .await;
    for (head, status) in [
        ("GET /v1/rooms\nAuthorization: Bearer user-secret-secret", 403),
        ("DELETE /v1/rooms/x\nAuthorization: Bearer user-secret-secret", 403),
        ("GET /v1/rooms\nAuthorization: Bearer root-secret-secret", 200),
        ("GET /v1/rooms\nAuthorization: Bearer nobody", 401),
    ] {
        assert_eq!(ask(&node, head).await.0, status, "{head}");
    }
}

#[tokio::test]
async fn a_plain_member_stays_for_as_long_as_it_may() {
    let grant = |pair| Grants { pair: vec![Filter::parse(pair).unwrap()], ..Grants::none() };
    let token = |pair| Token { name: "a".into(), secret: Secret::new("s3cret").unwrap(), grant: grant(pair) };
    let node = Node::with(|config| config.tokens = vec![token("mine/#")]).await;
    let handshake = "Connection: Upgrade\nUpgrade: websocket\nSec-WebSocket-Version: 13\n\
                     Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\nAuthorization: Bearer s3cret";
    let mut browser = Browser::visit(&node).await;
    assert_eq!(browser.ask(&format!("GET /room/other\n{handshake}"), b"").await.status, 403);
    let mut browser = Browser::visit(&node).await;
    assert_eq!(browser.ask(&format!("GET /room/mine%2Fx\n{handshake}"), b"").await.status, 101);
    // A text message, masked with nothing.
    browser.write(b"\x81\x8b\0\0\0\0{\"join\":{}}").await;
    node.until(|hub| hub.rooms.members() == 1).await;
    node.handle.reload(Config { tokens: vec![token("+/x")], ..Config::default() });
    node.handle.reload(Config { tokens: vec![token("yours/#")], ..Config::default() });
    node.until(|hub| hub.rooms.members() == 0).await;
    let told = browser.until_the_end().await;
    let told = String::from_utf8_lossy(&told);
    assert!(told.contains("\"event\":\"state\"") && told.contains("may not join mine/x"), "{told}");
}
