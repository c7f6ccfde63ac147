//! A route of one client: messages on their way to an endpoint, between the client's connection and the task that
//! carries them.
//!
//! The flow window is the route's own. When it is full the client is not read from for a moment; if the endpoint takes
//! nothing in that time, messages for it are refused until it does, so that it does not hold up the other routes.

use std::collections::VecDeque;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll, Waker};
use std::time::{Duration, Instant};

use bytes::Bytes;

use crate::config::WhenDown;

/// One route of one client.
#[derive(Debug)]
pub(crate) struct Leg {
    // Held for a push or a pop; client and endpoint are two tasks.
    state: Mutex<State>,
}

#[derive(Debug)]
struct State {
    queue: VecDeque<Queued>,
    bytes: usize,
    window: usize,
    /// How long messages wait while the endpoint is down; `None`: they are refused.
    hold: Option<Duration>,
    down: bool,
    /// The window was full for too long.
    stalled: bool,
    /// Somebody was refused because of that, and is told when it is over.
    owes_news: bool,
    closed: bool,
    /// Something came while it was down.
    stirred: bool,
    carrier: Option<Waker>,
    sender: Option<Waker>,
}

/// A message for the endpoint.
#[derive(Debug)]
pub(crate) struct Queued {
    pub(crate) text: bool,
    pub(crate) payload: Bytes,
    at: Instant,
}

/// What became of a message.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Taken {
    /// Accepted, and there is room for more.
    Room,
    /// Accepted, but the window is full: wait for [`Leg::poll_room`].
    Wait,
    /// Refused: the endpoint is down.
    Down,
    /// Refused: the window has been full for too long.
    Full,
}

impl Leg {
    pub(crate) fn new(window: usize) -> Self {
        Self {
            state: Mutex::new(State {
                queue: VecDeque::new(),
                bytes: 0,
                window,
                hold: None,
                down: false,
                stalled: false,
                owes_news: false,
                closed: false,
                stirred: false,
                carrier: None,
                sender: None,
            }),
        }
    }

    /// A message of the client.
    pub(crate) fn send(&self, text: bool, payload: &[u8], now: Instant) -> Taken {
        let mut state = self.lock();
        if state.down && (state.hold.is_none() || state.bytes >= state.window) {
            return Taken::Down;
        }
        if state.stalled {
            state.owes_news = true;
            return Taken::Full;
        }
        state.bytes += weight(payload);
        state.queue.push_back(Queued { text, payload: Bytes::copy_from_slice(payload), at: now });
        state.stirred = state.down;
        if let Some(carrier) = state.carrier.take() {
            carrier.wake();
        }
        // What waits for an endpoint that is down waits here, and holds nobody up.
        if state.bytes >= state.window && !state.down { Taken::Wait } else { Taken::Room }
    }

    /// True when there is room, or will not be; otherwise the waker is woken then.
    pub(crate) fn poll_room(&self, waker: &Waker) -> bool {
        let mut state = self.lock();
        if state.closed || state.down || state.bytes < state.window {
            return true;
        }
        state.sender = Some(waker.clone());
        false
    }

    /// It had no room for too long: from here on messages are refused.
    pub(crate) fn stall(&self) {
        let mut state = self.lock();
        state.stalled = state.bytes >= state.window;
    }

    /// The client has gone, or wants nothing more: what waits still goes.
    pub(crate) fn close(&self) {
        let mut state = self.lock();
        state.closed = true;
        if let Some(carrier) = state.carrier.take() {
            carrier.wake();
        }
    }

    pub(super) fn is_closed(&self) -> bool {
        self.lock().closed
    }

    /// What holds for the endpoint now.
    pub(super) fn rule(&self, window: usize, when_down: WhenDown) {
        let mut state = self.lock();
        state.window = window;
        state.hold = match when_down {
            WhenDown::Refuse => None,
            WhenDown::Hold(time) => Some(time),
        };
    }

    /// The next message. `None` when there is none, and there will be no more.
    pub(super) fn poll_next(&self, cx: &mut Context<'_>) -> Poll<Option<Queued>> {
        let mut state = self.lock();
        if let Some(queued) = state.queue.pop_front() {
            state.take(&queued);
            return Poll::Ready(Some(queued));
        }
        if state.closed {
            return Poll::Ready(None);
        }
        state.carrier = Some(cx.waker().clone());
        Poll::Pending
    }

    /// Ready when the client has gone (true), or when something came since the last time.
    pub(super) fn poll_stirred(&self, cx: &mut Context<'_>) -> Poll<bool> {
        let mut state = self.lock();
        if state.closed || std::mem::take(&mut state.stirred) {
            return Poll::Ready(state.closed);
        }
        state.carrier = Some(cx.waker().clone());
        Poll::Pending
    }

    /// Whether somebody is to be told that there is room again.
    pub(super) fn take_news(&self) -> bool {
        std::mem::take(&mut self.lock().owes_news)
    }

