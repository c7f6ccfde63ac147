//! What happened to the calls of a service, and of each of its providers.

use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::time::Duration;

use whub_proto::Code;

use crate::counters::Counter;
use crate::services::histogram::Histogram;

/// Calls of one service, or of one provider of it, since it came.
#[derive(Debug, Default)]
pub struct Stats {
    /// Calls that it was given. Of a service: all that were for it, those that wait or were refused for want of room
    /// included.
    pub calls: Counter,
    /// Calls that were moved: away from the provider; of a service, to another provider.
    pub moved: Counter,
    /// Of a service: calls that had to wait for a free provider.
    pub waited: Counter,
    /// Of a service: calls that no provider had room for, at once or in time.
    pub unavailable: Counter,
    /// Errors by their code.
    pub errors: Errors,
    /// How long answers took to begin.
    pub latency: Histogram,
}

impl Stats {
    /// The answer has begun, `after` the call was placed.
    pub(crate) fn answered(&self, after: Duration, status: u16) {
        self.latency.record(after);
        if status >= 500 {
            self.errors.count(Code::from(status));
        }
    }
}

/// Errors by their code: `Error` frames, what the hub said instead of an answer, and responses from status 500 on.
#[derive(Debug)]
pub struct Errors {
    counts: [AtomicU64; CODES],
}

/// The codes that this build knows, and one place for all others.
const CODES: usize = Code::ALL.len() + 1;

impl Default for Errors {
    fn default() -> Self {
        Self { counts: [const { AtomicU64::new(0) }; CODES] }
    }
}

impl Errors {
    /// Counts one.
    pub fn count(&self, code: Code) {
        let index = Code::ALL.iter().position(|known| *known == code).unwrap_or(CODES - 1);
        self.counts[index].fetch_add(1, Relaxed);
    }

    /// Errors of every code.
    #[must_use]
    pub fn total(&self) -> u64 {
        self.counts.iter().map(|count| count.load(Relaxed)).sum()
    }

    /// Code and count of those that happened; `Unspecified` stands for all that this build does not know.
    pub fn each(&self) -> impl Iterator<Item = (Code, u64)> + '_ {
        let codes = Code::ALL.iter().copied().chain([Code::Unspecified]);
        codes.zip(self.counts.iter().map(|count| count.load(Relaxed))).filter(|(_, count)| *count > 0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn errors_are_found_under_their_code() {
        let stats = Stats::default();
        stats.answered(Duration::from_millis(1), 200);
        stats.answered(Duration::from_millis(1), 404);
        stats.answered(Duration::from_millis(1), 503);
        stats.answered(Duration::from_millis(1), 599);
        stats.errors.count(Code::Conflict);
        let each: Vec<_> = stats.errors.each().collect();
        assert_eq!(each, [(Code::Conflict, 1), (Code::Unavailable, 1), (Code::Unspecified, 1)]);
        assert_eq!((stats.errors.total(), stats.latency.read().count), (3, 4));
    }
}
