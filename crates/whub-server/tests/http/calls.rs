//! A request for a service's path is a call, and its one outcome the answer.

use whub_proto::{Body, Code, Failure, Flags, Format, Headers, Kind, Response};

use crate::browser::Browser;
use crate::common::{Client, Heard, Node};

/// A node with a provider of `pattern`.
pub(crate) async fn providing(pattern: &str) -> (Node, Client) {
    let node = Node::start().await;
    let mut provider = node.client().await;
    provider.register(1, pattern).await;
    (node, provider)
}

async fn answer(provider: &mut Client, asked: &Heard, payload: &[u8]) {
    let response = Body::Response(Response::default());
    provider.send(asked.id, Flags::END, &response, payload).await;
}

#[tokio::test]
async fn a_request_reaches_its_provider_whole_and_the_answer_comes_back() {
    let (node, mut provider) = providing("/billing/*rest").await;
    let mut browser = Browser::visit(&node).await;
    let asking = browser.ask(
        "PUT /billing/a%2Fb/?q=%20x&token=1\nContent-Type: application/json\nX-Tenant: acme\nX-Tenant: b\n\
         Cookie: c=1\nAuthorization: Basic dTpw\nUser-Agent: me\nX-Request-Id: req-7\nX-Timeout-Ms: 1500",
        br#"{"n":1}"#,
    );
    let providing = async {
        let asked = provider.hear().await;
        let frame = asked.frame();
        let Body::Request(request) = frame.body else { panic!("{asked:?}") };
        assert_eq!((request.path, request.query), ("/billing/a%2Fb/", "q=%20x&token=1"));
        assert_eq!((request.method, request.scheme, request.authority), ("PUT", "http", "localhost"));
        assert_eq!((request.format, request.timeout_ms), (Format::Json, 1500));
        let headers: Vec<_> = request.headers.iter().collect();
        let expected = [
            ("content-type", "application/json"),
            ("x-tenant", "acme"),
            ("x-tenant", "b"),
            ("x-request-id", "req-7"),
        ];
        assert_eq!(headers, expected);
        assert!(asked.flags.contains(Flags::END));
        assert_eq!(asked.payload, br#"{"n":1}"#);
        let via = frame.via.unwrap();
        assert!(via.peer.starts_with("127.0.0.1:") && via.client.starts_with("c-"), "{via:?}");
        assert_eq!((via.path, via.node), ("/billing/*rest", "test"));
        let pairs = [("content-type", "text/plain"), ("x-a", "1"), ("x-a", "2"), ("connection", "upgrade")];
        let response = Response { status: 201, headers: Headers::new(&pairs), ..Response::default() };
        provider.send(asked.id, Flags::END, &Body::Response(response), b"made").await;
    };
    let (answer, ()) = tokio::join!(asking, providing);
    assert_eq!((answer.status, answer.text()), (201, "made"));
    assert!(answer.is("content-type", "text/plain") && answer.is("x-request-id", "req-7"));
    assert!(answer.is("content-length", "4") && answer.header("connection").is_none());
    let values: Vec<_> =
        answer.headers.iter().filter(|(name, _)| name == "x-a").map(|(_, v)| v.as_str()).collect();
    assert_eq!(values, ["1", "2"]);
}

#[tokio::test]
async fn the_api_calls_by_path_as_well_and_the_connection_is_kept() {
    let (node, mut provider) = providing("/echo").await;
    let mut browser = Browser::visit(&node).await;
    for (line, path) in [("GET /v1/call/echo", "/echo"), ("GET /echo/", "/echo/"), ("GET /echo?x", "/echo")] {
        let providing = async {
            let asked = provider.hear().await;
            let Body::Request(request) = asked.frame().body else { panic!("{asked:?}") };
            assert_eq!(request.path, path);
            answer(&mut provider, &asked, b"hi").await;
        };
        let (answer, ()) = tokio::join!(browser.ask(line, b""), providing);
        assert_eq!((answer.status, answer.text()), (200, "hi"), "{line}");
        assert!(answer.is("content-type", "application/json; charset=UTF-8"));
    }
}

#[tokio::test]
async fn every_way_to_fail_is_one_problem_with_the_known_texts() {
    let (node, mut provider) = providing("/s").await;
    let mut browser = Browser::visit(&node).await;
    let nobody = browser.ask("GET /nope", b"").await;
    assert_eq!(nobody.status, 404);
    assert!(nobody.is("content-type", "application/problem+json"));
    let problem = nobody.json();
    assert_eq!(problem["message"], "can not find service for uri /nope");
    assert_eq!((&problem["slug"], &problem["code"]), (&"service.not_found".into(), &404.into()));

    let failing = async {
        let asked = provider.hear().await;
        let failure =
            Failure { code: Code::Conflict, reason: "taken", slug: "s.taken", ..Failure::default() };
        provider.send(asked.id, Flags::END, &Body::Error(failure), b"").await;
    };
    let (refused, ()) = tokio::join!(browser.ask("GET /s", b""), failing);
    assert_eq!((refused.status, &refused.json()["slug"]), (409, &"s.taken".into()));

    let (late, asked) =
        tokio::join!(browser.ask("GET /s\nX-Timeout-Ms: 60\nX-Request-Id: r1", b""), provider.hear());
    assert_eq!((late.status, &late.json()["message"]), (504, &"request timeout for message r1".into()));
    assert_eq!(asked.kind, Kind::Request);
    assert_eq!(provider.hear().await.kind, Kind::Cancel);

    let losing = async {
        provider.hear().await;
        drop(provider);
    };
    let (lost, ()) = tokio::join!(browser.ask("GET /s", b""), losing);
    assert_eq!((lost.status, &lost.json()["slug"]), (502, &"service.provider_lost".into()));
    assert_eq!(browser.ask("GET /s", b"").await.status, 404, "gone with its provider");
}
