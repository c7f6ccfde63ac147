//! A conversation in the whub protocol, over a WebSocket or a stream of bytes.

#[cfg(test)]
mod tests;

use std::cell::RefCell;
use std::sync::Arc;
use std::task::Waker;
use std::time::Instant;

use whub_core::{
    ClientSession, Fault, Framing, Handled, Letter, Mailbox, Now, Output, Packet, Peer, SessionId,
};
use whub_proto::{Body, Code, Frame, Origin, json};
use whub_transport::preface::FrameTooLarge;
use whub_ws::Payload;

use crate::connection::fanout::Fanout;
use crate::connection::framed::FrameReader;
use crate::connection::relay::Relay;
use crate::connection::room_fanout::RoomFanout;
use crate::connection::websocket::{Message, Speaker, WebSocket};
use crate::connection::{Bytes, Flow, Reading, Space, Talk};
use crate::framing;
use crate::mailbox::Private;
use crate::node::Node;
use crate::outgoing::Outgoing;

thread_local! {
    /// Its arena is used again by every JSON session of the thread.
    static DECODER: RefCell<json::Decoder> = RefCell::new(json::Decoder::new());
}

/// How the protocol arrives.
pub(crate) enum Wire {
    /// `whub.v1`: a frame per binary message.
    Binary(WebSocket),
    /// `whub.v1.json`: a frame per text message, translated.
    Json(WebSocket),
    /// A length before each frame.
    Stream(FrameReader),
}

impl Wire {
    /// A stream of bytes.
    pub(crate) fn stream() -> Self {
        Self::Stream(FrameReader::default())
    }
}

/// A client's conversation.
pub(crate) struct ClientTalk {
    wire: Wire,
    talk: Client,
}

struct Client {
    node: Arc<Node>,
    id: SessionId,
    dialect: Framing,
    /// Frames are compressed, so this connection alone can write them.
    compresses: bool,
    session: ClientSession,
    fanout: Fanout,
    rooms: RoomFanout,
    ended: Option<Fault>,
}

impl ClientTalk {
    pub(crate) fn new(node: Arc<Node>, mailbox: Mailbox, peer: Peer, wire: Wire, now: Instant) -> Self {
        let talk = Client {
            id: mailbox.session(),
            dialect: wire.dialect(),
            compresses: mailbox.framing() == Framing::Private,
            session: ClientSession::new(Arc::clone(&node.hub), mailbox, peer, now),
            node,
            fanout: Fanout::default(),
            rooms: RoomFanout::default(),
            ended: None,
        };
        Self { wire, talk }
    }

    /// Carries out what the session wants.
    fn drain(&mut self, now: Now, own: &mut Outgoing) -> Flow {
        let flow = match &mut self.wire {
            Wire::Binary(socket) | Wire::Json(socket) => self.talk.drain(now, &mut socket.speaker(own)),
            Wire::Stream(_) => self.talk.drain(now, &mut Speaker::bare(own)),
        };
        self.finish(flow, own)
    }

    /// Ends the conversation in the way of the transport, if it is over.
    fn finish(&mut self, flow: Flow, own: &mut Outgoing) -> Flow {
        let Some(fault) = self.talk.ended.take() else { return flow };
        match &mut self.wire {
            Wire::Binary(socket) | Wire::Json(socket) => {
                socket.close(own, fault.code.close_code(), &fault.reason)
            }
            Wire::Stream(_) => Flow::Close,
        }
    }
}

impl Wire {
    fn dialect(&self) -> Framing {
        match self {
            Self::Binary(_) => Framing::Binary,
            Self::Json(_) => Framing::Json,
            Self::Stream(_) => Framing::Stream,
        }
    }
}

impl Client {
    /// One WebSocket message: a frame, or its translation.
    fn handle_message(
        &mut self,
        now: Now,
        speaker: &mut Speaker<'_>,
        relay: &mut Relay<'_>,
        message: Message<'_>,
    ) -> Flow {
        match (self.dialect, message.text) {
            (Framing::Binary, false) => match message.payload {
                Payload::Borrowed(frame) => self.handle_frame(now, frame, None, speaker, relay),
                Payload::Owned(frame) => {
                    let frame = bytes::Bytes::from(frame);
                    self.handle_frame(now, &frame, Some(&frame), speaker, relay)
                }
            },
            (Framing::Json, true) => self.handle_json(now, &message.payload, speaker, relay),
            (
                Framing::Binary
                | Framing::Json
                | Framing::Stream
                | Framing::Plain
                | Framing::Room
                | Framing::Private,
                _,
            ) => {
                let reason = "whub.v1 takes binary messages, whub.v1.json takes text messages";
                self.session.handle_unreadable(Fault::fatal(Code::ProtocolError, "message.kind", reason));
                self.drain(now, speaker)
            }
        }
    }

