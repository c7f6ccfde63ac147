//! A call on its way between two nodes.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};
use std::task::Waker;

use whub_proto::{Body, Code, Frame, Kind};

use super::Link;
use crate::call::{Call, CallId, CallKey, Place};
use crate::fault::{Fault, MOVED};
use crate::hub::Hub;
use crate::letter::Letter;
use crate::mailbox::{Mailbox, Post, SessionId, Undelivered};
use crate::moving::{Loss, Refusals, is_not_taken, provider_lost};
use crate::packet::Packet;
use crate::placing::WINDOW;
use crate::services::Service;

/// Bytes of a request's body that may wait here for a provider: what its credit allows before one has it.
const HELD_BYTES_MAX: usize = 2 * WINDOW as usize;

/// A call that crosses: at the far node it is the caller, at the near one it knows who is.
pub(super) struct Crossing {
    link: Weak<Link>,
    /// At the far node.
    session: SessionId,
    caller: Mailbox,
    near_id: CallId,
    // Held while the request's body is passed on, so that its pieces keep their order; never while the caller, or the far
    // hub, is called.
    inner: Mutex<Inner>,
}

#[derive(Default)]
struct Inner {
    /// The call at the near node, with the place that it takes there; `None` once it is over.
    call: Option<Box<Call>>,
    /// Where it is at the far node.
    place: Option<Place>,
    step: u8,
    /// The request's body, while no provider has the call.
    held: Vec<Packet>,
    held_bytes: usize,
    /// Credit that the caller gave beyond the first.
    refilled: u32,
    /// The head of the answer has passed.
    answered: bool,
}

/// The call's id at the far node, where its caller has no other.
const CALL: CallId = CallId { id: 1, serial: 1 };

impl Crossing {
    /// A call that is about to cross, and the same call as the far node gets it.
    pub(super) fn begin(
        link: &Arc<Link>,
        far: &Hub,
        service: &Arc<Service>,
        call: Box<Call>,
    ) -> (Arc<Self>, Box<Call>) {
        let crossing = Arc::new(Self {
            link: Arc::downgrade(link),
            session: far.next_session(),
            caller: call.caller.clone(),
            near_id: call.id,
            inner: Mutex::default(),
        });
        let far_call = Box::new(Call {
            caller: Mailbox::new(Arc::clone(&crossing) as Arc<dyn Post>),
            id: CALL,
            service: Arc::clone(service),
            since: call.since,
            deadline: call.deadline,
            request: call.request.clone(),
            ended: call.ended,
            credit: call.credit,
            idempotent: call.idempotent,
            websocket: call.websocket,
            affinity: call.affinity,
            moved: call.moved,
            refusals: Refusals::default(),
            hops: call.hops + 1,
            step: 0,
            seat: None,
        });
        crossing.lock().call = Some(call);
        (crossing, far_call)
    }

    /// The call, if it is not over: it did not cross.
    pub(super) fn call_back(&self) -> Option<Box<Call>> {
        self.lock().call.take()
    }

    fn lock(&self) -> MutexGuard<'_, Inner> {
        self.inner.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The call, as the far node knows it.
    fn key(&self) -> CallKey {
        CallKey { caller: self.session, id: CALL }
    }

    /// The call, as the near node knows it.
    fn near_key(&self) -> CallKey {
        CallKey { caller: self.caller.session(), id: self.near_id }
    }

    // ------------------------------------------------------------------------------- from the near node

    pub(super) fn upload(&self, data: Packet) {
        let mut inner = self.lock();
        if let Some(provider) = inner.place.as_ref().and_then(Place::provider) {
            let _ = provider.post(Letter::Upload { call: self.key(), data });
            return;
        }
        inner.held_bytes += data.payload_len();
        // The near node's session holds its callers to their credit.
        if inner.held_bytes <= HELD_BYTES_MAX {
            inner.held.push(data);
        }
    }

    pub(super) fn refill(&self, bytes: u32) {
        let mut inner = self.lock();
        inner.refilled = inner.refilled.saturating_add(bytes);
        if let Some(provider) = inner.place.as_ref().and_then(Place::provider) {
            let _ = provider.post(Letter::Refill { call: self.key(), bytes });
        }
    }

    pub(super) fn abandon(&self, link: &Link, code: Code) {
        let Some((call, place)) = self.settle(link) else { return };
        if let Some(near) = link.near.upgrade() {
            near.counters.calls_cancelled.one();
            call.count_error(code);
        }
        if let (Some(far), Some(place)) = (link.far.upgrade(), place) {
            far.abandon(&place, self.key(), code);
        }
    }

    /// The nodes have parted.
    pub(super) fn lose(&self, link: &Link) {
        let answered = self.lock().answered;
        let Some((call, place)) = self.settle(link) else { return };
        if let (Some(far), Some(place)) = (link.far.upgrade(), place) {
            far.abandon(&place, self.key(), Code::Cancelled);
        }
        if let Some(near) = link.near.upgrade() {
            let loss = if answered { Loss::Begun } else { Loss::Sent };
            near.lose_call((link.clock)().at, call, loss, provider_lost());
        }
    }

