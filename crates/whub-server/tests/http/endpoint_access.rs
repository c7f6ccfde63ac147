//! Who may use an endpoint, how many may, and what the hub says to it on its own behalf; each by all three ways.

use std::time::Duration;

use whub_core::Grants;
use whub_proto::names::Pattern;
use whub_proto::{Body, Data, Flags, Headers, Hello, Kind, Request};
use whub_server::config::{Config, Endpoint, EndpointAccess, Secret, Target, Token};

use crate::actor::{Actor, field, meet, refusal, report_when, upgrade};
use crate::browser::Browser;
use crate::common::{Client, Heard, Node};
use crate::multiplexer::{Said, Talker};

fn endpoint(name: &str, url: &str) -> Endpoint {
    let mut endpoint = Endpoint::new(name, Target::Upstreams(vec![url.parse().unwrap()]));
    endpoint.backoff_max = Duration::from_millis(50);
    endpoint
}

fn token(name: &str, call: &[&str]) -> Token {
    let call = call.iter().map(|call| Pattern::parse_own(call).unwrap()).collect();
    let secret = Secret::new(format!("{name}-secret")).unwrap();
    Token { name: name.to_owned(), secret, grant: Grants { call, ..Grants::none() } }
}

fn bearer(name: &str) -> String {
    if name.is_empty() { String::new() } else { format!("Authorization: Bearer {name}-secret") }
}

/// A client of the protocol who has said who it is.
pub(crate) async fn client(node: &Node, name: &str) -> Client {
    let mut client = node.stranger().await;
    let token = if name.is_empty() { String::new() } else { format!("{name}-secret") };
    client.say(0, &Body::Hello(Hello { token: &token, ..Hello::default() })).await;
    assert_eq!(client.hear().await.kind, Kind::Welcome);
    client
}

/// Asks for an endpoint by the protocol.
pub(crate) async fn ask(client: &mut Client, id: u64, path: &str) -> Heard {
    let request = Request { path, method: "WEBSOCKET", ..Request::default() };
    client.say(id, &Body::Request(request)).await;
    client.hear().await
}

/// The status of an answer over the protocol, or the slug of an error.
pub(crate) fn outcome(heard: &Heard) -> String {
    let frame = heard.frame();
    if let Body::Response(response) = &frame.body {
        return response.status.to_string();
    }
    let Body::Error(failure) = &frame.body else { panic!("{heard:?}") };
    failure.slug.to_owned()
}

/// What `/gateway` says to who lists these routes.
async fn listed(node: &Node, name: &str, route: &str) -> String {
    let mut client = Talker::join_with(node, &bearer(name)).await;
    client.say("{event: SMHandshake, data: SYN}").await;
    client.hears("{event: SMHandshake, data: SYN/ACK}").await;
    client.say("{event: SMHandshake, data: ACK}").await;
    client.say(&format!("{{event: SMHandshake, data: {route}}}")).await;
    let Said::Text(text) = client.hear().await else { panic!("an answer") };
    text
}

