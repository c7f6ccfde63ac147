//! The task that keeps a client connected. It alone owns connections and what is wanted of them; handles reach it by
//! channels.
//!
//! ```text
//! handles --commands, releases--> Keeper --+-- current: Conversation = Session + Link <--> hub
//!         <--outcomes, queues-----         +-- old: one that is being left (drain)
//!                                          +-- dialing: the next one
//!                                          '-- wanted: services, subscriptions, seats, backlog
//! ```

mod commands;
mod ending;

use std::pin::Pin;
use std::sync::Arc;
use std::time::{Duration, Instant};

use tokio::sync::{broadcast, mpsc, oneshot, watch};
use tokio::task::JoinSet;

use crate::backoff::Backoff;
use crate::client::BoxFuture;
use crate::command::{Command, Done, Release};
use crate::conversation::{Conversation, Ready};
use crate::dial::{Opened, Setup};
use crate::error::{Error, ErrorKind};
use crate::event::{Event, State};
use crate::key::KeySource;
use crate::random::fraction;
use crate::session::{Farewell, Session, Supply, forget_seat};
use crate::wanted::Wanted;
use ending::Ending;

/// A connection that lasted this long was a good one: the next pause is short again.
const LASTING: Duration = Duration::from_secs(5);
/// Commands that are handled in one go.
const BATCH_MAX: usize = 64;
/// How long a connection that is being left may take, where the hub does not say.
const LEAVE_WITHIN: Duration = Duration::from_secs(10);
/// How long the last bytes may take to leave.
const CLOSE_WITHIN: Duration = Duration::from_secs(2);

/// The keeper's ends of all channels.
pub(crate) struct Lines {
    pub(crate) commands: mpsc::Receiver<Command>,
    /// For handlers: a running one keeps the client alive, the keeper itself does not.
    pub(crate) weak_commands: mpsc::WeakSender<Command>,
    pub(crate) releases: mpsc::UnboundedSender<Release>,
    pub(crate) released: mpsc::UnboundedReceiver<Release>,
    pub(crate) events: broadcast::Sender<Event>,
    pub(crate) state: watch::Sender<State>,
}

pub(crate) struct Keeper {
    setup: Arc<Setup>,
    lines: Lines,
    supply: Supply,
    wanted: Wanted,
    current: Option<Conversation>,
    old: Option<Conversation>,
    dialing: Option<BoxFuture<Result<Opened, Error>>>,
    dial_at: Option<Instant>,
    backoff: Backoff,
    /// A new token is being asked for.
    renewing: Option<BoxFuture<Result<String, Error>>>,
    /// The last connection was refused for its credentials, and fresh ones are being tried.
    retried_token: bool,
    /// Who waits for the first connection.
    first: Option<Done>,
    retry_initial: bool,
    serial: u64,
    jobs: JoinSet<()>,
    ending: Option<Ending>,
}

/// What woke the keeper.
enum Wake {
    Command(Option<Command>),
    Release(Option<Release>),
    Current(Result<Ready, Error>),
    Old(Result<Ready, Error>),
    Dialed(Box<Result<Opened, Error>>),
    Token(Result<String, Error>),
    JobDone,
    Timer,
}

impl Keeper {
    pub(crate) fn new(
        setup: Arc<Setup>,
        lines: Lines,
        keys: Arc<KeySource>,
        first: oneshot::Sender<Result<(), Error>>,
        retry_initial: bool,
    ) -> Self {
        let supply = Supply { keys, releases: lines.releases.clone() };
        Self {
            dialing: Some(Box::pin(Arc::clone(&setup).connect())),
            setup,
            lines,
            supply,
            wanted: Wanted::default(),
            current: None,
            old: None,
            dial_at: None,
            backoff: Backoff::default(),
            renewing: None,
            retried_token: false,
            first: Some(first),
            retry_initial,
            serial: 0,
            jobs: JoinSet::new(),
            ending: None,
        }
    }

