//! WebSockets: the handshake with the application, and the bridge between it and the caller.
//!
//! Each side has a connection of its own, so pings are answered on each by itself. What the two sides say to each
//! other passes: messages as they are, close codes and reasons, one close from each.

use std::time::Duration;

use base64::{Engine, prelude::BASE64_STANDARD};
use bytes::Bytes;
use hyper::HeaderMap;
use hyper::body::Incoming;
use hyper::header::{
    CONNECTION, HeaderName, HeaderValue, SEC_WEBSOCKET_KEY, SEC_WEBSOCKET_PROTOCOL, SEC_WEBSOCKET_VERSION,
    UPGRADE,
};
use hyper_util::rt::TokioIo;
use tokio::sync::mpsc;
use tokio::time::timeout;
use whub_transport::Prompt;
use whub_ws::handshake::Request as Rules;
use whub_ws::{CloseCode, CloseFrame, Limits, MessageKind};

use super::trouble::Trouble;
use crate::headers::Headers;
use crate::serve::{Reply, Request, ServiceError};
use crate::socket::{SocketClose, SocketMessage, SocketReader, SocketWriter};
use crate::websocket::{Event, Reader, WebSocket, WebSocketError, Writer};

/// How long one side may take to close after the other has.
const CLOSE_WITHIN: Duration = Duration::from_secs(5);
/// Answers to the application's pings that wait to be written; more are not answered.
const PONGS_MAX: usize = 8;
/// The application hung up without a close: a gateway's "bad gateway" (IANA's registry of close codes).
const BAD_GATEWAY: u16 = 1014;

/// A request for a WebSocket, as the application gets it.
pub(super) struct Handshake {
    nonce: [u8; 16],
    protocols: Vec<String>,
}

impl Handshake {
    pub(super) fn new<'a>(protocols: impl Iterator<Item = &'a str>) -> Result<Self, ServiceError> {
        let mut nonce = [0; 16];
        getrandom::fill(&mut nonce)
            .map_err(|error| ServiceError::internal(format!("no random bytes: {error}")))?;
        Ok(Self { nonce, protocols: protocols.map(str::to_owned).collect() })
    }

    /// Adds the fields of the handshake. The subprotocols are the caller's.
    pub(super) fn fill(&self, headers: &mut HeaderMap) {
        let foreign: Vec<HeaderName> = headers.keys().filter(|name| is_handshake(name)).cloned().collect();
        for name in foreign {
            headers.remove(name);
        }
        headers.insert(CONNECTION, HeaderValue::from_static("Upgrade"));
        headers.insert(UPGRADE, HeaderValue::from_static("websocket"));
        headers.insert(SEC_WEBSOCKET_VERSION, HeaderValue::from_static("13"));
        for (name, value) in [
            (SEC_WEBSOCKET_KEY, BASE64_STANDARD.encode(self.nonce)),
            (SEC_WEBSOCKET_PROTOCOL, self.protocols.join(", ")),
        ] {
            if let Ok(value) = HeaderValue::from_str(&value)
                && !value.is_empty()
            {
                headers.insert(name, value);
            }
        }
    }

    /// Checks the answer, whose status is 101, and takes the connection over.
    pub(super) async fn finish(&self, response: hyper::Response<Incoming>) -> Result<WebSocket, Trouble> {
        let protocols: Vec<&str> = self.protocols.iter().map(String::as_str).collect();
        let rules = Rules {
            authority: "",
            target: "",
            nonce: self.nonce,
            protocols: &protocols,
            deflate: None,
            headers: &[],
        };
        let headers = response.headers().iter().map(|(name, value)| (name.as_str(), value.as_bytes()));
        let established = rules.verify(101, headers).map_err(|error| Trouble::Broken(error.to_string()))?;
        let protocol = established.protocol.map(str::to_owned);
        let upgraded = hyper::upgrade::on(response).await.map_err(Trouble::from)?;
        let parts = upgraded
            .downcast::<TokioIo<Prompt>>()
            .map_err(|_| Trouble::Broken("its connection is of another kind".to_owned()))?;
        let (stream, early) = (parts.io.into_inner().into_inner(), parts.read_buf.to_vec());
        Ok(WebSocket::established(stream, early, Limits::default(), protocol))
    }
}

fn is_handshake(name: &HeaderName) -> bool {
    name.as_str().starts_with("sec-websocket-")
}

