//! HTTP/2 by prior knowledge: the same answers, and WebSockets on its streams (RFC 8441).

use bytes::Bytes;
use h2::client::SendRequest;
use h2::ext::Protocol;
use hyper::{Method, Request, StatusCode};
use tokio::net::TcpStream;
use whub_proto::{Body, Data, Flags, Headers, Kind, Response};

use crate::calls::providing;
use crate::common::{Node, SOON};

pub(crate) async fn connect(node: &Node) -> SendRequest<Bytes> {
    let socket = TcpStream::connect(node.authority()).await.unwrap();
    let (sender, connection) = h2::client::handshake(socket).await.unwrap();
    tokio::spawn(connection);
    sender.ready().await.unwrap()
}

pub(crate) fn request(method: Method, uri: &str) -> Request<()> {
    Request::builder().method(method).uri(uri).body(()).unwrap()
}

async fn body(response: hyper::Response<h2::RecvStream>) -> Vec<u8> {
    let mut stream = response.into_body();
    let mut whole = Vec::new();
    while let Some(chunk) = stream.data().await {
        let chunk = chunk.unwrap();
        stream.flow_control().release_capacity(chunk.len()).unwrap();
        whole.extend_from_slice(&chunk);
    }
    whole
}

#[tokio::test]
async fn hosts_and_methods_are_checked_alike() {
    let node = Node::start().await;
    let mut sender = connect(&node).await;
    for (method, uri, status) in [
        (Method::GET, "http://localhost/healthz", 200),
        (Method::GET, "http://127.0.0.1:9482/nope", 404),
        (Method::GET, "http://evil.example/healthz", 421),
        (Method::TRACE, "http://localhost/", 405),
    ] {
        let (response, _) = sender.send_request(request(method, uri), true).unwrap();
        let response = response.await.unwrap();
        assert_eq!(response.status().as_u16(), status, "{uri}");
        assert!(response.headers().contains_key("x-request-id"));
    }
}

#[tokio::test]
async fn a_call_streams_both_ways() {
    let (node, mut provider) = providing("/echo").await;
    let mut sender = connect(&node).await;
    let (response, mut up) =
        sender.send_request(request(Method::POST, "http://localhost/echo?q"), false).unwrap();
    up.send_data(Bytes::from_static(b"one"), false).unwrap();
    let asked = provider.hear().await;
    let Body::Request(head) = asked.frame().body else { panic!("{asked:?}") };
    assert_eq!((head.authority, head.query), ("localhost", "q"));
    assert_eq!(provider.hear().await.payload, b"one");
    provider.say(asked.id, &Body::Response(Response::default())).await;
    let response = response.await.unwrap();
    assert_eq!(response.status(), StatusCode::OK);
    // The answer has begun, and the question still goes on.
    up.send_data(Bytes::from_static(b"two"), true).unwrap();
    let heard = provider.hear().await;
    assert_eq!(heard.payload, b"two");
    provider.send(asked.id, Flags::END, &Body::Data(Data::default()), b"one two").await;
    assert_eq!(body(response).await, b"one two");
}

#[tokio::test]
async fn a_reset_stream_is_a_cancelled_call_and_others_live_on() {
    let (node, mut provider) = providing("/x").await;
    let mut sender = connect(&node).await;
    let (response, mut stream) =
        sender.send_request(request(Method::GET, "http://localhost/x"), true).unwrap();
    let asked = provider.hear().await;
    stream.send_reset(h2::Reason::CANCEL);
    let heard = provider.hear().await;
    assert_eq!((heard.kind, heard.id), (Kind::Cancel, asked.id));
    drop(response);
    let (response, _) = sender.send_request(request(Method::GET, "http://localhost/healthz"), true).unwrap();
    assert_eq!(response.await.unwrap().status(), StatusCode::OK);
}

