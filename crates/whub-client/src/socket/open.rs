//! Opening a WebSocket to a service.

use std::future::IntoFuture;
use std::sync::Arc;
use std::time::Duration;

use super::reader::Keep;
use super::{ACCEPTED, PROTOCOL, Socket, SocketReader, SocketWriter};
use crate::call::Call;
use crate::client::{BoxFuture, Client};
use crate::command::ResponseHead;
use crate::error::Error;

/// A WebSocket about to be opened: set what it needs, then await it.
#[derive(Debug)]
#[must_use = "nothing is opened before it is awaited"]
pub struct OpenSocket {
    call: Call,
    protocols: Vec<String>,
}

impl OpenSocket {
    pub(crate) fn new(client: Client, path: &str) -> Self {
        Self { call: Call::new(client, path).websocket(), protocols: Vec::new() }
    }

    /// Offers a subprotocol; the first is the one that is liked best.
    pub fn protocol(mut self, name: impl Into<String>) -> Self {
        self.protocols.push(name.into());
        self
    }

    /// The raw query without `?`.
    pub fn query(mut self, query: impl Into<String>) -> Self {
        self.call = self.call.query(query);
        self
    }

    /// Adds a header pair.
    pub fn header(mut self, name: impl Into<String>, value: impl Into<String>) -> Self {
        self.call = self.call.header(name, value);
        self
    }

    /// How long the service may take to accept. Default: that of the client, 10 s.
    pub fn timeout(mut self, timeout: Duration) -> Self {
        self.call = self.call.timeout(timeout);
        self
    }

    /// WebSockets with the same key go to the same provider.
    pub fn key(mut self, key: impl Into<String>) -> Self {
        self.call = self.call.key(key);
        self
    }

    async fn open(self) -> Result<Socket, Error> {
        let mut call = self.call;
        if !self.protocols.is_empty() {
            call = call.header(PROTOCOL, self.protocols.join(", "));
        }
        let open = call.open().await?;
        let ResponseHead { status, headers, .. } = open.head;
        let chosen = headers.get(PROTOCOL).map(str::to_owned);
        if status != ACCEPTED {
            let reason = format!("the service refused the WebSocket with the status {status}");
            return Err(Error::from_code(status.into(), reason));
        }
        if let Some(chosen) = &chosen
            && !self.protocols.contains(chosen)
        {
            return Err(Error::protocol(format!(
                "the service chose the subprotocol {chosen}, which was not offered"
            )));
        }
        let commands = open.guard.client.commands();
        let keep: Keep = Some(Arc::new(open.guard));
        let reader = SocketReader::new(open.body, keep.clone());
        let writer = SocketWriter::new(open.key, open.upload, commands, keep);
        Ok(Socket::new(reader, writer, chosen))
    }
}

impl IntoFuture for OpenSocket {
    type Output = Result<Socket, Error>;
    type IntoFuture = BoxFuture<Self::Output>;

    fn into_future(self) -> Self::IntoFuture {
        Box::pin(self.open())
    }
}
