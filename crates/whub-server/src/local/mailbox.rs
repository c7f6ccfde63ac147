//! The mailbox of a service of this process: letters about calls, each to its call.

use std::collections::HashMap;
use std::collections::hash_map::Entry;
use std::fmt;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Instant;

use tokio::runtime;
use tokio::sync::{Semaphore, watch};
use tokio::task::AbortHandle;
use whub_core::{Call, CallKey, Fault, Hub, Letter, Post, SessionId, Undelivered};
use whub_proto::names::Pattern;

use crate::local::call::CallState;
use crate::local::running::Begun;
use crate::local::{Handler, LocalService, running};

/// A local service as the hub sees it.
#[derive(Debug)]
pub(crate) struct LocalMailbox {
    session: SessionId,
    shared: Arc<Shared>,
}

/// What the mailbox and its calls share.
pub(super) struct Shared {
    pub(super) hub: Arc<Hub>,
    pub(super) pattern: Pattern,
    pub(super) handler: Arc<dyn Handler>,
    /// Calls that may be answered at once.
    pub(super) gate: Semaphore,
    calls_max: usize,
    runtime: runtime::Handle,
    // Held for a lookup or an insertion. Not while a task is spawned: a runtime that stops drops the task at once, and
    // its end takes this lock.
    calls: Mutex<Calls>,
    /// How many calls there are, for the one who waits until the last has ended.
    present: watch::Sender<usize>,
}

#[derive(Default)]
struct Calls {
    running: HashMap<CallKey, Running>,
    closed: bool,
}

struct Running {
    state: Arc<CallState>,
    /// `None` for the moment between the call's arrival and its task.
    task: Option<AbortHandle>,
}

impl Running {
    fn abort(&self) {
        if let Some(task) = &self.task {
            task.abort();
        }
    }
}

impl LocalMailbox {
    /// A mailbox whose calls run as tasks of the current runtime.
    pub(crate) fn new(hub: &Arc<Hub>, service: &LocalService) -> Self {
        let shared = Shared {
            hub: Arc::clone(hub),
            pattern: service.pattern.clone(),
            handler: Arc::clone(&service.handler),
            gate: Semaphore::new(service.concurrency.min(Semaphore::MAX_PERMITS)),
            calls_max: service.concurrency.saturating_add(service.queue),
            runtime: runtime::Handle::current(),
            calls: Mutex::default(),
            present: watch::Sender::new(0),
        };
        Self { session: hub.next_session(), shared: Arc::new(shared) }
    }

    /// Resolves when no call is under way.
    pub(crate) async fn idle(&self) {
        let mut present = self.shared.present.subscribe();
        // The sender lives as long as this.
        let _ = present.wait_for(|present| *present == 0).await;
    }

    /// Accepts nothing from here on; calls under way are moved to another provider, or fail with this fault.
    pub(crate) fn close(&self, fault: &Fault) {
        let running = {
            let mut calls = self.shared.lock();
            calls.closed = true;
            std::mem::take(&mut calls.running)
        };
        self.shared.present.send_replace(0);
        for call in running.into_values() {
            if let Some((lost, loss)) = call.state.lose() {
                self.shared.hub.lose_call(Instant::now(), lost, loss, fault.clone());
            }
            call.abort();
        }
    }

    fn begin(&self, call: Box<Call>) -> Result<(), Undelivered> {
        let figures = call.figures();
        let begun = Begun { request: call.request.clone(), ended: call.ended, moved: call.moved, figures };
        let (caller, pattern) = (call.caller.clone(), Arc::clone(&call.service));
        let state = Arc::new(CallState::new(Instant::now(), call));
        let key = state.key();
        if let Err(why) = self.shared.admit(key, &state) {
            // Nobody else knows it yet.
            return state.settle().map_or(Ok(()), |call| Err(why(Letter::Call(call))));
        }
        caller.served_by(pattern.pattern.as_str());
        let task = running::run(Arc::clone(&self.shared), state, begun);
        let task = self.shared.runtime.spawn(task).abort_handle();
        match self.shared.lock().running.get_mut(&key) {
            Some(running) => running.task = Some(task),
            // Ended already, or abandoned before there was a task to stop.
            None => task.abort(),
        }
        Ok(())
    }