    /// The one outcome is decided. `None` when it was before.
    fn settle(&self, link: &Link) -> Option<(Box<Call>, Option<Place>)> {
        let (call, place) = {
            let mut inner = self.lock();
            inner.held = Vec::new();
            (inner.call.take()?, inner.place.take())
        };
        link.forget(self.near_key());
        Some((call, place))
    }

    // -------------------------------------------------------------------------------- from the far node

    /// The far node says where the call is. One that is over is abandoned there.
    pub(super) fn placed(&self, far: &Hub, place: Place, step: u8) {
        let mut inner = self.lock();
        if inner.call.is_none() {
            drop(inner);
            far.abandon(&place, self.key(), Code::Cancelled);
            return;
        }
        if inner.place.is_some() && step <= inner.step {
            return;
        }
        if let Some(provider) = place.provider() {
            // A new place knows nothing of what came before.
            if inner.refilled > 0 {
                let _ = provider.post(Letter::Refill { call: self.key(), bytes: inner.refilled });
            }
            for data in std::mem::take(&mut inner.held) {
                let _ = provider.post(Letter::Upload { call: self.key(), data });
            }
        }
        inner.step = step;
        inner.place = Some(place);
    }

    fn answer(&self, link: &Link, packet: Packet, last: bool) {
        let head = packet.head(0);
        {
            let mut inner = self.lock();
            let Some(call) = &inner.call else { return };
            if head.kind == Kind::Response && !inner.answered {
                let status = status(&packet);
                if status >= 200 || status == 101 {
                    call.count_answer((link.clock)().at, status);
                    inner.answered = true;
                }
            }
        }
        if last
            && let Some((call, _)) = self.settle(link)
            && let Some(near) = link.near.upgrade()
        {
            let Err(call) = self.decline(link, &near, call, &packet) else { return };
            near.counters.calls_answered.one();
            // The place at the near node is free before the caller knows the end.
            drop(call);
        }
        // A caller that is gone has abandoned the call; its letter is on its way.
        let _ = self.caller.post(Letter::Answer { id: self.near_id, packet, last });
    }

    /// Perhaps somebody else takes what nobody at the far node has begun.
    fn decline(
        &self,
        link: &Link,
        near: &Hub,
        mut call: Box<Call>,
        packet: &Packet,
    ) -> Result<(), Box<Call>> {
        let Ok(Frame { body: Body::Error(failure), .. }) = packet.frame() else { return Err(call) };
        if self.lock().answered || !is_not_taken(&failure) {
            return Err(call);
        }
        // What was moved there counts here.
        let moved = failure.headers.iter().find(|(name, _)| *name == MOVED);
        let moved = moved.and_then(|(_, times)| times.parse().ok()).unwrap_or(0);
        call.moved = call.moved.max(moved);
        near.decline_call((link.clock)().at, call, failure.code)
    }

    fn fail(&self, link: &Link, fault: Fault) {
        let Some((call, _)) = self.settle(link) else { return };
        if let Some(near) = link.near.upgrade() {
            let counters = &near.counters;
            let counter = if fault.code == Code::DeadlineExceeded {
                &counters.calls_deadline
            } else if matches!(fault.code, Code::ProviderLost | Code::Draining) {
                &counters.calls_provider_lost
            } else {
                &counters.calls_answered
            };
            counter.one();
            call.count_error(fault.code);
        }
        drop(call);
        let _ = self.caller.post(Letter::Failed { id: self.near_id, fault });
    }
}

impl Post for Crossing {
    fn session(&self) -> SessionId {
        self.session
    }

    fn post(&self, letter: Letter) -> Result<(), Undelivered> {
        let Some(link) = self.link.upgrade() else { return Err(Undelivered::Gone(letter)) };
        if self.lock().call.is_none() {
            return Err(Undelivered::Gone(letter));
        }
        match letter {
            Letter::Answer { packet, last, .. } => self.answer(&link, packet, last),
            Letter::Failed { fault, .. } => self.fail(&link, fault),
            Letter::Credit { bytes, .. } => {
                return self.caller.post(Letter::Credit { id: self.near_id, bytes });
            }
            Letter::Placed { place, step, .. } => {
                if let Some(far) = link.far.upgrade() {
                    self.placed(&far, place, step);
                }
            }
            // For providers, halves of pairs and connections.
            Letter::Call(_)
            | Letter::Upload { .. }
            | Letter::Abandon { .. }
            | Letter::Refill { .. }
            | Letter::Paired { .. }
            | Letter::Parted { .. }
            | Letter::Expelled { .. }
            | Letter::Replaced { .. }
            | Letter::Stirred { .. }
            | Letter::Drain { .. }
            | Letter::Recheck
            | Letter::Kick(_) => {}
        }
        Ok(())
    }

    fn poll_room(&self, waker: &Waker) -> bool {
        self.caller.poll_room(waker)
    }

    fn served_by(&self, provider: &str) {
        self.caller.served_by(provider);
    }
}

/// The status of a `Response`.
fn status(packet: &Packet) -> u16 {
    let Ok(frame) = packet.frame() else { return 0 };
    if let Body::Response(response) = frame.body { response.status } else { 0 }
}
