//! A hub that says exactly what a test tells it to, at the other end of a pipe.

#![allow(
    dead_code,
    unreachable_pub,
    clippy::unwrap_used,
    reason = "each test file is a crate that uses a part of it"
)]

use std::io;
use std::sync::Arc;
use std::time::Duration;

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::sync::mpsc;
use whub_client::{Client, Connect, connect};
use whub_proto::{Body, Failure, Flags, Frame, Head, Kind, Origin, Success, Via, Welcome, Writer};
use whub_transport::{Stream, pipe::pipe, preface::PREFACE};

/// Long for a test, short for a person.
const PATIENCE: Duration = Duration::from_secs(60);

/// Where the client's connections arrive.
pub struct FakeHub {
    dialled: mpsc::UnboundedReceiver<Stream>,
    /// While held, dialling fails.
    pub refuse: Arc<std::sync::atomic::AtomicBool>,
}

/// A hub and the options of a client that dials it.
pub fn fake_hub() -> (FakeHub, Connect) {
    let (dialling, dialled) = mpsc::unbounded_channel();
    let refuse = Arc::new(std::sync::atomic::AtomicBool::new(false));
    let refusing = Arc::clone(&refuse);
    let options = connect("tcp://fake").dial_with(move || {
        let (dialling, refusing) = (dialling.clone(), Arc::clone(&refusing));
        async move {
            if refusing.load(std::sync::atomic::Ordering::Relaxed) {
                return Err(io::Error::from(io::ErrorKind::ConnectionRefused));
            }
            let (ours, theirs) = pipe(64 * 1024);
            dialling.send(theirs).map_err(|_| io::Error::from(io::ErrorKind::ConnectionRefused))?;
            Ok(ours)
        }
    });
    (FakeHub { dialled, refuse }, options)
}

/// A client with an open connection.
pub async fn open() -> (FakeHub, FakeConnection, Client) {
    let (mut hub, options) = fake_hub();
    let (connection, client) = open_with(&mut hub, options).await;
    (hub, connection, client)
}

/// The same with options.
pub async fn open_with(hub: &mut FakeHub, options: Connect) -> (FakeConnection, Client) {
    let client = tokio::spawn(options.into_future());
    let mut connection = hub.accept().await;
    connection.welcome().await;
    (connection, client.await.unwrap().unwrap())
}

impl FakeHub {
    /// The next connection, after its preface.
    pub async fn accept(&mut self) -> FakeConnection {
        let mut stream = within(self.dialled.recv()).await.expect("the client still dials");
        let mut preface = [0; 5];
        stream.read_exact(&mut preface).await.unwrap();
        assert_eq!(preface, PREFACE);
        FakeConnection { stream, writer: Writer::new() }
    }
}

/// One connection, seen by the hub.
pub struct FakeConnection {
    stream: Stream,
    writer: Writer,
}

/// A frame of the client.
pub struct Heard {
    bytes: Vec<u8>,
}

impl Heard {
    pub fn frame(&self) -> Frame<'_> {
        Frame::parse(&self.bytes, usize::MAX, Origin::Client).expect("clients send sound frames")
    }

    pub fn id(&self) -> u64 {
        self.frame().head.id
    }

    pub fn flags(&self) -> Flags {
        self.frame().head.flags
    }

    pub fn payload(&self) -> &[u8] {
        self.frame().payload
    }
}

impl FakeConnection {
    /// Reads `Hello`, answers with the defaults.
    pub async fn welcome(&mut self) {
        self.welcome_with(Welcome { client: "c1", node: "n1", ..Welcome::default() }).await;
    }

    pub async fn welcome_with(&mut self, welcome: Welcome<'_>) {
        self.hear(Kind::Hello).await;
        self.say(0, &Body::Welcome(welcome)).await;
    }

    /// The next frame, which must be of this kind.
    pub async fn hear(&mut self, kind: Kind) -> Heard {
        let heard = self.hear_any().await.expect("the client is still connected");
        assert_eq!(heard.frame().head.kind, kind, "{:?}", heard.frame());
        heard
    }

    /// The next frame; `None` when the client has ended the connection.
    pub async fn hear_any(&mut self) -> Option<Heard> {
        let mut length = [0; 4];
        within(self.stream.read_exact(&mut length)).await.ok()?;
        let mut bytes = vec![0; u32::from_le_bytes(length) as usize];
        within(self.stream.read_exact(&mut bytes)).await.ok()?;
        Some(Heard { bytes })
    }

    pub async fn say(&mut self, id: u64, body: &Body<'_>) {
        self.say_with(id, Flags::NONE, None, body, b"").await;
    }

    pub async fn say_with(
        &mut self,
        id: u64,
        flags: Flags,
        via: Option<&Via<'_>>,
        body: &Body<'_>,
        payload: &[u8],
    ) {
        let mut frame = Vec::new();
        self.writer.frame(&mut frame, Head::new(Kind::None, id).with(flags), via, body, payload).unwrap();
        self.say_bytes(&frame).await;
    }

    pub async fn say_bytes(&mut self, frame: &[u8]) {
        let length = u32::try_from(frame.len()).unwrap();
        self.stream.write_all(&length.to_le_bytes()).await.unwrap();
        self.stream.write_all(frame).await.unwrap();
    }

    pub async fn agree(&mut self, id: u64) {
        self.say(id, &Body::Ok(Success::default())).await;
    }

    pub async fn refuse(&mut self, id: u64, failure: Failure<'_>) {
        self.say(id, &Body::Error(failure)).await;
    }
}

/// Fails a test that would hang.
pub async fn within<T>(future: impl Future<Output = T>) -> T {
    tokio::time::timeout(PATIENCE, future).await.expect("something happens in time")
}
