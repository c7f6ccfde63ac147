//! `block_list`: addresses that get nothing, by the configuration or because they asked for far too much.
//!
//! The throttle is the seed system's: so many calls in a window of time, counted from the first; what is beyond it is
//! refused, and whoever asks more than four times as much is blocked for a while.

use std::collections::BTreeMap;
use std::net::IpAddr;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use whub_proto::Code;

use crate::fault::Fault;
use crate::hub::Now;
use crate::middleware::{Address, Asked, Interest, Middleware, Network};

/// Addresses whose calls are counted at most; beyond it those go whose window has passed, then the oldest.
const ADDRESSES_MAX: usize = 65_536;

/// How far beyond the limit an address is blocked.
const PATIENCE: u32 = 4;

/// Calls of one address in a window of time.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Throttle {
    /// Calls that are let through; at least 1.
    pub count: u32,
    /// The window, from the first of them.
    pub window: Duration,
    /// How long an address is blocked that asked for more than four times as many.
    pub block_for: Duration,
}

/// What the step is told.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Blocking {
    /// Networks that get nothing.
    pub blocked: Vec<Network>,
    /// The throttle, if there is one.
    pub throttle: Option<Throttle>,
    /// Addresses that are not throttled.
    pub exempt: Vec<Network>,
}

/// The step.
#[derive(Debug)]
pub struct BlockList {
    settings: Blocking,
    // Held for one look.
    table: Arc<Mutex<Table>>,
}

#[derive(Debug)]
struct Table {
    windows: BTreeMap<IpAddr, Window>,
    addresses_max: usize,
}

/// The calls of one address.
#[derive(Debug)]
struct Window {
    until: Instant,
    count: u32,
    is_blocked: bool,
}

impl BlockList {
    /// The step; what it counted `before` is kept if the throttle has not changed.
    #[must_use]
    pub fn new(settings: Blocking, before: Option<&Self>) -> Self {
        let kept = before.filter(|before| before.settings.throttle == settings.throttle);
        let table = kept
            .map_or_else(|| Arc::new(Mutex::new(Table::new(ADDRESSES_MAX))), |kept| Arc::clone(&kept.table));
        Self { settings, table }
    }

    fn count(&self, now: Instant, throttle: Throttle, origin: IpAddr) -> Verdict {
        self.table.lock().unwrap_or_else(PoisonError::into_inner).count(now, throttle, origin)
    }
}

impl Middleware for BlockList {
    fn name(&self) -> &'static str {
        "block_list"
    }

    fn interest(&self) -> Interest {
        Interest::CALLS
    }

    fn before(&self, now: Now, call: &mut Asked<'_>) -> Result<(), Fault> {
        let address = Address::parse(call.caller.peer);
        let Address::Ip(ip) = address else {
            return if address.is_in(&self.settings.blocked) { Err(blocked("unix")) } else { Ok(()) };
        };
        if address.is_in(&self.settings.blocked) {
            return Err(blocked(&ip.to_string()));
        }
        let (Some(throttle), Some(origin)) = (self.settings.throttle, address.origin()) else {
            return Ok(());
        };
        if address.is_in(&self.settings.exempt) {
            return Ok(());
        }
        match self.count(now.at, throttle, origin) {
            Verdict::Pass => Ok(()),
            Verdict::Wait(wait) => Err(throttled(throttle, wait)),
            Verdict::Blocked => Err(blocked(&ip.to_string())),
        }
    }
}

/// What becomes of a call.
#[derive(Debug, PartialEq, Eq)]
enum Verdict {
    Pass,
    Wait(Duration),
    Blocked,
}

impl Table {
    fn new(addresses_max: usize) -> Self {
        Self { windows: BTreeMap::new(), addresses_max }
    }

