//! WebSockets to services: accepted or refused by the provider, then messages both ways, each side closing once.

use tokio::io::AsyncReadExt;
use whub_core::Grants;
use whub_proto::{Body, Code, Credit, Data, Failure, Flags, Headers, Kind, Response};
use whub_server::config::{Config, Secret, Token};

use crate::browser::{Answer, Browser};
use crate::calls::providing;
use crate::common::{Client, Heard, Node, SOON};

const WINDOW: usize = 256 * 1024;

const TEXT: u8 = 1;
const BINARY: u8 = 2;
const CLOSE: u8 = 8;
const PING: u8 = 9;
const PONG: u8 = 10;

/// Sends a handshake; the answer is read later.
async fn knock(browser: &mut Browser, path: &str, fields: &str) {
    let head = format!(
        "GET {path} HTTP/1.1\nHost: localhost\nConnection: Upgrade\nUpgrade: websocket\n\
         Sec-WebSocket-Version: 13\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\n{fields}\n"
    );
    browser.write(head.replace('\n', "\r\n")).await;
}

/// A masked frame, as a browser sends it; the key is zero.
fn masked(opcode: u8, payload: &[u8]) -> Vec<u8> {
    let mut frame = vec![0x80 | opcode];
    match payload.len() {
        short @ 0..=125 => frame.push(0x80 | u8::try_from(short).unwrap()),
        middle @ 126..=0xffff => {
            frame.push(0x80 | 126);
            frame.extend_from_slice(&u16::try_from(middle).unwrap().to_be_bytes());
        }
        long => {
            frame.push(0x80 | 127);
            frame.extend_from_slice(&(long as u64).to_be_bytes());
        }
    }
    frame.extend_from_slice(&[0; 4]);
    frame.extend_from_slice(payload);
    frame
}

fn close_frame(code: u16, reason: &str) -> Vec<u8> {
    masked(CLOSE, &[&code.to_be_bytes(), reason.as_bytes()].concat())
}

/// The next frame of the hub: first byte and payload.
async fn frame(browser: &mut Browser) -> (u8, Vec<u8>) {
    let head = browser.exactly(2).await;
    let length = match head[1] {
        126 => usize::from(u16::from_be_bytes(browser.exactly(2).await.try_into().unwrap())),
        127 => u64::from_be_bytes(browser.exactly(8).await.try_into().unwrap()) as usize,
        short => usize::from(short),
    };
    (head[0], browser.exactly(length).await)
}

async fn closed(browser: &mut Browser) -> (u16, String) {
    let (first, body) = frame(browser).await;
    assert_eq!(first, 0x80 | CLOSE);
    let code = u16::from_be_bytes(body[..2].try_into().unwrap());
    (code, String::from_utf8(body[2..].to_vec()).unwrap())
}

async fn accept(provider: &mut Client, id: u64) {
    provider.say(id, &Body::Response(Response { status: 101, ..Response::default() })).await;
}

async fn say(provider: &mut Client, id: u64, flags: Flags, payload: &[u8]) {
    provider.send(id, flags, &Body::Data(Data::default()), payload).await;
}

async fn say_close(provider: &mut Client, id: u64, code: u16, reason: &str) {
    let data = Data { close: code, reason, ..Data::default() };
    provider.send(id, Flags::END, &Body::Data(data), b"").await;
}

fn heard_close(heard: &Heard) -> (u16, String) {
    assert!(heard.flags.contains(Flags::END), "{heard:?}");
    let Body::Data(data) = heard.frame().body else { panic!("{heard:?}") };
    (data.close, data.reason.to_owned())
}

/// An open WebSocket to a service, and the call's id at its provider.
async fn open_at(node: &Node, provider: &mut Client, fields: &str) -> (Browser, Answer, u64) {
    let mut browser = Browser::visit(node).await;
    knock(&mut browser, "/chat", fields).await;
    let id = provider.hear().await.id;
    accept(provider, id).await;
    let answer = browser.head().await;
    assert_eq!(answer.status, 101);
    (browser, answer, id)
}

