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
        let of_the_hub = |name: &str| name == "traceparent" || name.contains("forwarded");
        let headers: Vec<_> = request.headers.iter().filter(|(name, _)| !of_the_hub(name)).collect();
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
        tokio::join!(browser.ask("GET /s\nX-Timeout-Ms: 1500\nX-Request-Id: r1", b""), provider.hear());
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

#[tokio::test]
async fn a_stopping_node_finishes_its_answers_and_takes_no_new_questions() {
    let (mut node, mut provider) = providing("/s").await;
    let mut waiting = Browser::visit(&node).await;
    let mut idle = Browser::visit(&node).await;
    assert_eq!(idle.ask("GET /readyz", b"").await.status, 200);
    waiting.write("GET /s HTTP/1.1\r\nHost: localhost\r\n\r\n").await;
    let asked = provider.hear().await;
    node.stop();
    assert!(idle.until_the_end().await.is_empty(), "who waits for nothing is let go");
    assert_eq!(provider.hear().await.kind, Kind::Drain);
    answer(&mut provider, &asked, b"done").await;
    let last = waiting.answer().await;
    assert!(last.text() == "done" && last.is("connection", "close"), "{last:?}");
    assert!(waiting.until_the_end().await.is_empty());
    tokio::time::timeout(crate::common::SOON, node.running).await.unwrap().unwrap();
}

#[tokio::test]
async fn a_client_may_ask_before_it_sends_and_may_send_ahead() {
    let (node, mut provider) = providing("/s").await;
    let mut browser = Browser::visit(&node).await;
    browser
        .write("POST /s HTTP/1.1\r\nHost: localhost\r\nContent-Length: 2\r\nExpect: 100-continue\r\n\r\n")
        .await;
    // The body is asked for once a provider has the call.
    let asked = provider.hear().await;
    assert!(asked.payload.is_empty() && !asked.flags.contains(Flags::END), "{asked:?}");
    assert_eq!(browser.head().await.status, 100);
    browser.write("hi").await;
    assert_eq!(provider.hear().await.payload, b"hi");
    answer(&mut provider, &asked, b"1").await;
    assert_eq!(browser.answer().await.text(), "1");
    // Three at once; the answers come in the order of the questions.
    browser.write("GET /s?1 HTTP/1.1\r\nHost: localhost\r\n\r\n".repeat(3)).await;
    for number in [b"2", b"3", b"4"] {
        let asked = provider.hear().await;
        answer(&mut provider, &asked, number).await;
    }
    for number in ["2", "3", "4"] {
        assert_eq!(browser.answer().await.text(), number);
    }
}

#[tokio::test]
async fn nobody_is_told_to_send_what_nobody_takes() {
    let node = Node::start().await;
    let mut browser = Browser::visit(&node).await;
    let head =
        "POST /nobody HTTP/1.1\r\nHost: localhost\r\nContent-Length: 9\r\nExpect: 100-continue\r\n\r\n";
    browser.write(head).await;
    assert_eq!(browser.head().await.status, 404);
}

