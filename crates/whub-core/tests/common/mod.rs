//! Sessions in a test: mailboxes are vectors, the clock is made up, and every dialogue is a list of frames.

// Each test file uses a part of this, and a failed unwrap is a failed test.
#![allow(dead_code, clippy::unwrap_used, clippy::wildcard_enum_match_arm)]

pub(crate) mod dice;

use std::collections::VecDeque;
use std::sync::{Arc, Mutex};
use std::task::Waker;
use std::time::{Duration, Instant};

use whub_core::{
    ClientSession, Fate, Framing, Grants, Handled, Hub, Identity, Letter, Mailbox, Now, Output, Packet,
    Parcel, Peer, Post, Publication, Sent, ServicePolicies, ServiceSettings, SessionId, SessionLimits,
    TOKEN_BYTES, Undelivered,
};
use whub_proto::{Body, Flags, Frame, Hello, Origin, RoomRole, RoomWhat};

/// A hub, and the time there.
pub(crate) struct World {
    pub(crate) hub: Arc<Hub>,
    pub(crate) now: Now,
}

impl World {
    pub(crate) fn new() -> Self {
        Self::with_limits(SessionLimits::default())
    }

    // Where the made-up clock starts is the one thing that is asked.
    #[allow(clippy::disallowed_methods)]
    pub(crate) fn with_limits(limits: SessionLimits) -> Self {
        let mut hub = Hub::new("n1", "whub/test", limits);
        hub.draw_token = Some(draw_token);
        let hub = Arc::new(hub);
        Self { hub, now: Now { at: Instant::now(), unix_ms: 1_700_000_000_000 } }
    }

    pub(crate) fn pass(&mut self, time: Duration) {
        self.now.at += time;
        self.now.unix_ms += u64::try_from(time.as_millis()).unwrap();
    }

    /// The usher's round.
    pub(crate) fn usher(&self) -> Option<Instant> {
        self.hub.handle_waiting(self.now.at, Waker::noop())
    }

    /// Every service gets these settings.
    pub(crate) fn configure(&self, settings: ServiceSettings) {
        let default = Arc::new(settings);
        self.hub.services.configure(ServicePolicies { default, entries: Vec::new() });
    }

    /// A client that was welcomed and may do everything.
    pub(crate) fn client(&self) -> Client {
        let mut client = self.stranger();
        client.says(self.now, 0, &Body::Hello(Hello::default()));
        assert_eq!(client.hears(), ["welcome"]);
        client
    }

    /// One whose token has this name.
    pub(crate) fn client_of(&self, user: &str) -> Client {
        let mut client = self.stranger();
        client.identity = Ok(Identity { user: Some(user.into()), grants: Arc::new(Grants::all()) });
        client.says(self.now, 0, &Body::Hello(Hello::default()));
        assert_eq!(client.hears(), ["welcome"]);
        client
    }

    /// A client that has not said Hello.
    pub(crate) fn stranger(&self) -> Client {
        self.stranger_at("192.0.2.1:9")
    }

    /// The same at an address.
    pub(crate) fn stranger_at(&self, address: &str) -> Client {
        let inbox = Arc::new(Inbox::new(self.hub.next_session()));
        let mailbox = Mailbox::new(Arc::clone(&inbox) as Arc<dyn Post>);
        let peer = Peer { client: "c-1".into(), address: address.into(), token: None };
        let session = ClientSession::new(Arc::clone(&self.hub), mailbox.clone(), peer, self.now.at);
        let identity = Identity { user: None, grants: Arc::new(Grants::all()) };
        Client {
            session,
            inbox,
            mailbox,
            identity: Ok(identity),
            closed: None,
            asked: Vec::new(),
            heard: VecDeque::new(),
            seat: String::new(),
        }
    }
}

/// Bytes that nobody guesses who does not look here.
fn draw_token() -> Option<[u8; TOKEN_BYTES]> {
    Some(*b"sixteen secrets!")
}

/// One client: its session, its mailbox, and what reached its peer.
pub(crate) struct Client {
    pub(crate) session: ClientSession,
    pub(crate) inbox: Arc<Inbox>,
    pub(crate) mailbox: Mailbox,
    pub(crate) identity: Result<Identity, whub_core::Fault>,
    pub(crate) closed: Option<whub_core::Fault>,
    /// The tokens that the session wanted checked.
    pub(crate) asked: Vec<Option<Box<str>>>,
    heard: VecDeque<Vec<u8>>,
    /// What the seat can be taken again with that the first frame was about.
    pub(crate) seat: String,
}

