//! Bodies of any length, both ways, in constant memory: as far as the other side has given credit, and no further.

use std::time::Duration;

use whub_core::WINDOW;
use whub_proto::{Body, Credit, Data, Flags, Headers, Kind, Register, Response};

use crate::browser::Browser;
use crate::calls::providing;
use crate::common::Node;

const QUIET: Duration = Duration::from_millis(150);

#[tokio::test]
async fn an_upload_goes_as_far_as_the_providers_credit() {
    let (node, mut provider) = providing("/up").await;
    let mut browser = Browser::visit(&node).await;
    let total = 3 * WINDOW as usize + 17;
    let body: Vec<u8> = (0..total).map(|number| (number % 251) as u8).collect();
    let head = format!("POST /up HTTP/1.1\r\nHost: localhost\r\nContent-Length: {total}\r\n\r\n");
    let sending = async {
        browser.write(head).await;
        browser.write(&body).await;
        browser.answer().await
    };
    let taking = async {
        let asked = provider.hear().await;
        assert!(asked.kind == Kind::Request && asked.payload.is_empty() && !asked.flags.contains(Flags::END));
        let mut taken: Vec<u8> = Vec::new();
        let mut credit = WINDOW as usize;
        loop {
            while taken.len() < credit.min(total) {
                let heard = provider.hear().await;
                assert_eq!((heard.kind, heard.id), (Kind::Data, asked.id));
                taken.extend(&heard.payload);
                assert!(taken.len() <= credit, "more than was asked for");
                assert_eq!(heard.flags.contains(Flags::END), taken.len() == total);
            }
            if taken.len() == total {
                break;
            }
            let nothing = tokio::time::timeout(QUIET, provider.socket.peek(&mut [0])).await;
            assert!(nothing.is_err(), "nothing comes without credit");
            provider.say(asked.id, &Body::Credit(Credit { bytes: WINDOW })).await;
            credit += WINDOW as usize;
        }
        assert!(taken == body, "every byte in its place");
        provider.send(asked.id, Flags::END, &Body::Response(Response::default()), b"thanks").await;
    };
    let (answer, ()) = tokio::join!(sending, taking);
    assert_eq!((answer.status, answer.text()), (200, "thanks"));
}

#[tokio::test]
async fn an_upload_waits_whole_for_a_provider_that_reads_late() {
    let (node, mut provider) = providing("/up").await;
    let mut browser = Browser::visit(&node).await;
    // More than the sockets take, so that writes end in the middle of a piece.
    let total = 24 << 20;
    let body: Vec<u8> = (0..total).map(|number| (number % 251) as u8).collect();
    browser.write(format!("POST /up HTTP/1.1\r\nHost: localhost\r\nContent-Length: {total}\r\n\r\n")).await;
    let asked = provider.hear().await;
    provider.say(asked.id, &Body::Credit(Credit { bytes: total })).await;
    let mut sending = Box::pin(browser.write(&body));
    let stuck = tokio::time::timeout(QUIET * 4, &mut sending).await;
    assert!(stuck.is_err(), "it does not end up in memory");
    let taking = async {
        let mut taken: Vec<u8> = Vec::new();
        while taken.len() < body.len() {
            let heard = provider.hear().await;
            assert_eq!((heard.kind, heard.id), (Kind::Data, asked.id));
            taken.extend(&heard.payload);
        }
        taken
    };
    let ((), taken) = tokio::join!(sending, taking);
    assert!(taken == body, "every byte in its place");
}

