//! From a new connection to the first word of its protocol, and every way to fail on it.

mod common;

use std::sync::Arc;
use std::time::Duration;

use common::{PATIENCE, connect, dialer, listen, self_signed};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use whub_transport::preface::PREFACE;
use whub_transport::proxy::SIGNATURE;
use whub_transport::{
    Accepted, Admission, AdmissionLimits, Alpn, DialOptions, Dialer, Door, Listener, LocalAddress, Networks,
    Opened, PeerAddress, Refusal, Stream, Talk, TransportCounters, Trust, pipe,
};

fn door() -> Door {
    let counters = Arc::new(TransportCounters::default());
    Door {
        tls: Some(self_signed()),
        proxies: Arc::default(),
        step_within: PATIENCE,
        admission: Admission::new(AdmissionLimits::default(), counters.clone()),
        counters,
    }
}

fn behind_local_proxy(mut door: Door) -> Door {
    door.proxies = Arc::new(Networks(vec!["127.0.0.0/8".parse().expect("a network")]));
    door
}

/// What the door makes of a client that says this and stays.
async fn say(door: &Door, bytes: &[u8]) -> (Result<Opened, Refusal>, Stream) {
    let listener = listen("127.0.0.1:0").await;
    let mut client = connect(&listener).await;
    client.write_all(bytes).await.expect("send");
    let (accepted, young) = door.next(&listener).await;
    (door.open(accepted, young).await, client)
}

/// The same in memory, where time can be made up.
async fn say_in_memory(door: &Door, bytes: &[u8]) -> (Result<Opened, Refusal>, Stream) {
    let (server, mut client) = pipe::pipe(1024);
    client.write_all(bytes).await.expect("send");
    let accepted = Accepted { stream: server, peer: PeerAddress::Memory, local: LocalAddress::Memory };
    let young = door.admission.young().await;
    (door.open(accepted, young).await, client)
}

/// The counters that moved, without `accepted`.
fn counted(door: &Door) -> Vec<(&'static str, u64)> {
    door.counters.iter().filter(|(name, n)| *n > 0 && *name != "accepted").collect()
}

#[tokio::test]
async fn http_is_handed_on_untouched() {
    let door = door();
    for request in [&b"GET / HTTP/1.1\r\n\r\n"[..], b"PRI * HTTP/2.0\r\n\r\n", b"\r\nGET / HTTP/1.1\r\n\r\n"]
    {
        let (opened, _client) = say(&door, request).await;
        let mut opened = opened.expect("let in");
        assert_eq!(opened.talk, Talk::Http);
        let mut read = vec![0; request.len()];
        opened.stream.read_exact(&mut read).await.expect("receive");
        assert_eq!(read, request);
    }
    assert_eq!(counted(&door), []);
}

#[tokio::test]
async fn the_own_protocol_comes_without_its_preface() {
    let door = door();
    let (opened, _client) = say(&door, &[&PREFACE[..], &[1, 0, 0, 0, b'x']].concat()).await;
    let mut opened = opened.expect("let in");
    assert_eq!(opened.talk, Talk::Own);
    assert!(matches!(opened.stream, Stream::Tcp(_)), "a bare socket stays bare");
    assert_eq!(opened.stream.read_u32_le().await.expect("receive"), 1);
}

#[tokio::test]
async fn alpn_decides_inside_tls() {
    let door = door();
    let trust = Trust::Pinned(door.tls.as_ref().expect("TLS").fingerprint());
    for (scheme, alpn, talk) in [
        ("wss", None, Talk::Http),
        ("tls", None, Talk::Own),
        ("wss", Some(Alpn::Http2), Talk::Http),
        ("wss", Some(Alpn::Absent), Talk::Http),
    ] {
        let listener = listen("127.0.0.1:0").await;
        let url = format!("{scheme}://{}", listener.local_addr()).parse().expect("a URL");
        let options = DialOptions { trust: trust.clone(), alpn, ..DialOptions::default() };
        let client = Dialer::new(url, options);
        let opening = async {
            let (accepted, young) = door.next(&listener).await;
            door.open(accepted, young).await.expect("let in")
        };
        let (opened, client) = tokio::join!(opening, client.connect());
        let mut client = client.expect("a connection");
        assert_eq!(opened.talk, talk, "{scheme} {alpn:?}");
        assert!(opened.stream.is_tls());
        client.write_all(b"x").await.expect("send");
        client.flush().await.expect("flush");
        let mut stream = opened.stream;
        assert_eq!(stream.read_u8().await.expect("receive"), b'x');
    }
    assert_eq!(counted(&door), []);
}