    fn handle_json(
        &mut self,
        now: Now,
        text: &[u8],
        speaker: &mut Speaker<'_>,
        relay: &mut Relay<'_>,
    ) -> Flow {
        let mut bytes = Vec::with_capacity(text.len());
        // The encoding was checked by the WebSocket.
        let text = std::str::from_utf8(text).unwrap_or_default();
        match DECODER.with_borrow_mut(|decoder| decoder.decode(text, &mut bytes)) {
            Ok(()) => self.handle_frame(now, &bytes, None, speaker, relay),
            Err(error) => {
                let fault = Fault::fatal(error.code(), "json.invalid", error.to_string());
                self.session.handle_untranslatable(error.id(), fault);
                self.drain(now, speaker)
            }
        }
    }

    fn handle_frame(
        &mut self,
        now: Now,
        bytes: &[u8],
        memory: Option<&bytes::Bytes>,
        speaker: &mut Speaker<'_>,
        relay: &mut Relay<'_>,
    ) -> Flow {
        let frame = Frame::parse(bytes, self.node.hub.limits.frame_bytes, Origin::Client);
        if !frame.as_ref().is_ok_and(|frame| matches!(frame.body, Body::Data(_))) {
            relay.flush();
        }
        if frame.as_ref().is_ok_and(|frame| self.session.is_seen_in_rooms(now, &frame.body)) {
            self.rooms.finish(&self.node.hub.counters);
        }
        match frame {
            Ok(frame) => match self.session.handle_frame_in(now, &frame, memory) {
                Handled::Done => {}
                Handled::Relay { partner, text, end, payload } => relay.add(partner, text, end, &payload),
            },
            Err(error) => {
                let fault = Fault::fatal(error.code(), "frame.invalid", error.to_string());
                self.session.handle_unreadable(fault);
            }
        }
        self.drain(now, speaker)
    }

    /// The frames of a stream, as `read` finds them.
    fn handle_frames(
        &mut self,
        now: Now,
        speaker: &mut Speaker<'_>,
        relay: &mut Relay<'_>,
        read: impl FnOnce(&mut dyn FnMut(&[u8], Option<&bytes::Bytes>) -> bool) -> Result<(), FrameTooLarge>,
    ) -> Flow {
        let mut flow = Flow::Go;
        let result = read(&mut |frame, memory| {
            flow = self.handle_frame(now, frame, memory, speaker, relay);
            flow == Flow::Go
        });
        if let Err(error) = result {
            let fault = Fault::fatal(Code::TooLarge, "frame.too_large", error.to_string());
            self.session.handle_unreadable(fault);
            flow = self.drain(now, speaker);
        }
        flow
    }

    fn drain(&mut self, now: Now, speaker: &mut Speaker<'_>) -> Flow {
        while let Some(output) = self.session.poll_output() {
            match output {
                Output::Frame { id, packet } => self.write(speaker, id, &packet),
                Output::Authenticate { token } => {
                    let verdict = self.node.authenticate(token.as_deref());
                    self.session.handle_identity(now, verdict);
                }
                Output::Publish(issue) => self.fanout.add(issue),
                Output::Room(issue) => self.rooms.add(issue),
                Output::Ping => self.ping(speaker),
                Output::Close(fault) => self.ended = Some(fault),
            }
        }
        if self.ended.is_some() { Flow::Close } else { Flow::Go }
    }

    fn write(&self, speaker: &mut Speaker<'_>, id: u64, packet: &Packet) {
        if !self.compresses {
            return framing::say_packet(speaker.own, self.dialect, id, packet);
        }
        let mut whole = Vec::new();
        framing::encode_message(&mut whole, self.dialect, id, packet);
        speaker.say(self.dialect == Framing::Json, &whole);
    }

    /// WebSockets have pings that every client library answers by itself; streams have the protocol's.
    fn ping(&self, speaker: &mut Speaker<'_>) {
        match self.dialect {
            Framing::Stream => self.write(speaker, 0, &Packet::build(&Body::Ping)),
            Framing::Binary | Framing::Json | Framing::Plain | Framing::Room | Framing::Private => {
                speaker.ping()
            }
        }
    }
}

