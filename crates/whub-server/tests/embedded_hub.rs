//! The example that runs a hub inside another program is built, run and used.

#![cfg(unix)] // It is stopped by a signal.
#![allow(clippy::unwrap_used)] // A failed unwrap is a failed test.

mod common;

use std::path::PathBuf;
use std::process::Stdio;

use common::{Client, SOON};
use tokio::io::{AsyncBufReadExt, AsyncReadExt, AsyncWriteExt, BufReader, Lines};
use tokio::net::TcpStream;
use tokio::process::{Child, ChildStdout, Command};
use whub_proto::{Body, Flags, Hello, Kind};
use whub_transport::preface::PREFACE;

/// The example, built as this test is.
async fn build() -> PathBuf {
    let mut cargo = Command::new(env!("CARGO"));
    cargo.args(["build", "--quiet", "--package", "whub-server", "--example", "embedded_hub"]);
    // target/<profile>/deps/<this test>
    let folder = std::env::current_exe().unwrap().parent().unwrap().parent().unwrap().to_owned();
    let target = folder.parent().unwrap();
    cargo.arg("--target-dir").arg(target);
    if folder.ends_with("release") {
        cargo.arg("--release");
    }
    assert!(cargo.status().await.unwrap().success(), "the example builds");
    folder.join("examples").join("embedded_hub")
}

struct Embedded {
    process: Child,
    lines: Lines<BufReader<ChildStdout>>,
    authority: String,
}

impl Embedded {
    async fn start() -> Self {
        let mut command = Command::new(build().await);
        command.arg("127.0.0.1:0").stdout(Stdio::piped()).kill_on_drop(true);
        let mut process = command.spawn().unwrap();
        let mut lines = BufReader::new(process.stdout.take().unwrap()).lines();
        let first = tokio::time::timeout(SOON, lines.next_line()).await.unwrap().unwrap().unwrap();
        let authority = first.strip_prefix("listening on ws://").unwrap().to_owned();
        Self { process, lines, authority }
    }

    /// The whole answer to an HTTP request.
    async fn ask(&self, line: &str, fields: &str, body: &str) -> String {
        let mut socket = TcpStream::connect(&self.authority).await.unwrap();
        let length = body.len();
        let head = format!(
            "{line} HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n{fields}Content-Length: {length}\r\n\r\n"
        );
        socket.write_all(head.as_bytes()).await.unwrap();
        socket.write_all(body.as_bytes()).await.unwrap();
        let mut answer = String::new();
        tokio::time::timeout(SOON, socket.read_to_string(&mut answer)).await.unwrap().unwrap();
        answer
    }

    async fn client(&self) -> Client {
        let mut socket = TcpStream::connect(&self.authority).await.unwrap();
        socket.write_all(&PREFACE).await.unwrap();
        let mut client = Client { socket };
        client.say(0, &Body::Hello(Hello::default())).await;
        assert_eq!(client.hear().await.kind, Kind::Welcome);
        client
    }
}

#[tokio::test]
async fn the_embedded_hub_serves_its_module_and_stops_in_order() {
    let mut hub = Embedded::start().await;
    // A service of the process.
    let signed = hub.ask("POST /guests", "", "Ada was here").await;
    assert!(signed.starts_with("HTTP/1.1 201 ") && signed.ends_with("thank you\n"), "{signed}");
    // The middleware, on the way in and on the way out.
    assert!(signed.contains("x-answer-number: 1\r\n"), "{signed}");
    let refused = hub.ask("GET /guests", "X-Guest: mallory\r\n", "").await;
    assert!(refused.starts_with("HTTP/1.1 403 ") && refused.contains("guests.unwelcome"), "{refused}");
    // A frame of the program's own kind, and one that nobody knows.
    let mut client = hub.client().await;
    client.send(1, Flags::TEXT, &Body::Unknown(128), b"Bob was here").await;
    let heard = client.hear().await;
    assert_eq!((heard.kind, heard.id), (Kind::Unknown(128), 1));
    assert!(heard.payload.starts_with(b"welcome c-") && heard.payload.ends_with(b", one of 1"), "{heard:?}");
    client.send(3, Flags::NONE, &Body::Unknown(129), b"").await;
    assert_eq!(client.hear().await.kind, Kind::Error);
    let book = hub.ask("GET /guests", "", "").await;
    assert!(book.contains(r#"["the book is opened","Ada was here","Bob was here"]"#), "{book}");
    assert!(hub.ask("GET /status/info", "", "").await.contains(r#""id":"guests""#));
    // Stopped as from a terminal: the client is told, the module drained and stopped.
    let id = hub.process.id().unwrap().to_string();
    assert!(Command::new("kill").args(["-INT", &id]).status().await.unwrap().success());
    assert_eq!(client.hear().await.kind, Kind::Drain);
    let last = tokio::time::timeout(SOON, hub.lines.next_line()).await.unwrap().unwrap();
    assert_eq!(last.as_deref(), Some("4 entries"));
    let status = tokio::time::timeout(SOON, hub.process.wait()).await.unwrap().unwrap();
    assert!(status.success(), "{status}");
}
