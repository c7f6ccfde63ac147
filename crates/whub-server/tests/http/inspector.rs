//! `/v1/inspect`: what was called, and once more.

use serde_json::Value;
use whub_core::Grants;
use whub_proto::{Body, Flags, Headers, Response};
use whub_server::config::{Secret, Token};

use crate::browser::Browser;
use crate::calls::providing;
use crate::common::{Client, Heard, Node};

async fn answer(provider: &mut Client, asked: &Heard) {
    let pairs = [("content-type", "text/plain"), ("set-cookie", "s=s3cret"), ("x-a", "1")];
    let response = Response { status: 201, headers: Headers::new(&pairs), ..Response::default() };
    provider.send(asked.id, Flags::END, &Body::Response(response), b"made").await;
}

/// Asks, and answers as the provider.
async fn call(browser: &mut Browser, provider: &mut Client, head: &str, body: &[u8]) -> Heard {
    let answering = async {
        let asked = provider.hear().await;
        answer(provider, &asked).await;
        asked
    };
    let (answered, asked) = tokio::join!(browser.ask(head, body), answering);
    assert_eq!(answered.status, 201, "{answered:?}");
    asked
}

async fn calls(browser: &mut Browser, path: &str) -> Vec<Value> {
    let answer = browser.ask(&format!("GET {path}"), b"").await;
    assert_eq!(answer.status, 200, "{answer:?}");
    answer.json()["calls"].as_array().unwrap().clone()
}

#[tokio::test]
async fn recording_begins_when_somebody_looks_and_ends_on_demand() {
    let (node, mut provider) = providing("/billing/*rest").await;
    let mut browser = Browser::visit(&node).await;
    call(&mut browser, &mut provider, "GET /billing/unseen", b"").await;
    assert!(
        node.hub
            .chain
            .current()
            .is_none_or(|chain| chain.steps().iter().all(|step| step.name() != "inspector"))
    );
    assert!(calls(&mut browser, "/v1/inspect?path=/billing").await.is_empty());

    let head = "POST /billing/add?q=1&token=s3cret\nX-Tenant: acme\nX-Signature: s3cret";
    call(&mut browser, &mut provider, head, b"12345").await;
    assert_eq!(browser.ask("GET /elsewhere", b"").await.status, 404);
    let listed = calls(&mut browser, "/v1/inspect?path=/billing").await;
    let [listed] = listed.as_slice() else { panic!("{listed:?}") };
    for (name, value) in [
        ("method", Value::from("POST")),
        ("path", "/billing/add".into()),
        ("query", "q=1&token=[redacted]".into()),
        ("service", "/billing/*rest".into()),
        ("door", "http".into()),
        ("status", 201.into()),
        ("bytes_up", 5.into()),
        ("bytes_down", 4.into()),
        ("replayable", true.into()),
    ] {
        assert_eq!(listed[name], value, "{name} of {listed}");
    }
    assert!(listed["provider"].as_str().unwrap().starts_with("c-"), "{listed}");
    assert!(listed["queued_ms"].as_f64() <= listed["first_ms"].as_f64() && listed["queued_ms"].is_number());
    assert!(listed["first_ms"].as_f64() <= listed["duration_ms"].as_f64() && listed["first_ms"].is_number());

    let id = &listed["id"];
    let shown = browser.ask(&format!("GET /v1/inspect/{id}"), b"").await;
    assert!(!shown.text().contains("s3cret") && !shown.text().contains("12345"), "{}", shown.text());
    let shown = shown.json();
    assert_eq!(shown["request"]["headers"]["x-tenant"], "acme");
    assert_eq!(shown["request"]["headers"]["x-signature"], "[redacted]");
    assert_eq!(shown["response"]["headers"]["set-cookie"], "[redacted]");
    assert_eq!(shown["response"]["headers"]["x-a"], "1");

    assert_eq!(browser.ask("DELETE /v1/inspect", b"").await.status, 200);
    assert_eq!(browser.ask(&format!("GET /v1/inspect/{id}"), b"").await.status, 404);
    let steps = node.hub.chain.current().unwrap();
    assert!(steps.steps().iter().all(|step| step.name() != "inspector"));
}

#[tokio::test]
async fn a_call_is_made_anew() {
    let (node, mut provider) = providing("/billing/*rest").await;
    let mut browser = Browser::visit(&node).await;
    calls(&mut browser, "/v1/inspect").await;
    let head = "PUT /billing/a%2Fb?q=1\nX-Tenant: acme\nX-Request-Id: req-7";
    let first = call(&mut browser, &mut provider, head, b"12345").await;
    let id = calls(&mut browser, "/v1/inspect").await[0]["id"].clone();
    let replay = format!("POST /v1/inspect/{id}/replay");
    let again = async {
        let asked = provider.hear().await;
        answer(&mut provider, &asked).await;
        asked
    };
    let (summary, again) = tokio::join!(browser.ask(&replay, b""), again);
    assert_eq!(summary.status, 200, "{summary:?}");
    let summary = summary.json();
    assert_eq!(
        (&summary["replay_of"], &summary["status"], &summary["body"]),
        (&id, &201.into(), &"made".into())
    );
    assert_eq!(summary["headers"]["set-cookie"], "[redacted]");

    let (first_frame, again_frame) = (first.frame(), again.frame());
    let (Body::Request(once), Body::Request(twice)) = (first_frame.body, again_frame.body) else { panic!() };
    assert_eq!((once.method, once.path, once.query), (twice.method, twice.path, twice.query));
    assert_eq!(first.payload, again.payload);
    assert_eq!(twice.headers.get("x-tenant"), Some("acme"));
    assert_eq!(twice.headers.get("whub-replay"), Some(id.to_string().as_str()));
    assert_ne!(once.headers.get("x-request-id"), twice.headers.get("x-request-id"));
    // The replay was a call like any other, so it was recorded too.
    assert_eq!(calls(&mut browser, "/v1/inspect").await.len(), 2);
    drop(provider);
    node.until(|hub| hub.services.list().is_empty()).await;
    assert_eq!(browser.ask(&replay, b"").await.status, 404);
}

