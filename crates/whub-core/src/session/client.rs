//! A conversation in the whub protocol, from `Hello` to the end of the connection.
//!
//! Contract: after every `handle_*`, drain [`ClientSession::poll_output`] until it is empty; call
//! [`ClientSession::handle_timeout`] no later than [`ClientSession::poll_timeout`] says. An
//! [`Output::Authenticate`] is answered with [`ClientSession::handle_identity`] before the next frame is handed in.
//!
//! The client's ids are odd and live in `live`; the hub's are even and live in `owed`. What each verb does is in
//! the neighbouring files: `greeting`, `calling`, `providing`, `publishing`, `pairing`, `rooming`.

use std::borrow::Cow;
use std::collections::{BTreeMap, VecDeque};
use std::fmt;
use std::sync::Arc;
use std::time::{Duration, Instant};

use bytes::Bytes;
use whub_proto::names::{Filter, Pattern};
use whub_proto::{Body, Code, Drain, Frame, Kind, RoomMode, Success};

use crate::access::Identity;
use crate::clients::Tally;
use crate::fault::Fault;
use crate::hub::{Hub, Now};
use crate::letter::Letter;
use crate::mailbox::Mailbox;
use crate::packet::Packet;
use crate::pairs::Half;
use crate::services::Provider;
use crate::session::calling::PlacedCall;
use crate::session::liveness::{Liveness, Silence};
use crate::session::output::{Handled, Output};
use crate::session::owed::Owed;
use crate::session::pairing::Membership;
use crate::session::rooming::Presence;

/// One client's conversation.
#[derive(Debug)]
pub struct ClientSession {
    pub(super) hub: Arc<Hub>,
    pub(super) me: Mailbox,
    pub(super) peer: Peer,
    /// What the client calls itself; empty = nothing.
    pub(super) name: Box<str>,
    /// It wants to hear of partners whose connection is lost or has come back.
    pub(super) follows: bool,
    /// When it last heard something, from whomever.
    pub(super) clock: Instant,
    pub(super) stage: Stage,
    /// Set while the node is stopping: when to close, unless calls are in flight.
    leave_at: Option<Instant>,
    liveness: Liveness,
    pub(super) live: BTreeMap<u64, Live>,
    /// When the first seat is over that nobody has come to.
    pub(super) seats_until: Option<Instant>,
    /// Partners that have to have room before more is read of the client.
    pub(super) awaited: Vec<Half>,
    /// The seats that are kept have been told that the client is not read.
    pub(super) is_unheard: bool,
    pub(super) calls: usize,
    /// Calls placed so far.
    pub(super) placed: u64,
    pub(super) owed: Owed,
    pub(super) services: Vec<Pattern>,
    /// Registrations that are over, and until when their calls are waited for.
    pub(super) leaving: Vec<(Instant, Arc<Provider>)>,
    /// When it may change rooms as often as ever again.
    pub(super) changes_full_at: Instant,
    /// Bytes of request bodies that wait here for a provider.
    pub(super) held_bytes: usize,
    /// What others see of the numbers above.
    pub(super) tally: Arc<Tally>,
    output: VecDeque<Output>,
}

/// What the driver knows about the peer before it says anything.
#[derive(Clone)]
pub struct Peer {
    /// The hub's name for the client, unique in the cluster.
    pub client: Box<str>,
    /// Its address; empty where it has none.
    pub address: Box<str>,
    /// Credentials that came with the connection (an HTTP header), which hold unless `Hello` brings others.
    pub token: Option<Box<str>>,
}

impl fmt::Debug for Peer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Peer({} at {})", self.client, self.address)
    }
}

#[derive(Debug)]
pub(super) enum Stage {
    /// Waiting for `Hello`.
    Greeting { until: Instant },
    /// `Hello` came; waiting for the driver's verdict on its credentials.
    Checking,
    /// Welcomed.
    Open { identity: Identity, check: Check, since_ms: u64 },
    /// Over; only letters that crossed with the end still come.
    Ended,
}

/// Why credentials are being checked on an open session.
#[derive(Debug)]
pub(super) enum Check {
    Nothing,
    /// The client sent `Auth` with this id and token; if it is refused, the session stays what it was.
    Renewal(u64, Box<str>),
    /// The rules have changed; if the credentials no longer hold, the session ends.
    Rules,
}

/// What an id of the client names while it lives.
#[derive(Debug)]
pub(super) enum Live {
    Call(Box<PlacedCall>),
    Subscription(Filter),
    Pair(Box<Membership>),
    Room(Box<Presence>),
}