    fn count(&mut self, now: Instant, throttle: Throttle, origin: IpAddr) -> Verdict {
        if !self.windows.contains_key(&origin) {
            self.make_room(now);
        }
        let fresh = || Window { until: now + throttle.window, count: 0, is_blocked: false };
        let window = self.windows.entry(origin).or_insert_with(fresh);
        if window.until <= now {
            *window = fresh();
        }
        if window.is_blocked {
            return Verdict::Blocked;
        }
        window.count = window.count.saturating_add(1);
        if window.count > throttle.count.saturating_mul(PATIENCE) {
            (window.is_blocked, window.until) = (true, now + throttle.block_for);
            return Verdict::Blocked;
        }
        if window.count > throttle.count {
            return Verdict::Wait(window.until.saturating_duration_since(now));
        }
        Verdict::Pass
    }

    fn make_room(&mut self, now: Instant) {
        if self.windows.len() < self.addresses_max {
            return;
        }
        self.windows.retain(|_, window| window.until > now);
        if self.windows.len() < self.addresses_max {
            return;
        }
        // A tenth goes at once, so that a flood of addresses does not cost a look at all of them each time.
        let mut ends: Vec<_> =
            self.windows.iter().map(|(ip, window)| (window.is_blocked, window.until, *ip)).collect();
        ends.sort_unstable();
        for (_, _, ip) in ends.into_iter().take((self.addresses_max / 10).max(1)) {
            self.windows.remove(&ip);
        }
    }
}

fn blocked(address: &str) -> Fault {
    Fault::fatal(Code::Forbidden, "access.blocked", format!("address {address} has been blocklisted"))
}

fn throttled(throttle: Throttle, wait: Duration) -> Fault {
    let wait_ms = u32::try_from(wait.as_nanos().div_ceil(1_000_000)).unwrap_or(u32::MAX).max(1);
    let (count, window) = (throttle.count, throttle.window);
    let reason = format!("this address has had its {count} calls in {window:?}; try again in {wait_ms} ms");
    Fault::passing(Code::TooManyRequests, "rate.throttle", wait_ms, reason)
}

#[cfg(test)]
// Where the made-up clock starts is the one thing it has to ask.
#[allow(clippy::disallowed_methods)]
mod tests {
    use super::*;

    const SECOND: Duration = Duration::from_secs(1);
    const THROTTLE: Throttle = Throttle { count: 2, window: SECOND, block_for: Duration::from_secs(3600) };

    fn ip(last: u8) -> IpAddr {
        [192, 0, 2, last].into()
    }

    #[test]
    fn the_window_begins_with_the_first_call() {
        let mut table = Table::new(10);
        let start = Instant::now();
        for at in [start, start + SECOND / 2] {
            assert_eq!(table.count(at, THROTTLE, ip(1)), Verdict::Pass);
        }
        assert_eq!(table.count(start + SECOND / 2, THROTTLE, ip(1)), Verdict::Wait(SECOND / 2));
        assert_eq!(table.count(start + SECOND, THROTTLE, ip(1)), Verdict::Pass);
    }

    #[test]
    fn whoever_asks_four_times_as_much_is_blocked_for_its_time() {
        let mut table = Table::new(10);
        let start = Instant::now();
        let verdicts: Vec<_> = (0..9).map(|_| table.count(start, THROTTLE, ip(1))).collect();
        assert!(verdicts[2..8].iter().all(|verdict| *verdict == Verdict::Wait(SECOND)), "{verdicts:?}");
        assert_eq!(verdicts[8], Verdict::Blocked);
        assert_eq!(table.count(start + 3599 * SECOND, THROTTLE, ip(1)), Verdict::Blocked);
        assert_eq!(table.count(start, THROTTLE, ip(2)), Verdict::Pass);
        assert_eq!(table.count(start + 3600 * SECOND, THROTTLE, ip(1)), Verdict::Pass);
    }

    #[test]
    fn the_table_is_bounded_and_the_blocked_stay_longest() {
        let mut table = Table::new(3);
        let start = Instant::now();
        for _ in 0..9 {
            table.count(start, THROTTLE, ip(1));
        }
        for last in 2..50 {
            table.count(start + SECOND * u32::from(last) / 100, THROTTLE, ip(last));
            assert!(table.windows.len() <= 3);
        }
        assert_eq!(table.count(start + SECOND, THROTTLE, ip(1)), Verdict::Blocked);
    }
}
