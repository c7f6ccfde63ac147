//! Pairs: two peers that know the same id and reach each other through the hub.

use std::future::IntoFuture;
use std::sync::atomic::{AtomicBool, Ordering::Relaxed};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use bytes::Bytes;
use tokio::sync::oneshot;
use whub_proto::names::PairId;

use crate::client::{BoxFuture, Client};
use crate::command::{Command, Release, Seat, Terms, Utterance};
use crate::error::Error;
use crate::keep::Keep;
use crate::key::Key;
use crate::queue::Queue;

/// Bytes of received messages that wait in a pair before the client stops reading its connection: 1 MiB.
pub(crate) const QUEUE_BYTES_MAX: usize = 1 << 20;
/// Longest message, either way: 16 MiB. Messages above the connection's frame limit travel in several frames.
pub(crate) const MESSAGE_BYTES_MAX: usize = 16 << 20;

/// A seat about to be taken: set what it needs, then await it.
#[derive(Debug)]
#[must_use = "no seat is taken before it is awaited"]
pub struct Join {
    client: Client,
    id: String,
    terms: Terms,
    wait_partner: bool,
    timeout: Option<Duration>,
}

impl Join {
    pub(crate) fn new(client: Client, id: String) -> Self {
        Self { client, id, terms: Terms::default(), wait_partner: true, timeout: None }
    }

    /// The password that both halves must know: whoever comes first sets it.
    pub fn secret(mut self, secret: impl Into<String>) -> Self {
        self.terms.secret = secret.into();
        self
    }

    /// JSON that the partner is shown, of at most 4 KiB.
    pub fn info(mut self, info: impl Into<String>) -> Self {
        self.terms.info = info.into();
        self
    }

    /// What somebody meets who comes while two are there; whoever comes first says so. Default: to wait for the next.
    pub fn third(mut self, third: ThirdArrival) -> Self {
        self.terms.third = third;
        self
    }

    /// The id is spent once two have met; whoever comes first says so.
    pub fn once(mut self, once: bool) -> Self {
        self.terms.once = once;
        self
    }

    /// How long the seat is kept when the connection is lost. It is taken again by itself, with nothing lost and nothing
    /// twice; the hub may allow less. Default: not at all.
    pub fn grace(mut self, grace: Duration) -> Self {
        self.terms.grace = grace;
        self
    }

    /// How long the seat waits for its first partner before the hub ends it. Default: as long as that takes.
    pub fn ttl(mut self, ttl: Duration) -> Self {
        self.terms.ttl = ttl;
        self
    }

    /// Whether to wait for the partner (the default), or only for the seat; [`PairEvent::Ready`] then tells of the
    /// partner.
    pub fn wait_partner(mut self, wait: bool) -> Self {
        self.wait_partner = wait;
        self
    }

    /// How long to wait. Default: as long as the partner takes, or that of the client without waiting for it.
    pub fn timeout(mut self, timeout: Duration) -> Self {
        self.timeout = Some(timeout);
        self
    }

    async fn send(self) -> Result<Pair, Error> {
        let pair = PairId::parse(&self.id)?;
        let key = self.client.next_key();
        let inner = Arc::new(Inner {
            key,
            client: self.client.clone(),
            events: Arc::new(Queue::default()),
            together: Arc::new(AtomicBool::new(false)),
            partner: Arc::default(),
        });
        let keep = Some(self.terms.grace).filter(|grace| !grace.is_zero()).map(Keep::new);
        let (done, outcome) = oneshot::channel();
        let seat = Seat {
            key,
            pair,
            terms: self.terms,
            keep,
            partner: Arc::clone(&inner.partner),
            wait: self.wait_partner,
            events: Arc::clone(&inner.events),
            together: Arc::clone(&inner.together),
            taken_on: None,
            ended: false,
            partial: Vec::new(),
            done: Some(done),
        };
        let command = Command::Join(Box::new(seat));
        let patience = if self.wait_partner { None } else { Some(self.client.timeout()) };
        match self.timeout.or(patience) {
            Some(timeout) => self.client.ask(timeout, command, outcome).await?,
            None => self.client.ask_patiently(command, outcome).await?,
        }
        Ok(Pair { sender: PairSender(Arc::clone(&inner)), receiver: PairReceiver(inner) })
    }
}

