//! `/v1/services`: who provides what, how it does, and who comes and goes.

use serde_json::Value;
use whub_core::Grants;
use whub_proto::names::Pattern;
use whub_proto::{
    Access, Body, Code, Failure, Flags, Headers, Kind, Register, Response, Strings, Unregister,
};
use whub_server::config::{Secret, Token};

use crate::browser::Browser;
use crate::common::{Client, Node};

async fn read(node: &Node, path: &str) -> Value {
    let answer = Browser::visit(node).await.ask(&format!("GET {path}"), b"").await;
    assert_eq!(answer.status, 200, "{path}: {answer:?}");
    answer.json()
}

fn patterns(listed: &Value) -> Vec<&str> {
    listed["services"].as_array().unwrap().iter().filter_map(|service| service["pattern"].as_str()).collect()
}

async fn register(provider: &mut Client, register: Register<'_>) {
    provider.say(1, &Body::Register(register)).await;
    assert_eq!(provider.hear().await.kind, Kind::Ok);
}

/// Calls once; the provider answers as `failure` says.
async fn call(node: &Node, provider: &mut Client, path: &str, failure: Option<Code>) {
    let answering = async {
        let asked = provider.hear().await;
        assert_eq!(asked.kind, Kind::Request);
        match failure {
            None => provider.send(asked.id, Flags::END, &Body::Response(Response::default()), b"").await,
            Some(code) => provider.say(asked.id, &Body::Error(Failure { code, ..Failure::default() })).await,
        }
    };
    let head = format!("GET {path}");
    let mut browser = Browser::visit(node).await;
    tokio::join!(browser.ask(&head, b""), answering);
}

#[tokio::test]
async fn a_service_tells_of_its_providers_and_of_what_happened() {
    let node = Node::start().await;
    let mut provider = node.client().await;
    let metadata = [("region", "north")];
    register(
        &mut provider,
        Register {
            path: "/math/:op",
            version: "1.2",
            group: "blue",
            description: "adds",
            weight: 3,
            max_inflight: 5,
            headers: Headers::new(&metadata),
            ..Register::default()
        },
    )
    .await;
    call(&node, &mut provider, "/math/add", None).await;
    call(&node, &mut provider, "/math/add", Some(Code::Internal)).await;

    let listed = read(&node, "/v1/services").await;
    let brief = &listed["services"][0];
    for (name, value) in [
        ("pattern", Value::from("/math/:op")),
        ("health", "open".into()),
        ("providers", 1.into()),
        ("access", "public".into()),
        ("choose", "least_loaded".into()),
        ("inflight", 0.into()),
        ("calls", 2.into()),
        ("errors", 1.into()),
        ("versions", ["1.2"].as_slice().into()),
        ("groups", ["blue"].as_slice().into()),
    ] {
        assert_eq!(brief[name], value, "{name} of {brief}");
    }
    assert!(brief.get("provided_by").is_none());

    let by_path = read(&node, "/v1/services/math/add").await;
    assert_eq!(by_path, read(&node, "/v1/services/math/:op").await);
    assert_eq!(by_path, read(&node, "/services/math/add").await, "the same as a call");
    assert_eq!(by_path["errors_by_code"]["internal"], 1);
    assert!(by_path["latency_buckets"][0][0].as_f64() >= Some(0.0));
    let provider = &by_path["provided_by"][0];
    for (name, value) in [
        ("version", Value::from("1.2")),
        ("description", "adds".into()),
        ("weight", 3.into()),
        ("inflight_max", 5.into()),
        ("calls", 2.into()),
        ("health", "open".into()),
    ] {
        assert_eq!(provider[name], value, "{name} of {provider}");
    }
    assert_eq!(provider["metadata"]["region"], "north");
    assert!(provider["client"].as_str().unwrap().starts_with("c-"));
    assert_eq!(Browser::visit(&node).await.ask("GET /v1/services/nobody", b"").await.status, 404);
}

#[tokio::test]
async fn a_provider_that_fails_or_is_full_is_seen_to() {
    let node = Node::start().await;
    let mut provider = node.client().await;
    register(&mut provider, Register { path: "/a", max_inflight: 1, ..Register::default() }).await;
    let health = async || read(&node, "/v1/services/a").await["health"].clone();
    assert_eq!(health().await, "open");
    let mut caller = node.client().await;
    let request = whub_proto::Request { path: "/a", ..whub_proto::Request::default() };
    caller.send(1, Flags::END, &Body::Request(request), b"").await;
    let asked = provider.hear().await;
    assert_eq!(health().await, "full");
    provider.send(asked.id, Flags::END, &Body::Response(Response::default()), b"").await;
    assert_eq!(caller.hear().await.kind, Kind::Response);
    for _ in 0..4 {
        call(&node, &mut provider, "/a", Some(Code::Internal)).await;
    }
    assert_eq!(health().await, "failing");
}

