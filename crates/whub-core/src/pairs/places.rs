//! One shard of the table: who waits where, and under which terms.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Instant;

use whub_proto::names::PairId;
use whub_proto::{Code, Third};

use crate::fault::Fault;
use crate::pairs::spent::{SPENT_IDS_MAX, Spent};
use crate::pairs::terms::{About, Guest, PairSecret};
use crate::pairs::{Half, HalfId, SHARDS, Visit};

/// The ids of one shard.
#[derive(Debug, Default)]
pub(super) struct Shard {
    places: HashMap<PairId, Place>,
    spent: Spent,
    /// When somebody came last.
    clock: Option<Instant>,
}

/// An id where somebody waits, or where terms hold.
#[derive(Debug)]
struct Place {
    waiting: Option<Waiting>,
    meeting: Option<Box<Meeting>>,
}

/// A half that waits.
#[derive(Debug)]
pub(super) struct Waiting {
    pub(super) half: Half,
    pub(super) about: Option<Arc<About>>,
}

/// The terms of an id, and who sits there under them.
#[derive(Debug)]
struct Meeting {
    secret: Option<PairSecret>,
    third: Third,
    once: bool,
    /// In the order they came.
    seats: Vec<Half>,
    /// When two have met.
    met: Option<Instant>,
}

/// What the table has for a half that was let in.
#[derive(Debug)]
pub(super) struct Entry {
    pub(super) seated: bool,
    pub(super) replaces: Option<Half>,
    /// Who waited, and whether the one who comes is the initiator all the same; `None`: it waits itself.
    pub(super) meets: Option<(Waiting, bool)>,
}

impl Shard {
    pub(super) fn enter(&mut self, id: &PairId, visit: Visit<'_>) -> Result<Entry, Fault> {
        if let Some(now) = visit.now {
            self.clock = Some(now);
            self.spent.expire(now);
        }
        if self.spent.contains(id) {
            return Err(spent());
        }
        let waiting = Waiting { half: visit.half.clone(), about: visit.guest.about.clone() };
        let Some(place) = self.places.get_mut(id) else {
            if visit.seated {
                return Err(replaced());
            }
            let meeting = visit.guest.has_terms().then(|| Box::new(Meeting::new(visit)));
            let seated = meeting.is_some();
            self.places.insert(id.clone(), Place { waiting: Some(waiting), meeting });
            return Ok(Entry { seated, replaces: None, meets: None });
        };
        let Some(meeting) = &mut place.meeting else {
            if visit.seated {
                return Err(replaced());
            }
            if visit.guest.secret.is_some() {
                return Err(wrong_secret());
            }
            let place = self.places.remove(id);
            let meets = place.and_then(|place| place.waiting).map(|waiting| (waiting, false));
            return Ok(Entry { seated: false, replaces: None, meets });
        };
        let replaces = meeting.admit(visit)?;
        let free = place.waiting.take().filter(|waiting| Some(&waiting.half) != replaces.as_ref());
        let meets = free.map(|other| {
            meeting.met = meeting.met.or(self.clock);
            let initiator = visit.now.is_none() && meeting.came_before(visit.half, &other.half);
            (other, initiator)
        });
        if meets.is_none() {
            place.waiting = Some(waiting);
        }
        Ok(Entry { seated: true, replaces, meets })
    }

    /// Who was met has ended.
    pub(super) fn handle_missed(&mut self, id: &PairId) {
        if let Some(meeting) = self.places.get_mut(id).and_then(|place| place.meeting.as_mut()) {
            meeting.met = meeting.met.filter(|_| !meeting.once);
        }
    }

    pub(super) fn leave(&mut self, id: &PairId, half: HalfId) {
        let Some(place) = self.places.get_mut(id) else { return };
        place.waiting.take_if(|waiting| waiting.half.id() == half);
        if let Some(meeting) = &mut place.meeting {
            meeting.seats.retain(|seat| seat.id() != half);
            if !meeting.seats.is_empty() {
                return;
            }
            if let Some(met) = meeting.met.filter(|_| meeting.once) {
                self.spent.insert(id, met, SPENT_IDS_MAX / SHARDS);
            }
        }
        if place.waiting.is_none() {
            self.places.remove(id);
        }
    }

    pub(super) fn step_aside(&mut self, id: &PairId, half: HalfId) -> bool {
        let Some(place) = self.places.get_mut(id) else { return false };
        let stepped = place.waiting.take_if(|waiting| waiting.half.id() == half).is_some();
        if stepped && place.meeting.is_none() {
            self.places.remove(id);
        }
        stepped
    }

    pub(super) fn waiting(&self) -> usize {
        self.places.values().filter(|place| place.waiting.is_some()).count()
    }
}

impl Meeting {
    fn new(visit: Visit<'_>) -> Self {
        let Guest { secret, third, once, .. } = visit.guest.clone();
        Self { secret, third, once, seats: vec![visit.half.clone()], met: None }
    }

    /// Gives the half a seat, unless it has one. What comes out is who has to go for it.
    fn admit(&mut self, visit: Visit<'_>) -> Result<Option<Half>, Fault> {
        let known = self.seats.iter().any(|seat| seat.id() == visit.half.id());
        if visit.seated && !known {
            return Err(replaced());
        }
        if self.once && self.met.is_some() {
            return Err(spent());
        }
        if known {
            return Ok(None);
        }
        if !PairSecret::agree(self.secret.as_ref(), visit.guest.secret.as_ref()) {
            return Err(wrong_secret());
        }
        let replaces = match self.third {
            Third::Next | Third::Unknown(_) => None,
            Third::Reject | Third::Replace if self.seats.len() < 2 => None,
            // Who has only lost its partner is not a reason for anybody to go.
            Third::Replace if visit.now.is_some() => self.seats.pop(),
            Third::Reject | Third::Replace => return Err(full()),
        };
        self.seats.push(visit.half.clone());
        Ok(replaces)
    }

    /// Who was there first begins, also when it is the other that waited, in the place of one that had to go.
    fn came_before(&self, half: &Half, other: &Half) -> bool {
        let place = |half: &Half| self.seats.iter().position(|seat| seat.id() == half.id());
        self.third == Third::Replace && place(half) < place(other)
    }
}

fn wrong_secret() -> Fault {
    Fault::fatal(Code::Forbidden, "pair.secret", "the secret of this pair is another, or missing")
}

fn full() -> Fault {
    Fault::fatal(Code::Conflict, "pair.full", "this pair has its two halves, and takes no third")
}

fn spent() -> Fault {
    Fault::fatal(Code::Gone, "pair.spent", "this pair was for one meeting, which has been; take another id")
}

/// What a half is told that had to go for another.
pub(crate) fn replaced() -> Fault {
    Fault::fatal(Code::Replaced, "pair.replaced", "another has taken this place in the pair")
}
