//! Counts durations in buckets that are at most 1/64 of their value wide, so that its size does not grow with use.

use std::time::Duration;

/// Buckets per power of two.
const STEPS: u64 = 64;

/// Powers of two that are told apart; the longest is about 18 minutes in nanoseconds, longer ones count as that.
const POWERS: u64 = 40;

/// How long things took.
#[derive(Clone, Debug)]
pub(crate) struct Histogram {
    buckets: Vec<u64>,
    count: u64,
    longest: Duration,
}

impl Default for Histogram {
    fn default() -> Self {
        Self { buckets: vec![0; (POWERS * STEPS) as usize], count: 0, longest: Duration::ZERO }
    }
}

impl Histogram {
    pub(crate) fn add(&mut self, took: Duration) {
        let nanos = u64::try_from(took.as_nanos()).unwrap_or(u64::MAX);
        let last = self.buckets.len() - 1;
        self.buckets[bucket(nanos).min(last)] += 1;
        self.count += 1;
        self.longest = self.longest.max(took);
    }

    pub(crate) fn merge(&mut self, other: &Self) {
        for (ours, theirs) in self.buckets.iter_mut().zip(&other.buckets) {
            *ours += theirs;
        }
        self.count += other.count;
        self.longest = self.longest.max(other.longest);
    }

    pub(crate) fn count(&self) -> u64 {
        self.count
    }

    pub(crate) fn longest(&self) -> Duration {
        self.longest
    }

    /// The duration that `share` (0 to 1) of all stayed within; nothing was faster than 0 if there were none.
    pub(crate) fn quantile(&self, share: f64) -> Duration {
        let wanted = (self.count as f64 * share).ceil().max(1.0) as u64;
        let mut seen = 0;
        for (index, count) in self.buckets.iter().enumerate() {
            seen += count;
            if seen >= wanted {
                return Duration::from_nanos(upper(index as u64)).min(self.longest);
            }
        }
        self.longest
    }
}

/// Values below `STEPS` have a bucket each; above, the leading bits choose it.
fn bucket(nanos: u64) -> usize {
    if nanos < STEPS {
        return nanos as usize;
    }
    let power = u64::from(nanos.ilog2() - STEPS.ilog2());
    ((power * STEPS) + (nanos >> power)) as usize
}

/// The largest value of a bucket.
fn upper(index: u64) -> u64 {
    if index < STEPS {
        return index;
    }
    let power = (index / STEPS).saturating_sub(1);
    (((index - power * STEPS) + 1) << power) - 1
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn buckets_hold_what_they_claim() {
        for nanos in (0..5_000).chain([65_535, 65_536, 1_000_000, 123_456_789, 3_600_000_000]) {
            let index = bucket(nanos) as u64;
            assert!(upper(index) >= nanos, "{nanos}");
            assert!(upper(index) - nanos <= nanos / 64 + 1, "{nanos}");
            assert!(index == 0 || upper(index - 1) < nanos, "{nanos}");
        }
    }

    #[test]
    fn quantiles_are_close_from_above() {
        let mut histogram = Histogram::default();
        for micros in 1..=1000 {
            histogram.add(Duration::from_micros(micros));
        }
        let close = |share: f64, micros: f64| {
            let found = histogram.quantile(share).as_nanos() as f64 / 1000.0;
            assert!((micros..micros * 1.02).contains(&found), "{share}: {found}");
        };
        close(0.5, 500.0);
        close(0.99, 990.0);
        assert_eq!(histogram.quantile(1.0), Duration::from_millis(1));
        assert_eq!((histogram.count(), histogram.longest()), (1000, Duration::from_millis(1)));
    }

    #[test]
    fn extremes_are_counted() {
        let mut histogram = Histogram::default();
        assert_eq!(histogram.quantile(0.5), Duration::ZERO);
        histogram.add(Duration::MAX);
        let mut sum = Histogram::default();
        sum.merge(&histogram);
        assert_eq!((sum.count(), sum.longest()), (1, Duration::MAX));
    }
}
