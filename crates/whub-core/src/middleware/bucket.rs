//! Token buckets: so many calls in a time, some of them at once.
//!
//! A bucket is one number, the time at which it is full again (the generic cell rate algorithm). So a full bucket is
//! the same as none, and is forgotten first.

use std::borrow::Borrow;
use std::collections::BTreeMap;
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

/// Buckets of one kind that are kept at most. Whoever comes beyond it shares one bucket with the others who do.
pub const BUCKETS_MAX: usize = 65_536;

/// How many calls in which time.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Rate {
    /// Calls in `period`; at least 1.
    pub count: u32,
    /// The time, more than 0.
    pub period: Duration,
    /// Calls that may come at once after a rest; at least 1.
    pub burst: u32,
}

impl Rate {
    /// Takes a token from a bucket of one's own, which is full at that time, or is filling up to it.
    pub(crate) fn draw(self, now: Instant, full_at: &mut Instant) -> Result<(), Duration> {
        draw(self, now, full_at)
    }

    /// The time of one call.
    fn interval(self) -> Duration {
        (self.period / self.count.max(1)).max(Duration::from_nanos(1))
    }
}

/// Buckets of one rate, by whom they belong to.
#[derive(Debug)]
pub struct Buckets<K> {
    rate: Rate,
    // Held for one look.
    table: Mutex<Table<K>>,
}

#[derive(Debug)]
struct Table<K> {
    /// When each is full again.
    full_at: BTreeMap<K, Instant>,
    /// The one that those share who found no place.
    shared: Option<Instant>,
    /// How many there may be before full ones are looked for.
    sweep_at: usize,
    buckets_max: usize,
}

/// Buckets from which looking for full ones begins to pay.
const SWEEP_MIN: usize = 1024;

impl<K: Ord> Buckets<K> {
    /// Full buckets, at most [`BUCKETS_MAX`] that are not.
    #[must_use]
    pub fn new(rate: Rate) -> Self {
        Self::bounded(rate, BUCKETS_MAX)
    }

    /// The same with another bound.
    #[must_use]
    pub fn bounded(rate: Rate, buckets_max: usize) -> Self {
        let sweep_at = SWEEP_MIN.min(buckets_max);
        let table = Table { full_at: BTreeMap::new(), shared: None, sweep_at, buckets_max };
        Self { rate, table: Mutex::new(table) }
    }

    /// What they let through.
    #[must_use]
    pub fn rate(&self) -> Rate {
        self.rate
    }

    /// Buckets that are not full, or have not been looked at since they were.
    #[must_use]
    pub fn len(&self) -> usize {
        self.table.lock().unwrap_or_else(PoisonError::into_inner).full_at.len()
    }

    /// Whether there is none.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Takes a token.
    ///
    /// # Errors
    /// How long until there is one.
    pub fn take<Q>(&self, now: Instant, key: &Q) -> Result<(), Duration>
    where
        K: Borrow<Q>,
        Q: Ord + ToOwned<Owned: Into<K>> + ?Sized,
    {
        let mut table = self.table.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(full_at) = table.full_at.get_mut(key) {
            return draw(self.rate, now, full_at);
        }
        if table.full_at.len() >= table.sweep_at {
            table.sweep(now);
        }
        if table.full_at.len() >= table.buckets_max {
            return draw(self.rate, now, table.shared.get_or_insert(now));
        }
        let mut full_at = now;
        let drawn = draw(self.rate, now, &mut full_at);
        table.full_at.insert(key.to_owned().into(), full_at);
        drawn
    }
}

impl<K: Ord> Table<K> {
    /// Forgets full buckets. What is left decides when it is worth the while again.
    fn sweep(&mut self, now: Instant) {
        self.full_at.retain(|_, full_at| *full_at > now);
        self.sweep_at = (2 * self.full_at.len()).clamp(SWEEP_MIN.min(self.buckets_max), self.buckets_max);
    }
}

fn draw(rate: Rate, now: Instant, full_at: &mut Instant) -> Result<(), Duration> {
    let interval = rate.interval();
    let then = (*full_at).max(now) + interval;
    let depth = interval.saturating_mul(rate.burst.max(1));
    match then.saturating_duration_since(now).checked_sub(depth) {
        Some(wait) if !wait.is_zero() => Err(wait),
        Some(_) | None => {
            *full_at = then;
            Ok(())
        }
    }
}

#[cfg(test)]
// Where the made-up clock starts is the one thing it has to ask.
#[allow(clippy::disallowed_methods)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const MS: Duration = Duration::from_millis(1);

    fn rate(count: u32, period: Duration, burst: u32) -> Rate {
        Rate { count, period, burst }
    }

    #[test]
    fn a_burst_then_one_at_a_time() {
        let buckets = Buckets::<Box<str>>::new(rate(10, 1000 * MS, 3));
        let start = Instant::now();
        for _ in 0..3 {
            assert_eq!(buckets.take(start, "a"), Ok(()));
        }
        assert_eq!(buckets.take(start, "a"), Err(100 * MS));
        assert_eq!(buckets.take(start, "b"), Ok(()), "another one's bucket");
        assert_eq!(buckets.take(start + 99 * MS, "a"), Err(MS));
        assert_eq!(buckets.take(start + 100 * MS, "a"), Ok(()));
        assert_eq!(buckets.take(start + 100 * MS, "a"), Err(100 * MS));
    }

    #[test]
    fn full_buckets_are_forgotten_and_late_comers_share_one() {
        let buckets = Buckets::<Box<str>>::bounded(rate(1, 1000 * MS, 1), 3);
        let start = Instant::now();
        for key in ["a", "b", "c", "d"] {
            assert_eq!(buckets.take(start, key), Ok(()), "{key}");
        }
        assert_eq!(buckets.len(), 3);
        assert!(buckets.take(start, "e").is_err(), "d has drawn from the shared one");
        assert!(buckets.take(start, "a").is_err(), "those who have one keep it");
        assert_eq!(buckets.take(start + 1000 * MS, "e"), Ok(()));
        assert_eq!(buckets.len(), 1);
    }

    proptest! {
        #[test]
        fn never_more_than_the_burst_and_the_rate(
            count in 1u32..50,
            period_ms in 1u64..5000,
            burst in 1u32..20,
            steps in prop::collection::vec(0u64..400, 1..200),
        ) {
            let rate = rate(count, Duration::from_millis(period_ms), burst);
            let buckets = Buckets::<Box<str>>::new(rate);
            let start = Instant::now();
            let (mut now, mut admitted) = (start, 0u128);
            for step in steps {
                now += Duration::from_millis(step);
                match buckets.take(now, "a") {
                    Ok(()) => admitted += 1,
                    // What it says is true: then there is one.
                    Err(wait) => {
                        now += wait;
                        prop_assert_eq!(buckets.take(now, "a"), Ok(()));
                        admitted += 1;
                    }
                }
                let earned = (now - start).as_nanos() / rate.interval().as_nanos();
                prop_assert!(admitted <= u128::from(burst) + earned, "{} > {} + {}", admitted, burst, earned);
            }
        }
    }
}
