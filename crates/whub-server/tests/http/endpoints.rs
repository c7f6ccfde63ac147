//! `/gateway/<name>`: one endpoint, for clients that know nothing of the hub.

use std::net::SocketAddr;
use std::time::Duration;

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use whub_core::WINDOW;
use whub_proto::{Body, Data, Flags, Request};
use whub_server::config::{Endpoint, EndpointAccess, Secret, Target, Token};

use crate::browser::{Answer, Browser};
use crate::common::{Node, SOON};

const HANDSHAKE: &str = "Connection: Upgrade\nUpgrade: websocket\nSec-WebSocket-Version: 13\n\
                         Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==";

/// A masked text "Hello", and what an echo answers.
const HELLO: &[u8] = b"\x81\x85\x37\xfa\x21\x3d\x7f\x9f\x4d\x51\x58";
const HELLO_BACK: &[u8] = b"\x81\x05Hello";

fn dialled(name: &str, urls: &[String]) -> Endpoint {
    Endpoint::new(name, Target::Upstreams(urls.iter().map(|url| url.parse().unwrap()).collect()))
}

async fn with(endpoints: Vec<Endpoint>) -> Node {
    Node::with(|config| config.endpoints = endpoints).await
}

async fn upgrade(node: &Node, path: &str, fields: &str) -> (Browser, Answer) {
    let mut browser = Browser::visit(node).await;
    let answer = browser.ask(&format!("GET {path}\n{HANDSHAKE}\n{fields}"), b"").await;
    (browser, answer)
}

/// Another hub, whose echo is the endpoint.
async fn echo() -> (Node, String) {
    let node = Node::with(|config| config.debug.echo = true).await;
    let url = format!("{}/debug/echo", node.url);
    (node, url)
}

/// An endpoint that is played by hand.
struct Stage {
    listener: TcpListener,
    url: String,
}

impl Stage {
    async fn open(path: &str) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let url = format!("ws://{}{path}", listener.local_addr().unwrap());
        Self { listener, url }
    }

    /// The next connection's request; connections that only look are passed over.
    async fn request(&self) -> (TcpStream, String) {
        loop {
            let (mut socket, _) =
                tokio::time::timeout(SOON, self.listener.accept()).await.expect("a connection").unwrap();
            let head = Self::head(&mut socket).await;
            if !head.is_empty() {
                return (socket, head);
            }
        }
    }

    /// The next request on a connection; nothing if it ends.
    async fn head(socket: &mut TcpStream) -> String {
        let mut head = Vec::new();
        // What of a body comes along is cut off below.
        while !head.windows(4).any(|end| end == b"\r\n\r\n") {
            if socket.read_buf(&mut head).await.unwrap() == 0 {
                break;
            }
        }
        let end = head.windows(4).position(|end| end == b"\r\n\r\n").map_or(head.len(), |at| at + 4);
        head.truncate(end);
        String::from_utf8(head).unwrap()
    }

    /// Accepts the next WebSocket.
    async fn accept(&self, fields: &str) -> (TcpStream, String) {
        let (mut socket, head) = self.request().await;
        let key = field(&head, "sec-websocket-key").unwrap();
        let accept = whub_ws::handshake::accept_key(key.as_bytes());
        let answer = format!(
            "HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n\
             Sec-WebSocket-Accept: {accept}\r\n{fields}\r\n"
        );
        socket.write_all(answer.as_bytes()).await.unwrap();
        (socket, head)
    }
}

fn field<'a>(head: &'a str, name: &str) -> Option<&'a str> {
    head.lines()
        .find_map(|line| line.split_once(": ").filter(|(known, _)| known.eq_ignore_ascii_case(name)))
        .map(|(_, value)| value)
}

#[tokio::test]
async fn a_websocket_is_passed_on_byte_for_byte() {
    let (_echo, url) = echo().await;
    let node = with(vec![dialled("echo", &[url])]).await;
    let (mut browser, answer) = upgrade(&node, "/gateway/echo", "").await;
    assert_eq!(answer.status, 101, "{answer:?}");
    assert!(answer.is("sec-websocket-accept", "s3pPLMBiTxaQ9kYGzzhZRbK+xOo="));
    browser.write(HELLO).await;
    assert_eq!(browser.exactly(7).await, HELLO_BACK);
    // A ping is the endpoint's to answer, a close too.
    browser.write(b"\x89\x82\x00\x00\x00\x00hi").await;
    assert_eq!(browser.exactly(4).await, b"\x8a\x02hi");
    browser.write(b"\x88\x85\x00\x00\x00\x00\x0f\xa1bye").await;
    assert_eq!(browser.until_the_end().await, b"\x88\x02\x0f\xa1");
    node.until(|hub| hub.counters.gateway_messages.read() == 2).await;
}