async fn opened() -> (Node, Client, Browser, u64) {
    let (node, mut provider) = providing("/chat").await;
    let (browser, _, id) = open_at(&node, &mut provider, "").await;
    (node, provider, browser, id)
}

/// The connection ends without another byte.
async fn ends(mut browser: Browser) {
    assert!(browser.rest.is_empty());
    let read = tokio::time::timeout(SOON, browser.socket.read(&mut [0; 64])).await.expect("an end in time");
    assert!(matches!(read, Ok(0) | Err(_)), "{read:?}");
}

#[tokio::test]
async fn a_provider_accepts_and_messages_go_both_ways() {
    let (node, mut provider) = providing("/chat/:room").await;
    let mut browser = Browser::visit(&node).await;
    let fields = "Sec-WebSocket-Protocol: whub.plain, one, two\nSec-WebSocket-Extensions: permessage-deflate\n\
                  Cookie: c=1\nX-Tenant: acme\n";
    knock(&mut browser, "/chat/a%2Fb?q=1", fields).await;
    let asked = provider.hear().await;
    let Body::Request(request) = asked.frame().body else { panic!("{asked:?}") };
    assert_eq!((request.method, request.path, request.query), ("WEBSOCKET", "/chat/a%2Fb", "q=1"));
    assert_eq!(asked.flags, Flags::NONE);
    assert_eq!(request.headers.get("sec-websocket-protocol"), Some("one, two"));
    assert_eq!(request.headers.get("x-tenant"), Some("acme"));
    for kept_back in ["cookie", "upgrade", "connection", "sec-websocket-key", "sec-websocket-extensions"] {
        assert_eq!(request.headers.get(kept_back), None, "{kept_back}");
    }
    let pairs = [("sec-websocket-protocol", "two"), ("x-room", "7"), ("sec-websocket-accept", "forged")];
    let accepted = Response { status: 101, headers: Headers::new(&pairs), ..Response::default() };
    provider.say(asked.id, &Body::Response(accepted)).await;
    // What comes before the handshake is done is not lost.
    say(&mut provider, asked.id, Flags::TEXT, b"welcome").await;

    let answer = browser.head().await;
    assert_eq!(answer.status, 101);
    assert!(answer.is("sec-websocket-protocol", "two") && answer.is("x-room", "7"), "{answer:?}");
    assert!(answer.is("sec-websocket-accept", "s3pPLMBiTxaQ9kYGzzhZRbK+xOo="));
    assert_eq!(answer.header("sec-websocket-extensions"), None);
    assert_eq!(frame(&mut browser).await, (0x80 | TEXT, b"welcome".to_vec()));

    browser.write([masked(TEXT, b"hi"), masked(PING, b"p"), masked(BINARY, b"")].concat()).await;
    let heard = provider.hear().await;
    assert_eq!((heard.kind, heard.id, heard.flags), (Kind::Data, asked.id, Flags::TEXT));
    assert_eq!(heard.payload, b"hi");
    let heard = provider.hear().await;
    assert_eq!((heard.flags, heard.payload), (Flags::NONE, Vec::new()));
    assert_eq!(frame(&mut browser).await, (0x80 | PONG, b"p".to_vec()));
    // A message in parts stays one.
    say(&mut provider, asked.id, Flags::MORE, b"a").await;
    say(&mut provider, asked.id, Flags::MORE, b"b").await;
    say(&mut provider, asked.id, Flags::NONE, b"").await;
    for expected in [(BINARY, b"a".to_vec()), (0, b"b".to_vec()), (0x80, Vec::new())] {
        assert_eq!(frame(&mut browser).await, expected);
    }
}

