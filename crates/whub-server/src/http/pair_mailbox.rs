//! The mailbox of a pair's half over HTTP: what the partner sends waits here, in order, until the client takes it.

use std::collections::VecDeque;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll, Waker};

use bytes::Bytes;
use whub_core::{Fate, Framing, Letter, Parcel, Post, Publication, Sent, SessionId, Undelivered};

/// The mailbox. Its sender is told to wait when it holds more than its budget.
#[derive(Debug)]
pub(super) struct PairMailbox {
    session: SessionId,
    budget: usize,
    // Held for a push or a pop; partner and client are two tasks.
    state: Mutex<State>,
}

#[derive(Debug, Default)]
struct State {
    items: VecDeque<Item>,
    /// What `items` weigh.
    bytes: usize,
    reader: Option<Waker>,
    /// Who waits for room.
    senders: Vec<Waker>,
    closed: bool,
}

/// What came.
#[derive(Debug)]
pub(super) enum Item {
    Letter(Letter),
    /// Bytes of the partner; after `end` none follow.
    Data {
        bytes: Bytes,
        end: bool,
    },
}

/// What an item costs beside its bytes.
const ENVELOPE: usize = 64;

impl Item {
    fn weight(&self) -> usize {
        match self {
            Self::Letter(letter) => letter.weight(),
            Self::Data { bytes, .. } => ENVELOPE + bytes.len(),
        }
    }
}

impl PairMailbox {
    pub(super) fn new(session: SessionId, budget: usize) -> Self {
        Self { session, budget, state: Mutex::default() }
    }

    /// The next thing that came.
    pub(super) fn poll_item(&self, cx: &mut Context<'_>) -> Poll<Item> {
        let mut state = self.lock();
        if let Some(item) = state.items.pop_front() {
            state.bytes -= item.weight();
            let senders =
                if state.bytes <= self.budget { std::mem::take(&mut state.senders) } else { Vec::new() };
            drop(state);
            senders.into_iter().for_each(Waker::wake);
            return Poll::Ready(item);
        }
        if !state.reader.as_ref().is_some_and(|reader| reader.will_wake(cx.waker())) {
            state.reader = Some(cx.waker().clone());
        }
        Poll::Pending
    }

    /// Nothing is accepted from here on. What comes out are the letters that were not read.
    pub(super) fn close(&self) -> impl Iterator<Item = Letter> + use<> {
        let unread = std::mem::replace(&mut *self.lock(), State { closed: true, ..State::default() });
        unread.senders.into_iter().for_each(Waker::wake);
        unread.items.into_iter().filter_map(|item| match item {
            Item::Letter(letter) => Some(letter),
            Item::Data { .. } => None,
        })
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl State {
    fn push(&mut self, item: Item) -> Option<Waker> {
        self.bytes += item.weight();
        self.items.push_back(item);
        self.reader.take()
    }
}

impl Post for PairMailbox {
    fn session(&self) -> SessionId {
        self.session
    }

    fn framing(&self) -> Framing {
        Framing::Private
    }

    fn post(&self, letter: Letter) -> Result<(), Undelivered> {
        let reader = {
            let mut state = self.lock();
            if state.closed {
                return Err(Undelivered::Gone(letter));
            }
            state.push(Item::Letter(letter))
        };
        reader.into_iter().for_each(Waker::wake);
        Ok(())
    }

    fn send(&self, parcel: Parcel<'_>) -> Sent {
        let Parcel::Data { end, payload, .. } = parcel else {
            // Frames are for those who speak the protocol; nobody sends any here.
            return Sent::Room;
        };
        let (reader, sent) = {
            let mut state = self.lock();
            if state.closed {
                return Sent::Gone;
            }
            let reader = state.push(Item::Data { bytes: Bytes::copy_from_slice(payload), end });
            (reader, if state.bytes > self.budget { Sent::Wait } else { Sent::Room })
        };
        reader.into_iter().for_each(Waker::wake);
        sent
    }

    fn hold(&self) {}

    fn poll_room(&self, waker: &Waker) -> bool {
        let mut state = self.lock();
        if state.closed || state.bytes <= self.budget {
            return true;
        }
        if !state.senders.iter().any(|known| known.will_wake(waker)) {
            state.senders.push(waker.clone());
        }
        false
    }

    fn publish(&self, _: &dyn Publication) -> Fate {
        Fate::DroppedGone
    }
}

#[cfg(test)]
mod tests {
    use whub_core::HalfId;

    use super::*;

    fn say(mailbox: &PairMailbox, payload: &[u8]) -> Sent {
        mailbox.send(Parcel::Data { seat: 0, text: false, end: false, payload })
    }

    #[test]
    fn bytes_and_letters_keep_their_order_and_a_full_mailbox_says_so() {
        let mailbox = PairMailbox::new(SessionId(7), 200);
        let mut cx = Context::from_waker(Waker::noop());
        assert_eq!(say(&mailbox, b"one"), Sent::Room);
        assert_eq!(say(&mailbox, &[b'x'; 200]), Sent::Wait);
        let half = HalfId { session: SessionId(7), seat: 0, serial: 1 };
        mailbox.post(Letter::Parted { half, partner: half }).unwrap();
        assert!(!mailbox.poll_room(Waker::noop()));

        let Poll::Ready(Item::Data { bytes, end: false }) = mailbox.poll_item(&mut cx) else { panic!() };
        assert_eq!(&bytes[..], b"one");
        assert!(!mailbox.poll_room(Waker::noop()));
        let Poll::Ready(Item::Data { .. }) = mailbox.poll_item(&mut cx) else { panic!() };
        assert!(mailbox.poll_room(Waker::noop()));
        let Poll::Ready(Item::Letter(Letter::Parted { .. })) = mailbox.poll_item(&mut cx) else { panic!() };
        assert!(mailbox.poll_item(&mut cx).is_pending());

        assert_eq!(mailbox.close().count(), 0);
        assert_eq!(say(&mailbox, b"late"), Sent::Gone);
        assert!(mailbox.poll_room(Waker::noop()), "nobody waits for a mailbox that is closed");
    }
}
