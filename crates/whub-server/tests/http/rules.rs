//! What happens to a request on its way to the provider: which credential counts, which headers pass, who is refused.

use std::sync::{Arc, Mutex};
use std::time::Duration;

use whub_core::middleware::{AnswerHead, CallRecord, Middleware, Outcome, Rate};
use whub_core::{Grants, Now};
use whub_proto::{Body, Flags, Headers, Register, Response, Strings};
use whub_server::Server;
use whub_server::config::{Config, RequestHeaders, Secret, ServiceEntry, ServiceRules, Token};
use whub_transport::Networks;

use crate::browser::{Answer, Browser};
use crate::common::{Client, Node};

/// A node with a provider of `pattern`.
async fn providing(pattern: &str, change: impl FnOnce(&mut Config)) -> (Node, Client) {
    let node = Node::with(change).await;
    let mut provider = node.client().await;
    provider.register(1, pattern).await;
    (node, provider)
}

/// Everybody may do everything, and `hub-secret` is ada's.
fn open_with_token(config: &mut Config) {
    let secret = Secret::new("hub-secret").unwrap();
    config.tokens = vec![Token { name: "ada".to_owned(), secret, grant: Grants::all() }];
    config.auth.anonymous = Some(Grants::all());
}

/// Asks, answers, and says which headers and whose name the provider saw.
async fn seen(node: &Node, provider: &mut Client, fields: &str) -> (Vec<String>, String) {
    let mut browser = Browser::visit(node).await;
    let providing = async {
        let asked = provider.hear().await;
        let frame = asked.frame();
        let Body::Request(request) = frame.body else { panic!("{asked:?}") };
        // What the hub adds is another test's.
        let added = |name: &str| {
            matches!(name, "x-request-id" | "traceparent" | "forwarded") || name.starts_with("x-forwarded-")
        };
        let headers = request.headers.iter().filter(|(name, _)| !added(name));
        let headers = headers.map(|(name, value)| format!("{name}: {value}")).collect();
        let user = frame.via.unwrap().user.to_owned();
        provider.send(asked.id, Flags::END, &Body::Response(Response::default()), b"").await;
        (headers, user)
    };
    let head = format!("GET /a\n{fields}");
    let (answer, seen) = tokio::join!(browser.ask(&head, b""), providing);
    assert_eq!(answer.status, 200);
    seen
}

async fn refused(node: &Node, fields: &str) -> Answer {
    Browser::visit(node).await.ask(&format!("GET /a\n{fields}"), b"").await
}

#[tokio::test]
async fn the_hubs_credential_never_reaches_a_provider() {
    let (node, mut provider) = providing("/a", |config| {
        open_with_token(config);
        config.headers.request.pass = vec!["*".parse().unwrap()];
    })
    .await;
    let (headers, user) = seen(&node, &mut provider, "Authorization: Bearer hub-secret\nCookie: c=1").await;
    assert_eq!((headers, user.as_str()), (vec!["host: localhost".into(), "cookie: c=1".into()], "ada"));
    let fields = "Whub-Token: hub-secret\nAuthorization: Bearer app";
    let (headers, user) = seen(&node, &mut provider, fields).await;
    assert_eq!(
        (headers, user.as_str()),
        (vec!["host: localhost".into(), "authorization: Bearer app".into()], "ada")
    );
}

#[tokio::test]
async fn a_token_of_the_hub_is_none_of_the_applications_wherever_it_stands() {
    let (node, mut provider) = providing("/a", |config| {
        open_with_token(config);
        config.headers.request.pass = vec!["authorization".parse().unwrap()];
    })
    .await;
    let fields = "Whub-Token: hub-secret\nAuthorization: Bearer hub-secret";
    let (headers, user) = seen(&node, &mut provider, fields).await;
    assert_eq!((headers, user.as_str()), (vec![], "ada"));
}

#[tokio::test]
async fn an_unknown_bearer_is_the_applications_only_where_a_rule_passes_it() {
    let (node, mut provider) = providing("/a", open_with_token).await;
    let answer = refused(&node, "Authorization: Bearer app").await;
    assert_eq!((answer.status, answer.json()["slug"].as_str()), (401, Some("auth.invalid")));
    let (headers, user) = seen(&node, &mut provider, "Authorization: Basic dTpw").await;
    assert_eq!((headers, user.as_str()), (vec![], ""), "another scheme is nobody's business");

    let mut config = Config::default();
    open_with_token(&mut config);
    config.headers.request.pass = vec!["authorization".parse().unwrap()];
    node.handle.reload(config.clone());
    let (headers, user) = seen(&node, &mut provider, "Authorization: Bearer app").await;
    assert_eq!((headers, user.as_str()), (vec!["authorization: Bearer app".into()], ""));
    assert_eq!(
        refused(&node, "Whub-Token: app").await.status,
        401,
        "what is shown to the hub has to be right"
    );

    config.auth.anonymous = Some(Grants::none());
    node.handle.reload(config);
    assert_eq!(refused(&node, "Authorization: Bearer app").await.status, 401, "anonymous peers may not call");
}

