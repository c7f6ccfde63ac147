//! `/pair/<id>` without a WebSocket: requests as halves of pairs.

use std::time::Duration;

use whub_core::Grants;
use whub_proto::names::Filter;
use whub_proto::{Body, Data, Flags, Join, Kind, RoomMode};
use whub_server::config::{Config, Secret, Token};

use crate::browser::Browser;
use crate::common::Node;

async fn getting(node: &Node, path: &str) -> Browser {
    let mut browser = Browser::visit(node).await;
    browser.write(format!("GET {path} HTTP/1.1\r\nHost: localhost\r\n\r\n")).await;
    browser
}

/// Begins to send; the body is left to be written in chunks.
async fn putting(node: &Node, path: &str) -> Browser {
    let mut browser = Browser::visit(node).await;
    let head = format!("PUT {path} HTTP/1.1\r\nHost: localhost\r\nTransfer-Encoding: chunked\r\n\r\n");
    browser.write(head).await;
    browser
}

#[tokio::test]
async fn bytes_flow_as_they_come_and_the_end_is_carried_over() {
    let node = Node::start().await;
    let mut get = getting(&node, "/pair/x").await;
    node.until(|hub| hub.pairs.waiting() == 1).await;
    let mut put = putting(&node, "/pair/x").await;
    let head = get.head().await;
    assert_eq!(head.status, 200);
    assert!(head.is("content-type", "application/octet-stream") && head.is("cache-control", "no-store"));
    assert!(head.is("x-content-type-options", "nosniff"), "{head:?}");
    for piece in ["one", "three"] {
        put.write(format!("{:x}\r\n{piece}\r\n", piece.len())).await;
        assert_eq!(get.chunk().await.unwrap(), piece.as_bytes(), "nothing is kept back");
    }
    put.write("0\r\n\r\n").await;
    assert!(get.chunk().await.is_none());
    let answer = put.answer().await;
    assert_eq!((answer.status, answer.body.len()), (200, 0));
    assert_eq!(node.hub.counters.sessions_opened.read(), node.hub.counters.sessions_closed.read());
    assert_eq!(get.ask("GET /healthz", b"").await.status, 200, "the connection lives on");
}

#[tokio::test]
async fn two_that_send_hear_each_other() {
    let node = Node::start().await;
    let (mut one, mut other) = (putting(&node, "/pair/x").await, putting(&node, "/pair/x").await);
    one.write("3\r\nabc\r\n").await;
    assert_eq!(other.head().await.status, 200);
    assert_eq!(other.chunk().await.unwrap(), b"abc");
    other.write("2\r\nde\r\n0\r\n\r\n").await;
    assert_eq!(one.head().await.status, 200);
    assert_eq!(one.chunk().await.unwrap(), b"de");
    // Who has ended goes on receiving.
    one.write("1\r\nf\r\n0\r\n\r\n").await;
    assert_eq!(other.chunk().await.unwrap(), b"f");
    assert!(other.chunk().await.is_none() && one.chunk().await.is_none());
}

#[tokio::test]
async fn a_half_that_vanishes_breaks_the_other_off() {
    let node = Node::start().await;
    for leaver in ["sender", "receiver"] {
        let (mut get, mut put) = (getting(&node, "/pair/x").await, putting(&node, "/pair/x").await);
        put.write("3\r\nabc\r\n").await;
        assert_eq!(get.head().await.status, 200);
        assert_eq!(get.chunk().await.unwrap(), b"abc");
        assert_eq!(put.head().await.status, 200);
        let rest = if leaver == "sender" {
            drop(put);
            get.until_the_end().await
        } else {
            drop(get);
            put.until_the_end().await
        };
        assert_eq!(rest, b"", "{leaver}: an end without the last chunk");
        node.until(|hub| hub.counters.sessions_closed.read() == hub.counters.sessions_opened.read()).await;
    }
}

#[tokio::test]
async fn a_receiver_that_vanishes_with_the_last_bytes_breaks_its_sender_off() {
    let node = Node::with(|config| config.limits.mailbox_bytes = 64 << 20).await;
    let (mut get, mut put) = (getting(&node, "/pair/x").await, putting(&node, "/pair/x").await);
    // All of it fits into the hub, and its end as well; the receiver takes only the head.
    let piece = vec![b'x'; 16 << 20];
    put.write([b"1000000\r\n", &piece[..], b"\r\n0\r\n\r\n"].concat()).await;
    assert_eq!((get.head().await.status, put.head().await.status), (200, 200));
    drop(get);
    assert_eq!(put.until_the_end().await, b"", "no good end");
}