#[tokio::test]
async fn extensions_are_agreed_end_to_end() {
    let (_echo, url) = echo().await;
    let node = with(vec![dialled("echo", &[url])]).await;
    let (_, answer) = upgrade(&node, "/gateway/ECHO", "Sec-WebSocket-Extensions: permessage-deflate").await;
    assert_eq!(answer.status, 101);
    assert!(answer.header("sec-websocket-extensions").unwrap().starts_with("permessage-deflate"));
}

#[tokio::test]
async fn a_request_is_passed_with_rest_query_and_headers() {
    let stage = Stage::open("/base?key=1").await;
    let mut endpoint = dialled("my room", std::slice::from_ref(&stage.url));
    endpoint.headers = vec![("x-api-key".to_owned(), "42".to_owned())];
    endpoint.authorization = Some(Secret::new("dTpw-secret").unwrap());
    let node = with(vec![endpoint]).await;
    let fields = "Sec-WebSocket-Protocol: whub.plain, chat.v1\nOrigin: http://localhost\nCookie: a=b";
    let path = "/gateway/my%20room/den/?q=2";
    let played = stage.accept("Sec-WebSocket-Protocol: chat.v1\r\nX-Room: 7\r\n");
    let ((_socket, head), (_browser, answer)) = tokio::join!(played, upgrade(&node, path, fields));
    assert!(head.starts_with("GET /base/den/?key=1&q=2 HTTP/1.1\r\n"), "{head}");
    for (name, value) in [
        ("host", stage.url.trim_start_matches("ws://").split('/').next().unwrap()),
        ("x-api-key", "42"),
        ("authorization", "Bearer dTpw-secret"),
        ("cookie", "a=b"),
        ("sec-websocket-protocol", "chat.v1"),
        ("x-forwarded-prefix", "/gateway/my%20room"),
        ("x-forwarded-for", "127.0.0.1"),
        ("x-forwarded-host", "localhost"),
    ] {
        assert_eq!(field(&head, name), Some(value), "{name} in {head}");
    }
    assert_eq!(answer.status, 101);
    assert!(answer.is("sec-websocket-protocol", "chat.v1") && answer.is("x-room", "7"), "{answer:?}");
}

#[tokio::test]
async fn a_bearer_token_of_the_endpoint_is_no_business_of_the_hub() {
    let stage = Stage::open("/").await;
    let node = with(vec![dialled("a", std::slice::from_ref(&stage.url))]).await;
    let fields = "Authorization: Bearer of-the-application";
    let ((_socket, head), (_browser, answer)) =
        tokio::join!(stage.accept(""), upgrade(&node, "/gateway/a", fields));
    assert_eq!(answer.status, 101);
    assert_eq!(field(&head, "authorization"), Some("Bearer of-the-application"));
}

#[tokio::test]
async fn a_refusal_of_the_endpoint_is_the_clients() {
    let stage = Stage::open("/").await;
    let node = with(vec![dialled("a", std::slice::from_ref(&stage.url))]).await;
    let played = async {
        let (mut socket, _) = stage.request().await;
        socket
            .write_all(b"HTTP/1.1 418 Short\r\nContent-Length: 5\r\nX-Why: tea\r\n\r\nshort")
            .await
            .unwrap();
        socket
    };
    let (_socket, (_browser, answer)) = tokio::join!(played, upgrade(&node, "/gateway/a", ""));
    assert_eq!((answer.status, answer.text()), (418, "short"));
    assert!(answer.is("x-why", "tea"));
}

#[tokio::test]
async fn a_client_that_is_not_answered_takes_the_endpoint_from_nobody() {
    let stage = Stage::open("/").await;
    let node = with(vec![dialled("a", std::slice::from_ref(&stage.url))]).await;
    for _ in 0..3 {
        // The application trips over what it is asked for.
        let tripping = async { drop(stage.request().await) };
        let ((), (_, answer)) = tokio::join!(tripping, upgrade(&node, "/gateway/a/trip", ""));
        assert_eq!((answer.status, answer.json()["slug"].as_str().unwrap()), (502, "gateway.lost"));
        let (_, (_, answer)) = tokio::join!(stage.accept(""), upgrade(&node, "/gateway/a", ""));
        assert_eq!(answer.status, 101, "{answer:?}");
    }
}

