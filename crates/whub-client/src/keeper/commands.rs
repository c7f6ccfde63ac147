//! What handles ask, brought to the connection that it concerns.

use std::time::Instant;

use super::{BATCH_MAX, Keeper, Over};
use crate::command::{Command, Done, Order, Place, Publication, Release, Seat, Service, Subscriber};
use crate::conversation::Conversation;
use crate::error::Error;
use crate::key::Key;
use crate::session::{Session, say_later};
use crate::wanted::{Joined, Provided, Waiting};

/// Most services, subscriptions and seats of one client, each.
const WANTED_MAX: usize = 10_000;

impl Keeper {
    /// Handles a command and those right behind it.
    pub(super) fn handle_commands(&mut self, now: Instant, first: Command) -> Result<(), Over> {
        self.handle_command(now, first)?;
        for _ in 1..BATCH_MAX {
            let Ok(next) = self.lines.commands.try_recv() else { break };
            self.handle_command(now, next)?;
        }
        Ok(())
    }

    fn handle_command(&mut self, now: Instant, command: Command) -> Result<(), Over> {
        match command {
            Command::Call(order) => self.call(now, order),
            Command::Publish(publication) => self.publish(publication),
            Command::Subscribe(subscriber) => self.subscribe(*subscriber),
            Command::Unsubscribe { key, done } => self.unsubscribe(key, Some(done)),
            Command::Provide(service) => self.provide(*service),
            Command::Unprovide { key, grace_ms, done } => self.unprovide(key, grace_ms, Some(done)),
            Command::Join(seat) => self.join(*seat),
            Command::Leave { key, done } => self.leave(key, Some(done)),
            Command::Data { key, payload, ended } => {
                if let Some(session) = self.knowing(key) {
                    session.send_data(key, &payload, ended);
                }
            }
            Command::Trailers { key, trailers } => {
                if let Some(session) = self.knowing(key) {
                    session.send_trailers(key, &trailers);
                }
            }
            Command::Progress { key, news } => {
                if let Some(session) = self.knowing(key) {
                    session.report(key, &news);
                }
            }
            Command::Answer { key, answer } => {
                if let Some(session) = self.knowing(key) {
                    session.answer(key, answer);
                }
            }
            Command::Speak { key, word } => {
                if let Some(session) = self.knowing(key) {
                    session.speak(key, &word);
                }
            }
            Command::Say { key, message, ended, done } => {
                let serial = self.wanted.seats.get(&key).and_then(|seat| seat.taken_on);
                match self.conversation(serial) {
                    (Some(current), wanted) => current.session.say(key, message, ended, done, wanted),
                    (None, wanted) => match wanted.seats.get_mut(&key) {
                        Some(seat) => say_later(seat, message, ended, done),
                        None => drop(done.send(Err(Error::lost("the seat is not taken at present")))),
                    },
                }
            }
            Command::Enter(place) => self.enter(*place),
            Command::LeaveRoom { key, done } => self.leave_room(key, Some(done)),
            Command::Tell { key, to, message, done } => match self.in_room(key) {
                (Some(current), _) => current.session.tell_room(key, &to, &message, done),
                (None, _) => {
                    drop(done.send(Err(Error::lost("there is no connection to the hub at present"))))
                }
            },
            Command::Govern { key, wish, done } => match self.in_room(key) {
                (Some(current), wanted) => current.session.govern(key, *wish, done, wanted),
                (None, _) => {
                    drop(done.send(Err(Error::lost("there is no connection to the hub at present"))))
                }
            },
            Command::Drain { within, done } => self.drain(now, within, done),
            Command::Close { done } => return Err(self.close(now, done)),
        }
        Ok(())
    }

    /// Everything that was let go of.
    pub(super) fn handle_releases(&mut self, first: Option<Release>) {
        let mut next = first;
        while let Some(release) = next {
            self.handle_release(release);
            next = self.lines.released.try_recv().ok();
        }
    }

