//! One room: its members, its terms, and who may change what.
//!
//! Two locks. `state` is what the room is; it is held for a few lines, and nothing is sent under it. `order` is held
//! by whoever changes the room until all members have been told, so that everybody learns of every change in the same
//! order, and a newcomer's first message comes after the news of its coming. Messages need neither: their sender
//! takes the roll and lets go. So changes of one room wait for each other, and nothing else waits for them.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Instant;

use whub_proto::Code;
use whub_proto::names::PairId;

use crate::fault::Fault;
use crate::hub::Now;
use crate::letter::Letter;
use crate::mailbox::Mailbox;
use crate::packet::Packet;
use crate::pairs::PairSecret;
use crate::rooms::kept::Kept;
use crate::rooms::member::{Role, Roll, RoomMember};
use crate::rooms::{RoomLimits, news};

/// When to come back to a room that is full.
const RETRY_MS: u32 = 1000;

/// A room.
#[derive(Debug)]
pub struct Room {
    /// Its name.
    pub name: PairId,
    order: Mutex<()>,
    state: Mutex<State>,
}

#[derive(Debug)]
struct State {
    roll: Arc<Roll>,
    /// The number of whoever came last.
    numbers: u32,
    /// Of whoever opened it.
    secret: Option<PairSecret>,
    terms: Terms,
    /// Nobody has been in it yet: the first one says what it is.
    fresh: bool,
    /// It is in no table any more.
    ended: bool,
    /// Since nobody is in it: until when it is kept.
    kept_until: Option<Instant>,
}

/// What holds for a room, for all to see.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Terms {
    /// Members that fit in.
    pub capacity: u16,
    /// Nobody else is let in.
    pub locked: bool,
}

/// Somebody at the door.
#[derive(Debug, Clone)]
pub struct Entrant<'a> {
    /// Its session.
    pub mailbox: Mailbox,
    /// The id of its `Join`; 0 on a plain WebSocket.
    pub seat: u64,
    /// The hub's name for the client.
    pub client: &'a str,
    /// Who it is; empty for the anonymous.
    pub user: &'a str,
    /// What it shows to the others, JSON.
    pub info: &'a str,
    /// What it knows; of the first one, what all others have to know.
    pub secret: Option<PairSecret>,
    /// The first one's wish; 0 = as many as the hub allows.
    pub capacity: u16,
}

/// Somebody is in.
#[derive(Debug)]
pub(crate) struct Entered {
    pub(crate) room: Arc<Room>,
    pub(crate) number: u32,
    /// What it is told first: who is there.
    pub(crate) state: Vec<Packet>,
}

/// Why somebody is not let in.
#[derive(Debug)]
pub(super) enum NotEntered {
    /// The room has just ended; there may be another of the name.
    Ended,
    Refused(Fault),
}

/// Who wants something done in a room.
#[derive(Debug, Clone, Copy)]
pub enum By {
    /// The member with this number; `admin`: one that may do what owners may.
    Member {
        /// Its number.
        number: u32,
        /// Its token says that it may administer.
        admin: bool,
    },
    /// Somebody who administers, from outside.
    Admin,
}

