//! An application behind a real hub: what it is asked, what callers get, and what becomes of it when it fails.

#![allow(clippy::unwrap_used, reason = "the helpers are a part of the tests")]

use std::future::Future;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering::SeqCst};
use std::time::Duration;

use tokio::io::{AsyncBufReadExt, AsyncReadExt, AsyncWriteExt, BufReader};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::oneshot;
use whub_client::{Client, Code, ErrorKind, Health, connect};
use whub_server::{Server, config::Config};
use whub_ws::handshake::accept_key;
use whub_ws::{CloseCode, Opcode, encode_close, encode_frame};

/// Longer than anything here takes on a busy machine.
const SOON: Duration = Duration::from_secs(30);

async fn soon<T>(what: impl Future<Output = T>) -> T {
    tokio::time::timeout(SOON, what).await.expect("it takes too long")
}

/// A hub, and a client of it.
struct Hub {
    client: Client,
    authority: String,
    _stop: oneshot::Sender<()>,
}

impl Hub {
    async fn start() -> Self {
        let config = Config { listen: vec!["127.0.0.1:0".parse().unwrap()], ..Config::default() };
        let server = Server::bind(config, "test").await.unwrap();
        let url = server.urls()[0].clone();
        let (stop, stopped) = oneshot::channel::<()>();
        tokio::spawn(server.run(async move { drop(stopped.await) }));
        let client = connect(&url).await.unwrap();
        Self { client, authority: url.split_once("//").unwrap().1.to_owned(), _stop: stop }
    }

    /// Sends `request`, headed `METHOD PATH`, over a connection of its own; everything that comes back.
    async fn http(&self, first: &str, rest: &str) -> String {
        let mut socket = TcpStream::connect(&self.authority).await.unwrap();
        let request = format!("{first} HTTP/1.1\r\nhost: {}\r\nconnection: close\r\n{rest}", self.authority);
        socket.write_all(request.as_bytes()).await.unwrap();
        let mut answer = Vec::new();
        soon(socket.read_to_end(&mut answer)).await.unwrap();
        String::from_utf8(answer).unwrap()
    }
}

/// What the application is asked: the head as it came, and the connection to answer on.
struct Asked {
    head: String,
    /// Which of the application's connections it came on, from 1.
    connection: usize,
    socket: BufReader<TcpStream>,
}

impl Asked {
    fn line(&self) -> &str {
        self.head.lines().next().unwrap()
    }

    fn field(&self, name: &str) -> Option<&str> {
        let mut fields = self.head.lines().filter_map(|line| line.split_once(": "));
        fields.find(|(field, _)| field.eq_ignore_ascii_case(name)).map(|(_, value)| value)
    }

    async fn answer(&mut self, answer: &str) {
        self.socket.get_mut().write_all(answer.as_bytes()).await.unwrap();
    }

    /// The next request on the same connection; `None` when the exposer has hung up.
    async fn next(mut self) -> Option<Self> {
        self.head = read_head(&mut self.socket).await?;
        Some(self)
    }
}

async fn read_head(socket: &mut BufReader<TcpStream>) -> Option<String> {
    let mut head = String::new();
    while !head.ends_with("\r\n\r\n") {
        if soon(socket.read_line(&mut head)).await.ok()? == 0 {
            return None;
        }
    }
    Some(head)
}

/// An application that is written by hand, answer by answer.
struct App {
    listener: TcpListener,
    connections: AtomicUsize,
}

impl App {
    async fn start() -> Self {
        Self { listener: TcpListener::bind("127.0.0.1:0").await.unwrap(), connections: AtomicUsize::new(0) }
    }

    fn authority(&self) -> String {
        self.listener.local_addr().unwrap().to_string()
    }

    fn url(&self) -> String {
        format!("http://{}", self.authority())
    }

    /// The first request of the next connection that has one.
    async fn asked(&self) -> Asked {
        loop {
            let (socket, _) = soon(self.listener.accept()).await.unwrap();
            let mut socket = BufReader::new(socket);
            // A check of its health only knocks.
            if let Some(head) = read_head(&mut socket).await {
                let connection = self.connections.fetch_add(1, SeqCst) + 1;
                return Asked { head, connection, socket };
            }
        }
    }
}

