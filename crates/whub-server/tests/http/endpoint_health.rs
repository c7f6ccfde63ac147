//! Whether an endpoint is there is known before a client asks.

use std::time::Duration;

use tokio::io::AsyncReadExt;
use tokio::net::TcpListener;
use tokio::time::timeout;
use whub_server::config::{Endpoint, Health, Secret, Target};

use crate::actor::{
    Actor, MUTE, field, meet, own_address, refusal, report, report_when, report_when_up, upgrade,
};
use crate::browser::Browser;
use crate::common::{Node, SOON};
use crate::endpoint_access::{ask, outcome};
use crate::multiplexer::Talker;

/// An endpoint that is looked at often.
fn endpoint(url: &str, health: Health) -> Endpoint {
    let mut endpoint = Endpoint::new("a", Target::Upstreams(vec![url.parse().unwrap()]));
    endpoint.health = health;
    endpoint.health_interval = Duration::from_millis(20);
    endpoint.backoff_max = Duration::from_millis(50);
    endpoint
}

async fn with(endpoint: Endpoint) -> Node {
    Node::with(|config| config.endpoints = vec![endpoint]).await
}

/// What is wrong with the only upstream.
fn trouble(report: &serde_json::Value) -> &str {
    report["upstreams"][0]["trouble"].as_str().unwrap()
}

fn went_to(actor: &Actor, path: &str) -> bool {
    actor.heads().iter().any(|head| head.starts_with(&format!("GET {path} ")))
}

#[tokio::test]
async fn by_connections_it_is_down_while_nobody_listens_and_up_when_somebody_does() {
    let address = Actor::open("a").await.die().await;
    let node = with(endpoint(&format!("ws://{address}/"), Health::Connect)).await;
    let down = report_when_up(&node, "a", false).await;
    let upstream = &down["upstreams"][0];
    assert_eq!((&upstream["url"], &upstream["up"]), (&format!("ws://{address}/").into(), &false.into()));
    assert!(trouble(&down).starts_with("Connection refused"), "{down}");
    assert!(upstream["down_ms"].is_u64(), "{down}");
    let (_, answer) = upgrade(&node, "/gateway/a", "").await;
    let (status, slug, words) = refusal(&answer);
    assert_eq!((status, slug.as_str()), (503, "gateway.down"));
    assert!(words.starts_with("the endpoint a is down: Connection refused"), "{words}");
    assert_eq!(answer.json()["retry_ms"], 1000);
    let metrics = Browser::visit(&node).await.ask("GET /metrics", b"").await;
    assert!(metrics.text().contains("\nwhub_endpoints_down 1\n"), "{}", metrics.text());

    // Somebody who listens is enough, whatever it says.
    let actor = Actor::at("a", address).await;
    actor.upgrades(404);
    actor.answers(500);
    let up = report_when_up(&node, "a", true).await;
    assert!(up["upstreams"][0]["trouble"].is_null() && up["upstreams"][0]["down_ms"].is_null(), "{up}");
    assert_eq!(upgrade(&node, "/gateway/a", "").await.1.status, 404, "its own answer");
}

