//! The session as a publisher and subscriber.

use std::sync::Arc;
use std::sync::atomic::Ordering::Relaxed;

use whub_proto::names::{Channel, Filter};
use whub_proto::{Body, Code, Flags, Frame, Kind, Publish, Subscribe, Success, Unsubscribe, Via};

use crate::channels::{Audience, Subscriber};
use crate::fault::Fault;
use crate::hub::{Hub, Now};
use crate::packet::Packet;
use crate::session::client::{ClientSession, Live, not_open};
use crate::session::output::Output;

/// A message ready for its subscribers.
#[derive(Debug, Clone, PartialEq)]
pub struct Issue {
    /// Who gets it.
    pub audience: Arc<Audience>,
    /// The `Message` frame.
    pub packet: Packet,
}

impl Hub {
    /// Turns a `Publish` into the `Message` that its subscribers get: the same envelope, with the hub's via.
    pub fn issue(
        &self,
        now: Now,
        client: &str,
        user: &str,
        channel: &Channel<'_>,
        frame: (&[u8], &[u8], Flags),
    ) -> Issue {
        let (envelope, payload, flags) = frame;
        let via = Via { client, user, node: &self.node, time_ms: now.unix_ms, ..Via::default() };
        let flags = Flags::NONE.with_if(flags.contains(Flags::TEXT), Flags::TEXT);
        self.counters.published.one();
        Issue {
            audience: self.channels.audience(channel),
            packet: Packet::forward(Kind::Message, flags, Some(&via), envelope, payload),
        }
    }
}

impl ClientSession {
    pub(super) fn handle_publish(&mut self, now: Now, frame: &Frame<'_>, publish: &Publish<'_>) {
        let (id, ack) = (frame.head.id, frame.head.flags.contains(Flags::ACK));
        if ack && !self.claim(id) {
            return;
        }
        match self.issue(now, frame, publish) {
            Ok(issue) => {
                let count = u32::try_from(issue.audience.subscribers.len()).unwrap_or(u32::MAX);
                if count > 0 {
                    self.push(Output::Publish(issue));
                }
                if ack {
                    self.send(id, Packet::build(&Body::Ok(Success { count, ..Success::default() })));
                }
            }
            Err(fault) => self.refuse(id, &fault),
        }
    }

    fn issue(&self, now: Now, frame: &Frame<'_>, publish: &Publish<'_>) -> Result<Issue, Fault> {
        let channel = Channel::parse(publish.channel)
            .map_err(|error| Fault::fatal(error.code(), "publish.channel", error.to_string()))?;
        let Some(identity) = self.identity() else { return Err(not_open()) };
        identity.grants.may_publish(&channel)?;
        if publish.retain || publish.check_offset {
            let reason =
                "this hub keeps no last value and no history, so `retain` and `check_offset` mean nothing";
            return Err(Fault::fatal(Code::Unsupported, "publish.unsupported", reason));
        }
        let user = identity.user.as_deref().unwrap_or_default();
        let frame = (frame.envelope, frame.payload, frame.head.flags);
        Ok(self.hub.issue(now, &self.peer.client, user, &channel, frame))
    }

    pub(super) fn handle_subscribe(&mut self, id: u64, subscribe: &Subscribe<'_>) {
        if !self.claim(id) {
            return;
        }
        match self.check_subscribe(subscribe) {
            Ok(filter) => {
                // Ok goes first, though a message may follow from another thread at once.
                self.me.hold();
                self.agree(id);
                let subscriber = Subscriber { mailbox: self.me.clone(), no_echo: subscribe.no_echo };
                self.hub.channels.subscribe(&filter, subscriber);
                self.live.insert(id, Live::Subscription(filter));
                self.tally.subscriptions.fetch_add(1, Relaxed);
            }
            Err(fault) => self.refuse(id, &fault),
        }
    }

    fn check_subscribe(&self, subscribe: &Subscribe<'_>) -> Result<Filter, Fault> {
        let filter = Filter::parse(subscribe.filter)
            .map_err(|error| Fault::fatal(error.code(), "subscribe.filter", error.to_string()))?;
        let Some(identity) = self.identity() else { return Err(not_open()) };
        identity.grants.may_subscribe(&filter)?;
        if !subscribe.group.is_empty() || subscribe.recover || subscribe.last != 0 {
            let reason =
                "this hub has no queue groups and keeps no history: leave out group, recover and last";
            return Err(Fault::fatal(Code::Unsupported, "subscribe.unsupported", reason));
        }
        if self.subscription(&filter).is_some() {
            let reason = format!("this session is subscribed to {filter} already");
            return Err(Fault::fatal(Code::Conflict, "subscribe.conflict", reason));
        }
        let count = self.live.values().filter(|live| matches!(live, Live::Subscription(_))).count();
        if count >= self.hub.limits.subscriptions {
            let reason = format!("a session may hold {count} subscriptions; use filters with + and #");
            return Err(Fault::fatal(Code::TooManyRequests, "subscriptions.limit", reason));
        }
        Ok(filter)
    }

    pub(super) fn handle_unsubscribe(&mut self, id: u64, unsubscribe: &Unsubscribe<'_>) {
        if !self.claim(id) {
            return;
        }
        let known = Filter::parse(unsubscribe.filter).ok().and_then(|filter| self.subscription(&filter));
        let Some(known) = known else {
            let reason = format!("this session is not subscribed to {}", unsubscribe.filter);
            self.refuse(id, &Fault::fatal(Code::NotFound, "subscribe.not_found", reason));
            return;
        };
        if let Some(Live::Subscription(filter)) = self.live.remove(&known) {
            self.end_subscription(&filter);
        }
        self.agree(id);
    }

    pub(super) fn end_subscription(&self, filter: &Filter) {
        self.hub.channels.unsubscribe(filter, self.me.session());
        self.tally.subscriptions.fetch_sub(1, Relaxed);
    }

    fn subscription(&self, wanted: &Filter) -> Option<u64> {
        self.live.iter().find_map(|(id, live)| match live {
            Live::Subscription(filter) if filter == wanted => Some(*id),
            Live::Subscription(_) | Live::Call(_) | Live::Pair(_) | Live::Room(_) => None,
        })
    }
}