#[tokio::test]
async fn who_leaves_is_seen_to_finish_its_calls() {
    let node = Node::start().await;
    let (mut provider, mut other, mut caller) =
        (node.client().await, node.client().await, node.client().await);
    register(&mut provider, Register { path: "/a", ..Register::default() }).await;
    let request = whub_proto::Request { path: "/a", ..whub_proto::Request::default() };
    caller.send(1, Flags::END, &Body::Request(request), b"").await;
    let asked = provider.hear().await;
    register(&mut other, Register { path: "/a", ..Register::default() }).await;
    provider.say(3, &Body::Unregister(Unregister { path: "/a", ..Unregister::default() })).await;
    assert_eq!(provider.hear().await.kind, Kind::Ok);
    let finishes = async || {
        let service = read(&node, "/v1/services/a").await;
        (service["provided_by"].as_array().unwrap().len(), service["left_lately"][0]["inflight"].clone())
    };
    assert_eq!(finishes().await, (1, 1.into()));
    provider.send(asked.id, Flags::END, &Body::Response(Response::default()), b"").await;
    assert_eq!(caller.hear().await.kind, Kind::Response);
    assert_eq!(finishes().await, (1, 0.into()));
}

#[tokio::test]
async fn news_come_to_onlookers_and_to_the_channel() {
    let node = Node::start().await;
    let mut subscriber = node.client().await;
    subscriber.subscribe(1, "$services").await;
    let mut everything = node.client().await;
    everything.subscribe(1, "#").await;
    let mut onlooker = Browser::visit(&node).await;
    onlooker.write("GET /v1/services?watch HTTP/1.1\r\nHost: localhost\r\n\r\n").await;
    assert!(onlooker.head().await.is("content-type", "text/event-stream"));
    let first = String::from_utf8(onlooker.chunk().await.unwrap()).unwrap();
    assert_eq!(first, "event: services\ndata: {\"services\":[]}\n\n");

    let mut provider = node.client().await;
    register(&mut provider, Register { path: "/a", version: "1", ..Register::default() }).await;
    for (event, providers, leaves) in [("came", 1, true), ("left", 0, false)] {
        let told = String::from_utf8(onlooker.chunk().await.unwrap()).unwrap();
        let data = told.strip_prefix(&format!("event: {event}\ndata: ")).unwrap();
        let told: Value = serde_json::from_str(data).unwrap();
        assert_eq!((&told["event"], &told["pattern"]), (&event.into(), &"/a".into()));
        assert_eq!((&told["providers"], &told["provider"]["version"]), (&providers.into(), &"1".into()));
        let heard = subscriber.hear().await;
        assert_eq!(heard.kind, Kind::Message);
        assert_eq!(serde_json::from_slice::<Value>(&heard.payload).unwrap(), told);
        if leaves {
            provider = node.client().await;
        }
    }
    drop(provider);
    // What is not asked for by name does not come: the next thing that it hears is what it publishes itself.
    let publish = whub_proto::Publish { channel: "x", ..whub_proto::Publish::default() };
    everything.send(2, Flags::NONE, &Body::Publish(publish), b"mine").await;
    assert_eq!(everything.hear().await.payload, b"mine");
}

fn token(name: &str, grant: Grants) -> Token {
    Token { name: name.to_owned(), secret: Secret::new(format!("{name}-secret")).unwrap(), grant }
}

#[tokio::test]
async fn each_sees_what_it_may_call_or_provide() {
    let any = || vec![Pattern::parse("/*rest").unwrap()];
    let open = vec![Pattern::parse("/open/*rest").unwrap()];
    let tokens = vec![
        token("admin", Grants { admin: true, ..Grants::none() }),
        token("ann", Grants { call: any(), ..Grants::none() }),
        token("bob", Grants { call: any(), ..Grants::none() }),
        token("clerk", Grants { call: open, ..Grants::none() }),
        token("maker", Grants { provide: any(), ..Grants::none() }),
    ];
    let node = Node::with(|config| config.tokens = tokens).await;
    let mut provider = node.stranger().await;
    let hello = whub_proto::Hello { token: "maker-secret", ..whub_proto::Hello::default() };
    provider.say(0, &Body::Hello(hello)).await;
    assert_eq!(provider.hear().await.kind, Kind::Welcome);
    register(&mut provider, Register { path: "/open/a", ..Register::default() }).await;
    let ann = ["ann"];
    let named = Register {
        path: "/closed",
        access: Access::Named,
        clients: Strings::new(&ann),
        ..Register::default()
    };
    provider.say(3, &Body::Register(named)).await;
    assert_eq!(provider.hear().await.kind, Kind::Ok);
    for (name, seen) in [
        ("admin", &["/closed", "/open/a"][..]),
        ("ann", &["/closed", "/open/a"]),
        ("bob", &["/open/a"]),
        ("clerk", &["/open/a"]),
        ("maker", &["/closed", "/open/a"]),
    ] {
        let mut browser = Browser::visit(&node).await;
        let ask = |path: &str| format!("GET {path}\nAuthorization: Bearer {name}-secret");
        let listed = browser.ask(&ask("/v1/services"), b"").await.json();
        assert_eq!(patterns(&listed), seen, "{name}");
        let one = browser.ask(&ask("/v1/services/closed"), b"").await;
        assert_eq!(one.status == 200, seen.contains(&"/closed"), "{name}");
        let tells_user = one.text().contains("\"user\"");
        assert_eq!(tells_user, name == "admin", "{name}: {}", one.text());
        assert!(!one.text().contains("ann"), "whom a provider names is its own business: {}", one.text());
        // An answer that goes on, so only its head is read.
        let listen = format!(
            "GET /v1/subscribe/$services HTTP/1.1\r\nHost: localhost\r\nAuthorization: Bearer {name}-secret\r\n\r\n"
        );
        browser.write(listen).await;
        assert_eq!(browser.head().await.status == 200, name == "admin", "{name}");
    }
}
