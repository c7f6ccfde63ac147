//! One connection's conversation with the hub: pure, without socket or clock.
//!
//! Contract: hand every arriving frame to [`Session::handle_frame`], every wish of the program to one of the other
//! methods, and call [`Session::handle_timeout`] no later than [`Session::poll_timeout`] says. After each, send what
//! is in [`Session::outbox`], start the jobs of [`Session::poll_job`] and pass on [`Session::poll_event`]. When the
//! connection ends, [`Session::handle_lost`].
//!
//! Our ids are odd and live in `live`, the hub's are even and live in `served`. What is wanted beyond this connection
//! is in [`Wanted`].

mod calling;
mod liveness;
mod outbox;
mod pairing;
mod publishing;
mod rooming;
mod serving;
mod sockets;
mod subscribing;

use std::collections::{HashMap, VecDeque};
use std::sync::Arc;
use std::time::{Duration, Instant};

use bytes::Bytes;
use tokio::sync::mpsc;
use whub_proto::{Auth, Body, Code, Flags, Frame, Kind, Origin, PART_BYTES_MAX, Success};

use crate::command::{Done, Release};
use crate::error::Error;
use crate::event::Event;
use crate::key::{Key, KeySource};
use crate::pair::PairEvent;
use crate::publish::Published;
use crate::queue::Queue;
use crate::serve::Job;
use crate::wanted::{Provided, Waiting, Wanted};
use calling::Calling;
use liveness::{Liveness, Silence};
use pairing::interrupt;
use rooming::interrupt_room;
use serving::Serving;

pub(crate) use outbox::Outbox;
pub(crate) use pairing::{forget_seat, say_later};

/// What the hub said in `Welcome`, as far as it matters later.
#[derive(Clone, Debug, Default)]
pub(crate) struct Terms {
    pub(crate) client: String,
    pub(crate) node: String,
    pub(crate) ping: Duration,
    pub(crate) frame_bytes_max: usize,
    /// How long the token holds; zero for ever.
    pub(crate) token_ttl: Duration,
}

/// Where a session gets what it needs to make bodies for handlers.
#[derive(Debug, Clone)]
pub(crate) struct Supply {
    pub(crate) keys: Arc<KeySource>,
    pub(crate) releases: mpsc::UnboundedSender<Release>,
}

/// The hub asks to go elsewhere.
#[derive(Debug, Clone)]
pub(crate) struct Farewell {
    pub(crate) reason: String,
    pub(crate) grace: Duration,
    pub(crate) pause: Duration,
}

pub(crate) struct Session {
    /// Tells the sessions of one client apart.
    serial: u64,
    supply: Supply,
    frame_bytes_max: usize,
    liveness: Liveness,
    last_id: u64,
    live: HashMap<u64, Live>,
    served: HashMap<u64, Serving>,
    ids: HashMap<Key, u64>,
    jobs: VecDeque<Job>,
    events: VecDeque<Event>,
    farewell: Option<Farewell>,
    /// The last error that concerns no id; the reason, if the connection ends next.
    complaint: Option<Error>,
    /// Until when the token has to be renewed.
    renewal: Option<Instant>,
    /// Pairs whose messages are not taken.
    choked: Vec<Arc<Queue<PairEvent>>>,
    /// Frames to be sent.
    pub(crate) outbox: Outbox,
    /// Resolved when what is in the outbox now was written.
    pub(crate) written: Vec<Flushed>,
}

/// Who waits for bytes to be written.
pub(crate) enum Flushed {
    Publish(Done<Published>),
    Say(Done),
}

/// What one of our ids names while it lives.
enum Live {
    Call(Box<Calling>),
    Publish(Done<Published>),
    /// Unsubscribe, Leave.
    Farewell(Done),
    /// A service that is served until the hub has agreed: calls that crossed with the wish to end it are still its own.
    Leaving(Box<Provided>, Option<Done>),
    Service(Key),
    Topic(Key),
    Seat(Key),
    Place(Key),
    Auth,
}

