//! The mailbox of a connection: letters for its session, and the write path to its peer.
//!
//! Whoever sends writes to the socket itself, from its own thread, as long as nothing waits. What the socket does
//! not take goes to the backlog; the connection's own task, the flusher, wakes up only then.

use std::collections::VecDeque;
use std::io;
use std::sync::atomic::AtomicBool;
use std::sync::atomic::Ordering::{Acquire, Relaxed, Release};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll, Waker};

use bytes::Bytes;
use whub_core::{Fate, Fault, Framing, Hub, Letter, Parcel, Post, Publication, Sent, SessionId, Undelivered};
use whub_proto::{Code, Kind};
use whub_transport::{DirectWriter, QueuedWriter};

use crate::backlog::Backlog;
use crate::config::SlowPolicy;
use crate::framing::{self, Data};
use crate::gaps::{Caught, Gaps};

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
        | Letter::Paired { .. }
        | Letter::Parted { .. }
        | Letter::Drain { .. }
        | Letter::Recheck
        | Letter::Kick(_) => usize::MAX,
    }
}

/// A connection's mailbox.
pub(crate) struct PeerMailbox {
    session: SessionId,
    framing: Framing,
    hub: Arc<Hub>,
    /// The bare socket; `None` where only the connection's task can write.
    direct: Option<DirectWriter>,
    budget: usize,
    slow: SlowPolicy,
    // One lock for all of it: a sender takes it once, for some ten nanoseconds unless the socket is written to, and
    // never while it holds another.
    state: Mutex<State>,
    /// Something waits for the connection's task: letters, or bytes that the socket did not take. So that the task,
    /// which looks with every batch, need not take the lock to find nothing.
    waits: AtomicBool,
    /// Others are held up until the session has spoken.
    holds: AtomicBool,
}

#[derive(Debug, Default)]
struct State {
    backlog: Backlog,
    /// In the order it came: what a partner said stays before the news that it left.
    mail: VecDeque<Mail>,
    mail_bytes: usize,
    gaps: Gaps,
    owner: Option<Waker>,
    waiting: Vec<Waker>,
    /// Bytes written from the backlog so far: a slow peer is alive as long as this grows.
    written: u64,
    /// The session was told to end because its peer reads too slowly.
    kicked: bool,
    closed: bool,
}

/// Something for a session that frames for itself.
#[derive(Debug)]
pub(crate) enum Private {
    /// A message of a pair.
    Data {
        /// The receiver's id of the pair.
        seat: u64,
        /// Valid UTF-8.
        text: bool,
        /// Nothing follows.
        end: bool,
        /// The message.
        payload: Bytes,
    },
    /// A frame.
    Packet {
        /// The receiver's id.
        id: u64,
        /// The frame.
        packet: whub_core::Packet,
    },
}

impl Private {
    /// A published message, as the counters of deliveries mean it.
    pub(crate) fn is_message(&self) -> bool {
        match self {
            Self::Data { .. } => false,
            Self::Packet { packet, .. } => packet.head(0).kind == Kind::Message,
        }
    }

    fn weight(&self) -> usize {
        match self {
            Self::Data { payload, .. } => payload.len(),
            Self::Packet { packet, .. } => packet.weight(),
        }
    }
}

/// What the connection's task finds in its mailbox.
#[derive(Debug)]
pub(crate) enum Mail {
    /// From another session.
    Letter(Letter),
    /// For a session that frames for itself.
    Private(Private),
}

impl PeerMailbox {
    pub(crate) fn new(
        hub: Arc<Hub>,
        framing: Framing,
        direct: Option<DirectWriter>,
        policy: MailboxPolicy,
    ) -> Self {
        Self {
            session: hub.next_session(),
            framing,
            hub,
            direct,
            budget: policy.bytes,
            slow: policy.slow,
            state: Mutex::default(),
            waits: AtomicBool::new(true),
            holds: AtomicBool::new(false),
        }
    }

    /// Whether there may be mail to take or bytes to flush. True at first, so that the task registers itself.
    pub(crate) fn waits(&self) -> bool {
        self.waits.load(Acquire)
    }

    /// Takes what came, and has the task woken when more does.
    pub(crate) fn poll_mail(&self, cx: &mut Context<'_>, mail: &mut VecDeque<Mail>) {
        let mut state = self.lock();
        if !state.owner.as_ref().is_some_and(|owner| owner.will_wake(cx.waker())) {
            state.owner = Some(cx.waker().clone());
        }
        std::mem::swap(&mut state.mail, mail);
        if std::mem::take(&mut state.mail_bytes) > 0 {
            self.relieve(&mut state);
        }
        self.waits.store(!state.backlog.is_empty() || !state.mail.is_empty(), Release);
    }