#[tokio::test]
async fn a_websocket_is_a_stream_among_others() {
    let node = Node::with(|config| config.debug.echo = true).await;
    let mut sender = connect(&node).await;
    let enabled = async {
        while !sender.is_extended_connect_protocol_enabled() {
            tokio::task::yield_now().await;
        }
    };
    tokio::time::timeout(SOON, enabled).await.expect("the hub offers RFC 8441");
    let mut handshake = request(Method::CONNECT, "http://localhost/debug/echo");
    handshake.headers_mut().insert("sec-websocket-version", "13".parse().unwrap());
    handshake.extensions_mut().insert(Protocol::from_static("websocket"));
    let (response, mut up) = sender.send_request(handshake, false).unwrap();
    let response = response.await.unwrap();
    assert_eq!(response.status(), StatusCode::OK);
    assert!(!response.headers().contains_key("sec-websocket-accept"));
    up.send_data(Bytes::from_static(b"\x81\x85\x37\xfa\x21\x3d\x7f\x9f\x4d\x51\x58"), false).unwrap();
    let mut down = response.into_body();
    assert_eq!(down.data().await.unwrap().unwrap(), &b"\x81\x05Hello"[..]);
    let (other, _) = sender.send_request(request(Method::GET, "http://localhost/healthz"), true).unwrap();
    assert_eq!(other.await.unwrap().status(), StatusCode::OK);
    drop(up);
}

#[tokio::test]
async fn a_websocket_to_a_service_is_a_stream_too() {
    let (node, mut provider) = providing("/chat").await;
    let mut sender = connect(&node).await;
    while !sender.is_extended_connect_protocol_enabled() {
        tokio::task::yield_now().await;
    }
    let mut handshake = request(Method::CONNECT, "http://localhost/chat");
    handshake.headers_mut().insert("sec-websocket-version", "13".parse().unwrap());
    handshake.headers_mut().insert("sec-websocket-protocol", "one, two".parse().unwrap());
    handshake.extensions_mut().insert(Protocol::from_static("websocket"));
    let (response, mut up) = sender.send_request(handshake, false).unwrap();
    let asked = provider.hear().await;
    let Body::Request(head) = asked.frame().body else { panic!("{asked:?}") };
    assert_eq!((head.method, head.authority), ("WEBSOCKET", "localhost"));
    let pairs = [("sec-websocket-protocol", "two")];
    let accepted = Response { status: 101, headers: Headers::new(&pairs), ..Response::default() };
    provider.say(asked.id, &Body::Response(accepted)).await;
    let response = response.await.unwrap();
    assert_eq!(response.status(), StatusCode::OK);
    assert_eq!(response.headers()["sec-websocket-protocol"], "two");
    up.send_data(Bytes::from_static(b"\x81\x85\x37\xfa\x21\x3d\x7f\x9f\x4d\x51\x58"), false).unwrap();
    let heard = provider.hear().await;
    assert_eq!((heard.flags, &heard.payload[..]), (Flags::TEXT, &b"Hello"[..]));
    provider.send(asked.id, Flags::NONE, &Body::Data(Data::default()), b"hi").await;
    let mut down = response.into_body();
    assert_eq!(down.data().await.unwrap().unwrap(), &b"\x82\x02hi"[..]);
    drop(up);
}

#[tokio::test]
async fn an_unknown_protocol_is_no_websocket() {
    let node = Node::start().await;
    let mut sender = connect(&node).await;
    while !sender.is_extended_connect_protocol_enabled() {
        tokio::task::yield_now().await;
    }
    let mut handshake = request(Method::CONNECT, "http://localhost/ws");
    handshake.extensions_mut().insert(Protocol::from_static("connect-udp"));
    let (response, _) = sender.send_request(handshake, false).unwrap();
    assert_eq!(response.await.unwrap().status(), StatusCode::METHOD_NOT_ALLOWED);
}

#[tokio::test]
async fn a_refusal_reaches_a_client_that_is_still_sending() {
    let node = Node::start().await;
    let mut sender = connect(&node).await;
    let (response, mut up) =
        sender.send_request(request(Method::POST, "http://localhost/nobody"), false).unwrap();
    up.send_data(Bytes::from(vec![b'x'; 1_000_000]), false).unwrap();
    let response = response.await.unwrap();
    assert_eq!(response.status(), StatusCode::NOT_FOUND);
    assert!(body(response).await.starts_with(b"{\"type\""));
    let (other, _) = sender.send_request(request(Method::GET, "http://localhost/healthz"), true).unwrap();
    assert_eq!(other.await.unwrap().status(), StatusCode::OK);
}
