//! The handle that programs hold.

use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::time::Duration;

use tokio::sync::{broadcast, mpsc, oneshot, watch};

use crate::call::Call;
use crate::command::{Command, Release};
use crate::error::Error;
use crate::event::{Event, Events, State};
use crate::key::{Key, KeySource};
use crate::pair::Join;
use crate::publish::Publish;
use crate::room::EnterRoom;
use crate::serve::{Provide, Reply, Request, ServiceError, handler};
use crate::socket::OpenSocket;
use crate::subscribe::Subscribe;

/// A future that can be sent to another thread.
pub(crate) type BoxFuture<T> = Pin<Box<dyn Future<Output = T> + Send>>;

/// How long [`Client::drain`] lets handlers finish.
const DRAIN_WITHIN: Duration = Duration::from_secs(10);
/// How long the last bytes may take to leave.
const CLOSE_WITHIN: Duration = Duration::from_secs(2);

/// A hub, as a program sees it. Cheap to clone; the connection ends when the last clone and the last thing made from
/// one (registrations, subscriptions, pairs, bodies) are gone.
#[derive(Clone)]
pub struct Client(Arc<Shared>);

/// What all clones hold.
pub(crate) struct Shared {
    pub(crate) commands: mpsc::Sender<Command>,
    pub(crate) releases: mpsc::UnboundedSender<Release>,
    pub(crate) keys: Arc<KeySource>,
    pub(crate) events: broadcast::Sender<Event>,
    pub(crate) state: watch::Receiver<State>,
    /// Default for whatever waits for an answer.
    pub(crate) timeout: Duration,
}

impl std::fmt::Debug for Client {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Client").field("state", &*self.0.state.borrow()).finish_non_exhaustive()
    }
}

impl Client {
    pub(crate) fn new(shared: Shared) -> Self {
        Self(Arc::new(shared))
    }

    /// Calls the service at a path, `/billing/total`. A query may follow behind `?`.
    pub fn call(&self, path: impl AsRef<str>) -> Call {
        Call::new(self.clone(), path.as_ref())
    }

    /// Provides a service: `handle` runs, as a task of its own, for every call to a path of the pattern
    /// (`/billing/:op`, `/files/*rest`).
    pub fn provide<F, Fut, R, E>(&self, pattern: impl Into<String>, handle: F) -> Provide
    where
        F: Fn(Request) -> Fut + Send + Sync + 'static,
        Fut: Future<Output = Result<R, E>> + Send + 'static,
        R: Into<Reply>,
        E: Into<ServiceError>,
    {
        Provide::new(self.clone(), pattern.into(), handler(handle))
    }

    /// Opens a WebSocket to the service at a path, `/chat/lobby`. A query may follow behind `?`.
    pub fn websocket(&self, path: impl AsRef<str>) -> OpenSocket {
        OpenSocket::new(self.clone(), path.as_ref())
    }

    /// Publishes to a channel, `news/eu`.
    pub fn publish(&self, channel: impl Into<String>) -> Publish {
        Publish::new(self.clone(), channel.into())
    }

    /// Subscribes to a filter: `news/+`, `news/#`.
    pub fn subscribe(&self, filter: impl Into<String>) -> Subscribe {
        Subscribe::new(self.clone(), filter.into())
    }

    /// Messages to this client itself: to its name, to the user of its token, to the user's groups, or to everybody. They
    /// come as messages of the channel `$inbox`, and [`Message`](crate::Message) says who sent them. Groups and history
    /// mean nothing here.
    pub fn inbox(&self) -> Subscribe {
        Subscribe::new(self.clone(), whub_proto::names::INBOX.to_owned())
    }

    /// Meets another peer that asks for the same id.
    pub fn pair(&self, id: impl Into<String>) -> Join {
        Join::new(self.clone(), id.into())
    }

    /// Enters a room, where everybody who knows its name speaks to all others.
    pub fn room(&self, name: impl Into<String>) -> EnterRoom {
        EnterRoom::new(self.clone(), name.into())
    }

    /// What happens to the connection from now on.
    #[must_use]
    pub fn events(&self) -> Events {
        Events(self.0.events.subscribe())
    }

