//! Calls in the order of their numbers, as many as there is room for.

use std::collections::BTreeMap;

use super::Recorded;

/// Remembered calls, bounded in number and in bytes; the oldest make room.
#[derive(Debug)]
pub(crate) struct Shelf {
    calls: BTreeMap<u64, Recorded>,
    bytes: usize,
    calls_max: usize,
    bytes_max: usize,
    forgotten: u64,
}

impl Shelf {
    pub(crate) fn new(calls_max: usize, bytes_max: usize) -> Self {
        Self { calls: BTreeMap::new(), bytes: 0, calls_max, bytes_max, forgotten: 0 }
    }

    pub(crate) fn resize(&mut self, calls_max: usize, bytes_max: usize) {
        (self.calls_max, self.bytes_max) = (calls_max, bytes_max);
        self.make_room();
    }

    pub(crate) fn put(&mut self, call: Recorded) {
        self.bytes += call.weight();
        if let Some(old) = self.calls.insert(call.number, call) {
            self.bytes -= old.weight();
        }
        self.make_room();
    }

    /// Changes a call; false if it is not there any more.
    pub(crate) fn change(&mut self, number: u64, change: impl FnOnce(&mut Recorded)) -> bool {
        let Some(call) = self.calls.get_mut(&number) else { return false };
        let before = call.weight();
        change(call);
        self.bytes = self.bytes - before + call.weight();
        self.make_room();
        true
    }

    pub(crate) fn find(&self, number: u64) -> Option<&Recorded> {
        self.calls.get(&number)
    }

    /// The latest first.
    pub(crate) fn latest(&self) -> impl Iterator<Item = &Recorded> {
        self.calls.values().rev()
    }

    /// Calls that made room for later ones.
    pub(crate) fn forgotten(&self) -> u64 {
        self.forgotten
    }

    pub(crate) fn clear(&mut self) {
        self.calls.clear();
        self.bytes = 0;
    }

    fn make_room(&mut self) {
        while self.calls.len() > self.calls_max || self.bytes > self.bytes_max {
            let Some((_, oldest)) = self.calls.pop_first() else { return };
            self.bytes -= oldest.weight();
            self.forgotten += 1;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn call(number: u64, body: usize) -> Recorded {
        let mut call = Recorded::default();
        (call.number, call.body) = (number, Some(vec![0; body].into()));
        call
    }

    #[test]
    fn there_is_a_bound_in_calls_and_in_bytes() {
        let small = call(0, 0).weight();
        let mut shelf = Shelf::new(3, 4 * small + 1000);
        for number in 1..=4 {
            shelf.put(call(number, 0));
        }
        let numbers = |shelf: &Shelf| shelf.latest().map(|call| call.number).collect::<Vec<_>>();
        assert_eq!(numbers(&shelf), [4, 3, 2]);
        assert!(shelf.change(4, |call| call.body = Some(vec![0; 2500 + small].into())));
        assert!(shelf.bytes <= shelf.bytes_max, "{} bytes", shelf.bytes);
        shelf.put(call(5, 10_000));
        assert_eq!(numbers(&shelf), [0; 0], "one that is too large for the shelf is not kept");
        assert_eq!(shelf.bytes, 0);
        assert!(!shelf.change(5, |_| {}));
        shelf.put(call(6, 0));
        shelf.resize(0, 0);
        assert_eq!(shelf.bytes, 0);
    }
}
