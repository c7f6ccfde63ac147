//! A WebSocket to a service: its messages are `Data` of a call, both ways, under the call's credit.
//!
//! Towards the service: what credit does not cover waits here, and while anything waits nothing more is read. Towards
//! the client: the service gets new credit only once the client has taken what came before.

use std::collections::VecDeque;
use std::sync::Arc;
use std::task::Waker;
use std::time::{Duration, Instant};

use bytes::{Buf as _, Bytes as Payload};
use whub_core::{Fault, Letter, Liveness, Mailbox, Now, Packet, Silence, WINDOW};
use whub_proto::names::ServicePath;
use whub_proto::{Body, Code, Data, Flags, Kind};

use crate::connection::echo::GOING_AWAY;
use crate::connection::websocket::{Parting, WebSocket};
use crate::connection::{Bytes, Flow, Reading, Space, Talk};
use crate::http::Tie;
use crate::mailbox::Private;
use crate::node::Node;
use crate::outgoing::Outgoing;

/// Largest `Data` frame of a message, bytes: small enough that the provider's other calls get their turn.
const PIECE_BYTES: usize = 64 * 1024;

/// Bytes that the client has taken before the service is told so.
const REFILL_BYTES: u32 = WINDOW / 2;

/// How long the service has for its own close after the client's, and for taking what the client said before.
const CLOSE_WITHIN: Duration = Duration::from_secs(5);

/// The provider, or the endpoint, is lost or somewhere else; another may be there already.
pub(super) const SERVICE_RESTART: u16 = 1012;

/// The service, or this hub, failed.
const INTERNAL: u16 = 1011;

/// With what right a client is connected, to be checked again when the rules change.
#[derive(Debug)]
pub(crate) struct Pass {
    pub(crate) token: Option<Box<str>>,
    pub(crate) path: Box<str>,
}

/// A client's WebSocket to a service.
pub(crate) struct BridgeTalk {
    socket: WebSocket,
    bridge: Bridge,
}

struct Bridge {
    node: Arc<Node>,
    me: Mailbox,
    tie: Tie,
    pass: Pass,
    liveness: Liveness,
    /// What the service accepts, bytes.
    credit: u64,
    /// Messages of the client that credit did not cover, or what is left of them.
    waiting: VecDeque<Waiting>,
    /// Something keeps the client from being read: credit, or room at the provider.
    gated: bool,
    /// Sent to the client, not yet told to the service, bytes.
    taken: u32,
    /// A message of the service is under way to the client.
    inside: bool,
    /// The client's close, until the service was told.
    parting: Option<Parting>,
    /// The service has heard the last word.
    told: bool,
    stage: Stage,
}

#[derive(Debug)]
struct Waiting {
    text: bool,
    rest: Payload,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Stage {
    Open,
    /// The client has closed; the service has to hear of it and to close too.
    Closing {
        until: Instant,
    },
    /// Everything is said to the client.
    Over,
}

impl BridgeTalk {
    pub(crate) fn new(
        node: Arc<Node>,
        me: Mailbox,
        tie: Tie,
        pass: Pass,
        socket: WebSocket,
        now: Instant,
    ) -> Self {
        let liveness = Liveness::new(node.hub.limits.ping, now);
        let bridge = Bridge {
            node,
            me,
            tie,
            pass,
            liveness,
            credit: WINDOW.into(),
            waiting: VecDeque::new(),
            gated: false,
            taken: 0,
            inside: false,
            parting: None,
            told: false,
            stage: Stage::Open,
        };
        Self { socket, bridge }
    }

    /// After a read batch: what its end means to the service.
    fn follow(&mut self, now: Instant, flow: Flow) -> Flow {
        let Some(parting) = self.socket.take_parting() else { return flow };
        match flow {
            // The service is to close as well, before the connection goes.
            Flow::Done if self.bridge.stage == Stage::Open => {
                self.bridge.stage = Stage::Closing { until: now + CLOSE_WITHIN };
                self.bridge.parting = Some(parting);
                Flow::Go
            }
            Flow::Close => {
                self.bridge.part(&parting);
                flow
            }
            Flow::Go | Flow::Done => flow,
        }
    }

    /// A frame of the service.
    fn handle_answer(&mut self, packet: &Packet, last: bool, own: &mut Outgoing) -> Flow {
        let Ok(frame) = packet.frame() else {
            return self.fail(own, "the service sent a frame that cannot be read");
        };
        let flags = frame.head.flags;
        if let Body::Data(data) = &frame.body {
            return self.handle_data(flags, data, frame.payload, last, own);
        }
        let Body::Error(failure) = &frame.body else {
            return self.fail(own, "the service answered twice");
        };
        self.bridge.settle();
        self.close(own, INTERNAL, failure.reason)
    }

