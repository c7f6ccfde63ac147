//! What handles ask of the connection.

use std::sync::Arc;
use std::time::{Duration, Instant};

use bytes::Bytes;
use tokio::sync::{mpsc, oneshot};
use whub_proto::names::{Filter, PairId, Pattern};
use whub_proto::{Format, RoomAct};

use crate::body::Piece;
use crate::credit::Credit;
use crate::error::Error;
use crate::headers::Headers;
use crate::keep::Keep;
use crate::key::Key;
use crate::message::Message;
use crate::pair::{PairEvent, PairPartner, ThirdArrival};
use crate::progress::Watcher;
use crate::publish::Published;
use crate::queue::Queue;
use crate::room::{RoomFlow, RoomMessage, RoomState};
use crate::serve::{Handler, Offer, ServiceError};
use crate::subscribe::Flow;

/// Whoever asked waits here for the outcome; gone if it was dropped.
pub(crate) type Done<T = ()> = oneshot::Sender<Result<T, Error>>;

/// Asks for something; waits while much is under way.
pub(crate) enum Command {
    Call(Box<Order>),
    Publish(Box<Publication>),
    Subscribe(Box<Subscriber>),
    Unsubscribe {
        key: Key,
        done: Done,
    },
    Provide(Box<Service>),
    Unprovide {
        key: Key,
        /// How long calls that were begun may take; 0: as long as they are allowed.
        grace_ms: u32,
        done: Done,
    },
    Join(Box<Seat>),
    Leave {
        key: Key,
        done: Done,
    },
    /// The body of a call or of an answer goes on.
    Data {
        key: Key,
        payload: Bytes,
        ended: bool,
    },
    /// News of a call that this client serves, before its answer.
    Progress {
        key: Key,
        news: Box<Answer>,
    },
    /// The body of an answer ends with trailers.
    Trailers {
        key: Key,
        trailers: Headers,
    },
    /// The answer to a call that this client serves.
    Answer {
        key: Key,
        answer: Result<Box<Answer>, ServiceError>,
    },
    /// A word on a WebSocket to a service.
    Speak {
        key: Key,
        word: Word,
    },
    /// A message of a pair.
    Say {
        key: Key,
        message: Option<Utterance>,
        ended: bool,
        done: Done,
    },
    Enter(Box<Place>),
    LeaveRoom {
        key: Key,
        done: Done,
    },
    /// A message of a room, to all or to some.
    Tell {
        key: Key,
        to: Vec<u32>,
        message: Utterance,
        done: Done,
    },
    /// Something is to be done in a room.
    Govern {
        key: Key,
        wish: Box<RoomWish>,
        done: Done,
    },
    Drain {
        within: Duration,
        done: Done,
    },
    Close {
        done: Done,
    },
}

/// Lets go of something. Never waits, so that `Drop` can say it; there are at most as many as there were handles.
#[derive(Debug)]
pub(crate) enum Release {
    /// Nobody waits for this call any more.
    Call(Key),
    /// So many bytes of a body were taken.
    Credit(Key, u32),
    Subscription(Key),
    Service(Key),
    Seat(Key),
    Place(Key),
    /// A handler ended without an answer: it panicked, or took too long after it was cancelled.
    Unanswered(Key),
    /// A queue that was full has room.
    Room,
}

/// A call to be made.
pub(crate) struct Order {
    pub(crate) key: Key,
    pub(crate) path: String,
    pub(crate) query: String,
    pub(crate) method: String,
    pub(crate) headers: Headers,
    pub(crate) format: Format,
    pub(crate) text: bool,
    pub(crate) idempotency: String,
    pub(crate) affinity: String,
    /// The body, or its beginning.
    pub(crate) payload: Bytes,
    /// Whether that was all of it.
    pub(crate) ended: bool,
    /// It asks for a WebSocket.
    pub(crate) socket: bool,
    pub(crate) deadline: Instant,
    /// Taken by the head of the response, or the error instead of one.
    pub(crate) head: Option<oneshot::Sender<Result<ResponseHead, Error>>>,
    /// Bounded by the credit that the session counts.
    pub(crate) pieces: mpsc::UnboundedSender<Piece>,
    pub(crate) upload: Arc<Credit>,
    pub(crate) progress: Watcher,
}

/// A response without its body.
#[derive(Debug)]
pub(crate) struct ResponseHead {
    pub(crate) status: u16,
    pub(crate) format: Format,
    pub(crate) headers: Headers,
    /// How often the call was moved to another provider.
    pub(crate) moved: u8,
}

impl Order {
    /// Nobody waits for the answer any more.
    pub(crate) fn is_abandoned(&self) -> bool {
        self.head.as_ref().is_none_or(oneshot::Sender::is_closed)
    }