#[tokio::test]
async fn members_of_the_protocol_meet_requests() {
    let node = Node::start().await;
    let mut member = node.client().await;
    member.say(1, &Body::Join(Join { room: "x", mode: RoomMode::Pair, ..Join::default() })).await;
    assert_eq!((member.hear().await.kind, member.hear().await.kind), (Kind::Ok, Kind::RoomEvent));
    let mut put = putting(&node, "/pair/x").await;
    assert_eq!(member.hear().await.kind, Kind::RoomEvent);
    put.write("3\r\nabc\r\n0\r\n\r\n").await;
    let heard = member.hear().await;
    assert_eq!((heard.kind, &heard.payload[..]), (Kind::Data, &b"abc"[..]));
    let heard = member.hear().await;
    assert!(heard.kind == Kind::Data && heard.flags.contains(Flags::END));
    member.send(1, Flags::TEXT, &Body::Data(Data::default()), b"text").await;
    member.send(1, Flags::END, &Body::Data(Data::default()), b"bytes").await;
    assert_eq!(put.answer().await.text(), "textbytes");
}

#[tokio::test]
async fn a_plain_websocket_gets_the_bytes_as_binary_messages() {
    let node = Node::start().await;
    let mut page = Browser::visit(&node).await;
    let fields = "Connection: Upgrade\nUpgrade: websocket\nSec-WebSocket-Version: 13\n\
                  Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==";
    assert_eq!(page.ask(&format!("GET /pair/x\n{fields}"), b"").await.status, 101);
    assert_eq!(page.exactly(17).await, b"\x81\x0f/status:waiting");
    let mut put = putting(&node, "/pair/x").await;
    put.write("3\r\nabc\r\n").await;
    assert_eq!(page.exactly(14 + 19 + 5).await, b"\x81\x0c/remote:open\x81\x11/status:connected\x82\x03abc");
    page.write(b"\x81\x82\0\0\0\0hi").await;
    assert_eq!(put.head().await.status, 200);
    assert_eq!(put.chunk().await.unwrap(), b"hi");
    drop(put);
    assert_eq!(page.exactly(15 + 17).await, b"\x81\x0d/remote:close\x81\x0f/status:waiting");
}

#[tokio::test]
async fn a_page_that_closes_in_order_has_ended_its_input_and_others_have_not() {
    let node = Node::start().await;
    for (close, whole) in [
        (&b"\x88\x80\0\0\0\0"[..], true),
        (b"\x88\x82\0\0\0\0\x03\xe8", true),
        (b"\x88\x82\0\0\0\0\x03\xe9", false),
        (b"\x81\x81\0\0\0\0\xff", false),
    ] {
        let mut page = Browser::visit(&node).await;
        let fields = "Connection: Upgrade\nUpgrade: websocket\nSec-WebSocket-Version: 13\n\
                      Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==";
        assert_eq!(page.ask(&format!("GET /pair/x\n{fields}"), b"").await.status, 101);
        assert_eq!(page.exactly(17).await, b"\x81\x0f/status:waiting");
        let mut get = getting(&node, "/pair/x").await;
        assert_eq!(get.head().await.status, 200);
        page.write([b"\x81\x82\0\0\0\0hi", close].concat()).await;
        if whole {
            assert_eq!(get.chunk().await.unwrap(), b"hi");
            assert!(get.chunk().await.is_none(), "{close:x?}");
        } else {
            // What came just before it broke off may be lost with the rest.
            let rest = get.until_the_end().await;
            assert!(!rest.ends_with(b"0\r\n\r\n"), "{close:x?}: {rest:?}");
        }
    }
}

#[tokio::test]
async fn nobody_waits_for_ever() {
    let node = Node::with(|config| config.limits.pair_wait = Duration::from_millis(20)).await;
    let answer = Browser::visit(&node).await.ask("GET /pair/x", b"").await;
    assert_eq!((answer.status, &answer.json()["slug"]), (504, &"pair.nobody".into()));
    let answer = Browser::visit(&node).await.ask("PUT /pair/x", b"body").await;
    assert_eq!(answer.status, 504);
    assert_eq!(node.hub.pairs.waiting(), 0);
}

