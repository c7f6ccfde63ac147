//! Is the peer still there? Any byte of it is a sign of life; silence is answered with a ping, then with an end.

use std::time::{Duration, Instant};

/// Watches one peer.
#[derive(Debug)]
pub struct Liveness {
    ping: Duration,
    heard: Instant,
    asked: bool,
}

/// What silence asks for.
#[derive(Debug, PartialEq, Eq)]
pub enum Silence {
    /// Nothing yet.
    Bearable,
    /// A ping.
    Ask,
    /// An end.
    Dead,
}

impl Liveness {
    /// `ping`: silence after which the peer is asked; after twice that it is dead.
    #[must_use]
    pub fn new(ping: Duration, now: Instant) -> Self {
        Self { ping, heard: now, asked: false }
    }

    /// Any byte of the peer.
    pub fn heard(&mut self, now: Instant) {
        self.heard = now;
        self.asked = false;
    }

    /// Its silence proves nothing just now: before it would be given up, it is asked again instead. To be called before
    /// [`Self::handle_timeout`].
    pub fn excuse(&mut self, now: Instant) {
        if now.saturating_duration_since(self.heard) >= 2 * self.ping {
            (self.heard, self.asked) = (now.checked_sub(self.ping).unwrap_or(now), false);
        }
    }

    /// When to call [`Self::handle_timeout`].
    #[must_use]
    pub fn poll_timeout(&self) -> Instant {
        self.heard + if self.asked { 2 * self.ping } else { self.ping }
    }

    /// What the silence so far asks for.
    pub fn handle_timeout(&mut self, now: Instant) -> Silence {
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
// Where the made-up clock starts is the one thing it has to ask.
#[allow(clippy::disallowed_methods)]
mod tests {
    use super::*;

    #[test]
    fn a_silent_peer_is_asked_once_and_then_given_up() {
        let start = Instant::now();
        let second = Duration::from_secs(1);
        let mut peer = Liveness::new(10 * second, start);
        assert_eq!(peer.handle_timeout(start + 9 * second), Silence::Bearable);
        assert_eq!(peer.poll_timeout(), start + 10 * second);
        assert_eq!(peer.handle_timeout(start + 10 * second), Silence::Ask);
        assert_eq!(peer.handle_timeout(start + 11 * second), Silence::Bearable);
        assert_eq!(peer.poll_timeout(), start + 20 * second);
        assert_eq!(peer.handle_timeout(start + 20 * second), Silence::Dead);
    }

    #[test]
    fn whose_silence_is_excused_is_asked_again_and_again() {
        let start = Instant::now();
        let second = Duration::from_secs(1);
        let mut peer = Liveness::new(10 * second, start);
        for step in 1..5 {
            assert_eq!(peer.poll_timeout(), start + 10 * step * second);
            peer.excuse(start + 10 * step * second);
            assert_eq!(peer.handle_timeout(start + 10 * step * second), Silence::Ask);
        }
        assert_eq!(peer.handle_timeout(start + 50 * second), Silence::Dead);
    }

    #[test]
    fn any_byte_is_a_sign_of_life() {
        let start = Instant::now();
        let second = Duration::from_secs(1);
        let mut peer = Liveness::new(10 * second, start);
        peer.handle_timeout(start + 10 * second);
        peer.heard(start + 19 * second);
        assert_eq!(peer.handle_timeout(start + 20 * second), Silence::Bearable);
        assert_eq!(peer.poll_timeout(), start + 29 * second);
    }
}
