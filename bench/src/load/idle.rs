//! Sessions that only exist: what does one more cost in memory?

use std::time::Duration;

use crate::dial::Line;
use crate::fault::Fault;
use crate::proc::{self, Memory};

/// Sessions at the first and at the second reading.
const FEW: usize = 2_000;
const MANY: usize = 10_000;
/// Time for a server to let go of what the handshakes used.
const SETTLE: Duration = Duration::from_millis(500);

/// Memory per session, KiB: the slope between the two readings.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Slope {
    /// By resident set.
    pub(crate) rss_kib: f64,
    /// By proportional set.
    pub(crate) pss_kib: f64,
}

/// Opens sessions with `open(n)` and reads the memory of `pids` twice.
pub(crate) fn slope(
    pids: &[u32],
    mut open: impl FnMut(usize) -> Result<Line, Fault>,
) -> Result<Slope, Fault> {
    let mut held = Vec::with_capacity(MANY);
    let mut at = |sessions: usize| -> Result<Memory, Fault> {
        while held.len() < sessions {
            held.push(open(held.len())?);
        }
        std::thread::sleep(SETTLE);
        proc::memory(pids)
    };
    let (few, many) = (at(FEW)?, at(MANY)?);
    let per_session = |few: u64, many: u64| (many as f64 - few as f64) / (MANY - FEW) as f64;
    Ok(Slope {
        rss_kib: per_session(few.rss_kib, many.rss_kib),
        pss_kib: per_session(few.pss_kib, many.pss_kib),
    })
}
