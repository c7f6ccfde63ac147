//! Who is in a room, as those see it who send there.

use std::sync::Arc;

use whub_proto::names::PairId;
use whub_proto::{Member, RoomRole};

use crate::mailbox::Mailbox;

/// What a member may do in its room.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Role {
    /// Speak and listen.
    Member,
    /// Also send members away and lock the room.
    Moderator,
    /// Also name moderators and close the room.
    Owner,
}

impl Role {
    /// The word for it.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Member => "member",
            Self::Moderator => "moderator",
            Self::Owner => "owner",
        }
    }

    fn on_the_wire(self) -> RoomRole {
        match self {
            Self::Member => RoomRole::Member,
            Self::Moderator => RoomRole::Moderator,
            Self::Owner => RoomRole::Owner,
        }
    }
}

/// One member of a room.
#[derive(Debug, Clone, PartialEq)]
pub struct RoomMember {
    /// Its number: of all who ever were in this room, no two have the same, and who came later has a higher one.
    pub number: u32,
    /// Its session.
    pub mailbox: Mailbox,
    /// The id of its `Join`; 0 on a plain WebSocket.
    pub seat: u64,
    /// The hub's name for the client.
    pub client: Arc<str>,
    /// Who it is; empty for the anonymous.
    pub user: Arc<str>,
    /// What it shows to the others, JSON.
    pub info: Arc<str>,
    /// What it may do.
    pub role: Role,
    /// When it came, in milliseconds since 1970.
    pub since_ms: u64,
}

impl RoomMember {
    /// As events show it.
    pub(super) fn shown(&self) -> Member<'_> {
        Member {
            member: self.number,
            client: &self.client,
            user: &self.user,
            info: &self.info,
            role: self.role.on_the_wire(),
        }
    }
}

/// The members of a room at one moment. Made anew with every change, so that senders share it without a lock.
#[derive(Debug, Clone, PartialEq)]
pub struct Roll {
    /// The room's name.
    pub room: PairId,
    /// In the order of their numbers.
    pub members: Box<[Arc<RoomMember>]>,
}

impl Roll {
    /// The member with this number.
    #[must_use]
    pub fn find(&self, number: u32) -> Option<&Arc<RoomMember>> {
        let index = self.members.binary_search_by_key(&number, |member| member.number).ok()?;
        self.members.get(index)
    }

    /// The same with one more, who came last.
    pub(super) fn with(&self, newcomer: RoomMember) -> Arc<Self> {
        let members = self.members.iter().cloned().chain([Arc::new(newcomer)]).collect();
        Arc::new(Self { room: self.room.clone(), members })
    }

    /// The same without those.
    pub(super) fn without(&self, gone: &[u32]) -> Arc<Self> {
        let stays = |member: &&Arc<RoomMember>| !gone.contains(&member.number);
        let members = self.members.iter().filter(stays).cloned().collect();
        Arc::new(Self { room: self.room.clone(), members })
    }

    /// The same, with some of them changed.
    pub(super) fn changed(&self, numbers: &[u32], change: impl Fn(&mut RoomMember)) -> Arc<Self> {
        let changed = |member: &Arc<RoomMember>| {
            let mut member = Arc::clone(member);
            if numbers.contains(&member.number) {
                change(Arc::make_mut(&mut member));
            }
            member
        };
        Arc::new(Self { room: self.room.clone(), members: self.members.iter().map(changed).collect() })
    }

    /// Who owns the room when its owner has left: a moderator before the others, and of these whoever came first.
    pub(super) fn heir(&self) -> Option<u32> {
        let rank = |member: &&Arc<RoomMember>| (std::cmp::Reverse(member.role), member.number);
        self.members.iter().min_by_key(rank).map(|member| member.number)
    }
}
