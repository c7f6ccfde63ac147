//! The client's side, and what it says when it fails.

mod common;

use std::time::Duration;

use common::{Folder, PATIENCE, dialer, listen, self_signed};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use whub_transport::dial::connect;
use whub_transport::{DialError, DialOptions, Dialer, LocalAddress, Stream, TransportCounters, Trust};

#[tokio::test]
async fn tcp_and_unix_are_bare_sockets() {
    let folder = Folder::new();
    for address in ["127.0.0.1:0".to_owned(), format!("unix:{}", folder.file("hub").display())] {
        let listener = listen(&address).await;
        let url = match listener.local_addr() {
            LocalAddress::Tcp(at) => format!("tcp://{at}"),
            unix @ (LocalAddress::Unix(_) | LocalAddress::Memory) => unix.to_string(),
        };
        let url = url.parse().expect("a URL");
        let options = DialOptions::default();
        let (accepted, client) = tokio::join!(listener.accept(), connect(&url, &options));
        let (mut server, mut client) = (accepted.stream, client.expect("a connection"));
        assert!(matches!(client, Stream::Tcp(_) | Stream::Unix(_)), "{client:?}");
        if let Stream::Tcp(socket) = &client {
            assert!(socket.nodelay().expect("asked"));
        }
        client.write_all(b"x").await.expect("send");
        assert_eq!(server.read_u8().await.expect("receive"), b'x');
    }
}

#[tokio::test]
async fn a_dialer_dials_again() {
    let listener = listen("127.0.0.1:0").await;
    let tls = self_signed();
    let client = dialer("tls", &listener, Trust::Pinned(tls.fingerprint()));
    for _ in 0..3 {
        let counters = TransportCounters::default();
        let serving = async {
            let accepted = listener.accept().await;
            tls.accept(accepted.stream, PATIENCE, &counters).await
        };
        let (server, client) = tokio::join!(serving, client.connect());
        server.expect("agreed");
        client.expect("a connection");
    }
}

#[tokio::test]
async fn localhost_finds_whichever_family_listens() {
    for address in ["127.0.0.1:0", "[::1]:0"] {
        let Ok(listener) =
            whub_transport::Listener::bind(&common::address(address), Default::default()).await
        else {
            eprintln!("not tested: {address} cannot be bound here");
            continue;
        };
        let LocalAddress::Tcp(at) = listener.local_addr().clone() else { panic!("TCP") };
        let url = format!("ws://localhost:{}", at.port()).parse().expect("a URL");
        let options = DialOptions::default();
        let (_, client) = tokio::join!(listener.accept(), connect(&url, &options));
        client.expect("a connection");
    }
}

#[tokio::test]
async fn nobody_there_is_named_and_worth_a_retry() {
    let listener = listen("127.0.0.1:0").await;
    let client = dialer("ws", &listener, Trust::System);
    let shown = listener.local_addr().to_string();
    drop(listener);
    let error = client.connect().await.expect_err("refused");
    assert!(matches!(error, DialError::Unreachable { .. }) && error.is_retryable(), "{error}");
    assert!(error.to_string().contains(&shown), "{error}");
    let folder = Folder::new();
    let url = format!("unix:{}", folder.file("none").display()).parse().expect("a URL");
    let error = connect(&url, &DialOptions::default()).await.expect_err("no file");
    assert!(error.to_string().contains("none") && error.is_retryable(), "{error}");
}

#[tokio::test]
async fn a_server_that_says_nothing_is_waited_for_only_so_long() {
    let listener = listen("127.0.0.1:0").await;
    let url = format!("wss://{}", listener.local_addr()).parse().expect("a URL");
    let connect_within = Duration::from_millis(50);
    let client = Dialer::new(url, DialOptions { connect_within, ..DialOptions::default() });
    let (_silent, outcome) = tokio::join!(listener.accept(), client.connect());
    let error = outcome.expect_err("silence");
    assert!(error.is_timeout() && error.is_retryable(), "{error}");
}

#[tokio::test]
async fn a_server_without_tls_is_told_apart_from_an_untrusted_one() {
    let listener = listen("127.0.0.1:0").await;
    let client = dialer("wss", &listener, Trust::Anything);
    let plain = async {
        let mut accepted = listener.accept().await;
        accepted.stream.write_all(b"HTTP/1.1 400 Bad Request\r\n\r\n").await.expect("send");
        accepted.stream
    };
    let (_server, outcome) = tokio::join!(plain, client.connect());
    let error = outcome.expect_err("no TLS");
    assert!(matches!(error, DialError::Tls { .. }) && !error.is_untrusted(), "{error}");
}
