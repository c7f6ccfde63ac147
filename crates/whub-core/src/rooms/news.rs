//! What members are told: the events of a room as frames.

use std::sync::Arc;

use whub_proto::{Body, Flags, Member, Members, RoomEvent, RoomWhat};

use crate::mailbox::{Parcel, Sent};
use crate::packet::Packet;
use crate::rooms::member::{Roll, RoomMember};
use crate::rooms::room::Terms;

/// Members that one event names at most: an envelope has room for 512 tables.
const MEMBERS_MAX: usize = 256;

/// Bytes of members that one event holds at most; an envelope has room for 65,528.
const BYTES_MAX: usize = 32 * 1024;

/// What a member takes beside its texts: its table, and what fills up the texts.
const MEMBER_BYTES: usize = 64;

/// What a newcomer is told first: who is there. Large rooms are told in several events, all but the last of which have
/// the flag `More`.
pub(super) fn state(roll: &Roll, terms: Terms) -> Vec<Packet> {
    let parts = parts(&roll.members);
    let last = parts.len() - 1;
    let part = |(index, members): (usize, &&[Arc<RoomMember>])| {
        let members: Vec<Member<'_>> = members.iter().map(|member| member.shown()).collect();
        let flags = Flags::NONE.with_if(index < last, Flags::MORE);
        build(RoomEvent { members: Members::new(&members), ..of_room(roll, RoomWhat::State, terms) }, flags)
    };
    parts.iter().enumerate().map(part).collect()
}

pub(super) fn joined(roll: &Roll, newcomer: &RoomMember) -> Packet {
    let members = [newcomer.shown()];
    let event = RoomEvent { what: RoomWhat::Joined, members: Members::new(&members), ..of(roll) };
    build(event, Flags::NONE)
}

/// Those have left. What they showed is known; their numbers say who they are.
pub(super) fn left(roll: &Roll, gone: &[u32], reason: &str) -> Packet {
    let members: Vec<Member<'_>> =
        gone.iter().map(|number| Member { member: *number, ..Member::default() }).collect();
    let event = RoomEvent { what: RoomWhat::Left, members: Members::new(&members), reason, ..of(roll) };
    build(event, Flags::NONE)
}

/// Those show something else, or may do something else; with nobody named, the room itself has changed.
pub(super) fn updated(roll: &Roll, numbers: &[u32], terms: Terms) -> Vec<Packet> {
    let named: Vec<Arc<RoomMember>> =
        numbers.iter().filter_map(|number| roll.find(*number)).cloned().collect();
    let part = |members: &&[Arc<RoomMember>]| {
        let members: Vec<Member<'_>> = members.iter().map(|member| member.shown()).collect();
        let event = RoomEvent { members: Members::new(&members), ..of_room(roll, RoomWhat::Updated, terms) };
        build(event, Flags::NONE)
    };
    parts(&named).iter().map(part).collect()
}

/// Members in as many parts as events take; one, and empty, of nobody.
fn parts(members: &[Arc<RoomMember>]) -> Vec<&[Arc<RoomMember>]> {
    let mut parts = Vec::new();
    let (mut from, mut bytes) = (0, 0);
    for (index, member) in members.iter().enumerate() {
        let weight = MEMBER_BYTES + member.client.len() + member.user.len() + member.info.len();
        if index - from == MEMBERS_MAX || (index > from && bytes + weight > BYTES_MAX) {
            parts.push(&members[from..index]);
            (from, bytes) = (index, 0);
        }
        bytes += weight;
    }
    parts.push(&members[from..]);
    parts
}

/// For the receiver, the room has ended.
pub(super) fn closed(roll: &Roll, reason: &str) -> Packet {
    build(RoomEvent { what: RoomWhat::Closed, reason, ..of(roll) }, Flags::NONE)
}

/// So many messages for this member were dropped here.
#[must_use]
pub fn missed(room: &str, count: u32) -> Packet {
    let reason = "this member read too slowly";
    build(RoomEvent { what: RoomWhat::Missed, room, count, reason, ..RoomEvent::default() }, Flags::NONE)
}

/// Tells everybody.
pub(super) fn tell_all(roll: &Roll, packets: &[Packet]) {
    for packet in packets {
        tell(roll, None, packet);
    }
}

/// Tells everybody, but for one. That somebody has just gone is nobody's loss.
pub(super) fn tell(roll: &Roll, except: Option<u32>, packet: &Packet) {
    for member in roll.members.iter().filter(|member| Some(member.number) != except) {
        let (Sent::Room | Sent::Wait | Sent::Gone) =
            member.mailbox.send(Parcel::News { id: member.seat, packet });
    }
}

fn of(roll: &Roll) -> RoomEvent<'_> {
    RoomEvent { room: roll.room.as_str(), ..RoomEvent::default() }
}

fn of_room(roll: &Roll, what: RoomWhat, terms: Terms) -> RoomEvent<'_> {
    RoomEvent { what, capacity: terms.capacity, locked: terms.locked, ..of(roll) }
}

fn build(event: RoomEvent<'_>, flags: Flags) -> Packet {
    Packet::build_with(&Body::RoomEvent(event), flags, None, &[])
}