#[tokio::test]
async fn a_chunked_upload_arrives_whole_and_ends_its_connection() {
    let (node, mut provider) = providing("/up").await;
    let mut browser = Browser::visit(&node).await;
    let head = "POST /up HTTP/1.1\r\nHost: localhost\r\nTransfer-Encoding: chunked\r\n\r\n";
    let sending = async {
        browser.write(format!("{head}3\r\nabc\r\n2;x=y\r\nde\r\n0\r\nTrailer: 1\r\n\r\n")).await;
        browser.answer().await
    };
    let taking = async {
        let asked = provider.hear().await;
        let mut taken = Vec::new();
        loop {
            let heard = provider.hear().await;
            taken.extend(&heard.payload);
            if heard.flags.contains(Flags::END) {
                break;
            }
        }
        provider.send(asked.id, Flags::END, &Body::Response(Response::default()), &taken).await;
    };
    let (answer, ()) = tokio::join!(sending, taking);
    assert_eq!(answer.text(), "abcde");
    assert!(answer.is("connection", "close"));
}

#[tokio::test]
async fn what_has_come_of_an_upload_is_not_held_back_for_the_rest() {
    let (node, mut provider) = providing("/up").await;
    let mut browser = Browser::visit(&node).await;
    browser.write("POST /up HTTP/1.1\r\nHost: localhost\r\nTransfer-Encoding: chunked\r\n\r\n").await;
    let asked = provider.hear().await;
    for word in ["one", "two", "three"] {
        browser.write(format!("{:x}\r\n{word}\r\n", word.len())).await;
        let heard = provider.hear().await;
        assert_eq!(
            (heard.kind, heard.flags, heard.payload.as_slice()),
            (Kind::Data, Flags::NONE, word.as_bytes())
        );
    }
    browser.write("0\r\n\r\n").await;
    let heard = provider.hear().await;
    assert!(heard.kind == Kind::Data && heard.flags == Flags::END && heard.payload.is_empty(), "{heard:?}");
    provider.send(asked.id, Flags::END, &Body::Response(Response::default()), b"").await;
    assert_eq!(browser.answer().await.status, 200);
}

#[tokio::test]
async fn many_small_chunks_and_what_follows_them_arrive_in_order() {
    let (node, mut provider) = providing("/up").await;
    let mut browser = Browser::visit(&node).await;
    let words: Vec<String> = (0..2_000).map(|number| format!("{number:05}")).collect();
    let chunks: String = words.iter().map(|word| format!("5\r\n{word}\r\n")).collect();
    let head = "POST /up HTTP/1.1\r\nHost: localhost\r\nTransfer-Encoding: chunked\r\n\r\n";
    browser.write(format!("{head}{chunks}0\r\nX-Sum: all\r\n\r\n")).await;
    let asked = provider.hear().await;
    let mut taken: Vec<u8> = Vec::new();
    let last = loop {
        let heard = provider.hear().await;
        taken.extend(&heard.payload);
        if heard.flags.contains(Flags::END) {
            break heard;
        }
    };
    assert!(taken == words.concat().as_bytes(), "every chunk in its place");
    let Body::Data(data) = last.frame().body else { panic!("{last:?}") };
    assert_eq!(data.headers.iter().collect::<Vec<_>>(), [("x-sum", "all")]);
    provider.send(asked.id, Flags::END, &Body::Response(Response::default()), b"").await;
    assert_eq!(browser.answer().await.status, 200);
}

