//! The hub's own services answer alike over HTTP and over the protocol, to whom the configuration says.

use serde_json::Value;
use whub_proto::{Body, Flags, Kind, Register, Request};
use whub_server::config::Audience;

use crate::browser::Browser;
use crate::common::{Client, Node};

async fn over_http(node: &Node, path: &str) -> (u16, Value) {
    let answer = Browser::visit(node).await.ask(&format!("GET {path}"), b"").await;
    (answer.status, serde_json::from_str(answer.text()).unwrap_or_default())
}

async fn over_protocol(client: &mut Client, id: u64, path: &str) -> Value {
    let request = Request { path, ..Request::default() };
    client.send(id, Flags::END, &Body::Request(request), b"").await;
    let heard = client.hear().await;
    assert_eq!(heard.kind, Kind::Response, "{heard:?}");
    serde_json::from_slice(&heard.payload).unwrap()
}

#[tokio::test]
async fn status_and_services_answer_alike_over_http_and_over_the_protocol() {
    let node = Node::start().await;
    let mut client = node.client().await;
    client.register(1, "/mine/*rest").await;
    let (status, over_http_) = over_http(&node, "/status").await;
    assert_eq!((status, &over_http_["node"]), (200, &Value::from("test")));
    let own = over_protocol(&mut client, 3, "/status").await;
    assert_eq!((&own["node"], &own["sessions"]), (&Value::from("test"), &Value::from(1)));
    for path in ["/services", "/status/services"] {
        let (_, listed) = over_http(&node, path).await;
        assert_eq!(listed["services"][0]["pattern"], "/mine/*rest");
    }
    let (_, info) = over_http(&node, "/status/info").await;
    assert_eq!((&info["id"], &info["address"]), (&Value::from("test"), &Value::from(node.authority())));
    assert_eq!(over_protocol(&mut client, 5, "/status/info").await, info);
}

#[tokio::test]
async fn no_provider_takes_what_the_hub_answers_itself() {
    let node = Node::start().await;
    let mut client = node.client().await;
    client.register(1, "/*all").await;
    client.register(3, "/:one").await;
    client.say(5, &Body::Register(Register { path: "/status/mine", ..Register::default() })).await;
    assert_eq!(client.hear().await.kind, Kind::Error);
    assert_eq!(over_http(&node, "/status").await.0, 200);
    for path in ["/status/nothing", "/auth/login", "/message/x/y/z"] {
        let (status, problem) = over_http(&node, path).await;
        assert_eq!((status, &problem["slug"]), (404, &Value::from("service.not_found")), "{path}");
    }
    let (status, told) = over_http(&node, "/services/x/y/z").await;
    assert_eq!((status, &told["pattern"]), (200, &"/*all".into()), "the hub tells who would take the rest");
    let answer = Browser::visit(&node).await.ask("DELETE /status", b"").await;
    assert!(answer.status == 405 && answer.is("allow", "GET, HEAD"), "{}", answer.status);
    assert!(answer.text().contains("unsupported method for uri /status"));
}

#[tokio::test]
async fn the_configuration_says_who_may_ask() {
    for (audience, open, closed) in [
        (Audience::Anyone, 200, 200),
        (Audience::Token, 200, 401),
        (Audience::Admin, 200, 401),
        (Audience::Nobody, 404, 404),
    ] {
        let node = Node::with(|config| config.builtin.status = audience).await;
        assert_eq!(over_http(&node, "/status").await.0, open, "{audience:?} on an open hub");
        let node = Node::with(|config| {
            config.builtin.status = audience;
            config.auth.anonymous = Some(whub_server::config::Grant::all());
        })
        .await;
        assert_eq!(over_http(&node, "/status").await.0, closed, "{audience:?} for anonymous peers");
    }
}

#[tokio::test]
async fn where_providers_are_is_for_those_who_provide_or_administer() {
    use crate::people::{ask, join, json, people};
    let node = Node::with(people).await;
    let (mut bob, _) = join(&node, "bob", "").await;
    bob.register(1, "/till/:op").await;
    let address = bob.socket.local_addr().unwrap().to_string();
    for (who, status) in [("ada", 200), ("bob", 200), ("eve", 403)] {
        let answer = ask(&node, who, "GET /services/till/open/providers", "").await;
        assert_eq!(answer.status, status, "{who}");
        if status == 200 {
            assert_eq!(json(&answer), serde_json::json!([{ "type": "WS", "address": address }]));
        }
    }
    assert_eq!(ask(&node, "ada", "GET /services/nothing/providers", "").await.status, 404);
}