    /// Where the connection stands.
    #[must_use]
    pub fn state(&self) -> State {
        self.0.state.borrow().clone()
    }

    /// Ends in order: takes no more calls, lets handlers finish (10 s at most), writes what is queued, closes.
    ///
    /// # Errors
    /// When something was still under way after that time.
    pub async fn drain(&self) -> Result<(), Error> {
        self.drain_within(DRAIN_WITHIN).await
    }

    /// As [`Client::drain`] with a limit of one's own.
    ///
    /// # Errors
    /// When something was still under way after that time.
    pub async fn drain_within(&self, within: Duration) -> Result<(), Error> {
        let (done, outcome) = oneshot::channel();
        self.end(within, Command::Drain { within, done }, outcome).await
    }

    /// Ends at once: what is queued is written (2 s at most), everything under way fails.
    ///
    /// # Errors
    /// When the last bytes could not be written.
    pub async fn close(&self) -> Result<(), Error> {
        let (done, outcome) = oneshot::channel();
        self.end(Duration::ZERO, Command::Close { done }, outcome).await
    }

    /// Waits for the end, however it comes; the error is the reason where it was none of ours.
    pub async fn closed(&self) -> Option<Error> {
        let mut state = self.0.state.clone();
        let ended = state.wait_for(State::is_closed).await;
        match ended.as_deref() {
            Ok(State::Closed(error)) => error.clone(),
            Ok(_) | Err(_) => None,
        }
    }

    async fn end(
        &self,
        within: Duration,
        command: Command,
        outcome: oneshot::Receiver<Result<(), Error>>,
    ) -> Result<(), Error> {
        let ended = async {
            match self.0.commands.send(command).await {
                Ok(()) => outcome.await.unwrap_or(Ok(())),
                // Somebody else was faster.
                Err(_) => Ok(()),
            }
        };
        let late = || Err(Error::timeout("the client did not end in time"));
        tokio::time::timeout(within + 2 * CLOSE_WITHIN, ended).await.unwrap_or_else(|_| late())
    }

    // ------------------------------------------------------------------------------------ for the builders

    pub(crate) fn timeout(&self) -> Duration {
        self.0.timeout
    }

    pub(crate) fn next_key(&self) -> Key {
        self.0.keys.next()
    }

    pub(crate) fn event_sender(&self) -> broadcast::Sender<Event> {
        self.0.events.clone()
    }

    pub(crate) fn commands(&self) -> mpsc::Sender<Command> {
        self.0.commands.clone()
    }

    pub(crate) fn releases(&self) -> mpsc::UnboundedSender<Release> {
        self.0.releases.clone()
    }

    /// Lets go of something; a connection that is gone has let go of it already.
    pub(crate) fn release(&self, release: Release) {
        let _ = self.0.releases.send(release);
    }

    pub(crate) async fn send(&self, command: Command) -> Result<(), Error> {
        self.0.commands.send(command).await.map_err(|_| self.end_reason())
    }

    /// Sends a command and waits for its outcome, within `timeout` altogether.
    pub(crate) async fn ask<T>(
        &self,
        timeout: Duration,
        command: Command,
        outcome: oneshot::Receiver<Result<T, Error>>,
    ) -> Result<T, Error> {
        match tokio::time::timeout(timeout, self.ask_patiently(command, outcome)).await {
            Ok(outcome) => outcome,
            Err(_) => Err(Error::timeout(format!("the hub did not answer within {timeout:?}"))),
        }
    }

    /// Sends a command and waits for its outcome for as long as the connection's task lives.
    pub(crate) async fn ask_patiently<T>(
        &self,
        command: Command,
        outcome: oneshot::Receiver<Result<T, Error>>,
    ) -> Result<T, Error> {
        self.send(command).await?;
        outcome.await.unwrap_or_else(|_| Err(self.end_reason()))
    }

    /// Why nothing is possible any more.
    pub(crate) fn end_reason(&self) -> Error {
        let state = self.0.state.borrow();
        if let State::Closed(Some(error)) = &*state { error.clone() } else { Error::closed() }
    }
}
