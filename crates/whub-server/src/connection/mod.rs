//! The life of a connection after its handshake: one task, one loop, a list of priorities.
//!
//! What is said on it is a [`Talk`]'s: the whub protocol, a plain half of a pair, a plain member of a room, an echo.

mod bridge;
mod channel;
mod client;
mod echo;
mod fanout;
mod framed;
mod link;
mod mux;
mod open;
mod pass;
mod plain;
mod relay;
mod room;
mod room_fanout;
mod scratch;
mod timer;
mod websocket;

use std::cell::Cell;
use std::collections::VecDeque;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, Waker};
use std::time::{Duration, Instant, SystemTime};

use bytes::BytesMut;
use whub_core::{Letter, Now, Post as _};

pub(crate) use bridge::Pass;
pub(crate) use channel::{Voice, admit as admit_to_channel};
pub(crate) use fanout::{Fanout, Fates, Framed};
pub(crate) use mux::Visitor;
pub(crate) use open::{Dialect, run_bridge, run_channel, run_echo, run_mux, run_pair, run_room, run_session};
pub(crate) use pass::{Credential, Place, run_pass};
pub(crate) use scratch::INPUT;
pub(crate) use timer::Timer;

use crate::mailbox::{Mail, PeerMailbox, Private};
use crate::node::{Node, Presence};
use crate::outgoing::Outgoing;
use link::Link;
use scratch::Scratch;

/// Read batches that one connection may handle before others get their turn.
const ROUNDS: usize = 8;

/// A peer that others have said so much to since it was heard last may be silent because it reads slowly: pings stand behind
/// what it has not read.
const BEHIND_BYTES: u64 = 16 * 1024;

/// How long a closing connection may take to send what is queued and to hear the peer's end.
const LINGER: Duration = Duration::from_secs(2);

/// What is said on a connection. Bytes for the peer are appended to `own`; the loop sends them after each call, in
/// one write.
trait Talk {
    /// Bytes came from the peer; all of them are consumed.
    fn handle_bytes(&mut self, now: Now, scratch: Bytes<'_>) -> Flow;

    /// Somewhere to read a large message straight into, while one is under way.
    fn read_space(&mut self) -> Option<Space<'_>> {
        None
    }

    /// So many bytes were put into [`Self::read_space`].
    fn handle_filled(&mut self, now: Now, count: usize, own: &mut Outgoing, relay: &mut Vec<u8>) -> Flow;

    /// A letter from another session.
    fn handle_letter(&mut self, now: Now, letter: Letter, own: &mut Outgoing) -> Flow;

    /// Something that this talk frames for itself.
    fn handle_private(&mut self, item: Private, own: &mut Outgoing);

    /// [`Self::poll_timeout`] has come.
    fn handle_timeout(&mut self, now: Now, reading: Reading, own: &mut Outgoing) -> Flow;

    /// When to call [`Self::handle_timeout`].
    fn poll_timeout(&self) -> Instant;

    /// Whether more may be read; otherwise the waker is woken once it may.
    fn poll_gate(&mut self, waker: &Waker) -> bool;

    /// The connection has ended. Called once, then with each letter that was still in the mailbox.
    fn handle_lost(&mut self, now: Now, late: &mut dyn Iterator<Item = Letter>);
}

/// How the peer has been reading since the last time.
#[derive(Debug, Clone, Copy)]
struct Reading {
    /// It has taken bytes that had to wait.
    progress: bool,
    /// It has not taken what others have said, or may not have.
    is_behind: bool,
}

/// Where a large message is read to.
enum Space<'a> {
    /// As much as is lacking of it.
    Slice(&'a mut [u8]),
    /// The memory behind the bytes of this, which may have room for what follows as well.
    Block(&'a mut BytesMut),
}

/// A read batch, and where the answers go.
struct Bytes<'a> {
    /// What the peer sent.
    input: &'a mut [u8],
    /// What goes back.
    own: &'a mut Outgoing,
    /// What goes to the other half of a pair.
    relay: &'a mut Vec<u8>,
}

/// Whether the conversation goes on.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Flow {
    /// Go on.
    Go,
    /// Send what is queued, then end; the peer has yet to say that it is done.
    Close,
    /// Send what is queued, then end; the peer is done.
    Done,
}

/// A connection that is under way.
struct Connection<T: Talk> {
    talk: T,
    link: Link,
    mailbox: Arc<PeerMailbox>,
    stage: Stage,
    timer: Timer,
    /// The peer has said something since the last timeout.
    heard: bool,
    /// Bytes written when the last timeout came, and said to the peer when one came last at which it had been heard.
    written: u64,
    said: u64,
    node: Arc<Node>,
    _present: Presence,
}

