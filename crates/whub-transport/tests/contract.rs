//! What every transport promises, asked of each of them.

mod common;

use std::future::poll_fn;
use std::pin::Pin;
use std::task::{Context, Poll, Waker};

use common::PATIENCE;
use tokio::io::{AsyncReadExt, AsyncWrite, AsyncWriteExt};
use tokio::time::timeout;
use whub_transport::{Stream, WriteHalf};

/// More than any transport buffers by itself.
const NO_TRANSPORT_BUFFERS: usize = 64 << 20;

macro_rules! every_transport {
    ($($promise:ident,)+) => {
        mod tcp_v4 { $(
            #[tokio::test]
            async fn $promise() {
                within(super::$promise(super::common::tcp_v4().await)).await;
            }
        )+ use super::within; }
        mod tcp_v6 { $(
            #[tokio::test]
            async fn $promise() {
                match super::common::tcp_v6().await {
                    Some(ends) => within(super::$promise(ends)).await,
                    None => eprintln!("not tested: this machine has no IPv6 loopback"),
                }
            }
        )+ use super::within; }
        mod unix { $(
            #[tokio::test]
            async fn $promise() {
                within(super::$promise(super::common::unix().await)).await;
            }
        )+ use super::within; }
        mod tls_over_tcp { $(
            #[tokio::test]
            async fn $promise() {
                within(super::$promise(super::common::tls().await)).await;
            }
        )+ use super::within; }
        mod memory { $(
            #[tokio::test]
            async fn $promise() {
                within(super::$promise(super::common::memory())).await;
            }
        )+ use super::within; }
    };
}

every_transport! {
    order_is_kept,
    a_large_transfer_arrives_whole,
    who_has_finished_writing_can_still_read,
    a_reader_that_stops_stops_the_writer,
    a_vanished_peer_ends_both_directions,
    both_directions_flow_at_once,
    dropping_a_writer_says_nothing,
}

async fn within(promise: impl Future<Output = ()>) {
    timeout(PATIENCE, promise).await.expect("the promise is kept in time");
}

async fn order_is_kept((mut server, mut client): (Stream, Stream)) {
    for round in 0..200u32 {
        client.write_all(&round.to_le_bytes()).await.expect("send");
    }
    client.flush().await.expect("flush");
    for round in 0..200u32 {
        assert_eq!(server.read_u32_le().await.expect("receive"), round);
    }
}

async fn a_large_transfer_arrives_whole((server, client): (Stream, Stream)) {
    let sent = pattern(5_000_003);
    let (mut read, _server) = server.split();
    let (_client, mut write) = client.split();
    let sending = async {
        write.write_all(&sent).await.expect("send");
        write.shutdown().await.expect("shutdown");
    };
    let mut got = Vec::new();
    let receiving = async { read.read_to_end(&mut got).await.expect("receive") };
    tokio::join!(sending, receiving);
    assert!(got == sent, "5 MB arrive unchanged");
}

async fn who_has_finished_writing_can_still_read((mut server, mut client): (Stream, Stream)) {
    client.write_all(b"question").await.expect("send");
    client.shutdown().await.expect("half close");
    let mut question = Vec::new();
    server.read_to_end(&mut question).await.expect("receive to the end");
    assert_eq!(question, b"question");
    server.write_all(b"answer").await.expect("answer");
    server.shutdown().await.expect("close");
    let mut answer = Vec::new();
    client.read_to_end(&mut answer).await.expect("receive the answer");
    assert_eq!(answer, b"answer");
}

async fn a_reader_that_stops_stops_the_writer((server, client): (Stream, Stream)) {
    let (mut read, _server) = server.split();
    let (_client, mut write) = client.split();
    let taken = fill(&mut write);
    assert!(taken < NO_TRANSPORT_BUFFERS, "the writer was never stopped");
    let sending = async {
        write.write_all(b"and one more").await.expect("send");
        write.shutdown().await.expect("shutdown");
    };
    let mut got = Vec::new();
    let receiving = async { read.read_to_end(&mut got).await.expect("receive") };
    tokio::join!(sending, receiving);
    assert_eq!(got.len(), taken + b"and one more".len(), "what was taken arrives, once");
    assert!(got.ends_with(b"and one more"));
}

/// Writes until the transport takes no more; how many bytes that was.
fn fill(write: &mut WriteHalf) -> usize {
    let chunk = pattern(64 * 1024);
    let mut taken = 0;
    let mut cx = Context::from_waker(Waker::noop());
    while taken < NO_TRANSPORT_BUFFERS {
        match Pin::new(&mut *write).poll_write(&mut cx, &chunk) {
            Poll::Ready(written) => taken += written.expect("send"),
            Poll::Pending => break,
        }
    }
    taken
}

async fn a_vanished_peer_ends_both_directions((server, client): (Stream, Stream)) {
    drop(client);
    let (mut read, mut write) = server.split();
    let mut byte = [0];
    assert!(matches!(read.read(&mut byte).await, Ok(0) | Err(_)), "the reader sees the end");
    let chunk = pattern(64 * 1024);
    // The first write may still succeed: only its answer tells that nobody is there.
    while write.write_all(&chunk).await.is_ok() && write.flush().await.is_ok() {}
}

async fn both_directions_flow_at_once((server, client): (Stream, Stream)) {
    let there = exchange(server, pattern(1_000_001), 2_000_003);
    let back = exchange(client, pattern(2_000_003), 1_000_001);
    tokio::join!(there, back);
}

async fn exchange(stream: Stream, send: Vec<u8>, expect: usize) {
    let (mut read, mut write) = stream.split();
    let sending = async {
        write.write_all(&send).await.expect("send");
        write.flush().await.expect("flush");
    };
    let mut got = vec![0; expect];
    let receiving = async { read.read_exact(&mut got).await.expect("receive") };
    tokio::join!(sending, receiving);
    assert!(got == pattern(expect), "every byte in its place");
    write.shutdown().await.expect("shutdown");
}

async fn dropping_a_writer_says_nothing((server, client): (Stream, Stream)) {
    let (mut read, write) = server.split();
    drop(write);
    let (mut their_read, mut their_write) = client.split();
    let mut byte = [0];
    let mut reading = std::pin::pin!(their_read.read(&mut byte));
    let end = poll_fn(|cx| Poll::Ready(reading.as_mut().poll(cx))).await;
    assert!(end.is_pending(), "no end was sent: {end:?}");
    their_write.write_all(b"!").await.expect("send");
    their_write.flush().await.expect("flush");
    assert_eq!(read.read_u8().await.expect("receive"), b'!');
}

fn pattern(length: usize) -> Vec<u8> {
    (0..length).map(|i| (i % 251) as u8).collect()
}
