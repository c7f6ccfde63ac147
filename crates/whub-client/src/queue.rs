//! What has arrived for one handle and waits to be taken: bounded by those who put in, awaited by one who takes out.

use std::collections::VecDeque;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll, Waker};

use crate::error::Error;

/// A queue of items with their weights in bytes.
#[derive(Debug)]
pub(crate) struct Queue<T> {
    // Held for a push or a pop, never across an await.
    inner: Mutex<Inner<T>>,
}

#[derive(Debug)]
struct Inner<T> {
    items: VecDeque<(T, usize)>,
    bytes: usize,
    end: Option<Option<Error>>,
    waker: Option<Waker>,
}

impl<T> Default for Queue<T> {
    fn default() -> Self {
        let inner = Inner { items: VecDeque::new(), bytes: 0, end: None, waker: None };
        Self { inner: Mutex::new(inner) }
    }
}

impl<T> Queue<T> {
    /// Puts in an item; nothing happens after the end.
    pub(crate) fn push(&self, item: T, bytes: usize) {
        let mut inner = self.lock();
        if inner.end.is_some() {
            return;
        }
        inner.items.push_back((item, bytes));
        inner.bytes += bytes;
        wake(inner);
    }

    /// Drops the oldest item; whether there was one.
    pub(crate) fn drop_oldest(&self) -> bool {
        self.lock().pop().is_some()
    }

    /// Nothing comes any more; what is there can still be taken.
    pub(crate) fn close(&self, error: Option<Error>) {
        let mut inner = self.lock();
        if inner.end.is_none() {
            inner.end = Some(error);
            wake(inner);
        }
    }

    /// Why the queue has ended, if by an error.
    pub(crate) fn error(&self) -> Option<Error> {
        self.lock().end.clone().flatten()
    }

    /// Items and bytes that wait.
    pub(crate) fn load(&self) -> (usize, usize) {
        let inner = self.lock();
        (inner.items.len(), inner.bytes)
    }

    /// The next item; `None` after the last.
    pub(crate) fn poll_pop(&self, cx: &mut Context<'_>) -> Poll<Option<T>> {
        let mut inner = self.lock();
        if let Some(item) = inner.pop() {
            return Poll::Ready(Some(item));
        }
        if inner.end.is_some() {
            return Poll::Ready(None);
        }
        inner.waker = Some(cx.waker().clone());
        Poll::Pending
    }

    /// The next item; `None` after the last.
    pub(crate) async fn pop(&self) -> Option<T> {
        std::future::poll_fn(|cx| self.poll_pop(cx)).await
    }

    fn lock(&self) -> MutexGuard<'_, Inner<T>> {
        self.inner.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl<T> Inner<T> {
    fn pop(&mut self) -> Option<T> {
        let (item, bytes) = self.items.pop_front()?;
        self.bytes -= bytes;
        Some(item)
    }
}

fn wake<T>(mut inner: MutexGuard<'_, Inner<T>>) {
    let waker = inner.waker.take();
    drop(inner);
    if let Some(waker) = waker {
        waker.wake();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn what_was_put_in_can_be_taken_after_the_end() {
        let queue = Queue::default();
        queue.push(1, 10);
        queue.push(2, 20);
        queue.push(3, 30);
        assert!(queue.drop_oldest());
        assert_eq!(queue.load(), (2, 50));
        queue.close(Some(Error::closed()));
        queue.push(4, 40);
        assert_eq!((queue.pop().await, queue.pop().await, queue.pop().await), (Some(2), Some(3), None));
        assert!(queue.error().is_some());
    }
}