impl ClientSession {
    /// A session whose peer has yet to say `Hello`.
    pub fn new(hub: Arc<Hub>, me: Mailbox, peer: Peer, now: Instant) -> Self {
        let stage = Stage::Greeting { until: now + hub.limits.hello_timeout };
        let liveness = Liveness::new(hub.limits.ping, now);
        Self {
            hub,
            me,
            peer,
            name: Box::default(),
            follows: false,
            clock: now,
            stage,
            leave_at: None,
            liveness,
            live: BTreeMap::new(),
            seats_until: None,
            awaited: Vec::new(),
            is_unheard: false,
            calls: 0,
            placed: 0,
            owed: Owed::default(),
            services: Vec::new(),
            leaving: Vec::new(),
            changes_full_at: now,
            held_bytes: 0,
            tally: Arc::default(),
            output: VecDeque::new(),
        }
    }

    /// Any byte of the peer, whole frame or not.
    pub fn handle_alive(&mut self, now: Instant) {
        self.clock = now;
        self.liveness.heard(now);
    }

    /// The peer's silence proves nothing just now.
    pub fn handle_excuse(&mut self, now: Instant) {
        self.liveness.excuse(now);
    }

    /// A frame of the peer, checked by [`Frame::parse`].
    pub fn handle_frame<'a>(&'a mut self, now: Now, frame: &Frame<'a>) -> Handled<'a> {
        self.handle_frame_in(now, frame, None)
    }

