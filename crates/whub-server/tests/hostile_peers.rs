//! Bad input, from peers that do not know better or do: a clear error, a bounded cost, and everyone else untouched.

#![allow(clippy::unwrap_used)] // A failed unwrap is a failed test.

mod common;

use common::{Client, Node, framed};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use whub_proto::{Body, Code, Flags, Head, Hello, Kind, Publish, Request, Response};
use whub_server::config::{Config, Grant, Secret, Token};

/// A provider and a caller that have to get on, whatever the hostile one does.
struct Bystanders {
    caller: Client,
    provider: Client,
    next: u64,
}

impl Bystanders {
    async fn new(node: &Node) -> Self {
        let (caller, mut provider) = (node.client().await, node.client().await);
        provider.register(1, "/calm").await;
        Self { caller, provider, next: 1 }
    }

    async fn are_untouched(&mut self) {
        let request = Body::Request(Request { path: "/calm", ..Request::default() });
        self.caller.send(self.next, Flags::END, &request, b"?").await;
        let asked = self.provider.hear().await;
        self.provider.send(asked.id, Flags::END, &Body::Response(Response::default()), b"!").await;
        let answer = self.caller.hear().await;
        assert_eq!((answer.kind, answer.id, &answer.payload[..]), (Kind::Response, self.next, &b"!"[..]));
        self.next += 2;
    }
}

/// The error that ends a conversation: its code and reason.
async fn last_words(client: &mut Client) -> (Code, String) {
    let heard = client.hear().await;
    let frame = heard.frame();
    let Body::Error(error) = frame.body else { panic!("an error was to come, not {:?}", heard.kind) };
    let words = (error.code, error.reason.to_owned());
    assert!(client.try_hear().await.is_none(), "and then the end");
    words
}

#[tokio::test]
async fn frames_that_cannot_be_read_end_the_conversation_with_a_reason() {
    let node = Node::start().await;
    let mut bystanders = Bystanders::new(&node).await;
    let forged_via = {
        let via = whub_proto::Via { client: "root", ..Default::default() };
        let body = Body::Publish(Publish { channel: "x", ..Publish::default() });
        let packet = whub_core::Packet::build_with(&body, Flags::NONE, Some(&via), b"");
        packet.to_vec()
    };
    let mut hops = Head::new(Kind::Ping, 0);
    hops.hops = 1;
    let mut broken =
        framed(1, Flags::NONE, &Body::Request(Request { path: "/x", ..Request::default() }), b"")[4..]
            .to_vec();
    for byte in &mut broken[16..] {
        *byte ^= 0x55;
    }
    for (bytes, code, reason) in [
        (vec![1, 2, 3], Code::ProtocolError, "frame of 3 bytes is shorter than its head"),
        (forged_via, Code::ProtocolError, "only hubs write a via"),
        (hops.to_bytes().to_vec(), Code::ProtocolError, "only hubs count hops"),
        (vec![0; 16], Code::ProtocolError, "kind 0 is not used"),
        (broken, Code::ProtocolError, "request: malformed envelope"),
        (
            Head::new(Kind::Ping, 1 << 60).to_bytes().to_vec(),
            Code::ProtocolError,
            "id 1152921504606846976 is not below 2^53",
        ),
    ] {
        let mut client = node.client().await;
        let mut framed = u32::try_from(bytes.len()).unwrap().to_le_bytes().to_vec();
        framed.extend_from_slice(&bytes);
        client.socket.write_all(&framed).await.unwrap();
        assert_eq!(last_words(&mut client).await, (code, reason.to_owned()));
    }
    bystanders.are_untouched().await;
    assert_eq!(node.hub.counters.protocol_errors.read(), 6);
}

#[tokio::test]
async fn a_frame_above_the_limit_is_refused_by_its_length() {
    let node = Node::start().await;
    let mut client = node.client().await;
    client.socket.write_all(&u32::MAX.to_le_bytes()).await.unwrap();
    let (code, reason) = last_words(&mut client).await;
    assert_eq!(code, Code::TooLarge);
    assert_eq!(reason, "the peer announced a frame of 4294967295 bytes, the limit is 1048576");
}

#[tokio::test]
async fn unknown_kinds_are_answered_or_ignored() {
    let node = Node::start().await;
    let mut client = node.client().await;
    for (id, answered) in [(0, false), (9, true)] {
        let mut bytes = 16_u32.to_le_bytes().to_vec();
        Head::new(Kind::Unknown(200), id).write(&mut bytes);
        client.socket.write_all(&bytes).await.unwrap();
        client.send(0, Flags::NONE, &Body::Ping, b"").await;
        if answered {
            let heard = client.hear().await;
            assert_eq!((heard.kind, heard.id), (Kind::Error, 9));
        }
        assert_eq!(client.hear().await.kind, Kind::Pong);
    }
}