impl Client {
    /// Whether more may be read of what the peer says.
    pub(crate) fn has_room(&mut self, waker: &Waker) -> bool {
        self.session.poll_room(waker)
    }

    /// The peer sends a frame without payload.
    pub(crate) fn says(&mut self, now: Now, id: u64, body: &Body<'_>) {
        self.sends(now, id, Flags::NONE, body, b"");
    }

    /// The peer sends a frame, and the session handles it before it reads its letters.
    pub(crate) fn session_says(&mut self, now: Now, id: u64, body: &Body<'_>) {
        let bytes = frame(id, Flags::NONE, body, b"");
        let frame = Frame::parse(&bytes, 1 << 20, Origin::Client).unwrap();
        let Handled::Done = self.session.handle_frame(now, &frame) else { panic!("nothing to relay") };
        self.drain(now);
    }

    /// The peer sends a frame.
    pub(crate) fn sends(&mut self, now: Now, id: u64, flags: Flags, body: &Body<'_>, payload: &[u8]) {
        let bytes = frame(id, flags, body, payload);
        let frame = Frame::parse(&bytes, 1 << 20, Origin::Client).unwrap();
        match self.session.handle_frame(now, &frame) {
            Handled::Done => {}
            Handled::Relay { partner, text, end, payload } => {
                let parcel = Parcel::Data { seat: partner.seat, text, end, payload: &payload };
                if partner.mailbox.send(parcel) == Sent::Wait {
                    let partner = partner.clone();
                    self.session.handle_full(partner);
                }
            }
        }
        self.turn(now);
    }

    /// The driver's loop: letters, then what there is to do.
    pub(crate) fn turn(&mut self, now: Now) {
        self.drain(now);
        while let Some(letter) = self.inbox.next_letter() {
            self.session.handle_letter(now, letter);
            self.drain(now);
        }
    }

    /// Time has come to somebody.
    pub(crate) fn wakes(&mut self, now: Now) {
        self.session.handle_timeout(now.at);
        self.turn(now);
    }

    /// The connection ends.
    pub(crate) fn vanishes(&mut self, now: Now) {
        self.inbox.close();
        self.session.handle_lost(now.at);
        self.turn(now);
    }

    /// What reached the peer since the last look, one line per frame.
    pub(crate) fn hears(&mut self) -> Vec<String> {
        self.collect();
        self.heard.drain(..).map(|bytes| line(&bytes)).collect()
    }

    /// The first frame that reached the peer since the last look.
    pub(crate) fn hears_first(&mut self) -> String {
        self.collect();
        let bytes = self.heard.pop_front().unwrap();
        if let Body::Ok(ok) = Frame::parse(&bytes, usize::MAX, Origin::Hub).unwrap().body {
            self.seat = ok.seat.to_owned();
        }
        line(&bytes)
    }

    /// The headers of the request or response that reached the peer last; forgets the rest.
    pub(crate) fn headers_heard(&mut self) -> Vec<(String, String)> {
        self.collect();
        let bytes = self.heard.pop_back().unwrap();
        self.heard.clear();
        let frame = Frame::parse(&bytes, usize::MAX, Origin::Hub).unwrap();
        let headers = match frame.body {
            Body::Request(request) => request.headers,
            Body::Response(response) => response.headers,
            other => panic!("{other:?} has no headers"),
        };
        headers.iter().map(|(name, value)| (name.to_owned(), value.to_owned())).collect()
    }

    fn drain(&mut self, now: Now) {
        while let Some(output) = self.session.poll_output() {
            match output {
                Output::Frame { id, packet } => self.inbox.own(id, &packet),
                Output::Authenticate { token } => {
                    self.asked.push(token);
                    self.session.handle_identity(now, self.identity.clone());
                }
                Output::Publish(issue) => {
                    let publication = Alone { issue: &issue, packets: [issue.packet.clone()] };
                    for subscriber in &issue.audience.subscribers {
                        if !(subscriber.no_echo && subscriber.mailbox == self.mailbox) {
                            subscriber.mailbox.publish(&publication);
                        }
                    }
                }
                Output::Room(issue) => {
                    for member in issue.roll.members.iter().filter(|member| issue.is_for(member)) {
                        member.mailbox.publish(&InRoom { issue: &issue, seat: member.seat });
                    }
                }
                Output::Ping => self.inbox.note("(ping)"),
                Output::Close(fault) => self.closed = Some(fault),
            }
        }
        self.inbox.release();
    }

    /// Lets go what the mailbox held back, for a driver that has nothing of its own to send.
    pub(crate) fn turn_held(&self) {
        self.inbox.release();
    }

    fn collect(&mut self) {
        self.heard.extend(self.inbox.state.lock().unwrap().frames.drain(..));
    }
}

