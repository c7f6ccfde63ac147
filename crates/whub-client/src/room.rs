//! Rooms: many members who know the same name and speak to all of them, or to some.

use std::future::IntoFuture;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use tokio::sync::oneshot;
use whub_proto::RoomAct;
use whub_proto::names::PairId;

use crate::client::{BoxFuture, Client};
use crate::command::{Command, Place, Release, RoomWish, Utterance};
use crate::error::Error;
use crate::headers::Headers;
use crate::key::Key;
use crate::pair::MESSAGE_BYTES_MAX;

mod flow;

pub(crate) use flow::RoomFlow;

/// A room about to be entered: set what it needs, then await it.
#[derive(Debug)]
#[must_use = "no room is entered before it is awaited"]
pub struct EnterRoom {
    client: Client,
    name: String,
    secret: String,
    info: String,
    capacity: u16,
    timeout: Duration,
}

impl EnterRoom {
    pub(crate) fn new(client: Client, name: String) -> Self {
        let timeout = client.timeout();
        Self { client, name, secret: String::new(), info: String::new(), capacity: 0, timeout }
    }

    /// What one has to know to get in. Whoever opens the room says what it is.
    pub fn secret(mut self, secret: impl Into<String>) -> Self {
        self.secret = secret.into();
        self
    }

    /// What the other members see of this one; JSON, where they are to understand it.
    pub fn info(mut self, info: impl Into<String>) -> Self {
        self.info = info.into();
        self
    }

    /// How many may be in the room, if this member opens it. Default: as many as the hub allows.
    pub fn capacity(mut self, members: u16) -> Self {
        self.capacity = members;
        self
    }

    /// How long to wait to be let in. Default: that of the client, 10 s.
    pub fn timeout(mut self, timeout: Duration) -> Self {
        self.timeout = timeout;
        self
    }

    async fn send(self) -> Result<Room, Error> {
        let room = PairId::parse(&self.name)?;
        let key = self.client.next_key();
        let flow = Arc::new(RoomFlow::default());
        // Made first: dropped half-way, it leaves again.
        let inner = Arc::new(Inner { key, client: self.client.clone(), flow: Arc::clone(&flow) });
        let (done, outcome) = oneshot::channel();
        let place = Place {
            key,
            room,
            secret: self.secret,
            info: self.info,
            capacity: self.capacity,
            flow,
            taken_on: None,
            state: None,
            partial: None,
            done: Some(done),
        };
        self.client.ask(self.timeout, Command::Enter(Box::new(place)), outcome).await?;
        Ok(Room { sender: RoomSender(Arc::clone(&inner)), receiver: RoomReceiver(inner) })
    }
}

impl IntoFuture for EnterRoom {
    type Output = Result<Room, Error>;
    type IntoFuture = BoxFuture<Self::Output>;

    fn into_future(self) -> Self::IntoFuture {
        Box::pin(self.send())
    }
}

/// What happens in a room.
#[derive(Clone, Debug, PartialEq)]
#[non_exhaustive]
pub enum RoomEvent {
    /// Who is there: the first event of all, and the first one after [`RoomEvent::Interrupted`].
    State(RoomState),
    /// Somebody came.
    Joined(RoomMember),
    /// Somebody left, or was sent away.
    Left {
        /// Its number.
        member: u32,
        /// What it, or whoever sent it away, said about it; often empty.
        reason: String,
    },
    /// Members show something else or may do something else, or the room itself has changed.
    Updated {
        /// The members, as they are now; empty where it is about the room alone.
        members: Vec<RoomMember>,
        /// How many may be in the room.
        capacity: u16,
        /// Nobody else is let in.
        locked: bool,
    },
    /// Somebody said something.
    Message(RoomMessage),
    /// So many messages are missing here, because they were not taken in time.
    Missed {
        /// How many.
        count: u64,
    },
    /// The connection to the hub was lost; the room is entered again when it is back, under another number. What was on
    /// its way is gone.
    Interrupted,
}

/// A room and who is in it.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct RoomState {
    /// This member's own number.
    pub me: u32,
    /// Everybody, this member included.
    pub members: Vec<RoomMember>,
    /// How many may be in the room.
    pub capacity: u16,
    /// Nobody else is let in.
    pub locked: bool,
}

/// A member of a room.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct RoomMember {
    /// Its number: nobody else in this room ever has it, and who came later has a higher one.
    pub number: u32,
    /// The client, as the hub names it.
    pub client: String,
    /// Whom its token names; empty for anonymous ones.
    pub user: String,
    /// What it shows to the others.
    pub info: String,
    /// What it may do.
    pub role: RoomRole,
}