#[tokio::test]
async fn by_handshakes_it_is_down_while_it_does_not_speak_websocket() {
    let actor = Actor::open("a").await;
    actor.upgrades(404);
    let mut asked = endpoint(&format!("{}chat?k=v", actor.url), Health::WebSocket);
    asked.protocols = vec!["chat.v1".to_owned()];
    asked.headers = vec![("x-tenant".to_owned(), "acme".to_owned())];
    let node = with(asked).await;
    let down = report_when_up(&node, "a", false).await;
    assert_eq!(trouble(&down), "the handshake is answered with 404 Not Found");
    let (_, answer) = upgrade(&node, "/gateway/a/mine", "").await;
    let words = "the endpoint a is down: the handshake is answered with 404 Not Found";
    assert_eq!(refusal(&answer), (503, "gateway.down".to_owned(), words.to_owned()));
    let answer = Browser::visit(&node).await.ask("GET /gateway/a/mine", b"").await;
    assert_eq!(answer.status, 503, "its HTTP side too");
    let refused = ask(&mut node.client().await, 1, "/gateway/a/mine").await;
    assert_eq!(outcome(&refused), "gateway.down", "by the protocol too");
    let mut client = Talker::open(&node, &["a"]).await;
    client.hears("{event: SMRoute, data: route down a}").await;
    client.say("ROUTENAME=a\nhello").await;
    client.hears("{event: SMError, data: route down a}").await;
    assert!(!went_to(&actor, "/chat/mine?k=v"), "nobody was sent there: {:?}", actor.heads());

    actor.upgrades(101);
    client.hears("{event: SMRoute, data: route up a}").await;
    client.hears("ROUTENAME=a\na").await;
    report_when_up(&node, "a", true).await;
    meet(&node, "a").await;
    let look = actor.heads().remove(0);
    assert!(look.starts_with("GET /chat?k=v HTTP/1.1\r\n"), "{look}");
    assert_eq!(field(&look, "sec-websocket-protocol"), Some("chat.v1"));
    assert_eq!(field(&look, "x-tenant"), Some("acme"));
}

#[tokio::test]
async fn a_look_by_handshake_is_a_websocket_that_is_closed_in_order() {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let node = with(endpoint(&format!("ws://{}/", listener.local_addr().unwrap()), Health::WebSocket)).await;
    let accepted = timeout(SOON, listener.accept()).await.expect("a look in time");
    let mut played = Talker::greet(accepted.unwrap().0).await.expect("a handshake");
    assert_eq!(played.hear().await, crate::multiplexer::Said::Closed(1000));
    assert_eq!(played.hear().await, crate::multiplexer::Said::End);
    assert_eq!(report(&node, "a").await["up"], true);
}

#[tokio::test]
async fn a_look_by_handshake_is_no_connection_that_counts() {
    let actor = Actor::open("a").await;
    actor.upgrades(MUTE);
    let node = with(endpoint(&actor.url, Health::WebSocket)).await;
    // The look is under way for as long as connect_timeout.
    node.until(|_| !actor.heads().is_empty()).await;
    let report = report(&node, "a").await;
    let upstream = &report["upstreams"][0];
    assert_eq!((&upstream["up"], &upstream["connections"]), (&true.into(), &0.into()), "{report}");
}

#[tokio::test]
async fn by_handshakes_one_that_does_not_answer_is_down_in_time() {
    let actor = Actor::open("a").await;
    actor.upgrades(MUTE);
    let mut asked = endpoint(&actor.url, Health::WebSocket);
    asked.connect_timeout = Duration::from_millis(50);
    let node = with(asked).await;
    let down = report_when_up(&node, "a", false).await;
    assert_eq!(trouble(&down), "no answer within 50ms");
    actor.upgrades(101);
    report_when_up(&node, "a", true).await;
}

#[tokio::test]
async fn by_a_path_it_is_down_while_that_answers_badly() {
    let actor = Actor::open("a").await;
    actor.answers(500);
    let mut asked = endpoint(&format!("{}chat?k=v", actor.url), Health::Http("/health?deep".to_owned()));
    asked.headers = vec![("x-tenant".to_owned(), "acme".to_owned())];
    asked.authorization = Some(Secret::new("s3cret").unwrap());
    let node = with(asked).await;
    let down = report_when_up(&node, "a", false).await;
    assert_eq!(trouble(&down), "GET /health?deep is answered with 500 Internal Server Error");
    let (_, answer) = upgrade(&node, "/gateway/a/mine", "").await;
    assert_eq!(refusal(&answer).0, 503);
    let mut client = Talker::open(&node, &["a"]).await;
    client.hears("{event: SMRoute, data: route down a}").await;
    assert!(!went_to(&actor, "/chat/mine?k=v"), "nobody was sent there: {:?}", actor.heads());
    let look = actor.heads().remove(0);
    assert!(look.starts_with("GET /health?deep HTTP/1.1\r\n"), "{look}");
    let authority = actor.url.trim_start_matches("ws://").trim_end_matches('/');
    for (name, value) in [("host", authority), ("x-tenant", "acme"), ("authorization", "Bearer s3cret")] {
        assert_eq!(field(&look, name), Some(value), "{name} in {look}");
    }

    // Below 400 is well.
    actor.answers(302);
    client.hears("{event: SMRoute, data: route up a}").await;
    report_when_up(&node, "a", true).await;
    meet(&node, "a").await;
    actor.answers(404);
    let down = report_when_up(&node, "a", false).await;
    assert_eq!(trouble(&down), "GET /health?deep is answered with 404 Not Found");
}

