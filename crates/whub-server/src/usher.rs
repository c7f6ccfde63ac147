//! Drives what waits in the hub's tables: calls that wait for a free provider are led there, or told that they waited too
//! long; rooms that nobody came back to are ended.

use std::future::poll_fn;
use std::pin::pin;
use std::sync::Arc;
use std::task::{Poll, Waker};

use tokio::time::{Instant, sleep_until};
use whub_core::Hub;

/// The usher of calls. Runs for as long as the node does.
pub(crate) async fn run(hub: Arc<Hub>) {
    drive(|now, waker| hub.handle_waiting(now, waker)).await
}

/// The end of empty rooms. Runs for as long as the node does.
pub(crate) async fn run_rooms(hub: Arc<Hub>) {
    drive(|now, waker| hub.rooms.handle_empty(now, waker)).await
}

/// Calls `handle` when it is due, and when what it was handed is woken.
async fn drive(handle: impl Fn(std::time::Instant, &Waker) -> Option<std::time::Instant>) {
    let mut alarm = pin!(sleep_until(Instant::now()));
    poll_fn(|cx| {
        loop {
            let Some(due) = handle(Instant::now().into_std(), cx.waker()) else {
                return Poll::Pending;
            };
            alarm.as_mut().reset(due.into());
            std::task::ready!(alarm.as_mut().poll(cx));
        }
    })
    .await
}
