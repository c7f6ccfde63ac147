//! How many calls a service has, and the place of each among them.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering::Relaxed};

/// The places of one service.
#[derive(Debug, Default)]
pub(crate) struct Places(Arc<AtomicUsize>);

impl Places {
    pub(crate) fn taken(&self) -> usize {
        self.0.load(Relaxed)
    }

    pub(crate) fn take(&self) -> Place {
        self.0.fetch_add(1, Relaxed);
        Place(Arc::new(Taken { places: Arc::clone(&self.0), left: AtomicBool::new(false) }))
    }
}

/// A call's place. It is free when the last word of the answer is said, or when nothing of the call runs any more.
///
/// Not only the latter: the caller, told, may call again before the handler's task has been put away, and would find
/// the service full.
#[derive(Debug, Clone)]
pub(crate) struct Place(Arc<Taken>);

#[derive(Debug)]
struct Taken {
    places: Arc<AtomicUsize>,
    left: AtomicBool,
}

impl Place {
    /// Frees the place.
    pub(crate) fn leave(&self) {
        self.0.leave();
    }
}

impl Taken {
    fn leave(&self) {
        if !self.left.swap(true, Relaxed) {
            self.places.fetch_sub(1, Relaxed);
        }
    }
}

impl Drop for Taken {
    fn drop(&mut self) {
        self.leave();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_place_is_left_once_by_word_or_by_the_last_that_held_it() {
        let places = Places::default();
        let (said, dropped) = (places.take(), places.take());
        let with_its_handler = said.clone();
        assert_eq!(places.taken(), 2);
        said.leave();
        assert_eq!(places.taken(), 1, "although its handler still holds it");
        drop((said, with_its_handler));
        assert_eq!(places.taken(), 1);
        drop(dropped);
        assert_eq!(places.taken(), 0);
    }
}