const EMPTY: &str = "HTTP/1.1 204 No Content\r\n\r\n";

#[tokio::test]
async fn the_application_sees_its_own_paths_and_who_asked() {
    let (hub, app) = (Hub::start().await, App::start().await);
    let exposure = hub.client.expose("shop", app.url()).await.unwrap();
    assert_eq!(exposure.patterns(), ["/shop/*rest"]);
    let (answer, ()) = tokio::join!(hub.http("GET /shop/a%20b//c/?q=%2F", "x-tenant: acme\r\n\r\n"), async {
        let mut asked = app.asked().await;
        assert_eq!(asked.line(), "GET /a%20b//c/?q=%2F HTTP/1.1");
        assert_eq!(asked.field("host"), Some(app.authority().as_str()));
        assert_eq!(asked.field("x-forwarded-prefix"), Some("/shop"));
        assert_eq!(asked.field("x-forwarded-host"), Some(hub.authority.as_str()));
        assert_eq!(asked.field("x-forwarded-proto"), Some("http"));
        assert_eq!(asked.field("x-tenant"), Some("acme"));
        assert!(asked.field("via").is_some_and(|via| via.starts_with("whub/1 whub-")), "{}", asked.head);
        assert_eq!(asked.field("transfer-encoding"), None);
        assert_eq!(asked.field("content-length"), None);
        asked
            .answer(
                "HTTP/1.1 201 Created\r\nlocation: /new\r\nset-cookie: a=b; Path=/\r\nset-cookie: c=d\r\n\
                 connection: x-inner\r\nx-inner: 1\r\nx-outer: 2\r\ncontent-length: 3\r\n\r\nyes",
            )
            .await;
    });
    assert!(answer.starts_with("HTTP/1.1 201 Created\r\n") && answer.ends_with("\r\n\r\nyes"), "{answer}");
    for line in ["location: /shop/new", "set-cookie: a=b; Path=/shop", "set-cookie: c=d", "x-outer: 2"] {
        assert!(answer.contains(&format!("\r\n{line}\r\n")), "{line} in {answer}");
    }
    assert!(!answer.contains("x-inner"), "{answer}");
}

#[tokio::test]
async fn a_prefix_that_is_kept_is_kept_everywhere() {
    let (hub, app) = (Hub::start().await, App::start().await);
    let _exposure = hub.client.expose("shop", app.url()).keep_prefix(true).keep_host(true).await.unwrap();
    let (answer, ()) = tokio::join!(hub.http("GET /shop/x", "\r\n"), async {
        let mut asked = app.asked().await;
        assert_eq!(asked.line(), "GET /shop/x HTTP/1.1");
        assert_eq!(asked.field("host"), Some(hub.authority.as_str()));
        assert_eq!(asked.field("x-forwarded-prefix"), None);
        asked.answer("HTTP/1.1 302 Found\r\nlocation: /shop/y\r\ncontent-length: 0\r\n\r\n").await;
    });
    assert!(answer.contains("\r\nlocation: /shop/y\r\n"), "{answer}");
}

#[tokio::test]
async fn connections_are_used_again() {
    let (hub, app) = (Hub::start().await, App::start().await);
    let _exposure = hub.client.expose("shop", app.url()).await.unwrap();
    let answered = async {
        let mut asked = app.asked().await;
        for _ in 0..3 {
            asked.answer("HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\nok").await;
            asked = asked.next().await.unwrap();
        }
        assert_eq!(asked.connection, 1);
        asked.answer(EMPTY).await;
    };
    let calls = async {
        for _ in 0..3 {
            assert_eq!(hub.client.call("/shop/x").await.unwrap().status, 200);
        }
        assert_eq!(hub.client.call("/shop/x").await.unwrap().status, 204);
    };
    tokio::join!(soon(answered), soon(calls));
}