impl Session {
    pub(crate) fn new(serial: u64, terms: &Terms, supply: Supply, now: Instant) -> Self {
        Self {
            serial,
            supply,
            frame_bytes_max: terms.frame_bytes_max,
            liveness: Liveness::new(terms.ping, now),
            last_id: 0,
            live: HashMap::new(),
            served: HashMap::new(),
            ids: HashMap::new(),
            jobs: VecDeque::new(),
            events: VecDeque::new(),
            farewell: None,
            complaint: None,
            renewal: renewal(terms.token_ttl, now),
            choked: Vec::new(),
            outbox: Outbox::default(),
            written: Vec::new(),
        }
    }

    /// Tells a new connection all that is wanted.
    pub(crate) fn handle_open(&mut self, now: Instant, wanted: &mut Wanted) {
        let services: Vec<Key> = wanted.services.keys().copied().collect();
        for key in services {
            self.register(key, wanted);
        }
        let topics: Vec<Key> = wanted.topics.topics.keys().copied().collect();
        for key in topics {
            self.subscribe(key, wanted);
        }
        self.take_seats(wanted);
        self.enter_rooms(wanted);
        for waiting in wanted.backlog.take() {
            match waiting {
                Waiting::Call(order) => self.call(now, order),
                Waiting::Publish(publication) => self.publish(*publication),
            }
        }
    }

    /// A sign of life that is no frame.
    pub(crate) fn handle_alive(&mut self, now: Instant) {
        self.liveness.heard(now);
    }

    /// A frame of the hub. An error ends the connection.
    pub(crate) fn handle_frame(
        &mut self,
        now: Instant,
        bytes: &Bytes,
        wanted: &mut Wanted,
    ) -> Result<(), Error> {
        self.liveness.heard(now);
        // The hub adds its part to what another client was allowed to send.
        let frame = Frame::parse(bytes, self.frame_bytes_max + PART_BYTES_MAX, Origin::Hub)
            .map_err(|error| Error::protocol(format!("the hub sent a bad frame: {error}")))?;
        let (id, flags, payload) = (frame.head.id, frame.head.flags, bytes.slice_ref(frame.payload));
        if !matches!(frame.body, Body::Error(_)) {
            self.complaint = None;
        }
        match &frame.body {
            Body::Ok(success) => self.handle_ok(id, success, wanted),
            Body::Error(failure) => self.handle_error(id, Error::remote(failure), wanted),
            Body::Response(response) => return self.handle_response(&frame, response, payload),
            Body::Data(data) if id % 2 == 1 => {
                let place = match self.live.get(&id) {
                    Some(Live::Place(key)) => wanted.rooms.get_mut(key),
                    Some(_) | None => None,
                };
                return match place {
                    Some(place) => {
                        Self::handle_said(place, flags, &frame.via.unwrap_or_default(), data, payload)
                    }
                    None => self.handle_data(id, flags, data, payload, wanted),
                };
            }
            Body::Data(data) => self.handle_upload(id, flags, data, payload)?,
            Body::Request(request) => return self.handle_request(now, &frame, request, payload, wanted),
            Body::Cancel(cancel) => self.handle_cancel(id, cancel),
            Body::Credit(credit) => match self.live.get(&id) {
                Some(Live::Seat(key)) => self.handle_seat_credit(*key, credit.bytes, wanted),
                Some(_) | None => self.handle_credit(id, credit.bytes),
            },
            Body::Message(publish) => {
                let message = crate::Message::new(publish, &frame.via.unwrap_or_default(), flags, payload);
                self.handle_message(id, &message, wanted);
            }
            Body::Gap(gap) => self.handle_gap(gap, wanted),
            Body::RoomEvent(event) => match self.live.get(&id) {
                Some(&Live::Place(key)) => {
                    self.handle_news(id, key, flags.contains(Flags::MORE), event, wanted);
                }
                Some(_) | None => self.handle_room_event(id, event, wanted),
            },
            Body::Ping => self.outbox.pong(id, frame.payload),
            Body::Pong => {}
            Body::Drain(drain) => {
                let pause = Duration::from_millis(u64::from(drain.retry_ms.saturating_sub(1)));
                let grace = Duration::from_millis(drain.grace_ms.into());
                self.farewell = Some(Farewell { reason: drain.reason.to_owned(), grace, pause });
            }
            Body::Unknown(_) if id == 0 => {}
            Body::Unknown(_) => {
                self.refuse(id, Code::Unsupported, "this client does not know the frame's kind")
            }
            Body::None
            | Body::Hello(_)
            | Body::Welcome(_)
            | Body::Auth(_)
            | Body::Register(_)
            | Body::Unregister(_)
            | Body::Subscribe(_)
            | Body::Unsubscribe(_)
            | Body::Publish(_)
            | Body::History(_)
            | Body::Join(_)
            | Body::Leave(_)
            | Body::RoomCommand(_)
            | Body::NodeHello(_)
            | Body::NodeWelcome(_)
            | Body::NodePeers(_)
            | Body::NodeRoutes(_)
            | Body::NodeForward(_) => return Err(unexpected(frame.head.kind)),
        }
        Ok(())
    }

