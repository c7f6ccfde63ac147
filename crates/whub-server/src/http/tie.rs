//! What a caller holds of a call under way: its own mailbox, and whoever owes the answer.

use std::sync::Arc;
use std::task::Waker;

use whub_core::{CallKey, Hub, Letter, Mailbox, Packet, Place, Post as _};
use whub_proto::Code;

use crate::http::caller::{CALL, CallerMailbox};

/// A call under way. Whoever drops it before its outcome has abandoned it.
#[derive(Debug)]
pub(crate) struct Tie {
    hub: Arc<Hub>,
    place: Place,
    /// Of news where the call is, the newest that came.
    step: u8,
    caller: Arc<CallerMailbox>,
    settled: bool,
}

impl Tie {
    pub(super) fn new(hub: Arc<Hub>, place: Place, caller: Arc<CallerMailbox>) -> Self {
        Self { hub, place, step: 0, caller, settled: false }
    }

    /// The call is there now.
    pub(crate) fn placed(&mut self, place: Place, step: u8) {
        if step > self.step {
            (self.place, self.step) = (place, step);
        }
    }

    /// Whether a provider has it.
    pub(super) fn is_placed(&self) -> bool {
        self.place.provider().is_some()
    }

    /// Where the outcome arrives.
    pub(super) fn caller(&self) -> &CallerMailbox {
        &self.caller
    }

    /// From here on `to` gets what comes for the caller, and first what waits for it already.
    pub(crate) fn hand_over(&self, to: Mailbox) {
        self.caller.hand_over(to);
    }

    /// The request's body goes on. A provider that is gone fails the call by itself.
    pub(crate) fn upload(&self, data: Packet) {
        self.post(Letter::Upload { call: self.key(), data });
    }

    /// Whether the provider's side takes more now; otherwise the waker is woken once it does. Where there is no
    /// provider yet, the letter that names it wakes.
    pub(crate) fn poll_room(&self, waker: &Waker) -> bool {
        self.place.provider().is_some_and(|provider| provider.poll_room(waker))
    }

    /// So many bytes of the answer were taken.
    pub(crate) fn refill(&self, bytes: u32) {
        if !self.settled {
            self.post(Letter::Refill { call: self.key(), bytes });
        }
    }

    /// The call has its outcome.
    pub(crate) fn settle(&mut self) {
        self.settled = true;
    }

    fn post(&self, letter: Letter) {
        if let Some(provider) = self.place.provider() {
            let _ = provider.post(letter);
        }
    }

    fn key(&self) -> CallKey {
        CallKey { caller: self.caller.session(), id: CALL }
    }
}

impl Drop for Tie {
    fn drop(&mut self) {
        let unread = self.caller.close();
        if !self.settled {
            for letter in unread {
                if let Letter::Placed { place, step, .. } = letter {
                    self.placed(place, step);
                }
            }
            self.hub.abandon(&self.place, self.key(), Code::Cancelled);
        }
    }
}
