//! `/pair/<id>`: a plain WebSocket as one half of a pair.

use std::sync::Arc;
use std::task::Waker;
use std::time::Instant;

use whub_core::{Fault, Guest, Half, Hub, Letter, Mailbox, Now, Parcel, PlainHalf, PlainOutput, Sent};
use whub_proto::Code;
use whub_proto::names::PairId;

use crate::connection::echo::GOING_AWAY;
use crate::connection::relay::Relay;
use crate::connection::websocket::{Message, Parting, Speaker, WebSocket};
use crate::connection::{Bytes, Flow, Reading, Space, Talk};
use crate::mailbox::Private;
use crate::node::Node;
use crate::outgoing::Outgoing;

/// Close codes of a peer that has said all it had to say.
const NO_CODE: u16 = 0;
const NORMAL: u16 = 1000;

/// A plain half.
pub(crate) struct PlainTalk {
    socket: WebSocket,
    talk: Plain,
}

struct Plain {
    node: Arc<Node>,
    hub: Arc<Hub>,
    /// What it came with, and where it sits, to be checked again when the rules change.
    token: Option<Box<str>>,
    pair: PairId,
    half: PlainHalf,
    /// The other half, when it must have room first.
    awaiting: Option<Half>,
}

impl PlainTalk {
    /// Takes the seat, or is refused it; what there is to say about it is appended to `own`.
    pub(crate) fn new(
        node: Arc<Node>,
        mailbox: Mailbox,
        (pair, guest, token): (PairId, Guest, Option<Box<str>>),
        socket: WebSocket,
        now: Now,
        own: &mut Outgoing,
    ) -> (Self, Flow) {
        let hub = Arc::clone(&node.hub);
        let half = PlainHalf::new(Arc::clone(&hub), mailbox, pair.clone(), guest, now.at);
        let mut plain = Self { socket, talk: Plain { node, hub, token, pair, half, awaiting: None } };
        let flow = plain.drain(own);
        (plain, flow)
    }

    fn drain(&mut self, own: &mut Outgoing) -> Flow {
        let mut flow = Flow::Go;
        while let Some(output) = self.talk.half.poll_output() {
            match output {
                PlainOutput::Text(text) => self.socket.speaker(own).say(true, text.as_bytes()),
                PlainOutput::Ping => self.socket.speaker(own).ping(),
                PlainOutput::Close(fault) => {
                    let code =
                        if fault.code == Code::Draining { GOING_AWAY } else { fault.code.close_code() };
                    flow = self.socket.close(own, code, &fault.reason);
                }
            }
        }
        flow
    }
}

impl Plain {
    /// Whether the rules still allow the seat.
    fn recheck(&self) -> Result<(), Fault> {
        self.node.authenticate(self.token.as_deref())?.grants.may_pair(&self.pair)
    }

    fn handle_message(
        &mut self,
        speaker: &mut Speaker<'_>,
        relay: &mut Relay<'_>,
        message: &Message<'_>,
    ) -> Flow {
        match self.half.partner() {
            Some(partner) => relay.add(partner, message.text, false, &message.payload),
            None => self.handle_lonely(speaker, message),
        }
        Flow::Go
    }

    /// A peer that closes in order has ended its input, which partners that know of ends are told. One that goes away
    /// (1001, as a page that is left does), breaks the rules or is lost has not.
    fn handle_parting(&self, parting: Option<Parting>, relay: &mut Relay<'_>) {
        let (Some(parting), Some(partner)) = (parting, self.half.partner()) else { return };
        if !matches!(parting.code, NO_CODE | NORMAL) {
            return;
        }
        relay.flush();
        let end = Parcel::Data { seat: partner.seat, text: false, end: true, payload: &[] };
        // It takes this over its budget too, and nothing follows.
        let (Sent::Room | Sent::Wait | Sent::Gone) = partner.mailbox.send(end);
    }

    fn handle_lonely(&mut self, speaker: &mut Speaker<'_>, message: &Message<'_>) {
        // A binary message has no text to give back. A text's encoding was checked by the decoder.
        let text = if message.text { std::str::from_utf8(&message.payload).unwrap_or_default() } else { "" };
        self.half.handle_lonely(text);
        while let Some(PlainOutput::Text(text)) = self.half.poll_output() {
            speaker.say(true, text.as_bytes());
        }
    }
}

impl Talk for PlainTalk {
    fn handle_bytes(&mut self, now: Now, bytes: Bytes<'_>) -> Flow {
        let Self { socket, talk } = self;
        talk.half.handle_alive(now.at);
        let hub = Arc::clone(&talk.hub);
        let mut relay = Relay::new(bytes.relay, &hub.counters, hub.limits.frame_bytes);
        let flow = socket.handle_bytes(bytes.input, bytes.own, |speaker, message| {
            talk.handle_message(speaker, &mut relay, &message)
        });
        talk.handle_parting(socket.take_parting(), &mut relay);
        talk.awaiting = relay.finish().pop();
        flow
    }

    fn read_space(&mut self) -> Option<Space<'_>> {
        self.socket.read_space()
    }

    fn handle_filled(&mut self, now: Now, count: usize, own: &mut Outgoing, relay: &mut Vec<u8>) -> Flow {
        let Self { socket, talk } = self;
        talk.half.handle_alive(now.at);
        let hub = Arc::clone(&talk.hub);
        let mut relay = Relay::new(relay, &hub.counters, hub.limits.frame_bytes);
        let flow = socket
            .handle_filled(count, own, |speaker, message| talk.handle_message(speaker, &mut relay, &message));
        talk.handle_parting(socket.take_parting(), &mut relay);
        talk.awaiting = relay.finish().pop();
        flow
    }

    fn handle_letter(&mut self, _: Now, letter: Letter, own: &mut Outgoing) -> Flow {
        let letter = if matches!(letter, Letter::Recheck) {
            let Err(fault) = self.talk.recheck() else { return Flow::Go };
            Letter::Kick(fault)
        } else {
            letter
        };
        if matches!(letter, Letter::Parted { .. }) {
            // Who has left is not waited for.
            self.talk.awaiting = None;
        }
        self.talk.half.handle_letter(letter);
        self.drain(own)
    }

    fn handle_private(&mut self, item: Private, own: &mut Outgoing) {
        match item {
            Private::Data { end: true, payload, .. } if payload.is_empty() => {}
            Private::Data { text, payload, .. } => self.socket.speaker(own).say(text, &payload),
            // Frames are for those who speak the protocol; nobody sends any here.
            Private::Packet { .. } => {}
        }
    }

    fn handle_timeout(&mut self, now: Now, reading: Reading, own: &mut Outgoing) -> Flow {
        if reading.progress || reading.is_behind || self.talk.awaiting.is_some() {
            // It reads slowly, or is not being listened to; neither is silence of its own.
            self.talk.half.handle_excuse(now.at);
        }
        self.talk.half.handle_timeout(now.at);
        self.drain(own)
    }

    fn poll_timeout(&self) -> Instant {
        self.talk.half.poll_timeout()
    }

    fn poll_gate(&mut self, waker: &Waker) -> bool {
        let room = self.talk.awaiting.as_ref().is_none_or(|half| half.mailbox.poll_room(waker));
        if room {
            self.talk.awaiting = None;
        }
        room
    }

    fn handle_lost(&mut self, _: Now, late: &mut dyn Iterator<Item = Letter>) {
        self.talk.half.handle_lost();
        for letter in late {
            self.talk.half.handle_letter(letter);
        }
    }
}