#[tokio::test]
async fn a_download_goes_as_far_as_the_client_reads() {
    let (node, mut provider) = providing("/down").await;
    let mut browser = Browser::visit(&node).await;
    browser.write("GET /down HTTP/1.1\r\nHost: localhost\r\n\r\n").await;
    let asked = provider.hear().await;
    let mut given = 0;
    let mut credit = WINDOW as usize;
    let piece = vec![b'p'; 32 * 1024];
    provider.say(asked.id, &Body::Response(Response::default())).await;
    // The client reads nothing: what fits between here and there goes, then credit ends.
    loop {
        while credit >= piece.len() {
            provider.send(asked.id, Flags::NONE, &Body::Data(Data::default()), &piece).await;
            given += piece.len();
            credit -= piece.len();
        }
        let Ok(heard) = tokio::time::timeout(QUIET * 4, provider.hear()).await else { break };
        let Body::Credit(Credit { bytes }) = heard.frame().body else { panic!("{heard:?}") };
        credit += bytes as usize;
        assert!(given < 64 << 20, "credit without a reader");
    }
    let head = browser.head().await;
    assert!(head.status == 200 && head.is("transfer-encoding", "chunked"));
    let mut taken = 0;
    while taken < given {
        taken += browser.chunk().await.unwrap().len();
    }
    let heard = provider.hear().await;
    assert_eq!(heard.kind, Kind::Credit, "a reader brings credit");
    provider.send(asked.id, Flags::END, &Body::Data(Data::default()), b"end").await;
    assert_eq!(browser.chunk().await.unwrap(), b"end");
    assert!(browser.chunk().await.is_none());
    assert_eq!(browser.ask("GET /healthz", b"").await.status, 200, "the connection lives on");
}

#[tokio::test]
async fn a_download_that_goes_on_gets_twice_the_window() {
    let (node, mut provider) = providing("/down").await;
    let mut browser = Browser::visit(&node).await;
    browser.write("GET /down HTTP/1.1\r\nHost: localhost\r\n\r\n").await;
    let asked = provider.hear().await;
    provider.say(asked.id, &Body::Response(Response::default())).await;
    assert_eq!(browser.head().await.status, 200);
    // Quarters of the window come back, then another window, then quarters of both.
    let credits = [WINDOW / 4; 15].into_iter().chain([WINDOW / 4 + WINDOW]).chain([WINDOW / 2; 8]);
    let mut piece = vec![7; WINDOW as usize / 4];
    for (nth, credit) in credits.enumerate() {
        if nth == 16 {
            piece.resize(WINDOW as usize / 2, 7);
        }
        provider.send(asked.id, Flags::NONE, &Body::Data(Data::default()), &piece).await;
        assert!(browser.chunk().await.unwrap() == piece);
        let heard = provider.hear().await;
        assert_eq!(heard.frame().body, Body::Credit(Credit { bytes: credit }), "after piece {nth}");
    }
}

#[tokio::test]
async fn a_caller_that_vanishes_is_a_cancelled_call() {
    let (node, mut provider) = providing("/x").await;
    for stage in ["waiting", "reading", "sending"] {
        let mut browser = Browser::visit(&node).await;
        let more = if stage == "sending" { "Content-Length: 1000000\r\n" } else { "" };
        browser.write(format!("POST /x HTTP/1.1\r\nHost: localhost\r\n{more}\r\n")).await;
        let asked = provider.hear().await;
        if stage == "reading" {
            provider.say(asked.id, &Body::Response(Response::default())).await;
            provider.send(asked.id, Flags::NONE, &Body::Data(Data::default()), b"some").await;
            assert_eq!(browser.head().await.status, 200);
        }
        drop(browser);
        let heard = provider.hear().await;
        assert_eq!((heard.kind, heard.id), (Kind::Cancel, asked.id), "{stage}");
    }
    assert_eq!(node.hub.counters.calls_cancelled.read(), 3);
}

#[tokio::test]
async fn an_answer_that_breaks_off_is_no_whole_answer() {
    let (node, mut provider) = providing("/x").await;
    let mut browser = Browser::visit(&node).await;
    browser.write("GET /x HTTP/1.1\r\nHost: localhost\r\n\r\n").await;
    let asked = provider.hear().await;
    provider.say(asked.id, &Body::Response(Response::default())).await;
    provider.send(asked.id, Flags::NONE, &Body::Data(Data::default()), b"half").await;
    assert_eq!(browser.head().await.status, 200);
    assert_eq!(browser.chunk().await.unwrap(), b"half");
    drop(provider);
    let rest = browser.until_the_end().await;
    assert!(!rest.windows(5).any(|five| five == b"0\r\n\r\n") && !rest.starts_with(b"HTTP"), "{rest:?}");
}