#[tokio::test]
async fn access_is_the_same_by_every_way() {
    let actor = Actor::open("a").await;
    let with = |name: &str, access, clients: &[&str]| {
        let mut endpoint = endpoint(name, &actor.url);
        endpoint.access = access;
        endpoint.clients = clients.iter().map(|&client| client.to_owned()).collect();
        endpoint
    };
    let node = Node::with(|config| {
        config.endpoints = vec![
            with("public", EndpointAccess::Public, &[]),
            with("known", EndpointAccess::Authenticated, &[]),
            with("named", EndpointAccess::Named, &["ada"]),
            with("ungranted", EndpointAccess::Public, &[]),
        ];
        let call = ["/gateway/public/*rest", "/gateway/known/*rest", "/gateway/named/*rest"];
        config.tokens = vec![token("ada", &call), token("bob", &call)];
        config.auth.anonymous = Some(token("", &call).grant);
    })
    .await;
    for (name, endpoint, status, slug) in [
        ("", "public", 101, ""),
        ("ada", "public", 101, ""),
        ("", "known", 401, "gateway.access"),
        ("ada", "known", 101, ""),
        ("bob", "known", 101, ""),
        ("", "named", 401, "gateway.access"),
        ("ada", "named", 101, ""),
        ("bob", "named", 403, "gateway.access"),
        ("ada", "ungranted", 403, "access.forbidden"),
        ("ada", "nowhere", 403, "access.forbidden"),
    ] {
        let who = format!("{name:?} at {endpoint}");
        let (_, answer) = upgrade(&node, &format!("/gateway/{endpoint}"), &bearer(name)).await;
        assert_eq!(answer.status, status, "{who}: {answer:?}");
        let mut browser = Browser::visit(&node).await;
        let by_http = browser.ask(&format!("GET /gateway/{endpoint}/x\n{}", bearer(name)), b"").await;
        let by_protocol =
            outcome(&ask(&mut client(&node, name).await, 1, &format!("/gateway/{endpoint}")).await);
        let by_route = listed(&node, name, endpoint).await;
        if status == 101 {
            assert_eq!((by_http.status, by_protocol.as_str()), (200, "101"), "{who}");
            assert_eq!(by_route, "{event: SMHandshake, data: ACK}", "{who}");
            continue;
        }
        assert_eq!(refusal(&answer).1, slug, "{who}");
        assert_eq!((by_http.status, by_protocol.as_str()), (status, slug), "{who}");
        // Whoever may not use a route does not learn that there is one.
        assert_eq!(by_route, format!("{{event: SMError, data: unknown route {endpoint}}}"), "{who}");
    }
    assert!(actor.heads().iter().all(|head| !head.contains("secret")), "{:?}", actor.heads());
}

#[tokio::test]
async fn whoever_loses_the_right_to_an_endpoint_loses_its_sockets() {
    let actor = Actor::open("a").await;
    let with = |clients: &[&str]| {
        let mut endpoint = endpoint("a", &actor.url);
        endpoint.access = EndpointAccess::Named;
        endpoint.clients = clients.iter().map(|&client| client.to_owned()).collect();
        Config {
            endpoints: vec![endpoint],
            tokens: vec![token("ada", &["/gateway/*rest"]), token("bob", &["/gateway/*rest"])],
            ..Config::default()
        }
    };
    let node = Node::with(|config| {
        let Config { endpoints, tokens, .. } = with(&["ada", "bob"]);
        (config.endpoints, config.tokens) = (endpoints, tokens);
    })
    .await;
    let mut stays = upgrade(&node, "/gateway/a", &bearer("ada")).await.0;
    assert_eq!(stays.exactly(3).await, b"\x81\x01a");
    let mut goes = upgrade(&node, "/gateway/a", &bearer("bob")).await.0;
    assert_eq!(goes.exactly(3).await, b"\x81\x01a");
    let mut many = Talker::open_with(&node, &bearer("bob"), &["a"]).await;
    many.hears("ROUTENAME=a\na").await;
    let mut caller = client(&node, "bob").await;
    assert_eq!(outcome(&ask(&mut caller, 1, "/gateway/a").await), "101");
    assert_eq!(caller.hear().await.payload, b"a");

    node.handle.reload(with(&["ada"]));
    let last = goes.until_the_end().await;
    assert_eq!(last[2..4], 4403_u16.to_be_bytes(), "{last:?}");
    many.hears("{event: SMRoute, data: route down a}").await;
    many.say("ROUTENAME=a\nhello").await;
    many.hears("{event: SMError, data: route down a}").await;
    let last = caller.hear().await;
    let Body::Data(data) = last.frame().body else { panic!("{last:?}") };
    assert_eq!((data.close, last.flags), (4403, Flags::END));
    stays.write(b"\x81\x85\x37\xfa\x21\x3d\x7f\x9f\x4d\x51\x58").await;
    assert_eq!(stays.exactly(7).await, b"\x81\x05Hello");

    node.handle.reload(with(&["ada", "bob"]));
    many.hears("{event: SMRoute, data: route up a}").await;
    many.hears("ROUTENAME=a\na").await;
}

