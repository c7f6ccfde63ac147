//! What the program wants of any connection: services, subscriptions, seats, and what waits to be sent. It outlives
//! connections; each new one is told all of it.

use std::collections::{BTreeMap, HashMap, VecDeque};

use crate::command::{Order, Place, Publication, Seat, Service, Subscriber};
use crate::error::Error;
use crate::key::Key;
use crate::publish::Published;
use crate::serve::Places;

/// Most messages and calls that wait for a connection.
const BACKLOG_MAX: usize = 1000;
/// Most payload bytes that wait for a connection: 1 MiB.
const BACKLOG_BYTES_MAX: usize = 1 << 20;

/// Everything that is wanted. Ordered by key, so that a new connection is told in the order of the program.
#[derive(Default)]
pub(crate) struct Wanted {
    pub(crate) services: BTreeMap<Key, Provided>,
    pub(crate) topics: Topics,
    pub(crate) seats: BTreeMap<Key, Seat>,
    pub(crate) rooms: BTreeMap<Key, Place>,
    pub(crate) backlog: Backlog,
}

/// A service with the places of the calls that run.
pub(crate) struct Provided {
    pub(crate) service: Service,
    pub(crate) places: Places,
}

impl Provided {
    pub(crate) fn new(service: Service) -> Self {
        Self { service, places: Places::default() }
    }

    pub(crate) fn is_full(&self) -> bool {
        self.places.taken() >= self.service.inflight_max as usize
    }
}

impl Wanted {
    /// The client has ended for good.
    pub(crate) fn end(&mut self, error: Option<&Error>) {
        let reason = error.cloned().unwrap_or_else(Error::closed);
        for provided in std::mem::take(&mut self.services).into_values() {
            if let Some(done) = provided.service.done {
                let _ = done.send(Err(reason.clone()));
            }
        }
        for topic in std::mem::take(&mut self.topics.topics).into_values() {
            topic.end(error.cloned(), &reason);
        }
        for mut seat in std::mem::take(&mut self.seats).into_values() {
            seat.together.store(false, std::sync::atomic::Ordering::Relaxed);
            if let Some(done) = seat.done.take() {
                let _ = done.send(Err(reason.clone()));
            }
            seat.events.close(error.cloned());
        }
        for mut place in std::mem::take(&mut self.rooms).into_values() {
            if let Some(done) = place.done.take() {
                let _ = done.send(Err(reason.clone()));
            }
            place.flow.close(error.cloned());
        }
        self.backlog.fail(&reason);
    }
}

// ------------------------------------------------------------------------------------------------ subscriptions

/// Subscriptions by filter and group: the hub knows each once, however many this program has of it.
#[derive(Default)]
pub(crate) struct Topics {
    pub(crate) topics: BTreeMap<Key, Topic>,
    by_name: HashMap<(String, String), Key>,
    by_member: HashMap<Key, Key>,
}

/// One filter and group, with those who want it.
pub(crate) struct Topic {
    pub(crate) members: Vec<Subscriber>,
    /// Whose turn it is in a group.
    turn: usize,
    /// Epoch and offset of the last message seen.
    pub(crate) position: Option<(u64, u64)>,
    /// Stood once, so that the next time is a resubscription.
    pub(crate) stood: bool,
    /// The connection on which it stands.
    pub(crate) stands: Option<u64>,
}

/// What a new subscriber means for the connection.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Joined {
    /// The hub has to be told.
    New(Key),
    /// Somebody here has it already.
    Shared,
}

impl Topics {
    /// Adds a subscriber. `Err` gives it back when what it wants cannot be shared with those who are there.
    pub(crate) fn join(&mut self, mut subscriber: Subscriber) -> Result<Joined, Box<Subscriber>> {
        let name = (subscriber.filter.as_str().to_owned(), subscriber.group.clone());
        let Some(&key) = self.by_name.get(&name) else {
            let key = subscriber.key;
            self.by_name.insert(name, key);
            self.by_member.insert(key, key);
            let topic =
                Topic { members: vec![subscriber], turn: 0, position: None, stood: false, stands: None };
            self.topics.insert(key, topic);
            return Ok(Joined::New(key));
        };
        let Some(topic) = self.topics.get_mut(&key) else { return Err(Box::new(subscriber)) };
        let same = topic.members.first().is_some_and(|first| first.no_echo == subscriber.no_echo);
        if subscriber.last > 0 || !same {
            return Err(Box::new(subscriber));
        }
        if topic.stands.is_some()
            && let Some(done) = subscriber.done.take()
        {
            let _ = done.send(Ok(false));
        }
        self.by_member.insert(subscriber.key, key);
        topic.members.push(subscriber);
        Ok(Joined::Shared)
    }

