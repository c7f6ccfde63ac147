//! The mailbox of a subscriber that reads server-sent events: bounded, and every message in it counted.

use std::collections::VecDeque;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll, Waker};
use std::time::Duration;

use whub_core::{Announcement, Fate, Fault, Hub, Letter, Packet, Post, Publication, SessionId, Undelivered};
use whub_proto::Kind;

use crate::config::SlowPolicy;
use crate::gaps::Gaps;
use crate::mailbox::slow_consumer;

/// The mailbox of a subscriber: published messages wait here until its connection takes them.
#[derive(Debug)]
pub(super) struct EventMailbox {
    session: SessionId,
    hub: Arc<Hub>,
    budget: usize,
    slow: SlowPolicy,
    // Held for a push or a swap; publishers and the connection are different tasks.
    state: Mutex<State>,
}

#[derive(Debug, Default)]
struct State {
    packets: VecDeque<Packet>,
    /// Bytes of `packets`.
    bytes: usize,
    gaps: Gaps,
    notice: Option<Notice>,
    recheck: bool,
    reader: Option<Waker>,
    closed: bool,
}

/// Why the stream ends.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Notice {
    Drain { retry: Duration },
    Kick(Fault),
}

/// What there is to say.
pub(super) enum Item {
    Packet(Packet),
    Recheck,
    End(Notice),
}

impl EventMailbox {
    pub(super) fn new(hub: Arc<Hub>, budget: usize, slow: SlowPolicy) -> Self {
        Self { session: hub.next_session(), hub, budget, slow, state: Mutex::default() }
    }

    /// What there is to say next.
    pub(super) fn poll_item(&self, cx: &mut Context<'_>) -> Poll<Item> {
        let mut state = self.lock();
        if std::mem::take(&mut state.recheck) {
            return Poll::Ready(Item::Recheck);
        }
        if let Some(packet) = state.packets.pop_front() {
            state.bytes -= packet.len();
            if state.bytes <= self.budget / 2 && !state.gaps.is_empty() {
                state.report_gaps();
            }
            if packet.head(0).kind == Kind::Message {
                self.hub.counters.deliveries_delivered.one();
            }
            return Poll::Ready(Item::Packet(packet));
        }
        if let Some(notice) = state.notice.take() {
            return Poll::Ready(Item::End(notice));
        }
        if !state.reader.as_ref().is_some_and(|reader| reader.will_wake(cx.waker())) {
            state.reader = Some(cx.waker().clone());
        }
        Poll::Pending
    }

    /// Nothing is accepted from here on; what waits is lost.
    pub(super) fn close(&self) {
        let mut state = self.lock();
        let lost = state.packets.iter().filter(|packet| packet.head(0).kind == Kind::Message).count();
        self.hub.counters.deliveries_dropped_gone.add((lost + state.gaps.kept()) as u64);
        *state = State { closed: true, ..State::default() };
    }

