//! How long calls took: a histogram whose buckets grow with what they hold.
//!
//! Four buckets per power of two, so a quantile is at most a quarter too large; from 1 µs to over an hour in 1 KiB.

use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::time::Duration;

/// Buckets per power of two: 2 to the power of this.
const FINE_BITS: u32 = 2;

/// Powers of two from 1 µs on: the last bucket takes what lasts over an hour.
const OCTAVES: u32 = 32;

const BUCKETS: usize = (OCTAVES << FINE_BITS) as usize;

/// Durations of calls, counted.
pub struct Histogram {
    buckets: Box<[AtomicU64; BUCKETS]>,
}

impl Default for Histogram {
    fn default() -> Self {
        Self { buckets: Box::new([const { AtomicU64::new(0) }; BUCKETS]) }
    }
}

impl std::fmt::Debug for Histogram {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Histogram({:?})", self.read())
    }
}

/// What a histogram says at one moment.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Latency {
    /// Calls that were measured.
    pub count: u64,
    /// Half of them took no longer.
    pub p50: Duration,
    /// Nine in ten took no longer.
    pub p90: Duration,
    /// All but one in a hundred took no longer.
    pub p99: Duration,
}

impl Histogram {
    /// Counts one.
    pub fn record(&self, duration: Duration) {
        self.buckets[index(duration)].fetch_add(1, Relaxed);
    }

    /// What it says now. Quantiles are the upper ends of their buckets.
    #[must_use]
    pub fn read(&self) -> Latency {
        let counts: Vec<u64> = self.buckets.iter().map(|bucket| bucket.load(Relaxed)).collect();
        let count = counts.iter().sum();
        let quantile = |hundredths: u64| quantile(&counts, count, hundredths);
        Latency { count, p50: quantile(50), p90: quantile(90), p99: quantile(99) }
    }

    /// Upper end and count of each bucket that holds something, shortest first.
    pub fn buckets(&self) -> impl Iterator<Item = (Duration, u64)> + '_ {
        let counts = self.buckets.iter().map(|bucket| bucket.load(Relaxed)).enumerate();
        counts.filter(|(_, count)| *count > 0).map(|(index, count)| (upper_end(index), count))
    }
}

fn quantile(counts: &[u64], all: u64, hundredths: u64) -> Duration {
    let rank = (all * hundredths).div_ceil(100);
    let mut seen = 0;
    for (index, count) in counts.iter().enumerate() {
        seen += count;
        if seen >= rank && *count > 0 {
            return upper_end(index);
        }
    }
    Duration::ZERO
}

/// ```text
/// µs       0 1 2 3 | 4 5 6 7 | 8 10 12 14 | 16 20 24 28 | …
/// bucket   0 1 2 3 | 4 5 6 7 | 8  9 10 11 | 12 …
/// ```
fn index(duration: Duration) -> usize {
    let us = u64::try_from(duration.as_micros()).unwrap_or(u64::MAX);
    if us < 1 << FINE_BITS {
        return usize::try_from(us).unwrap_or(0);
    }
    let octave = us.ilog2() - FINE_BITS;
    let fine = (us >> octave) & ((1 << FINE_BITS) - 1);
    let index = ((u64::from(octave) + 1) << FINE_BITS) + fine;
    usize::try_from(index).unwrap_or(usize::MAX).min(BUCKETS - 1)
}

fn upper_end(index: usize) -> Duration {
    let index = index as u64;
    let (octave, fine) = (index >> FINE_BITS, index & ((1 << FINE_BITS) - 1));
    let us = match octave.checked_sub(1) {
        None => fine,
        Some(octave) => (((1 << FINE_BITS) + fine + 1) << octave) - 1,
    };
    Duration::from_micros(us)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_duration_lies_in_its_bucket_and_near_its_end() {
        let mut us = 0_u64;
        while us < 3_600_000_000 {
            let duration = Duration::from_micros(us);
            let bucket = index(duration);
            assert!(upper_end(bucket) >= duration, "{us} µs");
            assert!(bucket == 0 || upper_end(bucket - 1) < duration, "{us} µs");
            assert!(upper_end(bucket).as_micros() <= u128::from(us) * 5 / 4 + 1, "{us} µs");
            us += 1 + us / 7;
        }
        assert_eq!(index(Duration::MAX), BUCKETS - 1);
    }

    #[test]
    fn quantiles_are_those_of_what_was_counted() {
        let histogram = Histogram::default();
        assert_eq!(histogram.read(), Latency::default());
        for ms in 1..=100 {
            histogram.record(Duration::from_millis(ms));
        }
        let latency = histogram.read();
        assert_eq!(latency.count, 100);
        for (quantile, ms) in [(latency.p50, 50), (latency.p90, 90), (latency.p99, 99)] {
            let ratio = quantile.as_secs_f64() / Duration::from_millis(ms).as_secs_f64();
            assert!((1.0..=1.25).contains(&ratio), "{quantile:?} for {ms} ms");
        }
        assert_eq!(histogram.buckets().map(|(_, count)| count).sum::<u64>(), 100);
    }
}