    /// Runs until the client ends: by its own wish, by an error that trying again does not mend, or because nobody
    /// holds it any more.
    pub(crate) async fn run(mut self) {
        let reason = loop {
            let now = now();
            self.settle(now);
            if self.is_over(now) {
                break None;
            }
            let wake = self.wake().await;
            match self.handle(wake) {
                Ok(()) => {}
                Err(Over::Wished) => break None,
                Err(Over::Failed(error)) => break Some(error),
            }
        };
        self.end(reason).await;
    }

    async fn wake(&mut self) -> Wake {
        let has_room = [&self.current, &self.old].into_iter().flatten().all(Conversation::has_room);
        let timer = self.next_timer().map(tokio::time::Instant::from_std);
        tokio::select! {
            command = self.lines.commands.recv(), if has_room => Wake::Command(command),
            release = self.lines.released.recv() => Wake::Release(release),
            ready = Conversation::ready(self.current.as_mut()) => Wake::Current(ready),
            ready = Conversation::ready(self.old.as_mut()) => Wake::Old(ready),
            dialed = awaited(&mut self.dialing) => Wake::Dialed(Box::new(dialed)),
            token = awaited(&mut self.renewing) => Wake::Token(token),
            Some(_) = self.jobs.join_next() => Wake::JobDone,
            () = until(timer) => Wake::Timer,
        }
    }

    fn handle(&mut self, wake: Wake) -> Result<(), Over> {
        let now = now();
        match wake {
            Wake::Command(Some(command)) => self.handle_commands(now, command),
            Wake::Command(None) => Err(Over::Wished),
            Wake::Release(release) => {
                self.handle_releases(release);
                Ok(())
            }
            Wake::Current(ready) => self.handle_current(now, ready),
            Wake::Old(ready) => {
                self.handle_old(now, ready);
                Ok(())
            }
            Wake::Dialed(dialed) => {
                self.dialing = None;
                self.handle_dialed(now, *dialed)
            }
            Wake::Token(token) => {
                self.renewing = None;
                self.handle_token(now, token);
                Ok(())
            }
            Wake::JobDone => Ok(()),
            Wake::Timer => {
                self.handle_timer(now);
                Ok(())
            }
        }
    }

    // --------------------------------------------------------------------------------------- connections

    fn handle_current(&mut self, now: Instant, ready: Result<Ready, Error>) -> Result<(), Over> {
        let Some(current) = &mut self.current else { return Ok(()) };
        let outcome = ready.and_then(|ready| current.handle(now, &ready, &mut self.wanted));
        if let Err(error) = outcome {
            return self.lose_current(now, error);
        }
        if let Some(farewell) = current.session.take_farewell() {
            self.move_on(now, &farewell);
        }
        Ok(())
    }

    fn handle_old(&mut self, now: Instant, ready: Result<Ready, Error>) {
        let Some(old) = &mut self.old else { return };
        let Err(error) = ready.and_then(|ready| old.handle(now, &ready, &mut self.wanted)) else { return };
        if let Some(old) = self.old.take() {
            old.lose(&error, &mut self.wanted);
        }
        self.take_seats();
    }

    fn handle_dialed(&mut self, now: Instant, dialed: Result<Opened, Error>) -> Result<(), Over> {
        match dialed {
            Ok(opened) => self.install(now, opened),
            Err(error) if self.current.is_some() => {
                // The one that is being left still serves.
                self.dial_later(now, &error);
                Ok(())
            }
            Err(error) => self.reconnect(now, error),
        }
    }

