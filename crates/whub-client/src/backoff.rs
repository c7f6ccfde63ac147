//! How long to wait before connecting again: full jitter, so that many clients do not come back at once.

use std::time::Duration;

const BASE: Duration = Duration::from_millis(500);
const MAX: Duration = Duration::from_secs(20);

/// The pauses between tries: `rand(0, min(20 s, 0.5 s · 2ⁿ))`, `n` from 0.
#[derive(Debug, Default)]
pub(crate) struct Backoff {
    tries: u32,
}

impl Backoff {
    /// The pause before the next try; `fraction` is random, from 0 up to 1.
    pub(crate) fn next(&mut self, fraction: f64) -> Duration {
        let ceiling = BASE.saturating_mul(2_u32.saturating_pow(self.tries)).min(MAX);
        self.tries = self.tries.saturating_add(1);
        ceiling.mul_f64(fraction.clamp(0.0, 1.0))
    }

    /// Tries since the last lasting connection.
    pub(crate) fn tries(&self) -> u32 {
        self.tries
    }

    /// A connection has lasted.
    pub(crate) fn reset(&mut self) {
        self.tries = 0;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pauses_double_up_to_twenty_seconds() {
        let mut backoff = Backoff::default();
        let pauses: Vec<u128> = (0..8).map(|_| backoff.next(1.0).as_millis()).collect();
        assert_eq!(pauses, [500, 1000, 2000, 4000, 8000, 16_000, 20_000, 20_000]);
        backoff.reset();
        assert_eq!(backoff.next(0.5), Duration::from_millis(250));
        assert_eq!((0..100).map(|_| backoff.next(0.0)).max(), Some(Duration::ZERO));
    }
}