    fn abandon(&self, key: CallKey) {
        let Some(call) = self.shared.remove(key) else { return };
        if call.state.settle().is_some() {
            self.shared.hub.counters.calls_cancelled.one();
        }
        call.abort();
    }

    fn state(&self, key: CallKey) -> Option<Arc<CallState>> {
        self.shared.lock().running.get(&key).map(|call| Arc::clone(&call.state))
    }
}

impl Shared {
    fn admit(&self, key: CallKey, state: &Arc<CallState>) -> Result<(), fn(Letter) -> Undelivered> {
        let mut calls = self.lock();
        if calls.closed {
            return Err(Undelivered::Gone);
        }
        if calls.running.len() >= self.calls_max {
            return Err(Undelivered::Full);
        }
        calls.running.insert(key, Running { state: Arc::clone(state), task: None });
        self.present.send_replace(calls.running.len());
        Ok(())
    }

    /// The call has ended.
    pub(super) fn forget(&self, key: CallKey) {
        self.remove(key);
    }

    fn remove(&self, key: CallKey) -> Option<Running> {
        let mut calls = self.lock();
        let Entry::Occupied(entry) = calls.running.entry(key) else { return None };
        let call = entry.remove();
        self.present.send_replace(calls.running.len());
        Some(call)
    }

