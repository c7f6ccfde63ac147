//! How soon a process is started again, and when no more: growing pauses with full jitter, and a limit.

use std::{collections::VecDeque, time::Duration};

use tokio::time::Instant;

/// The restarts of this time count towards the limit.
pub(super) const WINDOW: Duration = Duration::from_secs(600);

const BASE: Duration = Duration::from_millis(250);
const MAX: Duration = Duration::from_secs(30);

/// What has run for so long was well, and begins with short pauses again.
const LASTING: Duration = Duration::from_secs(60);

/// The restarts so far.
#[derive(Debug)]
pub(super) struct Pace {
    restarts_max: usize,
    /// When there were restarts, none of them longer ago than [`WINDOW`]; at most `restarts_max`.
    restarts: VecDeque<Instant>,
    tries: u32,
}

/// What to do about a process that has ended.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Next {
    /// Start it again after this.
    After(Duration),
    /// Leave it.
    GiveUp,
}

impl Pace {
    pub(super) fn new(restarts_max: usize) -> Self {
        Self { restarts_max, restarts: VecDeque::new(), tries: 0 }
    }

    /// It has ended after `lived`; `fraction` is random, from 0 to 1.
    pub(super) fn next(&mut self, now: Instant, lived: Duration, fraction: f64) -> Next {
        while self.restarts.front().is_some_and(|then| now.duration_since(*then) >= WINDOW) {
            self.restarts.pop_front();
        }
        if self.restarts.len() >= self.restarts_max {
            return Next::GiveUp;
        }
        self.restarts.push_back(now);
        if lived >= LASTING {
            self.tries = 0;
        }
        let ceiling = BASE.saturating_mul(2_u32.saturating_pow(self.tries)).min(MAX);
        self.tries = self.tries.saturating_add(1);
        Next::After(ceiling.mul_f64(fraction.clamp(0.0, 1.0)))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const BRIEF: Duration = Duration::from_millis(1);

    #[test]
    fn pauses_double_up_to_half_a_minute_and_begin_anew_after_a_minute_of_health() {
        let (mut pace, now) = (Pace::new(100), Instant::now());
        let pauses: Vec<_> = (0..9)
            .map(|_| match pace.next(now, BRIEF, 1.0) {
                Next::After(pause) => pause.as_millis(),
                Next::GiveUp => 0,
            })
            .collect();
        assert_eq!(pauses, [250, 500, 1000, 2000, 4000, 8000, 16_000, 30_000, 30_000]);
        assert_eq!(pace.next(now, LASTING, 0.5), Next::After(BASE / 2));
        assert_eq!(pace.next(now, BRIEF, 0.0), Next::After(Duration::ZERO));
    }

    #[test]
    fn too_many_restarts_within_ten_minutes_are_the_end() {
        let (mut pace, start) = (Pace::new(2), Instant::now());
        let at = |seconds| start + Duration::from_secs(seconds);
        assert!(matches!(pace.next(at(0), BRIEF, 0.0), Next::After(_)));
        assert!(matches!(pace.next(at(300), BRIEF, 0.0), Next::After(_)));
        assert_eq!(pace.next(at(599), BRIEF, 0.0), Next::GiveUp);
        assert!(matches!(pace.next(at(600), BRIEF, 0.0), Next::After(_)));
        assert_eq!(pace.next(at(601), BRIEF, 0.0), Next::GiveUp);
        assert_eq!(Pace::new(0).next(start, BRIEF, 0.0), Next::GiveUp);
    }
}
