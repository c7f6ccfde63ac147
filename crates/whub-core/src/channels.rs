//! Who subscribed to what: a trie from filters to subscribers, and the audiences of busy channels, ready made.

use std::collections::HashMap;
use std::sync::{Arc, PoisonError, RwLock};

use whub_proto::names::{Channel, Filter, Trie};

use crate::mailbox::{Mailbox, SessionId};

/// The table of subscriptions.
///
/// One lock is enough: a publisher shares it to copy one `Arc`, and writes only when its channel's audience has to
/// be gathered anew. Nothing is sent under it.
#[derive(Debug, Default)]
pub struct Channels {
    table: RwLock<Table>,
}

#[derive(Debug, Default)]
struct Table {
    filters: Trie<Vec<Subscriber>>,
    /// Channels published on since their last change of subscribers; cleared when it grows to [`AUDIENCES_MAX`], or
    /// to [`PLACES_MAX`] subscribers in all.
    audiences: HashMap<Box<str>, Arc<Audience>>,
    /// Subscribers gathered since `audiences` was last cleared.
    places: usize,
}

/// Channels whose audience is kept ready at most.
const AUDIENCES_MAX: usize = 4096;

/// Subscribers in all audiences that are kept ready at most, about 24 bytes each: many channels times many subscribers
/// of all of them would be gigabytes.
const PLACES_MAX: usize = 1 << 20;

/// One session's wish for a channel's messages.
#[derive(Debug, Clone, PartialEq)]
pub struct Subscriber {
    /// Where the messages go.
    pub mailbox: Mailbox,
    /// Not for messages that this session published itself.
    pub no_echo: bool,
}

/// The sessions that a channel's messages go to.
#[derive(Debug, PartialEq)]
pub struct Audience {
    /// The channel's name.
    pub channel: Box<str>,
    /// Each session once, by session id.
    pub subscribers: Box<[Subscriber]>,
}

impl Channels {
    /// Adds a subscriber. A session subscribes to a filter once; its session sees to that.
    pub fn subscribe(&self, filter: &Filter, subscriber: Subscriber) {
        let mut table = self.table.write().unwrap_or_else(PoisonError::into_inner);
        table.forget_audiences(filter);
        table.filters.get_or_insert_with(filter, Vec::new).push(subscriber);
    }

    /// Takes a subscriber away.
    pub fn unsubscribe(&self, filter: &Filter, session: SessionId) {
        let mut table = self.table.write().unwrap_or_else(PoisonError::into_inner);
        table.forget_audiences(filter);
        let Some(subscribers) = table.filters.get_mut(filter) else { return };
        subscribers.retain(|known| known.mailbox.session() != session);
        if subscribers.is_empty() {
            table.filters.remove(filter);
        }
    }

    /// Who gets a message of this channel now.
    #[must_use]
    pub fn audience(&self, channel: &Channel<'_>) -> Arc<Audience> {
        let known = self
            .table
            .read()
            .unwrap_or_else(PoisonError::into_inner)
            .audiences
            .get(channel.as_str())
            .cloned();
        known.unwrap_or_else(|| self.table.write().unwrap_or_else(PoisonError::into_inner).gather(channel))
    }

    /// Filters in use now.
    #[must_use]
    pub fn filters(&self) -> usize {
        self.table.read().unwrap_or_else(PoisonError::into_inner).filters.len()
    }
}

impl Table {
    fn gather(&mut self, channel: &Channel<'_>) -> Arc<Audience> {
        let mut found: Vec<Subscriber> = Vec::new();
        self.filters.for_each_match(channel, |subscribers| found.extend_from_slice(subscribers));
        // Where one session matches twice, the filter that wants the echo decides.
        found.sort_by_key(|subscriber| (subscriber.mailbox.session(), subscriber.no_echo));
        found.dedup_by_key(|subscriber| subscriber.mailbox.session());
        let audience = Arc::new(Audience { channel: channel.as_str().into(), subscribers: found.into() });
        self.places += audience.subscribers.len();
        if self.audiences.len() >= AUDIENCES_MAX || self.places > PLACES_MAX {
            self.audiences.clear();
            self.places = audience.subscribers.len();
        }
        self.audiences.insert(channel.as_str().into(), Arc::clone(&audience));
        audience
    }

    fn forget_audiences(&mut self, filter: &Filter) {
        if filter.is_literal() {
            self.audiences.remove(filter.as_str());
            return;
        }
        self.audiences.retain(|name, _| !Channel::parse(name).is_ok_and(|channel| filter.matches(&channel)));
    }
}
