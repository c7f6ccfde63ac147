//! `whub rooms`: who is together with whom, and what administrators do about it.

#![allow(clippy::unwrap_used, reason = "the helpers are a part of the tests")]

mod whub;

use serde_json::Value;
use whub::Hub;
use whub_client::{Room, RoomEvent, connect};

/// Somebody in a room.
async fn member(hub: &Hub, info: &str) -> Room {
    let client = connect(format!("ws://{}", hub.address)).await.unwrap();
    client.room("tea/time").info(info).secret("s").await.unwrap()
}

#[tokio::test]
async fn rooms_are_listed_and_cleared() {
    let hub = Hub::start(&[]);
    assert_eq!(hub.run(&["rooms"]).1, "there are no rooms\n");
    let (mut a, mut b) = (member(&hub, "ada").await, member(&hub, "bob").await);
    let (code, out, _) = hub.run(&["rooms"]);
    let row: Vec<&str> = out.lines().nth(1).unwrap().split_whitespace().collect();
    assert_eq!((code, &row[..]), (0, &["tea/time", "2", "256", "yes", "no", "1"][..]), "{out}");
    let (_, out, _) = hub.run(&["rooms", "tea/time"]);
    let row: Vec<&str> = out.lines().nth(2).unwrap().split_whitespace().collect();
    assert_eq!((row[0], row[1], row[5]), ("2", "member", "bob"), "{out}");
    let told: Value = serde_json::from_str(&hub.run(&["rooms", "tea/time", "--json"]).1).unwrap();
    assert_eq!(told["present"][0]["info"], "ada");

    assert_eq!(hub.run(&["rooms", "tea/time", "--kick", "2"]).1, "member 2 was sent away\n");
    while b.next().await.is_some() {}
    assert!(b.error().unwrap().to_string().contains("an administrator of the hub has sent this member away"));
    assert_eq!(hub.run(&["rooms", "tea/time", "--kick", "2"]).0, 5);
    assert_eq!(hub.run(&["rooms", "tea/time", "--close"]).1, "tea/time was closed\n");
    let mut last = None;
    while let Some(event) = a.next().await {
        last = Some(event);
    }
    assert!(matches!(last, Some(RoomEvent::Left { member: 2, .. })), "{last:?}");
    assert_eq!(hub.run(&["rooms", "tea/time"]).0, 5);
    assert_eq!(hub.run(&["rooms", "--close"]).0, 2);
    // Such as a variable that was never set, which is not to mean all of them.
    assert_eq!(hub.run(&["rooms", ""]).0, 2);
}
