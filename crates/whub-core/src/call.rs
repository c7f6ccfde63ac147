//! A call on its way through the hub: what everybody needs who has it in hand.

use std::sync::Arc;
use std::time::{Duration, Instant};

use whub_proto::Code;

use crate::fault::Fault;
use crate::letter::Letter;
use crate::mailbox::{Mailbox, SessionId};
use crate::moving::Refusals;
use crate::packet::Packet;
use crate::services::{Provider, Seat, Service, Stats};

/// A call as its caller's session knows it. Ids are used again; the serial is not, so that what was said about an
/// earlier call is never taken for a later one.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct CallId {
    /// The id on the caller's connection.
    pub id: u64,
    /// Counts the session's calls.
    pub serial: u64,
}

/// A call as its provider knows it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct CallKey {
    /// The caller's session.
    pub caller: SessionId,
    /// The call there.
    pub id: CallId,
}

/// A request that a provider owes an answer for from here on.
#[derive(Debug)]
pub struct Call {
    /// Where the outcome goes.
    pub caller: Mailbox,
    /// The call, as its caller knows it.
    pub id: CallId,
    /// Which service was called.
    pub service: Arc<Service>,
    /// When it was placed.
    pub since: Instant,
    /// When the outcome is `DeadlineExceeded`.
    pub deadline: Instant,
    /// The `Request` frame with the hub's via.
    pub request: Packet,
    /// No body follows.
    pub ended: bool,
    /// Bytes of response body that the caller accepts before it sends more credit.
    pub credit: u32,
    /// It may be carried out twice: if its provider is lost before the answer has begun, another one is asked.
    pub idempotent: bool,
    /// It opens a WebSocket: status 101 accepts it, then both sides send until each of them has ended.
    pub websocket: bool,
    /// Calls with the same number, which is not 0, go to the same provider.
    pub affinity: u64,
    /// How often it was moved to another provider.
    pub moved: u8,
    /// Who said that they do not take it.
    pub refusals: Refusals,
    /// Nodes that it passed through before this one.
    pub hops: u8,
    /// How often it was given a place so far, so that news that overtake each other are told apart.
    pub step: u8,
    /// The place that it takes among the provider's calls in flight; given back when it is dropped. `None` while it has
    /// no provider.
    pub seat: Option<Seat>,
}

/// Where providers that are no sessions count what became of a call.
#[derive(Debug, Clone)]
pub struct CallFigures {
    service: Arc<Service>,
    provider: Option<Arc<Provider>>,
    since: Instant,
}

impl CallFigures {
    /// The answer has begun.
    pub fn answered(&self, now: Instant, status: u16) {
        let after = now.saturating_duration_since(self.since);
        self.each(|stats| stats.answered(after, status));
    }

    /// The answer is an error, or there is none.
    pub fn failed(&self, code: Code) {
        self.each(|stats| stats.errors.count(code));
    }

    fn each(&self, count: impl Fn(&Stats)) {
        count(&self.service.stats);
        if let Some(provider) = &self.provider {
            count(&provider.stats);
        }
    }
}

impl Call {
    /// Where to count what becomes of it.
    #[must_use]
    pub fn figures(&self) -> CallFigures {
        let provider = self.seat.as_ref().map(|seat| Arc::clone(seat.provider()));
        CallFigures { service: Arc::clone(&self.service), provider, since: self.since }
    }

    /// The call, as providers know it.
    #[must_use]
    pub fn key(&self) -> CallKey {
        CallKey { caller: self.caller.session(), id: self.id }
    }

    /// Counts that the answer has begun, for the service and for its provider.
    pub(crate) fn count_answer(&self, now: Instant, status: u16) {
        let after = self.lasts(now);
        self.each_stats(|stats| stats.answered(after, status));
    }

    /// Counts that the service answered with an error.
    pub(crate) fn count_refusal(&self, now: Instant, code: Code) {
        let after = self.lasts(now);
        self.each_stats(|stats| stats.latency.record(after));
        self.count_error(code);
    }

    /// Counts that the answer is an error, or that there is none.
    pub(crate) fn count_error(&self, code: Code) {
        self.each_stats(|stats| stats.errors.count(code));
    }

    /// Tells the caller that the call has failed.
    pub(crate) fn fail(&self, fault: Fault) {
        let fault = fault.of_moved(self.moved);
        // A caller that is gone needs no outcome.
        let _ = self.caller.post(Letter::Failed { id: self.id, fault });
    }

    fn lasts(&self, now: Instant) -> Duration {
        now.saturating_duration_since(self.since)
    }

    /// What happened to a call happened to its service and to its provider.
    fn each_stats(&self, count: impl Fn(&Stats)) {
        count(&self.service.stats);
        if let Some(seat) = &self.seat {
            count(&seat.provider().stats);
        }
    }
}

/// Where a call is.
#[derive(Debug, Clone)]
pub enum Place {
    /// At a provider, which owes the answer.
    At(Mailbox),
    /// In the line of those who wait for a free provider.
    Waiting(Arc<Service>),
}

impl Place {
    /// The provider that has the call.
    #[must_use]
    pub fn provider(&self) -> Option<&Mailbox> {
        match self {
            Self::At(provider) => Some(provider),
            Self::Waiting(_) => None,
        }
    }
}