    /// Sends the session's own bytes, before those of others that were held up for it.
    ///
    /// # Errors
    /// When the connection is lost.
    pub(crate) fn send_own(&self, bytes: &[u8]) -> io::Result<()> {
        // Only the session itself holds, from the thread that runs this.
        if bytes.is_empty() && !self.holds.load(Relaxed) {
            return Ok(());
        }
        self.holds.store(false, Relaxed);
        let mut state = self.lock();
        if state.backlog.is_clear() {
            let written = self.write(&mut state, bytes)?;
            state.backlog.push_own(Bytes::copy_from_slice(&bytes[written..]));
            return Ok(());
        }
        let held = state.backlog.is_held();
        state.backlog.push_own(Bytes::copy_from_slice(bytes));
        if held { self.drain(&mut state).map(drop) } else { Ok(()) }
    }

    /// Bytes written from the backlog so far.
    pub(crate) fn written(&self) -> u64 {
        self.lock().written
    }

    /// Whether the session's peer reads too slowly for more to be asked on its behalf.
    pub(crate) fn is_full(&self) -> bool {
        self.lock().backlog.bytes() > self.budget
    }

    /// Writes what waits, on a bare socket. Ready when nothing waits.
    ///
    /// # Errors
    /// When the connection is lost.
    pub(crate) fn poll_flush(&self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        let Some(direct) = &self.direct else { return Poll::Ready(Ok(())) };
        loop {
            let done = {
                let mut state = self.lock();
                self.drain(&mut state)?
            };
            if done {
                return Poll::Ready(Ok(()));
            }
            std::task::ready!(direct.poll_write_ready(cx))?;
        }
    }

    /// Writes what waits, where only the connection's task can write. Ready when nothing waits.
    ///
    /// # Errors
    /// When the connection is lost.
    pub(crate) fn poll_flush_with(
        &self,
        cx: &mut Context<'_>,
        writer: &mut QueuedWriter,
        scratch: &mut Vec<u8>,
    ) -> Poll<io::Result<()>> {
        loop {
            // The bytes are copied out, so that nobody waits for this lock while the stream encrypts.
            scratch.clear();
            {
                let state = self.lock();
                let (slices, count) = state.backlog.slices();
                for slice in &slices[..count] {
                    scratch.extend_from_slice(slice);
                    if scratch.len() >= QUEUED_WRITE {
                        break;
                    }
                }
            }
            if scratch.is_empty() {
                return writer.poll_flush(cx);
            }
            let written = std::task::ready!(writer.poll_write(cx, scratch))?;
            self.advance(&mut self.lock(), written);
        }
    }

    /// Ends the mailbox: nothing is accepted from here on. Returns the letters that came too late to be read.
    pub(crate) fn close(&self) -> VecDeque<Letter> {
        let mut state = self.lock();
        state.closed = true;
        let counters = &self.hub.counters;
        let mail = std::mem::take(&mut state.mail);
        let private =
            mail.iter().filter(|item| matches!(item, Mail::Private(item) if item.is_message())).count();
        let waiting = state.backlog.messages() + private as u64 + state.gaps.kept() as u64;
        counters.deliveries_dropped_gone.add(waiting);
        state.gaps = Gaps::default();
        state.backlog = Backlog::default();
        for waker in std::mem::take(&mut state.waiting) {
            waker.wake();
        }
        let letters = mail.into_iter().filter_map(|item| match item {
            Mail::Letter(letter) => Some(letter),
            Mail::Private(_) => None,
        });
        letters.collect()
    }

    /// The socket, for closing it.
    pub(crate) fn direct(&self) -> Option<&DirectWriter> {
        self.direct.as_ref()
    }

    /// Writes now if nothing waits, else queues. `bytes` are copied only if they have to wait.
    fn write_or_queue(&self, state: &mut State, bytes: &[u8], messages: u32, whole: Option<&Bytes>) -> Sent {
        let mut written = 0;
        if state.backlog.is_clear() {
            match self.write(state, bytes) {
                Ok(count) => written = count,
                Err(_) => return Sent::Gone,
            }
            if written == bytes.len() {
                return Sent::Room;
            }
        }
        let rest = match whole {
            Some(whole) => whole.slice(written..),
            None => Bytes::copy_from_slice(&bytes[written..]),
        };
        state.backlog.push(rest, messages);
        self.wake(state);
        if state.backlog.bytes() > self.budget { Sent::Wait } else { Sent::Room }
    }

    /// What the socket takes at once; 0 where only the connection's task can write.
    fn write(&self, state: &mut State, bytes: &[u8]) -> io::Result<usize> {
        let Some(direct) = &self.direct else {
            self.wake(state);
            return Ok(0);
        };
        match direct.try_write(bytes) {
            Ok(count) => {
                if count < bytes.len() {
                    self.wake(state);
                }
                Ok(count)
            }
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => {
                self.wake(state);
                Ok(0)
            }
            Err(error) => {
                // The connection's task sees the error itself when it reads or flushes.
                self.wake(state);
                Err(error)
            }
        }
    }

    /// Writes from the backlog until it is empty (true) or the socket is full (false).
    fn drain(&self, state: &mut State) -> io::Result<bool> {
        let Some(direct) = &self.direct else {
            self.wake(state);
            return Ok(false);
        };
        loop {
            let (slices, count) = state.backlog.slices();
            if count == 0 {
                return Ok(true);
            }
            match direct.try_write_vectored(&slices[..count]) {
                Ok(written) => self.advance(state, written),
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => {
                    self.wake(state);
                    return Ok(false);
                }
                Err(error) => return Err(error),
            }
        }
    }