#[tokio::test]
async fn an_upstream_that_is_down_is_left_out() {
    let (_echo, url) = echo().await;
    let dead = dead_url().await;
    let node = with(vec![dialled("a", &[dead.clone(), url]), dialled("b", &[dead])]).await;
    for _ in 0..3 {
        let (_, answer) = upgrade(&node, "/gateway/a", "").await;
        assert_eq!(answer.status, 101);
    }
    let (_, answer) = upgrade(&node, "/gateway/b", "").await;
    assert_eq!((answer.status, answer.json()["slug"].as_str().unwrap()), (503, "gateway.down"));
    let (_, answer) = upgrade(&node, "/gateway/c", "").await;
    assert_eq!((answer.status, answer.json()["slug"].as_str().unwrap()), (404, "gateway.unknown"));
}

/// An address that nobody listens at.
async fn dead_url() -> String {
    let at: SocketAddr = TcpListener::bind("127.0.0.1:0").await.unwrap().local_addr().unwrap();
    format!("ws://{at}/")
}

#[tokio::test]
async fn who_loses_its_endpoint_is_told() {
    let stage = Stage::open("/").await;
    let node = with(vec![dialled("a", std::slice::from_ref(&stage.url))]).await;
    let ((mut socket, _), (mut browser, _)) =
        tokio::join!(stage.accept(""), upgrade(&node, "/gateway/a", ""));
    socket.write_all(b"\x81\x02hi").await.unwrap();
    assert_eq!(browser.exactly(4).await, b"\x81\x02hi");
    drop(socket);
    let last = browser.until_the_end().await;
    assert_eq!(&last[..4], [0x88, last[1], 0x03, 0xf4], "1012: {last:?}");
}

#[tokio::test]
async fn an_endpoint_loses_its_client_as_if_the_hub_were_not_there() {
    let stage = Stage::open("/").await;
    let node = with(vec![dialled("a", std::slice::from_ref(&stage.url))]).await;
    let ((mut socket, _), (mut browser, _)) =
        tokio::join!(stage.accept(""), upgrade(&node, "/gateway/a", ""));
    browser.write(HELLO).await;
    drop(browser);
    let mut heard = Vec::new();
    socket.read_to_end(&mut heard).await.unwrap();
    assert_eq!(heard, HELLO);
}

#[tokio::test]
async fn a_node_that_stops_says_goodbye_to_both() {
    let stage = Stage::open("/").await;
    let mut node = with(vec![dialled("a", std::slice::from_ref(&stage.url))]).await;
    let ((mut socket, _), (browser, _)) = tokio::join!(stage.accept(""), upgrade(&node, "/gateway/a", ""));
    node.stop();
    let last = browser.until_the_end().await;
    assert_eq!(&last[2..4], [0x03, 0xe9], "1001: {last:?}");
    let mut heard = Vec::new();
    socket.read_to_end(&mut heard).await.unwrap();
    assert_eq!(&heard[..2], [0x88, 0x82], "a masked close: {heard:?}");
}

#[tokio::test]
async fn the_http_side_of_an_endpoint_is_reached_too() {
    let behind = Node::start().await;
    let node = with(vec![dialled("b", std::slice::from_ref(&behind.url))]).await;
    let mut browser = Browser::visit(&node).await;
    let answer = browser.ask("GET /gateway/b/healthz", b"").await;
    assert_eq!((answer.status, answer.text()), (200, "ok\n"));
    let answer = browser.ask("POST /gateway/b/v1/publish/news", b"hello").await;
    assert_eq!((answer.status, answer.text()), (200, "{\"count\":0}\n"));
    let answer = browser.ask("GET /gateway/b/nowhere", b"").await;
    assert_eq!(answer.status, 404);
    let answer = browser.ask("GET /gateway/b/../healthz", b"").await;
    assert_eq!(answer.status, 400);
}

/// What an endpoint answers, and the connection stays.
const OK: &[u8] = b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok";