#[tokio::test]
async fn by_a_path_one_that_does_not_answer_is_down_in_time() {
    let actor = Actor::open("a").await;
    actor.answers(MUTE);
    let mut asked = endpoint(&actor.url, Health::Http("/health".to_owned()));
    asked.connect_timeout = Duration::from_millis(50);
    let node = with(asked).await;
    assert_eq!(trouble(&report_when_up(&node, "a", false).await), "no answer within 50ms");
}

#[tokio::test]
async fn a_client_that_has_a_websocket_keeps_it_while_its_endpoint_is_found_down() {
    let actor = Actor::open("a").await;
    let node = with(endpoint(&actor.url, Health::Http("/health".to_owned()))).await;
    let (mut browser, _) = meet(&node, "a").await;
    let mut client = Talker::open(&node, &["a"]).await;
    client.hears("ROUTENAME=a\na").await;
    actor.answers(500);
    report_when_up(&node, "a", false).await;
    browser.write(b"\x81\x85\x37\xfa\x21\x3d\x7f\x9f\x4d\x51\x58").await;
    assert_eq!(browser.exactly(7).await, b"\x81\x05Hello");
    client.say("ROUTENAME=a\nstill there").await;
    client.hears("ROUTENAME=a\nstill there").await;
    let both = report(&node, "a").await;
    assert_eq!((&both["sockets"], &both["up"]), (&2.into(), &false.into()), "{both}");
}

#[tokio::test]
async fn nobody_looks_at_one_whose_health_is_off_until_a_client_found_it_down() {
    let listener = TcpListener::bind(own_address()).await.unwrap();
    let address = listener.local_addr().unwrap();
    let looked_at = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let mut other = endpoint(&format!("ws://{}/", looked_at.local_addr().unwrap()), Health::Connect);
    other.name = "other".to_owned();
    let endpoints = vec![endpoint(&format!("ws://{address}/"), Health::Off), other];
    let node = Node::with(|config| config.endpoints = endpoints).await;
    for _ in 0..5 {
        tokio::select! {
            biased;
            accepted = listener.accept() => panic!("somebody looked: {accepted:?}"),
            accepted = looked_at.accept() => drop(accepted.unwrap()),
        }
    }
    let asking = async {
        let (mut socket, _) = listener.accept().await.unwrap();
        assert_eq!(socket.read_u8().await.unwrap(), b'G', "a request");
        drop((socket, listener));
    };
    let ((), (_, answer)) = tokio::join!(asking, upgrade(&node, "/gateway/a", ""));
    assert_eq!((refusal(&answer).0, refusal(&answer).1.as_str()), (502, "gateway.lost"));
    assert_eq!(report(&node, "a").await["up"], true, "it may have been the client's fault");
    assert_eq!(refusal(&upgrade(&node, "/gateway/a", "").await.1).0, 503);
    // It is tried again and again meanwhile, which does not bring it back.
    let is_down_still = |report: &serde_json::Value| {
        report["up"] == false && report["upstreams"][0]["down_ms"].as_u64().is_some_and(|time| time > 250)
    };
    report_when(&node, "a", is_down_still).await;
    let _actor = Actor::at("a", address).await;
    report_when_up(&node, "a", true).await;
    meet(&node, "a").await;
}