impl IntoFuture for Join {
    type Output = Result<Pair, Error>;
    type IntoFuture = BoxFuture<Self::Output>;

    fn into_future(self) -> Self::IntoFuture {
        Box::pin(self.send())
    }
}

/// What happens in a pair.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub enum PairEvent {
    /// The partner said something.
    Message(PairMessage),
    /// Nobody is there yet, or any more; messages cannot be sent.
    Waiting,
    /// The partner is there.
    Ready {
        /// This side waited and may begin.
        initiator: bool,
        /// Who it is.
        partner: PairPartner,
    },
    /// The partner's connection was lost. Its seat is kept for a while; what is sent meanwhile waits for it.
    Away,
    /// The partner is connected again.
    Back,
    /// Messages for this side are lost, because more came than could be kept while there was no connection.
    Missed {
        /// How many messages and events.
        count: u32,
    },
    /// The partner has said its last, and can still be sent to.
    Finished,
    /// The partner left.
    Left {
        /// What the hub says about it; often empty.
        reason: String,
    },
    /// The connection to the hub was lost, for longer than the seat was kept; it is taken anew when the connection is
    /// back. What was on its way is gone.
    Interrupted,
}

/// What a partner shows of itself.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct PairPartner {
    /// 1 for the one who waited, 2 for the one who came.
    pub member: u32,
    /// The hub's name for the client; empty for plain WebSockets and requests.
    pub client: String,
    /// Who it was authenticated as; empty for nobody.
    pub user: String,
    /// JSON of its own choice; empty for none.
    pub info: String,
}

/// What somebody meets who comes while two are there.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum ThirdArrival {
    /// It waits, and is paired with the next or with whoever is left alone.
    #[default]
    Next,
    /// It is refused.
    Reject,
    /// It takes the place of the one that came second.
    Replace,
}

/// A message of a pair.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PairMessage {
    bytes: Bytes,
    is_text: bool,
}

impl PairMessage {
    pub(crate) fn new(bytes: Bytes, is_text: bool) -> Self {
        Self { bytes, is_text }
    }

    /// Its bytes.
    #[must_use]
    pub fn bytes(&self) -> &Bytes {
        &self.bytes
    }

    /// Its bytes.
    #[must_use]
    pub fn into_bytes(self) -> Bytes {
        self.bytes
    }

    /// Whether the partner sent it as text.
    #[must_use]
    pub fn is_text(&self) -> bool {
        self.is_text
    }

    /// Its text.
    ///
    /// # Errors
    /// When it is not UTF-8.
    pub fn text(&self) -> Result<&str, Error> {
        std::str::from_utf8(&self.bytes)
            .map_err(|error| Error::invalid("the message is not UTF-8").with_source(error))
    }
}

/// One half of a pair. Dropping it, or the last part of it after [`Pair::split`], leaves the seat.
#[derive(Debug)]
pub struct Pair {
    sender: PairSender,
    receiver: PairReceiver,
}

impl Pair {
    /// What happens next; `None` when the seat is lost for good ([`Pair::error`] says why).
    pub async fn next(&mut self) -> Option<PairEvent> {
        self.receiver.next().await
    }

    /// As [`PairSender::send`].
    ///
    /// # Errors
    /// As there.
    pub async fn send(&self, text: impl Into<String>) -> Result<(), Error> {
        self.sender.send(text).await
    }

    /// As [`PairSender::send_bytes`].
    ///
    /// # Errors
    /// As there.
    pub async fn send_bytes(&self, bytes: impl Into<Bytes>) -> Result<(), Error> {
        self.sender.send_bytes(bytes).await
    }

    /// As [`PairSender::finish`].
    ///
    /// # Errors
    /// As there.
    pub async fn finish(&self) -> Result<(), Error> {
        self.sender.finish().await
    }

    /// Whether the partner is there now.
    #[must_use]
    pub fn is_together(&self) -> bool {
        self.sender.0.together.load(Relaxed)
    }