#[tokio::test]
async fn who_leaves_while_waiting_gives_the_seat_back() {
    let node = Node::start().await;
    for method in ["GET", "PUT"] {
        let mut browser = Browser::visit(&node).await;
        browser.write(format!("{method} /pair/x HTTP/1.1\r\nHost: localhost\r\n\r\n")).await;
        node.until(|hub| hub.pairs.waiting() == 1).await;
        drop(browser);
        node.until(|hub| hub.pairs.waiting() == 0).await;
    }
}

#[tokio::test]
async fn what_makes_no_half_is_refused() {
    let node = Node::with(|config| config.limits.body_bytes = Some(8)).await;
    for (head, body, status, slug) in [
        ("GET /pair/x", &b"body"[..], 400, "pair.get_body"),
        ("PATCH /pair/x", b"", 405, "http.method"),
        ("GET /pair/%2Fx", b"", 400, "pair.id"),
        ("GET /pair/", b"", 400, "pair.id"),
        ("PUT /pair/x", b"nine bytes", 413, "http.body_too_large"),
        ("GET /pair/x\nOrigin: https://elsewhere.example", b"", 403, "http.origin"),
    ] {
        let answer = Browser::visit(&node).await.ask(head, body).await;
        assert_eq!((answer.status, &answer.json()["slug"]), (status, &slug.into()), "{head}");
    }
    let mut old = Browser::visit(&node).await;
    old.write("GET /pair/x HTTP/1.0\r\n\r\n").await;
    assert_eq!(old.head().await.status, 400);
    assert_eq!(node.hub.pairs.waiting(), 0);
}

#[tokio::test]
async fn grants_hold_at_the_door_and_after() {
    let grant = |pair| Grants { pair: vec![Filter::parse(pair).unwrap()], ..Grants::none() };
    let token = |pair| Token { name: "a".into(), secret: Secret::new("s3cret").unwrap(), grant: grant(pair) };
    let node = Node::with(|config| config.tokens = vec![token("mine/#")]).await;
    let mut browser = Browser::visit(&node).await;
    assert_eq!(browser.ask("GET /pair/mine%2Fx", b"").await.status, 401);
    let mine = "Authorization: Bearer s3cret";
    assert_eq!(browser.ask(&format!("GET /pair/other\n{mine}"), b"").await.status, 403);
    let get = format!("GET /pair/mine%2Fx HTTP/1.1\r\nHost: localhost\r\n{mine}\r\n\r\n");
    let (mut waits, mut one, mut two) =
        (Browser::visit(&node).await, Browser::visit(&node).await, Browser::visit(&node).await);
    one.write(&get).await;
    two.write(get.replace("GET", "PUT").replace("\r\n\r\n", "\r\nContent-Length: 5\r\n\r\n")).await;
    assert_eq!((one.head().await.status, two.head().await.status), (200, 200));
    waits.write(&get).await;
    node.until(|hub| hub.pairs.waiting() == 1).await;
    node.handle.reload(Config { tokens: vec![token("yours/#")], ..Config::default() });
    assert_eq!(waits.answer().await.status, 403);
    assert_eq!(one.until_the_end().await, b"", "broken off");
    assert_eq!(two.until_the_end().await, b"", "broken off");
}

#[tokio::test]
async fn a_stopping_node_turns_away_who_waits_and_lets_the_others_finish() {
    let mut node = Node::start().await;
    let (mut get, mut put) = (getting(&node, "/pair/x").await, putting(&node, "/pair/x").await);
    put.write("3\r\nabc\r\n").await;
    assert_eq!(get.head().await.status, 200);
    assert_eq!(get.chunk().await.unwrap(), b"abc");
    let mut waits = getting(&node, "/pair/y").await;
    node.until(|hub| hub.pairs.waiting() == 1).await;
    node.stop();
    assert_eq!(waits.answer().await.status, 503);
    put.write("3\r\ndef\r\n0\r\n\r\n").await;
    assert_eq!(get.chunk().await.unwrap(), b"def");
    assert!(get.chunk().await.is_none());
    (&mut node.running).await.unwrap();
}

