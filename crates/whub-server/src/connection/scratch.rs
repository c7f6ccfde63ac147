//! Buffers that a thread lends to whichever connection it is serving, so that an idle connection owns none.

use std::cell::RefCell;

use crate::outgoing::Outgoing;

/// What one read may bring: large enough for many small messages, small enough for the cache.
const READ_BYTES: usize = 128 * 1024;

/// A buffer that grew beyond this is given back.
const KEEP_BYTES: usize = 1024 * 1024;

/// What a connection gathers in one turn. Empty whenever it is lent.
pub(super) struct Scratch {
    pub(super) own: Outgoing,
    pub(super) relay: Vec<u8>,
}

thread_local! {
    /// What a stream that buffers is about to take.
    pub(super) static QUEUE: RefCell<Vec<u8>> = const { RefCell::new(Vec::new()) };
    static SCRATCH: RefCell<Scratch> = const { RefCell::new(Scratch { own: Outgoing::new(), relay: Vec::new() }) };

    /// What a socket is read into. It stands apart because letters are read between a read and its handling.
    pub(crate) static INPUT: RefCell<Box<[u8]>> = RefCell::new(vec![0; READ_BYTES].into());
}

impl Scratch {
    /// Lends the buffers. `work` must not lend them again: it is one connection's turn, and never waits.
    pub(super) fn with<R>(work: impl FnOnce(&mut Self) -> R) -> R {
        SCRATCH.with_borrow_mut(|scratch| {
            scratch.own.clear();
            scratch.relay.clear();
            let result = work(scratch);
            scratch.own.shrink_to(KEEP_BYTES);
            scratch.relay.shrink_to(KEEP_BYTES);
            result
        })
    }
}