    fn handle_release(&mut self, release: Release) {
        match release {
            Release::Call(key) => match self.knowing(key) {
                Some(session) => session.cancel(key),
                None => self.wanted.backlog.cancel(key),
            },
            Release::Credit(key, bytes) => {
                if let Some(session) = self.knowing(key) {
                    session.grant(key, bytes);
                }
            }
            Release::Unanswered(key) => {
                if let Some(session) = self.knowing(key) {
                    session.answer_for_lost(key);
                }
            }
            Release::Subscription(key) => self.unsubscribe(key, None),
            Release::Service(key) => self.unprovide(key, 0, None),
            Release::Seat(key) => self.leave(key, None),
            Release::Place(key) => self.leave_room(key, None),
            // The loop looks again by itself.
            Release::Room => {}
        }
    }

    fn call(&mut self, now: Instant, mut order: Box<Order>) {
        if self.ending.is_some() {
            return order.fail(Error::closed());
        }
        match &mut self.current {
            // A hub that is being left would refuse it.
            Some(current) if current.until.is_none() => current.session.call(now, order),
            Some(_) | None => self.wanted.backlog.push(Waiting::Call(order)),
        }
    }

    fn publish(&mut self, publication: Box<Publication>) {
        if self.ending.is_some() {
            return drop(publication.done.send(Err(Error::closed())));
        }
        match &mut self.current {
            Some(current) => current.session.publish(*publication),
            None => self.wanted.backlog.push(Waiting::Publish(publication)),
        }
    }

    fn subscribe(&mut self, subscriber: Subscriber) {
        let Some(subscriber) = self.admit(subscriber, self.wanted.topics.topics.len(), |it| &mut it.done)
        else {
            return;
        };
        match self.wanted.topics.join(subscriber) {
            Ok(Joined::New(topic)) => {
                if let Some(current) = &mut self.current {
                    current.session.subscribe(topic, &mut self.wanted);
                }
            }
            Ok(Joined::Shared) => {}
            Err(mut refused) => {
                let reason = "this client has a subscription of the same filter and group with other options";
                if let Some(done) = refused.done.take() {
                    drop(done.send(Err(Error::conflict(reason))));
                }
            }
        }
    }

    fn unsubscribe(&mut self, member: Key, done: Option<Done>) {
        let Some((topic, _, last)) = self.wanted.topics.leave(member) else { return succeed(done) };
        if let Some(old) = &mut self.old {
            old.session.unsubscribe(topic, &last.filter, &last.group, None);
        }
        match &mut self.current {
            Some(current) => current.session.unsubscribe(topic, &last.filter, &last.group, done),
            None => succeed(done),
        }
    }

    fn provide(&mut self, service: Service) {
        let Some(mut service) = self.admit(service, self.wanted.services.len(), |it| &mut it.done) else {
            return;
        };
        let known = self.wanted.services.values().any(|known| known.service.pattern == service.pattern);
        if known {
            let reason = format!("this client provides {} already", service.pattern);
            if let Some(done) = service.done.take() {
                drop(done.send(Err(Error::conflict(reason))));
            }
            return;
        }
        let key = service.key;
        self.wanted.services.insert(key, Provided::new(service));
        if let Some(current) = &mut self.current {
            current.session.register(key, &self.wanted);
        }
    }

    fn unprovide(&mut self, key: Key, grace_ms: u32, done: Option<Done>) {
        let Some(provided) = self.wanted.services.remove(&key) else { return succeed(done) };
        match &mut self.current {
            Some(current) => current.session.unregister(provided, grace_ms, done),
            None => succeed(done),
        }
    }