#[derive(Debug, Clone, Copy)]
enum Stage {
    Open,
    Closing { until: Instant, peer_done: bool, told: bool },
}

impl<T: Talk + Unpin> Future for Connection<T> {
    type Output = ();

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<()> {
        let connection = self.get_mut();
        let turn = connection.take_turn(cx);
        if turn.is_pending() {
            // Last, since what was handled may have brought the next deadline nearer.
            connection.poll_timer(cx);
        }
        turn
    }
}

impl<T: Talk> Connection<T> {
    /// A connection whose handshake is done. `early` are bytes that came with it, `own` is what the talk says first.
    fn begin(
        node: Arc<Node>,
        talk: T,
        link: Link,
        mailbox: Arc<PeerMailbox>,
        mut early: Vec<u8>,
        own: &Outgoing,
    ) -> Self {
        let timer = Timer::new(talk.poll_timeout());
        let present = node.presence();
        let mut connection = Self {
            talk,
            link,
            mailbox,
            stage: Stage::Open,
            timer,
            heard: true,
            written: 0,
            said: 0,
            node,
            _present: present,
        };
        // A lost connection shows itself at the first read.
        let _ = connection.mailbox.send_own(own);
        if !early.is_empty() {
            Scratch::with(|scratch| {
                connection.handle_bytes(now(), &mut early, &mut scratch.own, &mut scratch.relay);
            });
        }
        connection
    }

    /// One turn. Letters come before bytes, so that a session knows what its peer already saw.
    fn take_turn(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        for _ in 0..ROUNDS {
            let mut flushed = true;
            if self.mailbox.waits() || self.link.is_flushing() {
                // 1. What other sessions say.
                self.read_mail(cx);
                // 2. What the socket did not take before.
                flushed = match self.link.poll_flush(cx, &self.mailbox) {
                    Poll::Ready(Ok(())) => true,
                    Poll::Ready(Err(_)) => return Poll::Ready(()),
                    Poll::Pending => false,
                };
            }
            // 3. The end, if it is near.
            if let Stage::Closing { .. } = self.stage {
                // What was published before the end still goes out.
                self.talk.poll_gate(cx.waker());
                return self.poll_closing(cx, flushed);
            }
            // 4. Others that have to catch up, then the peer itself.
            if !self.talk.poll_gate(cx.waker()) || (!flushed && self.mailbox.is_full()) {
                return Poll::Pending;
            }
            // 5. What the peer says.
            match self.poll_read(cx) {
                Poll::Ready(true) => {}
                Poll::Ready(false) => return Poll::Ready(()),
                Poll::Pending => return Poll::Pending,
            }
        }
        cx.waker().wake_by_ref();
        Poll::Pending
    }

    fn read_mail(&mut self, cx: &mut Context<'_>) {
        let mut mail = VecDeque::new();
        self.mailbox.poll_mail(cx, &mut mail);
        if mail.is_empty() {
            return;
        }
        let now = now();
        Scratch::with(|scratch| {
            let own = &mut scratch.own;
            for item in mail {
                match item {
                    Mail::Letter(letter) => {
                        let flow = self.talk.handle_letter(now, letter, own);
                        self.follow(flow, now.at);
                    }
                    Mail::Private(item) => self.talk.handle_private(item, own),
                }
            }
            self.send_own(own);
        });
    }

    fn poll_timer(&mut self, cx: &mut Context<'_>) {
        let due = match self.stage {
            Stage::Open => self.talk.poll_timeout(),
            Stage::Closing { until, .. } => until,
        };
        if !self.timer.poll_due(cx, due) {
            return;
        }
        let Stage::Open = self.stage else {
            // The end has come since this turn looked for it.
            cx.waker().wake_by_ref();
            return;
        };
        let now = now();
        let reading = self.reading();
        Scratch::with(|scratch| {
            let flow = self.talk.handle_timeout(now, reading, &mut scratch.own);
            self.follow(flow, now.at);
            self.send_own(&mut scratch.own);
        });
        // There may be more to do now, and the next deadline has to be looked at.
        cx.waker().wake_by_ref();
    }

    fn reading(&mut self) -> Reading {
        let account = self.mailbox.account();
        if std::mem::take(&mut self.heard) {
            self.said = account.said;
        }
        let progress = std::mem::replace(&mut self.written, account.written) != account.written;
        Reading { progress, is_behind: account.waits || account.said - self.said >= BEHIND_BYTES }
    }

