//! How many bytes of a body the other side accepts, shared between the connection and whoever sends the body.

use std::sync::{Mutex, PoisonError};

use tokio::sync::Notify;

/// Bytes of one direction of a stream that may be under way before the receiver sends credit: 256 KiB.
pub(crate) const WINDOW_BYTES: u32 = 256 * 1024;

/// The credit of one direction of one stream.
#[derive(Debug)]
pub(crate) struct Credit {
    /// `None` once nothing can be sent any more. Held for an addition only.
    left: Mutex<Option<u64>>,
    changed: Notify,
}

impl Default for Credit {
    fn default() -> Self {
        Self::new(WINDOW_BYTES)
    }
}

impl Credit {
    pub(crate) fn new(bytes: u32) -> Self {
        Self { left: Mutex::new(Some(bytes.into())), changed: Notify::new() }
    }

    /// The other side accepts more.
    pub(crate) fn add(&self, bytes: u32) {
        self.change(|left| left.saturating_add(bytes.into()));
    }

    /// Takes exactly `bytes` without waiting, for what travels with the first frame; or nothing.
    pub(crate) fn spend_whole(&self, bytes: usize) -> bool {
        let mut left = self.left.lock().unwrap_or_else(PoisonError::into_inner);
        let rest = left.and_then(|left| left.checked_sub(bytes as u64));
        *left = rest.or(*left);
        rest.is_some()
    }

    /// Waits until anything at all can be sent; `None` when the stream is over.
    pub(crate) async fn opened(&self) -> Option<()> {
        self.wait_for(|left| (*left > 0).then_some(())).await
    }

    /// The stream is over; whoever waits is told.
    pub(crate) fn close(&self) {
        *self.left.lock().unwrap_or_else(PoisonError::into_inner) = None;
        self.changed.notify_waiters();
    }

    /// Waits until something can be sent and takes up to `bytes_max` of it; `None` when the stream is over.
    pub(crate) async fn take(&self, bytes_max: usize) -> Option<usize> {
        self.wait_for(|left| {
            let taken = (*left).min(bytes_max as u64);
            *left -= taken;
            (taken > 0).then_some(taken as usize)
        })
        .await
    }

    /// Waits until `take` gives something; `None` when the stream is over.
    async fn wait_for<T>(&self, take: impl Fn(&mut u64) -> Option<T>) -> Option<T> {
        loop {
            let changed = self.changed.notified();
            tokio::pin!(changed);
            // Registered before looking, so that no change is missed.
            changed.as_mut().enable();
            let taken = take(self.left.lock().unwrap_or_else(PoisonError::into_inner).as_mut()?);
            if taken.is_some() {
                return taken;
            }
            changed.await;
        }
    }

    fn change(&self, change: impl FnOnce(u64) -> u64) {
        let mut left = self.left.lock().unwrap_or_else(PoisonError::into_inner);
        *left = left.map(change);
        drop(left);
        self.changed.notify_waiters();
    }
}

/// What one side lets the other send: granted less received.
#[derive(Debug)]
pub(crate) struct Allowance(u64);

impl Default for Allowance {
    fn default() -> Self {
        Self(WINDOW_BYTES.into())
    }
}

impl Allowance {
    /// `false` if the other side sent more than it was allowed.
    pub(crate) fn receive(&mut self, bytes: usize) -> bool {
        let left = self.0.checked_sub(bytes as u64);
        self.0 = left.unwrap_or(0);
        left.is_some()
    }

    pub(crate) fn grant(&mut self, bytes: u32) {
        self.0 = self.0.saturating_add(bytes.into());
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use super::*;

    #[tokio::test]
    async fn who_waits_for_credit_gets_what_comes() {
        let credit = Arc::new(Credit::default());
        assert_eq!(credit.take(usize::MAX).await, Some(WINDOW_BYTES as usize));
        let waiting = tokio::spawn({
            let credit = Arc::clone(&credit);
            async move { (credit.take(100).await, credit.take(100).await, credit.take(100).await) }
        });
        tokio::task::yield_now().await;
        credit.add(150);
        tokio::task::yield_now().await;
        credit.close();
        assert_eq!(waiting.await.unwrap(), (Some(100), Some(50), None));
    }

    #[test]
    fn more_than_allowed_is_noticed() {
        let mut allowance = Allowance::default();
        assert!(allowance.receive(WINDOW_BYTES as usize));
        assert!(!allowance.receive(1));
        allowance.grant(2);
        assert!(allowance.receive(2));
    }
}
