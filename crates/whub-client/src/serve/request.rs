//! What a handler is given.

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use serde::de::DeserializeOwned;
use tokio::sync::{mpsc, watch};
use tokio::time::Instant;
use whub_proto::Format;
use whub_proto::names::{Pattern, ServicePath};

use crate::body::Body;
use crate::command::{Answer, Command};
use crate::credit::Credit;
use crate::error::Error;
use crate::headers::Headers;
use crate::key::Key;
use crate::socket::{ACCEPTED, PROTOCOL, Socket, SocketReader, SocketWriter, WEBSOCKET};

/// A call to a service that this client provides.
#[derive(Debug)]
pub struct Request {
    pub(crate) pattern: Pattern,
    pub(crate) path: String,
    pub(crate) query: String,
    pub(crate) method: String,
    pub(crate) scheme: String,
    pub(crate) authority: String,
    pub(crate) format: Format,
    pub(crate) text: bool,
    pub(crate) headers: Headers,
    pub(crate) client: String,
    pub(crate) user: String,
    pub(crate) peer: String,
    pub(crate) deadline: Option<Instant>,
    pub(crate) cancelled: watch::Receiver<bool>,
    pub(crate) body: Body,
    /// The way to accept a WebSocket, once the request is in its handler's hands.
    pub(crate) door: Option<Door>,
}

/// The status of what is said before an answer (RFC 2518 section 10.1).
const PROCESSING: u16 = 102;

/// What a WebSocket needs beside its request.
#[derive(Debug, Clone)]
pub(crate) struct Door {
    pub(crate) key: Key,
    pub(crate) commands: mpsc::Sender<Command>,
    pub(crate) download: Arc<Credit>,
}

impl Request {
    /// The pattern that matched.
    #[must_use]
    pub fn pattern(&self) -> &str {
        self.pattern.as_str()
    }

    /// The raw path: begins with `/`, not decoded, no query. Of a service with a host of its own, HTTP callers send
    /// it without the host, and others as they have written it: `//app.example.com/a`.
    #[must_use]
    pub fn path(&self) -> &str {
        &self.path
    }

    /// What `:name` of the pattern took, decoded.
    #[must_use]
    pub fn param(&self, name: &str) -> Option<String> {
        let path = self.service_path()?;
        let captures = self.pattern.captures(&path)?;
        let (_, value) = captures.params.into_iter().find(|(param, _)| *param == name)?;
        Some(value.into_owned())
    }

    /// What `*rest` of the pattern took, raw.
    #[must_use]
    pub fn rest(&self) -> Option<String> {
        let path = self.service_path()?;
        self.pattern.captures(&path)?.rest.map(str::to_owned)
    }