    /// The same for a frame that lies in `memory` of its own, if it does, which may outlive this call: long payloads are
    /// passed on where they lie.
    pub fn handle_frame_in<'a>(
        &'a mut self,
        now: Now,
        frame: &Frame<'a>,
        memory: Option<&Bytes>,
    ) -> Handled<'a> {
        self.clock = now.at;
        match (&self.stage, &frame.body) {
            (Stage::Greeting { .. }, Body::Hello(hello)) => self.handle_hello(hello),
            (Stage::Greeting { .. } | Stage::Checking, _) => {
                self.violate("the first frame must be Hello, and nothing may follow it before Welcome");
            }
            (Stage::Ended, _) => {}
            (Stage::Open { .. }, _) => return self.handle_open(now, frame, memory),
        }
        Handled::Done
    }

    fn handle_open<'a>(&'a mut self, now: Now, frame: &Frame<'a>, memory: Option<&Bytes>) -> Handled<'a> {
        let id = frame.head.id;
        match &frame.body {
            Body::Request(request) => self.handle_request(now, frame, request),
            Body::Response(response) => self.handle_response(frame, response),
            Body::Data(_) if id % 2 == 1 => return self.handle_data(now, frame, memory),
            Body::Data(_) => self.handle_download(frame, memory),
            // A provider's error answers a call; a client's errors about anything else change nothing here.
            Body::Error(failure) if id.is_multiple_of(2) && id != 0 => self.handle_final(frame, failure),
            Body::Error(_) => {}
            Body::Cancel(cancel) if id.is_multiple_of(2) => self.handle_given_up(id, cancel),
            Body::Cancel(_) => self.handle_cancel(id),
            Body::Credit(credit) => self.handle_credit(id, credit.bytes),
            Body::Publish(publish) => self.handle_publish(now, frame, publish),
            Body::Subscribe(subscribe) => self.handle_subscribe(id, subscribe),
            Body::Unsubscribe(unsubscribe) => self.handle_unsubscribe(id, unsubscribe),
            Body::Register(register) => self.handle_register(now, id, register),
            Body::Unregister(unregister) => self.handle_unregister(id, unregister),
            Body::Join(join) if join.mode == RoomMode::Room => self.handle_enter(now, id, join),
            Body::Join(join) => self.handle_join(id, join),
            Body::Leave(leave) => self.handle_leave(id, leave),
            Body::RoomCommand(command) => self.handle_room_command(id, command),
            Body::Auth(auth) => self.handle_auth(id, auth.scheme, auth.token),
            Body::Ping => {
                self.send(id, Packet::forward(Kind::Pong, frame.head.flags, None, &[], frame.payload))
            }
            Body::Pong => {}
            Body::Drain(drain) => self.leave_services(drain.grace_ms),
            Body::History(_) => self.unsupported(id, "history.unsupported", "this hub keeps no history"),
            Body::Hello(_) => self.violate("Hello may be said once"),
            Body::Welcome(_)
            | Body::Ok(_)
            | Body::Message(_)
            | Body::Gap(_)
            | Body::RoomEvent(_)
            | Body::NodeHello(_)
            | Body::NodeWelcome(_)
            | Body::NodePeers(_)
            | Body::NodeRoutes(_)
            | Body::NodeForward(_)
            | Body::None => self.violate("only a hub sends frames of this kind"),
            Body::Unknown(kind) => self.handle_own(now, *kind, frame),
        }
        Handled::Done
    }

    /// A letter from another session. Comes even after the end, for letters that crossed with it.
    pub fn handle_letter(&mut self, now: Now, letter: Letter) {
        self.clock = now.at;
        match letter {
            Letter::Call(call) => self.handle_call(now, call),
            Letter::Upload { call, data } => self.handle_upload(now, call, data),
            Letter::Abandon { call, code } => self.handle_abandon(call, code),
            Letter::Refill { call, bytes } => self.handle_refill(call, bytes),
            Letter::Answer { id, packet, last } => self.handle_answer(id, packet, last),
            Letter::Placed { id, place, step } => self.handle_placed(id, place, step),
            Letter::Credit { id, bytes } => self.handle_upload_credit(id, bytes),
            Letter::Failed { id, fault } => self.handle_failed(id, &fault),
            Letter::Paired { half, partner } => self.handle_paired(half, partner),
            Letter::Parted { half, partner } => self.handle_parted(half, partner),
            Letter::Expelled { room, seat, number, event } => {
                self.handle_expelled(&room, seat, number, event)
            }
            Letter::Replaced { half } => self.handle_replaced(half),
            Letter::Stirred { seat, serial } => self.handle_stirred(seat, serial),
            Letter::Drain { grace, linger, retry } => self.handle_drain(now.at + linger, grace, retry),
            Letter::Recheck => self.handle_recheck(),
            Letter::Kick(fault) => self.close(fault),
        }
    }

    /// Time has passed.
    pub fn handle_timeout(&mut self, now: Instant) {
        self.clock = now;
        if let Stage::Greeting { until } = self.stage {
            if now >= until {
                self.close(Fault::fatal(Code::Timeout, "hello.timeout", "no Hello came in time"));
            }
            return;
        }
        self.expire_owed(now);
        self.expire_leaving(now);
        self.expire_seats(now);
        if self.leave_at.is_some_and(|leave_at| now >= leave_at) && self.is_quiet() {
            self.close(Fault::draining());
            return;
        }
        match self.liveness.handle_timeout(now) {
            Silence::Bearable => {}
            Silence::Ask => self.push(Output::Ping),
            Silence::Dead => {
                self.hub.counters.dead_peers.one();
                self.close(Fault::passing(Code::Timeout, "peer.silent", 1, "no sign of life from the peer"));
            }
        }
    }

    /// The node is stopping: the client is told to go elsewhere, and gets no new calls.
    fn handle_drain(&mut self, leave_at: Instant, grace: Duration, retry: Duration) {
        let Stage::Open { .. } = self.stage else {
            self.close(Fault::draining());
            return;
        };
        if self.is_draining() {
            return;
        }
        self.leave_at = Some(leave_at);
        self.leave_services(0);
        let body = Drain {
            code: Code::Draining,
            reason: "this node is stopping; connect to another, or to this one again later",
            grace_ms: u32::try_from(grace.as_millis()).unwrap_or(u32::MAX),
            retry_ms: u32::try_from(retry.as_millis()).unwrap_or(u32::MAX).max(1),
            ..Drain::default()
        };
        self.send(0, Packet::build(&Body::Drain(body)));
    }

    /// No call is in flight in either direction.
    #[must_use]
    pub fn is_quiet(&self) -> bool {
        self.calls == 0 && self.owed.is_empty()
    }

    /// Welcomed and not yet ended.
    #[must_use]
    pub fn is_open(&self) -> bool {
        matches!(self.stage, Stage::Open { .. })
    }

    /// The connection has ended, however it did: whoever waits for this session is told at once.
    pub fn handle_lost(&mut self, now: Instant) {
        self.clock = now;
        self.end(true);
    }

    /// `is_lost`: by no fault that would be met again, so the client may come back to what is kept for it.
    fn end(&mut self, is_lost: bool) {
        if let Stage::Open { .. } = self.stage {
            self.hub.counters.sessions_closed.one();
            self.hub.clients.leave(self.me.session());
        }
        self.stage = Stage::Ended;
        self.leave_services(0);
        self.fail_owed();
        for live in std::mem::take(&mut self.live).into_values() {
            match live {
                Live::Pair(membership) if is_lost => membership.lose(&self.hub, self.clock),
                live @ (Live::Call(_) | Live::Subscription(_) | Live::Pair(_) | Live::Room(_)) => {
                    self.end_live(live)
                }
            }
        }
        self.seats_until = None;
        self.calls = 0;
    }

    /// When [`Self::handle_timeout`] is due.
    #[must_use]
    pub fn poll_timeout(&self) -> Instant {
        if let Stage::Greeting { until } = self.stage {
            return until;
        }
        let leave = self.leave_at.filter(|_| self.is_quiet() && !self.ended());
        let alive = Some(self.liveness.poll_timeout());
        let dues = [alive, self.owed.first_deadline(), self.first_leaving(), leave, self.seats_until];
        dues.into_iter().flatten().min().unwrap_or_else(|| self.liveness.poll_timeout())
    }

    /// What to do next.
    pub fn poll_output(&mut self) -> Option<Output> {
        let output = self.output.pop_front();
        if output.is_none() && self.output.capacity() > 0 {
            // An idle session owns no buffer.
            self.output = VecDeque::new();
        }
        output
    }

    // -------------------------------------------------------------------------------------------- shared

    /// Who the peer is; `None` before `Welcome` and after the end.
    pub(super) fn identity(&self) -> Option<&Identity> {
        match &self.stage {
            Stage::Open { identity, .. } => Some(identity),
            Stage::Greeting { .. } | Stage::Checking | Stage::Ended => None,
        }
    }

    pub(super) fn ended(&self) -> bool {
        matches!(self.stage, Stage::Ended)
    }

    pub(super) fn is_draining(&self) -> bool {
        self.leave_at.is_some()
    }

    pub(super) fn push(&mut self, output: Output) {
        self.output.push_back(output);
    }

    pub(super) fn send(&mut self, id: u64, packet: Packet) {
        self.push(Output::Frame { id, packet });
    }

    /// Sends `Ok` with nothing in it.
    pub(super) fn agree(&mut self, id: u64) {
        self.send(id, Packet::build(&Body::Ok(Success::default())));
    }

    pub(super) fn refuse(&mut self, id: u64, fault: &Fault) {
        if fault.code == Code::Forbidden {
            self.hub.counters.forbidden.one();
        }
        self.send(id, fault.packet());
    }

    pub(super) fn unsupported(&mut self, id: u64, slug: &'static str, reason: &'static str) {
        self.refuse(id, &Fault::fatal(Code::Unsupported, slug, reason));
    }

    /// The id of a frame that is going to be answered must be odd, and not in use. False when it was a violation.
    pub(super) fn claim(&mut self, id: u64) -> bool {
        if id.is_multiple_of(2) {
            self.violate("a client's ids are odd, and a frame that wants an answer needs one");
            return false;
        }
        if self.live.contains_key(&id) {
            self.violate("this id is in use; wait for the last frame of both directions");
            return false;
        }
        true
    }

    /// The peer broke the protocol below what a session sees: a frame that cannot be read.
    pub fn handle_unreadable(&mut self, fault: Fault) {
        self.hub.counters.protocol_errors.one();
        self.close(fault);
    }

    /// A frame of the JSON mirror makes no sense. The error answers it; people write these by hand, and a misspelt
    /// field is no attack. What is no JSON at all is not written by somebody who speaks the protocol.
    pub fn handle_untranslatable(&mut self, id: u64, fault: Fault) {
        if self.is_open() && fault.code != Code::ProtocolError {
            self.refuse(id, &fault);
        } else {
            self.handle_unreadable(fault);
        }
    }

    /// The peer broke the protocol.
    pub(super) fn violate(&mut self, reason: impl Into<Cow<'static, str>>) {
        self.handle_unreadable(Fault::fatal(Code::ProtocolError, "protocol.error", reason));
    }

    pub(super) fn close(&mut self, fault: Fault) {
        if self.ended() {
            return;
        }
        self.end(fault.retry_ms > 0);
        self.send(0, fault.packet());
        self.push(Output::Close(fault));
    }

    /// What an id named is over, because the connection is.
    pub(super) fn end_live(&self, live: Live) {
        match live {
            Live::Call(call) => self.abandon(&call),
            Live::Subscription(filter) => self.end_subscription(&filter),
            Live::Pair(membership) => membership.leave(&self.hub),
            Live::Room(presence) => presence.leave(&self.hub, "", self.clock),
        }
    }
}

/// The fault of what comes too late, or too early.
pub(super) fn not_open() -> Fault {
    Fault::fatal(Code::ProtocolError, "session.ended", "the session has ended")
}