/// What somebody wants done in a room.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Act<'a> {
    /// Show the others something else.
    Update(&'a str),
    /// Send members away.
    Kick(&'a [u32], &'a str),
    /// Let nobody else in, or let them in again.
    Lock(bool),
    /// Make members moderators.
    Promote(&'a [u32]),
    /// Make moderators members.
    Demote(&'a [u32]),
    /// End the room, for this reason.
    Close(&'a str),
}

impl<'a> Act<'a> {
    /// Whom it is about.
    pub(super) fn numbers(self) -> &'a [u32] {
        match self {
            Self::Kick(numbers, _) | Self::Promote(numbers) | Self::Demote(numbers) => numbers,
            Self::Update(_) | Self::Lock(_) | Self::Close(_) => &[],
        }
    }
}

impl Room {
    pub(super) fn new(name: PairId) -> Self {
        let roll = Arc::new(Roll { room: name.clone(), members: Box::default() });
        let state = State {
            roll,
            numbers: 0,
            secret: None,
            terms: Terms { capacity: 0, locked: false },
            fresh: true,
            ended: false,
            kept_until: None,
        };
        Self { name, order: Mutex::default(), state: Mutex::new(state) }
    }

    /// Who is in it now.
    #[must_use]
    pub fn roll(&self) -> Arc<Roll> {
        Arc::clone(&self.state().roll)
    }

    /// What holds for it now.
    #[must_use]
    pub fn terms(&self) -> Terms {
        self.state().terms
    }

    /// Whether one has to know a secret to get in.
    #[must_use]
    pub fn is_secret(&self) -> bool {
        self.state().secret.is_some()
    }

    /// Whom this member's messages reach, itself among them; `None` if it is no member any more.
    pub(crate) fn roll_for(&self, number: u32) -> Option<Arc<Roll>> {
        let roll = self.roll();
        roll.find(number).is_some().then_some(roll)
    }

    pub(super) fn enter(
        self: &Arc<Self>,
        limits: &RoomLimits,
        kept: &Kept,
        entrant: &Entrant<'_>,
        now: Now,
    ) -> Result<Entered, NotEntered> {
        let order = self.order();
        let (roll, terms, number) = {
            let mut state = self.state();
            state.admit(limits, entrant)?;
            if let Some(until) = state.kept_until.take() {
                kept.remove(until, &self.name);
            }
            state.numbers += 1;
            let newcomer = RoomMember {
                number: state.numbers,
                mailbox: entrant.mailbox.clone(),
                seat: entrant.seat,
                client: entrant.client.into(),
                user: entrant.user.into(),
                info: entrant.info.into(),
                role: if state.roll.members.is_empty() { Role::Owner } else { Role::Member },
                since_ms: now.unix_ms,
            };
            state.roll = state.roll.with(newcomer);
            (Arc::clone(&state.roll), state.terms, state.numbers)
        };
        if let Some(newcomer) = roll.find(number) {
            news::tell(&roll, Some(number), &news::joined(&roll, newcomer));
        }
        drop(order);
        Ok(Entered { room: Arc::clone(self), number, state: news::state(&roll, terms) })
    }

    /// A member goes. True when it was the last one.
    pub(super) fn leave(
        &self,
        limits: &RoomLimits,
        kept: &Kept,
        number: u32,
        reason: &str,
        now: Instant,
    ) -> bool {
        let _order = self.order();
        let (roll, heir, terms, empty) = {
            let mut state = self.state();
            if state.roll.find(number).is_none() {
                // It was sent away meanwhile.
                return false;
            }
            state.roll = state.roll.without(&[number]);
            let heir = state.inherit();
            let empty = state.keep(limits, kept, &self.name, now);
            (Arc::clone(&state.roll), heir, state.terms, empty)
        };
        self.tell_left(&roll, &[number], reason, heir, terms);
        empty
    }

    /// Does what somebody wants done. True when nobody is in the room afterwards.
    pub(super) fn act(
        self: &Arc<Self>,
        limits: &RoomLimits,
        kept: &Kept,
        by: By,
        act: Act<'_>,
        now: Instant,
    ) -> Result<bool, Fault> {
        let _order = self.order();
        match act {
            Act::Update(info) => self.update(by, info).map(|()| false),
            Act::Kick(numbers, reason) => self.kick(limits, kept, by, numbers, reason, now),
            Act::Lock(locked) => self.lock(by, locked).map(|()| false),
            Act::Promote(numbers) => self.appoint(by, numbers, Role::Moderator).map(|()| false),
            Act::Demote(numbers) => self.appoint(by, numbers, Role::Member).map(|()| false),
            Act::Close(reason) => self.close(kept, by, reason).map(|()| true),
        }
    }

    fn update(&self, by: By, info: &str) -> Result<(), Fault> {
        let By::Member { number, .. } = by else {
            return Err(Fault::fatal(Code::BadRequest, "room.act", "only members have info to show"));
        };
        let info: Arc<str> = info.into();
        self.change(by, Role::Member, |state| {
            state.roll = state.roll.changed(&[number], |member| member.info = Arc::clone(&info));
            Ok(vec![number])
        })
    }

    fn lock(&self, by: By, locked: bool) -> Result<(), Fault> {
        self.change(by, Role::Moderator, |state| {
            state.terms.locked = locked;
            Ok(Vec::new())
        })
    }

    fn appoint(&self, by: By, numbers: &[u32], role: Role) -> Result<(), Fault> {
        self.change(by, Role::Owner, |state| {
            for member in state.named(numbers)? {
                if member.role == Role::Owner {
                    let reason = "the owner stays the owner for as long as it is in the room";
                    return Err(Fault::fatal(Code::Conflict, "room.owner", reason));
                }
            }
            state.roll = state.roll.changed(numbers, |member| member.role = role);
            Ok(numbers.to_vec())
        })
    }

    /// Changes the state, if `by` is of this rank at least, and tells everybody.
    fn change(
        &self,
        by: By,
        rank: Role,
        change: impl FnOnce(&mut State) -> Result<Vec<u32>, Fault>,
    ) -> Result<(), Fault> {
        let (roll, numbers, terms) = {
            let mut state = self.state();
            state.demand(by, rank)?;
            let numbers = change(&mut state)?;
            (Arc::clone(&state.roll), numbers, state.terms)
        };
        news::tell_all(&roll, &news::updated(&roll, &numbers, terms));
        Ok(())
    }

    fn kick(
        self: &Arc<Self>,
        limits: &RoomLimits,
        kept: &Kept,
        by: By,
        numbers: &[u32],
        reason: &str,
        now: Instant,
    ) -> Result<bool, Fault> {
        let (before, roll, heir, terms, empty) = {
            let mut state = self.state();
            let rank = state.demand(by, Role::Moderator)?;
            state.check_kick(by, rank, numbers)?;
            let before = Arc::clone(&state.roll);
            state.roll = before.without(numbers);
            let heir = state.inherit();
            let empty = state.keep(limits, kept, &self.name, now);
            (before, Arc::clone(&state.roll), heir, state.terms, empty)
        };
        let reason = if reason.is_empty() { "sent away" } else { reason };
        let packet = news::closed(&roll, reason);
        for gone in before.members.iter().filter(|member| numbers.contains(&member.number)) {
            self.expel(gone, &packet);
        }
        self.tell_left(&roll, numbers, reason, heir, terms);
        Ok(empty)
    }

    fn close(self: &Arc<Self>, kept: &Kept, by: By, reason: &str) -> Result<(), Fault> {
        let roll = {
            let mut state = self.state();
            state.demand(by, Role::Owner)?;
            state.ended = true;
            if let Some(until) = state.kept_until.take() {
                kept.remove(until, &self.name);
            }
            let nobody = state.roll.without(&state.roll.members.iter().map(|m| m.number).collect::<Vec<_>>());
            std::mem::replace(&mut state.roll, nobody)
        };
        let reason = if reason.is_empty() { "the room was closed" } else { reason };
        let packet = news::closed(&roll, reason);
        for member in &roll.members {
            self.expel(member, &packet);
        }
        Ok(())
    }

    /// Ends the room if nobody is in it, and, with a time, if it was kept for as long as it is to be.
    pub(super) fn end_if_empty(&self, now: Option<Instant>) -> bool {
        let mut state = self.state();
        let over = |until: Instant| now.is_none_or(|now| until <= now);
        if state.ended || !state.kept_until.is_some_and(over) {
            return false;
        }
        state.ended = true;
        true
    }

    pub(super) fn has_ended(&self) -> bool {
        self.state().ended
    }

    /// Its session tells its peer, once it knows itself.
    fn expel(self: &Arc<Self>, member: &RoomMember, event: &Packet) {
        let (room, event) = (Arc::clone(self), event.clone());
        // That it has just gone by itself is nobody's loss.
        let _ =
            member.mailbox.post(Letter::Expelled { room, seat: member.seat, number: member.number, event });
    }

    fn tell_left(&self, roll: &Roll, gone: &[u32], reason: &str, heir: Option<u32>, terms: Terms) {
        if roll.members.is_empty() {
            return;
        }
        news::tell(roll, None, &news::left(roll, gone, reason));
        if let Some(heir) = heir {
            news::tell_all(roll, &news::updated(roll, &[heir], terms));
        }
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn order(&self) -> MutexGuard<'_, ()> {
        self.order.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl State {
    /// Whether somebody is let in. The secret comes first, so that nobody who does not know it learns anything else.
    fn admit(&mut self, limits: &RoomLimits, entrant: &Entrant<'_>) -> Result<(), NotEntered> {
        if self.ended {
            return Err(NotEntered::Ended);
        }
        if std::mem::take(&mut self.fresh) {
            self.secret = entrant.secret.clone();
            let wish = if entrant.capacity == 0 { limits.members } else { entrant.capacity };
            self.terms.capacity = wish.min(limits.members);
        }
        if !PairSecret::agree(self.secret.as_ref(), entrant.secret.as_ref()) {
            let reason = "the room's secret is another one; ask somebody who is in the room";
            return Err(NotEntered::Refused(Fault::fatal(Code::Forbidden, "room.secret", reason)));
        }
        if self.terms.locked {
            let reason = "the room is locked; ask somebody who is in the room to unlock it";
            return Err(NotEntered::Refused(Fault::fatal(Code::Conflict, "room.locked", reason)));
        }
        if self.roll.members.len() >= usize::from(self.terms.capacity) {
            let reason = format!("the room is full, {} members are in it", self.terms.capacity);
            return Err(NotEntered::Refused(Fault::passing(
                Code::Unavailable,
                "room.full",
                RETRY_MS,
                reason,
            )));
        }
        Ok(())
    }

    /// The rank of `by`, if it is this one at least.
    fn demand(&self, by: By, rank: Role) -> Result<Role, Fault> {
        if self.ended {
            return Err(Fault::fatal(Code::Gone, "room.closed", "the room was closed"));
        }
        let has = match by {
            By::Admin => Role::Owner,
            By::Member { number, admin } => {
                let member = self.roll.find(number).ok_or_else(not_in)?;
                if admin { Role::Owner } else { member.role }
            }
        };
        if has < rank {
            let reason = format!("in this room it takes the role {} to do that", rank.name());
            return Err(Fault::fatal(Code::Forbidden, "room.rights", reason));
        }
        Ok(has)
    }

    /// The members of these numbers: all of them, or none.
    fn named<'a>(&'a self, numbers: &[u32]) -> Result<Vec<&'a RoomMember>, Fault> {
        if numbers.is_empty() {
            return Err(Fault::fatal(
                Code::BadRequest,
                "room.members",
                "say which members: name their numbers",
            ));
        }
        let find = |number: &u32| {
            self.roll.find(*number).map(|member| &**member).ok_or_else(|| {
                let reason = format!("nobody in the room has the number {number}");
                Fault::fatal(Code::NotFound, "room.no_member", reason)
            })
        };
        numbers.iter().map(find).collect()
    }

    fn check_kick(&self, by: By, rank: Role, numbers: &[u32]) -> Result<(), Fault> {
        for member in self.named(numbers)? {
            if matches!(by, By::Member { number, .. } if number == member.number) {
                let reason = "who wants to go itself leaves the room";
                return Err(Fault::fatal(Code::BadRequest, "room.kick_self", reason));
            }
            // Equals cannot send each other away; an owner has no equal but those who administer.
            if rank < Role::Owner && member.role >= rank {
                let reason = format!("member {} is {}", member.number, member.role.name());
                return Err(Fault::fatal(Code::Forbidden, "room.rights", reason));
            }
        }
        Ok(())
    }

    /// If the owner has left, somebody else is it now.
    fn inherit(&mut self) -> Option<u32> {
        if self.roll.members.iter().any(|member| member.role == Role::Owner) {
            return None;
        }
        let heir = self.roll.heir()?;
        self.roll = self.roll.changed(&[heir], |member| member.role = Role::Owner);
        Some(heir)
    }

    /// If nobody is in the room, it is kept for a while, and unlocked: nobody could ever unlock it.
    fn keep(&mut self, limits: &RoomLimits, kept: &Kept, name: &PairId, now: Instant) -> bool {
        if !self.roll.members.is_empty() {
            return false;
        }
        let until = now + limits.empty_ttl;
        self.terms.locked = false;
        self.kept_until = Some(until);
        kept.insert(until, name);
        true
    }
}

/// The fault of a command about a room that one is not in.
pub(crate) fn not_in() -> Fault {
    Fault::fatal(Code::NotFound, "join.not_found", "this session is not in the room")
}