#[tokio::test]
async fn a_clients_close_reaches_the_provider_and_ends_the_call() {
    let (node, mut provider, mut browser, id) = opened().await;
    browser.write([masked(TEXT, b"last words"), close_frame(3001, "bye")].concat()).await;
    assert_eq!(provider.hear().await.payload, b"last words");
    assert_eq!(heard_close(&provider.hear().await), (3001, "bye".to_owned()));
    assert_eq!(closed(&mut browser).await.0, 3001);
    say_close(&mut provider, id, 3001, "").await;
    ends(browser).await;
    // The call has its outcome: nothing was cancelled.
    node.until(|hub| hub.counters.calls_answered.read() == 1).await;
    assert_eq!(node.hub.counters.calls_cancelled.read(), 0);
}

#[tokio::test]
async fn a_providers_close_reaches_the_client() {
    let (_node, mut provider, mut browser, id) = opened().await;
    say(&mut provider, id, Flags::NONE, b"last words").await;
    say_close(&mut provider, id, 4242, "enough").await;
    assert_eq!(frame(&mut browser).await, (0x80 | BINARY, b"last words".to_vec()));
    assert_eq!(closed(&mut browser).await, (4242, "enough".to_owned()));
    browser.write(close_frame(4242, "")).await;
    ends(browser).await;
}

#[tokio::test]
async fn a_code_that_may_not_be_sent_becomes_one_that_may() {
    let (_node, mut provider, mut browser, id) = opened().await;
    say_close(&mut provider, id, 1006, "").await;
    assert_eq!(closed(&mut browser).await.0, 1011);
    let (_node, mut provider, mut browser, id) = opened().await;
    say_close(&mut provider, id, 0, "").await;
    assert_eq!(frame(&mut browser).await, (0x80 | CLOSE, Vec::new()));
}

#[tokio::test]
async fn a_refusal_is_an_ordinary_answer_and_the_last_on_its_connection() {
    let (node, mut provider) = providing("/chat").await;
    let mut browser = Browser::visit(&node).await;
    knock(&mut browser, "/chat", "").await;
    let asked = provider.hear().await;
    let pairs = [("content-type", "text/plain")];
    let refused = Response { status: 403, headers: Headers::new(&pairs), ..Response::default() };
    provider.send(asked.id, Flags::END, &Body::Response(refused), b"members only").await;
    let answer = browser.answer().await;
    assert_eq!((answer.status, answer.text()), (403, "members only"));
    assert!(answer.is("connection", "close"), "{answer:?}");

    let mut browser = Browser::visit(&node).await;
    knock(&mut browser, "/chat", "").await;
    let asked = provider.hear().await;
    let failure = Failure { code: Code::Conflict, reason: "taken", ..Failure::default() };
    provider.say(asked.id, &Body::Error(failure)).await;
    let answer = browser.answer().await;
    assert_eq!((answer.status, &answer.json()["detail"]), (409, &"taken".into()));
    let mut browser = Browser::visit(&node).await;
    knock(&mut browser, "/nobody", "").await;
    assert_eq!(browser.answer().await.status, 404);
}

#[tokio::test]
async fn a_subprotocol_that_was_not_offered_is_the_providers_mistake() {
    let (node, mut provider) = providing("/chat").await;
    let mut browser = Browser::visit(&node).await;
    knock(&mut browser, "/chat", "Sec-WebSocket-Protocol: one\n").await;
    let asked = provider.hear().await;
    let pairs = [("sec-websocket-protocol", "two")];
    let accepted = Response { status: 101, headers: Headers::new(&pairs), ..Response::default() };
    provider.say(asked.id, &Body::Response(accepted)).await;
    let answer = browser.answer().await;
    assert_eq!((answer.status, &answer.json()["slug"]), (502, &"service.bad_answer".into()));
    assert_eq!(provider.hear().await.kind, Kind::Cancel);
}

