//! One line on standard error that tells how much has passed, and how fast.

use std::io::{self, Write};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::time::{Duration, Instant};

use tokio::task::JoinHandle;

/// How often the line is drawn.
const EVERY: Duration = Duration::from_millis(500);

/// Bytes that have passed so far.
#[derive(Debug, Default)]
pub(crate) struct Passed {
    pub(crate) sent: AtomicU64,
    pub(crate) received: AtomicU64,
}

/// The line, while it is shown. Dropping it draws it a last time.
#[derive(Debug)]
pub(crate) struct Progress {
    passed: Arc<Passed>,
    began: Instant,
    drawing: Option<JoinHandle<()>>,
}

impl Progress {
    /// Counts, and draws if that is wanted.
    pub(crate) fn begin(is_shown: bool) -> Self {
        let (passed, began) = (Arc::new(Passed::default()), Instant::now());
        let drawing = is_shown.then(|| tokio::spawn(draw_on(Arc::clone(&passed), began)));
        Self { passed, began, drawing }
    }

    pub(crate) fn passed(&self) -> &Arc<Passed> {
        &self.passed
    }
}

impl Drop for Progress {
    fn drop(&mut self) {
        let Some(drawing) = &self.drawing else { return };
        drawing.abort();
        let total = total(&self.passed);
        // The rate of all of it, since nothing is under way any more.
        draw(&self.passed, rate(total, self.began.elapsed()), "\n");
    }
}

async fn draw_on(passed: Arc<Passed>, began: Instant) {
    let (mut then, mut before) = (began, 0);
    loop {
        tokio::time::sleep(EVERY).await;
        let (now, total) = (Instant::now(), total(&passed));
        draw(&passed, rate(total - before, now - then), "");
        (then, before) = (now, total);
    }
}

fn draw(passed: &Passed, rate: u64, end: &str) {
    let (sent, received) = (passed.sent.load(Relaxed), passed.received.load(Relaxed));
    let line = line(sent, received, rate);
    // Drawn over itself; what was longer is erased.
    let _ = write!(io::stderr(), "\r{line}\x1b[K{end}");
}

fn line(sent: u64, received: u64, rate: u64) -> String {
    let passed = match (sent, received) {
        (sent, 0) => format!("sent {}", bytes(sent)),
        (0, received) => format!("received {}", bytes(received)),
        (sent, received) => format!("sent {}, received {}", bytes(sent), bytes(received)),
    };
    format!("{passed}, {}/s", bytes(rate))
}

fn total(passed: &Passed) -> u64 {
    passed.sent.load(Relaxed) + passed.received.load(Relaxed)
}

fn rate(bytes: u64, time: Duration) -> u64 {
    let milliseconds = u64::try_from(time.as_millis()).unwrap_or(u64::MAX).max(1);
    bytes.saturating_mul(1000) / milliseconds
}

fn bytes(count: u64) -> String {
    const UNITS: [&str; 5] = ["KiB", "MiB", "GiB", "TiB", "PiB"];
    if count < 1024 {
        return format!("{count} B");
    }
    let (mut tenths, mut unit) = (count.saturating_mul(10) / 1024, 0);
    while tenths >= 10_240 && unit + 1 < UNITS.len() {
        tenths /= 1024;
        unit += 1;
    }
    format!("{}.{} {}", tenths / 10, tenths % 10, UNITS[unit])
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_line_names_what_passes() {
        assert_eq!(line(0, 0, 0), "sent 0 B, 0 B/s");
        assert_eq!(line(1536, 0, 1023), "sent 1.5 KiB, 1023 B/s");
        assert_eq!(line(0, 200 << 20, 50 << 20), "received 200.0 MiB, 50.0 MiB/s");
        assert_eq!(line(1 << 30, 1 << 40, 1 << 10), "sent 1.0 GiB, received 1.0 TiB, 1.0 KiB/s");
        assert_eq!(rate(1000, Duration::from_millis(500)), 2000);
    }
}
