//! A WebSocket that is passed on byte for byte, between a client and an upstream of an endpoint.
//!
//! Neither side is decoded. What a client says is masked with its own key, which the upstream undoes; what the upstream
//! says is not masked. So bytes pass as they came: messages, fragments, pings, extensions, the close of either side. The
//! hub follows where frames end, because it has something to say itself when one side is lost or the endpoint goes.

use std::collections::VecDeque;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Instant;

use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use whub_core::{Announcement, Fault, Framing, Post};
use whub_transport::Stream;
use whub_ws::{CloseCode, Walk, encode_close};

use crate::connection::bridge::{SERVICE_RESTART, close_code};
use crate::connection::scratch::INPUT;
use crate::connection::timer::Timer;
use crate::connection::{LINGER, ROUNDS, echo::GOING_AWAY};
use crate::gateway::{KEEP_ALIVE, Occupied, Opened, Seat, nonce, unknown};
use crate::mailbox::{Mail, PeerMailbox};
use crate::node::{Node, Presence};

/// A client's place at an endpoint, before its connection is handed over.
#[derive(Debug)]
pub(crate) struct Place {
    mailbox: Arc<PeerMailbox>,
    node: Arc<Node>,
    name: Box<str>,
    credential: Credential,
    _seat: Option<Seat>,
}

/// By what right a client is at an endpoint.
#[derive(Debug)]
pub(crate) enum Credential {
    /// The token that it came with.
    Token(Option<Box<str>>),
    /// Who it is, as the hub knows it from elsewhere; empty for nobody.
    User(Box<str>),
}

impl Place {
    /// Takes a place at the endpoint of this name.
    ///
    /// # Errors
    /// When there is no such endpoint, or no room.
    pub(crate) fn take(node: &Arc<Node>, name: &str, credential: Credential) -> Result<Self, Fault> {
        let mut place = Self {
            mailbox: node.mailbox(Framing::Private, None),
            node: Arc::clone(node),
            name: name.into(),
            credential,
            _seat: None,
        };
        let post: Arc<dyn Post> = place.mailbox.clone();
        let Some(route) = node.routes.find(name) else { return Err(unknown(name)) };
        place._seat = Some(route.seat(&post)?);
        Ok(place)
    }

    /// What the hub says about it.
    pub(crate) fn poll_mail(&self, cx: &mut Context<'_>, mail: &mut VecDeque<Mail>) {
        if self.mailbox.waits() {
            self.mailbox.poll_mail(cx, mail);
        }
    }

    /// The same, for tasks that look each time that they are polled.
    pub(crate) fn watch_mail(&self, cx: &mut Context<'_>, mail: &mut VecDeque<Mail>) {
        self.mailbox.poll_mail(cx, mail);
    }

    /// Whether the rules still allow it.
    pub(crate) fn recheck(&self) -> Result<(), Fault> {
        let route = self.node.routes.find(&self.name).ok_or_else(|| unknown(&self.name))?;
        let identity = match &self.credential {
            Credential::Token(token) => self.node.authenticate(token.as_deref())?,
            Credential::User(user) => self.node.identity(user),
        };
        route.admit(&identity)
    }
}

/// However it ends, nobody finds it in a table any more.
impl Drop for Place {
    fn drop(&mut self) {
        // Nobody owes anything to those who wrote to it.
        drop(self.mailbox.close());
        self.node.strike(self.mailbox.session());
    }
}

/// Passes on what the two sides say until both are done.
pub(crate) fn run_pass(
    place: Place,
    stream: Stream,
    early: Vec<u8>,
    opened: Opened,
) -> impl Future<Output = ()> + Send {
    stream.keep_alive(KEEP_ALIVE);
    let present = place.node.presence();
    let Opened { stream: upstream, early: upstream_early, occupied, .. } = opened;
    let mut client = Side::new(stream);
    let mut upstream = Side::new(upstream);
    upstream.queue(&early);
    client.queue(&upstream_early);
    Pass { client, upstream, place, stage: Stage::Open, timer: None, _occupied: occupied, _present: present }
}

struct Pass {
    client: Side,
    upstream: Side,
    place: Place,
    stage: Stage,
    /// There is one while the pass comes to its end.
    timer: Option<Timer>,
    _occupied: Option<Occupied>,
    _present: Presence,
}

#[derive(Debug)]
enum Stage {
    Open,
    /// The hub ends it, as soon as both sides are between two frames.
    Leaving {
        until: Instant,
        fault: Fault,
    },
    /// Everything is said; the sides may finish.
    Closing {
        until: Instant,
    },
}

/// One of the two connections.
struct Side {
    stream: Stream,
    /// What the socket did not take, from `written` on.
    pending: Vec<u8>,
    written: usize,
    /// Where the other side stands in what it says to this one.
    walk: Walk,
    /// This one says nothing more.
    ended: bool,
    /// This one is told nothing more.
    shut: bool,
    /// The stream buffers, and may hold bytes still.
    flushing: bool,
    /// The connection is gone.
    lost: bool,
}

