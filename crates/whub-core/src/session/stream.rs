//! A half that is a stream of bytes each way, such as an HTTP request and its answer: it has one partner in its life,
//! and ends with it.
//!
//! Contract: hand over every letter, and say when each direction has ended; then look at [`StreamHalf::standing`].

use std::sync::Arc;
use std::time::Instant;

use whub_proto::Code;
use whub_proto::names::PairId;

use crate::fault::Fault;
use crate::hub::Hub;
use crate::letter::Letter;
use crate::mailbox::Mailbox;
use crate::pairs::{Guest, Half, HalfId, Manner, replaced};
use crate::session::seat::{Seat, part};

/// One stream half.
#[derive(Debug)]
pub struct StreamHalf {
    hub: Arc<Hub>,
    me: HalfId,
    seat: Option<Seat>,
    /// Its partner has been there, and has gone.
    parted: bool,
    sent_end: bool,
    heard_end: bool,
    /// The partner is a stream that ended before this one did, and is waited for until it has taken everything.
    waits_for_partner: bool,
    fault: Option<Fault>,
    draining: bool,
}

/// How a stream half stands.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum StreamStanding {
    /// Alone until somebody comes.
    Waiting,
    /// Together with another half.
    Paired,
    /// Both directions have come to their end.
    Whole,
    /// Something may be missing.
    Broken(Fault),
}

impl StreamHalf {
    /// Takes the seat, if the terms of the pair admit the guest.
    pub fn new(hub: Arc<Hub>, mailbox: Mailbox, pair: PairId, guest: Guest, now: Instant) -> Self {
        hub.counters.sessions_opened.one();
        let half = Half { mailbox, seat: 0, serial: hub.pairs.next_serial(), manner: Manner::Stream };
        let me = half.id();
        let (seat, fault) = match Seat::take(&hub, now, pair, half, guest) {
            Ok((seat, _)) => (Some(seat), None),
            Err(fault) => (None, Some(fault)),
        };
        if fault.as_ref().is_some_and(|fault| fault.code == Code::Forbidden) {
            hub.counters.forbidden.one();
        }
        Self {
            hub,
            me,
            seat,
            parted: false,
            sent_end: false,
            heard_end: false,
            waits_for_partner: false,
            fault,
            draining: false,
        }
    }

    /// The half that bytes go to.
    #[must_use]
    pub fn partner(&self) -> Option<&Half> {
        self.seat.as_ref().and_then(Seat::partner)
    }

    /// Whether this side has said all it had to say.
    #[must_use]
    pub fn has_sent_end(&self) -> bool {
        self.sent_end
    }

    /// The end of this side's bytes was sent to the partner.
    pub fn handle_sent_end(&mut self) {
        self.sent_end = true;
        self.waits_for_partner =
            self.heard_end && self.partner().is_some_and(|partner| partner.manner == Manner::Stream);
    }

    /// The partner's bytes have come to their end, and were taken.
    pub fn handle_heard_end(&mut self) {
        self.heard_end = true;
    }

    /// A letter from another session, in its place among the partner's bytes.
    pub fn handle_letter(&mut self, letter: Letter) {
        match letter {
            Letter::Paired { half, partner } => self.handle_paired(half, partner),
            Letter::Parted { partner, .. } => {
                if let Some(seat) = &mut self.seat {
                    self.parted |= seat.lose(partner);
                }
            }
            Letter::Drain { .. } => self.draining = true,
            Letter::Replaced { .. } => self.fault = Some(replaced()),
            Letter::Kick(fault) => self.fault = Some(fault),
            Letter::Recheck
            | Letter::Stirred { .. }
            | Letter::Call(_)
            | Letter::Upload { .. }
            | Letter::Abandon { .. }
            | Letter::Refill { .. }
            | Letter::Answer { .. }
            | Letter::Credit { .. }
            | Letter::Placed { .. }
            | Letter::Expelled { .. }
            | Letter::Failed { .. } => {}
        }
    }

    /// How it stands now.
    #[must_use]
    pub fn standing(&self) -> StreamStanding {
        if let Some(fault) = &self.fault {
            return StreamStanding::Broken(fault.clone());
        }
        if self.sent_end && self.heard_end && (self.parted || !self.waits_for_partner) {
            return StreamStanding::Whole;
        }
        if self.parted {
            return StreamStanding::Broken(broke_off());
        }
        if self.partner().is_some() {
            return StreamStanding::Paired;
        }
        // What is under way may finish while the node stops; what has not begun does not begin.
        if self.draining { StreamStanding::Broken(Fault::draining()) } else { StreamStanding::Waiting }
    }

    /// It has ended; `whole`: everything was sent, and taken. Letters that come later are handed to
    /// [`Self::handle_letter`] still.
    pub fn handle_lost(&mut self, whole: bool) {
        self.hub.counters.sessions_closed.one();
        let Some(seat) = self.seat.take() else { return };
        if !whole
            && let Some(partner) = seat.partner()
            && partner.manner == Manner::Stream
        {
            // It may have sent everything, and would take its end for a good one.
            let _ = partner.mailbox.post(Letter::Kick(broke_off()));
        }
        seat.leave(&self.hub);
    }

    fn handle_paired(&mut self, half: HalfId, partner: Half) {
        debug_assert_eq!(half, self.me, "a stream half has one seat");
        match &mut self.seat {
            Some(seat) => seat.handle_paired(partner),
            None => part(&partner, half),
        }
    }
}

fn broke_off() -> Fault {
    Fault::fatal(Code::Unavailable, "pair.broken", "the other half left before its end; bytes may be missing")
}
