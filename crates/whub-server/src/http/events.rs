//! A subscriber that reads server-sent events: its mailbox, and the text that it reads.

use std::collections::VecDeque;
use std::fmt::Write as _;
use std::pin::Pin;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll, Waker};
use std::time::Duration;

use base64::Engine as _;
use base64::prelude::BASE64_STANDARD;
use bytes::Bytes;
use tokio::time::{Instant, Sleep, sleep};
use whub_core::{
    Fate, Framing, Hub, Letter, Packet, Parcel, Post, Publication, Sent, SessionId, Undelivered,
};
use whub_proto::names::Filter;
use whub_proto::{Code, Kind, json};

use crate::config::SlowPolicy;
use crate::gaps::Gaps;
use crate::http::visit::Listening;
use crate::node::Node;

/// A comment goes out after this much silence at most, so that proxies keep the connection and its loss shows.
const HEARTBEAT: Duration = Duration::from_secs(15);

/// When an `EventSource` comes back after the connection was lost, ms.
const RETRY_MS: u128 = 2000;

/// Text that one write may take, bytes.
const WRITE_BYTES: usize = 32 * 1024;

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
enum Notice {
    Drain { retry: Duration },
    Kick { code: Code, reason: String },
}

/// What there is to say.
enum Item {
    Packet(Packet),
    Recheck,
    End(Notice),
}

impl EventMailbox {
    pub(super) fn new(hub: Arc<Hub>, budget: usize, slow: SlowPolicy) -> Self {
        Self { session: hub.next_session(), hub, budget, slow, state: Mutex::default() }
    }

