//! Pairs of connected streams, one factory per transport.
#![allow(dead_code, reason = "each test file uses its part")]

use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use tokio::net::{TcpStream, UnixStream};
use whub_transport::{
    Accepted, Alpn, DialOptions, Dialer, ListenAddress, Listener, LocalAddress, Stream, TlsAcceptor,
    TransportCounters, Trust, pipe,
};

/// Longer than anything here takes, so that a hang becomes a failure.
pub(crate) const PATIENCE: Duration = Duration::from_secs(60);

/// A folder that goes away with the test.
pub(crate) struct Folder(pub(crate) PathBuf);

impl Folder {
    pub(crate) fn new() -> Self {
        static NEXT: AtomicU64 = AtomicU64::new(0);
        loop {
            let name = format!("whub-{}-{}", std::process::id(), NEXT.fetch_add(1, Ordering::Relaxed));
            let path = std::env::temp_dir().join(name);
            match std::fs::create_dir(&path) {
                Ok(()) => return Self(path),
                // Left by a run that was killed, whose process id was ours.
                Err(error) => assert_eq!(error.kind(), std::io::ErrorKind::AlreadyExists, "{error}"),
            }
        }
    }

    pub(crate) fn file(&self, name: &str) -> PathBuf {
        self.0.join(name)
    }
}

impl Drop for Folder {
    fn drop(&mut self) {
        let _ = std::fs::remove_dir_all(&self.0);
    }
}

pub(crate) fn address(text: &str) -> ListenAddress {
    text.parse().expect(text)
}

pub(crate) async fn listen(text: &str) -> Listener {
    Listener::bind(&address(text), Arc::default()).await.expect("bind")
}

pub(crate) async fn listen_counted(text: &str) -> (Listener, Arc<TransportCounters>) {
    let counters = Arc::new(TransportCounters::default());
    (Listener::bind(&address(text), counters.clone()).await.expect("bind"), counters)
}

/// A client's bare connection to a listener.
pub(crate) async fn connect(listener: &Listener) -> Stream {
    match listener.local_addr() {
        LocalAddress::Tcp(at) => TcpStream::connect(at).await.expect("connect").into(),
        LocalAddress::Unix(path) => UnixStream::connect(path).await.expect("connect").into(),
        LocalAddress::Memory => panic!("no listener is in memory"),
    }
}

/// Both ends of a connection through a listener: the accepted one and the client's.
pub(crate) async fn meet(listener: &Listener) -> (Accepted, Stream) {
    let client = connect(listener).await;
    (listener.accept().await, client)
}

pub(crate) async fn tcp_v4() -> (Stream, Stream) {
    let (server, client) = meet(&listen("127.0.0.1:0").await).await;
    (server.stream, client)
}

/// `None` where the machine has no IPv6 loopback.
pub(crate) async fn tcp_v6() -> Option<(Stream, Stream)> {
    let listener = Listener::bind(&address("[::1]:0"), Arc::default()).await.ok()?;
    let (server, client) = meet(&listener).await;
    Some((server.stream, client))
}

pub(crate) async fn unix() -> (Stream, Stream) {
    let folder = Folder::new();
    let (server, client) = meet(&listen(&format!("unix:{}", folder.file("hub").display())).await).await;
    (server.stream, client)
}

pub(crate) fn memory() -> (Stream, Stream) {
    pipe::pipe(64 * 1024)
}

pub(crate) fn self_signed() -> TlsAcceptor {
    TlsAcceptor::self_signed(&[]).expect("a certificate")
}

/// A client for `scheme://` the listener's address.
pub(crate) fn dialer(scheme: &str, listener: &Listener, trust: Trust) -> Dialer {
    let url = format!("{scheme}://{}", listener.local_addr()).parse().expect("a URL");
    Dialer::new(url, DialOptions { trust, ..DialOptions::default() })
}

/// Both ends of a TLS connection over TCP, with the own protocol agreed.
pub(crate) async fn tls() -> (Stream, Stream) {
    let listener = listen("127.0.0.1:0").await;
    let tls = self_signed();
    let client = dialer("tls", &listener, Trust::Pinned(tls.fingerprint()));
    let serving = async {
        let accepted = listener.accept().await;
        tls.accept(accepted.stream, PATIENCE, &TransportCounters::default()).await.expect("a handshake")
    };
    let ((server, alpn), client) = tokio::join!(serving, client.connect());
    assert_eq!(alpn, Alpn::Own);
    (server, client.expect("a connection"))
}