#[tokio::test]
async fn a_token_among_the_subprotocols_stays_with_the_hub() {
    let token = |secret: &str| Token {
        name: "ops".into(),
        secret: Secret::new(secret).unwrap(),
        grant: Grants::all(),
    };
    let node = Node::with(|config| config.tokens = vec![token("s3cret")]).await;
    let mut provider = node.stranger().await;
    let hello = whub_proto::Hello { scheme: "bearer", token: "s3cret", ..whub_proto::Hello::default() };
    provider.say(0, &Body::Hello(hello)).await;
    assert_eq!(provider.hear().await.kind, Kind::Welcome);
    provider.register(1, "/chat").await;
    let mut browser = Browser::visit(&node).await;
    knock(&mut browser, "/chat", "Sec-WebSocket-Protocol: chat\n").await;
    assert_eq!(browser.answer().await.status, 401);
    let mut browser = Browser::visit(&node).await;
    // base64url of `s3cret`.
    knock(&mut browser, "/chat", "Sec-WebSocket-Protocol: whub.plain, whub.bearer.czNjcmV0\n").await;
    let asked = provider.hear().await;
    let frame = asked.frame();
    let Body::Request(request) = frame.body else { panic!("{asked:?}") };
    assert_eq!((request.headers.get("sec-websocket-protocol"), frame.via.unwrap().user), (None, "ops"));
    accept(&mut provider, asked.id).await;
    let answer = browser.head().await;
    assert!(answer.status == 101 && answer.is("sec-websocket-protocol", "whub.plain"), "{answer:?}");
    // It ends with its token.
    node.handle.reload(Config { tokens: vec![token("other")], ..Config::default() });
    assert_eq!(closed(&mut browser).await.0, 4401);
}

#[tokio::test]
async fn who_breaks_the_rules_is_told_and_so_is_the_provider() {
    let node = Node::with(|config| config.limits.message_bytes = 1000).await;
    let mut provider = node.client().await;
    provider.register(1, "/chat").await;
    for (bytes, code) in
        [(masked(TEXT, b"\xff"), 1007), (masked(BINARY, &[0; 1001]), 1009), (b"\x81\x01a".to_vec(), 1002)]
    {
        let (mut browser, _, id) = open_at(&node, &mut provider, "").await;
        browser.write(bytes).await;
        assert_eq!(closed(&mut browser).await.0, code);
        assert_eq!(heard_close(&provider.hear().await).0, code);
        say_close(&mut provider, id, 1000, "").await;
    }
}

#[tokio::test]
async fn a_text_of_the_provider_that_is_none_ends_in_an_error_for_this_client_alone() {
    let (node, mut provider, mut browser, id) = opened().await;
    say(&mut provider, id, Flags::TEXT, b"\xff").await;
    let (first, body) = frame(&mut browser).await;
    assert_eq!(first, 0x80 | CLOSE);
    assert_ne!(body[..2], 1000_u16.to_be_bytes());
    drop((node, provider));
}

#[tokio::test]
async fn a_lost_provider_a_failing_one_and_a_stopping_node_say_why() {
    let (_node, provider, mut browser, _) = opened().await;
    drop(provider);
    let (code, reason) = closed(&mut browser).await;
    assert!(code == 1012 && reason.contains("provider"), "{code} {reason}");

    let (_node, mut provider, mut browser, id) = opened().await;
    provider.say(id, &Body::Error(Failure { reason: "out of order", ..Failure::default() })).await;
    assert_eq!(closed(&mut browser).await, (1011, "out of order".to_owned()));

    let (mut node, mut provider, mut browser, _) = opened().await;
    node.stop();
    assert_eq!(closed(&mut browser).await.0, 1001);
    let mut heard = provider.hear().await;
    while heard.kind != Kind::Data {
        heard = provider.hear().await;
    }
    assert_eq!(heard_close(&heard).0, 1001);
}

#[tokio::test]
async fn a_silent_client_is_asked_and_then_given_up() {
    let node = Node::with(|config| config.limits.ping = std::time::Duration::from_secs(1)).await;
    let mut provider = node.client().await;
    provider.register(1, "/chat").await;
    let (mut browser, _, id) = open_at(&node, &mut provider, "").await;
    let silence = async {
        let (mut first, mut body) = frame(&mut browser).await;
        if first == 0x80 | PING {
            (first, body) = frame(&mut browser).await;
        }
        assert_eq!((first, &body[..2]), (0x80 | CLOSE, &1001_u16.to_be_bytes()[..]));
    };
    // The provider is pinged as well, answers all the while, and hears that nobody is there.
    let ((), heard) = tokio::join!(silence, provider.hear());
    assert_eq!((heard.kind, heard.id), (Kind::Cancel, id));
}