/// What a member may do in its room.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
#[non_exhaustive]
pub enum RoomRole {
    /// Speak and listen.
    Member,
    /// Also send members away and lock the room.
    Moderator,
    /// Also name moderators and close the room.
    Owner,
}

/// A message of a room.
#[derive(Clone, Debug, PartialEq)]
pub struct RoomMessage {
    pub(crate) from: u32,
    pub(crate) client: String,
    pub(crate) user: String,
    pub(crate) time_ms: u64,
    pub(crate) to: Vec<u32>,
    pub(crate) headers: Headers,
    pub(crate) is_text: bool,
    pub(crate) payload: Bytes,
}

impl RoomMessage {
    /// The number of the member that sent it.
    #[must_use]
    pub fn from(&self) -> u32 {
        self.from
    }

    /// The client that sent it, as the hub names it.
    #[must_use]
    pub fn client(&self) -> &str {
        &self.client
    }

    /// Whom the sender's token names; empty for anonymous ones.
    #[must_use]
    pub fn user(&self) -> &str {
        &self.user
    }

    /// When the hub received it, Unix milliseconds.
    #[must_use]
    pub fn time_ms(&self) -> u64 {
        self.time_ms
    }

    /// The members that it is for; empty for all.
    #[must_use]
    pub fn to(&self) -> &[u32] {
        &self.to
    }

    /// The sender's header pairs. `content-type: application/json` marks what a plain WebSocket sent as `data`.
    #[must_use]
    pub fn headers(&self) -> &Headers {
        &self.headers
    }

    /// Whether it was sent as text.
    #[must_use]
    pub fn is_text(&self) -> bool {
        self.is_text
    }

    /// Its bytes.
    #[must_use]
    pub fn bytes(&self) -> &Bytes {
        &self.payload
    }

    /// Its text.
    ///
    /// # Errors
    /// When it is not UTF-8.
    pub fn text(&self) -> Result<&str, Error> {
        std::str::from_utf8(&self.payload)
            .map_err(|error| Error::invalid("the message is not UTF-8").with_source(error))
    }
}

/// A membership. Dropping it, or the last part of it after [`Room::split`], leaves the room.
#[derive(Debug)]
pub struct Room {
    sender: RoomSender,
    receiver: RoomReceiver,
}

impl Room {
    /// What happens next; `None` when the membership has ended for good ([`Room::error`] says why).
    pub async fn next(&mut self) -> Option<RoomEvent> {
        self.receiver.next().await
    }

    /// Why the membership has ended, if by an error: sent away and closed are [`Code::Gone`](crate::Code::Gone).
    #[must_use]
    pub fn error(&self) -> Option<Error> {
        self.receiver.error()
    }

    /// The half that sends, which may be cloned.
    #[must_use]
    pub fn sender(&self) -> &RoomSender {
        &self.sender
    }

    /// As [`RoomSender::send`].
    ///
    /// # Errors
    /// As there.
    pub async fn send(&self, text: impl Into<String>) -> Result<(), Error> {
        self.sender.send(text).await
    }

    /// As [`RoomSender::send_to`].
    ///
    /// # Errors
    /// As there.
    pub async fn send_to(&self, members: &[u32], text: impl Into<String>) -> Result<(), Error> {
        self.sender.send_to(members, text).await
    }

    /// Leaves the room and waits until the hub has agreed.
    ///
    /// # Errors
    /// When the connection is lost meanwhile; the room is left all the same.
    pub async fn leave(self) -> Result<(), Error> {
        let (done, outcome) = oneshot::channel();
        let inner = &self.sender.0;
        let command = Command::LeaveRoom { key: inner.key, done };
        inner.client.ask(inner.client.timeout(), command, outcome).await
    }

    /// Separates sending from receiving, for two tasks.
    #[must_use]
    pub fn split(self) -> (RoomSender, RoomReceiver) {
        (self.sender, self.receiver)
    }
}

/// The half of a membership that sends. Cheap to clone.
#[derive(Clone, Debug)]
pub struct RoomSender(Arc<Inner>);

impl RoomSender {
    /// Sends a text of at most 16 MiB to all others; done when it was written to the connection.
    ///
    /// # Errors
    /// When there is no connection at present.
    pub async fn send(&self, text: impl Into<String>) -> Result<(), Error> {
        self.say(Vec::new(), Utterance { payload: text.into().into(), text: true }).await
    }

    /// Sends a text to these members alone. Those who have left meanwhile are passed over.
    ///
    /// # Errors
    /// As [`RoomSender::send`].
    pub async fn send_to(&self, members: &[u32], text: impl Into<String>) -> Result<(), Error> {
        self.say(some(members)?, Utterance { payload: text.into().into(), text: true }).await
    }