    /// A new connection stands.
    fn install(&mut self, now: Instant, opened: Opened) -> Result<(), Over> {
        self.serial += 1;
        self.retried_token = false;
        let mut session = Session::new(self.serial, &opened.terms, self.supply.clone(), now);
        if let Some(mut left) = self.current.take() {
            left.until = left.until.or(Some(now + LEAVE_WITHIN));
            if let Some(older) = self.old.replace(left) {
                older.lose(&Error::lost("the connection was left for another"), &mut self.wanted);
            }
        }
        session.handle_open(now, &mut self.wanted);
        let mut conversation = Conversation::new(session, opened.link, now);
        // What the hub sent behind its welcome was read with it.
        let early = conversation.handle_arrivals(now, &mut self.wanted);
        self.current = Some(conversation);
        let (client, node) = (opened.terms.client, opened.terms.node);
        tracing::debug!(%client, %node, "connected");
        self.tell(Event::Open { client, node });
        if self.ending.is_none() {
            self.lines.state.send_replace(State::Open);
        }
        if let Some(first) = self.first.take() {
            drop(first.send(Ok(())));
        }
        early.or_else(|error| self.lose_current(now, error))
    }

    fn lose_current(&mut self, now: Instant, error: Error) -> Result<(), Over> {
        let Some(current) = self.current.take() else { return Ok(()) };
        let error = current.session.complaint().unwrap_or(error);
        if now.saturating_duration_since(current.since) >= LASTING {
            self.backoff.reset();
        }
        let told = if error.kind() == ErrorKind::ConnectionLost { error.clone() } else { lost_by(&error) };
        current.lose(&told, &mut self.wanted);
        self.reconnect(now, error)
    }

    /// Tries again, unless that would end the same way.
    fn reconnect(&mut self, now: Instant, error: Error) -> Result<(), Over> {
        let unauthorized = error.kind() == ErrorKind::Unauthorized;
        let with_fresh_token = unauthorized && self.setup.token.is_some() && !self.retried_token;
        if (error.is_fatal() && !with_fresh_token) || self.ending.is_some() {
            return Err(Over::Failed(error));
        }
        if self.first.is_some() && !self.retry_initial && !with_fresh_token {
            return Err(Over::Failed(error));
        }
        self.retried_token |= unauthorized;
        if self.first.is_none() {
            self.lines.state.send_replace(State::Reconnecting);
        }
        self.dial_later(now, &error);
        Ok(())
    }

    fn dial_later(&mut self, now: Instant, error: &Error) {
        if self.dialing.is_some() || self.dial_at.is_some() {
            return;
        }
        let delay = self.backoff.next(fraction()) + error.retry_after().unwrap_or_default();
        self.dial_at = Some(now + delay);
        let attempt = self.backoff.tries();
        tracing::debug!(attempt, ?delay, %error, "connecting again");
        self.tell(Event::Reconnecting { attempt, delay, error: error.clone() });
    }

    /// The hub is stopping: the next connection first, then this one is left.
    fn move_on(&mut self, now: Instant, farewell: &Farewell) {
        self.tell(Event::Drain { reason: farewell.reason.clone() });
        let Some(current) = &mut self.current else { return };
        let grace = if farewell.grace.is_zero() { LEAVE_WITHIN } else { farewell.grace };
        current.until = Some(now + grace);
        if self.ending.is_none() && self.dialing.is_none() && self.dial_at.is_none() {
            self.dial_at = Some(now + self.backoff.next(fraction()) + farewell.pause);
        }
    }

    fn take_seats(&mut self) {
        if let Some(current) = &mut self.current {
            current.session.take_seats(&mut self.wanted);
            current.session.enter_rooms(&mut self.wanted);
        }
    }

    // ------------------------------------------------------------------------------------------- tokens

    fn handle_token(&mut self, now: Instant, token: Result<String, Error>) {
        let Some(current) = &mut self.current else { return };
        match token {
            Ok(token) => current.session.renew(now, &token),
            Err(error) => {
                current.session.postpone_renewal(now);
                self.tell(Event::Error(error));
            }
        }
    }

    // -------------------------------------------------------------------------------------------- timers