#[tokio::test]
async fn a_request_that_met_a_dying_connection_is_sent_again_if_that_does_no_harm() {
    let (hub, app) = (Hub::start().await, App::start().await);
    let _exposure = hub.client.expose("shop", app.url()).await.unwrap();
    // `first` is answered, then the connection dies on the second request.
    let dying = async || {
        let mut first = app.asked().await;
        first.answer("HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\nok").await;
        let second = first.next().await.unwrap();
        drop(second);
    };
    let answered = async {
        dying().await;
        let mut again = app.asked().await;
        assert!(again.line().starts_with("GET"));
        again.answer("HTTP/1.1 200 OK\r\nconnection: close\r\ncontent-length: 5\r\n\r\nagain").await;
        dying().await;
    };
    let calls = async {
        assert_eq!(hub.client.call("/shop/1").method("GET").await.unwrap().text().await.unwrap(), "ok");
        assert_eq!(hub.client.call("/shop/2").method("GET").await.unwrap().text().await.unwrap(), "again");
        assert_eq!(hub.client.call("/shop/3").method("GET").await.unwrap().text().await.unwrap(), "ok");
        let error = hub.client.call("/shop/4").method("POST").text("once").await.unwrap_err();
        assert_eq!((error.code(), error.slug()), (Code::ProviderLost, "expose.broken"));
    };
    tokio::join!(soon(answered), soon(calls));
}

#[tokio::test]
async fn bodies_are_streamed_both_ways_at_once() {
    let (hub, app) = (Hub::start().await, App::start().await);
    let _exposure = hub.client.expose("shop", app.url()).await.unwrap();
    let (parts, body) = tokio::sync::mpsc::channel::<&'static str>(1);
    parts.send("one").await.unwrap();
    let body = Parts(body);
    let call = async {
        let mut response = hub.client.call("/shop/x").method("POST").body_stream(body).await.unwrap();
        assert_eq!(response.body.next_chunk().await.unwrap().unwrap(), "one back");
        parts.send("two").await.unwrap();
        drop(parts);
        assert_eq!(response.body.next_chunk().await.unwrap().unwrap(), "two back");
        assert_eq!(response.body.next_chunk().await.unwrap(), None);
    };
    let answered = async {
        let mut asked = app.asked().await;
        assert_eq!(asked.field("transfer-encoding"), Some("chunked"));
        asked.answer("HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n").await;
        assert_eq!(read_chunk(&mut asked).await, "one");
        asked.answer("8\r\none back\r\n").await;
        assert_eq!(read_chunk(&mut asked).await, "two");
        assert_eq!(read_chunk(&mut asked).await, "");
        asked.answer("8\r\ntwo back\r\n0\r\n\r\n").await;
    };
    tokio::join!(soon(call), soon(answered));
}

async fn read_chunk(asked: &mut Asked) -> String {
    let mut line = String::new();
    soon(asked.socket.read_line(&mut line)).await.unwrap();
    let mut chunk = vec![0; usize::from_str_radix(line.trim(), 16).unwrap() + 2];
    soon(asked.socket.read_exact(&mut chunk)).await.unwrap();
    String::from_utf8(chunk).unwrap().trim_end().to_owned()
}

#[tokio::test]
async fn trailers_of_the_application_follow_its_body() {
    let (hub, app) = (Hub::start().await, App::start().await);
    let _exposure = hub.client.expose("shop", app.url()).await.unwrap();
    let answered = async {
        let head = "HTTP/1.1 200 OK\r\ntrailer: x-sum\r\ntransfer-encoding: chunked\r\n\r\n";
        let mut asked = app.asked().await;
        asked.answer(&format!("{head}2\r\nok\r\n0\r\nx-sum: 7\r\n\r\n")).await;
        let mut asked = asked.next().await.unwrap();
        asked.answer(&format!("{head}2\r\nok\r\n0\r\nx-sum: 8\r\n\r\n")).await;
    };
    let calls = async {
        let mut response = hub.client.call("/shop/x").await.unwrap();
        assert_eq!(response.body.bytes().await.unwrap(), "ok");
        assert_eq!(response.body.trailers().get("x-sum"), Some("7"));
        hub.http("GET /shop/x", "te: trailers\r\n\r\n").await
    };
    let ((), answer) = tokio::join!(soon(answered), soon(calls));
    assert!(answer.contains("\r\nx-sum: 8\r\n"), "{answer}");
}

