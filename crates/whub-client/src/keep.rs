//! A seat that outlives its connection, on this side: what was said and may have to be said again, and how much was
//! received.
//!
//! The hub tells by `Credit` what it has taken, and is told the same of what arrived here; so both keep no more than is
//! under way. Each message and event counts its payload and [`ENVELOPE`] bytes.

use std::collections::VecDeque;
use std::time::{Duration, Instant};

use crate::command::{Done, Utterance};
use crate::error::Error;

/// What a message or an event counts beside its payload, bytes.
const ENVELOPE: u64 = 64;
/// Said and not known to be taken: above this whoever says more waits. 1 MiB.
const SAID_BYTES_MAX: u64 = 1 << 20;
/// Received and not acknowledged: from here on the hub is told. Half of what it waits for at most.
const ACKNOWLEDGE_BYTES: u64 = 32 * 1024;

/// The seat's memory.
pub(crate) struct Keep {
    grace: Duration,
    /// The secret that the seat is taken again with; none before the hub has given it.
    token: Option<String>,
    /// It is being taken again, and the hub has not said yet what it has.
    resuming: bool,
    /// Messages and events that arrived.
    received: u64,
    unacknowledged: u64,
    /// What the hub may not have, in order.
    said: VecDeque<Said>,
    bytes: u64,
    /// Messages before these, which the hub has.
    before: u64,
    credit: u64,
    /// Who waits for room.
    crowded: VecDeque<Done>,
    /// Who waits until everything was taken.
    finishing: Vec<Done>,
    lost_at: Option<Instant>,
}

/// A message of ours, or the end.
#[derive(Clone)]
pub(crate) struct Said {
    pub(crate) message: Option<Utterance>,
    pub(crate) ended: bool,
}

impl Said {
    fn weight(&self) -> u64 {
        ENVELOPE + self.message.as_ref().map_or(0, |message| message.payload.len() as u64)
    }
}

impl Keep {
    pub(crate) fn new(grace: Duration) -> Self {
        Self {
            grace,
            token: None,
            resuming: false,
            received: 0,
            unacknowledged: 0,
            said: VecDeque::new(),
            bytes: 0,
            before: 0,
            credit: 0,
            crowded: VecDeque::new(),
            finishing: Vec::new(),
            lost_at: None,
        }
    }

    /// What the seat is taken with: nothing, or its token and how much has arrived.
    pub(crate) fn resume(&mut self) -> Option<(&str, u64)> {
        self.lost_at = None;
        self.unacknowledged = 0;
        self.credit = 0;
        self.resuming = self.token.is_some();
        self.token.as_deref().map(|token| (token, self.received))
    }

    pub(crate) fn is_resuming(&self) -> bool {
        self.resuming
    }

    /// The hub has given the seat. What comes out is to be said again. `None`: the hub keeps no seats.
    pub(crate) fn handle_seated(&mut self, token: &str, taken: u64) -> Option<Vec<Said>> {
        if token.is_empty() {
            return None;
        }
        self.token = Some(token.to_owned());
        if !std::mem::take(&mut self.resuming) {
            return Some(Vec::new());
        }
        while self.before < taken && self.pop() {}
        self.settle();
        Some(self.said.iter().cloned().collect())
    }

    /// Something is said. Returns whether it can be sent now.
    pub(crate) fn say(&mut self, said: Said, done: Done) -> bool {
        let ended = said.ended;
        self.bytes += said.weight();
        self.said.push_back(said);
        if ended {
            self.finishing.push(done);
        } else if self.bytes > SAID_BYTES_MAX {
            self.crowded.push_back(done);
        } else {
            drop(done.send(Ok(())));
        }
        !self.resuming
    }

    /// The end again, on a seat that was taken anew.
    pub(crate) fn note_end(&mut self) {
        let end = Said { message: None, ended: true };
        self.bytes += end.weight();
        self.said.push_back(end);
    }

    /// The hub has so much more.
    pub(crate) fn handle_credit(&mut self, bytes: u32) {
        if self.resuming {
            return;
        }
        self.credit += u64::from(bytes);
        while let Some(first) = self.said.front()
            && first.weight() <= self.credit
        {
            self.credit -= first.weight();
            self.pop();
        }
        self.settle();
    }

