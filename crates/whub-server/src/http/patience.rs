//! How long a connection may keep us waiting: for its first request, between requests, for taking an answer.
//!
//! One timer per connection that rings at a fixed pace. Whoever has done nothing between two rings has to go, so
//! waits are bounded by one pace before the first request and by two after it, and a busy connection never touches
//! the timer.
//!
//! When this process was itself held up, timers ring before what came meanwhile was read. So nobody is judged by the
//! first ring alone: what has arrived gets a moment to be noticed.

use std::pin::Pin;
use std::task::{Context, Poll};
use std::time::Duration;

use tokio::time::{Instant, Sleep, sleep};

/// The timer and what it saw when it last rang.
#[derive(Debug)]
pub(super) struct Patience {
    pace: Duration,
    timer: Pin<Box<Sleep>>,
    /// The time for the first request is over; it ends unless one turns up now.
    warned: bool,
    requests: u64,
    written: u64,
    /// When something moved last.
    moved: Instant,
    /// How long a peer may take no bytes while there are some for it.
    dead: Duration,
}

/// What a connection has done so far, and is about.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct Seen {
    /// Requests that came.
    pub(super) requests: u64,
    /// Bytes that the peer took.
    pub(super) written: u64,
    /// Bytes wait that it does not take.
    pub(super) blocked: bool,
    /// Streams of events, which are never silent for long.
    pub(super) listeners: usize,
    /// Halves of pairs, which are waited for however slowly they take what the others send.
    pub(super) halves: usize,
    /// Requests that are being answered.
    pub(super) inflight: usize,
    /// HTTP/2 has pings of its own.
    pub(super) http2: bool,
}

/// What a connection has to do.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Verdict {
    /// End at once: no request came.
    Silent,
    /// End at once: the peer takes nothing.
    Dead,
    /// Send what is queued, and end.
    Leave,
}

impl Patience {
    /// `pace`: the time to the first complete request. `dead`: how long a peer may take no bytes while there are some.
    pub(super) fn new(pace: Duration, dead: Duration) -> Self {
        Self {
            pace,
            timer: Box::pin(sleep(pace)),
            warned: false,
            requests: 0,
            written: 0,
            moved: Instant::now(),
            dead,
        }
    }

    /// Ready when patience is at an end.
    pub(super) fn poll(&mut self, cx: &mut Context<'_>, seen: impl Fn() -> Seen) -> Poll<Verdict> {
        while self.timer.as_mut().poll(cx).is_ready() {
            let verdict = self.judge(seen());
            let rest = if self.warned { self.pace / 4 } else { self.pace };
            self.timer.as_mut().reset(Instant::now() + rest);
            if let Some(verdict) = verdict {
                return Poll::Ready(verdict);
            }
        }
        Poll::Pending
    }

    fn judge(&mut self, seen: Seen) -> Option<Verdict> {
        if seen.requests == 0 {
            let warned = std::mem::replace(&mut self.warned, true);
            return warned.then_some(Verdict::Silent);
        }
        self.warned = false;
        let moved = seen.requests != self.requests || seen.written != self.written;
        (self.requests, self.written) = (seen.requests, seen.written);
        if moved {
            self.moved = Instant::now();
            return None;
        }
        let is_late = (seen.blocked && seen.halves == 0) || seen.listeners > 0;
        if is_late && self.moved.elapsed() >= self.dead {
            return Some(Verdict::Dead);
        }
        let idle = seen.inflight == 0 && !seen.http2;
        idle.then_some(Verdict::Leave)
    }
}

#[cfg(test)]
mod tests {
    use std::task::Waker;

    use super::*;

    const PACE: Duration = Duration::from_secs(4);
    const SECOND: Duration = Duration::from_secs(1);

    /// What is said after so much more time.
    async fn after(patience: &mut Patience, time: Duration, seen: Seen) -> Option<Verdict> {
        tokio::time::advance(time).await;
        match patience.poll(&mut Context::from_waker(Waker::noop()), || seen) {
            Poll::Ready(verdict) => Some(verdict),
            Poll::Pending => None,
        }
    }

    #[tokio::test(start_paused = true)]
    async fn who_sends_no_request_has_to_go() {
        let mut patience = Patience::new(PACE, 10 * PACE);
        assert_eq!(after(&mut patience, PACE, Seen::default()).await, None);
        assert_eq!(after(&mut patience, SECOND, Seen::default()).await, Some(Verdict::Silent));
    }

    #[tokio::test(start_paused = true)]
    async fn a_request_that_is_noticed_late_is_in_time() {
        let mut patience = Patience::new(PACE, 10 * PACE);
        // The process was held up: the timer is first to say so.
        assert_eq!(after(&mut patience, 20 * PACE, Seen::default()).await, None);
        let asked = Seen { requests: 1, inflight: 1, ..Seen::default() };
        assert_eq!(after(&mut patience, SECOND, asked).await, None);
        assert_eq!(after(&mut patience, 5 * PACE, asked).await, None, "it waits for its answer");
        let answered = Seen { requests: 1, written: 100, ..Seen::default() };
        assert_eq!(after(&mut patience, PACE, answered).await, None);
        assert_eq!(after(&mut patience, PACE, answered).await, Some(Verdict::Leave));
    }

    #[tokio::test(start_paused = true)]
    async fn who_takes_nothing_has_to_go_at_last() {
        let mut patience = Patience::new(PACE, 3 * PACE);
        let stuck = Seen { requests: 1, inflight: 1, blocked: true, ..Seen::default() };
        for _ in 0..3 {
            assert_eq!(after(&mut patience, PACE, stuck).await, None);
        }
        assert_eq!(after(&mut patience, PACE, stuck).await, Some(Verdict::Dead));
    }

    #[tokio::test(start_paused = true)]
    async fn a_half_of_a_pair_may_rest() {
        let mut patience = Patience::new(PACE, 3 * PACE);
        let resting = Seen { requests: 1, inflight: 1, blocked: true, halves: 1, ..Seen::default() };
        for _ in 0..20 {
            assert_eq!(after(&mut patience, PACE, resting).await, None);
        }
        let left = Seen { halves: 0, ..resting };
        assert_eq!(after(&mut patience, PACE, left).await, Some(Verdict::Dead));
    }
}
