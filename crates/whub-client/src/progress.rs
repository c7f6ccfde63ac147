//! News of a call whose answer has not begun.

use std::fmt;
use std::sync::Arc;

use bytes::Bytes;

use crate::headers::Headers;

/// What a service says of a call before it answers.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct Progress {
    /// From 100 to 199.
    pub status: u16,
    /// The header pairs.
    pub headers: Headers,
    /// What came with it.
    pub payload: Bytes,
}

/// Who wants to know.
#[derive(Clone, Default)]
pub(crate) struct Watcher(Option<Arc<dyn Fn(Progress) + Send + Sync>>);

impl Watcher {
    pub(crate) fn new(watch: impl Fn(Progress) + Send + Sync + 'static) -> Self {
        Self(Some(Arc::new(watch)))
    }

    pub(crate) fn tell(&self, progress: impl FnOnce() -> Progress) {
        if let Some(watch) = &self.0 {
            watch(progress());
        }
    }
}

impl fmt::Debug for Watcher {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Watcher({})", self.0.is_some())
    }
}