#[tokio::test]
async fn a_client_that_vanishes_cancels_the_call() {
    let (_node, mut provider, browser, id) = opened().await;
    drop(browser);
    let heard = provider.hear().await;
    assert_eq!((heard.kind, heard.id), (Kind::Cancel, id));
}

#[tokio::test]
async fn a_large_message_waits_for_the_providers_credit_in_parts() {
    let (_node, mut provider, mut browser, id) = opened().await;
    let text = "\u{20ac}".repeat(WINDOW / 3 + 50_000);
    let sent = masked(TEXT, text.as_bytes());
    let behind = masked(BINARY, b"behind");
    let (_, mut write) = browser.socket.split();
    let writing = async {
        use tokio::io::AsyncWriteExt;
        write.write_all(&sent).await.unwrap();
        write.write_all(&behind).await.unwrap();
    };
    let reading = async {
        let (mut whole, mut granted) = (Vec::new(), WINDOW);
        loop {
            if whole.len() + 3 >= granted && granted < text.len() {
                provider.say(id, &Body::Credit(Credit { bytes: 50_000 })).await;
                granted += 50_000;
            }
            let heard = provider.hear().await;
            assert!(std::str::from_utf8(&heard.payload).is_ok(), "every part is text");
            whole.extend(heard.payload);
            assert!(whole.len() <= granted, "no more than was granted");
            if !heard.flags.contains(Flags::MORE) {
                break;
            }
        }
        assert!(whole == text.as_bytes());
        provider.say(id, &Body::Credit(Credit { bytes: 50_000 })).await;
        let mut behind = Vec::new();
        while behind != b"behind" {
            behind.extend(provider.hear().await.payload);
            assert!(b"behind".starts_with(&behind), "{behind:?}");
        }
    };
    tokio::join!(writing, reading);
}

#[tokio::test]
async fn what_a_client_said_before_its_close_comes_before_it() {
    let (_node, mut provider, mut browser, id) = opened().await;
    let total = WINDOW + 100_000;
    let said = [masked(BINARY, &vec![7; total]), masked(TEXT, b"and"), close_frame(3001, "bye")].concat();
    browser.write(said).await;
    let mut whole = Vec::new();
    while whole.len() < WINDOW {
        whole.extend(provider.hear().await.payload);
    }
    for _ in 0..3 {
        provider.say(id, &Body::Credit(Credit { bytes: 40_000 })).await;
    }
    let mut heard = provider.hear().await;
    while !heard.flags.contains(Flags::END) {
        whole.extend(heard.payload);
        heard = provider.hear().await;
    }
    assert!(whole.len() == total + 3 && whole.ends_with(b"and"), "{} bytes", whole.len());
    assert_eq!(heard_close(&heard), (3001, "bye".to_owned()));
}

#[tokio::test]
async fn closes_that_cross_reach_both_sides() {
    let (node, mut provider, mut browser, id) = opened().await;
    browser.write(close_frame(3001, "mine")).await;
    say_close(&mut provider, id, 3002, "yours").await;
    let heard = heard_close(&provider.hear().await);
    let (code, _) = closed(&mut browser).await;
    // Whichever came first at the hub, nobody hears of an error.
    assert!(heard.0 == 3001 || heard.0 == 3002, "{heard:?}");
    assert!(code == 3001 || code == 3002, "{code}");
    node.until(|hub| hub.counters.calls_answered.read() == 1).await;
}