    fn poll_item(&self, cx: &mut Context<'_>) -> Poll<Item> {
        let mut state = self.lock();
        if std::mem::take(&mut state.recheck) {
            return Poll::Ready(Item::Recheck);
        }
        if let Some(packet) = state.packets.pop_front() {
            state.bytes -= packet.weight();
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
    fn close(&self) {
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
                let reason = "this subscriber reads too slowly: its mailbox is full".to_owned();
                state.notice = Some(Notice::Kick { code: Code::SlowConsumer, reason });
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
        self.bytes += packet.weight();
        self.packets.push_back(packet);
    }

    /// Tells the subscriber what it missed, at the place where it is missing.
    fn report_gaps(&mut self) {
        let caught = self.gaps.take();
        for packet in caught.gaps.into_iter().chain(caught.latest) {
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

    fn framing(&self) -> Framing {
        Framing::Private
    }

    fn post(&self, letter: Letter) -> Result<(), Undelivered> {
        let mut state = self.lock();
        if state.closed {
            return Err(Undelivered::Gone(letter));
        }
        match letter {
            Letter::Drain { retry, .. } => state.notice = Some(Notice::Drain { retry }),
            Letter::Kick(fault) => {
                state.notice = Some(Notice::Kick { code: fault.code, reason: fault.reason.into_owned() });
            }
            Letter::Recheck => state.recheck = true,
            // It provides nothing, calls nobody and has no partner.
            Letter::Call(_)
            | Letter::Upload { .. }
            | Letter::Abandon { .. }
            | Letter::Refill { .. }
            | Letter::Answer { .. }
            | Letter::Credit { .. }
            | Letter::Failed { .. }
            | Letter::Paired { .. }
            | Letter::Parted { .. } => {}
        }
        state.wake();
        Ok(())
    }

    fn send(&self, _: Parcel<'_>) -> Sent {
        Sent::Gone
    }

    fn hold(&self) {}

    fn poll_room(&self, _: &Waker) -> bool {
        true
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

/// How a message looks to the subscriber.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum View {
    /// The frame's JSON mirror.
    Frame,
    /// Its payload alone.
    Data,
}

/// What a subscriber is, to be checked again when the rules change.
#[derive(Debug)]
pub(super) struct Subscriber {
    pub(super) filter: Filter,
    pub(super) token: Option<Box<str>>,
    pub(super) view: View,
    /// As long as it listens, its connection is never silent for long.
    pub(super) _listening: Listening,
}

/// The text that a subscriber reads.
#[derive(Debug)]
pub(super) struct EventStream {
    node: Arc<Node>,
    mailbox: Arc<EventMailbox>,
    subscriber: Subscriber,
    heartbeat: Pin<Box<Sleep>>,
    silence: Duration,
    greeted: bool,
    ended: bool,
}

impl EventStream {
    pub(super) fn new(node: Arc<Node>, mailbox: Arc<EventMailbox>, subscriber: Subscriber) -> Self {
        let silence = HEARTBEAT.min(node.hub.limits.ping);
        let heartbeat = Box::pin(sleep(silence));
        Self { node, mailbox, subscriber, heartbeat, silence, greeted: false, ended: false }
    }

    /// The next text; `None` at the end.
    pub(super) fn poll_text(&mut self, cx: &mut Context<'_>) -> Poll<Option<Bytes>> {
        if self.ended {
            return Poll::Ready(None);
        }
        let mut text = String::new();
        if !std::mem::replace(&mut self.greeted, true) {
            let _ = write!(text, "retry: {RETRY_MS}\n\n");
        }
        while text.len() < WRITE_BYTES && !self.ended {
            match self.mailbox.poll_item(cx) {
                Poll::Ready(Item::Packet(packet)) => self.write_packet(&mut text, &packet),
                Poll::Ready(Item::Recheck) => self.recheck(&mut text),
                Poll::Ready(Item::End(notice)) => self.end(&mut text, &notice),
                Poll::Pending => break,
            }
        }
        if text.is_empty() {
            std::task::ready!(self.heartbeat.as_mut().poll(cx));
            text.push_str(":\n\n");
        }
        self.heartbeat.as_mut().reset(Instant::now() + self.silence);
        Poll::Ready(Some(text.into()))
    }

    fn write_packet(&self, text: &mut String, packet: &Packet) {
        let head = packet.head(0);
        let Ok(frame) = packet.frame() else { return };
        let name = if head.kind == Kind::Gap { "gap" } else { "message" };
        if self.subscriber.view == View::Frame || head.kind == Kind::Gap {
            let mut mirror = Vec::new();
            json::encode(&frame, &mut mirror);
            return write_event(text, name, &String::from_utf8_lossy(&mirror));
        }
        match std::str::from_utf8(frame.payload) {
            Ok(data) => write_event(text, name, data),
            Err(_) => write_event(text, "base64", &BASE64_STANDARD.encode(frame.payload)),
        }
    }

    /// The rules have changed: who may no longer listen is told so.
    fn recheck(&mut self, text: &mut String) {
        let verdict = self.node.authenticate(self.subscriber.token.as_deref());
        let verdict = verdict.and_then(|identity| identity.grants.may_subscribe(&self.subscriber.filter));
        if let Err(fault) = verdict {
            self.end(text, &Notice::Kick { code: fault.code, reason: fault.reason.into_owned() });
        }
    }

    fn end(&mut self, text: &mut String, notice: &Notice) {
        self.ended = true;
        match notice {
            Notice::Drain { retry } => {
                let _ = writeln!(text, "retry: {}", retry.as_millis());
                write_event(text, "drain", r#"{"reason":"this node is stopping"}"#);
            }
            Notice::Kick { code, reason } => {
                let told =
                    serde_json::json!({ "code": u16::from(*code), "slug": code.slug(), "reason": reason });
                write_event(text, "error", &told.to_string());
            }
        }
    }
}

impl Drop for EventStream {
    fn drop(&mut self) {
        self.node.hub.channels.unsubscribe(&self.subscriber.filter, self.mailbox.session);
        self.mailbox.close();
        self.node.strike(self.mailbox.session);
    }
}

fn write_event(text: &mut String, name: &str, data: &str) {
    let _ = writeln!(text, "event: {name}");
    // A carriage return ends a line as well.
    for line in data.split('\n').flat_map(|line| line.strip_suffix('\r').unwrap_or(line).split('\r')) {
        let _ = writeln!(text, "data: {line}");
    }
    text.push('\n');
}

#[cfg(test)]
mod tests {
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

    #[test]
    fn lines_of_data_cannot_become_fields() {
        let mut text = String::new();
        write_event(&mut text, "message", "a\r\nevent: b\rid: 1\n");
        assert_eq!(text, "event: message\ndata: a\ndata: event: b\ndata: id: 1\ndata: \n\n");
    }
}