    /// The endpoint is reached again.
    pub(super) fn rise(&self) {
        self.lock().down = false;
    }

    /// The endpoint is down. How many messages are given up at once.
    pub(super) fn fall(&self) -> usize {
        let mut state = self.lock();
        state.down = true;
        state.relieve();
        if state.hold.is_some() && !state.closed {
            return 0;
        }
        let given_up = state.queue.len();
        (state.queue, state.bytes) = (VecDeque::new(), 0);
        given_up
    }

    /// Gives up those that have waited for too long. How many they were, and when the next one will have.
    pub(super) fn expire(&self, now: Instant) -> (usize, Option<Instant>) {
        let mut state = self.lock();
        let Some(hold) = state.hold else { return (0, None) };
        let mut expired = 0;
        while let Some(first) = state.queue.front() {
            if first.at + hold > now {
                return (expired, Some(first.at + hold));
            }
            if let Some(queued) = state.queue.pop_front() {
                state.take(&queued);
                expired += 1;
            }
        }
        (expired, None)
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl State {
    fn take(&mut self, queued: &Queued) {
        self.bytes -= weight(&queued.payload);
        if self.bytes < self.window.div_ceil(2) {
            self.relieve();
        }
        if self.queue.is_empty() {
            // An idle route owns no buffer.
            self.queue = VecDeque::new();
        }
    }

    fn relieve(&mut self) {
        self.stalled = false;
        if let Some(sender) = self.sender.take() {
            sender.wake();
        }
    }
}

/// What a message holds while it waits.
fn weight(payload: &[u8]) -> usize {
    payload.len() + size_of::<Queued>()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn leg() -> Leg {
        Leg::new(3 * weight(b"abcd"))
    }

    fn next(leg: &Leg) -> Option<Vec<u8>> {
        match leg.poll_next(&mut Context::from_waker(Waker::noop())) {
            Poll::Ready(Some(queued)) => Some(queued.payload.to_vec()),
            Poll::Ready(None) | Poll::Pending => None,
        }
    }

    #[test]
    fn a_full_window_is_waited_for_then_refused_then_open_again() {
        let (leg, now) = (leg(), Instant::now());
        assert_eq!(leg.send(true, b"1111", now), Taken::Room);
        assert_eq!(leg.send(true, b"2222", now), Taken::Room);
        assert_eq!(leg.send(true, b"3333", now), Taken::Wait);
        assert!(!leg.poll_room(Waker::noop()));
        leg.stall();
        assert_eq!(leg.send(true, b"4444", now), Taken::Full);
        assert_eq!(next(&leg), Some(b"1111".to_vec()));
        assert_eq!(leg.send(true, b"5555", now), Taken::Full, "half of it has to be free");
        assert_eq!(next(&leg), Some(b"2222".to_vec()));
        assert!(leg.poll_room(Waker::noop()) && leg.take_news() && !leg.take_news());
        assert_eq!(leg.send(true, b"6666", now), Taken::Room);
        assert_eq!(next(&leg), Some(b"3333".to_vec()));
        assert_eq!(next(&leg), Some(b"6666".to_vec()));
    }

    #[test]
    fn while_it_is_down_messages_are_refused() {
        let (leg, now) = (leg(), Instant::now());
        leg.send(true, b"1111", now);
        assert_eq!(leg.fall(), 1, "what waited is given up");
        assert_eq!(leg.send(true, b"2222", now), Taken::Down);
        leg.rise();
        assert_eq!(leg.send(true, b"3333", now), Taken::Room);
        assert_eq!(next(&leg), Some(b"3333".to_vec()));
    }

    #[test]
    fn or_held_as_far_as_the_window_goes_and_for_a_time() {
        let (leg, now) = (leg(), Instant::now());
        let hold = Duration::from_secs(5);
        leg.rule(2 * weight(b"1111"), WhenDown::Hold(hold));
        assert_eq!(leg.fall(), 0);
        assert_eq!(leg.send(true, b"1111", now), Taken::Room);
        assert_eq!(leg.send(true, b"2222", now + hold / 2), Taken::Room);
        assert_eq!(leg.send(true, b"3333", now + hold / 2), Taken::Down, "beyond the window");
        assert_eq!(leg.expire(now), (0, Some(now + hold)));
        assert_eq!(leg.expire(now + hold), (1, Some(now + hold / 2 + hold)));
        leg.rise();
        assert_eq!(next(&leg), Some(b"2222".to_vec()));
    }

    #[test]
    fn what_waits_when_the_client_goes_still_goes() {
        let leg = leg();
        leg.send(true, b"1111", Instant::now());
        leg.close();
        assert_eq!(next(&leg), Some(b"1111".to_vec()));
        assert!(matches!(leg.poll_next(&mut Context::from_waker(Waker::noop())), Poll::Ready(None)));
    }
}