impl Future for Pass {
    type Output = ();

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<()> {
        let pass = self.get_mut();
        pass.read_mail(cx);
        if pass.take_turn(cx) { Poll::Ready(()) } else { pass.poll_end(cx) }
    }
}

impl Pass {
    /// True when it is over.
    fn take_turn(&mut self, cx: &mut Context<'_>) -> bool {
        for _ in 0..ROUNDS {
            let is_open = matches!(self.stage, Stage::Open | Stage::Leaving { .. });
            let went_up = move_on(cx, &mut self.client, &mut self.upstream, is_open);
            let came_down = move_on(cx, &mut self.upstream, &mut self.client, is_open);
            self.follow_ends();
            self.leave_if_possible();
            if self.client.lost || (self.client.is_done() && self.upstream.is_done()) {
                return true;
            }
            if !went_up && !came_down {
                return false;
            }
        }
        cx.waker().wake_by_ref();
        false
    }

    fn read_mail(&mut self, cx: &mut Context<'_>) {
        let mut mail = VecDeque::new();
        self.place.poll_mail(cx, &mut mail);
        for item in mail {
            let Mail::Letter(letter) = item else { continue };
            match letter.announcement() {
                Some(Announcement::Drain { .. }) => self.leave(Fault::draining()),
                Some(Announcement::Kick(fault)) => self.leave(fault),
                Some(Announcement::Recheck) => {
                    if let Err(fault) = self.place.recheck() {
                        self.leave(fault);
                    }
                }
                None => {}
            }
        }
    }

    /// One side has ended: the other is told, and has a moment for its own end.
    fn follow_ends(&mut self) {
        let is_open = match self.stage {
            Stage::Open => true,
            Stage::Closing { .. } => false,
            // Both are about to be told anyway.
            Stage::Leaving { .. } => return,
        };
        let is_owed = is_open && self.upstream.ended && !self.client.walk.has_closed();
        if is_owed && self.client.walk.is_between_frames() {
            self.client.close(SERVICE_RESTART, "the endpoint was lost; connect again", false);
        }
        self.client.shut |= self.upstream.ended;
        self.upstream.shut |= self.client.ended;
        if is_open && (self.client.ended || self.upstream.ended) {
            self.stage = Stage::Closing { until: Instant::now() + LINGER };
        }
    }

    fn leave(&mut self, fault: Fault) {
        if matches!(self.stage, Stage::Open) {
            self.stage = Stage::Leaving { until: Instant::now() + LINGER, fault };
            self.leave_if_possible();
        }
    }

    /// Says goodbye to both sides, once both are between two frames.
    fn leave_if_possible(&mut self) {
        let Stage::Leaving { until, fault } = &self.stage else { return };
        if !self.client.walk.is_between_frames() || !self.upstream.walk.is_between_frames() {
            return;
        }
        let (until, code) = (*until, close_code(fault.code));
        if !self.client.walk.has_closed() {
            self.client.close(code, &fault.reason, false);
        }
        if !self.upstream.walk.has_closed() {
            self.upstream.close(GOING_AWAY, "", true);
        }
        (self.client.shut, self.upstream.shut) = (true, true);
        self.stage = Stage::Closing { until };
    }

    fn poll_end(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        let until = match &self.stage {
            Stage::Open => return Poll::Pending,
            Stage::Leaving { until, .. } | Stage::Closing { until } => *until,
        };
        let timer = self.timer.get_or_insert_with(|| Timer::new(until));
        if timer.poll_due(cx, until) { Poll::Ready(()) } else { Poll::Pending }
    }
}

/// Counted where a conversation ends, so that nothing is shared while it goes on.
impl Drop for Pass {
    fn drop(&mut self) {
        let counters = &self.place.node.hub.counters;
        counters.gateway_messages.add(self.client.walk.messages() + self.upstream.walk.messages());
    }
}

/// Moves what `from` says on to `to`, as far as both go at the moment. True when something moved. What comes after the
/// conversation is over is read and thrown away, because hanging up on unread bytes would take back what was sent.
fn move_on(cx: &mut Context<'_>, from: &mut Side, to: &mut Side, is_open: bool) -> bool {
    if !to.poll_flush(cx) || from.ended {
        return false;
    }
    INPUT.with_borrow_mut(|input| {
        let mut buf = ReadBuf::new(input);
        match Pin::new(&mut from.stream).poll_read(cx, &mut buf) {
            Poll::Pending => return false,
            Poll::Ready(Err(_)) => from.lose(),
            Poll::Ready(Ok(())) if buf.filled().is_empty() => from.ended = true,
            Poll::Ready(Ok(())) if is_open && !to.shut => to.say(cx, buf.filled()),
            Poll::Ready(Ok(())) => {}
        }
        true
    })
}

impl Side {
    fn new(stream: Stream) -> Self {
        Self {
            stream,
            pending: Vec::new(),
            written: 0,
            walk: Walk::default(),
            ended: false,
            shut: false,
            flushing: false,
            lost: false,
        }
    }