    /// There is no room for these messages.
    fn shed(&self, state: &mut State, publication: &dyn Publication) -> Fate {
        match self.slow {
            SlowPolicy::Conflate => {
                let dropped = state.gaps.conflate(publication.channel(), publication.packets());
                return Fate::Conflated { dropped };
            }
            SlowPolicy::Drop => {
                let count = u32::try_from(publication.packets().len()).unwrap_or(u32::MAX);
                state.gaps.drop(publication.channel(), count);
            }
            SlowPolicy::Close if state.notice.is_none() => {
                self.hub.counters.slow_consumers.one();
                state.notice = Some(Notice::Kick(slow_consumer()));
            }
            SlowPolicy::Close => {}
        }
        Fate::DroppedSlow
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl State {
    fn push(&mut self, packet: Packet) {
        self.bytes += packet.len();
        self.packets.push_back(packet);
    }

    /// Tells the subscriber what it missed, at the place where it is missing.
    fn report_gaps(&mut self) {
        let caught = self.gaps.take();
        for packet in caught.gaps.into_iter().map(|(_, gap)| gap).chain(caught.latest) {
            self.push(packet);
        }
    }

    fn wake(&mut self) {
        if let Some(reader) = self.reader.take() {
            reader.wake();
        }
    }
}

impl Post for EventMailbox {
    fn session(&self) -> SessionId {
        self.session
    }

    fn post(&self, letter: Letter) -> Result<(), Undelivered> {
        let mut state = self.lock();
        if state.closed {
            return Err(Undelivered::Gone(letter));
        }
        match letter.announcement() {
            Some(Announcement::Drain { retry }) => state.notice = Some(Notice::Drain { retry }),
            Some(Announcement::Kick(fault)) => {
                state.notice = Some(Notice::Kick(fault));
            }
            Some(Announcement::Recheck) => state.recheck = true,
            None => {}
        }
        state.wake();
        Ok(())
    }

    fn publish(&self, publication: &dyn Publication) -> Fate {
        let mut state = self.lock();
        if state.closed {
            return Fate::DroppedGone;
        }
        if state.bytes > self.budget {
            return self.shed(&mut state, publication);
        }
        if !state.gaps.is_empty() {
            state.report_gaps();
        }
        for packet in publication.packets() {
            state.push(packet.clone());
        }
        state.wake();
        Fate::Queued
    }
}

#[cfg(test)]
mod tests {
    use bytes::Bytes;
    use whub_core::Framing;

    use super::*;

    struct Batch(Vec<Packet>);

    impl Publication for Batch {
        fn framed(&self, _: Framing) -> Bytes {
            Bytes::new()
        }
        fn packets(&self) -> &[Packet] {
            &self.0
        }
        fn channel(&self) -> &str {
            "news"
        }
    }

    fn message(payload: &[u8]) -> Batch {
        Batch(vec![Packet::forward(Kind::Message, whub_proto::Flags::NONE, None, &[], payload)])
    }

    fn mailbox(budget: usize, slow: SlowPolicy) -> EventMailbox {
        let hub = Hub::new("n", "whub/test", whub_core::SessionLimits::default());
        EventMailbox::new(Arc::new(hub), budget, slow)
    }

    fn kinds(mailbox: &EventMailbox) -> Vec<Kind> {
        let mut cx = Context::from_waker(Waker::noop());
        let mut kinds = Vec::new();
        while let Poll::Ready(Item::Packet(packet)) = mailbox.poll_item(&mut cx) {
            kinds.push(packet.head(0).kind);
        }
        kinds
    }

    #[test]
    fn what_a_slow_subscriber_misses_is_counted_where_it_is_missing() {
        let mailbox = mailbox(100, SlowPolicy::Drop);
        let fates: Vec<Fate> = (0..4).map(|_| mailbox.publish(&message(&[b'x'; 100]))).collect();
        assert_eq!(fates, [Fate::Queued, Fate::DroppedSlow, Fate::DroppedSlow, Fate::DroppedSlow]);
        assert_eq!(kinds(&mailbox), [Kind::Message, Kind::Gap]);
        assert_eq!(mailbox.publish(&message(b"y")), Fate::Queued);
        mailbox.close();
        assert_eq!(mailbox.publish(&message(b"z")), Fate::DroppedGone);
        let counters = &mailbox.hub.counters;
        assert_eq!((counters.deliveries_delivered.read(), counters.deliveries_dropped_gone.read()), (1, 1));
    }

    #[test]
    fn a_slow_subscriber_may_be_closed_instead() {
        let mailbox = mailbox(100, SlowPolicy::Close);
        for _ in 0..3 {
            mailbox.publish(&message(&[b'x'; 100]));
        }
        assert_eq!(kinds(&mailbox), [Kind::Message]);
        assert_eq!(mailbox.hub.counters.slow_consumers.read(), 1);
        assert!(mailbox.lock().notice.is_none(), "the end was taken by the reader");
    }
}