    fn join(&mut self, seat: Seat) {
        let Some(mut seat) = self.admit(seat, self.wanted.seats.len(), |it| &mut it.done) else { return };
        if self.wanted.seats.values().any(|known| known.pair == seat.pair) {
            let reason = format!("this client has a seat in {} already", seat.pair);
            if let Some(done) = seat.done.take() {
                drop(done.send(Err(Error::conflict(reason))));
            }
            return;
        }
        let key = seat.key;
        self.wanted.seats.insert(key, seat);
        if let Some(current) = &mut self.current {
            current.session.join(key, &mut self.wanted);
        }
    }

    fn leave(&mut self, key: Key, done: Option<Done>) {
        let Some(seat) = self.wanted.seats.remove(&key) else { return succeed(done) };
        seat.events.close(None);
        match self.conversation(seat.taken_on) {
            (Some(conversation), _) => conversation.session.leave(&seat, done),
            (None, _) => succeed(done),
        }
    }

    fn enter(&mut self, place: Place) {
        let Some(mut place) = self.admit(place, self.wanted.rooms.len(), |it| &mut it.done) else { return };
        if self.wanted.rooms.values().any(|known| known.room == place.room) {
            let reason = format!("this client is in {} already", place.room);
            if let Some(done) = place.done.take() {
                drop(done.send(Err(Error::conflict(reason))));
            }
            return;
        }
        let key = place.key;
        self.wanted.rooms.insert(key, place);
        if let Some(current) = &mut self.current {
            current.session.enter(key, &mut self.wanted);
        }
    }

    fn leave_room(&mut self, key: Key, done: Option<Done>) {
        let Some(place) = self.wanted.rooms.remove(&key) else { return succeed(done) };
        place.flow.close(None);
        match self.conversation(place.taken_on) {
            (Some(conversation), _) => conversation.session.leave_room(&place, done),
            (None, _) => succeed(done),
        }
    }

    /// The conversation that is in a room, beside what is wanted.
    fn in_room(&mut self, key: Key) -> (Option<&mut Conversation>, &mut crate::wanted::Wanted) {
        let serial = self.wanted.rooms.get(&key).and_then(|place| place.taken_on);
        self.conversation(serial)
    }

    /// Takes a wish, unless the client is ending, holds too many, or whoever wished is gone.
    fn admit<T>(
        &self,
        mut wish: T,
        count: usize,
        done: impl FnOnce(&mut T) -> &mut Option<Done<T::Outcome>>,
    ) -> Option<T>
    where
        T: Wish,
    {
        let slot = done(&mut wish);
        if slot.as_ref().is_none_or(tokio::sync::oneshot::Sender::is_closed) {
            return None;
        }
        let error = match (&self.ending, count < WANTED_MAX) {
            (None, true) => return Some(wish),
            (Some(_), _) => Error::closed(),
            (None, false) => Error::buffer_full(format!("this client holds {count} of these already")),
        };
        if let Some(done) = slot.take() {
            drop(done.send(Err(error)));
        }
        None
    }

    /// The session that a key belongs to.
    fn knowing(&mut self, key: Key) -> Option<&mut Session> {
        let conversations = [&mut self.current, &mut self.old].into_iter().flatten();
        conversations.map(|conversation| &mut conversation.session).find(|session| session.knows(key))
    }

    /// The conversation with that serial, beside what is wanted.
    fn conversation(
        &mut self,
        serial: Option<u64>,
    ) -> (Option<&mut Conversation>, &mut crate::wanted::Wanted) {
        let conversations = [&mut self.current, &mut self.old].into_iter().flatten();
        let mut conversations = conversations.filter(|it| Some(it.session.serial()) == serial);
        (conversations.next(), &mut self.wanted)
    }
}

/// Something that is wanted of every connection, and what its first success is worth.
pub(super) trait Wish {
    type Outcome;
}

impl Wish for Subscriber {
    type Outcome = bool;
}

impl Wish for Service {
    type Outcome = ();
}

impl Wish for Seat {
    type Outcome = ();
}

impl Wish for Place {
    type Outcome = ();
}

fn succeed(done: Option<Done>) {
    if let Some(done) = done {
        drop(done.send(Ok(())));
    }
}
