//! The fast path of bare sockets: written to from any thread, at once or not at all.

mod common;

use std::future::poll_fn;
use std::io::{ErrorKind, IoSlice};
use std::sync::Arc;

use tokio::io::AsyncReadExt;
use tokio::time::timeout;
use whub_transport::{DirectWriter, ReadHalf, Stream, WriteHalf};

fn direct(stream: Stream) -> (ReadHalf, DirectWriter) {
    match stream.split() {
        (read, WriteHalf::Direct(writer)) => (read, writer),
        (_, WriteHalf::Queued(_)) => panic!("a bare socket is written to directly"),
    }
}

#[tokio::test]
async fn another_thread_writes_without_waiting() {
    for (server, mut client) in [common::tcp_v4().await, common::unix().await] {
        let (_read, writer) = direct(server);
        let writer = Arc::new(writer);
        let elsewhere = writer.clone();
        std::thread::spawn(move || elsewhere.try_write(b"one ").expect("the socket is empty"))
            .join()
            .expect("thread");
        let two = [IoSlice::new(b"two "), IoSlice::new(b"three")];
        assert_eq!(writer.try_write_vectored(&two).expect("room"), 9);
        let mut got = [0; 13];
        client.read_exact(&mut got).await.expect("receive");
        assert_eq!(&got, b"one two three");
    }
}

#[tokio::test]
async fn a_full_socket_says_so_and_wakes_its_flusher() {
    for (server, mut client) in [common::tcp_v4().await, common::unix().await] {
        let (_read, writer) = direct(server);
        let chunk = vec![7; 64 * 1024];
        let mut taken = 0;
        let full = loop {
            match writer.try_write(&chunk) {
                Ok(written) => taken += written,
                Err(error) => break error,
            }
        };
        assert_eq!(full.kind(), ErrorKind::WouldBlock);
        let emptying = async {
            let mut got = vec![0; taken];
            client.read_exact(&mut got).await.expect("receive");
        };
        let (ready, ()) =
            tokio::join!(timeout(common::PATIENCE, poll_fn(|cx| writer.poll_write_ready(cx))), emptying);
        ready.expect("woken").expect("alive");
        writer.writable().await.expect("alive");
        assert!(writer.try_write(&chunk).expect("room again") > 0);
    }
}

#[tokio::test]
async fn a_half_close_leaves_the_answer_open() {
    for (server, client) in [common::tcp_v4().await, common::unix().await] {
        let (mut read, writer) = direct(server);
        let (mut their_read, their_writer) = direct(client);
        writer.try_write(b"bye").expect("room");
        writer.shutdown_write().expect("alive");
        let mut got = Vec::new();
        their_read.read_to_end(&mut got).await.expect("to the end");
        assert_eq!(got, b"bye");
        their_writer.try_write(b"!").expect("room");
        assert_eq!(read.read_u8().await.expect("receive"), b'!');
    }
}

#[tokio::test]
async fn ending_both_directions_wakes_our_own_reader() {
    for (server, _client) in [common::tcp_v4().await, common::unix().await] {
        let (mut read, writer) = direct(server);
        let mut byte = [0];
        let reading = timeout(common::PATIENCE, read.read(&mut byte));
        let ending = async { writer.shutdown_both().expect("alive") };
        let (end, ()) = tokio::join!(reading, ending);
        assert_eq!(end.expect("woken").expect("an end, no error"), 0);
    }
}

#[tokio::test]
async fn an_abort_resets_the_connection() {
    let (server, mut client) = common::tcp_v4().await;
    let (read, writer) = direct(server);
    while writer.try_write(&[0; 64 * 1024]).is_ok() {}
    writer.abort().expect("alive");
    drop((read, writer));
    let mut rest = Vec::new();
    let error =
        timeout(common::PATIENCE, client.read_to_end(&mut rest)).await.expect("told").expect_err("a reset");
    assert_eq!(error.kind(), ErrorKind::ConnectionReset);
}

#[tokio::test]
async fn only_bare_sockets_are_direct() {
    let (one, _other) = common::memory();
    assert!(!one.split().1.is_direct());
    let (server, _client) = common::tcp_v4().await;
    assert!(server.split().1.is_direct());
}
