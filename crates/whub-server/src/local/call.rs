//! What a call's handler and the letters about the call share.

use std::collections::VecDeque;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use tokio::sync::Notify;
use whub_core::{Call, CallId, CallKey, Letter, Loss, Mailbox, Packet};

/// A call under way.
#[derive(Debug)]
pub(super) struct CallState {
    pub(super) caller: Mailbox,
    /// The call, as its caller knows it.
    pub(super) id: CallId,
    /// How long the answer may take to begin, from the last word of the caller.
    timeout: Duration,
    // Held for a push or a pop; the two ends are the caller's thread and the handler's.
    inner: Mutex<Inner>,
    arrived: Notify,
    refilled: Notify,
}

#[derive(Debug)]
struct Inner {
    /// Bounded by the credit that the caller was given.
    uploads: VecDeque<Packet>,
    /// Bytes of answer that the caller accepts.
    credit: u64,
    /// When the answer must have begun; `None` once it has.
    deadline: Option<Instant>,
    /// The handler has been given the call.
    handled: bool,
    /// The call, and its place; `None` once its outcome is known, or nobody waits for it.
    call: Option<Box<Call>>,
}

impl CallState {
    pub(super) fn new(now: Instant, call: Box<Call>) -> Self {
        let (caller, id, deadline) = (call.caller.clone(), call.id, call.deadline);
        let inner = Inner {
            uploads: VecDeque::new(),
            credit: call.credit.into(),
            deadline: Some(deadline),
            handled: false,
            call: Some(call),
        };
        Self {
            caller,
            id,
            timeout: deadline.saturating_duration_since(now),
            inner: Mutex::new(inner),
            arrived: Notify::new(),
            refilled: Notify::new(),
        }
    }

    // ---------------------------------------------------------------------------------- from the caller

    /// The request's body goes on, so the handler does not have all that it is to answer yet.
    pub(super) fn upload(&self, now: Instant, data: Packet) {
        let mut inner = self.lock();
        inner.deadline = inner.deadline.map(|_| now + self.timeout);
        inner.uploads.push_back(data);
        drop(inner);
        self.arrived.notify_one();
    }

    /// The caller takes this many more bytes.
    pub(super) fn refill(&self, bytes: u32) {
        let mut inner = self.lock();
        inner.credit = inner.credit.saturating_add(bytes.into());
        drop(inner);
        self.refilled.notify_one();
    }

    /// The call, as providers know it.
    pub(super) fn key(&self) -> CallKey {
        CallKey { caller: self.caller.session(), id: self.id }
    }

    /// The one outcome is decided: what comes out is the call, whose place is free when it is dropped. `None` when the
    /// outcome was decided before.
    pub(super) fn settle(&self) -> Option<Box<Call>> {
        self.lock().call.take()
    }

    /// The same, of a call that is lost: how far it was.
    pub(super) fn lose(&self) -> Option<(Box<Call>, Loss)> {
        let mut inner = self.lock();
        let loss = match (inner.deadline, inner.handled) {
            (None, _) => Loss::Begun,
            (Some(_), true) => Loss::Sent,
            (Some(_), false) => Loss::Unsent,
        };
        Some((inner.call.take()?, loss))
    }

    pub(super) fn is_settled(&self) -> bool {
        self.lock().call.is_none()
    }

    // ---------------------------------------------------------------------------------- to the handler

    pub(super) async fn next_upload(&self) -> Packet {
        loop {
            if let Some(packet) = self.lock().uploads.pop_front() {
                return packet;
            }
            self.arrived.notified().await;
        }
    }

    /// Waits for credit and takes as much of it as is there, `wanted` at most.
    pub(super) async fn take_credit(&self, wanted: usize) -> usize {
        loop {
            {
                let mut inner = self.lock();
                let taken = inner.credit.min(wanted as u64);
                if taken > 0 {
                    inner.credit -= taken;
                    // No more than wanted, which is a length.
                    return usize::try_from(taken).unwrap_or(wanted);
                }
            }
            self.refilled.notified().await;
        }
    }

    /// Lets the caller send more of its body.
    pub(super) fn grant(&self, bytes: usize) {
        let bytes = u32::try_from(bytes).unwrap_or(u32::MAX);
        let _ = self.caller.post(Letter::Credit { id: self.id, bytes });
    }

    /// The handler is given the call. False when nobody waits for it any more.
    pub(super) fn handle(&self) -> bool {
        let mut inner = self.lock();
        inner.handled = true;
        inner.call.is_some()
    }

    /// The answer has begun in time; how long the rest takes is up to its two ends. False when nobody waits for it any
    /// more.
    pub(super) fn begin(&self) -> bool {
        let mut inner = self.lock();
        inner.deadline = None;
        inner.call.is_some()
    }

    /// Resolves when the answer has not begun in time.
    pub(super) async fn expired(&self) {
        loop {
            let deadline = self.lock().deadline;
            match deadline {
                None => std::future::pending().await,
                Some(deadline) if deadline <= Instant::now() => return,
                Some(deadline) => tokio::time::sleep_until(deadline.into()).await,
            }
        }
    }

    fn lock(&self) -> MutexGuard<'_, Inner> {
        self.inner.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