#[tokio::test]
async fn what_the_configuration_names_is_recorded_from_the_first_call_on() {
    let services = vec!["/a".parse().unwrap()];
    let node = Node::with(|config| config.inspect.services = services).await;
    let mut provider = node.client().await;
    provider.register(1, "/a").await;
    let mut browser = Browser::visit(&node).await;
    call(&mut browser, &mut provider, "GET /a", b"").await;
    assert_eq!(browser.ask("GET /b", b"").await.status, 404);
    let seen = calls(&mut browser, "/v1/inspect").await;
    assert_eq!((seen.len(), &seen[0]["path"]), (1, &"/a".into()));
    // A reload that no longer names it takes the inspector out, once nobody looks.
    assert_eq!(browser.ask("DELETE /v1/inspect", b"").await.status, 200);
    let is_there = || {
        let chain = node.hub.chain.current();
        chain.is_some_and(|chain| chain.steps().iter().any(|step| step.name() == "inspector"))
    };
    assert!(is_there());
    node.handle.reload(whub_server::config::Config::default());
    assert!(!is_there());
}

#[tokio::test]
async fn a_body_that_was_not_kept_cannot_be_sent_again() {
    let node = Node::with(|config| config.inspect.body_bytes = 4).await;
    let mut provider = node.client().await;
    provider.register(1, "/a").await;
    let mut browser = Browser::visit(&node).await;
    calls(&mut browser, "/v1/inspect").await;
    call(&mut browser, &mut provider, "POST /a", b"12345").await;
    let id = calls(&mut browser, "/v1/inspect").await[0]["id"].clone();
    let answer = browser.ask(&format!("POST /v1/inspect/{id}/replay"), b"").await;
    assert_eq!((answer.status, &answer.json()["slug"]), (409, &"inspect.not_replayable".into()));
}

#[tokio::test]
async fn onlookers_see_calls_as_they_end() {
    let (node, mut provider) = providing("/billing/*rest").await;
    let mut onlooker = Browser::visit(&node).await;
    onlooker.write("GET /v1/inspect?path=/billing&watch HTTP/1.1\r\nHost: localhost\r\n\r\n").await;
    let head = onlooker.head().await;
    assert!(head.is("content-type", "text/event-stream"), "{head:?}");
    let first = String::from_utf8(onlooker.chunk().await.unwrap()).unwrap();
    assert!(first.starts_with("event: calls\ndata: {"), "{first}");
    let mut browser = Browser::visit(&node).await;
    assert_eq!(browser.ask("GET /elsewhere", b"").await.status, 404);
    call(&mut browser, &mut provider, "GET /billing/x", b"").await;
    let told = String::from_utf8(onlooker.chunk().await.unwrap()).unwrap();
    let data = told.strip_prefix("event: call\ndata: ").unwrap();
    let told: Value = serde_json::from_str(data).unwrap();
    assert_eq!((&told["path"], &told["status"]), (&"/billing/x".into(), &201.into()));
}

#[tokio::test]
async fn only_administrators_look() {
    let token = |name: &str, admin| Token {
        name: name.to_owned(),
        secret: Secret::new(format!("{name}-secret")).unwrap(),
        grant: Grants { admin, ..Grants::none() },
    };
    let node = Node::with(|config| config.tokens = vec![token("user", false), token("admin", true)]).await;
    let mut browser = Browser::visit(&node).await;
    for (path, user, admin) in [
        ("GET /v1/inspect", 403, 200),
        ("GET /v1/inspect?watch=0&limit=many", 403, 400),
        ("GET /v1/inspect?path=/a/*b/c", 403, 400),
        ("GET /v1/inspect/1", 403, 404),
        ("GET /v1/inspect/one", 403, 404),
        ("POST /v1/inspect/1/replay", 403, 404),
        ("GET /v1/inspect/1/replay", 403, 405),
        ("POST /v1/inspect", 403, 405),
        ("GET /v1/inspected", 404, 404),
    ] {
        for (name, status) in [("user", user), ("admin", admin)] {
            let answer = browser.ask(&format!("{path}\nAuthorization: Bearer {name}-secret"), b"").await;
            assert_eq!(answer.status, status, "{path} as {name}: {answer:?}");
        }
        assert_eq!(browser.ask(path, b"").await.status, 401);
    }
    let off = Node::with(|config| config.inspect.calls = 0).await;
    assert_eq!(Browser::visit(&off).await.ask("GET /v1/inspect", b"").await.status, 404);
}