#[tokio::test]
async fn the_next_request_finds_the_connection_of_the_last_one() {
    let stage = Stage::open("/").await;
    let node = with(vec![dialled("a", std::slice::from_ref(&stage.url))]).await;
    let mut browser = Browser::visit(&node).await;
    let play = async {
        let (mut socket, head) = stage.request().await;
        assert!(head.starts_with("GET /one HTTP/1.1\r\n"), "{head}");
        socket.write_all(OK).await.unwrap();
        let head = Stage::head(&mut socket).await;
        assert!(head.starts_with("GET /two HTTP/1.1\r\n"), "{head}");
        socket.write_all(OK).await.unwrap();
        // What changes something is asked once, so not of a connection that may be over by now.
        let (mut fresh, head) = stage.request().await;
        assert!(head.starts_with("POST /three HTTP/1.1\r\n"), "{head}");
        fresh.write_all(OK).await.unwrap();
        (socket, fresh)
    };
    let ask = async {
        for request in ["GET /gateway/a/one", "GET /gateway/a/two", "POST /gateway/a/three"] {
            let answer = browser.ask(request, b"").await;
            assert_eq!((answer.status, answer.text()), (200, "ok"), "{request}");
        }
    };
    tokio::join!(play, ask);
}

#[tokio::test]
async fn a_request_that_changes_nothing_is_asked_again_when_the_endpoint_had_hung_up() {
    let stage = Stage::open("/").await;
    let node = with(vec![dialled("a", std::slice::from_ref(&stage.url))]).await;
    let mut browser = Browser::visit(&node).await;
    let play = async {
        let (mut socket, _) = stage.request().await;
        socket.write_all(OK).await.unwrap();
        // It takes the next one and is gone, as one that hung up just before.
        Stage::head(&mut socket).await;
        drop(socket);
        let (mut fresh, head) = stage.request().await;
        assert!(head.starts_with("GET /two HTTP/1.1\r\n"), "{head}");
        fresh.write_all(OK).await.unwrap();
        // A new connection that is lost is the endpoint's own fault.
        let (lost, _) = stage.request().await;
        drop(lost);
        fresh
    };
    let ask = async {
        for request in ["GET /gateway/a/one", "GET /gateway/a/two"] {
            let answer = browser.ask(request, b"").await;
            assert_eq!((answer.status, answer.text()), (200, "ok"), "{request}");
        }
        let answer = browser.ask("POST /gateway/a/three", b"once").await;
        assert_eq!((answer.status, answer.json()["slug"].as_str().unwrap()), (502, "gateway.lost"));
    };
    tokio::join!(play, ask);
}

#[tokio::test]
async fn a_body_that_is_too_long_is_the_requests_fault() {
    let stage = Stage::open("/").await;
    let node = Node::with(|config| {
        config.endpoints = vec![dialled("a", std::slice::from_ref(&stage.url))];
        config.limits.body_bytes = Some(8);
    })
    .await;
    let mut browser = Browser::visit(&node).await;
    let chunked = b"POST /gateway/a HTTP/1.1\r\nHost: localhost\r\nTransfer-Encoding: chunked\r\n\r\n9\r\ntoo long!\r\n0\r\n\r\n";
    browser.write(chunked).await;
    let accepted = async {
        // The first connection only looks.
        drop(stage.listener.accept().await.unwrap());
        stage.listener.accept().await.unwrap().0
    };
    let (mut socket, answer) = tokio::join!(accepted, browser.answer());
    let mut head = Vec::new();
    let left = tokio::time::timeout(SOON, socket.read_to_end(&mut head));
    left.await.expect("nothing is left behind").ok();
    assert_eq!((answer.status, answer.json()["slug"].as_str().unwrap()), (413, "http.body_too_large"));
}

#[tokio::test]
async fn an_endpoint_may_be_a_channel() {
    let node = with(vec![Endpoint::new("news", Target::Channel("news/eu".to_owned()))]).await;
    let (mut one, answer) = upgrade(&node, "/gateway/news", "").await;
    assert_eq!(answer.status, 101);
    let (mut other, _) = upgrade(&node, "/gateway/news", "").await;
    let mut client = node.client().await;
    client.subscribe(1, "news/#").await;
    one.write(HELLO).await;
    assert_eq!(other.exactly(7).await, HELLO_BACK);
    assert_eq!(client.hear().await.payload, b"Hello");
    let mut browser = Browser::visit(&node).await;
    browser.ask("POST /v1/publish/news/eu", b"Hello").await;
    assert_eq!(one.exactly(7).await, HELLO_BACK, "and not its own");
    assert_eq!(browser.ask("GET /gateway/news", b"").await.status, 426);
}