#[tokio::test]
async fn headers_of_answers_follow_the_rules_too() {
    let (node, mut provider) = providing("/a", |config| {
        config.headers.response.block = vec!["x-internal-*".parse().unwrap(), "server".parse().unwrap()];
    })
    .await;
    let mut browser = Browser::visit(&node).await;
    let providing = async {
        let asked = provider.hear().await;
        let pairs = [("server", "s"), ("x-internal-a", "1"), ("whub-moved", "9"), ("etag", "e")];
        let response = Response { headers: Headers::new(&pairs), ..Response::default() };
        provider.send(asked.id, Flags::END, &Body::Response(response), b"x").await;
    };
    let (answer, ()) = tokio::join!(browser.ask("GET /a", b""), providing);
    for gone in ["server", "x-internal-a", "whub-moved"] {
        assert_eq!(answer.header(gone), None, "{gone}");
    }
    assert!(answer.is("etag", "e"));
}

#[tokio::test]
async fn too_many_calls_are_told_when_to_come_back() {
    let (node, mut provider) = providing("/a", |config| {
        config.rate.address = Some(Rate { count: 1, period: Duration::from_secs(3600), burst: 1 });
        config.rate.exempt = Networks::default();
    })
    .await;
    seen(&node, &mut provider, "").await;
    let answer = refused(&node, "").await;
    assert_eq!((answer.status, answer.json()["slug"].as_str()), (429, Some("rate.address")));
    let wait: u64 = answer.header("retry-after").unwrap().parse().unwrap();
    assert!((1..=3600).contains(&wait), "{wait}");
    let wait_ms = answer.json()["retry_ms"].as_u64().unwrap();
    assert!(wait_ms > 1000 * (wait - 1) && wait_ms <= 1000 * wait, "{wait_ms} {wait}");
}

#[tokio::test]
async fn blocked_addresses_and_unknown_callers_are_refused() {
    let (node, _provider) = providing("/a", |config| {
        config.authentication.required = vec![whub_proto::names::Pattern::parse("/a/*rest").unwrap()];
    })
    .await;
    let answer = refused(&node, "").await;
    assert_eq!((answer.status, answer.json()["slug"].as_str()), (401, Some("auth.required")));
    assert_eq!(answer.json()["message"], "invalid credential");
    let mut config = Config::default();
    config.middleware.block = Networks(vec!["127.0.0.0/8".parse().unwrap()]);
    node.handle.reload(config);
    let answer = refused(&node, "").await;
    assert_eq!(answer.status, 403);
    assert_eq!(answer.json()["message"], "address 127.0.0.1 has been blocklisted");
}

#[tokio::test]
async fn bodies_are_bounded_in_both_directions() {
    let (node, mut provider) = providing("/a", |config| {
        (config.middleware.request_bytes, config.middleware.response_bytes) = (Some(4), Some(4));
    })
    .await;
    let mut browser = Browser::visit(&node).await;
    let answer = browser.ask("POST /a", b"12345").await;
    assert_eq!((answer.status, answer.json()["slug"].as_str()), (413, Some("call.request_too_large")));
    let mut browser = Browser::visit(&node).await;
    let providing = async {
        let asked = provider.hear().await;
        provider.send(asked.id, Flags::END, &Body::Response(Response::default()), b"12345").await;
    };
    let (answer, ()) = tokio::join!(browser.ask("POST /a", b"1234"), providing);
    assert_eq!((answer.status, answer.json()["slug"].as_str()), (502, Some("call.response_too_large")));
}

#[tokio::test]
async fn a_service_has_rules_of_its_own() {
    let (node, mut provider) = providing("/a", |config| {
        let rules = ServiceRules {
            rate: Some(Rate { count: 1, period: Duration::from_secs(3600), burst: 2 }),
            request_bytes: Some(4),
            request: RequestHeaders { pass: vec!["cookie".parse().unwrap()], ..RequestHeaders::default() },
            ..ServiceRules::default()
        };
        let pattern = whub_proto::names::Pattern::parse("/a/*rest").unwrap();
        config.services = vec![ServiceEntry { pattern, section: config.service_defaults.clone(), rules }];
        config.middleware.request_bytes = Some(1);
        config.headers.request.pass = vec!["user-agent".parse().unwrap()];
    })
    .await;
    let fields = "Cookie: c=1\nUser-Agent: me\nX-To: c-2";
    let (headers, _) = seen(&node, &mut provider, fields).await;
    assert_eq!(headers, ["cookie: c=1", "user-agent: me"]);
    let post = |body: &'static [u8]| {
        let node = &node;
        async move { Browser::visit(node).await.ask("POST /a", body).await.status }
    };
    assert_eq!(post(b"12345").await, 413);
    // The one that was too long has had its token.
    assert_eq!(post(b"1234").await, 429);
}

