//! `/room/<name>`: a plain WebSocket as a member of a room.

use std::sync::Arc;
use std::task::Waker;
use std::time::Instant;

use whub_core::{Fault, Letter, Now, Packet, RoomOutput, RoomTalker, Wish};
use whub_proto::Code;
use whub_proto::names::PairId;

use crate::connection::echo::GOING_AWAY;
use crate::connection::room_fanout::RoomFanout;
use crate::connection::websocket::{Message, Speaker, WebSocket};
use crate::connection::{Bytes, Flow, Reading, Space, Talk};
use crate::mailbox::Private;
use crate::node::Node;
use crate::outgoing::Outgoing;
use crate::room_text::{self, Said, Showing};

/// A member.
pub(crate) struct RoomTalk {
    socket: WebSocket,
    talk: Talking,
}

struct Talking {
    node: Arc<Node>,
    name: PairId,
    /// What it came with, to be checked again when the rules change.
    token: Option<Box<str>>,
    talker: RoomTalker,
    fanout: RoomFanout,
    /// Its number, until it was told.
    number: Option<u32>,
    /// What others send where this connection alone can frame it, because it compresses.
    showing: Showing,
}

impl RoomTalk {
    pub(crate) fn new(
        node: Arc<Node>,
        name: PairId,
        token: Option<Box<str>>,
        talker: RoomTalker,
        socket: WebSocket,
    ) -> Self {
        let talk = Talking {
            node,
            name,
            token,
            talker,
            fanout: RoomFanout::default(),
            number: None,
            showing: Showing::default(),
        };
        Self { socket, talk }
    }

    fn drain(&mut self, own: &mut Outgoing) -> Flow {
        let ended = self.talk.drain(&mut self.socket.speaker(own));
        self.finish(ended, own)
    }

    fn finish(&mut self, ended: Option<Fault>, own: &mut Outgoing) -> Flow {
        let Some(fault) = ended else { return Flow::Go };
        let code = if fault.code == Code::Draining { GOING_AWAY } else { fault.code.close_code() };
        self.socket.close(own, code, &fault.reason)
    }
}

impl Talking {
    fn handle_message(&mut self, now: Now, message: &Message<'_>) {
        if !message.text {
            let wish = Wish::Say { to: &[], text: false, media: None, payload: &message.payload };
            return self.handle_wish(now, wish);
        }
        // The encoding was checked by the WebSocket.
        let text = std::str::from_utf8(&message.payload).unwrap_or_default();
        match Said::parse(text) {
            Ok(said) => match said.wish() {
                Ok(wish) => self.handle_wish(now, wish),
                Err(fault) => self.talker.handle_unreadable(fault),
            },
            Err(fault) => self.talker.handle_unreadable(fault),
        }
    }

    fn handle_wish(&mut self, now: Now, wish: Wish<'_>) {
        if self.talker.is_seen(now, &wish) {
            self.finish_sending();
        }
        self.talker.handle_wish(now, wish);
    }

    /// What it said before comes before what it does now.
    fn finish_sending(&mut self) {
        self.fanout.finish(&self.node.hub.counters);
    }

    /// Carries out what the member wants. Returns why it is to be closed.
    fn drain(&mut self, speaker: &mut Speaker<'_>) -> Option<Fault> {
        let mut ended = None;
        while let Some(output) = self.talker.poll_output() {
            match output {
                RoomOutput::Entered(number) => self.number = Some(number),
                RoomOutput::Event(packet) => self.show(speaker, &packet),
                RoomOutput::Refused(fault) => speaker.say(true, room_text::of_fault(&fault).as_bytes()),
                RoomOutput::Room(issue) => self.fanout.add(issue),
                RoomOutput::Ping => speaker.ping(),
                RoomOutput::Close(fault) => ended = ended.or(Some(fault)),
            }
        }
        ended
    }

    /// Shows the peer a frame: an event, a message or a piece of one.
    fn show(&mut self, speaker: &mut Speaker<'_>, packet: &Packet) {
        if let Some(shown) = self.showing.show(packet, self.number.take()) {
            speaker.say(shown.text, &shown.payload);
        }
    }

    /// Whether the rules still allow the room.
    fn recheck(&mut self) -> Result<(), Fault> {
        let identity = self.node.authenticate(self.token.as_deref())?;
        identity.grants.may_pair(&self.name)?;
        self.talker.handle_identity(identity);
        Ok(())
    }
}

impl Talk for RoomTalk {
    fn handle_bytes(&mut self, now: Now, bytes: Bytes<'_>) -> Flow {
        let Self { socket, talk } = self;
        talk.talker.handle_alive(now.at);
        let mut ended = None;
        let flow = socket.handle_bytes(bytes.input, bytes.own, |speaker, message| {
            talk.handle_message(now, &message);
            ended = talk.drain(speaker);
            if ended.is_some() { Flow::Close } else { Flow::Go }
        });
        if ended.is_some() { self.finish(ended, bytes.own) } else { flow }
    }

    fn read_space(&mut self) -> Option<Space<'_>> {
        self.socket.read_space()
    }

    fn handle_filled(&mut self, now: Now, count: usize, own: &mut Outgoing, _: &mut Vec<u8>) -> Flow {
        let Self { socket, talk } = self;
        talk.talker.handle_alive(now.at);
        let mut ended = None;
        let flow = socket.handle_filled(count, own, |speaker, message| {
            talk.handle_message(now, &message);
            ended = talk.drain(speaker);
            if ended.is_some() { Flow::Close } else { Flow::Go }
        });
        if ended.is_some() { self.finish(ended, own) } else { flow }
    }

    fn handle_letter(&mut self, now: Now, letter: Letter, own: &mut Outgoing) -> Flow {
        self.talk.finish_sending();
        let letter = if matches!(letter, Letter::Recheck) {
            let Err(fault) = self.talk.recheck() else { return Flow::Go };
            Letter::Kick(fault)
        } else {
            letter
        };
        self.talk.talker.handle_letter(now.at, letter);
        self.drain(own)
    }

    fn handle_private(&mut self, item: Private, own: &mut Outgoing) {
        if item.is_message() {
            self.talk.node.hub.counters.deliveries_delivered.one();
        }
        match item {
            Private::Packet { packet, .. } => self.talk.show(&mut self.socket.speaker(own), &packet),
            // Only halves of pairs get these.
            Private::Data { .. } => {}
        }
    }

    fn handle_timeout(&mut self, now: Now, reading: Reading, own: &mut Outgoing) -> Flow {
        if reading.progress {
            // It is being read slowly, which is no silence of its own.
            self.talk.talker.handle_alive(now.at);
        }
        self.talk.finish_sending();
        self.talk.talker.handle_timeout(now.at);
        self.drain(own)
    }

    fn poll_timeout(&self) -> Instant {
        self.talk.talker.poll_timeout()
    }

    fn poll_gate(&mut self, waker: &Waker) -> bool {
        if !self.talk.fanout.advance(&self.talk.node.hub.counters) {
            waker.wake_by_ref();
            return false;
        }
        true
    }

    fn handle_lost(&mut self, now: Now, late: &mut dyn Iterator<Item = Letter>) {
        self.talk.finish_sending();
        self.talk.talker.handle_lost(now.at);
        for letter in late {
            self.talk.talker.handle_letter(now.at, letter);
        }
    }
}
