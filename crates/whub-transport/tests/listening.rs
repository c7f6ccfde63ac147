//! Binding and accepting.

mod common;

use std::io::ErrorKind;
use std::net::Ipv4Addr;
use std::os::unix::fs::PermissionsExt;
use std::sync::Arc;
use std::sync::atomic::Ordering;

use common::{Folder, address, connect, listen, listen_counted, meet};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use whub_transport::{Listener, LocalAddress, PeerAddress, Stream};

#[tokio::test]
async fn port_zero_becomes_a_real_port() {
    let (listener, counters) = listen_counted("127.0.0.1:0").await;
    let LocalAddress::Tcp(at) = listener.local_addr().clone() else { panic!("TCP") };
    assert_ne!(at.port(), 0);
    assert_eq!(listener.local_addr().url(false), format!("ws://127.0.0.1:{}", at.port()));
    assert_eq!(listener.local_addr().url(true), format!("wss://127.0.0.1:{}", at.port()));
    let (accepted, client) = meet(&listener).await;
    let Stream::Tcp(client) = client else { panic!("TCP") };
    assert_eq!(accepted.peer, PeerAddress::Tcp(client.local_addr().expect("bound")));
    let Stream::Tcp(server) = accepted.stream else { panic!("TCP") };
    assert!(server.nodelay().expect("asked"), "small messages leave at once");
    assert_eq!(counters.accepted.load(Ordering::Relaxed), 1);
}

#[tokio::test]
async fn localhost_is_never_looked_up() {
    let listener = listen("localhost:0").await;
    let LocalAddress::Tcp(at) = listener.local_addr() else { panic!("TCP") };
    assert!(at.ip().is_loopback());
}

#[tokio::test]
async fn the_ipv6_wildcard_serves_ipv4_too() {
    let Ok(listener) = Listener::bind(&address("[::]:0"), Arc::default()).await else {
        eprintln!("not tested: this machine has no IPv6");
        return;
    };
    let LocalAddress::Tcp(at) = listener.local_addr().clone() else { panic!("TCP") };
    let client = TcpStream::connect((Ipv4Addr::LOCALHOST, at.port())).await.expect("connect over IPv4");
    let shown = listener.accept().await.peer;
    assert_eq!(shown, PeerAddress::Tcp(client.local_addr().expect("bound")), "shown as IPv4");
}

#[tokio::test]
async fn a_taken_port_is_named() {
    let listener = listen("127.0.0.1:0").await;
    let taken = listener.local_addr().to_string();
    let error = Listener::bind(&address(&taken), Arc::default()).await.expect_err("taken");
    assert_eq!(error.kind(), ErrorKind::AddrInUse);
    assert!(error.to_string().contains(&taken), "{error}");
}

#[tokio::test]
async fn a_restart_finds_its_port_free() {
    let listener = listen("127.0.0.1:0").await;
    let LocalAddress::Tcp(at) = listener.local_addr().clone() else { panic!("TCP") };
    let (mut accepted, mut client) = meet(&listener).await;
    // The server closes first, so its side lingers in TIME_WAIT.
    accepted.stream.shutdown().await.expect("close");
    client.read_to_end(&mut Vec::new()).await.expect("to the end");
    drop((client, accepted, listener));
    Listener::bind(&at.into(), Arc::default()).await.expect("bound again at once");
}

#[tokio::test]
async fn a_unix_socket_is_private_and_leaves_nothing_behind() {
    let folder = Folder::new();
    let path = folder.file("hub");
    let listener = listen(&format!("unix:{}", path.display())).await;
    let mode = std::fs::metadata(&path).expect("there").permissions().mode();
    assert_eq!(mode & 0o777, 0o600);
    let (mut accepted, mut client) = meet(&listener).await;
    assert_eq!(accepted.peer, PeerAddress::Unix);
    assert_eq!(listener.local_addr().url(false), format!("unix:{}", path.display()));
    client.write_all(b"hi").await.expect("send");
    assert_eq!(accepted.stream.read_u16().await.expect("receive"), u16::from_be_bytes(*b"hi"));
    drop(listener);
    assert!(!path.exists(), "the file goes with its listener");
}

#[tokio::test]
async fn a_dead_hubs_socket_is_replaced_a_living_ones_is_not() {
    let folder = Folder::new();
    let path = folder.file("hub");
    let text = format!("unix:{}", path.display());
    // A socket of the standard library leaves its file behind, as a killed hub does.
    drop(std::os::unix::net::UnixListener::bind(&path).expect("bind"));
    let listener = listen(&text).await;
    let error = Listener::bind(&address(&text), Arc::default()).await.expect_err("in use");
    assert_eq!(error.kind(), ErrorKind::AddrInUse);
    connect(&listener).await;
}

#[tokio::test]
async fn a_file_in_the_way_is_not_touched() {
    let folder = Folder::new();
    let path = folder.file("precious");
    std::fs::write(&path, "text").expect("written");
    let text = format!("unix:{}", path.display());
    let error = Listener::bind(&address(&text), Arc::default()).await.expect_err("in the way");
    assert_eq!(error.kind(), ErrorKind::AlreadyExists);
    assert_eq!(std::fs::read_to_string(&path).expect("still there"), "text");
}

#[tokio::test]
async fn a_successors_socket_survives_the_end_of_its_predecessor() {
    let folder = Folder::new();
    let path = folder.file("hub");
    let text = format!("unix:{}", path.display());
    let old = listen(&text).await;
    std::fs::remove_file(&path).expect("somebody cleaned up");
    let new = listen(&text).await;
    drop(old);
    assert!(path.exists());
    connect(&new).await;
}

#[tokio::test]
async fn a_hub_too_busy_to_answer_keeps_its_socket() {
    let folder = Folder::new();
    let path = folder.file("hub");
    let busy = socket2::Socket::new(socket2::Domain::UNIX, socket2::Type::STREAM, None).expect("a socket");
    busy.bind(&socket2::SockAddr::unix(&path).expect("a path")).expect("bind");
    busy.listen(0).expect("listen");
    let _queued = std::os::unix::net::UnixStream::connect(&path).expect("the one that fits");
    let text = format!("unix:{}", path.display());
    let error = Listener::bind(&address(&text), Arc::default()).await.expect_err("in use");
    assert_eq!(error.kind(), ErrorKind::AddrInUse);
}
