//! Services of other nodes.
//!
//! To a node, another one is a provider like any other, with `remote` in its registration: a mailbox that passes calls
//! on. So whatever holds for providers holds for services elsewhere, and those of this node are preferred. Here is that
//! mailbox for two nodes of one process; between processes a link takes its place.
//!
//! ```text
//! caller ── near hub ── Link (a provider there) ── far hub ── provider
//!                         └ Crossing (the caller there), one for each call
//! ```

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};
use std::task::Waker;

use whub_proto::names::Pattern;
use whub_proto::{Body, Code, Frame, Kind};

use crate::calls::Place;
use crate::fault::{Fault, MOVED};
use crate::hub::Hub;
use crate::letter::{Call, CallId, CallKey, Letter};
use crate::mailbox::{Fate, Framing, Mailbox, Parcel, Post, Publication, Sent, SessionId, Undelivered};
use crate::middleware::Clock;
use crate::moving::{Loss, Refusals, is_not_taken, provider_lost};
use crate::packet::Packet;
use crate::services::{Registration, ServiceEvent, ServiceObserver};
use crate::session::{count_answer, count_error};

/// How many nodes a call may pass through after its first.
const HOPS_MAX: u8 = 1;

/// Bytes of a request's body that may wait here for a provider: what its credit allows before one has it.
const HELD_BYTES_MAX: usize = 2 * crate::calls::WINDOW as usize;

/// Two nodes that were joined; they part when it is dropped.
#[derive(Debug)]
pub struct Joined(Arc<Link>);

/// Has `near` pass calls on to services of `far`, from now on. Services of nodes that `far` was joined to are not among
/// them. A pattern of `far` that names its segments differently from one in use at `near` is left out.
#[must_use = "the nodes part when this is dropped"]
pub fn join(near: &Arc<Hub>, far: &Arc<Hub>, clock: Clock) -> Joined {
    let link = Arc::new_cyclic(|this| Link {
        this: Weak::clone(this),
        session: near.next_session(),
        near: Arc::downgrade(near),
        far: Arc::downgrade(far),
        name: far.node.clone(),
        clock,
        calls: Mutex::default(),
        known: Mutex::default(),
    });
    far.services.observe(Arc::new(Watcher(Arc::downgrade(&link))));
    for service in far.services.list() {
        link.reconcile(&service.pattern);
    }
    Joined(link)
}

impl Drop for Joined {
    fn drop(&mut self) {
        self.0.part();
    }
}

/// Tells a link of what comes and goes at the far node. It may outlive the link.
struct Watcher(Weak<Link>);

impl ServiceObserver for Watcher {
    fn changed(&self, event: &ServiceEvent) {
        if let Some(link) = self.0.upgrade() {
            link.reconcile(&event.service.pattern);
        }
    }
}

/// The far node, as a provider of the near one.
struct Link {
    this: Weak<Self>,
    /// At the near node.
    session: SessionId,
    near: Weak<Hub>,
    far: Weak<Hub>,
    name: Box<str>,
    clock: Clock,
    // Held for a lookup or an insertion.
    calls: Mutex<Calls>,
    // Held while a registration changes, so that changes at the same time are taken over one after the other.
    known: Mutex<BTreeSet<Pattern>>,
}

#[derive(Default)]
struct Calls {
    crossings: BTreeMap<CallKey, Arc<Crossing>>,
    is_over: bool,
}

impl Link {
    /// Registers at the near node what the far one provides now, or no longer does.
    fn reconcile(self: &Arc<Self>, pattern: &Pattern) {
        let (Some(near), Some(far)) = (self.near.upgrade(), self.far.upgrade()) else { return };
        let mut known = self.known.lock().unwrap_or_else(PoisonError::into_inner);
        let is_over = lock(&self.calls).is_over;
        let service = far.services.get(pattern).filter(|service| {
            !is_over && service.providers().iter().any(|provider| !provider.registration.remote)
        });
        match service {
            Some(service) if !known.contains(pattern) => {
                let registration = Registration {
                    client: self.name.clone(),
                    access: service.access(),
                    pass_headers: service.pass_headers().iter().cloned().collect(),
                    remote: true,
                    ..Registration::new(pattern.clone())
                };
                let mailbox = Mailbox::new(Arc::clone(self) as Arc<dyn Post>);
                if near.services.register(registration, mailbox).is_ok() {
                    known.insert(pattern.clone());
                }
            }
            None if known.remove(pattern) => {
                near.leave_service(pattern, self.session);
            }
            Some(_) | None => {}
        }
    }

