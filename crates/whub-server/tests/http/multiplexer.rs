//! `/gateway`: many endpoints on one WebSocket, after the handshake of SocketMaster.

use std::time::Duration;

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use whub_server::config::{Endpoint, Target, WhenDown};
use whub_ws::{CloseCode, Decoder, Event, Limits, MessageKind, Opcode, Role, encode_frame, encode_masked};

use crate::browser::Browser;
use crate::common::{Node, SOON};

const HANDSHAKE: &str = "Connection: Upgrade\nUpgrade: websocket\nSec-WebSocket-Version: 13\n\
                         Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==";

/// What a socket said.
#[derive(Debug, PartialEq, Clone)]
pub(crate) enum Said {
    Text(String),
    Binary(Vec<u8>),
    Closed(u16),
    End,
}

/// Either end of a WebSocket, by hand.
pub(crate) struct Talker {
    socket: TcpStream,
    decoder: Decoder,
    role: Role,
    said: std::collections::VecDeque<Said>,
    /// Pings are answered.
    answers: bool,
    /// Those that were not.
    pings: Vec<Vec<u8>>,
}

impl Talker {
    pub(crate) fn new(socket: TcpStream, role: Role) -> Self {
        let decoder = Decoder::new(role, Limits::default());
        Self {
            socket,
            decoder,
            role,
            said: std::collections::VecDeque::new(),
            answers: true,
            pings: Vec::new(),
        }
    }

    /// Takes the handshake of the other end, unless that only looks.
    pub(crate) async fn greet(mut socket: TcpStream) -> Option<Self> {
        let mut head = Vec::new();
        while !head.ends_with(b"\r\n\r\n") && socket.read_buf(&mut head).await.unwrap() > 0 {}
        let head = String::from_utf8(head).unwrap();
        let key = head.lines().find_map(|line| line.strip_prefix("Sec-Websocket-Key: "))?;
        let accept = whub_ws::handshake::accept_key(key.as_bytes());
        let answer = format!(
            "HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n\
             Sec-WebSocket-Accept: {accept}\r\n\r\n"
        );
        socket.write_all(answer.as_bytes()).await.unwrap();
        Some(Self::new(socket, Role::Server))
    }

    pub(crate) async fn join(node: &Node) -> Self {
        Self::join_with(node, "").await
    }

    /// With these fields in its request.
    pub(crate) async fn join_with(node: &Node, fields: &str) -> Self {
        let mut browser = Browser::visit(node).await;
        let answer = browser.ask(&format!("GET /gateway\n{HANDSHAKE}\n{fields}"), b"").await;
        assert_eq!(answer.status, 101, "{answer:?}");
        Self::new(browser.socket, Role::Client)
    }

    /// After the handshake, with these routes.
    pub(crate) async fn open(node: &Node, routes: &[&str]) -> Self {
        Self::open_with(node, "", routes).await
    }

    /// With these fields in its request.
    pub(crate) async fn open_with(node: &Node, fields: &str, routes: &[&str]) -> Self {
        let mut client = Self::join_with(node, fields).await;
        client.say("{event: SMHandshake, data: SYN}").await;
        client.hears("{event: SMHandshake, data: SYN/ACK}").await;
        client.say("{event: SMHandshake, data: ACK}").await;
        for route in routes {
            client.say(&format!("{{event: SMHandshake, data: {route}}}")).await;
            client.hears("{event: SMHandshake, data: ACK}").await;
        }
        client.say("{event: SMHandshakeEnd, data: }").await;
        client.hears("{event: SMHandshakeEnd, data: ACK}").await;
        client
    }

    pub(crate) async fn say(&mut self, text: &str) {
        self.send(Opcode::Text, text.as_bytes()).await;
    }

    pub(crate) async fn send(&mut self, opcode: Opcode, payload: &[u8]) {
        let mut frame = Vec::new();
        match self.role {
            Role::Client => encode_masked(&mut frame, opcode, payload, [1, 2, 3, 4]),
            Role::Server => encode_frame(&mut frame, opcode, payload),
        }
        self.socket.write_all(&frame).await.unwrap();
    }

    pub(crate) async fn hears(&mut self, text: &str) {
        assert_eq!(self.hear().await, Said::Text(text.to_owned()));
    }