#[tokio::test]
async fn conditions_and_ranges_are_the_services_own_affair() {
    let (node, mut provider) = providing("/files/*rest").await;
    for (line, fields, status, headers, body) in [
        (
            "GET /files/a",
            "Range: bytes=0-1\nIf-Range: \"v1\"",
            206,
            &[("content-range", "bytes 0-1/9"), ("etag", "\"v1\""), ("accept-ranges", "bytes")][..],
            &b"ab"[..],
        ),
        ("GET /files/a", "Range: bytes=99-", 416, &[("content-range", "bytes */9")], b"no"),
        ("GET /files/a", "If-None-Match: W/\"v1\", \"v2\"", 304, &[("etag", "W/\"v1\""), ("vary", "a")], b""),
        ("GET /files/a", "If-Modified-Since: Sat, 21 Nov 2026 10:00:00 GMT", 200, &[], b"abcdefghi"),
        ("PUT /files/a", "If-Match: \"v1\"", 412, &[], b""),
        (
            "HEAD /files/a",
            "",
            200,
            &[("set-cookie", "a=1"), ("set-cookie", "b=2"), ("content-length", "9")],
            b"",
        ),
        ("MKCOL /files//a//", "Depth: 0", 201, &[("location", "/files//a//")], b""),
        ("OPTIONS /files/a", "", 204, &[("allow", "GET")], b""),
    ] {
        let mut browser = Browser::visit(&node).await;
        let request = format!("{line}\n{fields}");
        let asking = browser.ask(&request, b"");
        let answering = async {
            let asked = provider.hear().await;
            let Body::Request(request) = asked.frame().body else { panic!("{asked:?}") };
            let (method, path) = line.split_once(' ').unwrap();
            assert_eq!((request.method, request.path), (method, path));
            for field in fields.lines() {
                let (name, value) = field.split_once(": ").unwrap();
                assert_eq!(request.headers.get(name), Some(value), "{line}");
            }
            let response = Response { status, headers: Headers::new(headers), ..Response::default() };
            provider.send(asked.id, Flags::END, &Body::Response(response), body).await;
        };
        let (answer, ()) = tokio::join!(asking, answering);
        assert_eq!((answer.status, &answer.body[..]), (status, body), "{line}");
        let got: Vec<_> = answer
            .headers
            .iter()
            .map(|(name, value)| (name.as_str(), value.as_str()))
            .filter(|pair| headers.contains(pair))
            .collect();
        assert_eq!(got, headers, "{line}: {answer:?}");
    }
}

#[tokio::test]
async fn the_target_may_be_absolute_and_keeps_what_it_escapes() {
    let (node, mut provider) = providing("/s/*rest").await;
    for (target, path, query) in [
        ("http://localhost/s/a?b=%20", "/s/a", "b=%20"),
        ("/s/%C3%A4%2F%25//x/", "/s/%C3%A4%2F%25//x/", ""),
        ("/s/?", "/s/", ""),
        ("/s/a?b?c=/d", "/s/a", "b?c=/d"),
    ] {
        let mut browser = Browser::visit(&node).await;
        let line = format!("GET {target}");
        let asking = browser.ask(&line, b"");
        let answering = async {
            let asked = provider.hear().await;
            let Body::Request(request) = asked.frame().body else { panic!("{asked:?}") };
            assert_eq!((request.path, request.query, request.authority), (path, query, "localhost"));
            answer(&mut provider, &asked, b"").await;
        };
        let (answer, ()) = tokio::join!(asking, answering);
        assert_eq!(answer.status, 200, "{target}");
    }
    let mut browser = Browser::visit(&node).await;
    assert_eq!(browser.ask("OPTIONS *", b"").await.status, 204);
    // Two slashes are no host.
    for target in ["//s/a", "//localhost/s/a", "/s/../x", "/s/%2e%2e/x", "/s/%zz", "*"] {
        let mut browser = Browser::visit(&node).await;
        let status = browser.ask(&format!("GET {target}"), b"").await.status;
        assert!(matches!(status, 400 | 404), "{target}: {status}");
    }
}

#[tokio::test]
async fn http_1_0_gets_answers_of_known_length_or_to_the_end() {
    let (node, mut provider) = providing("/s").await;
    let mut browser = Browser::visit(&node).await;
    browser.write("GET /s HTTP/1.0\r\n\r\n").await;
    let asked = provider.hear().await;
    provider.say(asked.id, &Body::Response(Response::default())).await;
    provider.send(asked.id, Flags::NONE, &Body::Data(whub_proto::Data::default()), b"to the ").await;
    provider.send(asked.id, Flags::END, &Body::Data(whub_proto::Data::default()), b"end").await;
    let head = browser.head().await;
    assert!(head.status == 200 && head.header("transfer-encoding").is_none());
    assert_eq!(browser.until_the_end().await, b"to the end");
}
