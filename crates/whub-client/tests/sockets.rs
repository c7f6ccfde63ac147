//! WebSockets that are calls: accepted by a provider, opened by a caller, closed once by each side.

#![allow(clippy::unwrap_used, reason = "the helpers are a part of the tests")]

mod common;

use common::{FakeConnection, Heard, open, within};
use whub_client::{
    Client, Code, ErrorKind, Registration, Reply, Request, ServiceError, SocketClose, SocketMessage,
};
use whub_proto::{Body, Cancel, Credit, Data, Flags, Headers, Kind, Request as WireRequest, Response, Via};

type Answer = Result<Reply, ServiceError>;

const WINDOW: usize = 256 * 1024;

async fn provide<F, Fut>(connection: &mut FakeConnection, client: &Client, serve: F) -> Registration
where
    F: Fn(Request) -> Fut + Send + Sync + 'static,
    Fut: Future<Output = Answer> + Send + 'static,
{
    let providing = tokio::spawn(client.provide("/chat", serve).into_future());
    let heard = connection.hear(Kind::Register).await;
    connection.agree(heard.id()).await;
    within(providing).await.unwrap().unwrap()
}

/// The hub asks for a WebSocket.
async fn ask(connection: &mut FakeConnection, id: u64) {
    let via = Via { path: "/chat", timeout_ms: 5000, ..Via::default() };
    let pairs = [("sec-websocket-protocol", "one, two")];
    let headers = Headers::new(&pairs);
    let request = WireRequest { path: "/chat", method: "WEBSOCKET", headers, ..WireRequest::default() };
    connection.say_with(id, Flags::NONE, Some(&via), &Body::Request(request), b"").await;
}

async fn say(connection: &mut FakeConnection, id: u64, flags: Flags, payload: &[u8]) {
    connection.say_with(id, flags, None, &Body::Data(Data::default()), payload).await;
}

async fn close(connection: &mut FakeConnection, id: u64, code: u16, reason: &str) {
    let data = Data { close: code, reason, ..Data::default() };
    connection.say_with(id, Flags::END, None, &Body::Data(data), b"").await;
}

fn status(heard: &Heard) -> (u16, Option<String>) {
    let Body::Response(response) = heard.frame().body else { unreachable!() };
    (response.status, response.headers.get("sec-websocket-protocol").map(str::to_owned))
}

fn closed(heard: &Heard) -> (u16, String) {
    assert!(heard.flags().contains(Flags::END), "{:?}", heard.frame());
    let Body::Data(data) = heard.frame().body else { unreachable!() };
    (data.close, data.reason.to_owned())
}

async fn echo(request: Request) -> Answer {
    let protocol = request.protocols().last().map(str::to_owned);
    let mut socket = request.accept(protocol.as_deref()).await?;
    while let Some(message) = socket.next().await? {
        socket.send(message).await?;
    }
    let SocketClose { code, reason } = socket.close_frame().cloned().unwrap_or_default();
    socket.close(code, &format!("{reason} too")).await?;
    Ok(Reply::default())
}

#[tokio::test(start_paused = true)]
async fn a_provider_accepts_and_answers_message_by_message() {
    let (_hub, mut connection, client) = open().await;
    let _service = provide(&mut connection, &client, echo).await;
    ask(&mut connection, 2).await;
    let heard = connection.hear(Kind::Response).await;
    assert_eq!((status(&heard), heard.flags()), ((101, Some("two".to_owned())), Flags::NONE));

    say(&mut connection, 2, Flags::TEXT, b"hi").await;
    let heard = connection.hear(Kind::Data).await;
    assert_eq!((heard.payload(), heard.flags()), (&b"hi"[..], Flags::TEXT));
    // An empty message is a message; one in two parts is one.
    say(&mut connection, 2, Flags::NONE, b"").await;
    let heard = connection.hear(Kind::Data).await;
    assert_eq!((heard.payload(), heard.flags()), (&b""[..], Flags::NONE));
    say(&mut connection, 2, Flags::TEXT | Flags::MORE, &"h\u{e9}".as_bytes()[..2]).await;
    say(&mut connection, 2, Flags::TEXT, b"\xa9!").await;
    let heard = connection.hear(Kind::Data).await;
    assert_eq!((heard.payload(), heard.flags()), ("h\u{e9}!".as_bytes(), Flags::TEXT));

    close(&mut connection, 2, 3001, "bye").await;
    assert_eq!(closed(&connection.hear(Kind::Data).await), (3001, "bye too".to_owned()));
}

#[tokio::test(start_paused = true)]
async fn a_refusal_is_an_ordinary_answer() {
    let (_hub, mut connection, client) = open().await;
    let _service = provide(&mut connection, &client, |_| async { Ok(Reply::status(403)) }).await;
    ask(&mut connection, 2).await;
    let heard = connection.hear(Kind::Response).await;
    assert_eq!((status(&heard).0, heard.flags()), (403, Flags::END));
}

#[tokio::test(start_paused = true)]
async fn a_handler_that_returns_closes_its_websocket() {
    let (_hub, mut connection, client) = open().await;
    let serve = |request: Request| async move {
        let fails = request.protocols().next().is_none();
        let mut socket = request.accept(None).await?;
        socket.send("last words").await?;
        if fails { Err(ServiceError::internal("out of order")) } else { Ok(Reply::default()) }
    };
    let _service = provide(&mut connection, &client, serve).await;
    ask(&mut connection, 2).await;
    connection.hear(Kind::Response).await;
    assert_eq!(connection.hear(Kind::Data).await.payload(), b"last words");
    assert_eq!(closed(&connection.hear(Kind::Data).await), (1000, String::new()));

    let via = Via { path: "/chat", ..Via::default() };
    let request = WireRequest { path: "/chat", method: "WEBSOCKET", ..WireRequest::default() };
    connection.say_with(4, Flags::NONE, Some(&via), &Body::Request(request), b"").await;
    connection.hear(Kind::Response).await;
    connection.hear(Kind::Data).await;
    let heard = connection.hear(Kind::Error).await;
    let Body::Error(failure) = heard.frame().body else { unreachable!() };
    assert_eq!((heard.id(), failure.code, failure.reason), (4, Code::Internal, "out of order"));
}

