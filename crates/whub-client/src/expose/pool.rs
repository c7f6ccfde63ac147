//! Connections to the application: kept for the next request, given up when they are idle.
//!
//! A connection serves one request at a time (HTTP/1.1), so there are as many as calls are under way, and at most
//! [`IDLE_MAX`] wait for more. Each is a task of its own that ends with its connection.

use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

use hyper::client::conn::http1::{Builder, SendRequest};
use hyper_util::rt::TokioIo;
use whub_transport::{DialOptions, Dialer, Prompt, Stream, Trust};

use super::trouble::Trouble;
use super::upload::Upload;
use super::url::AppUrl;

/// Connections that are kept while nothing uses them.
pub(super) const IDLE_MAX: usize = 64;
/// How long they are kept: many servers hang up after 5 s, and the one that hangs up first loses no request.
pub(super) const IDLE_FOR: Duration = Duration::from_secs(4);
/// How long a new connection may take, TLS included.
const CONNECT_WITHIN: Duration = Duration::from_secs(5);
/// Longest head of an answer, bytes; as much as the hub takes.
const HEAD_BYTES_MAX: usize = 64 * 1024;
/// Most fields of an answer.
const FIELDS_MAX: usize = 128;

/// One connection, to be written to.
pub(super) type Sender = SendRequest<Upload>;

/// The connections of one application.
#[derive(Debug)]
pub(super) struct Pool {
    dialer: Dialer,
    /// The last one used is the last: it is the most likely to be alive. Held for a push or a pop.
    idle: Mutex<Vec<Idle>>,
}

/// A connection that waits, and since when.
type Idle = (Sender, Instant);

fn is_alive((sender, since): &Idle) -> bool {
    !sender.is_closed() && since.elapsed() < IDLE_FOR
}

impl Pool {
    pub(super) fn new(url: &AppUrl, trust: Trust) -> Self {
        let options = DialOptions { connect_within: CONNECT_WITHIN, trust, ..DialOptions::default() };
        Self { dialer: Dialer::new(url.server.clone(), options), idle: Mutex::default() }
    }

    /// A connection that was used before, if one is alive.
    pub(super) fn take(&self) -> Option<Sender> {
        let mut idle = self.idle.lock().unwrap_or_else(PoisonError::into_inner);
        idle.retain(is_alive);
        // One that is not ready still has something of its last request to do.
        let ready = idle.iter().rposition(|(sender, _)| sender.is_ready())?;
        Some(idle.swap_remove(ready).0)
    }

    /// Keeps a connection whose answer was read to its end.
    pub(super) fn keep(&self, sender: Sender) {
        if sender.is_closed() {
            return;
        }
        let mut idle = self.idle.lock().unwrap_or_else(PoisonError::into_inner);
        if idle.len() >= IDLE_MAX {
            idle.remove(0);
        }
        idle.push((sender, Instant::now()));
    }

    /// Gives up connections that nothing used for a while.
    pub(super) fn sweep(&self) {
        let mut idle = self.idle.lock().unwrap_or_else(PoisonError::into_inner);
        idle.retain(is_alive);
    }

    /// Gives up all that wait: the application was restarted, or is gone.
    pub(super) fn clear(&self) {
        self.idle.lock().unwrap_or_else(PoisonError::into_inner).clear();
    }

    /// A new connection.
    pub(super) async fn connect(&self) -> Result<Sender, Trouble> {
        let stream = TokioIo::new(Prompt::new(self.dial().await?));
        let mut builder = Builder::new();
        builder.max_buf_size(HEAD_BYTES_MAX).max_headers(FIELDS_MAX);
        let (sender, connection) =
            builder.handshake(stream).await.map_err(|error| Trouble::Broken(error.to_string()))?;
        // How it ends is told to whoever waits for an answer on it.
        tokio::spawn(async move { drop(connection.with_upgrades().await) });
        Ok(sender)
    }

    /// A new stream.
    pub(super) async fn dial(&self) -> Result<Stream, Trouble> {
        Ok(self.dialer.connect().await?)
    }
}