#[tokio::test]
async fn trailers_of_a_request_reach_the_application() {
    let (hub, app) = (Hub::start().await, App::start().await);
    let _exposure = hub.client.expose("shop", app.url()).await.unwrap();
    let request =
        "trailer: x-sum\r\ntransfer-encoding: chunked\r\n\r\n2\r\nok\r\n0\r\nx-sum: 7\r\nhost: no\r\n\r\n";
    let answered = async {
        let mut asked = app.asked().await;
        assert_eq!(
            (asked.field("trailer"), asked.field("transfer-encoding")),
            (Some("x-sum"), Some("chunked"))
        );
        let mut rest = String::new();
        while !rest.ends_with("\r\n\r\n") {
            soon(asked.socket.read_line(&mut rest)).await.unwrap();
        }
        assert_eq!(rest, "2\r\nok\r\n0\r\nx-sum: 7\r\n\r\n");
        asked.answer("HTTP/1.1 204 No Content\r\n\r\n").await;
    };
    let ((), answer) = tokio::join!(soon(answered), soon(hub.http("POST /shop/x", request)));
    assert!(answer.starts_with("HTTP/1.1 204"), "{answer}");
}

#[tokio::test]
async fn who_goes_away_hangs_up_on_the_application() {
    let (hub, app) = (Hub::start().await, App::start().await);
    let _exposure = hub.client.expose("shop", app.url()).await.unwrap();
    // Before the head of the answer.
    let call = tokio::spawn(hub.client.call("/shop/slow").into_future());
    let asked = app.asked().await;
    call.abort();
    assert!(asked.next().await.is_none());
    // In the middle of an answer that says nothing for a while.
    let call = hub.client.call("/shop/events");
    let (mut response, mut asked) = tokio::join!(async { call.await.unwrap() }, async {
        let mut asked = app.asked().await;
        asked.answer("HTTP/1.1 200 OK\r\n\r\nfirst").await;
        asked
    });
    assert_eq!(response.body.next_chunk().await.unwrap().unwrap(), "first");
    drop(response);
    let mut rest = Vec::new();
    assert_eq!(soon(asked.socket.read_to_end(&mut rest)).await.unwrap_or_default(), 0);
}

/// Agrees to a WebSocket with a first message right behind the head.
async fn accept(asked: &mut Asked, key: &str, fields: &str) {
    let head = format!(
        "HTTP/1.1 101 Switching Protocols\r\nupgrade: websocket\r\nconnection: Upgrade\r\n\
         sec-websocket-accept: {key}\r\n{fields}\r\n"
    );
    let mut bytes = head.into_bytes();
    encode_frame(&mut bytes, Opcode::Text, b"welcome");
    asked.socket.get_mut().write_all(&bytes).await.unwrap();
}

/// The payload of the next frame of a client, which is short; its opcode.
async fn read_frame(asked: &mut Asked) -> (u8, Vec<u8>) {
    let mut head = [0; 6];
    soon(asked.socket.read_exact(&mut head)).await.unwrap();
    let mut payload = vec![0; usize::from(head[1] & 0x7f)];
    soon(asked.socket.read_exact(&mut payload)).await.unwrap();
    for (byte, key) in payload.iter_mut().zip(head[2..].iter().cycle()) {
        *byte ^= key;
    }
    (head[0] & 0x0f, payload)
}