    /// The nodes part: what the near one waits for is lost.
    fn part(self: &Arc<Self>) {
        let crossings = {
            let mut calls = lock(&self.calls);
            calls.is_over = true;
            std::mem::take(&mut calls.crossings)
        };
        let known: Vec<Pattern> =
            self.known.lock().unwrap_or_else(PoisonError::into_inner).iter().cloned().collect();
        for pattern in known {
            self.reconcile(&pattern);
        }
        for crossing in crossings.into_values() {
            crossing.lose(self);
        }
    }

    /// Hands a call over to the far node.
    fn cross(self: &Arc<Self>, call: Box<Call>) -> Result<(), Undelivered> {
        let (Some(near), Some(far)) = (self.near.upgrade(), self.far.upgrade()) else {
            return Err(Undelivered::Gone(Letter::Call(call)));
        };
        let Some(service) = far.services.get(&call.service.pattern) else {
            return Err(Undelivered::Gone(Letter::Call(call)));
        };
        if call.hops >= HOPS_MAX {
            // Asking again would not help, as it would after `Full`.
            return Err(Undelivered::Gone(Letter::Call(call)));
        }
        if let Err(fault) = admit(&service, &call.request) {
            near.counters.calls_answered.one();
            count_error(&call, fault.code);
            call.fail(fault);
            return Ok(());
        }
        let (key, affinity) = (call.key(), call.affinity);
        let crossing = Arc::new(Crossing {
            link: Arc::downgrade(self),
            session: far.next_session(),
            caller: call.caller.clone(),
            near_id: call.id,
            inner: Mutex::default(),
        });
        let far_call = Box::new(Call {
            caller: Mailbox::new(Arc::clone(&crossing) as Arc<dyn Post>),
            id: CallId { id: 1, serial: 1 },
            service: Arc::clone(&service),
            since: call.since,
            deadline: call.deadline,
            request: call.request.clone(),
            ended: call.ended,
            credit: call.credit,
            idempotent: call.idempotent,
            websocket: call.websocket,
            affinity,
            moved: call.moved,
            refusals: Refusals::default(),
            hops: call.hops + 1,
            step: 0,
            seat: None,
        });
        // The outcome may come while the call is still being placed, so the way back is open first.
        crossing.lock().call = Some(call);
        if !self.open(key, &crossing) {
            let call = crossing.lock().call.take();
            return call.map_or(Ok(()), |call| Err(Undelivered::Gone(Letter::Call(call))));
        }
        let now = (self.clock)();
        match far.seat(now.at, &service.roster(), far_call) {
            Ok(place) => {
                far.counters.calls_accepted.one();
                service.stats.calls.one();
                crossing.placed(&far, place, 0);
                Ok(())
            }
            Err(_) => {
                lock(&self.calls).crossings.remove(&key);
                // Nobody answered what nobody took.
                let call = crossing.lock().call.take();
                call.map_or(Ok(()), |call| Err(Undelivered::Full(Letter::Call(call))))
            }
        }
    }

    /// False when the nodes have parted.
    fn open(&self, key: CallKey, crossing: &Arc<Crossing>) -> bool {
        let mut calls = lock(&self.calls);
        if !calls.is_over {
            calls.crossings.insert(key, Arc::clone(crossing));
        }
        !calls.is_over
    }

    fn find(&self, call: CallKey) -> Option<Arc<Crossing>> {
        lock(&self.calls).crossings.get(&call).cloned()
    }

    fn forget(&self, call: CallKey) {
        lock(&self.calls).crossings.remove(&call);
    }
}

/// Whether the far node lets the caller call, too.
fn admit(service: &crate::services::Service, request: &Packet) -> Result<(), Fault> {
    let frame = request
        .frame()
        .map_err(|error| Fault::fatal(Code::Internal, "elsewhere.request", error.to_string()))?;
    service.admit(frame.via.unwrap_or_default().user)
}

impl Post for Link {
    fn session(&self) -> SessionId {
        self.session
    }

    fn framing(&self) -> Framing {
        Framing::Private
    }

