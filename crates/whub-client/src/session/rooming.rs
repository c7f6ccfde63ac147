//! The session as a member of rooms.

use bytes::Bytes;
use whub_proto::{
    Body, Data, Flags, Headers as Pairs, Join, Leave, Member, Numbers, RoomAct, RoomCommand,
    RoomEvent as Told, RoomRole as Role, RoomWhat, Success, Via,
};

use super::{Flushed, Live, Session};
use crate::command::{Done, PartialMessage, Place, RoomWish, Utterance};
use crate::error::Error;
use crate::key::Key;
use crate::link::detach;
use crate::pair::MESSAGE_BYTES_MAX;
use crate::room::{RoomEvent, RoomMember, RoomMessage, RoomRole, RoomState};
use crate::wanted::Wanted;

impl Session {
    /// Enters every room that no connection is in.
    pub(crate) fn enter_rooms(&mut self, wanted: &mut Wanted) {
        let free: Vec<Key> =
            wanted.rooms.values().filter(|place| place.taken_on.is_none()).map(|place| place.key).collect();
        for key in free {
            self.enter(key, wanted);
        }
    }

    pub(crate) fn enter(&mut self, key: Key, wanted: &mut Wanted) {
        let Some(place) = wanted.rooms.get_mut(&key) else { return };
        let id = self.next_id();
        let join = Join {
            room: place.room.as_str(),
            secret: &place.secret,
            capacity: place.capacity,
            info: &place.info,
            ..Join::default()
        };
        place.taken_on = Some(self.serial);
        place.state = Some(RoomState::default());
        self.ids.insert(key, id);
        self.live.insert(id, Live::Place(key));
        if self.outbox.push_with(id, Flags::NONE, &Body::Join(join), &[], self.frame_bytes_max).is_err() {
            self.handle_not_entered(
                id,
                key,
                &Error::too_large("what is shown in the room is too long"),
                wanted,
            );
        }
    }

    pub(crate) fn leave_room(&mut self, place: &Place, done: Option<Done>) {
        let Some(id) = self.ids.remove(&place.key) else { return };
        self.live.remove(&id);
        let id = self.next_id();
        let leave = Leave { room: place.room.as_str(), ..Leave::default() };
        self.outbox.push(id, Flags::NONE, &Body::Leave(leave));
        if let Some(done) = done {
            self.live.insert(id, Live::Farewell(done));
        }
    }

    /// This connection is being left: its places are free for another.
    pub(crate) fn release_rooms(&mut self, wanted: &mut Wanted) {
        let mine = Some(self.serial);
        for place in wanted.rooms.values_mut().filter(|place| place.taken_on == mine) {
            self.leave_room(place, None);
            interrupt_place(place);
        }
    }

    /// Sends a message to all, or to some.
    pub(crate) fn tell_room(&mut self, key: Key, to: &[u32], message: &Utterance, done: Done) {
        let Some(&id) = self.ids.get(&key) else {
            return drop(done.send(Err(Error::lost("the room is not entered at present"))));
        };
        let data = Data { to: Numbers::new(to), ..Data::default() };
        let text = |flags: Flags| flags.with_if(message.text, Flags::TEXT);
        // Its first frame says for whom a message is; what is short is that frame.
        let fits = message.payload.len() + to.len() * 4 + ENVELOPE_BYTES <= self.frame_bytes_max;
        let (first, rest) = if to.is_empty() || fits {
            (&message.payload[..], None)
        } else {
            (&[][..], Some(&message.payload))
        };
        if to.is_empty() {
            let more = text(Flags::MORE);
            self.outbox.push_split(id, text(Flags::NONE), more, first, self.frame_bytes_max);
        } else {
            let flags = text(Flags::NONE.with_if(rest.is_some(), Flags::MORE));
            let pushed = self.outbox.push_with(id, flags, &Body::Data(data), first, self.frame_bytes_max);
            if pushed.is_err() {
                return drop(done.send(Err(Error::too_large("so many members cannot be named at once"))));
            }
            if let Some(rest) = rest {
                let more = text(Flags::MORE);
                self.outbox.push_split(id, text(Flags::NONE), more, rest, self.frame_bytes_max);
            }
        }
        self.written.push(Flushed::Say(done));
    }

    pub(crate) fn govern(&mut self, key: Key, wish: RoomWish, done: Done, wanted: &mut Wanted) {
        let (Some(_), Some(place)) = (self.ids.get(&key), wanted.rooms.get_mut(&key)) else {
            return drop(done.send(Err(Error::lost("the room is not entered at present"))));
        };
        let id = self.next_id();
        let command = RoomCommand {
            room: place.room.as_str(),
            act: wish.act,
            members: Numbers::new(&wish.members),
            info: &wish.info,
            reason: &wish.reason,
        };
        let body = Body::RoomCommand(command);
        if self.outbox.push_with(id, Flags::NONE, &body, &[], self.frame_bytes_max).is_err() {
            return drop(done.send(Err(Error::too_large("the command does not fit a frame"))));
        }
        self.live.insert(id, Live::Farewell(done));
        if wish.act == RoomAct::Update {
            place.info = wish.info;
        }
    }

    /// The hub has let us in.
    pub(super) fn handle_entered(key: Key, success: &Success<'_>, wanted: &mut Wanted) {
        let Some(place) = wanted.rooms.get_mut(&key) else { return };
        place.state.get_or_insert_default().me = success.member;
        if let Some(done) = place.done.take() {
            drop(done.send(Ok(())));
        }
    }