#[tokio::test]
async fn an_endpoint_has_no_more_connections_than_it_may_have() {
    let actor = Actor::open("a").await;
    let mut narrow = endpoint("a", &actor.url);
    narrow.connections = Some(2);
    let node = Node::with(|config| config.endpoints = vec![narrow]).await;
    let (one, _) = meet(&node, "a").await;
    let mut many = Talker::open(&node, &["a"]).await;
    many.hears("ROUTENAME=a\na").await;
    // Both places are taken, whichever way others come.
    let (_, answer) = upgrade(&node, "/gateway/a", "").await;
    assert_eq!((refusal(&answer).0, refusal(&answer).1.as_str()), (503, "gateway.full"));
    assert_eq!(answer.json()["retry_ms"], 1000);
    let mut late = Talker::open(&node, &["a"]).await;
    late.hears("{event: SMRoute, data: route down a}").await;
    let mut caller = client(&node, "").await;
    assert_eq!(outcome(&ask(&mut caller, 1, "/gateway/a").await), "gateway.full");
    let full = report_when(&node, "a", |report| report["sockets"] == 2).await;
    assert_eq!((&full["connections_max"], &full["up"]), (&2.into(), &true.into()), "{full}");
    assert_eq!(Browser::visit(&node).await.ask("GET /gateway/a/x", b"").await.status, 200, "it is no socket");

    // One that becomes free is taken by who waits for it.
    drop(one);
    late.hears("{event: SMRoute, data: route up a}").await;
    late.hears("ROUTENAME=a\na").await;
    assert_eq!(upgrade(&node, "/gateway/a", "").await.1.status, 503);
    drop((many, late));
    report_when(&node, "a", |report| report["sockets"] == 0).await;
    assert_eq!(outcome(&ask(&mut caller, 3, "/gateway/a").await), "101");
    assert_eq!(caller.hear().await.payload, b"a");
    let close = Data { close: 1000, ..Data::default() };
    meet(&node, "a").await;
    assert_eq!(outcome(&ask(&mut caller, 5, "/gateway/a").await), "gateway.full");
    caller.send(3, Flags::END, &Body::Data(close), b"").await;
    report_when(&node, "a", |report| report["sockets"] == 1).await;
    meet(&node, "a").await;
}

