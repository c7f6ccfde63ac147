//! What the client of a kept seat says, and how it stands.

use std::time::Instant;

use crate::session::seat::Seat;

/// The seat in the pair, and who speaks for it.
pub(super) struct Outward {
    pub(super) seat: Option<Seat>,
    /// Counts the connections; only the latest may act.
    pub(super) generation: u64,
    /// Messages of the client that were taken.
    pub(super) received: u64,
    /// Of these, bytes that the client has not been told of.
    pub(super) outstanding: u64,
    /// The client wants to be told, because it keeps what it said until then.
    pub(super) acknowledges: bool,
    pub(super) ended: bool,
    /// Until when the client is waited for.
    pub(super) until: Option<Instant>,
    /// Until when its first partner has to have come.
    pub(super) partner_until: Option<Instant>,
    /// It stepped aside from waiting when the connection was lost.
    pub(super) aside: bool,
    pub(super) member: u32,
}

impl Default for Outward {
    fn default() -> Self {
        Self {
            seat: None,
            generation: 1,
            received: 0,
            outstanding: 0,
            acknowledges: false,
            ended: false,
            until: None,
            partner_until: None,
            aside: false,
            member: 1,
        }
    }
}
