//! A seat in a pair: the part that plain WebSockets and protocol sessions share.

use whub_proto::names::PairId;

use crate::hub::Hub;
use crate::letter::Letter;
use crate::pairs::{Arrival, Half, HalfId};

#[derive(Debug)]
pub(super) struct Seat {
    pub(super) pair: PairId,
    me: Half,
    partner: Option<Half>,
}

/// What taking a seat, or losing a partner, led to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Standing {
    /// Alone until somebody comes.
    Waiting,
    /// Together with a half that had waited.
    Paired,
}

impl Seat {
    pub(super) fn take(hub: &Hub, pair: PairId, me: Half) -> (Self, Standing) {
        let mut seat = Self { pair, me, partner: None };
        let standing = seat.arrive(hub);
        (seat, standing)
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
    pub(super) fn handle_parted(&mut self, hub: &Hub, partner: HalfId) -> Option<Standing> {
        if self.partner.as_ref().map(Half::id) != Some(partner) {
            return None;
        }
        self.partner = None;
        Some(self.arrive(hub))
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
        match self.partner {
            Some(partner) => part(&partner, me),
            None => hub.pairs.leave(&self.pair, me),
        }
    }

    fn arrive(&mut self, hub: &Hub) -> Standing {
        // What our peer is told of this arrival goes first, though the next half may meet us at once.
        self.me.mailbox.hold();
        match hub.pairs.arrive(&self.pair, &self.me) {
            Arrival::Waiting => Standing::Waiting,
            Arrival::Met(partner) => {
                hub.counters.pairs_formed.one();
                self.partner = Some(partner);
                Standing::Paired
            }
        }
    }
}

/// Tells a half that the one it knows as its partner is gone. That it is gone itself is nobody's loss.
pub(super) fn part(half: &Half, gone: HalfId) {
    let _ = half.mailbox.post(Letter::Parted { half: half.id(), partner: gone });
}
