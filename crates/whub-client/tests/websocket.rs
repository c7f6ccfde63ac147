//! The same conversation inside a WebSocket: its handshake, its pings, its close codes.

#![allow(clippy::unwrap_used, reason = "the helpers are a part of the tests")]

use std::time::Duration;

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::sync::mpsc;
use tokio::time::Instant;
use whub_client::{Connect, ErrorKind, Event, State, connect};
use whub_proto::{Body, Head, Kind, Welcome, Writer};
use whub_transport::{Stream, pipe::pipe};
use whub_ws::{CloseCode, Decoder, Limits, Opcode, Role, encode_close, encode_frame};

/// Long for a test, short for a person.
const PATIENCE: Duration = Duration::from_secs(60);

fn fake_server() -> (mpsc::UnboundedReceiver<Stream>, Connect) {
    let (dialling, dialled) = mpsc::unbounded_channel();
    let options = connect("ws://hub.example/ws").dial_with(move || {
        let (ours, theirs) = pipe(64 * 1024);
        let sent = dialling.send(theirs);
        async move { sent.map(|()| ours).map_err(|_| std::io::ErrorKind::ConnectionRefused.into()) }
    });
    (dialled, options)
}

async fn within<T>(future: impl Future<Output = T>) -> T {
    tokio::time::timeout(PATIENCE, future).await.expect("something happens in time")
}

/// Reads the request and answers with this head.
async fn answer(stream: &mut Stream, head: impl FnOnce(&str) -> String) {
    let mut request = Vec::new();
    while !request.ends_with(b"\r\n\r\n") {
        request.push(within(stream.read_u8()).await.unwrap());
    }
    let request = String::from_utf8(request).unwrap();
    assert!(request.starts_with("GET /ws HTTP/1.1\r\nHost: hub.example\r\n"), "{request}");
    assert!(request.contains("Sec-WebSocket-Protocol: whub.v1\r\n"));
    stream.write_all(head(&request).as_bytes()).await.unwrap();
}

/// Upgrades, reads `Hello` and answers it.
async fn welcome(stream: &mut Stream) -> Decoder {
    answer(stream, |request| {
        let key = request.split_once("Sec-WebSocket-Key: ").unwrap().1.split("\r\n").next().unwrap();
        format!(
            "HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n\
             Sec-WebSocket-Protocol: whub.v1\r\nSec-WebSocket-Accept: {}\r\n\r\n",
            whub_ws::handshake::accept_key(key.as_bytes())
        )
    })
    .await;
    let mut decoder = Decoder::new(Role::Server, Limits::default());
    let hello = hear(stream, &mut decoder).await;
    assert_eq!(hello, Said::Frame(Kind::Hello));
    let mut frame = Vec::new();
    let body = Body::Welcome(Welcome { client: "c1", ..Welcome::default() });
    Writer::new().frame(&mut frame, Head::new(Kind::None, 0), None, &body, b"").unwrap();
    say(stream, Opcode::Binary, &frame).await;
    decoder
}

async fn say(stream: &mut Stream, opcode: Opcode, payload: &[u8]) {
    let mut out = Vec::new();
    encode_frame(&mut out, opcode, payload);
    stream.write_all(&out).await.unwrap();
}

#[derive(Debug, PartialEq, Eq)]
enum Said {
    Frame(Kind),
    Pong(Vec<u8>),
    Close(Option<u16>),
}

/// The one thing that the client says next.
async fn hear(stream: &mut Stream, decoder: &mut Decoder) -> Said {
    let mut bytes = vec![0; 4096];
    let count = within(stream.read(&mut bytes)).await.unwrap();
    let mut batch = decoder.decode(&mut bytes[..count]);
    match batch.next().unwrap().expect("one write holds whole frames") {
        whub_ws::Event::Message { payload, .. } => Said::Frame(Head::parse(&payload).unwrap().kind),
        whub_ws::Event::Pong(payload) => Said::Pong(payload.to_vec()),
        whub_ws::Event::Ping(_) => panic!("the client pings inside the protocol"),
        whub_ws::Event::Close(frame) => Said::Close(frame.map(|frame| frame.code.value())),
    }
}

