//! How handles and connections name one thing over its whole life, across reconnections.

use std::sync::atomic::{AtomicU64, Ordering::Relaxed};

/// Names a call, service, subscription or seat of this client. Ids on the wire come and go with connections.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub(crate) struct Key(u64);

/// Where keys come from.
#[derive(Debug, Default)]
pub(crate) struct KeySource(AtomicU64);

impl KeySource {
    pub(crate) fn next(&self) -> Key {
        Key(self.0.fetch_add(1, Relaxed))
    }
}
