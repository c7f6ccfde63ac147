//! Drives the hub's usher: calls that wait for a free provider are led there, or told that they waited too long.

use std::future::poll_fn;
use std::pin::pin;
use std::sync::Arc;
use std::task::Poll;

use tokio::time::{Instant, sleep_until};
use whub_core::Hub;

/// Runs for as long as the node does.
pub(crate) async fn run(hub: Arc<Hub>) {
    let mut alarm = pin!(sleep_until(Instant::now()));
    poll_fn(|cx| {
        loop {
            let Some(due) = hub.handle_waiting(Instant::now().into_std(), cx.waker()) else {
                return Poll::Pending;
            };
            alarm.as_mut().reset(due.into());
            std::task::ready!(alarm.as_mut().poll(cx));
        }
    })
    .await
}
