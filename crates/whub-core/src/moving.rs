//! What becomes of a call whose provider was lost, or says that it has not begun it.
//!
//! It is moved to another provider when nothing was answered yet, when it cannot have been carried out or may be carried
//! out twice, when the whole request is at hand, and at most twice. Otherwise its caller is told at once.

use std::sync::Arc;
use std::time::{Duration, Instant};

use whub_proto::code::NOT_TAKEN;
use whub_proto::{Code, Failure, Via};

use crate::call::Call;
use crate::fault::Fault;
use crate::hub::Hub;
use crate::mailbox::SessionId;
use crate::packet::Packet;

/// How often a call may be moved.
const MOVES_MAX: u8 = 2;

/// Those who said of a call that they do not take it. They are not asked again.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Refusals([Option<SessionId>; MOVES_MAX as usize]);

impl Refusals {
    fn add(&mut self, session: SessionId) {
        // There is a place for each move, and after the last one nobody is asked any more.
        if let Some(free) = self.0.iter_mut().find(|known| known.is_none()) {
            *free = Some(session);
        }
    }

    /// Whether this session is among them.
    pub(crate) fn are_from(&self, session: SessionId) -> bool {
        self.0.contains(&Some(session))
    }
}

/// Whether a provider says that it has not begun the call.
pub(crate) fn is_not_taken(failure: &Failure<'_>) -> bool {
    failure.code == Code::Unavailable && failure.slug == NOT_TAKEN
}

/// How far a call was when it lost its provider.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Loss {
    /// Its request never left the hub, so it cannot have been carried out.
    Unsent,
    /// It may have been carried out, but nothing was answered yet.
    Sent,
    /// The answer had begun.
    Begun,
}

impl Hub {
    /// The provider of the call is lost. Moves the call, or tells its caller `fault`.
    pub fn lose_call(&self, now: Instant, call: Box<Call>, loss: Loss, fault: Fault) {
        let Err(mut call) = self.move_call(now, call, loss) else { return };
        self.counters.calls_provider_lost.one();
        call.count_error(fault.code);
        drop(call.seat.take());
        call.fail(fault);
    }

    /// The provider of the call has not begun it, and says so with this code. Moves the call to one that was not asked.
    ///
    /// # Errors
    /// The call, for its caller to be told what the provider said, when it cannot be moved.
    pub fn decline_call(&self, now: Instant, mut call: Box<Call>, code: Code) -> Result<(), Box<Call>> {
        self.counters.calls_not_taken.one();
        let Some(provider) = call.seat.as_ref().map(|seat| Arc::clone(seat.provider())) else {
            return Err(call);
        };
        call.refusals.add(provider.session());
        self.move_call(now, call, Loss::Unsent)?;
        // It shows in how the provider does, although no caller has met it.
        provider.stats.errors.count(code);
        Ok(())
    }

    /// Moves the call, if it may be and another provider takes it.
    pub(crate) fn move_call(&self, now: Instant, mut call: Box<Call>, loss: Loss) -> Result<(), Box<Call>> {
        if !may_move(now, &call, loss) {
            return Err(call);
        }
        let seat = call.seat.take();
        if let Err(mut back) = self.place_again(now, call) {
            back.seat = seat;
            return Err(back);
        }
        self.counters.calls_moved.one();
        if let Some(seat) = seat {
            seat.provider().stats.moved.one();
        }
        Ok(())
    }

    fn place_again(&self, now: Instant, mut call: Box<Call>) -> Result<(), Box<Call>> {
        // Its service may have ended and begun anew since.
        let pattern = &call.service.pattern;
        let Some(service) = self.table_of(pattern).get(pattern) else { return Err(call) };
        let roster = service.roster();
        if !roster.may_take(&call) {
            return Err(call);
        }
        let Some(request) = with_deadline(&call.request, call.deadline.saturating_duration_since(now)) else {
            return Err(call);
        };
        let before = std::mem::replace(&mut call.request, request);
        call.service = Arc::clone(&service);
        call.moved += 1;
        call.step += 1;
        let (caller, key, step) = (call.caller.clone(), call.key(), call.step);
        match self.seat(now, &roster, call) {
            Ok(place) => {
                service.stats.moved.one();
                self.tell_place(&caller, key, place, step);
                Ok(())
            }
            Err((mut call, _)) => {
                call.moved -= 1;
                call.request = before;
                Err(call)
            }
        }
    }
}

fn may_move(now: Instant, call: &Call, loss: Loss) -> bool {
    let is_harmless = match loss {
        Loss::Unsent => true,
        Loss::Sent => call.idempotent,
        Loss::Begun => false,
    };
    is_harmless && call.ended && call.moved < MOVES_MAX && call.deadline > now
}

/// The request with what is left of its deadline.
fn with_deadline(request: &Packet, left: Duration) -> Option<Packet> {
    let frame = request.frame().ok()?;
    let timeout_ms = u32::try_from(left.as_millis()).unwrap_or(u32::MAX).max(1);
    let via = Via { timeout_ms, ..frame.via.unwrap_or_default() };
    Some(Packet::forward(frame.head.kind, frame.head.flags, Some(&via), frame.envelope, frame.payload))
}

/// The fault of a call whose provider was lost.
pub(crate) fn provider_lost() -> Fault {
    let reason =
        "the provider's connection ended before its answer was whole; the call may have been carried out";
    Fault::passing(Code::ProviderLost, "service.provider_lost", 1, reason)
}