    /// The one outcome, if there was none yet.
    pub(crate) fn fail(&mut self, error: Error) {
        self.upload.close();
        match self.head.take() {
            Some(head) => drop(head.send(Err(error))),
            None => drop(self.pieces.send(Piece::Failed(error))),
        }
    }
}

/// A message to be published.
pub(crate) struct Publication {
    pub(crate) channel: String,
    pub(crate) format: Format,
    pub(crate) text: bool,
    pub(crate) headers: Headers,
    pub(crate) msg_id: String,
    pub(crate) affinity: String,
    pub(crate) ttl_ms: u32,
    pub(crate) payload: Bytes,
    pub(crate) ack: bool,
    pub(crate) done: Done<Published>,
}

/// A subscription that is wanted.
pub(crate) struct Subscriber {
    pub(crate) key: Key,
    pub(crate) filter: Filter,
    pub(crate) group: String,
    pub(crate) last: u32,
    pub(crate) recover: bool,
    pub(crate) no_echo: bool,
    pub(crate) flow: Arc<Flow>,
    /// Gone once the subscription stood for the first time.
    pub(crate) done: Option<Done<bool>>,
}

impl Subscriber {
    pub(crate) fn deliver(&self, message: &Message) {
        self.flow.deliver(message);
    }
}

/// A service that is provided.
pub(crate) struct Service {
    pub(crate) key: Key,
    pub(crate) pattern: Pattern,
    pub(crate) offer: Offer,
    pub(crate) inflight_max: u32,
    pub(crate) handler: Handler,
    pub(crate) done: Option<Done>,
}

/// The seat of a pair that is wanted.
pub(crate) struct Seat {
    pub(crate) key: Key,
    pub(crate) pair: PairId,
    pub(crate) terms: Terms,
    /// What makes it outlive its connection, if that was asked for.
    pub(crate) keep: Option<Keep>,
    pub(crate) partner: Arc<std::sync::Mutex<Option<PairPartner>>>,
    /// `done` waits for the partner, not only for the seat.
    pub(crate) wait: bool,
    pub(crate) events: Arc<Queue<PairEvent>>,
    pub(crate) together: Arc<std::sync::atomic::AtomicBool>,
    /// The connection that has the seat.
    pub(crate) taken_on: Option<u64>,
    /// This side has said its last.
    pub(crate) ended: bool,
    /// The beginning of a message whose end has not come.
    pub(crate) partial: Vec<u8>,
    pub(crate) done: Option<Done>,
}

/// The place in a room that is wanted.
pub(crate) struct Place {
    pub(crate) key: Key,
    pub(crate) room: PairId,
    pub(crate) secret: String,
    pub(crate) info: String,
    pub(crate) capacity: u16,
    pub(crate) flow: Arc<RoomFlow>,
    /// The connection that is in the room.
    pub(crate) taken_on: Option<u64>,
    /// The room's state, until all of it has come.
    pub(crate) state: Option<RoomState>,
    /// The beginning of a message whose end has not come.
    pub(crate) partial: Option<PartialMessage>,
    pub(crate) done: Option<Done>,
}

/// A message of a room that comes in pieces; the first one says whose it is.
pub(crate) struct PartialMessage {
    pub(crate) message: RoomMessage,
    pub(crate) payload: Vec<u8>,
}

/// What a member wants done.
pub(crate) struct RoomWish {
    pub(crate) act: RoomAct,
    pub(crate) members: Vec<u32>,
    pub(crate) info: String,
    pub(crate) reason: String,
}

/// What a seat is taken with.
#[derive(Clone, Debug, Default)]
pub(crate) struct Terms {
    pub(crate) secret: String,
    pub(crate) info: String,
    pub(crate) third: ThirdArrival,
    pub(crate) once: bool,
    pub(crate) grace: Duration,
    pub(crate) ttl: Duration,
}

/// What one side of a WebSocket says.
#[derive(Debug)]
pub(crate) enum Word {
    /// A message, or a part of one.
    Part { payload: Bytes, text: bool, more: bool },
    /// The last word.
    Close { code: u16, reason: String },
}

/// A message of a pair.
#[derive(Clone)]
pub(crate) struct Utterance {
    pub(crate) payload: Bytes,
    pub(crate) text: bool,
}

/// The head of an answer and the beginning of its body.
pub(crate) struct Answer {
    pub(crate) status: u16,
    pub(crate) format: Format,
    pub(crate) text: bool,
    pub(crate) headers: Headers,
    pub(crate) payload: Bytes,
    pub(crate) ended: bool,
}
