//! What sessions say to each other.

use std::sync::Arc;
use std::time::{Duration, Instant};

use whub_proto::Code;

use crate::calls::Place;
use crate::fault::Fault;
use crate::mailbox::{Mailbox, SessionId};
use crate::moving::Refusals;
use crate::packet::Packet;
use crate::pairs::{Half, HalfId};
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
}

/// A letter to a session.
#[derive(Debug)]
pub enum Letter {
    /// To a provider: answer this.
    Call(Box<Call>),
    /// To a provider: the request's body goes on (`Data`).
    Upload {
        /// Which call.
        call: CallKey,
        /// The frame.
        data: Packet,
    },
    /// To a provider: the caller no longer waits.
    Abandon {
        /// Which call.
        call: CallKey,
        /// Why: `Cancelled` by the caller, or the caller is gone.
        code: Code,
    },
    /// To a provider: the caller accepts this many more bytes.
    Refill {
        /// Which call.
        call: CallKey,
        /// Bytes.
        bytes: u32,
    },
    /// To a caller: the response, or more of its body. `last` ends the call.
    Answer {
        /// The call, as its caller knows it.
        id: CallId,
        /// `Response` or `Data`.
        packet: Packet,
        /// Nothing follows: the call has had its outcome.
        last: bool,
    },
    /// To a caller: the provider accepts this many more bytes of request body.
    Credit {
        /// The call, as its caller knows it.
        id: CallId,
        /// Bytes.
        bytes: u32,
    },
    /// To a caller: the call ended without an answer of the service.
    Failed {
        /// The call, as its caller knows it.
        id: CallId,
        /// What the caller is told.
        fault: Fault,
    },
    /// To a caller: the call is there now. Comes when a call that waited was given to a provider, and when it was moved.
    /// Whoever does not know the call (any more) [abandons](crate::Hub::abandon) it there.
    Placed {
        /// The call, as its caller knows it.
        id: CallId,
        /// Where it is.
        place: Place,
        /// Of two such letters, the one with the higher number is right.
        step: u8,
    },
    /// To a waiting half: somebody came.
    Paired {
        /// The half that is addressed.
        half: HalfId,
        /// The other one.
        partner: Half,
    },
    /// To a half: its partner is gone.
    Parted {
        /// The half that is addressed.
        half: HalfId,
        /// The one that left.
        partner: HalfId,
    },
    /// The node is stopping.
    Drain {
        /// How long calls in flight may take.
        grace: Duration,
        /// How long a session without any stays before it is closed.
        linger: Duration,
        /// When the client may come back.
        retry: Duration,
    },
    /// The rules have changed: see whether the session's credentials still hold.
    Recheck,
    /// End the session with this fault as its close reason.
    Kick(Fault),
}

impl Letter {
    /// Bytes that the letter holds while it waits.
    #[must_use]
    pub fn weight(&self) -> usize {
        const ENVELOPE: usize = 64;
        ENVELOPE
            + match self {
                Self::Call(call) => call.request.weight(),
                Self::Upload { data, .. } => data.weight(),
                Self::Answer { packet, .. } => packet.weight(),
                Self::Failed { fault, .. } | Self::Kick(fault) => fault.reason.len(),
                Self::Abandon { .. }
                | Self::Refill { .. }
                | Self::Credit { .. }
                | Self::Placed { .. }
                | Self::Paired { .. }
                | Self::Parted { .. }
                | Self::Drain { .. }
                | Self::Recheck => 0,
            }
    }
}
