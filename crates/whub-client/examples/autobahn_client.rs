//! The client's side of the Autobahn test suite: echoes whatever its server sends, case by case, with
//! permessage-deflate offered.
//!
//! `cargo run -p whub-client --example autobahn_client -- ws://127.0.0.1:9001 [AGENT]`

#![allow(clippy::print_stdout, reason = "a program for people")]

use std::error::Error;
use std::time::Duration;

use whub_client::websocket::{Opening, WebSocket, WebSocketError};
use whub_transport::{DialOptions, Dialer, ServerUrl};
use whub_ws::Limits;

/// Largest message of the suite, with room.
const MESSAGE_BYTES_MAX: usize = 64 << 20;
/// How long the server may take to hang up after the closing handshake.
const LINGER: Duration = Duration::from_secs(1);

#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<(), Box<dyn Error>> {
    let mut arguments = std::env::args().skip(1);
    let url = arguments.next().ok_or("usage: autobahn_client ws://HOST:PORT [AGENT]")?;
    let agent = arguments.next().unwrap_or_else(|| "whub".to_owned());
    let url: ServerUrl = url.parse()?;

    let cases = case_count(&url).await?;
    for case in 1..=cases {
        let target = format!("/runCase?case={case}&agent={agent}");
        // How a case ends is for the suite to judge.
        if let Err(error) = echo(&url, &target).await {
            println!("case {case}: {error}");
        }
    }
    let reports = open(&url, &format!("/updateReports?agent={agent}")).await?;
    drain(reports).await;
    println!("{cases} cases");
    Ok(())
}

async fn case_count(url: &ServerUrl) -> Result<u32, Box<dyn Error>> {
    let mut socket = open(url, "/getCaseCount").await?;
    let (_, payload) = socket.next().await?.ok_or("the server did not say how many cases there are")?;
    let count = std::str::from_utf8(&payload)?.trim().parse()?;
    drain(socket).await;
    Ok(count)
}

async fn echo(url: &ServerUrl, target: &str) -> Result<(), WebSocketError> {
    let mut socket = open(url, target).await?;
    loop {
        match socket.next().await {
            Ok(Some((kind, payload))) => socket.send(kind, &payload).await?,
            Ok(None) => break,
            Err(violation @ WebSocketError::Violation(_)) => {
                socket.linger(LINGER).await;
                return Err(violation);
            }
            Err(error) => return Err(error),
        }
    }
    socket.linger(LINGER).await;
    Ok(())
}

async fn drain(mut socket: WebSocket) {
    while let Ok(Some(_)) = socket.next().await {}
    socket.linger(LINGER).await;
}

async fn open(url: &ServerUrl, target: &str) -> Result<WebSocket, WebSocketError> {
    let stream =
        Dialer::new(url.clone(), DialOptions::default()).connect().await.map_err(std::io::Error::other)?;
    let opening = Opening {
        authority: &url.authority(),
        target,
        protocols: &[],
        deflate: Some(whub_ws::deflate::Config::default()),
        headers: &[],
        limits: Limits { message_bytes: MESSAGE_BYTES_MAX, frame_bytes: MESSAGE_BYTES_MAX },
    };
    WebSocket::open(stream, &opening).await
}
