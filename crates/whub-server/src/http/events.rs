//! The text that a subscriber reads: server-sent events.

use std::fmt::Write as _;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;

use base64::Engine as _;
use base64::prelude::BASE64_STANDARD;
use bytes::Bytes;
use tokio::time::{Instant, Sleep, sleep};
use whub_core::{Packet, Post as _};
use whub_proto::names::Filter;
use whub_proto::{Kind, json};

use crate::http::event_mailbox::{EventMailbox, Item, Notice};
use crate::http::visit::Engaged;
use crate::node::Node;

/// A comment goes out after this much silence at most, so that proxies keep the connection and its loss shows.
pub(super) const HEARTBEAT: Duration = Duration::from_secs(15);

/// When an `EventSource` comes back after the connection was lost, ms.
const RETRY_MS: u128 = 2000;

/// Text that one write may take, bytes.
const WRITE_BYTES: usize = 32 * 1024;

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
    pub(super) _listening: Engaged,
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
            self.end(text, &Notice::Kick(fault));
        }
    }

    fn end(&mut self, text: &mut String, notice: &Notice) {
        self.ended = true;
        match notice {
            Notice::Drain { retry } => {
                let _ = writeln!(text, "retry: {}", retry.as_millis());
                write_event(text, "drain", r#"{"reason":"this node is stopping"}"#);
            }
            Notice::Kick(fault) => {
                let told = serde_json::json!({
                    "code": u16::from(fault.code),
                    "slug": fault.slug,
                    "reason": fault.reason,
                });
                write_event(text, "error", &told.to_string());
            }
        }
    }
}

impl Drop for EventStream {
    fn drop(&mut self) {
        self.node.hub.channels.unsubscribe(&self.subscriber.filter, self.mailbox.session());
        self.mailbox.close();
        self.node.strike(self.mailbox.session());
    }
}

/// Writes one event. Lines of its data cannot become fields.
pub(super) fn write_event(text: &mut String, name: &str, data: &str) {
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

    #[test]
    fn lines_of_data_cannot_become_fields() {
        let mut text = String::new();
        write_event(&mut text, "message", "a\r\nevent: b\rid: 1\n");
        assert_eq!(text, "event: message\ndata: a\ndata: event: b\ndata: id: 1\ndata: \n\n");
    }
}
