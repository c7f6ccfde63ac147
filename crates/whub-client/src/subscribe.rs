//! Subscriptions: the messages of a filter as a stream.

use std::future::IntoFuture;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering::Relaxed};
use std::task::{Context, Poll};
use std::time::Duration;

use futures_core::Stream;
use tokio::sync::{broadcast, oneshot};
use whub_proto::names::Filter;

use crate::client::{BoxFuture, Client};
use crate::command::{Command, Release, Subscriber};
use crate::error::Error;
use crate::event::Event;
use crate::key::Key;
use crate::message::Message;
use crate::queue::Queue;

/// Messages that wait in a subscription unless it is told otherwise.
const CAPACITY: usize = 1024;
/// Bytes that wait in a subscription at most; one message is always taken.
const QUEUE_BYTES_MAX: usize = 16 << 20;

/// What happens to messages that nobody takes in time.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Overflow {
    /// The oldest is dropped and counted ([`Subscription::lagged`], [`Event::Lagged`]).
    #[default]
    Oldest,
    /// The subscription ends with an error of code `SlowConsumer`.
    Error,
}

/// A subscription about to be made: set what it wants, then await it.
#[derive(Debug)]
#[must_use = "nothing is subscribed to before it is awaited"]
pub struct Subscribe {
    client: Client,
    filter: String,
    group: String,
    last: u32,
    recover: bool,
    no_echo: bool,
    overflow: Overflow,
    capacity: usize,
    timeout: Duration,
}

impl Subscribe {
    pub(crate) fn new(client: Client, filter: String) -> Self {
        let timeout = client.timeout();
        Self {
            client,
            filter,
            group: String::new(),
            last: 0,
            recover: false,
            no_echo: false,
            overflow: Overflow::default(),
            capacity: CAPACITY,
            timeout,
        }
    }

    /// Joins a queue group: each message goes to one of its members.
    pub fn group(mut self, group: impl Into<String>) -> Self {
        self.group = group.into();
        self
    }

    /// Begins with so many messages of the past, where the hub keeps history.
    pub fn last(mut self, count: u32) -> Self {
        self.last = count;
        self
    }

    /// After a lost connection, asks for what was missed, where the hub keeps history.
    pub fn recover(mut self) -> Self {
        self.recover = true;
        self
    }

    /// Leaves out what this client publishes itself.
    pub fn no_echo(mut self) -> Self {
        self.no_echo = true;
        self
    }

    /// What happens to messages that nobody takes in time. Default: [`Overflow::Oldest`].
    pub fn overflow(mut self, overflow: Overflow) -> Self {
        self.overflow = overflow;
        self
    }

    /// How many messages may wait. Default: 1,024; at least 1. Together they hold at most 16 MiB.
    pub fn capacity(mut self, messages: usize) -> Self {
        self.capacity = messages.max(1);
        self
    }

    /// How long to wait until the subscription stands. Default: that of the client, 10 s.
    pub fn timeout(mut self, timeout: Duration) -> Self {
        self.timeout = timeout;
        self
    }

    async fn send(self) -> Result<Subscription, Error> {
        let filter = Filter::parse(&self.filter)?;
        let key = self.client.next_key();
        let flow = Arc::new(Flow {
            filter: filter.as_str().to_owned(),
            queue: Queue::default(),
            lagged: AtomicU64::new(0),
            recovered: AtomicBool::new(false),
            capacity: self.capacity,
            overflow: self.overflow,
            events: self.client.event_sender(),
        });
        // Made first: dropped half-way, it takes the subscription back.
        let subscription = Subscription { key, client: self.client.clone(), flow: Arc::clone(&flow) };
        let (done, outcome) = oneshot::channel();
        let subscriber = Subscriber {
            key,
            filter,
            group: self.group,
            last: self.last,
            recover: self.recover,
            no_echo: self.no_echo,
            flow,
            done: Some(done),
        };
        let command = Command::Subscribe(Box::new(subscriber));
        let recovered = self.client.ask(self.timeout, command, outcome).await?;
        subscription.flow.recovered.store(recovered, Relaxed);
        Ok(subscription)
    }
}

impl IntoFuture for Subscribe {
    type Output = Result<Subscription, Error>;
    type IntoFuture = BoxFuture<Self::Output>;

    fn into_future(self) -> Self::IntoFuture {
        Box::pin(self.send())
    }
}

/// The messages of a filter, in the order of arrival. Dropping it unsubscribes.
#[derive(Debug)]
pub struct Subscription {
    key: Key,
    client: Client,
    flow: Arc<Flow>,
}

impl Subscription {
    /// The next message; `None` once the subscription has ended ([`Subscription::error`] says why).
    pub async fn next(&mut self) -> Option<Message> {
        self.flow.queue.pop().await
    }

    /// The filter.
    #[must_use]
    pub fn filter(&self) -> &str {
        &self.flow.filter
    }

    /// Messages that were dropped so far, by this queue or by the hub.
    #[must_use]
    pub fn lagged(&self) -> u64 {
        self.flow.lagged.load(Relaxed)
    }

    /// Whether the hub promised every message since the last one, when the subscription was last made.
    #[must_use]
    pub fn recovered(&self) -> bool {
        self.flow.recovered.load(Relaxed)
    }

    /// Why the subscription has ended, if by an error.
    #[must_use]
    pub fn error(&self) -> Option<Error> {
        self.flow.queue.error()
    }

    /// Ends the subscription and waits until the hub has agreed.
    ///
    /// # Errors
    /// When the connection is lost meanwhile; it is ended all the same.
    pub async fn unsubscribe(self) -> Result<(), Error> {
        let (done, outcome) = oneshot::channel();
        let command = Command::Unsubscribe { key: self.key, done };
        self.client.ask(self.client.timeout(), command, outcome).await
    }
}

impl Stream for Subscription {
    type Item = Message;

    fn poll_next(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Message>> {
        self.flow.queue.poll_pop(cx)
    }
}

impl Drop for Subscription {
    fn drop(&mut self) {
        self.client.release(Release::Subscription(self.key));
    }
}

/// The connection's end of a subscription.
#[derive(Debug)]
pub(crate) struct Flow {
    filter: String,
    pub(crate) queue: Queue<Message>,
    lagged: AtomicU64,
    pub(crate) recovered: AtomicBool,
    capacity: usize,
    overflow: Overflow,
    events: broadcast::Sender<Event>,
}

impl Flow {
    pub(crate) fn deliver(&self, message: &Message) {
        let bytes = message.bytes().len();
        while self.is_full(bytes) {
            match self.overflow {
                Overflow::Error => {
                    let reason = format!("messages of {} were not taken in time", self.filter);
                    return self.queue.close(Some(Error::slow_consumer(reason)));
                }
                Overflow::Oldest if self.queue.drop_oldest() => self.lag(1),
                Overflow::Oldest => break,
            }
        }
        self.queue.push(message.clone(), bytes);
    }

    /// Messages are missing at this place.
    pub(crate) fn lag(&self, count: u64) {
        self.lagged.fetch_add(count, Relaxed);
        // Nobody may be listening to events.
        let _ = self.events.send(Event::Lagged { channel: self.filter.clone(), count });
    }

    fn is_full(&self, more_bytes: usize) -> bool {
        let (messages, bytes) = self.queue.load();
        messages >= self.capacity || (messages > 0 && bytes + more_bytes > QUEUE_BYTES_MAX)
    }
}