#[tokio::test]
async fn a_body_above_the_limit_is_refused_however_it_comes() {
    let node = Node::with(|config| config.limits.body_bytes = Some(100_000)).await;
    let mut provider = node.client().await;
    provider.register(1, "/x").await;
    let mut browser = Browser::visit(&node).await;
    browser.write("POST /x HTTP/1.1\r\nHost: localhost\r\nContent-Length: 100001\r\n\r\n").await;
    assert_eq!(browser.answer().await.status, 413, "by its length, before a byte of it");
    let mut browser = Browser::visit(&node).await;
    browser.write("POST /x HTTP/1.1\r\nHost: localhost\r\nTransfer-Encoding: chunked\r\n\r\n").await;
    browser
        .write([format!("{:x}\r\n", 100_001).as_bytes(), &[b'x'; 100_001], b"\r\n0\r\n\r\n"].concat())
        .await;
    let answer = browser.answer().await;
    assert_eq!((answer.status, &answer.json()["slug"]), (413, &"http.body_too_large".into()));
    let mut kinds = Vec::new();
    while kinds.last() != Some(&Kind::Cancel) {
        kinds.push(provider.hear().await.kind);
    }
    assert_eq!(kinds[0], Kind::Request);
}

#[tokio::test]
async fn answers_without_a_body_have_none() {
    let (node, mut provider) = providing("/x").await;
    let mut browser = Browser::visit(&node).await;
    for (line, status, length) in
        [("HEAD /x", 200, Some("1234")), ("GET /x", 204, None), ("GET /x", 304, None)]
    {
        let providing = async {
            let asked = provider.hear().await;
            let pairs = [("content-length", "1234"), ("content-type", "text/plain")];
            let response = Response { status, headers: Headers::new(&pairs), ..Response::default() };
            provider.send(asked.id, Flags::END, &Body::Response(response), b"not for you").await;
        };
        let asking = async {
            let request = format!("{line} HTTP/1.1\r\nHost: localhost\r\n\r\n");
            browser.write(request).await;
            browser.head().await
        };
        let (answer, ()) = tokio::join!(asking, providing);
        assert_eq!((answer.status, answer.header("content-length")), (status, length), "{line}");
    }
    assert_eq!(browser.ask("GET /healthz", b"").await.text(), "ok\n", "nothing was left in between");
}

#[tokio::test]
async fn a_service_without_room_is_unavailable_for_a_while() {
    let node = Node::start().await;
    let mut provider = node.client().await;
    let register = Register { path: "/x", max_inflight: 1, ..Register::default() };
    provider.say(1, &Body::Register(register)).await;
    assert_eq!(provider.hear().await.kind, Kind::Ok);
    let mut first = Browser::visit(&node).await;
    first.write("GET /x HTTP/1.1\r\nHost: localhost\r\n\r\n").await;
    let asked = provider.hear().await;
    let answer = Browser::visit(&node).await.ask("GET /x", b"").await;
    assert_eq!((answer.status, answer.header("retry-after")), (503, Some("1")));
    let problem = answer.json();
    assert!(problem["slug"] == "service.overloaded" && problem["retry_ms"].as_u64() > Some(0), "{problem}");
    provider.send(asked.id, Flags::END, &Body::Response(Response::default()), b"").await;
    assert_eq!(first.answer().await.status, 200);
}