#[tokio::test]
async fn a_websocket_is_bridged_with_its_subprotocol_and_its_closes() {
    let (hub, app) = (Hub::start().await, App::start().await);
    let _exposure = hub.client.expose("shop", app.url()).await.unwrap();
    let answered = async {
        let mut asked = app.asked().await;
        assert_eq!(asked.line(), "GET /chat?room=1 HTTP/1.1");
        assert_eq!(asked.field("sec-websocket-protocol"), Some("chat.v1"));
        assert_eq!(asked.field("x-forwarded-prefix"), Some("/shop"));
        let key = accept_key(asked.field("sec-websocket-key").unwrap().as_bytes());
        accept(&mut asked, &key, "sec-websocket-protocol: chat.v1\r\n").await;
        assert_eq!(read_frame(&mut asked).await, (0x1, b"hello".to_vec()));
        let mut bytes = Vec::new();
        encode_frame(&mut bytes, Opcode::Ping, b"there?");
        encode_close(&mut bytes, CloseCode::new(4001).unwrap(), "enough", None);
        asked.socket.get_mut().write_all(&bytes).await.unwrap();
        assert_eq!(read_frame(&mut asked).await, (0xa, b"there?".to_vec()));
        let (opcode, close) = read_frame(&mut asked).await;
        assert_eq!((opcode, &close[..2]), (0x8, &4001_u16.to_be_bytes()[..]));
    };
    let call = async {
        let mut socket = hub.client.websocket("/shop/chat?room=1").protocol("chat.v1").await.unwrap();
        assert_eq!(socket.protocol(), Some("chat.v1"));
        assert_eq!(socket.next().await.unwrap(), Some("welcome".into()));
        socket.send("hello").await.unwrap();
        assert_eq!(socket.next().await.unwrap(), None);
        let close = socket.close_frame().unwrap().clone();
        assert_eq!((close.code, close.reason.as_str()), (4001, "enough"));
    };
    tokio::join!(soon(answered), soon(call));
}

#[tokio::test]
async fn what_is_no_websocket_is_not_taken_for_one() {
    let (hub, app) = (Hub::start().await, App::start().await);
    let _exposure = hub.client.expose("shop", app.url()).await.unwrap();
    let answered = async {
        accept(&mut app.asked().await, "wrong", "").await;
        app.asked().await.answer("HTTP/1.1 403 Forbidden\r\ncontent-length: 7\r\n\r\nmembers").await;
    };
    let calls = async {
        let error = hub.client.websocket("/shop/chat").await.unwrap_err();
        assert_eq!(error.slug(), "expose.broken", "{error}");
        let error = hub.client.websocket("/shop/chat").await.unwrap_err();
        assert_eq!(error.code(), Code::Forbidden, "{error}");
    };
    tokio::join!(soon(answered), soon(calls));
}

#[tokio::test]
async fn a_host_of_its_own_is_the_applications_alone() {
    let (hub, app) = (Hub::start().await, App::start().await);
    let exposure = hub.client.expose("", app.url()).host("Shop.localhost:80").await.unwrap();
    assert_eq!(exposure.patterns(), ["//shop.localhost/*rest"]);
    let answered = async {
        let mut asked = app.asked().await;
        assert_eq!(asked.line(), "GET /v1/status HTTP/1.1");
        assert_eq!(asked.field("x-forwarded-host"), Some("shop.localhost"));
        assert_eq!(asked.field("x-forwarded-prefix"), None);
        let inner = format!("http://{}/login", app.authority());
        asked.answer(&format!("HTTP/1.1 302 Found\r\nlocation: {inner}\r\ncontent-length: 0\r\n\r\n")).await;
        let mut asked = asked.next().await.unwrap();
        assert_eq!(asked.line(), "GET /a/b/ HTTP/1.1");
        asked.answer(EMPTY).await;
        let mut asked = asked.next().await.unwrap();
        assert_eq!(asked.line(), "GET /c HTTP/1.1");
        asked.answer(EMPTY).await;
    };
    let calls = async {
        let mut socket = TcpStream::connect(&hub.authority).await.unwrap();
        let request = "GET /v1/status HTTP/1.1\r\nhost: shop.localhost\r\nconnection: close\r\n\r\n";
        socket.write_all(request.as_bytes()).await.unwrap();
        let mut answer = String::new();
        socket.read_to_string(&mut answer).await.unwrap();
        assert!(answer.contains("\r\nlocation: /login\r\n"), "{answer}");
        // Over the protocol the host stands in the path.
        assert_eq!(hub.client.call("//shop.localhost/a/b/").await.unwrap().status, 204);
        assert_eq!(hub.client.call("//SHOP.localhost:80/c").await.unwrap().status, 204);
        for (method, query) in [("CONNECT", ""), ("TRACE", ""), ("GET", "a#b")] {
            let refused = hub.client.call("//shop.localhost/").method(method).query(query).await.unwrap_err();
            assert_eq!(refused.code(), Code::BadRequest, "{method} {query}");
        }
    };
    tokio::join!(soon(answered), soon(calls));
}