    fn next_timer(&self) -> Option<Instant> {
        let current = self.current.as_ref();
        let renewal = current.filter(|_| self.renewing.is_none() && self.setup.token.is_some());
        [
            self.dial_at,
            self.ending.as_ref().map(|ending| ending.until),
            renewal.and_then(|current| current.session.renewal()),
            self.old.as_ref().and_then(|old| old.until),
            self.wanted.seats.values().filter_map(|seat| seat.keep.as_ref()?.until()).min(),
        ]
        .into_iter()
        .flatten()
        .min()
    }

    fn handle_timer(&mut self, now: Instant) {
        if self.dial_at.is_some_and(|at| at <= now) {
            self.dial_at = None;
            self.dialing = Some(Box::pin(Arc::clone(&self.setup).connect()));
        }
        let due = self.current.as_ref().and_then(|current| current.session.renewal());
        if let (Some(token), true, None) =
            (&self.setup.token, due.is_some_and(|at| at <= now), &self.renewing)
        {
            self.renewing = Some(token());
        }
    }

    /// After whatever happened: frames leave, handlers start, events are told, a connection that is done is closed.
    fn settle(&mut self, now: Instant) {
        for conversation in [&mut self.current, &mut self.old].into_iter().flatten() {
            conversation.pump();
            while let Some(event) = conversation.session.poll_event() {
                // Nobody may be listening.
                let _ = self.lines.events.send(event);
            }
            while let Some(job) = conversation.session.poll_job() {
                // Without any handle left nobody could have been told; the call fails with the connection.
                let Some(commands) = self.lines.weak_commands.upgrade() else { break };
                self.jobs.spawn(job.run(commands, self.lines.releases.clone()));
            }
        }
        self.leave_old(now);
        self.forget_seats(now);
    }

    /// Seats that the hub has kept for as long as it was asked to, and no connection has come.
    fn forget_seats(&mut self, now: Instant) {
        for seat in self.wanted.seats.values_mut().filter(|seat| seat.taken_on.is_none()) {
            if seat.keep.as_mut().is_some_and(|keep| keep.has_seat() && keep.is_forgotten(now)) {
                forget_seat(seat);
            }
        }
    }

    fn leave_old(&mut self, now: Instant) {
        let serial = self.old.as_ref().map(|old| old.session.serial());
        let seated = self.wanted.seats.values().any(|seat| seat.taken_on == serial)
            || self.wanted.rooms.values().any(|place| place.taken_on == serial);
        let done = self
            .old
            .as_ref()
            .is_some_and(|old| old.until.is_none_or(|until| until <= now) || (old.is_quiet() && !seated));
        let Some(mut old) = self.old.take_if(|_| done) else { return };
        old.pump();
        let error = Error::lost("the connection was left for another");
        // Its seats are taken again at once; the rest of it ends by itself.
        old.session.release_seats(&mut self.wanted);
        old.session.release_rooms(&mut self.wanted);
        self.jobs
            .spawn(async move { drop(old.close(whub_ws::CloseCode::NORMAL, error, CLOSE_WITHIN).await) });
        self.take_seats();
    }

    fn tell(&self, event: Event) {
        // Nobody may be listening.
        let _ = self.lines.events.send(event);
    }
}

/// Why the keeper stops.
enum Over {
    /// The program wanted it.
    Wished,
    Failed(Error),
}

/// What calls in flight are told when the hub ended the connection for a reason of its own.
fn lost_by(error: &Error) -> Error {
    Error::lost(format!("the connection was lost: {error}")).with_source(error.clone())
}

fn now() -> Instant {
    tokio::time::Instant::now().into_std()
}

async fn until(at: Option<tokio::time::Instant>) {
    match at {
        Some(at) => tokio::time::sleep_until(at).await,
        None => std::future::pending().await,
    }
}

async fn awaited<T>(future: &mut Option<Pin<Box<dyn Future<Output = T> + Send>>>) -> T {
    match future {
        Some(future) => future.await,
        None => std::future::pending().await,
    }
}