#[tokio::test]
async fn a_service_may_ask_for_what_is_kept_back() {
    let node = Node::with(open_with_token).await;
    let mut provider = node.client().await;
    let wanted = ["*"];
    let register = Register { path: "/a", pass_headers: Strings::new(&wanted), ..Register::default() };
    provider.say(1, &Body::Register(register)).await;
    provider.hear().await;
    let fields = "Cookie: c=1\nAuthorization: Bearer app\nConnection: X-Hop\nX-Hop: 1\nTE: trailers";
    let (headers, user) = seen(&node, &mut provider, fields).await;
    assert_eq!(headers, ["host: localhost", "cookie: c=1", "authorization: Bearer app"]);
    assert_eq!(user, "");
    let (headers, user) = seen(&node, &mut provider, "Authorization: Bearer hub-secret").await;
    assert_eq!((headers, user.as_str()), (vec!["host: localhost".to_owned()], "ada"));
}

/// Notes how calls end, and lets no server name itself.
#[derive(Debug, Default)]
struct Notes(Mutex<Vec<String>>);

impl Middleware for Notes {
    fn name(&self) -> &'static str {
        "notes"
    }

    fn answered(&self, _: Now, _: &CallRecord, answer: &mut AnswerHead<'_>) {
        answer.headers.set("server", "none of your business");
    }

    fn ended(&self, _: Now, call: &CallRecord, outcome: &Outcome) {
        let provider = if outcome.provider.is_some() { " by a provider" } else { "" };
        let line = format!("{} {} {} {}{provider}", call.method, call.path, outcome.status, outcome.slug);
        self.0.lock().unwrap().push(format!("{line} as {} {}", call.user, call.request_id));
    }
}

#[tokio::test]
async fn a_step_of_ones_own_sees_every_call_however_it_ends() {
    let (node, mut provider) = providing("/a", open_with_token).await;
    let notes = Arc::new(Notes::default());
    node.handle.add_middleware(notes.clone());
    let mut browser = Browser::visit(&node).await;
    assert_eq!(browser.ask("GET /a\nX-Request-Id: 1\nAuthorization: Bearer no", b"").await.status, 401);
    assert_eq!(browser.ask("PUT /nobody\nX-Request-Id: 2", b"").await.status, 404);
    let head = "GET /a?secret\nX-Request-Id: 3\nWhub-Token: hub-secret";
    let providing = async {
        let asked = provider.hear().await;
        provider.send(asked.id, Flags::END, &Body::Response(Response::default()), b"").await;
    };
    let (answer, ()) = tokio::join!(browser.ask(head, b""), providing);
    assert!(answer.is("server", "none of your business"), "{answer:?}");
    assert_eq!(
        *notes.0.lock().unwrap(),
        [
            "GET /a 401 auth.invalid as  1",
            "PUT /nobody 404 service.not_found as  2",
            "GET /a 200  by a provider as ada 3",
        ]
    );
    node.handle.remove_middleware("notes");
    assert_eq!(browser.ask("GET /nobody", b"").await.status, 404);
    assert_eq!(notes.0.lock().unwrap().len(), 3);
}

#[tokio::test]
async fn answers_may_name_who_gave_them_and_for_whom() {
    let (node, mut provider) = providing("/a", |config| {
        config.middleware.order.push("from_to".to_owned());
    })
    .await;
    let mut browser = Browser::visit(&node).await;
    let providing = async {
        let asked = provider.hear().await;
        let client = asked.frame().via.unwrap().client.to_owned();
        let pairs = [("x-from", "somebody else")];
        let response = Response { headers: Headers::new(&pairs), ..Response::default() };
        provider.send(asked.id, Flags::END, &Body::Response(response), b"").await;
        client
    };
    let (answer, client) = tokio::join!(browser.ask("GET /a", b""), providing);
    assert!(answer.is("x-to", &client), "{answer:?}");
    let from = answer.header("x-from").unwrap();
    assert!(from.starts_with("c-") && from != client, "{answer:?}");
}

#[tokio::test]
async fn a_step_that_is_not_there_keeps_the_node_from_starting() {
    let mut config = Config { listen: vec!["127.0.0.1:0".parse().unwrap()], ..Config::default() };
    config.middleware.order.push("notes".to_owned());
    let error = Server::bind(config, "test").await.unwrap_err().to_string();
    assert!(error.starts_with("middleware.order names `notes`, which no step is called"), "{error}");
}
