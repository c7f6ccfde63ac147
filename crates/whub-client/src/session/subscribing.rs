//! The session as a subscriber.

use std::sync::atomic::Ordering::Relaxed;

use whub_proto::names::{Channel, Filter, INBOX};
use whub_proto::{Body, Flags, Gap, Subscribe, Success, Unsubscribe};

use super::{Live, Session};
use crate::Message;
use crate::command::Done;
use crate::error::Error;
use crate::event::Event;
use crate::key::Key;
use crate::wanted::{Topic, Wanted};

impl Session {
    pub(crate) fn subscribe(&mut self, key: Key, wanted: &mut Wanted) {
        let Some(topic) = wanted.topics.topics.get(&key) else { return };
        let Some(first) = topic.members.first() else { return };
        if first.filter.as_str() == INBOX {
            // Messages to oneself come unasked.
            self.handle_subscribed(key, &Success::default(), wanted);
            return;
        }
        let id = self.next_id();
        let known = topic.position.filter(|_| first.recover);
        let (epoch, offset) = known.unwrap_or_default();
        let subscribe = Subscribe {
            filter: first.filter.as_str(),
            group: &first.group,
            recover: known.is_some(),
            epoch,
            offset,
            last: if topic.stood { 0 } else { first.last },
            no_echo: first.no_echo,
            ..Subscribe::default()
        };
        self.outbox.push(id, Flags::NONE, &Body::Subscribe(subscribe));
        self.ids.insert(key, id);
        self.live.insert(id, Live::Topic(key));
    }

    pub(crate) fn unsubscribe(&mut self, topic: Key, filter: &Filter, group: &str, done: Option<Done>) {
        let Some(id) = self.ids.remove(&topic) else {
            // This connection never knew it.
            if let Some(done) = done {
                drop(done.send(Ok(())));
            }
            return;
        };
        self.live.remove(&id);
        let id = self.next_id();
        let unsubscribe = Unsubscribe { filter: filter.as_str(), group };
        self.outbox.push(id, Flags::NONE, &Body::Unsubscribe(unsubscribe));
        if let Some(done) = done {
            self.live.insert(id, Live::Farewell(done));
        }
    }

    pub(super) fn handle_subscribed(&mut self, key: Key, success: &Success<'_>, wanted: &mut Wanted) {
        let Some(topic) = wanted.topics.topics.get_mut(&key) else { return };
        topic.stands = Some(self.serial);
        if success.offset > 0 && !success.recovered {
            topic.position = Some((success.epoch, success.offset));
        }
        for member in &mut topic.members {
            member.flow.recovered.store(success.recovered, Relaxed);
            if let Some(done) = member.done.take() {
                drop(done.send(Ok(success.recovered)));
            }
        }
        if std::mem::replace(&mut topic.stood, true) {
            let filter = topic.members.first().map(|member| member.filter.as_str().to_owned());
            let (filter, recovered) = (filter.unwrap_or_default(), success.recovered);
            self.events.push_back(Event::Resubscribed { filter, recovered });
        }
    }

    /// The hub refused the subscription, or ended it.
    pub(super) fn handle_unsubscribed(&mut self, key: Key, error: Error, wanted: &mut Wanted) {
        self.ids.remove(&key);
        let Some(topic) = wanted.topics.remove(key) else { return };
        let stood = topic.stood;
        topic.end(Some(error.clone()), &error);
        if stood {
            self.events.push_back(Event::Error(error));
        }
    }

    pub(super) fn handle_message(&mut self, id: u64, message: &Message, wanted: &mut Wanted) {
        match self.live.get(&id) {
            Some(Live::Topic(key)) => {
                if let Some(topic) = wanted.topics.topics.get_mut(key) {
                    topic.deliver(message);
                }
            }
            // Of a subscription that has just ended.
            Some(_) => {}
            None if id != 0 => {}
            None => self.spread(message, wanted),
        }
    }

    /// A live message comes once, however many filters it belongs to.
    fn spread(&self, message: &Message, wanted: &mut Wanted) {
        let Ok(channel) = Channel::parse(message.channel()) else { return };
        for topic in wanted.topics.topics.values_mut() {
            if topic.stands == Some(self.serial) && takes_live(topic, &channel) {
                topic.deliver(message);
            }
        }
    }

    pub(super) fn handle_gap(&mut self, gap: &Gap<'_>, wanted: &Wanted) {
        let channel = Channel::parse(gap.channel).ok();
        let mut told = false;
        for topic in wanted.topics.topics.values() {
            let concerned = channel.as_ref().is_none_or(|channel| takes_live(topic, channel));
            if topic.stands == Some(self.serial) && concerned {
                told = true;
                for member in &topic.members {
                    member.flow.lag(gap.count.into());
                }
            }
        }
        if !told {
            let (channel, count) = (gap.channel.to_owned(), gap.count.into());
            self.events.push_back(Event::Lagged { channel, count });
        }
    }

    /// The connection is gone, and with it what it carried.
    pub(super) fn forget_topic(&self, key: Key, wanted: &mut Wanted) {
        if let Some(topic) = wanted.topics.topics.get_mut(&key) {
            topic.stands = topic.stands.filter(|serial| *serial != self.serial);
        }
    }
}

fn takes_live(topic: &Topic, channel: &Channel<'_>) -> bool {
    topic.members.first().is_some_and(|member| member.group.is_empty() && member.filter.matches(channel))
}