    fn post(&self, letter: Letter) -> Result<(), Undelivered> {
        match letter {
            Letter::Call(call) => {
                return match self.this.upgrade() {
                    Some(link) => link.cross(call),
                    None => Err(Undelivered::Gone(Letter::Call(call))),
                };
            }
            Letter::Upload { call, data } => {
                if let Some(crossing) = self.find(call) {
                    crossing.upload(data);
                }
            }
            Letter::Refill { call, bytes } => {
                if let Some(crossing) = self.find(call) {
                    crossing.refill(bytes);
                }
            }
            Letter::Abandon { call, code } => {
                if let Some(crossing) = self.find(call) {
                    crossing.abandon(self, code);
                }
            }
            // For callers, halves of pairs and connections.
            Letter::Answer { .. }
            | Letter::Credit { .. }
            | Letter::Failed { .. }
            | Letter::Placed { .. }
            | Letter::Paired { .. }
            | Letter::Parted { .. }
            | Letter::Drain { .. }
            | Letter::Recheck
            | Letter::Kick(_) => {}
        }
        Ok(())
    }

    fn send(&self, _: Parcel<'_>) -> Sent {
        Sent::Gone
    }

    fn hold(&self) {}

    fn poll_room(&self, _: &Waker) -> bool {
        // Credit bounds what is under way of each call.
        true
    }

    fn publish(&self, _: &dyn Publication) -> Fate {
        Fate::DroppedGone
    }
}

/// A call that crosses: at the far node it is the caller, at the near one it knows who is.
struct Crossing {
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

impl Crossing {
    fn lock(&self) -> MutexGuard<'_, Inner> {
        self.inner.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The call, as the far node knows it.
    fn key(&self) -> CallKey {
        CallKey { caller: self.session, id: CallId { id: 1, serial: 1 } }
    }

    /// The call, as the near node knows it.
    fn near_key(&self) -> CallKey {
        CallKey { caller: self.caller.session(), id: self.near_id }
    }

    // ------------------------------------------------------------------------------- from the near node

    fn upload(&self, data: Packet) {
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

    fn refill(&self, bytes: u32) {
        let mut inner = self.lock();
        inner.refilled = inner.refilled.saturating_add(bytes);
        if let Some(provider) = inner.place.as_ref().and_then(Place::provider) {
            let _ = provider.post(Letter::Refill { call: self.key(), bytes });
        }
    }

    fn abandon(&self, link: &Link, code: Code) {
        let Some((call, place)) = self.settle(link) else { return };
        if let Some(near) = link.near.upgrade() {
            near.counters.calls_cancelled.one();
            count_error(&call, code);
        }
        if let (Some(far), Some(place)) = (link.far.upgrade(), place) {
            far.abandon(&place, self.key(), code);
        }
    }

    /// The nodes have parted.
    fn lose(&self, link: &Link) {
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
    fn placed(&self, far: &Hub, place: Place, step: u8) {
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
                    count_answer(call, (link.clock)().at, status);
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
            count_error(&call, fault.code);
        }
        drop(call);
        let _ = self.caller.post(Letter::Failed { id: self.near_id, fault });
    }
}

impl Post for Crossing {
    fn session(&self) -> SessionId {
        self.session
    }

    fn framing(&self) -> Framing {
        Framing::Private
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
            | Letter::Drain { .. }
            | Letter::Recheck
            | Letter::Kick(_) => {}
        }
        Ok(())
    }

    fn send(&self, _: Parcel<'_>) -> Sent {
        Sent::Gone
    }

    fn hold(&self) {}

    fn poll_room(&self, waker: &Waker) -> bool {
        self.caller.poll_room(waker)
    }

    fn served_by(&self, provider: &str) {
        self.caller.served_by(provider);
    }

    fn publish(&self, _: &dyn Publication) -> Fate {
        Fate::DroppedGone
    }
}

/// The status of a `Response`.
fn status(packet: &Packet) -> u16 {
    let Ok(frame) = packet.frame() else { return 0 };
    if let Body::Response(response) = frame.body { response.status } else { 0 }
}

fn lock(calls: &Mutex<Calls>) -> MutexGuard<'_, Calls> {
    calls.lock().unwrap_or_else(PoisonError::into_inner)
}

impl fmt::Debug for Link {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Link(to {})", self.name)
    }
}
