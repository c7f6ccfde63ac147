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

mod crossing;

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};

use whub_proto::Code;
use whub_proto::names::Pattern;

use crate::call::{Call, CallKey};
use crate::fault::Fault;
use crate::hub::Hub;
use crate::letter::Letter;
use crate::mailbox::{Mailbox, Post, SessionId, Undelivered};
use crate::middleware::Clock;
use crate::packet::Packet;
use crate::services::{Registration, Service, ServiceEvent, ServiceObserver};
use crossing::Crossing;

/// How many nodes a call may pass through after its first.
const HOPS_MAX: u8 = 1;

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
            call.count_error(fault.code);
            call.fail(fault);
            return Ok(());
        }
        let key = call.key();
        // The outcome may come while the call is still being placed, so the way back is open first.
        let (crossing, far_call) = Crossing::begin(self, &far, &service, call);
        if !self.open(key, &crossing) {
            return crossing.call_back().map_or(Ok(()), |call| Err(Undelivered::Gone(Letter::Call(call))));
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
                self.forget(key);
                // Nobody answered what nobody took.
                crossing.call_back().map_or(Ok(()), |call| Err(Undelivered::Full(Letter::Call(call))))
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
fn admit(service: &Service, request: &Packet) -> Result<(), Fault> {
    let frame = request
        .frame()
        .map_err(|error| Fault::fatal(Code::Internal, "elsewhere.request", error.to_string()))?;
    service.admit(frame.via.unwrap_or_default().user)
}

impl Post for Link {
    fn session(&self) -> SessionId {
        self.session
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
            | Letter::Expelled { .. }
            | Letter::Replaced { .. }
            | Letter::Stirred { .. }
            | Letter::Drain { .. }
            | Letter::Recheck
            | Letter::Kick(_) => {}
        }
        Ok(())
    }
}

fn lock(calls: &Mutex<Calls>) -> MutexGuard<'_, Calls> {
    calls.lock().unwrap_or_else(PoisonError::into_inner)
}

impl fmt::Debug for Link {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Link(to {})", self.name)
    }
}