    /// The hub has not let us in, or has put us out.
    pub(super) fn handle_not_entered(&mut self, id: u64, key: Key, error: &Error, wanted: &mut Wanted) {
        self.live.remove(&id);
        self.ids.remove(&key);
        let Some(place) = wanted.rooms.remove(&key) else { return };
        if let Some(done) = place.done {
            drop(done.send(Err(error.clone())));
        }
        place.flow.close(Some(error.clone()));
    }

    pub(super) fn handle_news(
        &mut self,
        id: u64,
        key: Key,
        more: bool,
        told: &Told<'_>,
        wanted: &mut Wanted,
    ) {
        let Some(place) = wanted.rooms.get_mut(&key) else { return };
        let mut taken = true;
        let members = || told.members.iter().map(member);
        match told.what {
            RoomWhat::State => {
                let state = place.state.get_or_insert_default();
                state.members.extend(members());
                (state.capacity, state.locked) = (told.capacity, told.locked);
                if !more {
                    let state = place.state.take().unwrap_or_default();
                    let bytes = state.members.iter().map(weight).sum();
                    taken = place.flow.tell(RoomEvent::State(state), bytes);
                }
            }
            RoomWhat::Joined => {
                for member in members() {
                    let bytes = weight(&member);
                    taken &= place.flow.tell(RoomEvent::Joined(member), bytes);
                }
            }
            RoomWhat::Left => {
                for member in told.members.iter() {
                    let (member, reason) = (member.member, told.reason.to_owned());
                    taken &= place.flow.tell(RoomEvent::Left { member, reason }, told.reason.len());
                }
            }
            RoomWhat::Updated => {
                let members: Vec<RoomMember> = members().collect();
                let bytes = members.iter().map(weight).sum();
                let (capacity, locked) = (told.capacity, told.locked);
                taken = place.flow.tell(RoomEvent::Updated { members, capacity, locked }, bytes);
            }
            RoomWhat::Missed => {
                taken = place.flow.tell(RoomEvent::Missed { count: told.count.into() }, 0);
            }
            RoomWhat::Closed => {
                let reason = if told.reason.is_empty() { "the room was closed" } else { told.reason };
                let error = Error::from_code(whub_proto::Code::Gone, reason.to_owned());
                self.handle_not_entered(id, key, &error, wanted);
                return;
            }
            RoomWhat::Waiting | RoomWhat::Ready | RoomWhat::Away | RoomWhat::Back | RoomWhat::Unknown(_) => {}
        }
        if !taken && let Some(place) = wanted.rooms.remove(&key) {
            self.leave_room(&place, None);
            let reason = format!("what happened in {} was not taken in time", place.room);
            place.flow.close(Some(Error::slow_consumer(reason)));
        }
    }

    /// A message, or a piece of one.
    pub(super) fn handle_said(
        place: &mut Place,
        flags: Flags,
        via: &Via<'_>,
        data: &Data<'_>,
        payload: Bytes,
    ) -> Result<(), Error> {
        let more = flags.contains(Flags::MORE);
        if place.partial.is_none() && !more {
            say(place, message(flags, via, data, detach(payload)));
            return Ok(());
        }
        let partial = place.partial.get_or_insert_with(|| {
            let message = message(flags, via, data, Bytes::new());
            PartialMessage { message, payload: Vec::new() }
        });
        if partial.payload.len() + payload.len() > MESSAGE_BYTES_MAX {
            let reason = format!("a message of a room has more than {MESSAGE_BYTES_MAX} bytes");
            return Err(Error::protocol(reason));
        }
        partial.payload.extend_from_slice(&payload);
        if let Some(PartialMessage { message, payload }) = place.partial.take_if(|_| !more) {
            say(place, RoomMessage { payload: payload.into(), ..message });
        }
        Ok(())
    }
}

/// What an envelope with members takes at most, beside their numbers.
const ENVELOPE_BYTES: usize = 128;

fn message(flags: Flags, via: &Via<'_>, data: &Data<'_>, payload: Bytes) -> RoomMessage {
    let headers: Pairs<'_> = data.headers;
    RoomMessage {
        from: via.member,
        client: via.client.to_owned(),
        user: via.user.to_owned(),
        time_ms: via.time_ms,
        to: data.to.iter().collect(),
        headers: headers.into(),
        is_text: flags.contains(Flags::TEXT),
        payload,
    }
}

fn say(place: &Place, message: RoomMessage) {
    let bytes = message.payload.len();
    place.flow.say(RoomEvent::Message(message), bytes);
}

fn member(told: Member<'_>) -> RoomMember {
    RoomMember {
        number: told.member,
        client: told.client.to_owned(),
        user: told.user.to_owned(),
        info: told.info.to_owned(),
        role: match told.role {
            Role::Owner => RoomRole::Owner,
            Role::Moderator => RoomRole::Moderator,
            // What a later hub may call somebody is no right that we know.
            Role::Member | Role::Unknown(_) => RoomRole::Member,
        },
    }
}

fn weight(member: &RoomMember) -> usize {
    member.client.len() + member.user.len() + member.info.len()
}

/// The connection is gone, and the place with it until the next one.
pub(super) fn interrupt_room(key: Key, wanted: &mut Wanted) {
    if let Some(place) = wanted.rooms.get_mut(&key) {
        interrupt_place(place);
    }
}

fn interrupt_place(place: &mut Place) {
    (place.taken_on, place.partial, place.state) = (None, None, None);
    if place.done.is_none() {
        // If even that is too much, the next event shows it.
        let _ = place.flow.tell(RoomEvent::Interrupted, 0);
    }
}