    fn handle_ok(&mut self, id: u64, success: &Success<'_>, wanted: &mut Wanted) {
        match self.live.get(&id) {
            Some(Live::Topic(key)) => return self.handle_subscribed(*key, success, wanted),
            Some(Live::Seat(key)) => return self.handle_seated(id, *key, success, wanted),
            Some(Live::Place(key)) => return Self::handle_entered(*key, success, wanted),
            // A call is never answered by Ok; what ended meanwhile needs nothing.
            Some(Live::Call(_)) | None => return,
            Some(
                Live::Publish(_) | Live::Farewell(_) | Live::Leaving(..) | Live::Service(_) | Live::Auth,
            ) => {}
        }
        match self.live.remove(&id) {
            Some(Live::Publish(done)) => {
                let Success { count, offset, epoch, .. } = *success;
                drop(done.send(Ok(Published { receivers: count, offset, epoch })));
            }
            Some(Live::Farewell(done) | Live::Leaving(_, Some(done))) => drop(done.send(Ok(()))),
            Some(Live::Service(key)) => {
                let provided = wanted.services.get_mut(&key);
                if let Some(done) = provided.and_then(|provided| provided.service.done.take()) {
                    drop(done.send(Ok(())));
                }
            }
            Some(Live::Auth) => {
                let ttl = Duration::from_millis(success.token_ttl_ms.into());
                self.renewal = self.renewal.and_then(|last| renewal(ttl, last));
            }
            Some(
                Live::Call(_) | Live::Leaving(_, None) | Live::Topic(_) | Live::Seat(_) | Live::Place(_),
            )
            | None => {}
        }
    }

    fn handle_error(&mut self, id: u64, error: Error, wanted: &mut Wanted) {
        if id == 0 {
            self.events.push_back(Event::Error(error.clone()));
            self.complaint = Some(error);
            return;
        }
        match self.live.remove(&id) {
            Some(Live::Call(calling)) => self.fail_call(*calling, error),
            Some(Live::Publish(done)) => drop(done.send(Err(error))),
            Some(Live::Farewell(done) | Live::Leaving(_, Some(done))) => drop(done.send(Err(error))),
            Some(Live::Service(key)) => self.handle_unregistered(key, error, wanted),
            Some(Live::Topic(key)) => self.handle_unsubscribed(key, error, wanted),
            Some(Live::Seat(key)) => self.handle_unseated(key, &error, wanted),
            Some(Live::Place(key)) => self.handle_not_entered(id, key, &error, wanted),
            Some(Live::Auth) => self.events.push_back(Event::Error(error)),
            Some(Live::Leaving(_, None)) | None => {}
        }
    }

    /// When [`Session::handle_timeout`] is due.
    pub(crate) fn poll_timeout(&self) -> Instant {
        self.liveness.poll_timeout()
    }

    /// Nothing has been read for some time, on purpose: the hub is told that somebody is there.
    pub(crate) fn handle_deaf(&mut self, now: Instant) {
        self.liveness.heard(now);
        self.outbox.ping();
    }

    /// Silence has lasted for some time. An error ends the connection.
    pub(crate) fn handle_timeout(&mut self, now: Instant) -> Result<(), Error> {
        match self.liveness.handle_timeout(now) {
            Silence::Bearable => {}
            Silence::Ask => self.outbox.ping(),
            Silence::Dead => return Err(Error::lost("the hub has been silent for too long")),
        }
        Ok(())
    }

    /// When the token has to be renewed, if it has.
    pub(crate) fn renewal(&self) -> Option<Instant> {
        self.renewal
    }