#[tokio::test]
async fn a_hub_that_is_exposed_to_itself_says_so_at_once() {
    let hub = Hub::start().await;
    let _exposure =
        hub.client.expose("loop", format!("http://{}", hub.authority)).keep_prefix(true).await.unwrap();
    let answer = hub.http("GET /loop/x", "via: 1.1 proxy\r\n\r\n").await;
    assert!(answer.starts_with("HTTP/1.1 502") && answer.contains("expose.loop"), "{answer}");
    let websocket = "connection: upgrade\r\nupgrade: websocket\r\nsec-websocket-version: 13\r\n\
                     sec-websocket-key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n";
    let answer = hub.http("GET /loop/x", websocket).await;
    assert!(answer.starts_with("HTTP/1.1 502") && answer.contains("expose.loop"), "{answer}");
}

#[tokio::test]
async fn an_answer_whose_head_is_too_large_is_a_bad_answer() {
    let (hub, app) = (Hub::start().await, App::start().await);
    let _exposure = hub.client.expose("shop", app.url()).await.unwrap();
    let (answer, ()) = tokio::join!(hub.http("GET /shop/", "\r\n"), async {
        let field = format!("x-large: {}", "x".repeat(70_000));
        app.asked().await.answer(&format!("HTTP/1.1 200 OK\r\n{field}\r\ncontent-length: 0\r\n\r\n")).await;
    });
    assert!(answer.starts_with("HTTP/1.1 502") && answer.contains("service.bad_answer"), "{answer}");
}

#[tokio::test]
async fn while_one_application_is_dead_the_other_answers_everything() {
    let (hub, dead, app) = (Hub::start().await, App::start().await, App::start().await);
    let other = connect(format!("ws://{}", hub.authority)).await.unwrap();
    let _alive = other.expose("shop", app.url()).await.unwrap();
    let answered = async {
        loop {
            let mut asked = app.asked().await;
            asked.answer("HTTP/1.1 200 OK\r\nconnection: close\r\ncontent-length: 2\r\n\r\nok").await;
        }
    };
    let calls = async {
        let mut exposure = hub.client.expose("shop", dead.url()).await.unwrap();
        drop(dead);
        // Before it is found out, several calls may meet it, of every kind.
        let mut calls = tokio::task::JoinSet::new();
        for (method, body) in [("GET", ""), ("POST", "pay once"), ("PUT", "x"), ("DELETE", "")].repeat(4) {
            let call = hub.client.call("/shop/x").method(method);
            let call = if body.is_empty() { call } else { call.text(body) };
            calls.spawn(call.into_future());
        }
        let http = hub.http("POST /shop/x", "content-length: 8\r\n\r\npay once").await;
        assert!(http.starts_with("HTTP/1.1 200"), "{http}");
        let mut moved = usize::from(http.contains("whub-moved: 1\r\n"));
        for outcome in calls.join_all().await {
            let response = outcome.unwrap();
            moved += usize::from(response.moved);
            assert_eq!((response.status, response.text().await.unwrap().as_str()), (200, "ok"));
        }
        assert!(moved > 0, "somebody has met it");
        assert!(matches!(exposure.changed().await, Some(Health::Down(_))));
    };
    tokio::select! {
        () = soon(calls) => {}
        () = answered => {}
    }
}

#[tokio::test]
async fn an_application_that_is_down_is_withdrawn_and_comes_back() {
    let (hub, app) = (Hub::start().await, App::start().await);
    let (authority, url) = (app.authority(), app.url());
    let mut exposure = hub.client.expose("shop", url).await.unwrap();
    assert_eq!(exposure.health(), Health::Up);
    drop(app);
    let error = soon(hub.client.call("/shop/x").into_future()).await.unwrap_err();
    assert_eq!((error.code(), error.slug()), (Code::Unavailable, "call.not_taken"));
    assert!(!error.reason().contains(&authority), "callers are not told where it is: {}", error.reason());
    assert!(matches!(soon(exposure.changed()).await, Some(Health::Down(_))));
    let gone = async {
        while hub.client.call("/shop/x").await.unwrap_err().code() != Code::NotFound {
            tokio::task::yield_now().await;
        }
    };
    soon(gone).await;
    let app =
        App { listener: TcpListener::bind(&authority).await.unwrap(), connections: AtomicUsize::new(0) };
    let app = Arc::new(app);
    let answering = tokio::spawn(async move { app.asked().await.answer(EMPTY).await });
    assert_eq!(soon(exposure.changed()).await, Some(Health::Up));
    assert_eq!(hub.client.call("/shop/x").await.unwrap().status, 204);
    answering.await.unwrap();
    soon(exposure.withdraw()).await;
    assert_eq!(hub.client.call("/shop/x").await.unwrap_err().code(), Code::NotFound);
}