    fn handle_data(
        &mut self,
        flags: Flags,
        data: &Data<'_>,
        payload: &[u8],
        last: bool,
        own: &mut Outgoing,
    ) -> Flow {
        let ends = last || flags.contains(Flags::END);
        if !(ends && payload.is_empty()) && self.bridge.stage == Stage::Open {
            let (text, more) = (flags.contains(Flags::TEXT), flags.contains(Flags::MORE));
            if text && std::str::from_utf8(payload).is_err() {
                return self.fail(own, "the service sent a text that is not UTF-8");
            }
            let first = !std::mem::replace(&mut self.bridge.inside, more);
            self.socket.speaker(own).say_part(text, first, more, payload);
            let bytes = u32::try_from(payload.len()).unwrap_or(u32::MAX);
            self.bridge.taken = self.bridge.taken.saturating_add(bytes);
        }
        if !ends {
            return Flow::Go;
        }
        // The closes may have crossed; the service is told the client's own.
        let crossed = self.bridge.parting.take();
        let parting = crossed.unwrap_or_else(|| Parting { code: data.close, reason: data.reason.into() });
        self.bridge.part(&parting);
        self.bridge.settle();
        self.close(own, data.close, data.reason)
    }

    /// The service broke its promises: it is told by the call's end, the client by a close.
    fn fail(&mut self, own: &mut Outgoing, reason: &'static str) -> Flow {
        self.bridge.part(&Parting { code: INTERNAL, reason: reason.into() });
        self.close(own, INTERNAL, reason)
    }

    fn close(&mut self, own: &mut Outgoing, code: u16, reason: &str) -> Flow {
        match std::mem::replace(&mut self.bridge.stage, Stage::Over) {
            Stage::Open | Stage::Over => self.socket.close(own, code, reason),
            // It has closed first.
            Stage::Closing { .. } => Flow::Done,
        }
    }

    /// The hub ends both sides.
    fn end(&mut self, own: &mut Outgoing, fault: &Fault) -> Flow {
        let code = close_code(fault.code);
        self.bridge.part(&Parting { code, reason: fault.reason.as_ref().into() });
        self.close(own, code, &fault.reason)
    }
}

/// What a client is told that speaks no protocol of the hub's: codes of RFC 6455 where one fits.
pub(super) fn close_code(code: Code) -> u16 {
    if code == Code::Draining {
        return GOING_AWAY;
    }
    if matches!(code, Code::ProviderLost | Code::Replaced) { SERVICE_RESTART } else { code.close_code() }
}

impl Bridge {
    /// A message of the client: what credit covers leaves at once.
    fn handle_message(&mut self, text: bool, payload: &[u8]) {
        let mut rest = payload;
        while self.waiting.is_empty()
            && let Some(end) = self.next_piece(rest, text)
        {
            self.send(text, &rest[..end], end < rest.len());
            rest = &rest[end..];
            if rest.is_empty() {
                return;
            }
        }
        self.waiting.push_back(Waiting { text, rest: Payload::copy_from_slice(rest) });
    }

    /// The service accepts more. As long as it goes on taking what a client said before its close, it has time.
    fn handle_credit(&mut self, now: Instant, bytes: u32) {
        self.credit = self.credit.saturating_add(bytes.into());
        if let Stage::Closing { until } = &mut self.stage
            && !self.waiting.is_empty()
        {
            *until = now + CLOSE_WITHIN;
        }
    }

    /// Sends what waits. False while something does.
    fn pass_waiting(&mut self, waker: &Waker) -> bool {
        while let Some(mut waiting) = self.waiting.pop_front() {
            loop {
                let end = self.next_piece(&waiting.rest, waiting.text);
                let Some(end) = end.filter(|_| self.tie.poll_room(waker)) else {
                    self.waiting.push_front(waiting);
                    return false;
                };
                self.send(waiting.text, &waiting.rest[..end], end < waiting.rest.len());
                waiting.rest.advance(end);
                if waiting.rest.is_empty() {
                    break;
                }
            }
        }
        true
    }

    fn send(&mut self, text: bool, piece: &[u8], more: bool) {
        let flags = Flags::NONE.with_if(text, Flags::TEXT).with_if(more, Flags::MORE);
        self.credit -= piece.len() as u64;
        self.tie.upload(Packet::forward(Kind::Data, flags, None, &[], piece));
    }

    /// Where the next piece ends that credit covers. A text is cut between characters, so that every piece is text.
    fn next_piece(&self, rest: &[u8], text: bool) -> Option<usize> {
        let max = usize::try_from(self.credit).unwrap_or(usize::MAX).min(PIECE_BYTES);
        if rest.len() <= max {
            return Some(rest.len());
        }
        let is_boundary = |end: &usize| !text || rest[*end] & 0xc0 != 0x80;
        (max.saturating_sub(3)..=max).rev().find(is_boundary).filter(|end| *end > 0)
    }

