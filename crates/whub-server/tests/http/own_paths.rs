//! Paths that the hub itself serves, and those that nobody may.

use whub_core::Grants;
use whub_server::config::{Secret, Token};

use crate::browser::Browser;
use crate::common::Node;

#[tokio::test]
async fn each_path_has_its_methods_and_its_status() {
    let node = Node::start().await;
    for (head, status) in [
        ("GET /healthz", 200),
        ("HEAD /healthz", 200),
        ("POST /healthz", 405),
        ("GET /readyz", 200),
        ("GET /metrics", 200),
        ("PUT /metrics", 405),
        ("GET /", 200),
        ("GET /dashboard", 200),
        ("POST /", 405),
        ("GET /v1/status", 200),
        ("DELETE /v1/status", 405),
        ("GET /v1/services", 200),
        ("GET /v1/nope", 404),
        ("GET /v1/", 404),
        ("GET /v1", 404),
        ("GET /v1/publish/a", 405),
        ("POST /v1/subscribe/a", 405),
        ("GET /v1/call/nope", 404),
        ("GET /v1/call/v1/status", 404),
        ("GET /ws", 426),
        ("POST /ws", 405),
        ("HEAD /pair/x", 405),
        ("DELETE /pair/x", 405),
        ("GET /debug/echo", 404),
        ("GET /auth/login", 404),
        ("GET /status/info", 200),
        ("GET /services", 200),
        ("GET /services/a/b/c", 404),
        ("PUT /services", 405),
        ("GET /%76%31/status", 404),
        ("GET /%77s", 404),
        ("GET /.well-known/x", 404),
        ("GET /gateway/x", 404),
        ("GET //a", 404),
        ("GET /a/../b", 400),
        ("GET /a/%2e%2e/b", 400),
        ("GET /a/%", 400),
        ("GET /a/%00", 400),
        ("TRACE /healthz", 405),
        ("TRACE /any", 405),
        ("CONNECT example.org:443", 400),
        ("CONNECT localhost", 405),
        ("OPTIONS *", 204),
        ("OPTIONS /any", 404),
        ("BREW /any", 404),
    ] {
        let answer = Browser::visit(&node).await.ask(head, b"").await;
        assert_eq!(answer.status, status, "{head}: {answer:?}");
        assert_eq!(answer.status == 405, answer.header("allow").is_some(), "{head}");
        assert!(answer.header("x-request-id").is_some(), "{head}");
        assert!(answer.status < 400 || answer.is("content-type", "application/problem+json"), "{head}");
    }
}

#[tokio::test]
async fn the_numbers_are_there_for_prometheus_programs_and_people() {
    let node = Node::start().await;
    let mut provider = node.client().await;
    provider.register(1, "/billing/:op").await;
    let mut browser = Browser::visit(&node).await;
    let metrics = browser.ask("GET /metrics", b"").await;
    for line in [
        "whub_http_requests_total 1",
        "whub_sessions 1",
        "whub_services 1",
        "whub_calls_accepted_total 0",
        "whub_transport_accepted_total 2",
        "# EOF",
    ] {
        assert!(metrics.text().lines().any(|known| known == line), "{line} in\n{}", metrics.text());
    }
    let status = browser.ask("GET /v1/status", b"").await.json();
    assert_eq!(
        (&status["node"], &status["sessions"], &status["services"]),
        (&"test".into(), &1.into(), &1.into())
    );
    assert_eq!((&status["stopping"], &status["counters"]["published"]), (&false.into(), &0.into()));
    let services = browser.ask("GET /v1/services", b"").await.json();
    assert_eq!(services["services"][0]["pattern"], "/billing/:op");
    let page = browser.ask("GET /", b"").await;
    assert!(page.text().contains("<th scope=\"row\">Services</th><td>1</td>"), "{}", page.text());
    assert!(page.header("content-security-policy").unwrap().starts_with("default-src 'none'"));
}

#[tokio::test]
async fn a_token_decides_what_is_shown_and_called() {
    let grant = Grants { call: vec!["/a/*rest".parse().unwrap()], ..Grants::none() };
    let token = Token { name: "a".into(), secret: Secret::new("s3cret").unwrap(), grant };
    let all = Token { name: "all".into(), secret: Secret::new("other").unwrap(), grant: Grants::all() };
    let node = Node::with(|config| config.tokens = vec![token, all]).await;
    let mut browser = Browser::visit(&node).await;
    let bearer = "Authorization: Bearer s3cret";
    for (head, status) in [
        ("GET /healthz".to_owned(), 200),
        ("GET /metrics".to_owned(), 401),
        ("GET /v1/status?token=s3cret".to_owned(), 401),
        (format!("GET /v1/status\n{bearer}"), 200),
        ("GET /a/x".to_owned(), 401),
        ("GET /a/x\nAuthorization: Bearer wrong".to_owned(), 401),
        (format!("GET /a/x\n{bearer}"), 404),
        (format!("GET /b/x\n{bearer}"), 403),
        (format!("POST /v1/publish/c\n{bearer}"), 403),
        (format!("GET /v1/subscribe/c\n{bearer}"), 403),
    ] {
        let answer = browser.ask(&head, b"").await;
        assert_eq!(answer.status, status, "{head}: {answer:?}");
        assert_eq!(answer.status == 401, answer.header("www-authenticate").is_some());
    }
    let page = browser.ask("GET /", b"").await;
    assert!(page.status == 200 && !page.text().contains("<table>"), "no numbers for strangers");
}