    /// Has ended and was told everything.
    fn is_done(&self) -> bool {
        self.ended && self.shut && self.pending.is_empty() && !self.flushing
    }

    /// The connection is gone: nothing more comes, and nothing more can be said.
    fn lose(&mut self) {
        (self.lost, self.ended, self.shut, self.flushing) = (true, true, true, false);
        (self.pending, self.written) = (Vec::new(), 0);
    }

    fn queue(&mut self, bytes: &[u8]) {
        self.walk.pass(bytes);
        self.pending.extend_from_slice(bytes);
    }

    fn close(&mut self, code: u16, reason: &str, masked: bool) {
        let code = CloseCode::new(code).unwrap_or(CloseCode::INTERNAL);
        encode_close(&mut self.pending, code, reason, masked.then(nonce));
    }

    /// Writes at once what the socket takes; the rest waits.
    fn say(&mut self, cx: &mut Context<'_>, bytes: &[u8]) {
        self.walk.pass(bytes);
        let written = self.write(cx, bytes);
        if self.lost {
            return;
        }
        self.pending.extend_from_slice(&bytes[written..]);
        self.flushing = true;
        if self.pending.is_empty() {
            self.poll_flush(cx);
        }
    }

    /// As much as the stream takes now. What is lost shows itself in `lost`.
    fn write(&mut self, cx: &mut Context<'_>, bytes: &[u8]) -> usize {
        let mut written = 0;
        while written < bytes.len() {
            match Pin::new(&mut self.stream).poll_write(cx, &bytes[written..]) {
                Poll::Pending => break,
                Poll::Ready(Ok(count)) if count > 0 => written += count,
                Poll::Ready(_) => {
                    self.lose();
                    break;
                }
            }
        }
        written
    }

    /// True when nothing waits. Tells the peer the end once everything is said.
    fn poll_flush(&mut self, cx: &mut Context<'_>) -> bool {
        if self.lost {
            return true;
        }
        if !self.pending.is_empty() {
            let pending = std::mem::take(&mut self.pending);
            self.written += self.write(cx, &pending[self.written..]);
            if self.lost {
                return true;
            }
            self.flushing = true;
            if self.written < pending.len() {
                self.pending = pending;
                return false;
            }
            // An idle connection owns no buffer.
            self.written = 0;
        }
        if self.flushing {
            match Pin::new(&mut self.stream).poll_flush(cx) {
                Poll::Pending => return false,
                Poll::Ready(Ok(())) => self.flushing = false,
                Poll::Ready(Err(_)) => self.lose(),
            }
        }
        if self.shut && !self.lost {
            // Whoever reads notices a lost connection anyway.
            let _ = Pin::new(&mut self.stream).poll_shutdown(cx);
        }
        true
    }
}

#[cfg(test)]
mod tests {
    use std::task::Waker;

    use hyper::HeaderMap;
    use tokio::io::{AsyncReadExt, AsyncWriteExt, DuplexStream, duplex};

    use super::*;
    use crate::config::{Config, Endpoint, Target};

    /// A pass, and the far ends of its two connections.
    fn pass() -> (Pin<Box<impl Future<Output = ()>>>, DuplexStream, DuplexStream) {
        // What is passed on does not ask where to.
        let endpoints = vec![Endpoint::new("a", Target::Channel("x".to_owned()))];
        let config = Config { endpoints, ..Config::default() };
        let node = Arc::new(Node::new(config, "test", Arc::default()));
        let place = Place::take(&node, "a", Credential::Token(None)).expect("room");
        let ((near, client), (far, endpoint)) = (duplex(1024), duplex(1024));
        let (stream, early) = (Stream::boxed(far), Vec::new());
        let opened = Opened { stream, early, headers: HeaderMap::new(), occupied: None };
        (Box::pin(run_pass(place, Stream::boxed(near), Vec::new(), opened)), client, endpoint)
    }

    #[tokio::test]
    async fn it_is_over_as_soon_as_both_sides_are() {
        let (mut pass, mut client, mut endpoint) = pass();
        let mut cx = Context::from_waker(Waker::noop());
        let mut goodbye = Vec::new();
        encode_close(&mut goodbye, CloseCode::NORMAL, "", Some([1, 2, 3, 4]));
        client.write_all(&goodbye).await.expect("room");
        assert!(pass.as_mut().poll(&mut cx).is_pending());
        let mut heard = vec![0; goodbye.len()];
        endpoint.read_exact(&mut heard).await.expect("the close");
        assert_eq!(heard, goodbye);
        endpoint.write_all(b"\x88\x02\x03\xe8").await.expect("room");
        drop(endpoint);
        assert!(pass.as_mut().poll(&mut cx).is_pending(), "the client has yet to hear of it");
        let mut heard = Vec::new();
        client.read_to_end(&mut heard).await.expect("the end");
        assert_eq!(heard, b"\x88\x02\x03\xe8", "and nothing of the hub's");
        drop(client);
        assert!(pass.as_mut().poll(&mut cx).is_ready(), "without a moment's wait");
    }
}
