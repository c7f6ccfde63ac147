//! One byte decides who parses a connection, and stays where it is.

mod common;

use std::io::Write;
use std::time::Duration;

use common::PATIENCE;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use whub_transport::{Opening, Stream, TransportCounters, pipe, sniff};

const TABLE: [(u8, Opening, Opening); 14] = [
    // byte, from anyone, from a configured proxy
    (0x0E, Opening::Own, Opening::Own),
    (0x16, Opening::Tls, Opening::Tls),
    (b'G', Opening::Http, Opening::Http),
    (b'P', Opening::Http, Opening::Http),
    (b'A', Opening::Http, Opening::Http),
    (b'Z', Opening::Http, Opening::Http),
    (0x0D, Opening::Http, Opening::Proxy),
    (0x10, Opening::Mqtt, Opening::Mqtt),
    (b'@', Opening::Unknown(b'@'), Opening::Unknown(b'@')),
    (b'[', Opening::Unknown(b'['), Opening::Unknown(b'[')),
    (b'g', Opening::Unknown(b'g'), Opening::Unknown(b'g')),
    (0x00, Opening::Unknown(0), Opening::Unknown(0)),
    (0x0A, Opening::Unknown(0x0A), Opening::Unknown(0x0A)),
    (0xFF, Opening::Unknown(0xFF), Opening::Unknown(0xFF)),
];

#[tokio::test]
async fn every_transport_reads_the_table_the_same() {
    for (byte, anyone, proxy) in TABLE {
        for (mut server, mut client) in [common::tcp_v4().await, common::unix().await, common::memory()] {
            client.write_all(&[byte, b'x']).await.expect("send");
            assert_eq!(sniff(&mut server, false, PATIENCE).await, anyone, "{byte:#x} from anyone");
            assert_eq!(sniff(&mut server, true, PATIENCE).await, proxy, "{byte:#x} from a proxy");
            let mut read = [0; 2];
            server.read_exact(&mut read).await.expect("receive");
            assert_eq!(read, [byte, b'x'], "the parser reads from the start");
        }
    }
}

#[tokio::test]
async fn a_bare_socket_stays_bare() {
    let (mut server, mut client) = common::tcp_v4().await;
    client.write_all(b"G").await.expect("send");
    sniff(&mut server, false, PATIENCE).await;
    assert!(matches!(server, Stream::Tcp(_)), "{server:?}");
    let (mut server, mut client) = common::unix().await;
    client.write_all(b"G").await.expect("send");
    sniff(&mut server, false, PATIENCE).await;
    assert!(matches!(server, Stream::Unix(_)), "{server:?}");
}

#[tokio::test]
async fn a_peer_that_leaves_first_is_closed() {
    for (mut server, client) in [common::tcp_v4().await, common::unix().await, common::memory()] {
        drop(client);
        assert_eq!(sniff(&mut server, false, PATIENCE).await, Opening::Closed);
    }
}

#[tokio::test(start_paused = true)]
async fn a_silent_peer_is_waited_for_only_so_long() {
    let (mut server, _client) = pipe::pipe(16);
    let begun = tokio::time::Instant::now();
    assert_eq!(sniff(&mut server, false, Duration::from_secs(5)).await, Opening::Silent);
    assert_eq!(begun.elapsed(), Duration::from_secs(5));
}

#[tokio::test]
async fn a_silent_socket_is_waited_for_only_so_long() {
    for (mut server, client) in [common::tcp_v4().await, common::unix().await] {
        let opening = sniff(&mut server, false, Duration::from_millis(20)).await;
        assert_eq!(opening, Opening::Silent);
        drop(client);
    }
}

#[tokio::test]
async fn the_byte_may_come_late() {
    let (mut server, mut client) = common::tcp_v4().await;
    let late = async {
        tokio::task::yield_now().await;
        client.write_all(b"G").await.expect("send");
    };
    let (opening, ()) = tokio::join!(sniff(&mut server, false, PATIENCE), late);
    assert_eq!(opening, Opening::Http);
}

#[test]
fn dead_ends_are_counted_each_by_its_reason() {
    let counters = TransportCounters::default();
    for (_, opening, _) in TABLE {
        opening.count(&counters);
    }
    Opening::Silent.count(&counters);
    Opening::Closed.count(&counters);
    let mut shown = Vec::new();
    for (name, n) in counters.iter().filter(|(_, n)| *n > 0) {
        writeln!(shown, "{name} {n}").expect("memory");
    }
    let shown = String::from_utf8(shown).expect("text");
    assert_eq!(shown, "opening_timeouts 1\nopening_closed 1\nunknown_opening 6\nreserved_opening 1\n");
}
