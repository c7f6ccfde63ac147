//! Calling a service.

use std::future::{Future, IntoFuture};
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use futures_core::Stream;
use serde::de::DeserializeOwned;
use tokio::sync::{mpsc, oneshot};
use tokio::task::JoinHandle;
use tokio::time::Instant;
use whub_proto::Format;
use whub_proto::names::ServicePath;

use crate::body::{Body, Source, StreamError, to_json};
use crate::client::{BoxFuture, Client};
use crate::command::{Command, Order, Release, ResponseHead};
use crate::credit::Credit;
use crate::error::Error;
use crate::headers::Headers;
use crate::key::Key;
use crate::progress::{Progress, Watcher};
use crate::socket::WEBSOCKET;

/// A call about to be made: set what it needs, then await it.
///
/// It ends exactly once: with the response, or with an error that says whether trying again makes sense. Dropping it
/// cancels the call, and so does dropping the response before its body ended.
#[derive(Debug)]
#[must_use = "nothing is called before it is awaited"]
pub struct Call {
    client: Client,
    path: String,
    query: String,
    method: String,
    headers: Headers,
    format: Format,
    text: bool,
    idempotency: String,
    affinity: String,
    timeout: Duration,
    body: Source,
    /// It asks for a WebSocket.
    socket: bool,
    progress: Watcher,
}

impl Call {
    pub(crate) fn new(client: Client, path: &str) -> Self {
        let (path, query) = path.split_once('?').unwrap_or((path, ""));
        let timeout = client.timeout();
        Self {
            client,
            path: path.to_owned(),
            query: query.to_owned(),
            method: String::new(),
            headers: Headers::default(),
            format: Format::Unspecified,
            text: false,
            idempotency: String::new(),
            affinity: String::new(),
            timeout,
            body: Source::default(),
            socket: false,
            progress: Watcher::default(),
        }
    }

    /// The same as a request for a WebSocket: both directions stay open after the head.
    pub(crate) fn websocket(mut self) -> Self {
        self.socket = true;
        self.method(WEBSOCKET)
    }

    /// The HTTP method, for services that look at it. Default: none.
    pub fn method(mut self, method: impl Into<String>) -> Self {
        self.method = method.into();
        self
    }

    /// The raw query without `?`.
    pub fn query(mut self, query: impl Into<String>) -> Self {
        self.query = query.into();
        self
    }

    /// Adds a header pair.
    pub fn header(mut self, name: impl Into<String>, value: impl Into<String>) -> Self {
        self.headers.push(name, value);
        self
    }

    /// The body as bytes.
    pub fn body(mut self, body: impl Into<Bytes>) -> Self {
        self.body = Source::Bytes(body.into());
        self
    }

    /// The body as text.
    pub fn text(mut self, body: impl Into<String>) -> Self {
        (self.body, self.format, self.text) = (Source::Bytes(body.into().into()), Format::Text, true);
        self
    }

    /// The body as JSON, with the header `content-type: application/json`.
    ///
    /// # Errors
    /// When no JSON can be made of the value.
    pub fn json(mut self, value: &(impl serde::Serialize + ?Sized)) -> Result<Self, Error> {
        (self.body, self.format, self.text) = (Source::Bytes(to_json(value)?), Format::Json, true);
        Ok(self.header("content-type", "application/json"))
    }

    /// A body that is still being made. The stream is read only as fast as the service takes it; an error in it
    /// cancels the call. Such a call is never sent a second time.
    pub fn body_stream<S, E>(mut self, body: S) -> Self
    where
        S: Stream<Item = Result<Bytes, E>> + Send + 'static,
        E: Into<StreamError> + 'static,
    {
        self.body = Source::stream(body);
        self
    }

    /// Says what the body is.
    pub fn format(mut self, format: Format) -> Self {
        self.format = format;
        self
    }

    /// How long the answer may take to begin. Default: that of the client, 10 s. Its body may take longer.
    pub fn timeout(mut self, timeout: Duration) -> Self {
        self.timeout = timeout;
        self
    }

    /// Marks the call as safe to be carried out twice, under this key: it is sent again after a lost connection, and
    /// the hub may try another provider.
    pub fn idempotency(mut self, key: impl Into<String>) -> Self {
        self.idempotency = key.into();
        self
    }

    /// Calls with the same key go to the same provider.
    pub fn key(mut self, key: impl Into<String>) -> Self {
        self.affinity = key.into();
        self
    }

    /// Hands over what the service says of the call before it answers. `watch` is called by the connection, so it must not
    /// wait for anything.
    pub fn on_progress(mut self, watch: impl Fn(Progress) + Send + Sync + 'static) -> Self {
        self.progress = Watcher::new(watch);
        self
    }

    async fn send(self) -> Result<Response, Error> {
        let Opened { head, mut body, guard, .. } = self.open().await?;
        body.keep = Some(Box::new(guard));
        let ResponseHead { status, format, headers, moved } = head;
        Ok(Response { status, format, headers, body, moved })
    }

