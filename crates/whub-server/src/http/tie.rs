//! What a caller holds of a call under way: its own mailbox, and whoever owes the answer.

use std::sync::Arc;
use std::task::Waker;

use whub_core::{CallKey, Letter, Mailbox, Packet, Post as _};
use whub_proto::{Code, Flags, Kind};

use crate::http::caller::{CALL, CallerMailbox};

/// A call under way. Whoever drops it before its outcome has abandoned it.
#[derive(Debug)]
pub(crate) struct Tie {
    provider: Mailbox,
    caller: Arc<CallerMailbox>,
    settled: bool,
}

impl Tie {
    pub(super) fn new(provider: Mailbox, caller: Arc<CallerMailbox>) -> Self {
        Self { provider, caller, settled: false }
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
        let _ = self.provider.post(Letter::Upload { call: self.key(), data });
    }

    /// A piece of the request's body.
    pub(crate) fn upload_piece(&self, flags: Flags, piece: &[u8]) {
        self.upload(Packet::forward(Kind::Data, flags, None, &[], piece));
    }

    /// Whether the provider's side takes more now; otherwise the waker is woken once it does.
    pub(crate) fn poll_room(&self, waker: &Waker) -> bool {
        self.provider.poll_room(waker)
    }

    /// So many bytes of the answer were taken.
    pub(crate) fn refill(&self, bytes: u32) {
        if !self.settled {
            let _ = self.provider.post(Letter::Refill { call: self.key(), bytes });
        }
    }

    /// The call has its outcome.
    pub(crate) fn settle(&mut self) {
        self.settled = true;
    }

    fn key(&self) -> CallKey {
        CallKey { caller: self.caller.session(), id: CALL }
    }
}

impl Drop for Tie {
    fn drop(&mut self) {
        self.caller.close();
        if !self.settled {
            let _ = self.provider.post(Letter::Abandon { call: self.key(), code: Code::Cancelled });
        }
    }
}