#[tokio::test(start_paused = true)]
async fn a_websocket_that_nobody_waits_for_any_more_fails() {
    let (_hub, mut connection, client) = open().await;
    let (tell, mut told) = tokio::sync::mpsc::unbounded_channel();
    let serve = move |request: Request| {
        let tell = tell.clone();
        async move {
            let mut socket = request.accept(None).await?;
            tell.send(socket.next().await.unwrap_err().kind()).unwrap();
            Ok(Reply::default())
        }
    };
    let _service = provide(&mut connection, &client, serve).await;
    ask(&mut connection, 2).await;
    connection.hear(Kind::Response).await;
    connection.say(2, &Body::Cancel(Cancel::default())).await;
    assert_eq!(within(told.recv()).await, Some(ErrorKind::Cancelled));
}

#[tokio::test(start_paused = true)]
async fn a_large_message_waits_for_credit_and_keeps_its_boundary() {
    let (_hub, mut connection, client) = open().await;
    let text = "\u{20ac}".repeat(WINDOW / 3 + 1000);
    let said = text.clone();
    let serve = move |request: Request| {
        let said = said.clone();
        async move {
            let mut socket = request.accept(None).await?;
            socket.send(said).await?;
            Ok(Reply::default())
        }
    };
    let _service = provide(&mut connection, &client, serve).await;
    ask(&mut connection, 2).await;
    connection.hear(Kind::Response).await;
    let mut whole = Vec::new();
    let mut granted = WINDOW;
    loop {
        if text.len().min(granted) - whole.len() < 64 * 1024 && granted < text.len() {
            // Nothing more comes without it.
            connection.say(2, &Body::Credit(Credit { bytes: 100_000 })).await;
            granted += 100_000;
        }
        let heard = connection.hear(Kind::Data).await;
        assert!(std::str::from_utf8(heard.payload()).is_ok(), "every part is text");
        whole.extend_from_slice(heard.payload());
        assert!(whole.len() <= granted);
        if !heard.flags().contains(Flags::MORE) {
            break;
        }
    }
    assert!(whole == text.as_bytes());
    assert_eq!(closed(&connection.hear(Kind::Data).await).0, 1000);
}

#[tokio::test(start_paused = true)]
async fn a_caller_opens_talks_and_closes() {
    let (_hub, mut connection, client) = open().await;
    let opening = tokio::spawn(client.websocket("/chat?room=1").protocol("two").into_future());
    let heard = connection.hear(Kind::Request).await;
    let Body::Request(request) = heard.frame().body else { unreachable!() };
    assert_eq!((request.method, request.path, request.query), ("WEBSOCKET", "/chat", "room=1"));
    assert_eq!((request.headers.get("sec-websocket-protocol"), heard.flags()), (Some("two"), Flags::NONE));
    let id = heard.id();
    let pairs = [("sec-websocket-protocol", "two")];
    let accepted = Response { status: 101, headers: Headers::new(&pairs), ..Response::default() };
    connection.say(id, &Body::Response(accepted)).await;
    let mut socket = within(opening).await.unwrap().unwrap();
    assert_eq!(socket.protocol(), Some("two"));

    socket.send(vec![1, 2]).await.unwrap();
    let heard = connection.hear(Kind::Data).await;
    assert_eq!((heard.id(), heard.payload(), heard.flags()), (id, &[1, 2][..], Flags::NONE));
    say(&mut connection, id, Flags::TEXT, b"yes").await;
    assert_eq!(socket.next().await.unwrap(), Some(SocketMessage::text("yes")));
    let closing = tokio::spawn(async move { socket.close(1000, "done").await });
    assert_eq!(closed(&connection.hear(Kind::Data).await), (1000, "done".to_owned()));
    close(&mut connection, id, 1000, "").await;
    within(closing).await.unwrap().unwrap();
    // The call has ended: nothing is cancelled.
    client.publish("a").await.unwrap();
    connection.hear(Kind::Publish).await;
}

#[tokio::test(start_paused = true)]
async fn a_caller_that_is_refused_is_told_how() {
    let (_hub, mut connection, client) = open().await;
    let opening = tokio::spawn(client.websocket("/chat").into_future());
    let heard = connection.hear(Kind::Request).await;
    let refused = Response { status: 403, ..Response::default() };
    connection.say_with(heard.id(), Flags::END, None, &Body::Response(refused), b"").await;
    let error = within(opening).await.unwrap().unwrap_err();
    assert_eq!((error.kind(), error.code()), (ErrorKind::Forbidden, Code::Forbidden));
}

#[tokio::test(start_paused = true)]
async fn a_caller_that_drops_its_websocket_cancels_it() {
    let (_hub, mut connection, client) = open().await;
    let opening = tokio::spawn(client.websocket("/chat").into_future());
    let id = connection.hear(Kind::Request).await.id();
    connection.say(id, &Body::Response(Response { status: 101, ..Response::default() })).await;
    let socket = within(opening).await.unwrap().unwrap();
    let (reader, writer) = socket.split();
    drop(reader);
    drop(writer);
    assert_eq!(connection.hear(Kind::Cancel).await.id(), id);
}