    /// Sends the request and waits for the head of the response.
    pub(crate) async fn open(self) -> Result<Opened, Error> {
        let timeout = self.timeout;
        let deadline = Instant::now() + timeout;
        let path = self.path.clone();
        match tokio::time::timeout_at(deadline, self.open_until(deadline)).await {
            Ok(outcome) => outcome,
            Err(_) => Err(Error::timeout(format!("{path} did not answer within {timeout:?}"))),
        }
    }

    async fn open_until(self, deadline: Instant) -> Result<Opened, Error> {
        let path = ServicePath::parse(&self.path)?.as_str().to_owned();
        let key = self.client.next_key();
        let (head, outcome) = oneshot::channel();
        let (pieces, incoming) = mpsc::unbounded_channel();
        // Nothing may follow before the request itself was sent, which may have to wait for a connection.
        let upload = Arc::new(Credit::new(0));
        let (payload, rest) = self.body.split();
        let order = Order {
            key,
            path,
            query: self.query,
            method: self.method,
            headers: self.headers,
            format: self.format,
            text: self.text,
            idempotency: self.idempotency,
            affinity: self.affinity,
            payload,
            ended: rest.is_none() && !self.socket,
            socket: self.socket,
            deadline: deadline.into_std(),
            head: Some(head),
            pieces,
            upload: Arc::clone(&upload),
            progress: self.progress,
        };
        let mut guard = Guard { key, client: self.client.clone(), pump: None };
        self.client.send(Command::Call(Box::new(order))).await?;
        let (broken, pump_failed) = oneshot::channel();
        if let Some(rest) = rest {
            let (commands, upload) = (self.client.commands(), Arc::clone(&upload));
            let pump = async move {
                match upload.opened().await {
                    Some(()) => rest.send(key, upload, commands).await,
                    None => Ok(()),
                }
            };
            guard.pump = Some(tokio::spawn(report(pump, broken)));
        }
        let head = tokio::select! {
            head = outcome => head.unwrap_or_else(|_| Err(self.client.end_reason())),
            Ok(error) = pump_failed => Err(Error::cancelled("the body of the request broke off").with_source(Broken(error))),
        }?;
        let body = Body::new(key, incoming, self.client.releases());
        Ok(Opened { key, head, body, upload, guard })
    }
}

impl IntoFuture for Call {
    type Output = Result<Response, Error>;
    type IntoFuture = BoxFuture<Self::Output>;

    fn into_future(self) -> Self::IntoFuture {
        Box::pin(self.send())
    }
}

/// Tells of a stream that failed. The sender is kept until the response is there, so that silence means no failure.
async fn report(pump: impl Future<Output = Result<(), StreamError>>, broken: oneshot::Sender<StreamError>) {
    match pump.await {
        // The call may have ended before its body did.
        Err(error) => drop(broken.send(error)),
        Ok(()) => drop(broken),
    }
}

#[derive(Debug, thiserror::Error)]
#[error(transparent)]
struct Broken(StreamError);

/// A call whose answer has begun.
pub(crate) struct Opened {
    pub(crate) key: Key,
    pub(crate) head: ResponseHead,
    pub(crate) body: Body,
    /// What the service accepts.
    pub(crate) upload: Arc<Credit>,
    pub(crate) guard: Guard,
}

/// Cancels the call when it is dropped. After the call has ended that means nothing.
#[derive(Debug)]
pub(crate) struct Guard {
    key: Key,
    pub(crate) client: Client,
    pump: Option<JoinHandle<()>>,
}

impl Drop for Guard {
    fn drop(&mut self) {
        if let Some(pump) = &self.pump {
            pump.abort();
        }
        self.client.release(Release::Call(self.key));
    }
}

/// A response: its head, and its body as it arrives. Dropping it before the body ended cancels the call.
#[derive(Debug)]
#[non_exhaustive]
pub struct Response {
    /// The HTTP status; 200 unless the service said otherwise.
    pub status: u16,
    /// What the service says the body is.
    pub format: Format,
    /// The header pairs.
    pub headers: Headers,
    /// The body.
    pub body: Body,
    /// How often the hub moved the call to another provider because one was lost.
    pub moved: u8,
}

impl Response {
    /// Whether the status is from 200 to 299.
    #[must_use]
    pub fn is_success(&self) -> bool {
        (200..300).contains(&self.status)
    }

    /// The whole body, at most 16 MiB.
    ///
    /// # Errors
    /// When the call broke off before its end, or it is longer.
    pub async fn bytes(mut self) -> Result<Bytes, Error> {
        self.body.bytes().await
    }

    /// The whole body as text.
    ///
    /// # Errors
    /// As [`Response::bytes`], and when it is not UTF-8.
    pub async fn text(mut self) -> Result<String, Error> {
        self.body.text().await
    }

    /// The whole body as a value of JSON.
    ///
    /// # Errors
    /// As [`Response::bytes`], and when it is not the JSON that `T` wants.
    pub async fn json<T: DeserializeOwned>(mut self) -> Result<T, Error> {
        self.body.json().await
    }
}
