//! A session that registered a service, and the places of its calls in flight.

use std::fmt;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU32, Ordering::Relaxed, Ordering::SeqCst};

use crate::call::Call;
use crate::letter::Letter;
use crate::mailbox::{Mailbox, SessionId, Undelivered};
use crate::services::line::Line;
use crate::services::registration::Registration;
use crate::services::stats::Stats;

/// A session that registered a service.
#[derive(Debug)]
pub struct Provider {
    /// What it said of itself.
    pub registration: Registration,
    /// What happened to its calls.
    pub stats: Stats,
    mailbox: Mailbox,
    inflight: AtomicU32,
    left: AtomicBool,
    /// The calls of its service that wait for a place.
    line: Arc<Line>,
}

/// A call's place among the calls in flight of its provider, given back when it is dropped.
pub struct Seat {
    provider: Arc<Provider>,
    /// Whether those who wait are told of it.
    quiet: bool,
}

impl Provider {
    pub(crate) fn new(registration: Registration, mailbox: Mailbox, line: Arc<Line>) -> Self {
        Self {
            registration,
            stats: Stats::default(),
            mailbox,
            inflight: AtomicU32::new(0),
            left: AtomicBool::new(false),
            line,
        }
    }

    /// The provider's session.
    #[must_use]
    pub fn session(&self) -> SessionId {
        self.mailbox.session()
    }

    /// Calls in flight now.
    #[must_use]
    pub fn inflight(&self) -> u32 {
        self.inflight.load(Relaxed)
    }

    /// Calls that it was given so far.
    #[must_use]
    pub fn calls(&self) -> u64 {
        self.stats.calls.read()
    }

    /// Whether it has as many calls as it wants.
    #[must_use]
    pub fn is_full(&self) -> bool {
        let most = self.registration.inflight_max;
        most != 0 && self.inflight() >= most
    }

    /// It is in no roster any more. Who took a look just before may still post a call.
    pub(crate) fn leave(&self) {
        self.left.store(true, Relaxed);
    }

    pub(crate) fn has_left(&self) -> bool {
        self.left.load(Relaxed)
    }

    /// Gives it the call.
    ///
    /// # Errors
    /// The call, when the provider has as many as it wants, reads too slowly, or is just leaving.
    pub(crate) fn offer(self: &Arc<Self>, mut call: Box<Call>) -> Result<Mailbox, Refused> {
        let Some(seat) = self.take_seat() else { return Err(Refused { call, congested: false }) };
        call.seat = Some(seat);
        match self.mailbox.post(Letter::Call(call)) {
            Ok(()) => {
                self.stats.calls.one();
                Ok(self.mailbox.clone())
            }
            Err(Undelivered::Full(letter)) => Err(Refused::back(letter, true)),
            Err(Undelivered::Gone(letter)) => Err(Refused::back(letter, false)),
        }
    }

    fn take_seat(self: &Arc<Self>) -> Option<Seat> {
        let most = self.registration.inflight_max;
        if most == 0 {
            self.inflight.fetch_add(1, SeqCst);
        } else {
            let more = |taken| (taken < most).then_some(taken + 1);
            self.inflight.fetch_update(SeqCst, SeqCst, more).ok()?;
        }
        Some(Seat { provider: Arc::clone(self), quiet: false })
    }
}

/// A call that a provider did not take.
pub(crate) struct Refused {
    pub(crate) call: Box<Call>,
    /// The provider's mailbox was full, which nobody is told the end of.
    pub(crate) congested: bool,
}

impl Refused {
    fn back(letter: Letter, congested: bool) -> Self {
        let Letter::Call(mut call) = letter else { unreachable!("a mailbox gives back what it was given") };
        if let Some(seat) = &mut call.seat {
            // Those who wait would only meet the same refusal.
            seat.quiet = true;
        }
        call.seat = None;
        Self { call, congested }
    }
}

impl Seat {
    /// Whose place it is.
    #[must_use]
    pub fn provider(&self) -> &Arc<Provider> {
        &self.provider
    }
}

impl Drop for Seat {
    fn drop(&mut self) {
        // In one order with the look at the line: whoever begins to wait looks for a free place afterwards.
        self.provider.inflight.fetch_sub(1, SeqCst);
        if !self.quiet {
            self.provider.line.place_free();
        }
    }
}

impl fmt::Debug for Seat {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Seat({})", self.provider.session().0)
    }
}