#[tokio::test]
async fn requests_need_the_secret_of_the_pair() {
    let node = Node::start().await;
    let mut member = node.client().await;
    let join = Join { room: "x", mode: RoomMode::Pair, secret: "s3cret", ..Join::default() };
    member.say(1, &Body::Join(join)).await;
    assert_eq!((member.hear().await.kind, member.hear().await.kind), (Kind::Ok, Kind::RoomEvent));
    for field in ["", "\nWhub-Pair-Secret: S3cret", "\nWhub-Pair-Secret: s3cre"] {
        let answer = Browser::visit(&node).await.ask(&format!("GET /pair/x{field}"), b"").await;
        assert_eq!((answer.status, &answer.json()["slug"]), (403, &"pair.secret".into()), "{field}");
        assert!(!answer.text().to_lowercase().contains("s3cre"), "secrets are not repeated");
    }
    let mut get = Browser::visit(&node).await;
    get.write("GET /pair/x HTTP/1.1\r\nHost: localhost\r\nWhub-Pair-Secret: s3cret\r\n\r\n").await;
    assert_eq!(get.head().await.status, 200);
    assert_eq!(member.hear().await.kind, Kind::RoomEvent);
    // Whoever comes first sets it, however that was.
    let mut put = Browser::visit(&node).await;
    put.write(
        "PUT /pair/y HTTP/1.1\r\nHost: localhost\r\nWhub-Pair-Secret: s3cret\r\nContent-Length: 2\r\n\r\n",
    )
    .await;
    node.until(|hub| hub.pairs.waiting() == 1).await;
    assert_eq!(Browser::visit(&node).await.ask("GET /pair/y", b"").await.status, 403);
    let taken = Browser::visit(&node).await.ask("GET /pair/y\nWhub-Pair-Secret: other", b"").await;
    assert_eq!(taken.status, 403);
}

/// Opens a page's WebSocket at `/pair/x`; gives the answer's subprotocol.
async fn open_page(node: &Node, fields: &str) -> (Browser, Option<String>) {
    let mut page = Browser::visit(node).await;
    let head = format!(
        "GET /pair/x\nConnection: Upgrade\nUpgrade: websocket\nSec-WebSocket-Version: 13\n\
         Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ=={fields}"
    );
    let answer = page.ask(&head, b"").await;
    assert_eq!(answer.status, 101);
    let chosen = answer.headers.iter().find(|(name, _)| name.eq_ignore_ascii_case("sec-websocket-protocol"));
    let chosen = chosen.map(|(_, value)| value.clone());
    (page, chosen)
}

#[tokio::test]
async fn pages_bring_the_secret_as_a_subprotocol_that_is_never_chosen() {
    let node = Node::start().await;
    let (good, bad) = ("whub.secret.czNjcmV0", "whub.secret.czNjcmU");
    let (mut first, chosen) =
        open_page(&node, &format!("\nSec-WebSocket-Protocol: whub.plain, {good}")).await;
    assert_eq!(chosen.as_deref(), Some("whub.plain"));
    assert_eq!(first.exactly(17).await, b"\x81\x0f/status:waiting");
    for offer in [String::new(), format!("\nSec-WebSocket-Protocol: whub.plain, {bad}")] {
        let (mut refused, _) = open_page(&node, &offer).await;
        let close = refused.exactly(4).await;
        assert_eq!((close[0], &close[2..4]), (0x88, &4403_u16.to_be_bytes()[..]), "{offer}");
    }
    let (mut second, chosen) = open_page(&node, &format!("\nSec-WebSocket-Protocol: {good}, mine")).await;
    assert_eq!(chosen.as_deref(), Some("mine"));
    assert_eq!(second.exactly(19).await, b"\x81\x11/status:connected");
    assert_eq!(first.exactly(14 + 19).await, b"\x81\x0c/remote:open\x81\x11/status:connected");
    let mut page = Browser::visit(&node).await;
    let head = "GET /pair/x\nConnection: Upgrade\nUpgrade: websocket\nSec-WebSocket-Version: 13\n\
                Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\nSec-WebSocket-Protocol: whub.secret.~~";
    assert_eq!(page.ask(head, b"").await.status, 400);
}

#[tokio::test]
async fn who_is_refused_is_hung_up_on_without_being_waited_for() {
    let node = Node::start().await;
    let (mut first, _) = open_page(&node, "\nWhub-Pair-Secret: s3cret").await;
    assert_eq!(first.exactly(17).await, b"\x81\x0f/status:waiting");
    let (refused, _) = open_page(&node, "").await;
    // It says nothing more; the hub does not mind.
    refused.until_the_end().await;
    node.until(|hub| hub.counters.sessions_opened.read() == 2 && hub.counters.sessions_closed.read() == 1)
        .await;
    assert_eq!(node.hub.pairs.waiting(), 1);
}
