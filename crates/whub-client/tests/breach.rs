//! A server that breaks the rules of WebSocket: what it said before still counts.
#![allow(clippy::unwrap_used, reason = "tests")]

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use whub_client::websocket::{Opening, WebSocket, WebSocketError};
use whub_transport::{Stream, pipe::pipe};
use whub_ws::{Limits, MessageKind, handshake::accept_key};

/// `ok` as a whole text message, then a frame whose reserved bits mean nothing.
const MESSAGE_AND_BREACH: &[u8] = b"\x81\x02ok\xf1\x00";

#[tokio::test]
async fn the_message_before_a_breach_arrives_and_can_be_answered() {
    let (ours, mut theirs) = pipe(64 * 1024);
    let opening = Opening {
        authority: "fake",
        target: "/",
        protocols: &[],
        deflate: None,
        headers: &[],
        limits: Limits::default(),
    };
    let (socket, ()) = tokio::join!(WebSocket::open(ours, &opening), shake_hands(&mut theirs));
    let mut socket = socket.unwrap();

    theirs.write_all(MESSAGE_AND_BREACH).await.unwrap();
    let (kind, payload) = socket.next().await.unwrap().unwrap();
    assert_eq!((kind, &payload[..]), (MessageKind::Text, &b"ok"[..]));
    socket.send(kind, &payload).await.unwrap();
    assert!(matches!(socket.next().await, Err(WebSocketError::Violation(_))));

    // The answer first, the Close frame with 1002 behind it, both masked.
    let answer = unmasked_frame(&mut theirs).await;
    assert_eq!(answer, (0x81, b"ok".to_vec()));
    let (head, close) = unmasked_frame(&mut theirs).await;
    assert_eq!((head, &close[..2]), (0x88, &1002_u16.to_be_bytes()[..]));
}

/// Accepts the handshake that `server` receives.
async fn shake_hands(server: &mut Stream) {
    let mut head = Vec::new();
    while !head.ends_with(b"\r\n\r\n") {
        head.push(server.read_u8().await.unwrap());
    }
    let head = String::from_utf8(head).unwrap();
    let (_, rest) = head.split_once("Sec-WebSocket-Key: ").expect("a key is offered");
    let accept = accept_key(rest.split("\r\n").next().unwrap().as_bytes());
    let answer = format!(
        "HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Accept: {accept}\r\n\r\n"
    );
    server.write_all(answer.as_bytes()).await.unwrap();
}

/// The first byte and the unmasked payload of the next short frame.
async fn unmasked_frame(server: &mut Stream) -> (u8, Vec<u8>) {
    let mut head = [0; 6];
    server.read_exact(&mut head).await.unwrap();
    assert!((0x80..0xfe).contains(&head[1]), "short and masked: {head:02x?}");
    let mut payload = vec![0; usize::from(head[1] & 0x7f)];
    server.read_exact(&mut payload).await.unwrap();
    for (byte, mask) in payload.iter_mut().zip(head[2..].iter().cycle()) {
        *byte ^= mask;
    }
    (head[0], payload)
}