    /// A message or an event has arrived. Returns what the hub is to be told, if it is time.
    pub(crate) fn receive(&mut self, bytes: usize) -> Option<u32> {
        self.received += 1;
        self.unacknowledged += ENVELOPE + bytes as u64;
        (self.unacknowledged >= ACKNOWLEDGE_BYTES)
            .then(|| u32::try_from(std::mem::take(&mut self.unacknowledged)).unwrap_or(u32::MAX))
    }

    /// So many will not arrive any more.
    pub(crate) fn miss(&mut self, count: u32) {
        self.received += u64::from(count);
    }

    /// There is no connection. True from when the seat cannot be had any more.
    pub(crate) fn is_forgotten(&mut self, now: Instant) -> bool {
        now >= *self.lost_at.get_or_insert(now) + self.grace
    }

    /// Until when there has to be a connection; `None` while there is one.
    pub(crate) fn until(&self) -> Option<Instant> {
        self.lost_at.map(|at| at + self.grace)
    }

    /// Whether the seat can be taken again.
    pub(crate) fn has_seat(&self) -> bool {
        self.token.is_some()
    }

    /// The seat is gone, and what was under way with it.
    pub(crate) fn fail(&mut self, error: &Error) {
        let waiting = self.crowded.drain(..).chain(self.finishing.drain(..));
        waiting.for_each(|done| drop(done.send(Err(error.clone()))));
        *self = Self::new(self.grace);
    }

    /// This hub keeps no seats: what was said is as good as taken.
    pub(crate) fn give_up(self) {
        self.crowded.into_iter().chain(self.finishing).for_each(|done| drop(done.send(Ok(()))));
    }

    fn pop(&mut self) -> bool {
        let Some(first) = self.said.pop_front() else { return false };
        self.bytes -= first.weight();
        self.before += 1;
        true
    }

    fn settle(&mut self) {
        while self.bytes <= SAID_BYTES_MAX
            && let Some(done) = self.crowded.pop_front()
        {
            drop(done.send(Ok(())));
        }
        if self.said.is_empty() {
            self.finishing.drain(..).for_each(|done| drop(done.send(Ok(()))));
        }
    }
}

#[cfg(test)]
mod tests {
    use tokio::sync::oneshot;

    use super::*;

    fn said(bytes: usize) -> Said {
        let message = Utterance { payload: vec![0; bytes].into(), text: false };
        Said { message: Some(message), ended: false }
    }

    #[test]
    fn who_says_much_waits_until_it_was_taken() {
        let mut keep = Keep::new(Duration::from_secs(1));
        let (first, mut first_done) = oneshot::channel();
        let (second, mut second_done) = oneshot::channel();
        assert!(keep.say(said(700_000), first) && keep.say(said(700_000), second));
        assert!(first_done.try_recv().is_ok() && second_done.try_recv().is_err());
        keep.handle_credit(700_063);
        assert!(second_done.try_recv().is_err(), "one byte is missing");
        keep.handle_credit(1);
        assert!(second_done.try_recv().is_ok());
    }

    #[test]
    fn the_end_is_reached_when_all_was_taken_and_the_rest_is_said_again() {
        let mut keep = Keep::new(Duration::from_secs(1));
        assert_eq!(keep.resume(), None);
        assert!(keep.handle_seated("1-a", 0).unwrap().is_empty());
        let (done, _waits) = oneshot::channel();
        keep.say(said(1), done);
        let (done, mut finished) = oneshot::channel();
        keep.say(Said { message: None, ended: true }, done);
        assert_eq!(keep.receive(100), None);
        assert_eq!(keep.resume(), Some(("1-a", 1)));
        keep.handle_credit(64);
        let again = keep.handle_seated("1-a", 1).unwrap();
        assert!(again.len() == 1 && again[0].ended && finished.try_recv().is_err());
        keep.handle_credit(64);
        assert!(finished.try_recv().is_ok());
    }

    #[test]
    fn the_hub_is_told_now_and_then_what_has_arrived() {
        let mut keep = Keep::new(Duration::from_secs(1));
        assert_eq!(keep.receive(20_000), None);
        assert_eq!(keep.receive(20_000), Some(40_128));
        assert_eq!(keep.receive(0), None);
    }
}