#[tokio::test(start_paused = true)]
async fn pings_below_the_protocol_are_answered_and_are_signs_of_life() {
    let (mut dialled, options) = fake_server();
    let client = tokio::spawn(options.into_future());
    let mut stream = dialled.recv().await.unwrap();
    let mut decoder = welcome(&mut stream).await;
    let client = within(client).await.unwrap().unwrap();
    for _ in 0..10 {
        tokio::time::sleep(Duration::from_secs(20)).await;
        say(&mut stream, Opcode::Ping, b"you?").await;
        assert_eq!(hear(&mut stream, &mut decoder).await, Said::Pong(b"you?".to_vec()));
    }
    assert!(matches!(client.state(), State::Open));
    let closing = tokio::spawn(async move { client.close().await });
    assert_eq!(hear(&mut stream, &mut decoder).await, Said::Close(Some(1000)));
    drop(stream);
    within(closing).await.unwrap().unwrap();
}

#[tokio::test(start_paused = true)]
async fn a_close_code_says_whether_to_come_back() {
    let (mut dialled, options) = fake_server();
    let client = tokio::spawn(options.into_future());
    let mut stream = dialled.recv().await.unwrap();
    let decoder = welcome(&mut stream).await;
    let client = within(client).await.unwrap().unwrap();
    let mut events = client.events();
    let mut close = Vec::new();
    encode_close(&mut close, CloseCode::new(4604).unwrap(), "stopping", None);
    stream.write_all(&close).await.unwrap();
    let event = within(events.next()).await;
    let Some(Event::Reconnecting { error, .. }) = event else { panic!("{event:?}") };
    assert_eq!(error.kind(), ErrorKind::Unavailable);

    let mut again = within(dialled.recv()).await.unwrap();
    welcome(&mut again).await;
    close.clear();
    encode_close(&mut close, CloseCode::new(4403).unwrap(), "banned", None);
    again.write_all(&close).await.unwrap();
    assert_eq!(within(client.closed()).await.unwrap().kind(), ErrorKind::Forbidden);
    drop((stream, decoder));
}

#[tokio::test(start_paused = true)]
async fn a_text_message_on_the_binary_protocol_is_a_breach() {
    let (mut dialled, options) = fake_server();
    let client = tokio::spawn(options.into_future());
    let mut stream = dialled.recv().await.unwrap();
    welcome(&mut stream).await;
    let client = within(client).await.unwrap().unwrap();
    say(&mut stream, Opcode::Text, b"{}").await;
    assert_eq!(within(client.closed()).await.unwrap().kind(), ErrorKind::ProtocolError);
}

#[tokio::test(start_paused = true)]
async fn a_refused_upgrade_says_why_and_when_to_come_back() {
    let (mut dialled, options) = fake_server();
    let client = tokio::spawn(options.into_future());
    let mut stream = dialled.recv().await.unwrap();
    answer(&mut stream, |_| {
        "HTTP/1.1 503 Service Unavailable\r\nRetry-After: 7\r\nContent-Type: text/plain\r\n\r\nfull"
            .to_owned()
    })
    .await;
    let error = within(client).await.unwrap().unwrap_err();
    assert_eq!((error.kind(), error.retry_after()), (ErrorKind::Unavailable, Some(Duration::from_secs(7))));
    assert!(error.to_string().contains("full"), "{error}");
}

#[tokio::test(start_paused = true)]
async fn a_server_that_does_not_answer_is_given_up() {
    let (mut dialled, options) = fake_server();
    let begun = Instant::now();
    let client = tokio::spawn(options.into_future());
    let _stream = dialled.recv().await.unwrap();
    assert_eq!(within(client).await.unwrap().unwrap_err().kind(), ErrorKind::Timeout);
    assert_eq!(begun.elapsed().as_secs(), 10);
}