    /// Sends bytes to all others.
    ///
    /// # Errors
    /// As [`RoomSender::send`].
    pub async fn send_bytes(&self, bytes: impl Into<Bytes>) -> Result<(), Error> {
        self.say(Vec::new(), Utterance { payload: bytes.into(), text: false }).await
    }

    /// Sends bytes to these members alone.
    ///
    /// # Errors
    /// As [`RoomSender::send`].
    pub async fn send_bytes_to(&self, members: &[u32], bytes: impl Into<Bytes>) -> Result<(), Error> {
        self.say(some(members)?, Utterance { payload: bytes.into(), text: false }).await
    }

    /// Shows the others something else, now and after a lost connection.
    ///
    /// # Errors
    /// When it is too long for the hub, or there is no connection.
    pub async fn update(&self, info: impl Into<String>) -> Result<(), Error> {
        self.wish(RoomAct::Update, &[], info.into(), String::new()).await
    }

    /// Sends members away; it takes a moderator.
    ///
    /// # Errors
    /// `Forbidden` without the right to, `NotFound` when one of them is not there; then nobody was sent away.
    pub async fn kick(&self, members: &[u32], reason: impl Into<String>) -> Result<(), Error> {
        self.wish(RoomAct::Kick, members, String::new(), reason.into()).await
    }

    /// Lets nobody else in; it takes a moderator.
    ///
    /// # Errors
    /// `Forbidden` without the right to.
    pub async fn lock(&self) -> Result<(), Error> {
        self.wish(RoomAct::Lock, &[], String::new(), String::new()).await
    }

    /// Lets others in again; it takes a moderator.
    ///
    /// # Errors
    /// `Forbidden` without the right to.
    pub async fn unlock(&self) -> Result<(), Error> {
        self.wish(RoomAct::Unlock, &[], String::new(), String::new()).await
    }

    /// Makes members moderators; it takes the owner.
    ///
    /// # Errors
    /// As [`RoomSender::kick`].
    pub async fn promote(&self, members: &[u32]) -> Result<(), Error> {
        self.wish(RoomAct::Promote, members, String::new(), String::new()).await
    }

    /// Makes moderators members; it takes the owner.
    ///
    /// # Errors
    /// As [`RoomSender::kick`].
    pub async fn demote(&self, members: &[u32]) -> Result<(), Error> {
        self.wish(RoomAct::Demote, members, String::new(), String::new()).await
    }

    /// Ends the room for all; it takes the owner.
    ///
    /// # Errors
    /// `Forbidden` without the right to.
    pub async fn close_room(&self, reason: impl Into<String>) -> Result<(), Error> {
        self.wish(RoomAct::Close, &[], String::new(), reason.into()).await
    }

    async fn say(&self, to: Vec<u32>, message: Utterance) -> Result<(), Error> {
        if message.payload.len() > MESSAGE_BYTES_MAX {
            return Err(Error::too_large(format!(
                "a message of a room has at most {MESSAGE_BYTES_MAX} bytes"
            )));
        }
        let (done, outcome) = oneshot::channel();
        let command = Command::Tell { key: self.0.key, to, message, done };
        self.0.client.ask_patiently(command, outcome).await
    }

    async fn wish(&self, act: RoomAct, members: &[u32], info: String, reason: String) -> Result<(), Error> {
        let (done, outcome) = oneshot::channel();
        let wish = Box::new(RoomWish { act, members: members.to_vec(), info, reason });
        let command = Command::Govern { key: self.0.key, wish, done };
        self.0.client.ask(self.0.client.timeout(), command, outcome).await
    }
}

/// An empty list means all on the wire, and is none here.
fn some(members: &[u32]) -> Result<Vec<u32>, Error> {
    if members.is_empty() {
        return Err(Error::invalid("name the members that the message is for, or send it to all"));
    }
    Ok(members.to_vec())
}

/// The half of a membership that receives.
#[derive(Debug)]
pub struct RoomReceiver(Arc<Inner>);

impl RoomReceiver {
    /// What happens next; `None` when the membership has ended for good ([`RoomReceiver::error`] says why).
    ///
    /// Take what comes: once 1 MiB waits here, further messages are dropped, and [`RoomEvent::Missed`] tells of them.
    pub async fn next(&mut self) -> Option<RoomEvent> {
        self.0.flow.pop().await
    }

    /// Why the membership has ended, if by an error.
    #[must_use]
    pub fn error(&self) -> Option<Error> {
        self.0.flow.error()
    }
}

#[derive(Debug)]
struct Inner {
    key: Key,
    client: Client,
    flow: Arc<RoomFlow>,
}

impl Drop for Inner {
    fn drop(&mut self) {
        self.client.release(Release::Place(self.key));
    }
}