#[tokio::test]
async fn a_proxy_says_who_the_peer_is() {
    let door = behind_local_proxy(door());
    let header = [&SIGNATURE[..], b"\x21\x11\x00\x0C", &[192, 0, 2, 7, 198, 51, 100, 1, 0x12, 0x34, 1, 0xBB]];
    let (opened, _client) = say(&door, &[&header.concat()[..], b"GET"].concat()).await;
    let mut opened = opened.expect("let in");
    assert_eq!(opened.peer, PeerAddress::Tcp(([192, 0, 2, 7], 0x1234).into()));
    let mut read = [0; 3];
    opened.stream.read_exact(&mut read).await.expect("receive");
    assert_eq!(&read, b"GET");
    assert_eq!(door.admission.addresses(), 1, "the client's address has the seat");
    drop(opened);
    assert_eq!(door.admission.addresses(), 0);
}

#[tokio::test]
async fn a_health_check_is_the_proxys_own() {
    let door = behind_local_proxy(door());
    let (opened, _client) = say(&door, &[&SIGNATURE[..], b"\x20\x00\x00\x00", b"GET"].concat()).await;
    assert!(opened.expect("let in").peer.is_local());
}

#[tokio::test]
async fn the_cap_counts_clients_behind_a_proxy_one_by_one() {
    let mut door = behind_local_proxy(door());
    let limits = AdmissionLimits { connections_per_address: 1, ..AdmissionLimits::default() };
    door.admission = Admission::new(limits, door.counters.clone());
    let from = |last| {
        let header =
            [&SIGNATURE[..], b"\x21\x11\x00\x0C", &[192, 0, 2, last, 198, 51, 100, 1, 0x12, 0x34, 1, 0xBB]];
        [&header.concat()[..], b"GET"].concat()
    };
    let (first, _one) = say(&door, &from(1)).await;
    let _first = first.expect("let in");
    let (again, _two) = say(&door, &from(1)).await;
    assert!(matches!(again, Err(Refusal::AddressCap)), "{again:?}");
    let (other, _three) = say(&door, &from(2)).await;
    other.expect("someone else is untouched");
    assert_eq!(counted(&door), [("refused_address_cap", 1)]);
}

#[tokio::test]
async fn a_proxy_header_from_anyone_else_is_http() {
    let door = door();
    let (opened, _client) = say(&door, &SIGNATURE).await;
    assert_eq!(opened.expect("for the HTTP parser to refuse").talk, Talk::Http);
}

#[tokio::test]
async fn a_second_proxy_header_is_not_believed() {
    let door = behind_local_proxy(door());
    let header = [&SIGNATURE[..], b"\x20\x00\x00\x00"].concat();
    let (opened, _client) = say(&door, &[&header[..], &header].concat()).await;
    assert_eq!(opened.expect("for the HTTP parser to refuse").talk, Talk::Http);
}

#[tokio::test]
async fn nonsense_is_closed_without_an_answer_and_counted_by_reason() {
    for (bytes, counter) in [
        (&b"\x00\x00\x00"[..], "unknown_opening"),
        (b"get / HTTP/1.1\r\n\r\n", "unknown_opening"),
        (b"\x10\x0C\x00\x04MQTT", "reserved_opening"),
        (b"\x0EWHB\x07", "preface_refused"),
        (b"\x0ENONE", "preface_refused"),
        (b"\x16\x03\x01\x00\x04\xFF\x00\x00\x00", "tls_failures"),
        (b"\r\n\r\nGET / HTTP/1.1\r\n\r\n", "proxy_refused"),
    ] {
        let door = behind_local_proxy(door());
        let (opened, mut client) = say(&door, bytes).await;
        opened.expect_err("refused");
        assert_eq!(counted(&door), [(counter, 1)], "{bytes:?}");
        let mut answer = Vec::new();
        // A reset is an end as well: bytes of ours may have been left unread.
        let _ = client.read_to_end(&mut answer).await;
        // TLS itself may say why in an alert (content type 21).
        assert!(answer.is_empty() || answer[0] == 21, "{answer:?}");
    }
}