impl Talk for ClientTalk {
    fn handle_bytes(&mut self, now: Now, bytes: Bytes<'_>) -> Flow {
        let Self { wire, talk } = self;
        talk.session.handle_alive(now.at);
        let hub = Arc::clone(&talk.node.hub);
        let mut relay = Relay::new(bytes.relay, &hub.counters, hub.limits.frame_bytes);
        let flow = match wire {
            Wire::Binary(socket) | Wire::Json(socket) => {
                socket.handle_bytes(bytes.input, bytes.own, |speaker, message| {
                    talk.handle_message(now, speaker, &mut relay, message)
                })
            }
            Wire::Stream(reader) => {
                let mut speaker = Speaker::bare(bytes.own);
                talk.handle_frames(now, &mut speaker, &mut relay, |on_frame| {
                    reader.handle_bytes(bytes.input, hub.limits.frame_bytes, |frame| on_frame(frame, None))
                })
            }
        };
        relay.finish().into_iter().for_each(|full| talk.session.handle_full(full));
        self.finish(flow, bytes.own)
    }

    fn read_space(&mut self) -> Option<Space<'_>> {
        match &mut self.wire {
            Wire::Binary(socket) | Wire::Json(socket) => socket.read_space(),
            Wire::Stream(reader) => reader.space().map(Space::Block),
        }
    }

    fn handle_filled(&mut self, now: Now, count: usize, own: &mut Outgoing, relay: &mut Vec<u8>) -> Flow {
        let Self { wire, talk } = self;
        talk.session.handle_alive(now.at);
        let hub = Arc::clone(&talk.node.hub);
        let mut relay = Relay::new(relay, &hub.counters, hub.limits.frame_bytes);
        let flow = match wire {
            Wire::Binary(socket) | Wire::Json(socket) => {
                socket.handle_filled(count, own, |speaker, message| {
                    talk.handle_message(now, speaker, &mut relay, message)
                })
            }
            Wire::Stream(reader) => {
                let mut speaker = Speaker::bare(own);
                talk.handle_frames(now, &mut speaker, &mut relay, |on_frame| {
                    reader.handle_filled(hub.limits.frame_bytes, on_frame)
                })
            }
        };
        relay.finish().into_iter().for_each(|full| talk.session.handle_full(full));
        self.finish(flow, own)
    }

    fn handle_letter(&mut self, now: Now, letter: Letter, own: &mut Outgoing) -> Flow {
        self.talk.rooms.finish(&self.talk.node.hub.counters);
        self.talk.session.handle_letter(now, letter);
        self.drain(now, own)
    }

    fn handle_private(&mut self, item: Private, own: &mut Outgoing) {
        let (Wire::Binary(socket) | Wire::Json(socket)) = &mut self.wire else { return };
        let mut speaker = socket.speaker(own);
        if item.is_message() {
            self.talk.node.hub.counters.deliveries_delivered.one();
        }
        match item {
            Private::Packet { id, packet } => self.talk.write(&mut speaker, id, &packet),
            Private::Data { seat, text, end, payload } => {
                let data = framing::Data { seat, text, end, payload: &payload };
                let frame_bytes_max = self.talk.node.hub.limits.frame_bytes;
                framing::each_message(self.talk.dialect, &data, frame_bytes_max, |message| {
                    speaker.say(self.talk.dialect == Framing::Json, message);
                });
            }
        }
    }

    fn handle_timeout(&mut self, now: Now, reading: Reading, own: &mut Outgoing) -> Flow {
        // Who is called has to answer; the other half of a pair is waited for, however slowly it reads.
        let is_slow = reading.is_behind && self.talk.session.is_paired();
        if reading.progress || is_slow || self.talk.session.is_waiting() {
            // It reads slowly, or is not being listened to; neither is silence of its own.
            self.talk.session.handle_excuse(now.at);
        }
        self.talk.rooms.finish(&self.talk.node.hub.counters);
        self.talk.session.handle_timeout(now.at);
        self.drain(now, own)
    }

    fn poll_timeout(&self) -> Instant {
        self.talk.session.poll_timeout()
    }

    fn poll_gate(&mut self, waker: &Waker) -> bool {
        let talk = &mut self.talk;
        if !talk.fanout.is_empty() && !talk.fanout.advance(talk.id, &talk.node.hub.counters) {
            waker.wake_by_ref();
            return false;
        }
        if !talk.rooms.advance(&talk.node.hub.counters) {
            waker.wake_by_ref();
            return false;
        }
        talk.session.poll_room(waker)
    }

    fn handle_lost(&mut self, now: Now, late: &mut dyn Iterator<Item = Letter>) {
        let talk = &mut self.talk;
        // What was accepted is delivered, though its publisher is gone.
        while !talk.fanout.advance(talk.id, &talk.node.hub.counters) {}
        talk.rooms.finish(&talk.node.hub.counters);
        talk.session.handle_lost(now.at);
        for letter in late {
            talk.session.handle_letter(now, letter);
        }
    }
}
