//! What web pages of other origins may do and read.

use whub_proto::{Body, Flags, Headers, Register, Response, Strings};
use whub_server::config::Config;

use crate::browser::{Answer, Browser};
use crate::common::{Client, Node};

const ORIGIN: &str = "Origin: https://app.example";

async fn node(change: impl FnOnce(&mut Config)) -> Node {
    Node::with(|config| {
        config.http.allowed_origins = vec!["https://app.example".to_owned()];
        change(config);
    })
    .await
}

async fn provider(node: &Node, pass_headers: &[&str]) -> Client {
    let mut provider = node.client().await;
    let register = Register { path: "/a", pass_headers: Strings::new(pass_headers), ..Register::default() };
    provider.say(1, &Body::Register(register)).await;
    provider.hear().await;
    provider
}

async fn asked(node: &Node, provider: &mut Client, head: &str, headers: &[(&str, &str)]) -> (Answer, String) {
    let mut browser = Browser::visit(node).await;
    let providing = async {
        let asked = provider.hear().await;
        let Body::Request(request) = asked.frame().body else { panic!("{asked:?}") };
        let method = request.method.to_owned();
        let response = Response { headers: Headers::new(headers), ..Response::default() };
        provider.send(asked.id, Flags::END, &Body::Response(response), b"").await;
        method
    };
    tokio::join!(browser.ask(head, b""), providing)
}

#[tokio::test]
async fn caches_learn_that_pages_get_another_answer() {
    let open = node(|_| {}).await;
    let closed = Node::with(|_| {}).await;
    for (node, vary) in [(&open, Some("origin")), (&closed, None)] {
        let answer = Browser::visit(node).await.ask("GET /healthz", b"").await;
        assert_eq!(answer.header("vary"), vary);
    }
}

#[tokio::test]
async fn preflights_say_what_the_configuration_says() {
    let node = node(|config| {
        config.cors.methods = vec!["GET".to_owned(), "POST".to_owned()];
        config.cors.headers = vec!["x-a".to_owned(), "content-type".to_owned()];
        config.cors.credentials = true;
        config.cors.max_age = std::time::Duration::from_secs(60);
    })
    .await;
    let head = format!(
        "OPTIONS /a\n{ORIGIN}\nAccess-Control-Request-Method: POST\nAccess-Control-Request-Headers: x-b"
    );
    let answer = Browser::visit(&node).await.ask(&head, b"").await;
    for (name, value) in [
        ("access-control-allow-origin", "https://app.example"),
        ("access-control-allow-methods", "GET, POST"),
        ("access-control-allow-headers", "x-a, content-type"),
        ("access-control-allow-credentials", "true"),
        ("access-control-max-age", "60"),
    ] {
        assert!(answer.is(name, value), "{name} of {answer:?}");
    }
}

#[tokio::test]
async fn beside_credentials_every_header_is_named() {
    let node = node(|config| config.cors.credentials = true).await;
    let mut provider = provider(&node, &[]).await;
    let head = format!("GET /a\n{ORIGIN}");
    let (answer, _) = asked(&node, &mut provider, &head, &[("x-total", "3")]).await;
    let exposed = answer.header("access-control-expose-headers").unwrap();
    assert!(
        exposed.contains("x-total") && exposed.contains("x-request-id") && !exposed.contains('*'),
        "{exposed}"
    );
}

#[tokio::test]
async fn a_service_that_decides_itself_is_asked_and_not_contradicted() {
    let node = node(|_| {}).await;
    let mut provider = provider(&node, &["*"]).await;
    let own = [("access-control-allow-origin", "*"), ("access-control-allow-methods", "GET")];
    let preflight = format!("OPTIONS /a\n{ORIGIN}\nAccess-Control-Request-Method: POST");
    let (answer, method) = asked(&node, &mut provider, &preflight, &own).await;
    assert_eq!((answer.status, method.as_str()), (200, "OPTIONS"));
    let origins = answer.headers.iter().filter(|(name, _)| name == "access-control-allow-origin");
    assert_eq!(origins.map(|(_, value)| value.as_str()).collect::<Vec<_>>(), ["*"]);
    assert!(answer.is("access-control-allow-methods", "GET"));
    assert_eq!(answer.header("access-control-expose-headers"), None);
    let (answer, _) = asked(&node, &mut provider, &format!("GET /a\n{ORIGIN}"), &[]).await;
    assert!(
        answer.is("access-control-allow-origin", "https://app.example"),
        "where it says nothing the hub does"
    );
}