    /// Removes a subscriber. The topic comes back if it was the last, so that the hub can be told.
    pub(crate) fn leave(&mut self, member: Key) -> Option<(Key, Topic, Subscriber)> {
        let key = self.by_member.remove(&member)?;
        let topic = self.topics.get_mut(&key)?;
        let index = topic.members.iter().position(|known| known.key == member)?;
        let subscriber = topic.members.swap_remove(index);
        if !topic.members.is_empty() {
            return None;
        }
        self.by_name.remove(&(subscriber.filter.as_str().to_owned(), subscriber.group.clone()));
        let topic = self.topics.remove(&key)?;
        Some((key, topic, subscriber))
    }

    /// Removes a topic with all of its members.
    pub(crate) fn remove(&mut self, key: Key) -> Option<Topic> {
        let topic = self.topics.remove(&key)?;
        for member in &topic.members {
            self.by_member.remove(&member.key);
            self.by_name.remove(&(member.filter.as_str().to_owned(), member.group.clone()));
        }
        Some(topic)
    }
}

impl Topic {
    /// Hands a message to everyone, or to one of a group.
    pub(crate) fn deliver(&mut self, message: &crate::Message) {
        if message.offset() > 0 {
            self.position = Some((message.epoch(), message.offset()));
        }
        let in_group = self.members.first().is_some_and(|member| !member.group.is_empty());
        if !in_group {
            for member in &self.members {
                member.deliver(message);
            }
            return;
        }
        self.turn = self.turn.wrapping_add(1);
        let turn = self.turn % self.members.len().max(1);
        if let Some(member) = self.members.get(turn) {
            member.deliver(message);
        }
    }

    /// The subscription is over for everyone: those who still wait are told `reason`, the others see the end.
    pub(crate) fn end(self, error: Option<Error>, reason: &Error) {
        for mut member in self.members {
            if let Some(done) = member.done.take() {
                let _ = done.send(Err(reason.clone()));
            }
            member.flow.queue.close(error.clone());
        }
    }
}

// ------------------------------------------------------------------------------------------------ backlog

/// What waits for a connection.
#[derive(Default)]
pub(crate) struct Backlog {
    items: VecDeque<Waiting>,
    bytes: usize,
}

pub(crate) enum Waiting {
    Call(Box<Order>),
    Publish(Box<Publication>),
}

impl Waiting {
    fn bytes(&self) -> usize {
        match self {
            Self::Call(order) => order.payload.len(),
            Self::Publish(publication) => publication.payload.len(),
        }
    }

    fn fail(self, error: Error) {
        match self {
            Self::Call(mut order) => order.fail(error),
            Self::Publish(publication) => drop(publication.done.send(Err(error))),
        }
    }
}

impl Backlog {
    /// Keeps it until there is a connection, or fails it with `BufferFull`.
    pub(crate) fn push(&mut self, waiting: Waiting) {
        if self.items.len() >= BACKLOG_MAX || self.bytes + waiting.bytes() > BACKLOG_BYTES_MAX {
            let reason = format!(
                "there is no connection, and {} messages and calls wait for one already",
                self.items.len()
            );
            return waiting.fail(Error::buffer_full(reason));
        }
        self.bytes += waiting.bytes();
        self.items.push_back(settle_unacknowledged(waiting));
    }

    /// Nobody waits for this call any more.
    pub(crate) fn cancel(&mut self, key: Key) {
        self.items.retain(|waiting| !matches!(waiting, Waiting::Call(order) if order.key == key));
        self.bytes = self.items.iter().map(Waiting::bytes).sum();
    }

    pub(crate) fn take(&mut self) -> VecDeque<Waiting> {
        self.bytes = 0;
        std::mem::take(&mut self.items)
    }

    pub(crate) fn fail(&mut self, error: &Error) {
        for waiting in self.take() {
            waiting.fail(error.clone());
        }
    }
}

/// A publisher that asked for no acknowledgement is done once its message is kept.
fn settle_unacknowledged(mut waiting: Waiting) -> Waiting {
    if let Waiting::Publish(publication) = &mut waiting
        && !publication.ack
    {
        let (done, _) = tokio::sync::oneshot::channel();
        let _ = std::mem::replace(&mut publication.done, done).send(Ok(Published::default()));
    }
    waiting
}
