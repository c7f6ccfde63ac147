//! A seat in a pair: the part that plain WebSockets, streams and protocol sessions share.

use std::time::Instant;

use whub_proto::names::PairId;

use crate::fault::Fault;
use crate::hub::Hub;
use crate::letter::Letter;
use crate::pairs::{Arrival, Company, Entrance, Guest, Half, HalfId, Visit};

#[derive(Debug)]
pub(super) struct Seat {
    pub(super) pair: PairId,
    me: Half,
    guest: Guest,
    partner: Option<Half>,
    /// It is one under terms, so the table knows it also while it does not wait.
    seated: bool,
}

/// What taking a seat, or losing a partner, led to.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Standing {
    /// Alone until somebody comes.
    Waiting,
    /// Together with a half that had waited.
    Paired(Company),
}

impl Standing {
    /// The number of this half.
    pub(super) fn member(&self) -> u32 {
        match self {
            Self::Waiting => 1,
            Self::Paired(company) => company.member(),
        }
    }
}

impl Seat {
    pub(super) fn take(
        hub: &Hub,
        now: Instant,
        pair: PairId,
        me: Half,
        guest: Guest,
    ) -> Result<(Self, Standing), Fault> {
        let mut seat = Self { pair, me, guest, partner: None, seated: false };
        let standing = seat.arrive(hub, Some(now))?;
        Ok((seat, standing))
    }

    pub(super) fn id(&self) -> HalfId {
        self.me.id()
    }

    pub(super) fn partner(&self) -> Option<&Half> {
        self.partner.as_ref()
    }

    /// The half that came found us waiting; its session has told our peer already.
    pub(super) fn handle_paired(&mut self, partner: Half) {
        self.partner = Some(partner);
    }

    /// `None` when this is about a partner that we have parted from before.
    pub(super) fn handle_parted(&mut self, hub: &Hub, partner: HalfId) -> Option<Result<Standing, Fault>> {
        self.lose(partner).then(|| self.arrive(hub, None))
    }

    /// The same for halves that take no other partner; true if it was theirs.
    pub(super) fn lose(&mut self, partner: HalfId) -> bool {
        let is_ours = self.partner.as_ref().map(Half::id) == Some(partner);
        if is_ours {
            self.partner = None;
        }
        is_ours
    }

    pub(super) fn leave(self, hub: &Hub) {
        let me = self.me.id();
        if self.seated || self.partner.is_none() {
            hub.pairs.leave(&self.pair, me);
        }
        if let Some(partner) = self.partner {
            part(&partner, me);
        }
    }

    /// Leaves the place where it waits, but keeps the seat. False when it does not wait.
    pub(super) fn step_aside(&self, hub: &Hub) -> bool {
        hub.pairs.step_aside(&self.pair, self.me.id())
    }

    /// Waits, or meets who waits.
    pub(super) fn arrive(&mut self, hub: &Hub, now: Option<Instant>) -> Result<Standing, Fault> {
        // What our peer is told of this arrival goes first, though the next half may meet us at once.
        self.me.mailbox.hold();
        let visit = Visit { half: &self.me, guest: &self.guest, now, seated: self.seated };
        let Entrance { arrival, seated, replaces } = hub.pairs.arrive(&self.pair, visit)?;
        self.seated = seated;
        if let Some(half) = replaces {
            replace(hub, &half);
        }
        match arrival {
            Arrival::Waiting => Ok(Standing::Waiting),
            Arrival::Met(partner, company) => {
                hub.counters.pairs_formed.one();
                self.partner = Some(partner);
                Ok(Standing::Paired(company))
            }
        }
    }
}

/// Tells a half that the one it knows as its partner is gone. That it is gone itself is nobody's loss.
pub(super) fn part(half: &Half, gone: HalfId) {
    let _ = half.mailbox.post(Letter::Parted { half: half.id(), partner: gone });
}

/// Has a half leave its place to another. One that is gone has left it already.
fn replace(hub: &Hub, half: &Half) {
    let _ = half.mailbox.post(Letter::Replaced { half: half.id() });
    // Without a connection there is no session to read that. This is done for a seat that has only just been taken, and only
    // to older ones, so no two wait for each other here.
    if let Some(kept) = hub.pairs.keeping.find(half.serial) {
        kept.handle_replaced(hub);
    }
}
