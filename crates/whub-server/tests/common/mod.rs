//! A real node on port 0, and a client that speaks frames by hand.

// Each test file uses a part of this, and a failed unwrap is a failed test.
#![allow(dead_code, clippy::unwrap_used)]

use std::sync::Arc;
use std::time::Duration;

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::sync::oneshot;
use tokio::task::JoinHandle;
use whub_core::{Hub, Packet};
use whub_proto::{Body, Flags, Frame, Head, Hello, Kind, Origin, Register, Subscribe};
use whub_server::{Handle, Server, ServerBuilder, config::Config};
use whub_transport::preface::PREFACE;

/// Longer than anything here takes on a busy machine.
pub(crate) const SOON: Duration = Duration::from_secs(60);

/// A running node.
pub(crate) struct Node {
    pub(crate) url: String,
    pub(crate) hub: Arc<Hub>,
    pub(crate) handle: Handle,
    stop: Option<oneshot::Sender<()>>,
    pub(crate) running: JoinHandle<()>,
}

impl Node {
    pub(crate) async fn start() -> Self {
        Self::with(|_| {}).await
    }

    pub(crate) async fn with(change: impl FnOnce(&mut Config)) -> Self {
        Self::built(change, |builder| builder).await
    }

    /// A node with more modules than every node has.
    pub(crate) async fn built(
        change: impl FnOnce(&mut Config),
        build: impl FnOnce(ServerBuilder) -> ServerBuilder,
    ) -> Self {
        let mut config = Config { listen: vec!["127.0.0.1:0".parse().unwrap()], ..Config::default() };
        change(&mut config);
        let server = build(Server::builder(config).name("test")).build().await.unwrap();
        let (url, handle) = (server.urls().remove(0), server.handle());
        let (stop, stopped) = oneshot::channel::<()>();
        let running = tokio::spawn(server.run(async move { drop(stopped.await) }));
        Self { url, hub: Arc::clone(handle.hub()), handle, stop: Some(stop), running }
    }

    /// `host:port`.
    pub(crate) fn authority(&self) -> &str {
        self.url.split_once("//").unwrap().1
    }

    pub(crate) fn stop(&mut self) {
        self.stop.take();
    }

    /// Waits until a condition holds that nothing announces, such as a counter's value.
    pub(crate) async fn until(&self, condition: impl Fn(&Hub) -> bool) {
        let waiting = async {
            while !condition(&self.hub) {
                tokio::task::yield_now().await;
            }
        };
        tokio::time::timeout(SOON, waiting).await.expect("the condition comes true in time");
    }

    /// A connection over TCP that has not said Hello.
    pub(crate) async fn stranger(&self) -> Client {
        let mut socket = TcpStream::connect(self.authority()).await.unwrap();
        socket.set_nodelay(true).unwrap();
        socket.write_all(&PREFACE).await.unwrap();
        Client { socket }
    }

    /// A welcomed client over TCP.
    pub(crate) async fn client(&self) -> Client {
        let mut client = self.stranger().await;
        client.say(0, &Body::Hello(Hello::default())).await;
        assert_eq!(client.hear().await.kind, Kind::Welcome);
        client
    }
}

/// A client that speaks frames behind their length.
pub(crate) struct Client {
    pub(crate) socket: TcpStream,
}

/// A frame that came.
#[derive(Debug)]
pub(crate) struct Heard {
    pub(crate) kind: Kind,
    pub(crate) id: u64,
    pub(crate) flags: Flags,
    pub(crate) bytes: Vec<u8>,
    pub(crate) payload: Vec<u8>,
}

impl Client {
    pub(crate) async fn say(&mut self, id: u64, body: &Body<'_>) {
        self.send(id, Flags::NONE, body, b"").await;
    }

    pub(crate) async fn send(&mut self, id: u64, flags: Flags, body: &Body<'_>, payload: &[u8]) {
        self.socket.write_all(&framed(id, flags, body, payload)).await.unwrap();
    }

    pub(crate) async fn subscribe(&mut self, id: u64, filter: &str) {
        self.say(id, &Body::Subscribe(Subscribe { filter, ..Subscribe::default() })).await;
        assert_eq!(self.hear().await.kind, Kind::Ok);
    }

    pub(crate) async fn register(&mut self, id: u64, path: &str) {
        self.say(id, &Body::Register(Register { path, ..Register::default() })).await;
        assert_eq!(self.hear().await.kind, Kind::Ok);
    }

    /// The next frame.
    pub(crate) async fn hear(&mut self) -> Heard {
        self.try_hear().await.expect("a frame, not the end of the connection")
    }

    /// The next frame, or `None` at the end of the connection. Pings, which come when a test is slow, are answered.
    pub(crate) async fn try_hear(&mut self) -> Option<Heard> {
        loop {
            let bytes = tokio::time::timeout(SOON, self.read_frame()).await.expect("a frame in time")?;
            let frame = Frame::parse(&bytes, usize::MAX, Origin::Hub).unwrap();
            let Head { kind, id, flags, .. } = frame.head;
            if kind == Kind::Ping {
                // The hub may have ended the connection since.
                let _ = self.socket.write_all(&framed(id, Flags::NONE, &Body::Pong, frame.payload)).await;
                continue;
            }
            let payload = frame.payload.to_vec();
            return Some(Heard { kind, id, flags, bytes, payload });
        }
    }

    async fn read_frame(&mut self) -> Option<Vec<u8>> {
        let length = self.socket.read_u32_le().await.ok()?;
        let mut bytes = vec![0; length as usize];
        self.socket.read_exact(&mut bytes).await.ok()?;
        Some(bytes)
    }
}

impl Heard {
    pub(crate) fn frame(&self) -> Frame<'_> {
        Frame::parse(&self.bytes, usize::MAX, Origin::Hub).unwrap()
    }
}

/// A frame behind its length.
pub(crate) fn framed(id: u64, flags: Flags, body: &Body<'_>, payload: &[u8]) -> Vec<u8> {
    let packet = Packet::build_with(body, flags, None, payload);
    let mut bytes = u32::try_from(packet.len()).unwrap().to_le_bytes().to_vec();
    packet.head(id).write(&mut bytes);
    bytes.extend_from_slice(packet.rest());
    bytes
}