    /// Says the last word to the service, once.
    fn part(&mut self, parting: &Parting) {
        if std::mem::replace(&mut self.told, true) {
            return;
        }
        self.waiting.clear();
        let data = Data { close: parting.code, reason: &parting.reason, ..Data::default() };
        self.tie.upload(Packet::build_with(&Body::Data(data), Flags::END, None, &[]));
    }

    fn settle(&mut self) {
        self.tie.settle();
    }

    /// Whether the rules still allow the call.
    fn recheck(&self) -> Result<(), Fault> {
        let Ok(path) = ServicePath::parse(&self.pass.path) else { return Ok(()) };
        self.node.authenticate(self.pass.token.as_deref())?.grants.may_call(&path)
    }
}

impl Talk for BridgeTalk {
    fn handle_bytes(&mut self, now: Now, bytes: Bytes<'_>) -> Flow {
        let Self { socket, bridge } = self;
        bridge.liveness.heard(now.at);
        let flow = socket.handle_bytes(bytes.input, bytes.own, |_, message| {
            bridge.handle_message(message.text, &message.payload);
            Flow::Go
        });
        self.follow(now.at, flow)
    }

    fn read_space(&mut self) -> Option<Space<'_>> {
        self.socket.read_space()
    }

    fn handle_filled(&mut self, now: Now, count: usize, own: &mut Outgoing, _: &mut Vec<u8>) -> Flow {
        let Self { socket, bridge } = self;
        bridge.liveness.heard(now.at);
        let flow = socket.handle_filled(count, own, |_, message| {
            bridge.handle_message(message.text, &message.payload);
            Flow::Go
        });
        self.follow(now.at, flow)
    }

    fn handle_letter(&mut self, now: Now, letter: Letter, own: &mut Outgoing) -> Flow {
        match letter {
            Letter::Answer { packet, last, .. } => self.handle_answer(&packet, last, own),
            Letter::Credit { bytes, .. } => {
                self.bridge.handle_credit(now.at, bytes);
                Flow::Go
            }
            Letter::Failed { fault, .. } => {
                self.bridge.settle();
                let code = close_code(fault.code);
                self.close(own, code, &fault.reason)
            }
            Letter::Placed { place, step, .. } => {
                self.bridge.tie.placed(place, step);
                Flow::Go
            }
            Letter::Drain { .. } => self.end(own, &Fault::draining()),
            Letter::Kick(fault) => self.end(own, &fault),
            Letter::Recheck => match self.bridge.recheck() {
                Ok(()) => Flow::Go,
                Err(fault) => self.end(own, &fault),
            },
            // Letters to providers and to halves of pairs; nobody posts them here.
            Letter::Call(_)
            | Letter::Upload { .. }
            | Letter::Abandon { .. }
            | Letter::Refill { .. }
            | Letter::Paired { .. }
            | Letter::Parted { .. }
            | Letter::Expelled { .. }
            | Letter::Replaced { .. }
            | Letter::Stirred { .. } => Flow::Go,
        }
    }

    fn handle_private(&mut self, _: Private, _: &mut Outgoing) {}

    fn handle_timeout(&mut self, now: Now, reading: Reading, own: &mut Outgoing) -> Flow {
        if let Stage::Closing { until } = self.bridge.stage {
            return if now.at >= until { Flow::Done } else { Flow::Go };
        }
        if reading.progress || self.bridge.gated {
            // It reads slowly, or is not being listened to. A ping still shows whether its connection is there.
            self.bridge.liveness.excuse(now.at);
        }
        match self.bridge.liveness.handle_timeout(now.at) {
            Silence::Bearable => Flow::Go,
            Silence::Ask => {
                self.socket.speaker(own).ping();
                Flow::Go
            }
            Silence::Dead => {
                self.bridge.node.hub.counters.dead_peers.one();
                self.close(own, GOING_AWAY, "no sign of life from the peer")
            }
        }
    }

    fn poll_timeout(&self) -> Instant {
        match self.bridge.stage {
            Stage::Closing { until } => until,
            Stage::Open | Stage::Over => self.bridge.liveness.poll_timeout(),
        }
    }

    fn poll_gate(&mut self, waker: &Waker) -> bool {
        let bridge = &mut self.bridge;
        if bridge.taken >= REFILL_BYTES && bridge.me.poll_room(waker) {
            bridge.tie.refill(std::mem::take(&mut bridge.taken));
        }
        let passed = bridge.pass_waiting(waker);
        if let Some(parting) = bridge.parting.take_if(|_| passed) {
            bridge.part(&parting);
        }
        let room = passed && bridge.stage == Stage::Open && bridge.tie.poll_room(waker);
        bridge.gated = !room;
        room
    }

    /// The call ends with its tie.
    fn handle_lost(&mut self, _: Now, _: &mut dyn Iterator<Item = Letter>) {}
}