#[tokio::test]
async fn an_application_that_says_it_is_ill_is_withdrawn() {
    let (hub, app) = (Hub::start().await, App::start().await);
    let expose =
        hub.client.expose("shop", app.url()).health("/well").health_interval(Duration::from_millis(10));
    let status = Arc::new(std::sync::Mutex::new("200 OK"));
    let said = Arc::clone(&status);
    tokio::spawn(async move {
        loop {
            let mut asked = app.asked().await;
            assert_eq!(asked.line(), "GET /well HTTP/1.1");
            let status = *said.lock().unwrap();
            asked.answer(&format!("HTTP/1.1 {status}\r\ncontent-length: 0\r\n\r\n")).await;
        }
    });
    let mut exposure = expose.await.unwrap();
    *status.lock().unwrap() = "503 Service Unavailable";
    let Some(Health::Down(why)) = soon(exposure.changed()).await else { panic!("it is ill") };
    assert!(why.contains("503"), "{why}");
    *status.lock().unwrap() = "200 OK";
    assert_eq!(soon(exposure.changed()).await, Some(Health::Up));
}

#[tokio::test]
async fn several_exposers_share_the_calls() {
    let (hub, one, two) = (Hub::start().await, App::start().await, App::start().await);
    let other = connect(format!("ws://{}", hub.authority)).await.unwrap();
    let _first = hub.client.expose("shop", one.url()).await.unwrap();
    let second = other.expose("shop", two.url()).await.unwrap();
    let answered = async {
        let (mut at_one, mut at_two) = tokio::join!(one.asked(), two.asked());
        tokio::join!(at_one.answer(EMPTY), at_two.answer(EMPTY));
    };
    // Both are under way at once, so one exposer cannot have had them by chance alone for ever.
    let calls = async {
        loop {
            let (a, b) = tokio::join!(hub.client.call("/shop/a"), hub.client.call("/shop/b"));
            if a.is_ok() && b.is_ok() {
                return;
            }
        }
    };
    let both = async { tokio::join!(answered, calls) };
    soon(both).await;
    soon(second.withdraw()).await;
}

#[tokio::test]
async fn what_cannot_be_exposed_is_said_at_once() {
    let hub = Hub::start().await;
    for (name, url, part) in [
        ("v1", "http://127.0.0.1:1", "hub itself"),
        (":x", "http://127.0.0.1:1", "no name for an application"),
        ("shop", "ftp://127.0.0.1", "begins with http://"),
    ] {
        let error = hub.client.expose(name, url).await.unwrap_err();
        assert!(error.reason().contains(part), "{error}");
    }
}

/// A stream of text that comes from a channel.
struct Parts(tokio::sync::mpsc::Receiver<&'static str>);

impl futures_core::Stream for Parts {
    type Item = Result<bytes::Bytes, std::io::Error>;

    fn poll_next(
        mut self: std::pin::Pin<&mut Self>,
        cx: &mut std::task::Context<'_>,
    ) -> std::task::Poll<Option<Self::Item>> {
        self.0.poll_recv(cx).map(|part| part.map(|part| Ok(part.into())))
    }
}

#[tokio::test]
async fn a_file_of_certificates_that_is_of_no_use_is_an_error_at_once() {
    let hub = Hub::start().await;
    let expose = hub.client.expose("shop", "https://127.0.0.1:1").app_ca_file("no/such.pem");
    let error = soon(expose.into_future()).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Invalid);
    assert!(error.reason().contains("no/such.pem"), "{error}");
}