#[tokio::test]
async fn an_answer_that_http_cannot_carry_is_the_providers_fault() {
    let (node, mut provider) = providing("/x").await;
    let mut browser = Browser::visit(&node).await;
    for status in [0, 101, 99, 1000] {
        let providing = async {
            let asked = provider.hear().await;
            let response = Response { status, ..Response::default() };
            provider.send(asked.id, Flags::END, &Body::Response(response), b"").await;
        };
        let (answer, ()) = tokio::join!(browser.ask("GET /x", b""), providing);
        assert_eq!((answer.status, &answer.json()["slug"]), (502, &"service.bad_answer".into()), "{status}");
    }
    let providing = async {
        let asked = provider.hear().await;
        let pairs = [
            ("x-good", "1"),
            ("x-bad", "a\r\nset-cookie: evil=1"),
            ("bad name", "1"),
            ("transfer-encoding", "chunked"),
            ("content-length", "9"),
        ];
        let response = Response { headers: Headers::new(&pairs), ..Response::default() };
        provider.send(asked.id, Flags::END, &Body::Response(response), b"ok").await;
    };
    let (answer, ()) = tokio::join!(browser.ask("GET /x", b""), providing);
    assert_eq!((answer.status, answer.text(), answer.header("x-good")), (200, "ok", Some("1")));
    assert!(answer.header("set-cookie").is_none() && answer.is("content-length", "2"), "{answer:?}");
}

#[tokio::test]
async fn a_refused_client_may_finish_its_sentence() {
    let node = Node::start().await;
    let mut browser = Browser::visit(&node).await;
    let piece = vec![b'x'; 100_000];
    browser.write("POST /nobody HTTP/1.1\r\nHost: localhost\r\nContent-Length: 3000000\r\n\r\n").await;
    browser.write(&piece).await;
    assert_eq!(browser.answer().await.status, 404);
    // Clients that send first and read then would never read why, if the hub hung up on them here.
    for _ in 1..30 {
        browser.write(&piece).await;
        tokio::task::yield_now().await;
    }
    tokio::io::AsyncWriteExt::shutdown(&mut browser.socket).await.unwrap();
    assert!(browser.until_the_end().await.is_empty());
}

#[tokio::test]
async fn an_answer_may_come_before_the_question_has_ended() {
    let (node, mut provider) = providing("/x").await;
    let mut browser = Browser::visit(&node).await;
    browser.write("POST /x HTTP/1.1\r\nHost: localhost\r\nContent-Length: 1000000\r\n\r\nsome").await;
    let asked = provider.hear().await;
    assert_eq!(provider.hear().await.payload, b"some");
    let response = Body::Response(Response { status: 403, ..Response::default() });
    provider.send(asked.id, Flags::END, &response, b"enough").await;
    let answer = browser.answer().await;
    assert_eq!((answer.status, answer.text()), (403, "enough"));
    assert_eq!(node.hub.counters.calls_answered.read(), 1);
}

#[tokio::test]
async fn a_client_that_takes_nothing_of_its_download_is_let_go() {
    // Short, but long enough for a busy machine to say something in time.
    let ping = Duration::from_secs(3);
    let node = Node::with(|config| {
        config.limits.first_request = 2 * ping;
        config.limits.ping = ping;
    })
    .await;
    let mut provider = node.client().await;
    provider.register(1, "/down").await;
    let mut browser = Browser::visit(&node).await;
    browser.write("GET /down HTTP/1.1\r\nHost: localhost\r\n\r\n").await;
    let asked = provider.hear().await;
    provider.send(asked.id, Flags::NONE, &Body::Response(Response::default()), b"").await;
    let (mut credit, mut sent) = (WINDOW as usize, 0);
    let piece = vec![7; 64 * 1024];
    // It grants credit as long as its sockets take bytes; then it is found out, and the provider is told.
    loop {
        if sent + piece.len() <= credit {
            provider.send(asked.id, Flags::NONE, &Body::Data(Data::default()), &piece).await;
            sent += piece.len();
            continue;
        }
        let heard = provider.hear().await;
        if let Body::Credit(more) = heard.frame().body {
            credit += more.bytes as usize;
        } else {
            assert_eq!((heard.kind, heard.id), (Kind::Cancel, asked.id));
            break;
        }
    }
    assert_eq!(node.hub.counters.dead_peers.read(), 1);
    drop(browser);
}
