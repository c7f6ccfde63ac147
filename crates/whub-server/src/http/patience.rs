//! How long a connection may keep us waiting: for its first request, between requests, for taking an answer.
//!
//! One timer per connection that rings at a fixed pace. Whoever has done nothing between two rings has to go, so
//! waits are bounded by one pace before the first request and by two after it, and a busy connection never touches
//! the timer.

use std::pin::Pin;
use std::task::{Context, Poll};
use std::time::Duration;

use tokio::time::{Instant, Sleep, sleep};

use crate::http::visit::Visit;

/// The timer and what it saw when it last rang.
#[derive(Debug)]
pub(super) struct Patience {
    pace: Duration,
    timer: Pin<Box<Sleep>>,
    requests: u64,
    written: u64,
    /// When something moved last.
    moved: Instant,
    /// How long a peer may take no bytes while there are some for it.
    dead: Duration,
}

/// What a connection has to do.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Verdict {
    /// End at once.
    End,
    /// Send what is queued, and end.
    Leave,
}

impl Patience {
    /// `pace`: the time to the first complete request. `dead`: how long a peer may take no bytes while there are some.
    pub(super) fn new(pace: Duration, dead: Duration) -> Self {
        Self { pace, timer: Box::pin(sleep(pace)), requests: 0, written: 0, moved: Instant::now(), dead }
    }

    /// Ready when patience is at an end.
    pub(super) fn poll(&mut self, cx: &mut Context<'_>, visit: &Visit) -> Poll<Verdict> {
        while self.timer.as_mut().poll(cx).is_ready() {
            let verdict = self.judge(visit);
            let next = Instant::now() + self.pace;
            self.timer.as_mut().reset(next);
            if let Some(verdict) = verdict {
                return Poll::Ready(verdict);
            }
        }
        Poll::Pending
    }

    fn judge(&mut self, visit: &Visit) -> Option<Verdict> {
        let requests = visit.requests();
        if requests == 0 {
            visit.node.http.slow_openers.one();
            return Some(Verdict::End);
        }
        let written = visit.written();
        let moved = requests != self.requests || written != self.written;
        (self.requests, self.written) = (requests, written);
        if moved {
            self.moved = Instant::now();
            return None;
        }
        if (visit.is_blocked() || visit.listeners() > 0) && self.moved.elapsed() >= self.dead {
            visit.node.hub.counters.dead_peers.one();
            return Some(Verdict::End);
        }
        let idle = visit.inflight() == 0 && !visit.is_http2();
        idle.then_some(Verdict::Leave)
    }
}