    /// The path as the pattern has it: behind its host, if that has one, which HTTP says elsewhere.
    fn service_path(&self) -> Option<ServicePath<'_>> {
        let written = ServicePath::parse(&self.path).ok();
        match self.pattern.host() {
            // HTTP says the host elsewhere; a path there may begin with two slashes too.
            Some(host)
                if !self.authority.is_empty()
                    || written.as_ref().and_then(ServicePath::host) != Some(host) =>
            {
                ServicePath::of_host(host, &self.path).ok()
            }
            Some(_) | None => written,
        }
    }

    /// The raw query without `?`; empty where there is none.
    #[must_use]
    pub fn query(&self) -> &str {
        &self.query
    }

    /// The HTTP method; empty for plain calls.
    #[must_use]
    pub fn method(&self) -> &str {
        &self.method
    }

    /// `http` or `https` where the call came over HTTP, else empty.
    #[must_use]
    pub fn scheme(&self) -> &str {
        &self.scheme
    }

    /// Host and port that the HTTP client asked for, else empty.
    #[must_use]
    pub fn authority(&self) -> &str {
        &self.authority
    }

    /// What the caller says the body is.
    #[must_use]
    pub fn format(&self) -> Format {
        self.format
    }

    /// Whether the caller says that the body is text.
    #[must_use]
    pub fn is_text(&self) -> bool {
        self.text
    }

    /// The caller's header pairs.
    #[must_use]
    pub fn headers(&self) -> &Headers {
        &self.headers
    }

    /// The calling client, as the hub names it.
    #[must_use]
    pub fn client(&self) -> &str {
        &self.client
    }

    /// The authenticated caller; empty for anonymous ones.
    #[must_use]
    pub fn user(&self) -> &str {
        &self.user
    }

    /// The caller's address, as far as the hub trusts it.
    #[must_use]
    pub fn peer(&self) -> &str {
        &self.peer
    }

    /// What is left until the answer has to begin; `None` where nobody said. The hub keeps this time, and gives more
    /// while the request's body is still coming; it tells by [`Self::cancelled`] when it is over.
    #[must_use]
    pub fn remaining(&self) -> Option<Duration> {
        Some(self.deadline?.saturating_duration_since(Instant::now()))
    }

    /// Waits until nobody waits for the answer any more: the caller gave up, the hub saw the deadline pass, or the
    /// connection was lost. A handler that goes on regardless is dropped 5 s later.
    pub fn cancelled(&self) -> impl Future<Output = ()> + Send + 'static {
        let mut cancelled = self.cancelled.clone();
        async move {
            // The sender goes with the connection's end of the call.
            let _ = cancelled.wait_for(|cancelled| *cancelled).await;
        }
    }

    /// The body, to be read chunk by chunk.
    pub fn body(&mut self) -> &mut Body {
        &mut self.body
    }

    /// The body by itself, for a task of its own or an answer that streams it back.
    #[must_use]
    pub fn into_body(self) -> Body {
        self.body
    }

    /// Whether it asks for a WebSocket: to be answered by [`Self::accept`], or refused like any other request.
    #[must_use]
    pub fn is_websocket(&self) -> bool {
        self.method == WEBSOCKET
    }

    /// The subprotocols that the caller of a WebSocket offers, best first.
    pub fn protocols(&self) -> impl Iterator<Item = &str> {
        let offers = self.headers.iter().filter(|(name, _)| *name == PROTOCOL);
        offers.flat_map(|(_, value)| value.split(',')).map(str::trim).filter(|name| !name.is_empty())
    }

    /// Accepts a WebSocket, with a subprotocol of those that were offered or with none. It lives until the handler
    /// returns: what that answers then is no longer sent; an error closes the WebSocket with 1011, anything else with
    /// 1000 unless it was closed before.
    ///
    /// # Errors
    /// When this is no request for a WebSocket, the subprotocol was not offered, or the connection is gone.
    pub async fn accept(self, protocol: Option<&str>) -> Result<Socket, Error> {
        self.accept_with(protocol, Headers::default()).await
    }

    /// As [`Self::accept`], with header pairs for the answer.
    ///
    /// # Errors
    /// As there.
    pub async fn accept_with(self, protocol: Option<&str>, mut headers: Headers) -> Result<Socket, Error> {
        let Some(door) = self.door.clone().filter(|_| self.is_websocket()) else {
            return Err(Error::invalid("only a request for a WebSocket can be accepted"));
        };
        if let Some(protocol) = protocol {
            if !self.protocols().any(|offered| offered == protocol) {
                return Err(Error::invalid(format!("the subprotocol {protocol} was not offered")));
            }
            headers.push(PROTOCOL, protocol);
        }
        let accepted = Answer {
            status: ACCEPTED,
            format: Format::Unspecified,
            text: false,
            headers,
            payload: Bytes::new(),
            ended: false,
        };
        let answer = Command::Answer { key: door.key, answer: Ok(Box::new(accepted)) };
        door.commands.send(answer).await.map_err(|_| Error::lost("the connection is gone"))?;
        let reader = SocketReader::new(self.body, None);
        let writer = SocketWriter::new(door.key, door.download, door.commands, None);
        Ok(Socket::new(reader, writer, protocol.map(str::to_owned)))
    }

    /// Tells the caller how far the call is, before it is answered (status 102). It neither ends the call nor puts its
    /// deadline off; callers over HTTP do not see it. Hubs pass on 1 MiB of it for one call.
    ///
    /// # Errors
    /// When the connection is gone.
    pub async fn progress(&self, headers: Headers, payload: impl Into<Bytes>) -> Result<(), Error> {
        let gone = || Error::lost("the connection is gone");
        let door = self.door.as_ref().ok_or_else(gone)?;
        let news = Answer {
            status: PROCESSING,
            format: Format::Unspecified,
            text: false,
            headers,
            payload: payload.into(),
            ended: false,
        };
        let command = Command::Progress { key: door.key, news: Box::new(news) };
        door.commands.send(command).await.map_err(|_| gone())
    }

    /// The whole body, at most 16 MiB.
    ///
    /// # Errors
    /// When the caller was lost before its end, or it is longer.
    pub async fn bytes(&mut self) -> Result<Bytes, Error> {
        self.body.bytes().await
    }

    /// The whole body as text.
    ///
    /// # Errors
    /// As [`Request::bytes`], and when it is not UTF-8.
    pub async fn text(&mut self) -> Result<String, Error> {
        self.body.text().await
    }

    /// The whole body as a value of JSON.
    ///
    /// # Errors
    /// As [`Request::bytes`], and when it is not the JSON that `T` wants.
    pub async fn json<T: DeserializeOwned>(&mut self) -> Result<T, Error> {
        self.body.json().await
    }
}
