//! The window of a response: how much of it is under way, and when its provider hears that there is room again.

use whub_core::WINDOW;

/// A response of which so many bytes were taken is a long one: its window grows, once. With the first window alone the
/// two ends of a fast stream wait for each other; with four of them it no longer fits the caches.
const LONG_BYTES: u32 = 4 * WINDOW;

/// The window of a long response.
const LONG_WINDOW: u32 = 2 * WINDOW;

/// What was given to the provider, and taken by the client.
#[derive(Debug)]
pub(super) struct Window {
    bytes: u32,
    /// Taken by the client, not yet told to the provider.
    taken: u32,
    /// Still to be taken before the response is a long one.
    until_long: u32,
}

impl Window {
    pub(super) const fn new() -> Self {
        Self { bytes: WINDOW, taken: 0, until_long: LONG_BYTES }
    }

    /// The client took so many bytes. Returns what the provider may send for them, a quarter of the window at a time:
    /// told at half of it, it has often sent the other half before it hears, and waits.
    pub(super) fn take(&mut self, bytes: usize) -> Option<u32> {
        let bytes = u32::try_from(bytes).unwrap_or(u32::MAX);
        self.taken = self.taken.saturating_add(bytes);
        self.until_long = self.until_long.saturating_sub(bytes);
        if self.until_long == 0 && self.bytes < LONG_WINDOW {
            self.taken = self.taken.saturating_add(LONG_WINDOW - self.bytes);
            self.bytes = LONG_WINDOW;
        }
        (self.taken >= self.bytes / 4).then(|| std::mem::take(&mut self.taken))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// What is given for bytes that are taken so many at a time, as long as so many are under way at most.
    fn given(piece: usize, total: usize) -> Vec<u32> {
        let mut window = Window::new();
        (0..total / piece).filter_map(|_| window.take(piece)).collect()
    }

    #[test]
    fn credit_comes_by_quarters_of_the_window() {
        assert_eq!(given(WINDOW as usize / 8, WINDOW as usize), [WINDOW / 4; 4]);
        assert_eq!(given(WINDOW as usize / 2, WINDOW as usize), [WINDOW / 2; 2]);
        assert_eq!(given(WINDOW as usize / 4 - 1, WINDOW as usize / 2), [WINDOW / 2 - 2]);
    }

    #[test]
    fn a_long_response_gets_another_window_once_and_then_quarters_of_both() {
        let piece = WINDOW as usize / 8;
        let given = given(piece, 8 * WINDOW as usize);
        assert_eq!(given[..15], [WINDOW / 4; 15]);
        assert_eq!(given[15], WINDOW / 4 + WINDOW);
        assert_eq!(given[16..], [WINDOW / 2; 8]);
        assert_eq!(given.iter().sum::<u32>(), 9 * WINDOW, "all that was taken, and the other window");
    }
}
