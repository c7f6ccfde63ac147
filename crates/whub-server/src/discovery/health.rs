//! How providers do at present: statistics count from the beginning, so two looks at them tell of the time between.

use std::collections::{HashMap, VecDeque};
use std::sync::Arc;

use whub_core::Provider;
use whub_proto::Code;
use whub_proto::code::Fault;

/// Looks that are kept of each provider.
const LOOKS: usize = 3;

/// Outcomes below which nothing is said about a provider.
const OUTCOMES_MIN: u64 = 4;

/// How a provider does, from the best to the worst.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Health {
    /// It takes calls.
    Open,
    /// It has as many calls as it wants.
    Full,
    /// Half or more of its latest calls failed by no fault of their callers.
    Failing,
    /// There is no provider any more.
    Gone,
}

impl Health {
    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Open => "open",
            Self::Full => "full",
            Self::Failing => "failing",
            Self::Gone => "gone",
        }
    }
}

/// Looks at every provider.
#[derive(Debug, Default)]
pub(super) struct Samples(HashMap<Key, VecDeque<Sample>>);

/// A session provides a pattern once.
type Key = (whub_core::SessionId, Box<str>);

#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
struct Sample {
    /// Calls that were answered in any way.
    outcomes: u64,
    /// Those that were the provider's failures.
    failures: u64,
}

impl Samples {
    /// Looks at every provider there is, and forgets those that are gone.
    pub(super) fn take(&mut self, providers: impl Iterator<Item = Arc<Provider>>) {
        let mut known = std::mem::take(&mut self.0);
        for provider in providers {
            let key = key(&provider);
            let mut looks = known.remove(&key).unwrap_or_default();
            if looks.len() == LOOKS {
                looks.pop_front();
            }
            looks.push_back(Sample::of(&provider));
            self.0.insert(key, looks);
        }
    }

    /// Whether a provider fails, judged from the oldest look on.
    pub(super) fn fails(&self, provider: &Arc<Provider>) -> bool {
        let oldest = self.0.get(&key(provider)).and_then(VecDeque::front).copied().unwrap_or_default();
        Sample::of(provider).fails_since(oldest)
    }
}

fn key(provider: &Provider) -> Key {
    (provider.session(), provider.registration.pattern.as_str().into())
}

impl Sample {
    fn of(provider: &Provider) -> Self {
        let failures = provider.stats.errors.each().filter(|(code, _)| is_failure(*code));
        Self {
            outcomes: provider.calls().saturating_sub(provider.inflight().into()),
            failures: failures.map(|(_, count)| count).sum(),
        }
    }

    fn fails_since(self, earlier: Self) -> bool {
        let outcomes = self.outcomes.saturating_sub(earlier.outcomes);
        let failures = self.failures.saturating_sub(earlier.failures);
        outcomes >= OUTCOMES_MIN && failures * 2 >= outcomes
    }
}

/// An error that is not its caller's fault.
fn is_failure(code: Code) -> bool {
    code.row().is_none_or(|row| row.fault != Fault::Caller)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn sample(outcomes: u64, failures: u64) -> Sample {
        Sample { outcomes, failures }
    }

    #[test]
    fn a_provider_fails_when_half_of_its_latest_calls_do() {
        for (earlier, now, fails) in [
            (sample(0, 0), sample(0, 0), false),
            (sample(0, 0), sample(3, 3), false),
            (sample(0, 0), sample(4, 2), true),
            (sample(0, 0), sample(5, 2), false),
            (sample(1_000_000, 0), sample(1_000_004, 4), true),
            (sample(1_000_000, 900_000), sample(1_000_100, 900_001), false),
        ] {
            assert_eq!(now.fails_since(earlier), fails, "{earlier:?} {now:?}");
        }
    }

    #[test]
    fn callers_mistakes_are_no_failures() {
        for code in [Code::BadRequest, Code::NotFound, Code::Cancelled, Code::TooLarge] {
            assert!(!is_failure(code), "{code:?}");
        }
        for code in [Code::Internal, Code::ProviderLost, Code::DeadlineExceeded, Code::Unavailable] {
            assert!(is_failure(code), "{code:?}");
        }
        assert!(is_failure(Code::Unspecified), "statuses that have no code");
    }

    #[test]
    fn the_best_provider_speaks_for_its_service() {
        assert_eq!([Health::Failing, Health::Open, Health::Full].into_iter().min(), Some(Health::Open));
        assert_eq!(Health::Gone.name(), "gone");
    }
}
