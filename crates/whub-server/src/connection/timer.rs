//! One timer per connection, moved only when it has to be.

use std::future::Future;
use std::pin::Pin;
use std::task::{Context, Poll};
use std::time::Instant;

use tokio::time::Sleep;

/// A timer that tolerates deadlines which move away: it rings at the old one, sees that nothing is due, and is set
/// to the new one. So a busy connection, whose deadline moves with every message, does not touch the wheel.
#[derive(Debug)]
pub(crate) struct Timer(Pin<Box<Sleep>>);

impl Timer {
    pub(crate) fn new(due: Instant) -> Self {
        Self(Box::pin(tokio::time::sleep_until(due.into())))
    }

    /// True when `due` has come; otherwise the task is woken then.
    pub(crate) fn poll_due(&mut self, cx: &mut Context<'_>, due: Instant) -> bool {
        if self.0.deadline() > due.into() {
            self.0.as_mut().reset(due.into());
        }
        while let Poll::Ready(()) = self.0.as_mut().poll(cx) {
            if self.0.deadline() >= due.into() {
                return true;
            }
            self.0.as_mut().reset(due.into());
        }
        false
    }
}