    pub(crate) async fn hear(&mut self) -> Said {
        loop {
            if let Some(said) = self.said.pop_front() {
                return said;
            }
            let mut input = vec![0; 64 * 1024];
            let read = tokio::time::timeout(SOON, self.socket.read(&mut input)).await.expect("bytes in time");
            let count = read.unwrap_or(0);
            if count == 0 {
                return Said::End;
            }
            let mut pongs = Vec::new();
            let mut batch = self.decoder.decode(&mut input[..count]);
            while let Some(event) = batch.next().unwrap() {
                match event {
                    Event::Message { kind: MessageKind::Text, payload } => {
                        self.said.push_back(Said::Text(String::from_utf8(payload.into_vec()).unwrap()));
                    }
                    Event::Message { payload, .. } => self.said.push_back(Said::Binary(payload.into_vec())),
                    Event::Ping(payload) => pongs.push(payload.into_vec()),
                    Event::Pong(_) => {}
                    Event::Close(frame) => {
                        self.said.push_back(Said::Closed(frame.map_or(0, |frame| frame.code.value())));
                    }
                }
            }
            if !self.answers {
                self.pings.append(&mut pongs);
            }
            for pong in pongs {
                self.send(Opcode::Pong, &pong).await;
            }
        }
    }
}

/// An endpoint that is played by hand.
struct Stage {
    listener: TcpListener,
    url: String,
}

impl Stage {
    async fn open() -> Self {
        Self::at("127.0.0.1:0").await
    }

    async fn at(address: &str) -> Self {
        let listener = TcpListener::bind(address).await.unwrap();
        let url = format!("ws://{}/", listener.local_addr().unwrap());
        Self { listener, url }
    }

    /// The next WebSocket; connections that only look are passed over.
    async fn accept(&self) -> Talker {
        loop {
            let accepted = tokio::time::timeout(SOON, self.listener.accept()).await.expect("a connection");
            if let Some(talker) = Talker::greet(accepted.unwrap().0).await {
                return talker;
            }
        }
    }
}

fn endpoint(name: &str, url: &str) -> Endpoint {
    let mut endpoint = Endpoint::new(name, Target::Upstreams(vec![url.parse().unwrap()]));
    endpoint.backoff_max = Duration::from_millis(50);
    endpoint
}

async fn with(endpoints: Vec<Endpoint>) -> Node {
    Node::with(|config| config.endpoints = endpoints).await
}

#[tokio::test]
async fn messages_go_by_their_route_and_come_back_tagged() {
    let (one, two) = (Stage::open().await, Stage::open().await);
    let node = with(vec![endpoint("endpoint1", &one.url), endpoint("endpoint2", &two.url)]).await;
    let mut client = Talker::open(&node, &["Endpoint1", "Endpoint2"]).await;
    let (mut one, mut two) = (one.accept().await, two.accept().await);
    client.say("ROUTENAME=Endpoint1\nhello one").await;
    one.hears("hello one").await;
    client.send(Opcode::Binary, b"ROUTENAME=ENDPOINT2\r\n\x00\xff").await;
    assert_eq!(two.hear().await, Said::Binary(vec![0, 0xff]));
    one.say("and back").await;
    client.hears("ROUTENAME=Endpoint1\nand back").await;
    two.send(Opcode::Binary, b"\x01").await;
    assert_eq!(client.hear().await, Said::Binary(b"ROUTENAME=Endpoint2\n\x01".to_vec()));
    client.say("ROUTENAME=nowhere\nx").await;
    client.hears("{event: SMError, data: unknown route nowhere}").await;
    client.say("x").await;
    client.hears("{event: SMError, data: missing route}").await;
}

