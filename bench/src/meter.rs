//! Counters and the latency histogram of one run.

use hdrhistogram::Histogram;

/// Anything slower counts as this: no run lasts that long.
const LATENCY_MAX_NS: u64 = 60_000_000_000;

/// What a load counts while it runs.
#[derive(Debug)]
pub(crate) struct Meter {
    /// False once the time is over: answers are still awaited, nothing new is sent.
    pub(crate) sending: bool,
    /// Answers that must still come.
    pub(crate) outstanding: u64,
    /// Completed since the last `reset`: echoes, deliveries, calls.
    pub(crate) done: u64,
    latency_ns: Histogram<u64>,
}

impl Meter {
    /// Nothing counted yet.
    pub(crate) fn new() -> Self {
        let bounds = Histogram::new_with_bounds(1, LATENCY_MAX_NS, 3);
        let latency_ns = bounds.expect("the bounds are constants in the right order");
        Self { sending: true, outstanding: 0, done: 0, latency_ns }
    }

    /// One message was sent that `answers` messages will answer.
    pub(crate) fn sent(&mut self, answers: u64) {
        self.outstanding += answers;
    }

    /// One answer came to a message that was due at `at_ns`.
    pub(crate) fn answered(&mut self, at_ns: u64, now_ns: u64) {
        self.outstanding = self.outstanding.saturating_sub(1);
        self.done += 1;
        self.latency_ns.saturating_record(now_ns.saturating_sub(at_ns));
    }

    /// Forgets the warm-up.
    pub(crate) fn reset(&mut self) {
        self.done = 0;
        self.latency_ns.reset();
    }

    /// Latency in µs that `quantile` (0 to 1) of the messages stayed within.
    pub(crate) fn latency_us(&self, quantile: f64) -> f64 {
        self.latency_ns.value_at_quantile(quantile) as f64 / 1000.0
    }
}
