//! What others may do with a mailbox.

use std::sync::atomic::Ordering::Relaxed;
use std::task::Waker;

use bytes::Bytes;
use whub_core::{
    Fate, Fault, Framing, Letter, Packet, Parcel, Post, Publication, Sent, SessionId, Undelivered,
};
use whub_proto::Code;

use crate::config::SlowPolicy;
use crate::framing::{self, Data};
use crate::mailbox::{Mail, PeerMailbox, Private, State};

impl Post for PeerMailbox {
    fn session(&self) -> SessionId {
        self.session
    }

    fn framing(&self) -> Framing {
        self.framing
    }

    fn post(&self, letter: Letter) -> Result<(), Undelivered> {
        let mut state = self.lock();
        if state.closed {
            return Err(Undelivered::Gone(letter));
        }
        let load = state.load();
        if load > self.budget && matches!(letter, Letter::Call(_)) {
            return Err(Undelivered::Full(letter));
        }
        if load > self.budget.saturating_mul(overrun(&letter)) {
            self.kick(&mut state);
            // Its session ends, however long that takes with a peer that is deaf; until then it holds no more.
            return Err(Undelivered::Gone(letter));
        }
        state.mail_bytes += letter.weight();
        state.mail.push_back(Mail::Letter(letter));
        self.wake(&state);
        Ok(())
    }

    fn send(&self, parcel: Parcel<'_>) -> Sent {
        let mut state = self.lock();
        if state.closed {
            return Sent::Gone;
        }
        match parcel {
            Parcel::Framed { bytes, messages } => {
                state.said += bytes.len() as u64;
                self.write_or_queue(&mut state, bytes, messages, None)
            }
            Parcel::Packet { id, packet } => self.send_packet(&mut state, id, packet),
            Parcel::News { .. } if state.load() > self.news_bytes_max() => {
                self.kick(&mut state);
                Sent::Gone
            }
            Parcel::News { id, packet } => {
                if let Some(missed) = state.gaps.take_room(id) {
                    self.send_packet(&mut state, id, &missed);
                }
                self.send_packet(&mut state, id, packet)
            }
            Parcel::Data { seat, text, end, payload } if self.framing == Framing::Private => {
                let payload = Bytes::copy_from_slice(payload);
                state.said += payload.len() as u64;
                self.push_private(&mut state, Private::Data { seat, text, end, payload })
            }
            Parcel::Data { seat, text, end, payload } => {
                let mut bytes = Vec::with_capacity(payload.len() + 32);
                let data = Data { seat, text, end, payload };
                framing::encode_data(&mut bytes, self.framing, &data, self.hub.limits.frame_bytes);
                state.said += bytes.len() as u64;
                self.write_or_queue(&mut state, &bytes, 0, None)
            }
        }
    }

    fn hold(&self) {
        self.holds.store(true, Relaxed);
        self.lock().backlog.hold();
    }

    fn poll_room(&self, waker: &Waker) -> bool {
        let mut state = self.lock();
        if state.closed || state.load() <= self.budget {
            return true;
        }
        if !state.waiting.iter().any(|known| known.will_wake(waker)) {
            state.waiting.push(waker.clone());
        }
        false
    }

    fn forget_room(&self, seat: u64) {
        self.lock().gaps.take_room(seat);
    }

    fn publish(&self, publication: &dyn Publication) -> Fate {
        let mut state = self.lock();
        if state.closed {
            return Fate::DroppedGone;
        }
        if state.load() > self.budget {
            return self.drop_slow(&mut state, publication);
        }
        if !state.gaps.is_empty() {
            self.report_gaps(&mut state);
        }
        if self.framing == Framing::Private {
            let id = publication.seat();
            for packet in publication.packets() {
                self.push_private(&mut state, Private::Packet { id, packet: packet.clone() });
            }
            return Fate::Queued;
        }
        let bytes = publication.framed(self.framing);
        let clear = state.backlog.is_clear();
        match self.write_or_queue(&mut state, &bytes, publication.count(), Some(&bytes)) {
            Sent::Gone => Fate::DroppedGone,
            Sent::Room | Sent::Wait if clear && state.backlog.is_clear() => Fate::Delivered,
            Sent::Room | Sent::Wait => Fate::Queued,
        }
    }
}

impl PeerMailbox {
    fn drop_slow(&self, state: &mut State, publication: &dyn Publication) -> Fate {
        let count = publication.count();
        if publication.is_room() {
            state.gaps.drop_in_room(publication.seat(), publication.channel(), count);
            return Fate::DroppedSlow;
        }
        match self.slow {
            SlowPolicy::Drop => state.gaps.drop(publication.channel(), count),
            SlowPolicy::Conflate => {
                let dropped = state.gaps.conflate(publication.channel(), publication.packets());
                return Fate::Conflated { dropped };
            }
            SlowPolicy::Close => self.kick(state),
        }
        Fate::DroppedSlow
    }

    /// Ends the session, once, because its peer reads too slowly.
    fn kick(&self, state: &mut State) {
        if std::mem::replace(&mut state.kicked, true) {
            return;
        }
        self.hub.counters.slow_consumers.one();
        state.mail.push_back(Mail::Letter(Letter::Kick(slow_consumer())));
        self.wake(state);
    }