    fn lock(&self) -> MutexGuard<'_, Calls> {
        self.calls.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Post for LocalMailbox {
    fn session(&self) -> SessionId {
        self.session
    }

    fn post(&self, letter: Letter) -> Result<(), Undelivered> {
        match letter {
            Letter::Call(call) => return self.begin(call),
            Letter::Upload { call, data } => {
                if let Some(state) = self.state(call) {
                    state.upload(Instant::now(), data);
                }
            }
            Letter::Refill { call, bytes } => {
                if let Some(state) = self.state(call) {
                    state.refill(bytes);
                }
            }
            Letter::Abandon { call, .. } => self.abandon(call),
            // For callers, halves of pairs and connections; this is none. Its end is the server's to tell.
            Letter::Answer { .. }
            | Letter::Credit { .. }
            | Letter::Placed { .. }
            | Letter::Failed { .. }
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

impl fmt::Debug for Shared {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Shared({})", self.pattern)
    }
}

#[cfg(test)]
#[allow(clippy::wildcard_enum_match_arm, reason = "anything else is a failed test")]
mod tests {
    use std::time::Duration;

    use tokio::sync::mpsc;
    use whub_core::middleware::Door;
    use whub_core::{CallId, Caller, Mailbox, Now, Order, Registration, SessionLimits};
    use whub_proto::names::ServicePath;
    use whub_proto::{Body, Code, Flags, Request};

    use super::*;
    use crate::LocalAnswer;

    /// A caller who hears everything.
    struct Ear(SessionId, mpsc::UnboundedSender<Letter>);

    impl Post for Ear {
        fn session(&self) -> SessionId {
            self.0
        }

        fn post(&self, letter: Letter) -> Result<(), Undelivered> {
            self.1.send(letter).map_err(|unsent| Undelivered::Gone(unsent.0))
        }
    }

    /// A hub with the services of one pattern, and what a caller hears.
    struct World {
        hub: Arc<Hub>,
        caller: Mailbox,
        heard: mpsc::UnboundedReceiver<Letter>,
    }

    impl World {
        fn new() -> Self {
            let hub = Arc::new(Hub::new("n1", "test", SessionLimits::default()));
            let (ear, heard) = mpsc::unbounded_channel();
            let caller = Mailbox::new(Arc::new(Ear(hub.next_session(), ear)));
            Self { hub, caller, heard }
        }

        fn serve<Fut>(&self, handler: impl Fn() -> Fut + Send + Sync + 'static) -> Arc<LocalMailbox>
        where
            Fut: Future<Output = LocalAnswer> + Send + 'static,
        {
            let service = LocalService::new("/x", move |_| handler()).unwrap();
            let mailbox = Arc::new(LocalMailbox::new(&self.hub, &service));
            let registration = Registration::new(service.pattern.clone());
            self.hub.services.register(registration, Mailbox::new(mailbox.clone())).unwrap();
            mailbox
        }

        fn call(&self, request: Request<'_>) {
            let request = Request { path: "/x", ..request };
            let order = Order {
                id: CallId { id: 1, serial: 1 },
                path: &ServicePath::parse("/x").unwrap(),
                request: &request,
                envelope: None,
                door: Door::Protocol,
                payload: b"",
                flags: Flags::END,
                timeout_ms: 30_000,
                credit: 0,
            };
            let caller = Caller { mailbox: &self.caller, client: "c-1", user: "", peer: "" };
            let now = Now { at: Instant::now(), unix_ms: 0 };
            self.hub.place_call(now, caller, &order).unwrap();
        }

        async fn hears(&mut self) -> String {
            loop {
                let heard = tokio::time::timeout(Duration::from_secs(30), self.heard.recv()).await;
                let packet = match heard.unwrap().unwrap() {
                    Letter::Answer { packet, .. } => packet,
                    Letter::Failed { fault, .. } => fault.packet(),
                    Letter::Placed { .. } => continue,
                    other => panic!("{other:?}"),
                };
                let frame = packet.frame().unwrap();
                return match frame.body {
                    Body::Response(response) => {
                        format!("{} moved {}", response.status, frame.via.unwrap_or_default().moved)
                    }
                    Body::Error(failure) => {
                        let moved = failure.headers.iter().map(|(_, times)| times).collect::<String>();
                        format!("{} moved {moved}", failure.slug)
                    }
                    other => panic!("{other:?}"),
                };
            }
        }
    }

    async fn done() -> LocalAnswer {
        LocalAnswer::text("done")
    }

    async fn not_taken() -> LocalAnswer {
        Fault::not_taken("not now").into()
    }

    #[tokio::test]
    async fn calls_of_a_service_that_closes_are_moved_where_that_is_harmless() {
        for (idempotency, expected) in [("k", "200 moved 1"), ("", "node.draining moved ")] {
            let mut world = World::new();
            let (begun, mut begins) = mpsc::unbounded_channel();
            let closing = world.serve(move || {
                begun.send(()).unwrap();
                std::future::pending()
            });
            world.call(Request { idempotency, ..Request::default() });
            begins.recv().await.unwrap();
            world.serve(done);
            closing.close(&Fault::draining());
            assert_eq!(world.hears().await, expected);
            let counters = &world.hub.counters;
            let lost = u64::from(idempotency.is_empty());
            assert_eq!((counters.calls_moved.read(), counters.calls_provider_lost.read()), (1 - lost, lost));
        }
    }

    #[tokio::test]
    async fn a_call_that_a_service_does_not_take_goes_to_the_next() {
        let mut world = World::new();
        world.serve(not_taken);
        world.call(Request::default());
        assert_eq!(world.hears().await, "call.not_taken moved ");
        world.serve(not_taken);
        world.call(Request::default());
        assert_eq!(world.hears().await, "call.not_taken moved 1");
        let (calls, not_taken) = (&world.hub.counters.calls_answered, &world.hub.counters.calls_not_taken);
        assert_eq!((calls.read(), not_taken.read()), (2, 3));
        // Two have refused it, then the third is asked.
        world.serve(done);
        for _ in 0..20 {
            world.call(Request::default());
            assert!(world.hears().await.starts_with("200"));
        }
        assert_eq!(world.hub.services.list()[0].inflight(), 0);
    }

    #[tokio::test]
    async fn a_fault_of_another_kind_is_the_answer() {
        let mut world = World::new();
        world.serve(|| async { Fault::fatal(Code::Conflict, "mine", "no").into() });
        world.call(Request::default());
        world.serve(done);
        assert_eq!(world.hears().await, "mine moved ");
    }
}
