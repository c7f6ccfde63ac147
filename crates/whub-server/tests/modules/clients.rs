//! Who is connected, and who may know and end it.

use serde_json::{Value, json as value};
use whub_proto::{Body, Kind};

use crate::common::Node;
use crate::people::{ask, join, json, people};

#[tokio::test]
async fn an_administrator_sees_everybody_and_everybody_sees_itself() {
    let node = Node::with(people).await;
    let (mut bob, bob_id) = join(&node, "bob", "a till").await;
    bob.subscribe(1, "news/#").await;
    bob.register(3, "/till/:op").await;
    let (_eve, eve_id) = join(&node, "eve", "").await;
    let listed = ask(&node, "ada", "GET /clients", "").await;
    let clients = json(&listed);
    assert_eq!((listed.status, clients["clients"].as_array().unwrap().len()), (200, 2));
    let first = &clients["clients"][0];
    assert_eq!(
        (&first["id"], &first["user"], &first["name"]),
        (&value!(bob_id), &value!("bob"), &value!("a till"))
    );
    assert_eq!((&first["subscriptions"], &first["services"]), (&value!(1), &value!(1)));
    assert_eq!((&first["groups"], &first["transport"]), (&value!(["night"]), &value!("stream")));
    assert!(first["since_ms"].as_u64().unwrap() > 1_700_000_000_000 && first["address"].is_string());
    // Not a secret in it.
    assert!(!listed.text().contains("secret"));
    for (who, path, status) in [
        ("bob", "/clients".to_owned(), 403),
        ("bob", format!("/clients/{bob_id}"), 200),
        ("bob", format!("/clients/{eve_id}"), 403),
        ("bob", "/clients/nobody".to_owned(), 403),
        ("bob", format!("/clients/{eve_id}/conn"), 403),
        ("ada", format!("/clients/{eve_id}"), 200),
        ("ada", "/clients/nobody".to_owned(), 404),
        ("ada", "/clients/nobody/conn".to_owned(), 404),
        ("ada", "/clients/signup".to_owned(), 404),
    ] {
        let answer = ask(&node, who, &format!("GET {path}"), "").await;
        assert_eq!(answer.status, status, "{who} {path}");
    }
    let connections = json(&ask(&node, "bob", &format!("GET /clients/{bob_id}/conn"), "").await);
    let connection: Value = serde_json::from_str(connections[0].as_str().unwrap()).unwrap();
    assert_eq!((&connection["type"], &connection["address"]), (&value!("WS"), &first["address"]));
}

#[tokio::test]
async fn an_administrator_ends_sessions_and_nobody_else_does() {
    let node = Node::with(people).await;
    let (mut bob, bob_id) = join(&node, "bob", "").await;
    let (mut eve, _) = join(&node, "eve", "").await;
    let ids = value!({ "ids": [bob_id, "nobody"] }).to_string();
    assert_eq!(ask(&node, "eve", "DELETE /clients", &ids).await.status, 403);
    assert_eq!(ask(&node, "bob", &format!("DELETE /clients/{bob_id}"), "").await.status, 403);
    let ended = ask(&node, "ada", "DELETE /clients", &ids).await;
    assert_eq!((ended.status, json(&ended)), (200, value!({ "closed": 1, "not_found": ["nobody"] })));
    let last = bob.hear().await;
    let Body::Error(failure) = last.frame().body else { panic!("{last:?}") };
    assert_eq!((last.id, failure.slug, failure.retry_ms), (0, "session.kicked", 0));
    assert!(bob.try_hear().await.is_none());
    let ended = ask(&node, "ada", "DELETE /clients/@night", "").await;
    assert_eq!(json(&ended)["closed"], 1);
    assert_eq!(eve.hear().await.kind, Kind::Error);
    node.until(|hub| hub.clients.is_empty()).await;
    assert_eq!(ask(&node, "ada", "DELETE /clients/bob", "").await.status, 404);
}

#[tokio::test]
async fn a_client_that_leaves_is_no_longer_there() {
    let node = Node::start().await;
    let (client, id) = join(&node, "", "").await;
    let path = format!("GET /clients/{id}");
    // On a hub without tokens everybody may administer.
    assert_eq!(ask(&node, "", &path.replace("GET ", "PUT "), "").await.status, 405);
    assert_eq!(node.hub.clients.len(), 1);
    drop(client);
    node.until(|hub| hub.clients.is_empty() && hub.clients.find(&id).is_empty()).await;
}