    /// Whom the seat is together with, or was last.
    #[must_use]
    pub fn partner(&self) -> Option<PairPartner> {
        self.sender.0.partner.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// Why the seat was lost, if by an error.
    #[must_use]
    pub fn error(&self) -> Option<Error> {
        self.receiver.error()
    }

    /// Leaves the seat and waits until the hub has agreed.
    ///
    /// # Errors
    /// When the connection is lost meanwhile; the seat is left all the same.
    pub async fn leave(self) -> Result<(), Error> {
        let (done, outcome) = oneshot::channel();
        let inner = &self.sender.0;
        let command = Command::Leave { key: inner.key, done };
        inner.client.ask(inner.client.timeout(), command, outcome).await
    }

    /// Separates sending from receiving, for two tasks.
    #[must_use]
    pub fn split(self) -> (PairSender, PairReceiver) {
        (self.sender, self.receiver)
    }
}

/// The half of a seat that sends. Cheap to clone.
#[derive(Clone, Debug)]
pub struct PairSender(Arc<Inner>);

impl PairSender {
    /// Sends a text message of at most 16 MiB; done when it was written to the connection. With a seat that is kept
    /// ([`Join::grace`]): when less than 1 MiB is not known to have reached the hub.
    ///
    /// # Errors
    /// [`ErrorKind::Unavailable`](crate::ErrorKind::Unavailable) while nobody is there.
    pub async fn send(&self, text: impl Into<String>) -> Result<(), Error> {
        self.say(Some(Utterance { payload: text.into().into(), text: true }), false).await
    }

    /// Sends a binary message of at most 16 MiB; done when it was written to the connection.
    ///
    /// # Errors
    /// As [`PairSender::send`].
    pub async fn send_bytes(&self, bytes: impl Into<Bytes>) -> Result<(), Error> {
        self.say(Some(Utterance { payload: bytes.into(), text: false }), false).await
    }

    /// Says that nothing follows; the partner can still send. A partner that comes later is told too. With a seat that is
    /// kept ([`Join::grace`]) it is done when the hub has everything.
    ///
    /// # Errors
    /// When the connection is lost.
    pub async fn finish(&self) -> Result<(), Error> {
        self.say(None, true).await
    }

    async fn say(&self, message: Option<Utterance>, ended: bool) -> Result<(), Error> {
        if let Some(message) = &message {
            if message.payload.len() > MESSAGE_BYTES_MAX {
                return Err(Error::too_large(format!(
                    "a message of a pair has at most {MESSAGE_BYTES_MAX} bytes"
                )));
            }
            if !self.0.together.load(Relaxed) {
                let reason = "nobody is at the other side of the pair; wait for the event Ready";
                return Err(Error::unavailable(reason, Duration::from_secs(1)));
            }
        }
        let (done, outcome) = oneshot::channel();
        let command = Command::Say { key: self.0.key, message, ended, done };
        self.0.client.ask_patiently(command, outcome).await
    }
}

/// The half of a seat that receives.
#[derive(Debug)]
pub struct PairReceiver(Arc<Inner>);

impl PairReceiver {
    /// What happens next; `None` when the seat is lost for good ([`PairReceiver::error`] says why).
    ///
    /// Take what comes: once 1 MiB waits here the client stops reading its connection, so that the partner is held
    /// back, and a hub that cannot be heard for twice its ping interval ends the connection.
    pub async fn next(&mut self) -> Option<PairEvent> {
        let event = self.0.events.pop().await;
        let taken = match &event {
            Some(PairEvent::Message(message)) => message.bytes.len(),
            Some(_) | None => 0,
        };
        let left = self.0.events.load().1;
        // The keeper stopped reading if this was what filled the queue.
        if left < QUEUE_BYTES_MAX && left + taken >= QUEUE_BYTES_MAX {
            self.0.client.release(Release::Room);
        }
        event
    }

    /// Why the seat was lost, if by an error.
    #[must_use]
    pub fn error(&self) -> Option<Error> {
        self.0.events.error()
    }
}

#[derive(Debug)]
struct Inner {
    key: Key,
    client: Client,
    events: Arc<Queue<PairEvent>>,
    together: Arc<AtomicBool>,
    partner: Arc<Mutex<Option<PairPartner>>>,
}

impl Drop for Inner {
    fn drop(&mut self) {
        self.client.release(Release::Seat(self.key));
    }
}
