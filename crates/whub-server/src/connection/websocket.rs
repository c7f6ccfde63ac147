//! The WebSocket side of a connection: decoding, control frames, closing.

use whub_ws::{
    CloseCode, Closing, Decoder, Event, Head, Limits, MessageKind, Opcode, Payload, Role, Violation,
};
use whub_ws::{deflate, encode_close, encode_close_reply, encode_frame};

use crate::connection::{Flow, Space};
use crate::outgoing::Outgoing;

/// A server's end of a WebSocket.
#[derive(Debug)]
pub(crate) struct WebSocket {
    decoder: Decoder,
    closing: Closing,
    deflater: Option<Box<deflate::Deflater>>,
    parting: Option<Box<Parting>>,
}

/// How the peer's side ended: its Close frame, or what it was told for breaking the rules.
#[derive(Debug, Clone)]
pub(crate) struct Parting {
    /// 0 where the peer gave none.
    pub(crate) code: u16,
    pub(crate) reason: Box<str>,
}

/// One message of the peer.
pub(crate) struct Message<'a> {
    pub(crate) text: bool,
    pub(crate) payload: Payload<'a>,
}

impl WebSocket {
    pub(crate) fn new(limits: Limits, deflate: Option<deflate::Agreement>) -> Self {
        let closing = Closing::new(Role::Server);
        let Some(agreement) = deflate else {
            let decoder = Decoder::new(Role::Server, limits);
            return Self { decoder, closing, deflater: None, parting: None };
        };
        let decoder = Decoder::with_deflate(Role::Server, limits, agreement.inflater(Role::Server));
        let deflater = agreement.deflater(Role::Server).map(Box::new);
        Self { decoder, closing, deflater, parting: None }
    }

    /// Walks one read batch. Control frames are answered here; `on_message` gets the messages, and may end the
    /// conversation.
    pub(crate) fn handle_bytes(
        &mut self,
        input: &mut [u8],
        own: &mut Outgoing,
        mut on_message: impl FnMut(&mut Speaker<'_>, Message<'_>) -> Flow,
    ) -> Flow {
        let mut batch = self.decoder.decode(input);
        loop {
            let event = match batch.next() {
                Ok(Some(event)) => event,
                Ok(None) => return Flow::Go,
                Err(violation) => return refuse(&mut self.closing, &mut self.parting, own, violation),
            };
            let mut speaker = Speaker { own, deflater: self.deflater.as_deref_mut() };
            let flow =
                handle_event(&mut self.closing, &mut self.parting, &mut speaker, event, &mut on_message);
            if flow != Flow::Go {
                return flow;
            }
        }
    }

    pub(crate) fn read_space(&mut self) -> Option<Space<'_>> {
        self.decoder.read_space().map(Space::Slice)
    }

    /// Bytes were read straight into the decoder's buffer.
    pub(crate) fn handle_filled(
        &mut self,
        count: usize,
        own: &mut Outgoing,
        mut on_message: impl FnMut(&mut Speaker<'_>, Message<'_>) -> Flow,
    ) -> Flow {
        match self.decoder.filled(count) {
            Ok(None) => Flow::Go,
            Ok(Some(event)) => {
                let mut speaker = Speaker { own, deflater: self.deflater.as_deref_mut() };
                handle_event(&mut self.closing, &mut self.parting, &mut speaker, event, &mut on_message)
            }
            Err(violation) => refuse(&mut self.closing, &mut self.parting, own, violation),
        }
    }

    /// For messages that do not answer one of the peer's.
    pub(crate) fn speaker<'a>(&'a mut self, own: &'a mut Outgoing) -> Speaker<'a> {
        Speaker { own, deflater: self.deflater.as_deref_mut() }
    }

    /// How the peer's side ended, once.
    pub(crate) fn take_parting(&mut self) -> Option<Parting> {
        self.parting.take().map(|parting| *parting)
    }

    /// Begins the closing handshake; the code 0 says none.
    pub(crate) fn close(&mut self, own: &mut Outgoing, code: u16, reason: &str) -> Flow {
        if !self.closing.start() {
            return Flow::Close;
        }
        if code == 0 {
            encode_close_reply(own.bytes(), None, None);
        } else {
            encode_close(own.bytes(), CloseCode::new(code).unwrap_or(CloseCode::INTERNAL), reason, None);
        }
        Flow::Close
    }
}

/// Where messages to the peer are written, compressed if that was agreed.
pub(crate) struct Speaker<'a> {
    pub(crate) own: &'a mut Outgoing,
    deflater: Option<&'a mut deflate::Deflater>,
}

impl<'a> Speaker<'a> {
    /// For streams that are no WebSockets.
    pub(crate) fn bare(own: &'a mut Outgoing) -> Self {
        Self { own, deflater: None }
    }

    pub(crate) fn ping(&mut self) {
        encode_frame(self.own.bytes(), Opcode::Ping, &[]);
    }

    /// A part of a message, as it comes; one that is whole is a message as any other.
    pub(crate) fn say_part(&mut self, text: bool, first: bool, more: bool, payload: &[u8]) {
        if first && !more {
            return self.say(text, payload);
        }
        let opcode = match (first, text) {
            (false, _) => Opcode::Continuation,
            (true, true) => Opcode::Text,
            (true, false) => Opcode::Binary,
        };
        encode_frame(self.own.bytes(), Head { opcode, fin: !more, compressed: false }, payload);
    }

    pub(crate) fn say(&mut self, text: bool, payload: &[u8]) {
        let opcode = if text { Opcode::Text } else { Opcode::Binary };
        let compressed = self.deflater.as_mut().and_then(|deflater| deflater.compress(payload));
        match compressed {
            Some(compressed) => {
                encode_frame(self.own.bytes(), Head { opcode, fin: true, compressed: true }, &compressed)
            }
            None => encode_frame(self.own.bytes(), opcode, payload),
        }
    }
}

fn handle_event(
    closing: &mut Closing,
    parting: &mut Option<Box<Parting>>,
    speaker: &mut Speaker<'_>,
    event: Event<'_>,
    on_message: &mut impl FnMut(&mut Speaker<'_>, Message<'_>) -> Flow,
) -> Flow {
    match event {
        Event::Message { kind, payload } => {
            on_message(speaker, Message { text: kind == MessageKind::Text, payload })
        }
        Event::Ping(payload) => {
            encode_frame(speaker.own.bytes(), Opcode::Pong, &payload);
            Flow::Go
        }
        Event::Pong(_) => Flow::Go,
        Event::Close(frame) => {
            if closing.receive() {
                encode_close_reply(speaker.own.bytes(), frame.as_ref(), None);
            }
            *parting = Some(Box::new(match frame {
                Some(frame) => Parting { code: frame.code.value(), reason: frame.reason.as_ref().into() },
                None => Parting { code: 0, reason: Box::default() },
            }));
            Flow::Done
        }
    }
}

fn refuse(
    closing: &mut Closing,
    parting: &mut Option<Box<Parting>>,
    own: &mut Outgoing,
    violation: Violation,
) -> Flow {
    let (code, reason) = (violation.close_code(), violation.to_string());
    if closing.start() {
        encode_close(own.bytes(), code, &reason, None);
    }
    *parting = Some(Box::new(Parting { code: code.value(), reason: reason.into() }));
    Flow::Close
}
