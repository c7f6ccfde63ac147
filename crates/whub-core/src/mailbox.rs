//! The only thing that others hold of a session.
//!
//! A mailbox takes two kinds of things. A *letter* needs the session's thought: an incoming call, an answer, a
//! partner who left. A *parcel* does not: its bytes go straight to the peer's socket, from the sender's thread.
//! Letters and parcels of one sender never overtake each other as far as the peer can tell, because a sender posts
//! the letter before the parcel that makes it visible, and a session reads its letters before its socket.

use std::fmt;
use std::sync::Arc;
use std::task::Waker;

use crate::letter::Letter;

/// Names a session within a node; never 0.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct SessionId(pub u64);

/// How the bytes of a peer are framed, so that a sender can frame for it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Framing {
    /// Whole frames, each in a binary WebSocket message (`whub.v1`).
    Binary,
    /// Frames translated to text WebSocket messages (`whub.v1.json`).
    Json,
    /// Frames behind a little-endian `u32` length (TCP, TLS, Unix socket).
    Stream,
    /// No frames at all: plain WebSocket messages (`/pair/<id>`).
    Plain,
    /// Events and messages of a room as plain WebSocket messages (`/room/<name>`).
    Room,
    /// The session frames for itself (compression contexts, server-sent events): hand it packets one by one.
    Private,
}

/// Bytes for a peer.
#[derive(Debug, Clone, Copy)]
pub enum Parcel<'a> {
    /// One message of a pair: `seat` is the receiver's own id for the pair, 0 on plain sockets.
    Data {
        /// The receiver's id of the pair.
        seat: u64,
        /// Valid UTF-8, and a text message on a plain socket.
        text: bool,
        /// Nothing follows from the sender; with an empty payload there is no message. Plain sockets are told nothing.
        end: bool,
        /// The message.
        payload: &'a [u8],
    },
    /// A frame of the hub's own, such as a `RoomEvent`.
    Packet {
        /// The receiver's id for it.
        id: u64,
        /// The frame.
        packet: &'a crate::Packet,
    },
    /// What a member of a room has to learn, a `RoomEvent`. Taken over the budget too; a receiver that is over it by far is
    /// closed with `SlowConsumer`.
    News {
        /// The receiver's id of the room.
        id: u64,
        /// The frame.
        packet: &'a crate::Packet,
    },
    /// Several messages, framed already as [`Post::framing`] says.
    Framed {
        /// Contiguous bytes.
        bytes: &'a [u8],
        /// How many messages they hold, for the counters.
        messages: u32,
    },
}

/// What became of a parcel.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Sent {
    /// Accepted, and there is room for more.
    Room,
    /// Accepted, but the mailbox is over its budget: wait for [`Post::poll_room`] before sending more.
    Wait,
    /// The session has ended; the parcel is lost.
    Gone,
}

/// What became of published messages at one subscriber.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Fate {
    /// The socket took them.
    Delivered,
    /// They wait in the mailbox, which counts them later.
    Queued,
    /// The mailbox is full; of the channel only the latest message is kept, in place of those that waited before.
    Conflated {
        /// How many messages were dropped for it, of these and of earlier ones.
        dropped: u32,
    },
    /// Dropped: the mailbox is full.
    DroppedSlow,
    /// Dropped: the session has ended.
    DroppedGone,
}

/// Why a letter came back.
#[derive(Debug)]
pub enum Undelivered {
    /// The mailbox is over its budget. Only calls are refused for this.
    Full(Letter),
    /// The session has ended.
    Gone(Letter),
}

/// What the driver of a connection implements; a `Vec` in tests. Who says no more than where letters go takes nothing
/// else: a caller or a provider that is no connection.
pub trait Post: Send + Sync {
    /// The session behind it.
    fn session(&self) -> SessionId;

    /// How its peer wants bytes.
    fn framing(&self) -> Framing {
        Framing::Private
    }

    /// Hands over a letter.
    ///
    /// # Errors
    /// The letter comes back when the session has ended, or, for a call, when the mailbox is full.
    fn post(&self, letter: Letter) -> Result<(), Undelivered>;

    /// Sends bytes to the peer. Accepted even over budget; the sender then waits.
    fn send(&self, _parcel: Parcel<'_>) -> Sent {
        Sent::Gone
    }

    /// Called by the session itself before it becomes visible to others: until the driver has sent what the session
    /// put out, parcels of others wait behind it.
    fn hold(&self) {}

    /// True when there is room; otherwise `waker` is woken once there is, or once the session has ended. Letters of calls
    /// are bounded by their credit.
    fn poll_room(&self, _waker: &Waker) -> bool {
        true
    }

    /// A call of this session is in the hands of a provider: the hub's name for that client, or the pattern of a service of
    /// the node's own process. For those who watch; sessions need not know.
    fn served_by(&self, _provider: &str) {}

    /// The session is in that room no more: what its peer missed there is of no interest any more.
    fn forget_room(&self, _seat: u64) {}

    /// Delivers published messages, unless the mailbox is over its budget: then they are dropped, and the subscriber
    /// learns how many.
    fn publish(&self, _publication: &dyn Publication) -> Fate {
        Fate::DroppedGone
    }
}

/// Messages on their way to many subscribers: each framing is made once, at the first subscriber that wants it.
pub trait Publication {
    /// The messages' bytes in a framing other than [`Framing::Private`] and [`Framing::Plain`]; [`Framing::Room`] is for rooms alone.
    fn framed(&self, framing: Framing) -> bytes::Bytes;
    /// The messages one by one. A message of a room may be in several pieces.
    fn packets(&self) -> &[crate::Packet];
    /// The channel that all of them were published on, or the room.
    fn channel(&self) -> &str;
    /// How many messages they are.
    fn count(&self) -> u32 {
        u32::try_from(self.packets().len()).unwrap_or(u32::MAX)
    }
    /// Whether they are a room's; then `channel` is the room, and what a slow receiver misses is told by `Missed`.
    fn is_room(&self) -> bool {
        false
    }
    /// The receiver's id of the room; 0 for messages of channels, and on a plain WebSocket.
    fn seat(&self) -> u64 {
        0
    }
}

/// A handle on a session: cheap to clone, equal when it is the same session.
#[derive(Clone)]
pub struct Mailbox {
    // Asked for with every message, so they do not take the way through the trait.
    session: SessionId,
    framing: Framing,
    post: Arc<dyn Post>,
}

impl Mailbox {
    /// Wraps a driver's mailbox.
    pub fn new(post: Arc<dyn Post>) -> Self {
        Self { session: post.session(), framing: post.framing(), post }
    }

    /// The session behind it.
    #[must_use]
    pub fn session(&self) -> SessionId {
        self.session
    }

    /// How its peer wants bytes.
    #[must_use]
    pub fn framing(&self) -> Framing {
        self.framing
    }
}

impl std::ops::Deref for Mailbox {
    type Target = dyn Post;

    fn deref(&self) -> &Self::Target {
        &*self.post
    }
}

impl PartialEq for Mailbox {
    fn eq(&self, other: &Self) -> bool {
        self.session() == other.session()
    }
}

impl fmt::Debug for Mailbox {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Mailbox({})", self.session().0)
    }
}
