//! Connections to the HTTP side of an upstream that are kept for a while, for the next request.
//!
//! The other end may hang up at any moment, also while a request is on its way to it. So only a request that may be asked
//! again goes over a connection that was used before.

use std::error::Error;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};
use std::time::{Duration, Instant};

use http_body_util::combinators::UnsyncBoxBody;
use hyper::body::Bytes;
use hyper::client::conn::http1::{Builder, SendRequest};
use hyper_util::rt::TokioIo;
use tokio::time::sleep;
use whub_core::Fault;
use whub_transport::Prompt;

use crate::gateway::open;
use crate::gateway::route::Route;
use crate::gateway::upstream::{Occupied, Upstream};

/// Connections of an upstream that are kept while nothing uses them.
const IDLE_MAX: usize = 32;

/// How long they are kept: many servers hang up after 5 s, and the one that hangs up first loses no request.
const IDLE_FOR: Duration = Duration::from_secs(4);

/// A body on its way to an endpoint.
pub(crate) type Passed = UnsyncBoxBody<Bytes, Box<dyn Error + Send + Sync>>;

/// The connections of one upstream that nothing uses.
#[derive(Debug, Default)]
pub(super) struct Pool {
    // Held to insert or remove.
    state: Mutex<State>,
}

#[derive(Debug, Default)]
struct State {
    /// The latest used last: it is the most likely to be alive.
    idle: Vec<(SendRequest<Passed>, Instant)>,
    /// Somebody closes those that are not used for long enough.
    is_swept: bool,
    /// How often all of them were given up: one from before is not kept any more.
    era: u64,
}

impl Pool {
    /// One that is alive, and its era.
    fn take(&self) -> Option<(SendRequest<Passed>, u64)> {
        let mut state = self.lock();
        while let Some((sender, since)) = state.idle.pop() {
            if since.elapsed() < IDLE_FOR && sender.is_ready() {
                return Some((sender, state.era));
            }
        }
        None
    }

    fn era(&self) -> u64 {
        self.lock().era
    }

    /// Gives up all that wait, and all that are under way once they are done: others may be dialled otherwise.
    pub(super) fn clear(&self) {
        let mut state = self.lock();
        state.idle.clear();
        state.era += 1;
    }

    /// Keeps one that was dialled in that era. True when somebody has to [`Self::sweep`] from now on.
    fn keep(&self, sender: SendRequest<Passed>, era: u64) -> bool {
        let mut state = self.lock();
        if state.era != era {
            return false;
        }
        if state.idle.len() >= IDLE_MAX {
            state.idle.remove(0);
        }
        state.idle.push((sender, Instant::now()));
        !std::mem::replace(&mut state.is_swept, true)
    }

    /// Closes those that were not used for long enough. False when none are left to come back to.
    fn sweep(&self) -> bool {
        let mut state = self.lock();
        state.idle.retain(|(sender, since)| since.elapsed() < IDLE_FOR && !sender.is_closed());
        state.is_swept = !state.idle.is_empty();
        state.is_swept
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Sweeps until nothing is left.
async fn sweep(upstream: Weak<Upstream>) {
    loop {
        sleep(IDLE_FOR).await;
        if !upstream.upgrade().is_some_and(|upstream| upstream.pool.sweep()) {
            return;
        }
    }
}

/// A connection to an upstream, for one request.
#[derive(Debug)]
pub(crate) struct Line {
    pub(crate) sender: SendRequest<Passed>,
    /// Another request has gone over it before.
    pub(crate) is_used: bool,
    era: u64,
    /// The upstream counts as in use until the answer is through.
    occupied: Occupied,
}

impl Line {
    /// One to an upstream of the endpoint that is up: one that was kept, if the request `may_repeat`, or a new one.
    ///
    /// # Errors
    /// `Unavailable` when none is up, with what is known of the last one that was tried.
    pub(crate) async fn to(route: &Route, may_repeat: bool) -> Result<Self, Fault> {
        let mut tried = Vec::new();
        let mut last = None;
        while let Some(upstream) = route.choose(&tried) {
            let occupied = Route::occupy(&upstream);
            if may_repeat && let Some((sender, era)) = upstream.pool.take() {
                return Ok(Self { sender, is_used: true, era, occupied });
            }
            let era = upstream.pool.era();
            match connect(&upstream).await {
                Ok(sender) => {
                    route.note_up(&upstream);
                    return Ok(Self { sender, is_used: false, era, occupied });
                }
                Err(why) => {
                    route.note_down(&upstream, &why);
                    last = Some(why);
                }
            }
            tried.push(upstream);
        }
        Err(route.is_down(last))
    }

    pub(crate) fn upstream(&self) -> &Arc<Upstream> {
        self.occupied.upstream()
    }

    /// Keeps the connection for another request once the answer, which has begun, is through.
    pub(crate) fn give_back(mut self) {
        tokio::spawn(async move {
            // Whoever does not take the answer to its end ends the connection.
            if self.sender.ready().await.is_err() {
                return;
            }
            if self.occupied.upstream().pool.keep(self.sender, self.era) {
                tokio::spawn(sweep(Arc::downgrade(self.occupied.upstream())));
            }
        });
    }
}

/// A new connection, or words why not.
async fn connect(upstream: &Upstream) -> Result<SendRequest<Passed>, String> {
    let stream = upstream.connect().await.map_err(|error| open::describe(&error))?;
    let mut builder = Builder::new();
    let shaken = builder.title_case_headers(true).handshake(TokioIo::new(Prompt::new(stream))).await;
    let (sender, connection) = shaken.map_err(|error| error.to_string())?;
    // Its failure is that of whoever waits for an answer.
    tokio::spawn(connection);
    Ok(sender)
}
