//! An endpoint that is a channel: what a plain WebSocket says is published, and what others publish it hears.

use std::sync::Arc;
use std::task::Waker;
use std::time::Instant;

use whub_core::{Announcement, Fault, Letter, Liveness, Mailbox, Now, Silence, Subscriber};
use whub_proto::names::{Channel, Filter};
use whub_proto::{Body, Code, Flags, Publish, Writer};

use crate::connection::echo::GOING_AWAY;
use crate::connection::websocket::WebSocket;
use crate::connection::{Bytes, Fanout, Flow, Reading, Space, Talk};
use crate::mailbox::Private;
use crate::node::Node;
use crate::outgoing::Outgoing;

/// Who publishes, and on what.
#[derive(Debug)]
pub(crate) struct Voice {
    /// The hub's name for the client.
    pub(crate) client: Box<str>,
    pub(crate) user: Box<str>,
    /// What it came with, to be checked again when the rules change.
    pub(crate) token: Option<Box<str>>,
    /// The name of a channel, checked.
    pub(crate) channel: Box<str>,
    pub(crate) filter: Filter,
}

/// A client of a channel that knows nothing of the hub.
pub(crate) struct ChannelTalk {
    socket: WebSocket,
    node: Arc<Node>,
    me: Mailbox,
    voice: Voice,
    /// The envelope of every message.
    envelope: Box<[u8]>,
    fanout: Fanout,
    liveness: Liveness,
}

impl ChannelTalk {
    /// Subscribes.
    pub(crate) fn new(node: Arc<Node>, me: Mailbox, voice: Voice, socket: WebSocket, now: Instant) -> Self {
        let body = Body::Publish(Publish { channel: &voice.channel, ..Publish::default() });
        // The name of a channel is far shorter than an envelope may be.
        let envelope = Writer::default().envelope(&body).map(Into::into).unwrap_or_default();
        let subscriber = Subscriber { mailbox: me.clone(), no_echo: true };
        node.hub.channels.subscribe(&voice.filter, subscriber);
        let liveness = Liveness::new(node.hub.limits.ping, now);
        Self { socket, node, me, voice, envelope, fanout: Fanout::default(), liveness }
    }

    fn recheck(&self) -> Result<(), Fault> {
        let identity = self.node.authenticate(self.voice.token.as_deref())?;
        admit(&identity, &self.voice.channel, &self.voice.filter)
    }
}

/// Whether a client may do on a channel what its endpoint is there for.
///
/// # Errors
/// `Forbidden`.
pub(crate) fn admit(identity: &whub_core::Identity, channel: &str, filter: &Filter) -> Result<(), Fault> {
    identity.grants.may_subscribe(filter)?;
    let channel = Channel::parse(channel)
        .map_err(|error| Fault::fatal(error.code(), "gateway.channel", error.to_string()))?;
    identity.grants.may_publish(&channel)
}

impl ChannelTalk {
    fn handle(
        &mut self,
        now: Now,
        decode: impl FnOnce(&mut WebSocket, &mut dyn FnMut(bool, &[u8])) -> Flow,
    ) -> Flow {
        self.liveness.heard(now.at);
        let Self { socket, node, voice, envelope, fanout, .. } = self;
        decode(socket, &mut |text, payload| {
            let Ok(channel) = Channel::parse(&voice.channel) else { return };
            let frame = (&**envelope, payload, Flags::NONE.with_if(text, Flags::TEXT));
            let issue = node.hub.issue(now, &voice.client, &voice.user, &channel, frame);
            if !issue.audience.subscribers.is_empty() {
                fanout.add(issue);
            }
        })
    }
}

impl Talk for ChannelTalk {
    fn handle_bytes(&mut self, now: Now, bytes: Bytes<'_>) -> Flow {
        self.handle(now, |socket, publish| {
            socket.handle_bytes(bytes.input, bytes.own, |_, message| {
                publish(message.text, &message.payload);
                Flow::Go
            })
        })
    }

    fn read_space(&mut self) -> Option<Space<'_>> {
        self.socket.read_space()
    }

    fn handle_filled(&mut self, now: Now, count: usize, own: &mut Outgoing, _: &mut Vec<u8>) -> Flow {
        self.handle(now, |socket, publish| {
            socket.handle_filled(count, own, |_, message| {
                publish(message.text, &message.payload);
                Flow::Go
            })
        })
    }

    fn handle_letter(&mut self, _: Now, letter: Letter, own: &mut Outgoing) -> Flow {
        match letter.announcement() {
            Some(Announcement::Drain { .. }) => self.socket.close(own, GOING_AWAY, "this node is stopping"),
            Some(Announcement::Kick(fault)) => self.socket.close(own, fault.code.close_code(), &fault.reason),
            Some(Announcement::Recheck) => match self.recheck() {
                Ok(()) => Flow::Go,
                Err(fault) => self.socket.close(own, fault.code.close_code(), &fault.reason),
            },
            None => Flow::Go,
        }
    }

    fn handle_private(&mut self, item: Private, own: &mut Outgoing) {
        let Private::Packet { packet, .. } = item else { return };
        let Ok(frame) = packet.frame() else { return };
        // Gaps have no place in a plain conversation; they are counted.
        if let Body::Message(_) = frame.body {
            self.node.hub.counters.deliveries_delivered.one();
            let text = frame.head.flags.contains(Flags::TEXT);
            self.socket.speaker(own).say(text, frame.payload);
        }
    }

    fn handle_timeout(&mut self, now: Now, reading: Reading, own: &mut Outgoing) -> Flow {
        if reading.progress {
            self.liveness.excuse(now.at);
        }
        match self.liveness.handle_timeout(now.at) {
            Silence::Bearable => Flow::Go,
            Silence::Ask => {
                self.socket.speaker(own).ping();
                Flow::Go
            }
            Silence::Dead => {
                self.node.hub.counters.dead_peers.one();
                self.socket.close(own, Code::Timeout.close_code(), "no sign of life from the peer")
            }
        }
    }

    fn poll_timeout(&self) -> Instant {
        self.liveness.poll_timeout()
    }

    fn poll_gate(&mut self, waker: &Waker) -> bool {
        if !self.fanout.is_empty() && !self.fanout.advance(self.me.session(), &self.node.hub.counters) {
            waker.wake_by_ref();
            return false;
        }
        true
    }

    fn handle_lost(&mut self, _: Now, _: &mut dyn Iterator<Item = Letter>) {
        // What was accepted is delivered, though its publisher is gone.
        while !self.fanout.advance(self.me.session(), &self.node.hub.counters) {}
        self.node.hub.channels.unsubscribe(&self.voice.filter, self.me.session());
    }
}