#[tokio::test]
async fn the_json_spelling_is_answered_in_kind() {
    let one = Stage::open().await;
    let node = with(vec![endpoint("endpoint1", &one.url)]).await;
    let mut client = Talker::join(&node).await;
    client.say(r#"{"event":"SMHandshake","data":"SYN"}"#).await;
    client.hears(r#"{"event":"SMHandshake","data":"SYN/ACK"}"#).await;
    client.say(r#"{"event":"SMHandshake","data":"ACK"}"#).await;
    client.say(r#"{"event":"SMHandshakeEnd","data":""}"#).await;
    client.hears(r#"{"event":"SMHandshakeEnd","data":"ACK"}"#).await;
    client.say("ROUTENAME=endpoint1\nlisted by the hub only").await;
    one.accept().await.hears("listed by the hub only").await;
}

#[tokio::test]
async fn some_clients_wait_for_a_bare_word() {
    let node = Node::with(|config| {
        config.endpoints = vec![Endpoint::new("a", Target::Channel("x".to_owned()))];
        config.gateway.bare_ack = true;
    })
    .await;
    let mut client = Talker::join(&node).await;
    for (said, heard) in [
        ("{event: SMHandshake, data: SYN}", Some("{event: SMHandshake, data: SYN/ACK}")),
        ("{event: SMHandshake, data: ACK}", None),
        ("{event: SMHandshake, data: a}", Some("ACK")),
        ("{event: SMHandshakeEnd}", Some("ACK")),
    ] {
        client.say(said).await;
        if let Some(heard) = heard {
            client.hears(heard).await;
        }
    }
}

#[tokio::test]
async fn eight_messages_out_of_turn_end_the_conversation() {
    let node = with(Vec::new()).await;
    let mut client = Talker::join(&node).await;
    for _ in 0..8 {
        client.say("ROUTENAME=a\nearly").await;
        client.hears("{event: SMError, data: expected SYN}").await;
    }
    assert_eq!(client.hear().await, Said::Closed(CloseCode::POLICY.value()));
}

#[tokio::test]
async fn an_endpoint_that_is_lost_is_dialled_again_and_the_client_stays() {
    let stage = Stage::open().await;
    let address = stage.listener.local_addr().unwrap().to_string();
    let node = with(vec![endpoint("a", &stage.url)]).await;
    let mut client = Talker::open(&node, &["a"]).await;
    let mut played = stage.accept().await;
    client.say("ROUTENAME=a\none").await;
    played.hears("one").await;
    played.say("got one").await;
    client.hears("ROUTENAME=a\ngot one").await;
    // Nobody listens any more.
    drop((stage, played));
    client.hears("{event: SMRoute, data: route down a}").await;
    client.say("ROUTENAME=a\ntwo").await;
    client.hears("{event: SMError, data: route down a}").await;
    let stage = Stage::at(&address).await;
    let mut played = stage.accept().await;
    client.hears("{event: SMRoute, data: route up a}").await;
    client.say("ROUTENAME=a\nthree").await;
    played.hears("three").await;
}

#[tokio::test]
async fn what_was_not_confirmed_is_told() {
    let stage = Stage::open().await;
    let node = with(vec![endpoint("a", &stage.url)]).await;
    let mut client = Talker::open(&node, &["a"]).await;
    let mut played = stage.accept().await;
    played.answers = false;
    client.say("ROUTENAME=a\none").await;
    played.hears("one").await;
    client.say("ROUTENAME=a\ntwo").await;
    played.hears("two").await;
    drop((stage, played));
    client.hears("{event: SMRoute, data: route down a}").await;
    client.hears("{event: SMRoute, data: route unconfirmed 2 a}").await;
    client.hears("{event: SMError, data: route down a}").await;
    client.hears("{event: SMError, data: route down a}").await;
}

#[tokio::test]
async fn every_message_is_asked_for_at_once_and_an_answer_stands_for_those_before_it() {
    let stage = Stage::open().await;
    let node = with(vec![endpoint("a", &stage.url)]).await;
    let mut client = Talker::open(&node, &["a"]).await;
    let mut played = stage.accept().await;
    played.answers = false;
    for word in ["one", "two", "three"] {
        client.say(&format!("ROUTENAME=a\n{word}")).await;
        played.hears(word).await;
    }
    assert_eq!(played.pings.len(), 3);
    let second = played.pings[1].clone();
    played.send(Opcode::Pong, &second).await;
    // Behind the answer, so that the hub has heard it too.
    played.say("two it was").await;
    client.hears("ROUTENAME=a\ntwo it was").await;
    drop((stage, played));
    client.hears("{event: SMRoute, data: route down a}").await;
    client.hears("{event: SMRoute, data: route unconfirmed 1 a}").await;
    client.hears("{event: SMError, data: route down a}").await;
}

#[tokio::test]
async fn messages_may_be_held_while_the_endpoint_is_down() {
    let stage = Stage::open().await;
    let address = stage.listener.local_addr().unwrap().to_string();
    let mut held = endpoint("a", &stage.url);
    held.when_down = WhenDown::Hold(SOON);
    let node = with(vec![held]).await;
    let mut client = Talker::open(&node, &["a"]).await;
    drop((stage.accept().await, stage));
    client.hears("{event: SMRoute, data: route down a}").await;
    client.say("ROUTENAME=a\none").await;
    client.say("ROUTENAME=a\ntwo").await;
    let stage = Stage::at(&address).await;
    let mut played = stage.accept().await;
    played.hears("one").await;
    played.hears("two").await;
}

#[tokio::test]
async fn held_messages_are_refused_when_their_time_is_over() {
    let mut held = endpoint("a", &dead_url().await);
    held.when_down = WhenDown::Hold(Duration::from_millis(50));
    let node = with(vec![held]).await;
    let mut client = Talker::open(&node, &["a"]).await;
    client.hears("{event: SMRoute, data: route down a}").await;
    client.say("ROUTENAME=a\none").await;
    client.hears("{event: SMError, data: route down a}").await;
}

async fn dead_url() -> String {
    let at = TcpListener::bind("127.0.0.1:0").await.unwrap().local_addr().unwrap();
    format!("ws://{at}/")
}

#[tokio::test]
async fn an_endpoint_that_takes_nothing_does_not_hold_up_the_others() {
    let (deaf, quick) = (Stage::open().await, Stage::open().await);
    let mut narrow = endpoint("deaf", &deaf.url);
    narrow.window_bytes = 64 * 1024;
    let node = with(vec![narrow, endpoint("quick", &quick.url)]).await;
    let mut client = Talker::open(&node, &["deaf", "quick"]).await;
    let (mut deaf, mut quick) = (deaf.accept().await, quick.accept().await);
    let message = format!("ROUTENAME=deaf\n{}", "x".repeat(60_000));
    let mut sent = 0;
    // The sockets between take some megabytes.
    loop {
        client.say(&message).await;
        sent += 1;
        client.say("ROUTENAME=quick\nping").await;
        quick.hears("ping").await;
        quick.say("pong").await;
        match client.hear().await {
            Said::Text(text) if text == "ROUTENAME=quick\npong" => {}
            Said::Text(text) => {
                assert_eq!(text, "{event: SMError, data: route full deaf}");
                client.hears("ROUTENAME=quick\npong").await;
                break;
            }
            other @ (Said::Binary(_) | Said::Closed(_) | Said::End) => panic!("{other:?}"),
        }
    }
    for _ in 0..sent - 1 {
        assert!(matches!(deaf.hear().await, Said::Text(text) if text.len() == 60_000));
    }
    client.hears("{event: SMRoute, data: route ready deaf}").await;
    client.say("ROUTENAME=deaf\nagain").await;
    deaf.hears("again").await;
}

#[tokio::test]
async fn every_route_without_room_is_waited_for_at_once() {
    // The first two do not answer the handshake, so that what is said waits.
    let (one, two, quick) = (Stage::open().await, Stage::open().await, Stage::open().await);
    let narrow = |name: &str, stage: &Stage| Endpoint { window_bytes: 1, ..endpoint(name, &stage.url) };
    let node = Node::with(|config| {
        config.endpoints = vec![narrow("a", &one), narrow("b", &two), endpoint("quick", &quick.url)];
        config.gateway.stall = Duration::from_millis(50);
    })
    .await;
    let mut client = Talker::open(&node, &["a", "b", "quick"]).await;
    let mut quick = quick.accept().await;
    let batch = |names: &[&str]| {
        let mut batch = Vec::new();
        for name in names {
            encode_masked(&mut batch, Opcode::Text, format!("ROUTENAME={name}\nx").as_bytes(), [1, 2, 3, 4]);
        }
        batch
    };
    client.socket.write_all(&batch(&["a", "b", "quick"])).await.unwrap();
    // What comes now is another batch.
    quick.hears("x").await;
    client.socket.write_all(&batch(&["a", "b"])).await.unwrap();
    client.hears("{event: SMError, data: route full a}").await;
    client.hears("{event: SMError, data: route full b}").await;
}

#[tokio::test]
async fn an_endpoint_that_answers_no_ping_gets_all_that_waits() {
    let stage = Stage::open().await;
    let node = with(vec![endpoint("a", &stage.url)]).await;
    let mut client = Talker::open(&node, &["a"]).await;
    let message = "x".repeat(10_000);
    for _ in 0..40 {
        client.say(&format!("ROUTENAME=a\n{message}")).await;
    }
    // Everything has reached the route.
    client.say("ROUTENAME=nowhere\n").await;
    client.hears("{event: SMError, data: unknown route nowhere}").await;
    let mut played = stage.accept().await;
    played.answers = false;
    for _ in 0..40 {
        played.hears(&message).await;
    }
}

#[tokio::test]
async fn an_endpoint_that_asks_without_end_gets_few_answers() {
    let stage = Stage::open().await;
    let node = with(vec![endpoint("a", &stage.url)]).await;
    let _client = Talker::open(&node, &["a"]).await;
    let mut played = stage.accept().await.socket;
    let mut pings = Vec::new();
    while pings.len() < 16 * 1024 * 1024 {
        encode_frame(&mut pings, Opcode::Ping, &[7; 125]);
    }
    played.write_all(&pings).await.unwrap();
    let mut close = Vec::new();
    encode_frame(&mut close, Opcode::Close, &1000_u16.to_be_bytes());
    played.write_all(&close).await.unwrap();
    let mut answers = Vec::new();
    tokio::time::timeout(SOON, played.read_to_end(&mut answers)).await.expect("an end in time").unwrap();
    assert!(answers.len() < 1024 * 1024, "{} bytes", answers.len());
    assert!(answers.windows(2).any(|head| head == [0x8a, 0xfd]), "the last one at least");
}

#[tokio::test]
async fn a_route_may_lead_to_a_channel_of_the_hub_itself() {
    let node = with(vec![Endpoint::new("news", Target::Channel("news/eu".to_owned()))]).await;
    let mut listener = node.client().await;
    listener.subscribe(1, "news/eu").await;
    let mut client = Talker::open(&node, &["news"]).await;
    client.say("ROUTENAME=news\nhello").await;
    assert_eq!(listener.hear().await.payload, b"hello");
    let mut browser = Browser::visit(&node).await;
    browser.ask("POST /v1/publish/news/eu", b"back").await;
    client.hears("ROUTENAME=news\nback").await;
}

#[tokio::test]
async fn a_client_that_goes_leaves_what_it_said_behind() {
    let stage = Stage::open().await;
    let node = with(vec![endpoint("a", &stage.url)]).await;
    let mut client = Talker::open(&node, &["a"]).await;
    client.say("ROUTENAME=a\nlast words").await;
    let mut played = stage.accept().await;
    client.send(Opcode::Close, &1000_u16.to_be_bytes()).await;
    played.hears("last words").await;
    assert_eq!(played.hear().await, Said::Closed(1000));
}

#[tokio::test]
async fn a_redirected_route_takes_its_clients_along() {
    let (old, new, other) = (Stage::open().await, Stage::open().await, Stage::open().await);
    let node = with(vec![endpoint("a", &old.url), endpoint("b", &other.url)]).await;
    let mut client = Talker::open(&node, &["a", "b"]).await;
    let (mut left, mut stays) = (old.accept().await, other.accept().await);
    let endpoints = vec![endpoint("a", &new.url), endpoint("b", &other.url)];
    let config = whub_server::config::Config { endpoints, ..whub_server::config::Config::default() };
    node.handle.reload(config);
    client.hears("{event: SMRoute, data: route down a}").await;
    assert_eq!(left.hear().await, Said::End);
    let mut moved = new.accept().await;
    client.hears("{event: SMRoute, data: route up a}").await;
    client.say("ROUTENAME=a\nhello").await;
    moved.hears("hello").await;
    client.say("ROUTENAME=b\nstill there").await;
    stays.hears("still there").await;
}

#[tokio::test]
async fn a_node_that_stops_passes_on_what_was_said_before() {
    let stage = Stage::open().await;
    let mut node = with(vec![endpoint("a", &stage.url)]).await;
    let mut client = Talker::open(&node, &["a"]).await;
    let mut played = stage.accept().await;
    client.say("ROUTENAME=a\nbefore").await;
    played.hears("before").await;
    // More than the sockets between hold, to an endpoint that does not read meanwhile.
    let large = "x".repeat(8 << 20);
    client.say(&format!("ROUTENAME=a\n{large}")).await;
    client.say("ROUTENAME=nowhere\n").await;
    client.hears("{event: SMError, data: unknown route nowhere}").await;
    node.stop();
    assert_eq!(client.hear().await, Said::Closed(1001));
    assert_eq!(played.hear().await, Said::Text(large));
    assert_eq!(played.hear().await, Said::Closed(1000));
}
