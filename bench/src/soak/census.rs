//! What the hub holds: sessions, descriptors, memory, and the fates of the calls that it accepted.

use std::fs;
use std::time::{Duration, Instant};

use serde_json::Value;

use crate::dial::Line;
use crate::fault::Fault;
use crate::proc;
use crate::server::Server;

/// How long the hub may take to let go of those who have left.
const ALONE: Duration = Duration::from_secs(60);

/// What memory may grow by: heaps do not shrink to the byte.
const SLACK: (f64, u64) = (1.25, 8 * 1024);

/// The hub at one moment.
#[derive(Debug)]
pub(super) struct Census {
    pub(super) descriptors: usize,
    pub(super) rss_kib: u64,
    status: Value,
}

impl Census {
    pub(super) fn of(hub: &Server) -> Result<Self, Fault> {
        let status = Line::tcp(hub.addr)?.json("/v1/status")?;
        let pids = hub.pids()?;
        let pid = pids.first().ok_or(Fault::Nothing)?;
        let folder = format!("/proc/{pid}/fd");
        let descriptors = fs::read_dir(&folder).map_err(Fault::io(&folder))?.count();
        Ok(Self { descriptors, rss_kib: proc::memory(&pids)?.rss_kib, status })
    }

    /// Waits until no session is left, nor a call whose fate is open, nor a descriptor more than `before` anybody came.
    /// The question itself takes one, which the hub may close after the count.
    pub(super) fn when_alone(hub: &Server, before: &Self) -> Result<Self, Fault> {
        let deadline = Instant::now() + ALONE;
        loop {
            let census = Self::of(hub)?;
            let alone = census.number("sessions") == 0
                && census.open_calls() == 0
                && census.descriptors <= before.descriptors;
            if alone || Instant::now() > deadline {
                return Ok(census);
            }
            std::thread::sleep(Duration::from_millis(50));
        }
    }

    /// What is wrong with a hub that everybody has left. `before` anybody came, at its `base` after some had.
    pub(super) fn faults(&self, before: &Self, base: &Self) -> Vec<String> {
        let mut faults = Vec::new();
        for name in ["sessions", "services"] {
            let (left, at_first) = (self.number(name), before.number(name));
            if left != at_first {
                faults.push(format!("{left} {name} are left, {at_first} were there before"));
            }
        }
        if self.open_calls() != 0 {
            faults.push(format!("{} calls have no fate: {}", self.open_calls(), self.status["counters"]));
        }
        if self.counter("protocol_errors") != 0 {
            faults.push(format!("{} protocol errors", self.counter("protocol_errors")));
        }
        if self.descriptors > before.descriptors {
            faults.push(format!("{} descriptors, {} before", self.descriptors, before.descriptors));
        }
        let most = (base.rss_kib as f64 * SLACK.0) as u64 + SLACK.1;
        if self.rss_kib > most {
            faults.push(format!("{} KiB of memory, {} KiB at its base", self.rss_kib, base.rss_kib));
        }
        faults
    }

    /// Calls that were accepted and have met no fate: accepted = answered + lost + late + cancelled + waited in vain.
    fn open_calls(&self) -> i64 {
        let fates = ["answered", "provider_lost", "deadline", "cancelled", "waited_out"];
        let met: u64 = fates.iter().map(|fate| self.counter(&format!("calls_{fate}"))).sum();
        self.counter("calls_accepted") as i64 - met as i64
    }

    fn counter(&self, name: &str) -> u64 {
        self.status["counters"][name].as_u64().unwrap_or(0)
    }

    fn number(&self, name: &str) -> u64 {
        self.status[name].as_u64().unwrap_or(0)
    }
}