struct Alone<'a> {
    issue: &'a whub_core::Issue,
    packets: [Packet; 1],
}

impl Publication for Alone<'_> {
    fn framed(&self, _: Framing) -> bytes::Bytes {
        self.packets[0].to_vec().into()
    }

    fn packets(&self) -> &[Packet] {
        &self.packets
    }

    fn channel(&self) -> &str {
        &self.issue.audience.channel
    }
}

/// A message of a room at one of its receivers.
pub(crate) struct InRoom<'a> {
    pub(crate) issue: &'a whub_core::RoomIssue,
    pub(crate) seat: u64,
}

impl Publication for InRoom<'_> {
    fn framed(&self, _: Framing) -> bytes::Bytes {
        self.issue.packets.iter().flat_map(|packet| with_id(self.seat, packet)).collect()
    }

    fn packets(&self) -> &[Packet] {
        &self.issue.packets
    }

    fn channel(&self) -> &str {
        self.issue.roll.room.as_str()
    }

    fn count(&self) -> u32 {
        1
    }

    fn is_room(&self) -> bool {
        true
    }

    fn seat(&self) -> u64 {
        self.seat
    }
}

/// A mailbox that is a vector.
#[derive(Debug)]
pub(crate) struct Inbox {
    session: SessionId,
    pub(crate) state: Mutex<State>,
}

#[derive(Debug, Default)]
pub(crate) struct State {
    pub(crate) letters: VecDeque<Letter>,
    pub(crate) frames: Vec<Vec<u8>>,
    held: Option<Vec<Vec<u8>>>,
    pub(crate) full: bool,
    /// The peer does not read.
    pub(crate) deaf: bool,
    pub(crate) closed: bool,
}

impl Inbox {
    fn new(session: SessionId) -> Self {
        Self { session, state: Mutex::default() }
    }

    fn next_letter(&self) -> Option<Letter> {
        self.state.lock().unwrap().letters.pop_front()
    }

    fn own(&self, id: u64, packet: &Packet) {
        self.state.lock().unwrap().frames.push(with_id(id, packet));
    }

    fn note(&self, text: &str) {
        self.state.lock().unwrap().frames.push(text.into());
    }

    fn release(&self) {
        let mut state = self.state.lock().unwrap();
        let held = state.held.take().unwrap_or_default();
        state.frames.extend(held);
    }

    pub(crate) fn close(&self) {
        self.state.lock().unwrap().closed = true;
    }

    fn push(&self, bytes: Vec<u8>) -> Sent {
        let mut state = self.state.lock().unwrap();
        if state.closed {
            return Sent::Gone;
        }
        match &mut state.held {
            Some(held) => held.push(bytes),
            None => state.frames.push(bytes),
        }
        if state.deaf { Sent::Wait } else { Sent::Room }
    }
}

impl Post for Inbox {
    fn session(&self) -> SessionId {
        self.session
    }

    fn framing(&self) -> Framing {
        Framing::Binary
    }

    fn post(&self, letter: Letter) -> Result<(), Undelivered> {
        let mut state = self.state.lock().unwrap();
        if state.closed {
            return Err(Undelivered::Gone(letter));
        }
        if state.full && matches!(letter, Letter::Call(_)) {
            return Err(Undelivered::Full(letter));
        }
        state.letters.push_back(letter);
        Ok(())
    }

    fn send(&self, parcel: Parcel<'_>) -> Sent {
        match parcel {
            Parcel::Data { seat, text, end, payload } => {
                let flags = Flags::NONE.with_if(text, Flags::TEXT).with_if(end, Flags::END);
                self.push(frame(seat, flags, &Body::Data(whub_proto::Data::default()), payload))
            }
            Parcel::Packet { id, packet } | Parcel::News { id, packet } => self.push(with_id(id, packet)),
            Parcel::Framed { bytes, .. } => self.push(bytes.to_vec()),
        }
    }

    fn hold(&self) {
        self.state.lock().unwrap().held.get_or_insert_default();
    }

    fn poll_room(&self, _: &Waker) -> bool {
        let state = self.state.lock().unwrap();
        state.closed || !state.deaf
    }

    fn publish(&self, publication: &dyn Publication) -> Fate {
        if publication.is_room() && self.state.lock().unwrap().full {
            return Fate::DroppedSlow;
        }
        let mut sent = Sent::Room;
        for packet in publication.packets() {
            sent = self.push(with_id(publication.seat(), packet));
        }
        match sent {
            Sent::Room | Sent::Wait => Fate::Delivered,
            Sent::Gone => Fate::DroppedGone,
        }
    }
}