    fn advance(&self, state: &mut State, written: usize) {
        state.written += written as u64;
        let delivered = state.backlog.advance(written);
        if delivered > 0 {
            self.hub.counters.deliveries_delivered.add(delivered);
        }
        self.relieve(state);
    }

    /// There may be room again: those who wait for it go on, and the subscriber learns what it missed.
    fn relieve(&self, state: &mut State) {
        if state.load() > self.budget / 2 {
            return;
        }
        for waker in std::mem::take(&mut state.waiting) {
            waker.wake();
        }
        if !state.gaps.is_empty() {
            self.report_gaps(state);
        }
    }

    /// Tells the subscriber what it missed, at the place in the stream where it is missing.
    fn report_gaps(&self, state: &mut State) {
        let Caught { gaps, latest } = state.gaps.take();
        if self.framing == Framing::Private {
            let packets = gaps.into_iter().chain(latest);
            state.mail.extend(packets.map(|packet| Mail::Private(Private::Packet { id: 0, packet })));
            self.wake(state);
            return;
        }
        let mut bytes = Vec::new();
        for packet in gaps.iter().chain(&latest) {
            framing::encode_packet(&mut bytes, self.framing, 0, packet);
        }
        state.backlog.push(bytes.into(), u32::try_from(latest.len()).unwrap_or(u32::MAX));
    }

    fn drop_slow(&self, state: &mut State, publication: &dyn Publication) -> Fate {
        let count = u32::try_from(publication.packets().len()).unwrap_or(u32::MAX);
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

    fn push_private(&self, state: &mut State, item: Private) -> Sent {
        state.mail_bytes += item.weight();
        state.mail.push_back(Mail::Private(item));
        self.wake(state);
        if state.load() > self.budget { Sent::Wait } else { Sent::Room }
    }

    /// Something waits for the connection's task.
    fn wake(&self, state: &State) {
        self.waits.store(true, Release);
        if let Some(owner) = &state.owner {
            owner.wake_by_ref();
        }
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// What one write of a stream that buffers may take.
const QUEUED_WRITE: usize = 64 * 1024;

/// How much a mailbox holds, and what happens then.
#[derive(Debug, Clone, Copy)]
pub(crate) struct MailboxPolicy {
    pub(crate) bytes: usize,
    pub(crate) slow: SlowPolicy,
}

impl State {
    fn load(&self) -> usize {
        self.backlog.bytes() + self.mail_bytes
    }
}

fn slow_consumer() -> Fault {
    let reason = "this session reads too slowly: its mailbox is full; read faster, or subscribe to less";
    Fault::passing(Code::SlowConsumer, "mailbox.full", 1000, reason)
}

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
            Parcel::Framed { bytes, messages } => self.write_or_queue(&mut state, bytes, messages, None),
            Parcel::Packet { id, packet } if self.framing == Framing::Private => {
                self.push_private(&mut state, Private::Packet { id, packet: packet.clone() })
            }
            Parcel::Packet { id, packet } => {
                let mut bytes = Vec::with_capacity(packet.weight() + 16);
                framing::encode_packet(&mut bytes, self.framing, id, packet);
                self.write_or_queue(&mut state, &bytes, 0, None)
            }
            Parcel::Data { seat, text, end, payload } if self.framing == Framing::Private => {
                let payload = Bytes::copy_from_slice(payload);
                self.push_private(&mut state, Private::Data { seat, text, end, payload })
            }
            Parcel::Data { seat, text, end, payload } => {
                let mut bytes = Vec::with_capacity(payload.len() + 32);
                let data = Data { seat, text, end, payload };
                framing::encode_data(&mut bytes, self.framing, &data, self.hub.limits.frame_bytes);
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
        let messages = u32::try_from(publication.packets().len()).unwrap_or(u32::MAX);
        if self.framing == Framing::Private {
            for packet in publication.packets() {
                self.push_private(&mut state, Private::Packet { id: 0, packet: packet.clone() });
            }
            return Fate::Queued;
        }
        let bytes = publication.framed(self.framing);
        let clear = state.backlog.is_clear();
        match self.write_or_queue(&mut state, &bytes, messages, Some(&bytes)) {
            Sent::Gone => Fate::DroppedGone,
            Sent::Room | Sent::Wait if clear && state.backlog.is_clear() => Fate::Delivered,
            Sent::Room | Sent::Wait => Fate::Queued,
        }
    }
}

impl std::fmt::Debug for PeerMailbox {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "PeerMailbox({}, {:?})", self.session.0, self.framing)
    }
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::AtomicUsize;
    use std::task::Wake;

    use whub_core::{CallId, HalfId, SessionLimits};

    use super::*;

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
            mailbox.post(answer()).unwrap();
        }
        let kicks =
            take(&mailbox).iter().filter(|item| matches!(item, Mail::Letter(Letter::Kick(_)))).count();
        assert_eq!((kicks, mailbox.hub.counters.slow_consumers.read()), (1, 1));
    }
}
