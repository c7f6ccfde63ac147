//! A small WebSocket server that plays an endpoint: it says its name to whoever comes, repeats what it hears, and has
//! moods. What it was asked for is kept, but for connections that ask nothing.

use std::net::SocketAddr;
use std::sync::atomic::{AtomicU8, AtomicU16, Ordering::Relaxed};
use std::sync::{Arc, Mutex};

use serde_json::Value;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::task::{JoinHandle, JoinSet};
use tokio::time::timeout;
use whub_ws::{Opcode, Role, encode_frame};

use crate::browser::{Answer, Browser};
use crate::common::{Node, SOON};
use crate::multiplexer::{Said, Talker};

const HANDSHAKE: &str = "Connection: Upgrade\nUpgrade: websocket\nSec-WebSocket-Version: 13\n\
                         Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==";

/// The status with which an actor in a mood says nothing at all.
pub(crate) const MUTE: u16 = 0;

/// An endpoint. It is gone, with all its connections, when it is dropped.
pub(crate) struct Actor {
    pub(crate) url: String,
    address: SocketAddr,
    stage: Arc<Stage>,
    serving: JoinHandle<()>,
}

struct Stage {
    name: String,
    /// How it answers who wants a WebSocket: 101, or with a refusal.
    upgrades: AtomicU16,
    /// How it answers other requests.
    answers: AtomicU16,
    heads: Mutex<Vec<String>>,
}

impl Actor {
    pub(crate) async fn open(name: &str) -> Self {
        Self::at(name, own_address()).await
    }

    pub(crate) async fn at(name: &str, address: SocketAddr) -> Self {
        let listener = TcpListener::bind(address).await.unwrap();
        let address = listener.local_addr().unwrap();
        let stage = Arc::new(Stage {
            name: name.to_owned(),
            upgrades: AtomicU16::new(101),
            answers: AtomicU16::new(200),
            heads: Mutex::default(),
        });
        let serving = tokio::spawn(serve(listener, Arc::clone(&stage)));
        Self { url: format!("ws://{address}/"), address, stage, serving }
    }

    pub(crate) fn upgrades(&self, status: u16) {
        self.stage.upgrades.store(status, Relaxed);
    }

    pub(crate) fn answers(&self, status: u16) {
        self.stage.answers.store(status, Relaxed);
    }

    /// The heads of all requests so far.
    pub(crate) fn heads(&self) -> Vec<String> {
        self.stage.heads.lock().unwrap().clone()
    }

    /// Its end, after which nobody listens at its address.
    pub(crate) async fn die(self) -> SocketAddr {
        let address = self.address;
        self.serving.abort();
        while !self.serving.is_finished() {
            tokio::task::yield_now().await;
        }
        address
    }
}

impl Drop for Actor {
    fn drop(&mut self) {
        self.serving.abort();
    }
}

/// An address of this machine that nobody else has, on a port that the system chooses. So nobody comes to listen there while
/// an actor is gone.
pub(crate) fn own_address() -> SocketAddr {
    static ADDRESSES: AtomicU8 = AtomicU8::new(0);
    let [.., high, low] = std::process::id().to_be_bytes();
    let last = 1 + ADDRESSES.fetch_add(1, Relaxed) % 254;
    // All of 127.0.0.0/8 is this machine; 127.0 is everybody's.
    SocketAddr::from(([127, high.max(1), low, last], 0))
}

async fn serve(listener: TcpListener, stage: Arc<Stage>) {
    let mut visits = JoinSet::new();
    loop {
        let (socket, _) = listener.accept().await.unwrap();
        visits.spawn(visit(socket, Arc::clone(&stage)));
    }
}

/// One connection. `None` when it ends.
async fn visit(mut socket: TcpStream, stage: Arc<Stage>) -> Option<()> {
    let mut head = Vec::new();
    while !head.ends_with(b"\r\n\r\n") {
        if socket.read_buf(&mut head).await.ok()? == 0 {
            return None;
        }
    }
    let head = String::from_utf8(head).unwrap();
    stage.heads.lock().unwrap().push(head.clone());
    let key = field(&head, "sec-websocket-key");
    let status = if key.is_some() { &stage.upgrades } else { &stage.answers }.load(Relaxed);
    match (status, key) {
        (MUTE, _) => std::future::pending().await,
        (101, Some(key)) => {
            let accept = whub_ws::handshake::accept_key(key.as_bytes());
            let mut answer = format!(
                "HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n\
                 Sec-WebSocket-Accept: {accept}\r\n\r\n"
            )
            .into_bytes();
            encode_frame(&mut answer, Opcode::Text, stage.name.as_bytes());
            socket.write_all(&answer).await.ok()?;
            let mut talker = Talker::new(socket, Role::Server);
            while let Said::Text(text) = talker.hear().await {
                talker.say(&text).await;
            }
        }
        (status, _) => {
            let body = &stage.name;
            let answer = format!("HTTP/1.1 {status} So\r\nContent-Length: {}\r\n\r\n{body}", body.len());
            socket.write_all(answer.as_bytes()).await.ok()?;
        }
    }
    Some(())
}

/// The value of a field in the head of a request.
pub(crate) fn field<'a>(head: &'a str, name: &str) -> Option<&'a str> {
    head.lines()
        .find_map(|line| line.split_once(": ").filter(|(known, _)| known.eq_ignore_ascii_case(name)))
        .map(|(_, value)| value)
}

/// Asks a node for a WebSocket.
pub(crate) async fn upgrade(node: &Node, path: &str, fields: &str) -> (Browser, Answer) {
    let mut browser = Browser::visit(node).await;
    let answer = browser.ask(&format!("GET {path}\n{HANDSHAKE}\n{fields}"), b"").await;
    (browser, answer)
}

/// A WebSocket with an endpoint, and which actor answers there.
pub(crate) async fn meet(node: &Node, endpoint: &str) -> (Browser, String) {
    let (mut browser, answer) = upgrade(node, &format!("/gateway/{endpoint}"), "").await;
    assert_eq!(answer.status, 101, "{answer:?}");
    let head = browser.exactly(2).await;
    let name = browser.exactly(head[1].into()).await;
    (browser, String::from_utf8(name).unwrap())
}

/// Status, slug and words of a refusal.
pub(crate) fn refusal(answer: &Answer) -> (u16, String, String) {
    let problem = answer.json();
    let text = |member: &str| problem[member].as_str().unwrap_or_default().to_owned();
    (answer.status, text("slug"), text("detail"))
}

/// What `/v1/endpoints` says of an endpoint.
pub(crate) async fn report(node: &Node, endpoint: &str) -> Value {
    Browser::visit(node).await.ask(&format!("GET /v1/endpoints/{endpoint}"), b"").await.json()
}

/// What it says as soon as a condition holds, which nothing announces.
pub(crate) async fn report_when(node: &Node, endpoint: &str, condition: impl Fn(&Value) -> bool) -> Value {
    let waiting = async {
        loop {
            let report = report(node, endpoint).await;
            if condition(&report) {
                return report;
            }
        }
    };
    timeout(SOON, waiting).await.expect("the condition comes true in time")
}

/// What it says as soon as the endpoint is up, or down.
pub(crate) async fn report_when_up(node: &Node, endpoint: &str, up: bool) -> Value {
    report_when(node, endpoint, |report| report["up"] == up).await
}
