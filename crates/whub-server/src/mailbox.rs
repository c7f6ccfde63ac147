//! The mailbox of a connection: letters for its session, and the write path to its peer.
//!
//! Whoever sends writes to the socket itself, from its own thread, as long as nothing waits. What the socket does
//! not take goes to the backlog; the connection's own task, the flusher, wakes up only then.

mod mail;
mod post;
mod write;

use std::collections::VecDeque;
use std::io;
use std::sync::atomic::AtomicBool;
use std::sync::atomic::Ordering::{Acquire, Relaxed, Release};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll, Waker};

use whub_core::{Framing, Hub, Letter, SessionId};
use whub_transport::{DirectWriter, QueuedWriter};

use crate::backlog::Backlog;
use crate::config::SlowPolicy;
use crate::gaps::Gaps;
use crate::outgoing::Outgoing;

pub(crate) use mail::{Mail, Private};
pub(crate) use post::slow_consumer;

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

/// How a peer has been reading.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Account {
    /// Bytes written from the backlog so far.
    pub(crate) written: u64,
    /// Bytes that others have said so far.
    pub(crate) said: u64,
    /// Some of it waits for the socket.
    pub(crate) waits: bool,
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
    /// Bytes that others have said so far.
    said: u64,
    /// The session was told to end because its peer reads too slowly.
    kicked: bool,
    closed: bool,
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
    pub(crate) fn send_own(&self, own: &Outgoing) -> io::Result<()> {
        // Only the session itself holds, from the thread that runs this.
        if own.is_empty() && !self.holds.load(Relaxed) {
            return Ok(());
        }
        self.holds.store(false, Relaxed);
        let mut state = self.lock();
        if state.backlog.is_clear() {
            let written = self.write_own(&state, own)?;
            state.backlog.push_own(own.rest(written));
            return Ok(());
        }
        let held = state.backlog.is_held();
        state.backlog.push_own(own.rest(0));
        if held && !self.drain(&mut state)? {
            self.wake(&state);
        }
        Ok(())
    }

    /// How the peer has been reading.
    pub(crate) fn account(&self) -> Account {
        let state = self.lock();
        Account { written: state.written, said: state.said, waits: !state.backlog.is_empty() }
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

impl std::fmt::Debug for PeerMailbox {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "PeerMailbox({}, {:?})", self.session.0, self.framing)
    }
}
