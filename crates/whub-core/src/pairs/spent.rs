//! Ids that were for two halves and no more, and have had them.

use std::collections::{HashSet, VecDeque};
use std::time::{Duration, Instant};

use whub_proto::names::PairId;

/// How long an id stays spent, from the meeting of its halves: a day.
pub const SPENT_FOR: Duration = Duration::from_secs(24 * 60 * 60);

/// How many spent ids a hub remembers; beyond it those that were spent first are forgotten.
pub const SPENT_IDS_MAX: usize = 65_536;

/// The spent ids of one shard.
#[derive(Debug, Default)]
pub(super) struct Spent {
    ids: HashSet<PairId>,
    /// Oldest first, as near as their halves' leaving lets it be.
    order: VecDeque<(Instant, PairId)>,
}

impl Spent {
    /// Forgets what was spent long ago.
    pub(super) fn expire(&mut self, now: Instant) {
        while let Some((since, _)) = self.order.front()
            && now.saturating_duration_since(*since) >= SPENT_FOR
        {
            self.forget_oldest();
        }
    }

    pub(super) fn contains(&self, id: &PairId) -> bool {
        !self.ids.is_empty() && self.ids.contains(id)
    }

    /// The id is spent since then.
    pub(super) fn insert(&mut self, id: &PairId, since: Instant, ids_max: usize) {
        if !self.ids.insert(id.clone()) {
            return;
        }
        self.order.push_back((since, id.clone()));
        if self.order.len() > ids_max {
            self.forget_oldest();
        }
    }

    fn forget_oldest(&mut self) {
        if let Some((_, id)) = self.order.pop_front() {
            self.ids.remove(&id);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    #[allow(clippy::disallowed_methods)] // Where the made-up clock starts.
    fn the_oldest_are_forgotten_by_time_and_by_number() {
        let id = |text: &str| PairId::parse(text).unwrap();
        let (mut spent, now) = (Spent::default(), Instant::now());
        spent.insert(&id("a"), now, 2);
        spent.insert(&id("b"), now + Duration::from_secs(1), 2);
        spent.expire(now + SPENT_FOR);
        assert!(!spent.contains(&id("a")) && spent.contains(&id("b")));
        spent.insert(&id("c"), now, 2);
        spent.insert(&id("d"), now, 2);
        assert!(!spent.contains(&id("b")) && spent.contains(&id("c")) && spent.contains(&id("d")));
    }
}
