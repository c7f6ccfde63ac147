//! What happens to the connection, for programs that want to show or log it.

use std::time::Duration;

use tokio::sync::broadcast;

use crate::error::Error;

/// Something that happened. Nothing needs to be done about it.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub enum Event {
    /// A connection to the hub stands; `node` is the hub's name for itself.
    Open {
        /// The client id that the hub gave.
        client: String,
        /// The node; empty where it has no name.
        node: String,
    },
    /// The connection was lost, or could not be made; the next try follows.
    Reconnecting {
        /// Which try, from 1.
        attempt: u32,
        /// When.
        delay: Duration,
        /// Why.
        error: Error,
    },
    /// A subscription stands again on a new connection.
    Resubscribed {
        /// Its filter.
        filter: String,
        /// Whether every message since the last one follows. Without it, some may be missing.
        recovered: bool,
    },
    /// The hub is stopping; the client moves to another connection.
    Drain {
        /// What the hub says about it.
        reason: String,
    },
    /// Messages were dropped, by the hub or by a queue of this client.
    Lagged {
        /// The channel or filter; empty where it is several.
        channel: String,
        /// How many.
        count: u64,
    },
    /// Something failed that no call of this program waits for.
    Error(Error),
    /// The client has ended; no more events follow.
    Closed,
}

/// Where the connection stands.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub enum State {
    /// The first connection is being made.
    Connecting,
    /// Connected.
    Open,
    /// Between two connections.
    Reconnecting,
    /// Finishing what is under way before the end.
    Draining,
    /// Over; with the error that ended it, if one did.
    Closed(Option<Error>),
}

impl State {
    /// Whether it is over.
    #[must_use]
    pub fn is_closed(&self) -> bool {
        matches!(self, Self::Closed(_))
    }
}

/// The events of a client from now on. A reader that falls 64 events behind misses the oldest.
#[derive(Debug)]
pub struct Events(pub(crate) broadcast::Receiver<Event>);

impl Events {
    /// The next event; `None` after the last.
    pub async fn next(&mut self) -> Option<Event> {
        loop {
            match self.0.recv().await {
                Ok(event) => return Some(event),
                Err(broadcast::error::RecvError::Lagged(_)) => {}
                Err(broadcast::error::RecvError::Closed) => return None,
            }
        }
    }
}
