//! What has happened in a room and was not taken yet.

use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::task::Poll;

use crate::error::Error;
use crate::queue::Queue;
use crate::room::RoomEvent;

/// Messages beyond this are dropped and counted, bytes; one is always taken.
const MESSAGE_BYTES_MAX: usize = 1 << 20;
/// What an event weighs, beside what it tells.
const EVENT_BYTES: usize = 64;
/// Events are not dropped. A program that leaves so many bytes of them has forgotten the room, which is left then.
const EVENT_BYTES_MAX: usize = 16 << 20;

/// The connection's end of a membership.
#[derive(Debug, Default)]
pub(crate) struct RoomFlow {
    queue: Queue<RoomEvent>,
    /// Messages dropped since the last one that was kept.
    missed: AtomicU64,
}

impl RoomFlow {
    /// A message; dropped, and counted, where too much waits.
    pub(crate) fn say(&self, event: RoomEvent, bytes: usize) {
        if self.queue.load().1 >= MESSAGE_BYTES_MAX {
            self.missed.fetch_add(1, Relaxed);
            return;
        }
        self.tell_missed();
        self.queue.push(event, bytes);
    }

    /// Anything else. False when too much waits.
    pub(crate) fn tell(&self, event: RoomEvent, bytes: usize) -> bool {
        if self.queue.load().1 >= EVENT_BYTES_MAX {
            return false;
        }
        self.tell_missed();
        self.queue.push(event, EVENT_BYTES + bytes);
        true
    }

    /// The membership has ended.
    pub(crate) fn close(&self, error: Option<Error>) {
        self.tell_missed();
        self.queue.close(error);
    }

    pub(super) fn error(&self) -> Option<Error> {
        self.queue.error()
    }

    pub(super) async fn pop(&self) -> Option<RoomEvent> {
        std::future::poll_fn(|cx| match self.queue.poll_pop(cx) {
            // Nothing waits behind what was dropped, so this is its place.
            Poll::Pending => match self.missed.swap(0, Relaxed) {
                0 => Poll::Pending,
                count => Poll::Ready(Some(RoomEvent::Missed { count })),
            },
            ready => ready,
        })
        .await
    }

    fn tell_missed(&self) {
        let count = self.missed.swap(0, Relaxed);
        if count > 0 {
            self.queue.push(RoomEvent::Missed { count }, EVENT_BYTES);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn left(member: u32) -> RoomEvent {
        RoomEvent::Left { member, reason: String::new() }
    }

    #[tokio::test]
    async fn what_is_not_taken_is_dropped_and_told_in_its_place() {
        let flow = RoomFlow::default();
        flow.say(left(1), MESSAGE_BYTES_MAX);
        flow.say(left(2), 1);
        flow.say(left(3), 1);
        assert!(flow.tell(left(4), 0));
        flow.say(left(5), 1);
        assert_eq!(flow.pop().await, Some(left(1)));
        assert_eq!(flow.pop().await, Some(RoomEvent::Missed { count: 2 }));
        assert_eq!(flow.pop().await, Some(left(4)));
        assert_eq!(flow.pop().await, Some(RoomEvent::Missed { count: 1 }));
        flow.close(None);
        assert_eq!(flow.pop().await, None);
    }

    #[test]
    fn events_that_nobody_takes_are_too_many_at_last() {
        let flow = RoomFlow::default();
        let told = (0..).take_while(|_| flow.tell(left(1), 1 << 20)).count();
        assert_eq!(told, 16);
    }
}