    /// Ready(false) at the end of the stream.
    fn poll_read(&mut self, cx: &mut Context<'_>) -> Poll<bool> {
        if let Some(space) = self.talk.read_space() {
            let read = match space {
                Space::Slice(slice) => self.link.poll_read(cx, slice),
                Space::Block(block) => self.link.poll_read_on(cx, block),
            };
            let count = std::task::ready!(read).unwrap_or(0);
            self.heard = true;
            if self.mailbox.waits() {
                self.read_mail(cx);
            }
            let now = now();
            Scratch::with(|Scratch { own, relay }| {
                let flow = self.talk.handle_filled(now, count, own, relay);
                self.follow(flow, now.at);
                self.send_own(own);
            });
            return Poll::Ready(count > 0);
        }
        INPUT.with_borrow_mut(|input| {
            let count = std::task::ready!(self.link.poll_read(cx, input)).unwrap_or(0);
            self.heard = true;
            // What a peer says may answer something that a letter, just posted, is about: the letter comes first.
            if self.mailbox.waits() {
                self.read_mail(cx);
            }
            Scratch::with(|scratch| {
                self.handle_bytes(now(), &mut input[..count], &mut scratch.own, &mut scratch.relay);
            });
            Poll::Ready(count > 0)
        })
    }

    fn handle_bytes(&mut self, now: Now, input: &mut [u8], own: &mut Outgoing, relay: &mut Vec<u8>) {
        if input.is_empty() {
            return;
        }
        let flow = self.talk.handle_bytes(now, Bytes { input, own, relay });
        self.follow(flow, now.at);
        self.send_own(own);
    }

    fn send_own(&mut self, own: &mut Outgoing) {
        // A lost connection shows itself at the next read or flush.
        let _ = self.mailbox.send_own(own);
        own.clear();
    }

    fn follow(&mut self, flow: Flow, now: Instant) {
        let peer_done = match flow {
            Flow::Go => return,
            Flow::Close => false,
            Flow::Done => true,
        };
        match &mut self.stage {
            Stage::Open => self.stage = Stage::Closing { until: now + LINGER, peer_done, told: false },
            Stage::Closing { peer_done: done, .. } => *done |= peer_done,
        }
    }

    /// Everything is said: send it, say that it was all, and listen for the peer's end for a moment, because
    /// hanging up on unread bytes would take back what was sent.
    fn poll_closing(&mut self, cx: &mut Context<'_>, flushed: bool) -> Poll<()> {
        let Stage::Closing { until, peer_done, told } = &mut self.stage else { return Poll::Pending };
        if Instant::now() >= *until {
            return Poll::Ready(());
        }
        if !flushed {
            return Poll::Pending;
        }
        if !*told {
            *told = true;
            self.link.finish(&self.mailbox);
        }
        if *peer_done {
            return Poll::Ready(());
        }
        INPUT.with_borrow_mut(|input| {
            loop {
                match std::task::ready!(self.link.poll_read(cx, input)) {
                    Ok(0) | Err(_) => return Poll::Ready(()),
                    Ok(_) => {}
                }
            }
        })
    }
}

/// However a connection ends, by its loop, by a panic, or with its runtime: whoever waits for it is told, and nobody
/// finds it in a table any more.
impl<T: Talk> Drop for Connection<T> {
    fn drop(&mut self) {
        let mut late = self.mailbox.close().into_iter();
        self.talk.handle_lost(now(), &mut late);
        self.link.hang_up(&self.mailbox);
        self.node.strike(self.mailbox.session());
    }
}

thread_local! {
    /// When this thread last asked for the time of day, and what it was in milliseconds.
    static TIME_OF_DAY: Cell<Option<(Instant, u64)>> = const { Cell::new(None) };
}

/// How long the time of day is reckoned from the steady clock, before it is asked for again.
const RECKONED: Duration = Duration::from_millis(500);

/// The time, for sessions, which never look at a clock. One reading of the steady clock; that of the day is only for
/// people, and read now and then.
pub(crate) fn now() -> Now {
    let at = Instant::now();
    if let Some((then, unix_ms)) = TIME_OF_DAY.get() {
        let since = at.saturating_duration_since(then);
        if since < RECKONED {
            return Now { at, unix_ms: unix_ms + since.as_millis() as u64 };
        }
    }
    let unix = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default();
    let unix_ms = u64::try_from(unix.as_millis()).unwrap_or(u64::MAX);
    TIME_OF_DAY.set(Some((at, unix_ms)));
    Now { at, unix_ms }
}