#[tokio::test]
async fn garbage_on_the_port_is_closed_without_an_answer() {
    let node = Node::start().await;
    let mut bystanders = Bystanders::new(&node).await;
    for garbage in [&b"\x00\x01\x02\x03"[..], b"\x10\x0c\x00\x04MQTT", b"\xff\xff\xff\xff", b"hello\r\n\r\n"]
    {
        let mut socket = TcpStream::connect(node.authority()).await.unwrap();
        socket.write_all(garbage).await.unwrap();
        let mut answer = Vec::new();
        // The end may come as a reset, since nobody read the garbage.
        let _ = tokio::time::timeout(common::SOON, socket.read_to_end(&mut answer)).await.unwrap();
        assert_eq!(answer, b"", "after {garbage:?}");
    }
    bystanders.are_untouched().await;
}

#[tokio::test]
async fn a_wrong_preface_is_closed() {
    let node = Node::start().await;
    for preface in [b"\x0eWHB\x02", b"\x0eXXX\x01"] {
        let mut socket = TcpStream::connect(node.authority()).await.unwrap();
        socket.write_all(preface).await.unwrap();
        let mut answer = Vec::new();
        let _ = tokio::time::timeout(common::SOON, socket.read_to_end(&mut answer)).await.unwrap();
        assert_eq!(answer, b"");
    }
}

fn one_token(config: &mut Config) {
    let grant = Grant { publish: vec!["open/#".parse().unwrap()], ..Grant::none() };
    config.tokens.push(Token { name: "ops".into(), secret: Secret::new("s3cret").unwrap(), grant });
}

#[tokio::test]
async fn a_wrong_token_and_none_read_alike_and_the_right_one_opens() {
    let node = Node::with(one_token).await;
    let mut reasons = Vec::new();
    for token in ["wrong", ""] {
        let mut client = node.stranger().await;
        client.say(0, &Body::Hello(Hello { token, ..Hello::default() })).await;
        reasons.push(last_words(&mut client).await);
    }
    assert_eq!(reasons[0], reasons[1]);
    assert_eq!(reasons[0].0, Code::Unauthorized);
    let mut client = node.stranger().await;
    client.say(0, &Body::Hello(Hello { token: "s3cret", ..Hello::default() })).await;
    assert_eq!(client.hear().await.kind, Kind::Welcome);
    for (channel, kind) in [("open/x", Kind::Ok), ("shut", Kind::Error)] {
        client.send(1, Flags::ACK, &Body::Publish(Publish { channel, ..Publish::default() }), b"").await;
        assert_eq!(client.hear().await.kind, kind);
    }
}

#[tokio::test]
async fn a_reload_without_its_token_ends_a_session() {
    let node = Node::with(one_token).await;
    let mut client = node.stranger().await;
    client.say(0, &Body::Hello(Hello { token: "s3cret", ..Hello::default() })).await;
    assert_eq!(client.hear().await.kind, Kind::Welcome);
    let mut config = Config { listen: vec!["127.0.0.1:0".parse().unwrap()], ..Config::default() };
    one_token(&mut config);
    node.handle.reload(config.clone());
    client.send(0, Flags::NONE, &Body::Ping, b"").await;
    assert_eq!(client.hear().await.kind, Kind::Pong, "the same rules leave it alone");
    config.tokens[0].secret = Secret::new("another").unwrap();
    node.handle.reload(config);
    assert_eq!(last_words(&mut client).await.0, Code::Unauthorized);
}

#[tokio::test]
async fn a_provider_that_answers_for_others_is_closed_and_their_calls_are_not() {
    let node = Node::start().await;
    let mut bystanders = Bystanders::new(&node).await;
    let mut offender = node.client().await;
    offender.send(2, Flags::END, &Body::Response(Response::default()), b"forged").await;
    assert_eq!(last_words(&mut offender).await.0, Code::ProtocolError);
    bystanders.are_untouched().await;
}

#[tokio::test]
async fn a_caller_that_vanishes_is_told_to_its_provider() {
    let node = Node::start().await;
    let mut bystanders = Bystanders::new(&node).await;
    let mut caller = node.client().await;
    let request = Body::Request(Request { path: "/calm", ..Request::default() });
    caller.send(1, Flags::END, &request, b"").await;
    let asked = bystanders.provider.hear().await;
    drop(caller);
    let told = bystanders.provider.hear().await;
    assert_eq!((told.kind, told.id), (Kind::Cancel, asked.id));
    bystanders.are_untouched().await;
}
