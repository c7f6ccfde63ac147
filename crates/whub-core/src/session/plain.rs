//! A plain WebSocket on `/pair/<id>`: no frames, no greeting, five texts.
//!
//! Contract: after every `handle_*`, drain [`PlainHalf::poll_output`] until it is empty; call
//! [`PlainHalf::handle_timeout`] no later than [`PlainHalf::poll_timeout`] says.

use std::borrow::Cow;
use std::collections::VecDeque;
use std::sync::Arc;
use std::time::Instant;

use whub_proto::Code;
use whub_proto::names::PairId;

use crate::fault::Fault;
use crate::hub::Hub;
use crate::letter::Letter;
use crate::mailbox::Mailbox;
use crate::pairs::{Guest, Half, HalfId, Manner, replaced};
use crate::session::liveness::{Liveness, Silence};
use crate::session::seat::{Seat, Standing, part};

/// One plain half.
#[derive(Debug)]
pub struct PlainHalf {
    hub: Arc<Hub>,
    /// `None` when it was refused, or given up for another.
    seat: Option<Seat>,
    liveness: Liveness,
    output: VecDeque<PlainOutput>,
}

/// What the driver of a plain half is to do.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum PlainOutput {
    /// Send this text message to the peer.
    Text(Cow<'static, str>),
    /// Send a WebSocket ping.
    Ping,
    /// Close with this fault's close code, or 1001 when the hub is stopping.
    Close(Fault),
}

impl PlainHalf {
    /// Takes the seat, if the terms of the pair admit the guest.
    pub fn new(hub: Arc<Hub>, mailbox: Mailbox, pair: PairId, guest: Guest, now: Instant) -> Self {
        hub.counters.sessions_opened.one();
        let liveness = Liveness::new(hub.limits.ping, now);
        let me = Half { mailbox, seat: 0, serial: hub.pairs.next_serial(), manner: Manner::Plain };
        let outcome = Seat::take(&hub, now, pair, me, guest);
        let mut half = Self { hub, seat: None, liveness, output: VecDeque::new() };
        match outcome {
            Ok((seat, standing)) => {
                half.seat = Some(seat);
                half.report(&standing);
            }
            Err(fault) => half.close(fault),
        }
        half
    }

    /// The half that messages go to, `None` while alone: then hand them to [`Self::handle_lonely`].
    pub fn partner(&self) -> Option<&Half> {
        self.seat.as_ref().and_then(Seat::partner)
    }

    /// A message that nobody is there for.
    pub fn handle_lonely(&mut self, text: &str) {
        self.hub.counters.pair_messages_lost.one();
        let error = format!("/error:0001:The message was not received by anyone.:{text}");
        self.say(error.into());
    }

    /// Any byte of the peer.
    pub fn handle_alive(&mut self, now: Instant) {
        self.liveness.heard(now);
    }

    /// Its silence proves nothing just now.
    pub fn handle_excuse(&mut self, now: Instant) {
        self.liveness.excuse(now);
    }

    /// A letter from another session.
    pub fn handle_letter(&mut self, letter: Letter) {
        match letter {
            Letter::Paired { half, partner } => self.handle_paired(half, partner),
            Letter::Parted { partner, .. } => self.handle_parted(partner),
            Letter::Replaced { .. } => self.handle_replaced(),
            // Its partner is told the same at the same time.
            Letter::Drain { .. } => self.close(Fault::draining()),
            Letter::Recheck | Letter::Stirred { .. } => {}
            Letter::Kick(fault) => self.give_up(fault),
            Letter::Call(_)
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

    /// Time has passed.
    pub fn handle_timeout(&mut self, now: Instant) {
        match self.liveness.handle_timeout(now) {
            Silence::Bearable => {}
            Silence::Ask => self.output.push_back(PlainOutput::Ping),
            Silence::Dead => {
                self.hub.counters.dead_peers.one();
                let fault = Fault::passing(Code::Timeout, "peer.silent", 1, "no sign of life from the peer");
                self.give_up(fault);
            }
        }
    }

    /// The connection has ended, however it did. Letters that come later are handed to [`Self::handle_letter`] still.
    pub fn handle_lost(&mut self) {
        self.leave();
        self.hub.counters.sessions_closed.one();
    }

    /// When [`Self::handle_timeout`] is due.
    pub fn poll_timeout(&self) -> Instant {
        self.liveness.poll_timeout()
    }

    /// What to do next.
    pub fn poll_output(&mut self) -> Option<PlainOutput> {
        let output = self.output.pop_front();
        if output.is_none() {
            self.output = VecDeque::new();
        }
        output
    }

    fn handle_paired(&mut self, half: HalfId, partner: Half) {
        match &mut self.seat {
            Some(seat) => seat.handle_paired(partner),
            None => part(&partner, half),
        }
    }

    fn handle_parted(&mut self, partner: HalfId) {
        let Some(seat) = &mut self.seat else { return };
        let Some(outcome) = seat.handle_parted(&self.hub, partner) else { return };
        self.say("/remote:close".into());
        match outcome {
            Ok(standing) => self.report(&standing),
            Err(fault) => self.give_up(fault),
        }
    }

    fn handle_replaced(&mut self) {
        if self.seat.is_some() {
            self.give_up(replaced());
        }
    }

    /// The connection is to end, which may take a while; its partner need not wait for that.
    fn give_up(&mut self, fault: Fault) {
        self.leave();
        self.close(fault);
    }

    fn leave(&mut self) {
        if let Some(seat) = self.seat.take() {
            seat.leave(&self.hub);
        }
    }

    fn close(&mut self, fault: Fault) {
        if fault.code == Code::Forbidden {
            self.hub.counters.forbidden.one();
        }
        self.output.push_back(PlainOutput::Close(fault));
    }

    fn report(&mut self, standing: &Standing) {
        match standing {
            Standing::Waiting => self.say("/status:waiting".into()),
            Standing::Paired(_) => self.say("/status:connected".into()),
        }
    }

    fn say(&mut self, text: Cow<'static, str>) {
        self.output.push_back(PlainOutput::Text(text));
    }
}