/// Accepts the caller's WebSocket and passes on what the two sides say until both have closed.
pub(super) async fn bridge(
    request: Request,
    app: WebSocket,
    mut headers: Headers,
) -> Result<Reply, ServiceError> {
    headers = headers.iter().filter(|(name, _)| !name.starts_with("sec-websocket-")).collect();
    let protocol = app.protocol.clone();
    let (hears, says) = request.accept_with(protocol.as_deref(), headers).await?.split();
    let (pongs, ponged) = mpsc::channel(PONGS_MAX);
    let WebSocket { reader, writer, .. } = app;
    let mut to_app = ToApp { caller: hears, app: writer, ponged };
    let mut to_caller = ToCaller { app: reader, caller: says, pongs };
    tokio::select! {
        () = to_app.run() => {
            // The caller has had its say; the application may answer its close.
            let _ = timeout(CLOSE_WITHIN, to_caller.run()).await;
        }
        end = to_caller.run() => {
            let _ = timeout(CLOSE_WITHIN, to_app.finish(end)).await;
        }
    }
    Ok(Reply::default())
}

/// What the caller says, to the application.
struct ToApp {
    caller: SocketReader,
    app: Writer,
    ponged: mpsc::Receiver<Bytes>,
}

impl ToApp {
    /// Runs until the caller has closed, or either is lost.
    async fn run(&mut self) {
        loop {
            tokio::select! {
                heard = self.caller.next() => match heard {
                    Ok(Some(message)) => self.app.message(kind(&message), message.bytes()),
                    Ok(None) => {
                        let close = self.caller.close_frame().cloned().unwrap_or_default();
                        return self.close(&close).await;
                    }
                    // It went without a word.
                    Err(_) => {
                        let code = CloseCode::GOING_AWAY.value();
                        return self.close(&SocketClose { code, reason: String::new() }).await;
                    }
                },
                Some(payload) = self.ponged.recv() => self.app.pong(&payload),
            }
            // While the application does not read, the caller's credit is not renewed.
            if self.app.flush().await.is_err() {
                // The other direction tells how it ended.
                return std::future::pending().await;
            }
        }
    }

    async fn close(&mut self, close: &SocketClose) {
        self.app.close(CloseCode::new(close.code).unwrap_or(CloseCode::NORMAL), &close.reason);
        // An application that is gone needs no close.
        let _ = self.app.flush().await;
    }

    /// The application has closed, or is lost: answers its close and waits for the caller's.
    async fn finish(&mut self, end: End) {
        while let Ok(payload) = self.ponged.try_recv() {
            self.app.pong(&payload);
        }
        match end {
            End::Closed(frame) => self.app.close_reply(frame.as_ref()),
            End::Breach(code) => self.app.close(code, ""),
            End::Lost => {}
        }
        let _ = self.app.flush().await;
        while let Ok(Some(_)) = self.caller.next().await {}
    }
}

/// How the application ended.
enum End {
    Closed(Option<CloseFrame<'static>>),
    /// It broke the rules, and is told so.
    Breach(CloseCode),
    Lost,
}

/// What the application says, to the caller.
struct ToCaller {
    app: Reader,
    caller: SocketWriter,
    pongs: mpsc::Sender<Bytes>,
}

impl ToCaller {
    /// Runs until the application has closed, or either is lost.
    async fn run(&mut self) -> End {
        loop {
            while let Some(event) = self.app.pop() {
                match event {
                    Event::Message { kind, payload } => {
                        let message = SocketMessage::checked(payload, matches!(kind, MessageKind::Text));
                        // A caller that has closed, or is lost, hears nothing more; the other direction tells which.
                        let _ = self.caller.send(message).await;
                    }
                    Event::Ping(payload) => drop(self.pongs.try_send(payload)),
                    Event::Pong => {}
                    Event::Close(frame) => {
                        let (code, reason) =
                            frame.as_ref().map_or((0, ""), |frame| (frame.code.value(), &*frame.reason));
                        self.close(code, reason).await;
                        return End::Closed(frame);
                    }
                }
            }
            match self.app.read().await {
                Ok(true) => {}
                Err(WebSocketError::Violation(violation)) => {
                    self.close(BAD_GATEWAY, "the application broke the rules of WebSocket").await;
                    return End::Breach(violation.close_code());
                }
                Ok(false) | Err(_) => {
                    self.close(BAD_GATEWAY, "the application broke off").await;
                    return End::Lost;
                }
            }
        }
    }

    async fn close(&mut self, code: u16, reason: &str) {
        // A caller that is gone needs no close.
        let _ = self.caller.close(code, reason).await;
    }
}

fn kind(message: &SocketMessage) -> MessageKind {
    if message.is_text() { MessageKind::Text } else { MessageKind::Binary }
}
