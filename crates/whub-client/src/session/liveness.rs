//! Is the hub still there? Any frame of it is a sign of life; silence is answered with a ping, then with an end.

use std::time::{Duration, Instant};

#[derive(Debug)]
pub(super) struct Liveness {
    ping: Duration,
    heard: Instant,
    asked: bool,
}

#[derive(Debug, PartialEq, Eq)]
pub(super) enum Silence {
    Bearable,
    Ask,
    Dead,
}

impl Liveness {
    pub(super) fn new(ping: Duration, now: Instant) -> Self {
        Self { ping, heard: now, asked: false }
    }

    pub(super) fn heard(&mut self, now: Instant) {
        (self.heard, self.asked) = (now, false);
    }

    pub(super) fn poll_timeout(&self) -> Instant {
        self.heard + if self.asked { 2 * self.ping } else { self.ping }
    }

    pub(super) fn handle_timeout(&mut self, now: Instant) -> Silence {
        let silent = now.saturating_duration_since(self.heard);
        if silent >= 2 * self.ping {
            return Silence::Dead;
        }
        if silent < self.ping || self.asked {
            return Silence::Bearable;
        }
        self.asked = true;
        Silence::Ask
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn silence_is_asked_about_once_and_ends_the_connection_after_twice_the_interval() {
        let (start, second) = (Instant::now(), Duration::from_secs(1));
        let mut hub = Liveness::new(10 * second, start);
        assert_eq!(hub.handle_timeout(start + 9 * second), Silence::Bearable);
        assert_eq!(hub.handle_timeout(start + 10 * second), Silence::Ask);
        assert_eq!(hub.handle_timeout(start + 11 * second), Silence::Bearable);
        hub.heard(start + 12 * second);
        assert_eq!(hub.poll_timeout(), start + 22 * second);
        assert_eq!(hub.handle_timeout(start + 22 * second), Silence::Ask);
        assert_eq!(hub.poll_timeout(), start + 32 * second);
        assert_eq!(hub.handle_timeout(start + 32 * second), Silence::Dead);
    }
}