#[tokio::test]
async fn an_endpoint_may_be_a_pair() {
    let node = with(vec![Endpoint::new("desk", Target::Pair("room 42".to_owned()))]).await;
    let (mut one, answer) = upgrade(&node, "/gateway/desk", "").await;
    assert_eq!(answer.status, 101);
    assert_eq!(one.exactly(17).await, b"\x81\x0f/status:waiting");
    let (_other, _) = upgrade(&node, "/pair/room%2042", "").await;
    assert_eq!(one.exactly(14).await, b"\x81\x0c/remote:open");
}

#[tokio::test]
async fn an_endpoint_may_be_a_service_that_dialled_in() {
    let node = with(vec![Endpoint::new("app", Target::Service("/shop".to_owned()))]).await;
    let mut browser = Browser::visit(&node).await;
    assert_eq!(browser.ask("GET /gateway/app/cart", b"").await.status, 404, "nobody provides it yet");
    let mut provider = node.client().await;
    provider.register(1, "/shop/*rest").await;
    let answering = async {
        let asked = provider.hear().await;
        let whub_proto::Body::Request(request) = asked.frame().body else { panic!("a request") };
        assert_eq!(request.path, "/shop/cart");
        let answer = whub_proto::Body::Response(whub_proto::Response::default());
        provider.send(asked.id, whub_proto::Flags::END, &answer, b"full").await;
    };
    let ((), answer) = tokio::join!(answering, browser.ask("GET /gateway/app/cart", b""));
    assert_eq!((answer.status, answer.text()), (200, "full"));
}

#[tokio::test]
async fn who_may_use_an_endpoint_is_said_by_its_token_and_by_the_endpoint() {
    let (_echo, url) = echo().await;
    let token = |name: &str, secret: &str, call: &str| {
        let mut grant = whub_core::Grants::none();
        grant.call = vec![whub_proto::names::Pattern::parse_own(call).unwrap()];
        Token { name: name.into(), secret: Secret::new(secret).unwrap(), grant }
    };
    let mut named = dialled("named", std::slice::from_ref(&url));
    (named.access, named.clients) = (EndpointAccess::Named, vec!["ada".to_owned()]);
    let node = Node::with(|config| {
        config.endpoints = vec![dialled("open", &[url]), named];
        config.tokens =
            vec![token("ada", "a-secret", "/gateway/:name"), token("bob", "b-secret", "/gateway/open")];
    })
    .await;
    for (name, secret, status) in [
        ("open", "a-secret", 101),
        ("open", "b-secret", 101),
        ("named", "a-secret", 101),
        ("OPEN", "b-secret", 101),
        ("named", "b-secret", 403),
        ("nowhere", "b-secret", 403),
        ("nowhere", "a-secret", 404),
        ("open", "c-secret", 401),
    ] {
        let (_, answer) =
            upgrade(&node, &format!("/gateway/{name}"), &format!("Authorization: Bearer {secret}")).await;
        assert_eq!(answer.status, status, "{name} {secret}");
    }
    assert_eq!(upgrade(&node, "/gateway/open", "").await.1.status, 401);
}

#[tokio::test]
async fn a_change_touches_only_the_sockets_of_what_went_or_moved() {
    let (_echo, url) = echo().await;
    let (_other, other_url) = echo().await;
    let endpoints = ["keep", "adjust", "move", "go"].map(|name| dialled(name, std::slice::from_ref(&url)));
    let node = with(endpoints.to_vec()).await;
    let mut browsers = Vec::new();
    for name in ["keep", "adjust", "move", "go"] {
        browsers.push(upgrade(&node, &format!("/gateway/{name}"), "").await.0);
    }
    let mut adjusted = dialled("adjust", std::slice::from_ref(&url));
    adjusted.connections = Some(1);
    let config = whub_server::config::Config {
        endpoints: vec![dialled("keep", &[url]), adjusted, dialled("move", &[other_url])],
        ..whub_server::config::Config::default()
    };
    node.handle.reload(config);
    let gone = browsers.pop().unwrap().until_the_end().await;
    assert_eq!(&gone[2..4], 4410_u16.to_be_bytes(), "{gone:?}");
    let moved = browsers.pop().unwrap().until_the_end().await;
    assert_eq!(&moved[2..4], 1012_u16.to_be_bytes(), "{moved:?}");
    for browser in &mut browsers {
        browser.write(HELLO).await;
        assert_eq!(browser.exactly(7).await, HELLO_BACK);
    }
    let (_, answer) = upgrade(&node, "/gateway/adjust", "").await;
    assert_eq!((answer.status, answer.json()["slug"].as_str().unwrap()), (503, "gateway.full"));
    assert_eq!(upgrade(&node, "/gateway/move", "").await.1.status, 101);
}