#[tokio::test]
async fn many_websockets_end_in_every_way_and_each_has_one_outcome() {
    const EACH: u64 = 15;
    let (node, mut provider) = providing("/chat").await;
    let mut open = Vec::new();
    for _ in 0..4 * EACH {
        let (browser, _, id) = open_at(&node, &mut provider, "").await;
        open.push((browser, id));
    }
    let mut silent = Vec::new();
    for (at, (mut browser, id)) in open.into_iter().enumerate() {
        match at % 4 {
            // The client closes, and the provider follows.
            0 => browser.write(close_frame(1000, "")).await,
            // The client vanishes.
            1 => drop(browser),
            // The provider closes.
            2 => {
                say_close(&mut provider, id, 1000, "").await;
                silent.push(browser);
            }
            // The provider fails.
            _ => {
                provider.say(id, &Body::Error(Failure::default())).await;
                silent.push(browser);
            }
        }
    }
    let (mut closes, mut cancels) = (0, 0);
    while closes < 2 * EACH || cancels < EACH {
        let heard = provider.hear().await;
        if heard.kind == Kind::Cancel {
            cancels += 1;
            continue;
        }
        assert!(heard_close(&heard).0 == 1000);
        closes += 1;
        // Where the provider closed first this is one close too many, which comes too late to mean anything.
        say_close(&mut provider, heard.id, 1000, "").await;
    }
    for mut browser in silent {
        closed(&mut browser).await;
    }
    node.until(|hub| {
        let counters = &hub.counters;
        counters.calls_answered.read() == 3 * EACH && counters.calls_cancelled.read() == EACH
    })
    .await;
    assert_eq!(node.hub.counters.calls_accepted.read(), 4 * EACH);
}

#[tokio::test]
async fn a_client_that_reads_slowly_holds_up_its_provider_and_nothing_else() {
    const PART: usize = 16 * 1024;
    let (_node, mut provider, mut browser, id) = opened().await;
    // Send until no credit comes, which is when sockets, mailbox and window are full.
    let (mut credit, mut sent) = (WINDOW, 0_usize);
    let patience = std::time::Duration::from_millis(500);
    loop {
        while credit >= PART {
            say(&mut provider, id, Flags::NONE, &[7; PART]).await;
            (credit, sent) = (credit - PART, sent + PART);
        }
        // Whether it is full is only told by silence.
        let Ok(heard) = tokio::time::timeout(patience, provider.hear()).await else { break };
        let Body::Credit(more) = heard.frame().body else { panic!("{heard:?}") };
        credit += more.bytes as usize;
        assert!(sent < 64 << 20, "a client that reads nothing holds its provider up");
    }
    // It takes everything in the end.
    let mut read = 0;
    while read < sent {
        let (_, part) = frame(&mut browser).await;
        read += part.len();
    }
    let heard = provider.hear().await;
    assert!(matches!(heard.frame().body, Body::Credit(_)), "{heard:?}");
}

#[tokio::test]
async fn compression_ends_at_the_hub() {
    let node = Node::with(|config| config.websocket.deflate = true).await;
    let mut provider = node.client().await;
    provider.register(1, "/chat").await;
    let fields = "Sec-WebSocket-Extensions: permessage-deflate\n";
    let (mut browser, answer, id) = open_at(&node, &mut provider, fields).await;
    assert!(answer.header("sec-websocket-extensions").unwrap().starts_with("permessage-deflate"));
    // RFC 7692 section 7.2.3.1: "Hello", compressed.
    let mut hello = masked(TEXT, &[0xf2, 0x48, 0xcd, 0xc9, 0xc9, 0x07, 0x00]);
    hello[0] |= 0x40;
    browser.write(hello).await;
    assert_eq!(provider.hear().await.payload, b"Hello");
    say(&mut provider, id, Flags::TEXT, "la".repeat(500).as_bytes()).await;
    let (first, payload) = frame(&mut browser).await;
    assert!(first == 0x80 | 0x40 | TEXT && payload.len() < 100, "{first:x}, {} bytes", payload.len());
}

#[tokio::test]
async fn a_request_that_only_calls_itself_so_is_no_websocket() {
    let (node, _provider) = providing("/chat").await;
    let mut browser = Browser::visit(&node).await;
    for method in ["WEBSOCKET", "WebSocket"] {
        assert_eq!(browser.ask(&format!("{method} /chat"), b"").await.status, 405, "{method}");
    }
}
