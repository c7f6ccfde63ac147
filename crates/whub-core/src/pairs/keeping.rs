//! Seats that outlive their connections: found by their token, given up when nobody comes back in time.

use std::collections::{BTreeMap, HashMap};
use std::fmt;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::Waker;
use std::time::Instant;

use subtle::ConstantTimeEq as _;

use crate::hub::Hub;
use crate::session::KeptSeat;

/// Random bytes of a seat's token.
pub const TOKEN_BYTES: usize = 16;

/// Where random bytes come from; `None` when there are none, and then no seat is kept.
pub type TokenDraw = fn() -> Option<[u8; TOKEN_BYTES]>;

/// What a seat is taken again with: which seat it is, and a secret. Written as `<serial>-<hex>`.
#[derive(Clone, Copy)]
pub(crate) struct SeatToken {
    pub(crate) serial: u64,
    secret: [u8; TOKEN_BYTES],
}

impl SeatToken {
    pub(crate) fn new(serial: u64, secret: [u8; TOKEN_BYTES]) -> Self {
        Self { serial, secret }
    }

    pub(crate) fn parse(text: &str) -> Option<Self> {
        let (serial, hex) = text.split_once('-')?;
        let mut secret = [0; TOKEN_BYTES];
        if hex.len() != 2 * TOKEN_BYTES || !hex.bytes().all(|byte| byte.is_ascii_hexdigit()) {
            return None;
        }
        for (index, byte) in secret.iter_mut().enumerate() {
            *byte = u8::from_str_radix(hex.get(2 * index..2 * index + 2)?, 16).ok()?;
        }
        Some(Self { serial: serial.parse().ok()?, secret })
    }

    pub(crate) fn text(&self) -> String {
        let hex: String = self.secret.iter().map(|byte| format!("{byte:02x}")).collect();
        format!("{}-{hex}", self.serial)
    }

    /// Whether it is the same, in a time that does not tell how near it was.
    pub(crate) fn is(&self, other: &Self) -> bool {
        self.secret.ct_eq(&other.secret).into()
    }
}

impl fmt::Debug for SeatToken {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "SeatToken({})", self.serial)
    }
}

/// The seats that are kept, whether their connection is there or not.
#[derive(Default)]
pub(crate) struct Keeping {
    // Held to look up, never while a seat is asked to do something.
    state: Mutex<State>,
}

#[derive(Default)]
struct State {
    seats: HashMap<u64, Arc<KeptSeat>>,
    /// Seats without a connection, by when they are given up.
    due: BTreeMap<(Instant, u64), Arc<KeptSeat>>,
    usher: Option<Waker>,
}

impl Keeping {
    pub(crate) fn insert(&self, seat: Arc<KeptSeat>) {
        self.lock().seats.insert(seat.serial(), seat);
    }

    pub(crate) fn find(&self, serial: u64) -> Option<Arc<KeptSeat>> {
        self.lock().seats.get(&serial).cloned()
    }

    pub(crate) fn remove(&self, serial: u64) {
        self.lock().seats.remove(&serial);
    }

    /// The seat has lost its connection. False when as many have as may.
    pub(crate) fn expect(&self, until: Instant, seat: Arc<KeptSeat>, seats_max: usize) -> bool {
        let mut state = self.lock();
        if state.due.len() >= seats_max {
            return false;
        }
        let is_first = state.due.keys().next().is_none_or(|(first, _)| until < *first);
        state.due.insert((until, seat.serial()), seat);
        if let (true, Some(usher)) = (is_first, &state.usher) {
            usher.wake_by_ref();
        }
        true
    }

    /// It has one again, or has come to its end.
    pub(crate) fn expect_no_more(&self, until: Instant, serial: u64) {
        self.lock().due.remove(&(until, serial));
    }

    /// How many are without a connection.
    pub(crate) fn away(&self) -> usize {
        self.lock().due.len()
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Hub {
    /// Gives up the seats that nobody has come back to in time, for the usher. Returns when the next is due.
    pub(crate) fn give_up_seats(&self, now: Instant, waker: &Waker) -> Option<Instant> {
        loop {
            let seat = {
                let mut state = self.pairs.keeping.lock();
                if !state.usher.as_ref().is_some_and(|usher| usher.will_wake(waker)) {
                    state.usher = Some(waker.clone());
                }
                match state.due.first_entry() {
                    Some(first) if first.key().0 <= now => first.remove(),
                    Some(first) => return Some(first.key().0),
                    None => return None,
                }
            };
            seat.handle_overdue(self, now);
        }
    }

    /// Seats in pairs that are kept for clients whose connection was lost.
    #[must_use]
    pub fn seats_away(&self) -> usize {
        self.pairs.keeping.away()
    }
}

impl fmt::Debug for Keeping {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Keeping({} away)", self.away())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_token_is_read_as_it_was_written() {
        let token = SeatToken::new(7, [0xa5; TOKEN_BYTES]);
        let again = SeatToken::parse(&token.text()).unwrap();
        assert!(again.serial == 7 && again.is(&token));
        assert!(!again.is(&SeatToken::new(7, [0xa4; TOKEN_BYTES])));
        for text in [
            "",
            "7",
            "7-",
            "7-a5",
            "x-a5a5a5a5a5a5a5a5a5a5a5a5a5a5a5a5",
            "7-+5a5a5a5a5a5a5a5a5a5a5a5a5a5a5a5",
        ] {
            assert!(SeatToken::parse(text).is_none(), "{text}");
        }
        assert!(!format!("{token:?}").contains("a5"));
    }
}