#[tokio::test]
async fn what_the_hub_says_to_an_endpoint_takes_the_place_of_what_its_clients_say() {
    let actor = Actor::open("a").await;
    let mut asked = endpoint("a", &actor.url);
    asked.authorization = Some(Secret::new("of-the-endpoint").unwrap());
    let header = |name: &str, value: &str| (name.to_owned(), value.to_owned());
    asked.headers = vec![
        header("x-tenant", "acme"),
        header("cookie", "hub=1"),
        header("x-list", "1"),
        header("x-list", "2"),
    ];
    let node = Node::with(|config| config.endpoints = vec![asked]).await;
    let fields = "Authorization: Bearer of-the-client\nX-Tenant: mine\nX-Own: 1\nX-List: 0\nCookie: a=b";
    assert_eq!(upgrade(&node, "/gateway/a/socket", fields).await.1.status, 101);
    let answer = Browser::visit(&node).await.ask(&format!("GET /gateway/a/page\n{fields}"), b"").await;
    assert_eq!(answer.status, 200);
    let mut many = Talker::open_with(&node, fields, &["a"]).await;
    many.hears("ROUTENAME=a\na").await;
    let mut caller = client(&node, "").await;
    assert_eq!(outcome(&ask(&mut caller, 1, "/gateway/a/call").await), "101");

    let heads = actor.heads();
    let head_of = |path: &str| {
        let line = format!("GET {path} HTTP/1.1\r\n");
        heads.iter().find(|head| head.starts_with(&line)).unwrap_or_else(|| panic!("{path} in {heads:?}"))
    };
    for path in ["/socket", "/page", "/", "/call"] {
        let head = head_of(path);
        for (name, value) in
            [("authorization", "Bearer of-the-endpoint"), ("x-tenant", "acme"), ("cookie", "hub=1")]
        {
            assert_eq!(field(head, name), Some(value), "{name} in {head}");
            assert_eq!(head.to_lowercase().matches(&format!("\n{name}: ")).count(), 1, "{name} in {head}");
        }
    }
    for path in ["/socket", "/page", "/", "/call"] {
        let lower = head_of(path).to_lowercase();
        let list: Vec<_> = lower.lines().filter_map(|line| line.strip_prefix("x-list: ")).collect();
        assert_eq!(list, ["1", "2"], "{lower}");
    }
    // The rest of the client's own reaches the endpoint that it talks to itself.
    for path in ["/socket", "/page"] {
        assert_eq!(field(head_of(path), "x-own"), Some("1"));
    }
    assert_eq!(field(head_of("/"), "x-own"), None);
}

#[tokio::test]
async fn only_the_subprotocols_of_an_endpoint_are_agreed_on() {
    let actor = Actor::open("a").await;
    let mut asked = endpoint("a", &actor.url);
    asked.protocols = vec!["chat.v2".to_owned(), "chat.v1".to_owned()];
    let node = Node::with(|config| config.endpoints = vec![asked]).await;
    let (_, answer) = upgrade(&node, "/gateway/a/none", "Sec-WebSocket-Protocol: soap, wamp").await;
    let words = "the endpoint a speaks chat.v2, chat.v1, and none of them was offered";
    assert_eq!(refusal(&answer), (400, "gateway.subprotocol".to_owned(), words.to_owned()));
    upgrade(&node, "/gateway/a/some", "Sec-WebSocket-Protocol: soap, chat.v1").await;
    upgrade(&node, "/gateway/a/silent", "").await;
    let mut many = Talker::open(&node, &["a"]).await;
    many.hears("ROUTENAME=a\na").await;
    let mut caller = client(&node, "").await;
    assert_eq!(outcome(&ask(&mut caller, 1, "/gateway/a/call").await), "101");
    caller.hear().await;
    for (id, path, offer, expected) in [
        (3, "/gateway/a/call-none", "soap, wamp", "gateway.subprotocol"),
        (5, "/gateway/a/call-some", "soap, chat.v1", "101"),
    ] {
        let offer = [("sec-websocket-protocol", offer)];
        let request =
            Request { path, method: "WEBSOCKET", headers: Headers::new(&offer), ..Request::default() };
        caller.say(id, &Body::Request(request)).await;
        assert_eq!(outcome(&caller.hear().await), expected);
    }
    let offered = |path: &str| {
        let line = format!("GET {path} ");
        let heads = actor.heads();
        let head = heads.iter().find(|head| head.starts_with(&line));
        head.map(|head| field(head, "sec-websocket-protocol").map(str::to_owned))
    };
    assert_eq!(offered("/none"), None, "it was not asked");
    assert_eq!(offered("/some"), Some(Some("chat.v1".to_owned())));
    assert_eq!(offered("/silent"), Some(None));
    assert_eq!(offered("/call"), Some(Some("chat.v2, chat.v1".to_owned())), "what the hub offers itself");
    assert_eq!(offered("/call-none"), None);
    assert_eq!(offered("/call-some"), Some(Some("chat.v1".to_owned())));
    assert_eq!(offered("/"), Some(Some("chat.v2, chat.v1".to_owned())), "what the hub offers itself");
}