#[tokio::test]
async fn over_the_protocol_an_endpoint_is_a_call_that_opens_a_websocket() {
    let (_echo, url) = echo().await;
    let node = with(vec![dialled("echo", &[url])]).await;
    let mut client = node.client().await;
    let request = Request { path: "/gateway/Echo", method: "WEBSOCKET", ..Request::default() };
    client.say(1, &Body::Request(request)).await;
    let answer = client.hear().await;
    let Body::Response(response) = answer.frame().body else { panic!("{answer:?}") };
    assert_eq!(response.status, 101);
    client.send(1, Flags::TEXT, &Body::Data(Data::default()), "häll".as_bytes()).await;
    let heard = client.hear().await;
    assert_eq!((heard.payload.as_slice(), heard.flags), ("häll".as_bytes(), Flags::TEXT));
    // In pieces.
    client.send(1, Flags::MORE, &Body::Data(Data::default()), b"one ").await;
    client.send(1, Flags::NONE, &Body::Data(Data::default()), b"two").await;
    assert_eq!(client.hear().await.payload, b"one two");
    let close = Data { close: 4001, reason: "bye", ..Data::default() };
    client.send(1, Flags::END, &Body::Data(close), b"").await;
    let last = client.hear().await;
    let Body::Data(data) = last.frame().body else { panic!("{last:?}") };
    assert_eq!((data.close, last.flags), (4001, Flags::END));
}

#[tokio::test]
async fn over_the_protocol_a_lost_endpoint_and_an_unknown_one_are_told() {
    let stage = Stage::open("/").await;
    let node = with(vec![dialled("a", std::slice::from_ref(&stage.url))]).await;
    let mut client = node.client().await;
    let ask = |path| Body::Request(Request { path, method: "WEBSOCKET", ..Request::default() });
    client.say(1, &ask("/gateway/a/x")).await;
    let (socket, head) = stage.accept("").await;
    assert!(head.starts_with("GET /x HTTP/1.1"), "{head}");
    client.hear().await;
    drop(socket);
    let last = client.hear().await;
    let Body::Data(data) = last.frame().body else { panic!("{last:?}") };
    assert_eq!((data.close, last.flags), (1012, Flags::END));
    client.say(3, &ask("/gateway/nowhere")).await;
    let refused = client.hear().await;
    let Body::Error(failure) = refused.frame().body else { panic!("{refused:?}") };
    assert_eq!(failure.slug, "gateway.unknown");
}

#[tokio::test]
async fn over_the_protocol_an_endpoint_that_takes_nothing_is_heard_still_and_lost_at_last() {
    let stage = Stage::open("/").await;
    let node = Node::with(|config| {
        config.endpoints = vec![dialled("a", std::slice::from_ref(&stage.url))];
        config.limits.ping = Duration::from_millis(500);
    })
    .await;
    let mut client = node.client().await;
    let request = Request { path: "/gateway/a", method: "WEBSOCKET", ..Request::default() };
    client.say(1, &Body::Request(request)).await;
    let (mut deaf, _) = stage.accept("").await;
    client.hear().await;
    let (mut credit, mut said_so, mut heard) = (WINDOW, 0, 0);
    let data = || Body::Data(Data::default());
    loop {
        while credit >= 64 * 1024 {
            client.send(1, Flags::NONE, &data(), &[7; 64 * 1024]).await;
            credit -= 64 * 1024;
            // A ping that cannot be answered yet, and something to say.
            deaf.write_all(b"\x89\x00\x81\x02hi").await.unwrap();
            said_so += 1;
        }
        let said = client.hear().await;
        if let Body::Credit(more) = said.frame().body {
            credit += more.bytes;
        } else {
            let Body::Data(data) = said.frame().body else { panic!("{said:?}") };
            if said.flags.contains(Flags::END) {
                assert_eq!(data.close, 1012);
                break;
            }
            heard += 1;
        }
    }
    assert_eq!(heard, said_so);
}