    fn send_packet(&self, state: &mut State, id: u64, packet: &Packet) -> Sent {
        if self.framing == Framing::Private {
            return self.push_private(state, Private::Packet { id, packet: packet.clone() });
        }
        let mut bytes = Vec::with_capacity(packet.len() + 16);
        framing::encode_packet(&mut bytes, self.framing, id, packet);
        self.write_or_queue(state, &bytes, 0, None)
    }

    /// News of a room are not dropped. Who is over its budget by this much has stopped reading.
    fn news_bytes_max(&self) -> usize {
        self.budget.saturating_mul(NEWS_OVERRUN).saturating_add(self.hub.limits.message_bytes)
    }

    fn push_private(&self, state: &mut State, item: Private) -> Sent {
        state.mail_bytes += item.weight();
        state.mail.push_back(Mail::Private(item));
        self.wake(state);
        if state.load() > self.budget { Sent::Wait } else { Sent::Room }
    }
}

/// News may pile up to this many times the budget, on top of one long message, before the receiver is closed.
const NEWS_OVERRUN: usize = 16;

/// What belongs to calls under way may pile up to this many times the budget before the receiver is closed. Each call is
/// bounded by its credit, so only a peer that stopped reading gets there. A provider may be sent many uploads at once.
fn overrun(letter: &Letter) -> usize {
    match letter {
        Letter::Upload { .. } => 64,
        Letter::Answer { .. } | Letter::Failed { .. } | Letter::Call(_) => 16,
        // Small, and what ends the others.
        Letter::Abandon { .. }
        | Letter::Refill { .. }
        | Letter::Credit { .. }
        | Letter::Placed { .. }
        | Letter::Paired { .. }
        | Letter::Parted { .. }
        | Letter::Expelled { .. }
        | Letter::Replaced { .. }
        | Letter::Stirred { .. }
        | Letter::Drain { .. }
        | Letter::Recheck
        | Letter::Kick(_) => usize::MAX,
    }
}
/// What a subscriber is told that is closed for reading too slowly.
pub(crate) fn slow_consumer() -> Fault {
    let reason = "this session reads too slowly: its mailbox is full; read faster, or subscribe to less";
    Fault::passing(Code::SlowConsumer, "mailbox.full", 1000, reason)
}

#[cfg(test)]
mod tests {
    use std::collections::VecDeque;
    use std::sync::Arc;
    use std::sync::atomic::AtomicUsize;
    use std::task::{Context, Wake};

    use whub_core::{CallId, HalfId, Hub, SessionLimits};

    use super::*;
    use crate::mailbox::MailboxPolicy;

    /// Counts how often it is woken.
    #[derive(Default)]
    struct Bell(AtomicUsize);

    impl Wake for Bell {
        fn wake(self: Arc<Self>) {
            self.0.fetch_add(1, Relaxed);
        }
    }

    /// A mailbox whose session frames for itself, as one that compresses does.
    fn mailbox(slow: SlowPolicy) -> PeerMailbox {
        let hub = Arc::new(Hub::new("test", "whub/test", SessionLimits::default()));
        PeerMailbox::new(hub, Framing::Private, None, MailboxPolicy { bytes: 100, slow })
    }

    fn say(mailbox: &PeerMailbox, payload: &[u8]) -> Sent {
        mailbox.send(Parcel::Data { seat: 0, text: false, end: false, payload })
    }

    fn take(mailbox: &PeerMailbox) -> VecDeque<Mail> {
        let mut mail = VecDeque::new();
        mailbox.poll_mail(&mut Context::from_waker(Waker::noop()), &mut mail);
        mail
    }

    #[test]
    fn who_waits_for_room_goes_on_once_the_mail_was_taken() {
        let mailbox = mailbox(SlowPolicy::Drop);
        assert_eq!(say(&mailbox, &[0; 200]), Sent::Wait);
        let bell = Arc::new(Bell::default());
        assert!(!mailbox.poll_room(&Waker::from(Arc::clone(&bell))));
        assert_eq!(take(&mailbox).len(), 1);
        assert_eq!(bell.0.load(Relaxed), 1);
        assert!(mailbox.poll_room(Waker::noop()));
    }

    #[test]
    fn what_a_partner_said_comes_before_its_leaving() {
        let mailbox = mailbox(SlowPolicy::Drop);
        let half = HalfId { session: mailbox.session(), seat: 0, serial: 1 };
        assert_eq!(say(&mailbox, b"last words"), Sent::Room);
        mailbox.post(Letter::Parted { half, partner: half }).unwrap();
        let mail = Vec::from(take(&mailbox));
        assert!(matches!(mail[..], [Mail::Private(_), Mail::Letter(Letter::Parted { .. })]), "{mail:?}");
    }

    #[test]
    fn a_slow_session_is_told_to_end_once() {
        let mailbox = mailbox(SlowPolicy::Close);
        let id = CallId { id: 1, serial: 1 };
        let answer = || Letter::Failed { id, fault: Fault::draining() };
        for _ in 0..overrun(&answer()) {
            assert_eq!(say(&mailbox, &[0; 200]), Sent::Wait);
        }
        for _ in 0..3 {
            assert!(matches!(mailbox.post(answer()), Err(Undelivered::Gone(_))));
        }
        let mail = take(&mailbox);
        let letters: Vec<_> = mail.iter().filter(|item| matches!(item, Mail::Letter(_))).collect();
        assert!(matches!(letters[..], [Mail::Letter(Letter::Kick(_))]), "{letters:?}");
        assert_eq!(mailbox.hub.counters.slow_consumers.read(), 1);
    }
}
