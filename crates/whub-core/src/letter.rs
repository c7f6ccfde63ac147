//! What sessions say to each other.

use std::sync::Arc;
use std::time::Duration;

use whub_proto::Code;

use crate::call::{Call, CallId, CallKey, Place};
use crate::fault::Fault;
use crate::packet::Packet;
use crate::pairs::{Half, HalfId};
use crate::rooms::Room;

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
    /// To a member of a room: it is one no longer.
    Expelled {
        /// The room.
        room: Arc<Room>,
        /// The id of its `Join`.
        seat: u64,
        /// Its number there.
        number: u32,
        /// What its peer is told: `Closed`.
        event: Packet,
    },
    /// To a half: another has taken its place in the pair.
    Replaced {
        /// The half that is addressed.
        half: HalfId,
    },
    /// To the session that has a kept seat: there are letters in the seat, or another connection has taken it.
    Stirred {
        /// The id of the `Join`.
        seat: u64,
        /// Which of the hub's seats it is.
        serial: u64,
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

/// What the node says to every session, whatever its conversation is.
#[derive(Debug)]
pub enum Announcement {
    /// The node is stopping.
    Drain {
        /// When the client may come back.
        retry: Duration,
    },
    /// The rules have changed: see whether the session's credentials still hold.
    Recheck,
    /// End the session with this fault as its close reason.
    Kick(Fault),
}

impl Letter {
    /// What the node announces in it. `None` is what callers, providers, halves and members say to each other, for
    /// conversations that are none of these.
    #[must_use]
    pub fn announcement(self) -> Option<Announcement> {
        match self {
            Self::Drain { retry, .. } => Some(Announcement::Drain { retry }),
            Self::Recheck => Some(Announcement::Recheck),
            Self::Kick(fault) => Some(Announcement::Kick(fault)),
            Self::Call(_)
            | Self::Upload { .. }
            | Self::Abandon { .. }
            | Self::Refill { .. }
            | Self::Answer { .. }
            | Self::Credit { .. }
            | Self::Placed { .. }
            | Self::Failed { .. }
            | Self::Paired { .. }
            | Self::Parted { .. }
            | Self::Replaced { .. }
            | Self::Stirred { .. }
            | Self::Expelled { .. } => None,
        }
    }

    /// Bytes that the letter holds while it waits.
    #[must_use]
    pub fn weight(&self) -> usize {
        const ENVELOPE: usize = 64;
        ENVELOPE
            + match self {
                Self::Call(call) => call.request.len(),
                Self::Upload { data, .. } => data.len(),
                Self::Answer { packet, .. } | Self::Expelled { event: packet, .. } => packet.len(),
                Self::Failed { fault, .. } | Self::Kick(fault) => fault.reason.len(),
                Self::Abandon { .. }
                | Self::Refill { .. }
                | Self::Credit { .. }
                | Self::Placed { .. }
                | Self::Paired { .. }
                | Self::Parted { .. }
                | Self::Replaced { .. }
                | Self::Stirred { .. }
                | Self::Drain { .. }
                | Self::Recheck => 0,
            }
    }
}
