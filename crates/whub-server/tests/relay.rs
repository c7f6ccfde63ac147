//! Thousands of clients that arrive at the same instant, by both doors of the pair relay: no two share a seat.

#![allow(clippy::unwrap_used)] // A failed unwrap is a failed test.

mod common;

use std::collections::HashMap;
use std::sync::Arc;

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::sync::Barrier;
use tokio::task::JoinSet;
use whub_server::Server;
use whub_server::config::Config;
use whub_transport::descriptors;

use common::SOON;

/// Pair ids, and clients that join each of them at once.
const IDS: usize = 500;
const CLIENTS: usize = 6;

/// A plain WebSocket whose handshake is done.
struct Half(TcpStream);

impl Half {
    async fn join(authority: &str, path: &str) -> Self {
        let mut socket = TcpStream::connect(authority).await.unwrap();
        socket.set_nodelay(true).unwrap();
        let request = format!(
            "GET {path} HTTP/1.1\r\nHost: {authority}\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\
             Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n"
        );
        socket.write_all(request.as_bytes()).await.unwrap();
        let mut head = Vec::new();
        while !head.ends_with(b"\r\n\r\n") {
            head.push(socket.read_u8().await.unwrap());
        }
        assert!(head.starts_with(b"HTTP/1.1 101"), "{}", String::from_utf8_lossy(&head));
        Self(socket)
    }

    /// The next message, which is a short text.
    async fn hear(&mut self) -> String {
        assert_eq!(self.0.read_u8().await.unwrap(), 0x81, "a text");
        let mut text = vec![0; self.0.read_u8().await.unwrap().into()];
        self.0.read_exact(&mut text).await.unwrap();
        String::from_utf8(text).unwrap()
    }

    async fn say(&mut self, text: &str) {
        // Masked with zeros, which change nothing.
        let mut frame = vec![0x81, 0x80 | u8::try_from(text.len()).unwrap(), 0, 0, 0, 0];
        frame.extend_from_slice(text.as_bytes());
        self.0.write_all(&frame).await.unwrap();
    }

    /// Joins, waits for the partner as the texts say, and learns its name.
    async fn meet(&mut self, name: &str) -> String {
        match self.hear().await.as_str() {
            "/status:connected" => {}
            "/status:waiting" => {
                assert_eq!(self.hear().await, "/remote:open");
                assert_eq!(self.hear().await, "/status:connected");
            }
            other => panic!("{name} was greeted with {other}"),
        }
        self.say(name).await;
        self.hear().await
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn no_two_clients_share_a_seat() {
    // Both ends of every connection are in this process.
    let descriptors = descriptors::raise_limit().unwrap().unwrap_or(u64::MAX);
    let ids = IDS.min(usize::try_from(descriptors / 3).unwrap_or(usize::MAX) / CLIENTS);
    let mut config = Config { listen: vec!["127.0.0.1:0".parse().unwrap()], ..Config::default() };
    config.relay.listen = vec!["127.0.0.1:0".parse().unwrap()];
    config.relay.scope = Some("/scope".to_owned());
    let server = Server::bind(config, "test").await.unwrap();
    let (hub, relay) = (server.urls().remove(0), server.relay_urls().remove(0));
    let tables = Arc::clone(server.handle().hub());
    let hub = hub.strip_prefix("ws://").unwrap().to_owned();
    let relay = relay.strip_prefix("ws://").unwrap().strip_suffix("/scope/").unwrap().to_owned();
    let running = tokio::spawn(server.run(std::future::pending()));

    let start = Arc::new(Barrier::new(ids * CLIENTS));
    let mut clients = JoinSet::new();
    for id in 0..ids {
        for client in 0..CLIENTS {
            let start = Arc::clone(&start);
            let (authority, path) = match client % 2 {
                0 => (hub.clone(), format!("/pair/{id}")),
                _ => (relay.clone(), format!("/scope/{id}")),
            };
            clients.spawn(async move {
                start.wait().await;
                let mut half = Half::join(&authority, &path).await;
                let name = format!("{id}.{client}");
                let partner = half.meet(&name).await;
                // It stays, so that nobody's partner changes.
                (name, partner, half)
            });
        }
    }
    let met = tokio::time::timeout(5 * SOON, clients.join_all()).await.expect("everybody meets somebody");

    let partners: HashMap<&str, &str> = met.iter().map(|(name, partner, _)| (&**name, &**partner)).collect();
    assert_eq!(partners.len(), ids * CLIENTS);
    for (name, partner) in &partners {
        assert_ne!(name, partner, "nobody meets itself");
        assert_eq!(partners.get(partner), Some(name), "the partner of {name} is {partner}");
        assert_eq!(name.split('.').next(), partner.split('.').next(), "pairs have one id");
    }
    assert_eq!(tables.pairs.waiting(), 0);
    running.abort();
}