pub(crate) fn frame(id: u64, flags: Flags, body: &Body<'_>, payload: &[u8]) -> Vec<u8> {
    with_id(id, &Packet::build_with(body, flags, None, payload))
}

fn with_id(id: u64, packet: &Packet) -> Vec<u8> {
    let mut bytes = Vec::new();
    packet.head(id).write(&mut bytes);
    bytes.extend_from_slice(packet.rest());
    bytes
}

/// A frame as a line: kind, id, flags, what matters of its body, payload.
fn line(bytes: &[u8]) -> String {
    let Ok(frame) = Frame::parse(bytes, usize::MAX, Origin::Hub) else {
        return String::from_utf8_lossy(bytes).into_owned();
    };
    let mut line = frame.head.kind.name().unwrap_or("unknown").to_owned();
    if frame.head.id != 0 {
        line += &format!(" #{}", frame.head.id);
    }
    for (flag, name) in Flags::NAMED {
        if frame.head.flags.contains(flag) {
            line += &format!(" {name}");
        }
    }
    line += &detail(&frame);
    if !frame.payload.is_empty() {
        line += &format!(" '{}'", String::from_utf8_lossy(frame.payload));
    }
    line
}

#[allow(clippy::wildcard_enum_match_arm)] // A line shows what the dialogues look at.
fn detail(frame: &Frame<'_>) -> String {
    match frame.body {
        Body::Error(error) => {
            let moved = error.headers.get("whub-moved").map(|times| format!(" moved {times}"));
            let moved = moved.unwrap_or_default();
            format!(" {} {} retry {}{moved}", u16::from(error.code), error.slug, error.retry_ms)
        }
        Body::Request(request) => {
            let via = frame.via.unwrap_or_default();
            format!(" {} by {} for {}ms as {}", request.path, via.client, via.timeout_ms, via.path)
        }
        Body::Response(response) => match frame.via.unwrap_or_default().moved {
            0 => format!(" {}", response.status),
            times => format!(" {} moved {times}", response.status),
        },
        Body::Data(data) => {
            let from = frame.via.map(|via| format!(" from {}", via.member)).unwrap_or_default();
            let headers = data.headers.iter().map(|(name, value)| format!(" {name}: {value}"));
            std::iter::once(from).chain(headers).collect()
        }
        Body::Cancel(cancel) => format!(" {}", u16::from(cancel.code)),
        Body::Credit(credit) => format!(" {}", credit.bytes),
        Body::Message(message) => format!(" {}", message.channel),
        Body::Ok(ok) if ok.count > 0 => format!(" {}", ok.count),
        Body::Ok(ok) if !ok.seat.is_empty() => format!(" seat received {}", ok.received),
        Body::RoomEvent(event) if is_of_a_room(&event) => room_event(&event),
        Body::RoomEvent(event) => {
            let mut line = format!(" {:?} {}", event.what, event.room);
            if event.initiator {
                line += " initiator";
            }
            for member in event.members.iter().filter(|it| !it.info.is_empty() || !it.user.is_empty()) {
                line += &format!(" with {} {} {}", member.member, member.user, member.info);
            }
            if event.count > 0 {
                line += &format!(" x{}", event.count);
            }
            if event.what == RoomWhat::Closed {
                line += &format!(": {}", event.reason);
            }
            line
        }
        Body::Drain(drain) => format!(" grace {} retry {}", drain.grace_ms, drain.retry_ms),
        _ => String::new(),
    }
}

/// Whether an event is one that only rooms have, or has what only those of rooms have.
fn is_of_a_room(event: &whub_proto::RoomEvent<'_>) -> bool {
    matches!(event.what, RoomWhat::State | RoomWhat::Joined | RoomWhat::Updated)
        || (event.what == RoomWhat::Left && !event.members.is_empty())
}

/// What happened, to whom: `2+` is a moderator, `1*` the owner, `3={}` shows `{}`.
fn room_event(event: &whub_proto::RoomEvent<'_>) -> String {
    let mut line = format!(" {:?} {}", event.what, event.room);
    for member in event.members.iter() {
        line += &format!(" {}", member.member);
        line += match member.role {
            RoomRole::Owner => "*",
            RoomRole::Moderator => "+",
            _ => "",
        };
        if !member.info.is_empty() {
            line += &format!("={}", member.info);
        }
    }
    if event.capacity > 0 {
        line += &format!(" of {}", event.capacity);
    }
    if event.locked {
        line += " locked";
    }
    if event.count > 0 {
        line += &format!(" x{}", event.count);
    }
    if !event.reason.is_empty() {
        line += &format!(" ({})", event.reason);
    }
    line
}