#[tokio::test]
async fn tls_without_a_certificate_is_turned_away() {
    let mut door = door();
    door.tls = None;
    let (opened, _client) = say(&door, b"\x16\x03\x01").await;
    assert!(matches!(opened, Err(Refusal::NoTls)), "{opened:?}");
    assert_eq!(counted(&door), [("tls_unconfigured", 1)]);
}

#[tokio::test]
async fn a_peer_that_leaves_at_once_is_counted_as_such() {
    let door = door();
    let listener = listen("127.0.0.1:0").await;
    drop(connect(&listener).await);
    let (accepted, young) = door.next(&listener).await;
    door.open(accepted, young).await.expect_err("gone");
    assert_eq!(counted(&door), [("opening_closed", 1)]);
}

#[tokio::test(start_paused = true)]
async fn every_way_of_stalling_ends_at_its_deadline() {
    for (bytes, counter) in [
        (&b""[..], "opening_timeouts"),
        (b"\x0E", "preface_timeouts"),
        (b"\x0EWHB", "preface_timeouts"),
        (b"\x16", "tls_timeouts"),
        (b"\x16\x03\x01\x02\x00\x01\x00", "tls_timeouts"),
    ] {
        let mut door = door();
        door.step_within = Duration::from_secs(5);
        let begun = tokio::time::Instant::now();
        let (opened, _client) = say_in_memory(&door, bytes).await;
        opened.expect_err("stalled");
        assert_eq!(begun.elapsed(), Duration::from_secs(5), "{bytes:?}");
        assert_eq!(counted(&door), [(counter, 1)], "{bytes:?}");
    }
}

#[tokio::test]
async fn a_proxy_that_stalls_is_not_waited_for() {
    let mut door = behind_local_proxy(door());
    door.step_within = Duration::from_millis(30);
    let (opened, _client) = say(&door, &SIGNATURE).await;
    assert!(matches!(opened, Err(Refusal::Proxy(_))), "{opened:?}");
    assert_eq!(counted(&door), [("proxy_refused", 1)]);
}

#[tokio::test]
async fn the_listener_waits_while_too_many_are_young() {
    let mut door = door();
    let limits = AdmissionLimits { young_connections: 1, ..AdmissionLimits::default() };
    door.admission = Admission::new(limits, door.counters.clone());
    let listener = listen("127.0.0.1:0").await;
    let (_one, _two) = (connect(&listener).await, connect(&listener).await);
    let (_first, young) = door.next(&listener).await;
    let mut second = std::pin::pin!(door.next(&listener));
    assert!(is_waiting(second.as_mut()).await, "the second stays in the kernel's queue");
    young.proved();
    let (_second, _young) = tokio::time::timeout(PATIENCE, second).await.expect("let in");
    assert_eq!(counted(&door), [("young_waits", 1)]);
}

/// Whether a future is not finished after one poll.
async fn is_waiting<F: Future>(mut future: std::pin::Pin<&mut F>) -> bool {
    std::future::poll_fn(|cx| std::task::Poll::Ready(future.as_mut().poll(cx).is_pending())).await
}

#[tokio::test]
async fn one_who_stalls_holds_up_nobody() {
    let door = door();
    let listener = listen("127.0.0.1:0").await;
    let _silent = connect(&listener).await;
    let (accepted, young) = door.next(&listener).await;
    let stalled = tokio::spawn({
        let door = door.clone();
        async move { door.open(accepted, young).await }
    });
    let tls = dialer("tls", &listener, Trust::Pinned(door.tls.as_ref().expect("TLS").fingerprint()));
    let (opened, client) = tokio::join!(next_open(&door, &listener), tls.connect());
    client.expect("a connection");
    assert_eq!(opened.talk, Talk::Own);
    assert!(!stalled.is_finished());
    stalled.abort();
}

async fn next_open(door: &Door, listener: &Listener) -> Opened {
    let (accepted, young) = door.next(listener).await;
    door.open(accepted, young).await.expect("let in")
}
