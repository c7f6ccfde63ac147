//! What becomes of a call whose provider was lost.
//!
//! It is moved to another provider when nothing was answered yet, when its request never left the hub or it may be
//! carried out twice, when the whole request is at hand, and at most twice. Otherwise its caller is told at once.

use std::sync::Arc;
use std::time::{Duration, Instant};

use whub_proto::{Code, Via};

use crate::fault::Fault;
use crate::hub::Hub;
use crate::letter::Call;
use crate::packet::Packet;

/// How often a call may be moved.
const MOVES_MAX: u8 = 2;

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
    pub fn lose_call(&self, now: Instant, mut call: Box<Call>, loss: Loss, fault: Fault) {
        let seat = call.seat.take();
        if may_move(now, &call, loss) {
            match self.place_again(now, call) {
                Ok(()) => {
                    self.counters.calls_moved.one();
                    if let Some(seat) = seat {
                        seat.provider().stats.moved.one();
                    }
                    return;
                }
                Err(back) => call = back,
            }
        }
        self.counters.calls_provider_lost.one();
        call.service.stats.errors.count(fault.code);
        if let Some(seat) = seat {
            seat.provider().stats.errors.count(fault.code);
        }
        call.fail(fault);
    }

    fn place_again(&self, now: Instant, mut call: Box<Call>) -> Result<(), Box<Call>> {
        // Its service may have ended and begun anew since.
        let pattern = &call.service.pattern;
        let Some(service) = self.table_of(pattern).get(pattern) else { return Err(call) };
        let Some(request) = with_deadline(&call.request, call.deadline.saturating_duration_since(now)) else {
            return Err(call);
        };
        let before = std::mem::replace(&mut call.request, request);
        call.service = Arc::clone(&service);
        call.moved += 1;
        call.step += 1;
        let (caller, key, step) = (call.caller.clone(), call.key(), call.step);
        match self.seat(now, &service.roster(), call) {
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