    /// A fresh token for the session.
    pub(crate) fn renew(&mut self, now: Instant, token: &str) {
        // Asked again soon, unless the hub's answer says otherwise.
        self.renewal = Some(now + RENEW_BEFORE);
        let id = self.next_id();
        self.live.insert(id, Live::Auth);
        self.outbox.push(id, Flags::NONE, &Body::Auth(Auth { scheme: "bearer", token }));
    }

    /// No fresh token could be had; asked again soon.
    pub(crate) fn postpone_renewal(&mut self, now: Instant) {
        self.renewal = Some(now + RENEW_BEFORE / 2);
    }

    /// The connection has ended: everything that was under way gets its outcome. What may be sent again goes to the
    /// backlog.
    pub(crate) fn handle_lost(mut self, error: &Error, wanted: &mut Wanted) {
        for (_, live) in std::mem::take(&mut self.live) {
            match live {
                Live::Call(calling) => calling.lose(error, wanted),
                Live::Publish(done) => drop(done.send(Err(error.clone()))),
                Live::Farewell(done) | Live::Leaving(_, Some(done)) => drop(done.send(Err(error.clone()))),
                Live::Seat(key) => interrupt(key, wanted),
                Live::Place(key) => interrupt_room(key, wanted),
                Live::Topic(key) => self.forget_topic(key, wanted),
                Live::Leaving(_, None) | Live::Service(_) | Live::Auth => {}
            }
        }
        for waiting in std::mem::take(&mut self.written) {
            waiting.fail(error);
        }
        for serving in self.served.into_values() {
            serving.cancel();
        }
    }

    /// Nothing is under way any more that somebody waits for.
    pub(crate) fn is_quiet(&self) -> bool {
        self.served.is_empty()
            && !self.live.values().any(|live| matches!(live, Live::Call(_) | Live::Publish(_)))
    }

    /// Tells the hub that no more calls are taken.
    pub(crate) fn drain(&mut self) {
        self.outbox.push(0, Flags::NONE, &Body::Drain(whub_proto::Drain::default()));
    }

    pub(crate) fn serial(&self) -> u64 {
        self.serial
    }

    pub(crate) fn knows(&self, key: Key) -> bool {
        self.ids.contains_key(&key)
    }

    pub(crate) fn poll_job(&mut self) -> Option<Job> {
        self.jobs.pop_front()
    }

    pub(crate) fn poll_event(&mut self) -> Option<Event> {
        self.events.pop_front()
    }

    /// The hub's request to go elsewhere, once.
    pub(crate) fn take_farewell(&mut self) -> Option<Farewell> {
        self.farewell.take()
    }

    /// Why the connection ended, where the hub said so in its last frame.
    pub(crate) fn complaint(&self) -> Option<Error> {
        self.complaint.clone()
    }

    fn next_id(&mut self) -> u64 {
        self.last_id += if self.last_id == 0 { 1 } else { 2 };
        self.last_id
    }

    fn refuse(&mut self, id: u64, code: Code, reason: &str) {
        let failure =
            whub_proto::Failure { code, reason, slug: code.slug(), ..whub_proto::Failure::default() };
        self.outbox.push(id, Flags::NONE, &Body::Error(failure));
    }
}

impl Flushed {
    pub(crate) fn succeed(self) {
        match self {
            Self::Publish(done) => drop(done.send(Ok(Published::default()))),
            Self::Say(done) => drop(done.send(Ok(()))),
        }
    }

    pub(crate) fn fail(self, error: &Error) {
        match self {
            Self::Publish(done) => drop(done.send(Err(error.clone()))),
            Self::Say(done) => drop(done.send(Err(error.clone()))),
        }
    }
}

/// So long before a token runs out it is renewed.
const RENEW_BEFORE: Duration = Duration::from_secs(10);

fn renewal(ttl: Duration, now: Instant) -> Option<Instant> {
    // Of a very short token half its time is left.
    (!ttl.is_zero()).then(|| now + ttl.saturating_sub(RENEW_BEFORE).max(ttl / 2))
}

fn unexpected(kind: Kind) -> Error {
    Error::protocol(format!("the hub sent {kind}, which only a client may"))
}
