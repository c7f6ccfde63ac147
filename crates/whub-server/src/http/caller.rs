//! A mailbox of one: where the outcome of a single call arrives.

use std::collections::VecDeque;
use std::sync::{Mutex, PoisonError};
use std::task::{Context, Poll, Waker};

use whub_core::{CallId, Fault, Letter, Mailbox, Post, SessionId, Undelivered};
use whub_proto::Code;

/// The call's id on this mailbox: there is only one.
pub(super) const CALL: CallId = CallId { id: 1, serial: 1 };

/// The mailbox of an HTTP caller. What it holds is bounded by the credit that the caller gives.
#[derive(Debug)]
pub(crate) struct CallerMailbox {
    session: SessionId,
    // Held for a push or a pop; the two ends are two tasks.
    state: Mutex<State>,
}

#[derive(Debug, Default)]
struct State {
    /// Most calls get one letter, which needs no queue.
    first: Option<Letter>,
    more: VecDeque<Letter>,
    /// What waits, as letters are weighed.
    bytes: usize,
    reader: Option<Waker>,
    /// Who gets the letters instead.
    heir: Option<Mailbox>,
    closed: bool,
}

/// What may wait here, bytes. Credit bounds the payloads far below; this bounds frames that hold hardly any.
const BYTES_MAX: usize = 64 << 20;

impl CallerMailbox {
    pub(crate) fn new(session: SessionId) -> Self {
        Self { session, state: Mutex::default() }
    }

    /// The next letter.
    pub(super) fn poll_letter(&self, cx: &mut Context<'_>) -> Poll<Letter> {
        let mut state = self.state.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(letter) = state.first.take() {
            state.bytes = state.bytes.saturating_sub(letter.weight());
            state.first = state.more.pop_front();
            return Poll::Ready(letter);
        }
        if !state.reader.as_ref().is_some_and(|reader| reader.will_wake(cx.waker())) {
            state.reader = Some(cx.waker().clone());
        }
        Poll::Pending
    }

    /// Gives what waits, and all that comes, to another mailbox.
    pub(super) fn hand_over(&self, heir: Mailbox) {
        let mut state = self.state.lock().unwrap_or_else(PoisonError::into_inner);
        let waiting = std::mem::take(&mut *state);
        // Under the lock, so that nothing overtakes what waited.
        for letter in waiting.first.into_iter().chain(waiting.more) {
            // An heir that has ended has abandoned the call.
            let _ = heir.post(letter);
        }
        state.heir = Some(heir);
        state.closed = waiting.closed;
    }

    /// Nothing is accepted from here on. What comes out was not read.
    pub(super) fn close(&self) -> impl Iterator<Item = Letter> + use<> {
        let mut state = self.state.lock().unwrap_or_else(PoisonError::into_inner);
        let unread = std::mem::replace(&mut *state, State { closed: true, ..State::default() });
        unread.first.into_iter().chain(unread.more)
    }
}

impl State {
    /// The answer came in too many pieces for a caller that does not take them.
    fn give_up(&mut self) -> Letter {
        *self = Self { closed: true, reader: self.reader.take(), ..Self::default() };
        let reason = "the answer came in more pieces than its caller can take; larger ones would do";
        Letter::Failed { id: CALL, fault: Fault::fatal(Code::SlowConsumer, "call.overrun", reason) }
    }
}

impl Post for CallerMailbox {
    fn session(&self) -> SessionId {
        self.session
    }

    fn post(&self, letter: Letter) -> Result<(), Undelivered> {
        let reader = {
            let mut state = self.state.lock().unwrap_or_else(PoisonError::into_inner);
            if state.closed {
                return Err(Undelivered::Gone(letter));
            }
            if let Some(heir) = state.heir.clone() {
                drop(state);
                return heir.post(letter);
            }
            state.bytes += letter.weight();
            let letter = if state.bytes > BYTES_MAX { state.give_up() } else { letter };
            if state.first.is_none() {
                state.first = Some(letter);
            } else {
                state.more.push_back(letter);
            }
            state.reader.take()
        };
        if let Some(reader) = reader {
            reader.wake();
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn credit(bytes: u32) -> Letter {
        Letter::Credit { id: CALL, bytes }
    }

    #[test]
    fn letters_come_out_in_order_and_none_after_the_end() {
        let mailbox = CallerMailbox::new(SessionId(7));
        let mut cx = Context::from_waker(Waker::noop());
        assert!(mailbox.poll_letter(&mut cx).is_pending());
        for bytes in 1..=3 {
            mailbox.post(credit(bytes)).unwrap();
        }
        for expected in 1..=3 {
            let Poll::Ready(Letter::Credit { bytes, .. }) = mailbox.poll_letter(&mut cx) else { panic!() };
            assert_eq!(bytes, expected);
        }
        assert!(mailbox.poll_letter(&mut cx).is_pending());
        assert_eq!(mailbox.close().count(), 0);
        assert!(matches!(mailbox.post(credit(1)), Err(Undelivered::Gone(_))));
    }
}
