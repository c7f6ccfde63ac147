//! A conversation with an endpoint on behalf of one client, as its WebSocket client.
//!
//! What the client sends is known to have arrived once the endpoint has answered a ping that was sent after it, in the same
//! write. When the endpoint is lost, messages without that answer are told to the client: they may have arrived or not.

use std::collections::VecDeque;
use std::pin::Pin;
use std::task::{Context, Poll};
use std::time::{Duration, Instant};

use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use whub_core::{Announcement, Parcel, Sent};
use whub_transport::Stream;
use whub_ws::{
    CloseCode, Closing, Decoder, Event, Limits, MessageKind, Opcode, Role, encode_close, encode_close_reply,
    encode_head, encode_masked,
};

use crate::connection::{INPUT, Place, Timer};
use crate::gateway::carry::Voice;
use crate::gateway::leg::Leg;
use crate::gateway::open::{Opened, nonce};
use crate::gateway::upstream::Occupied;
use crate::gateway::words;
use crate::mailbox::Mail;

/// Bytes that are ready for the endpoint at most, but for the last message.
const OUT_BYTES: usize = 64 * 1024;

/// Messages whose arrival is not confirmed at most, since each of them may have to be told to the client.
const UNCONFIRMED_MAX: u64 = 16_384;

/// Read batches before others get their turn.
const ROUNDS: usize = 8;

/// How long the last words may take.
const LAST_WORDS: Duration = Duration::from_secs(5);

/// How a conversation ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum End {
    /// The client has gone, and all it said was passed on.
    Done,
    /// The endpoint is lost.
    Lost {
        /// Messages that may not have arrived.
        unconfirmed: usize,
    },
}

/// One conversation.
pub(super) struct Converse<'a> {
    voice: &'a Voice,
    leg: &'a Leg,
    place: Place,
    stream: Stream,
    decoder: Decoder,
    closing: Closing,
    /// What stands before each message for the client.
    tag: Vec<u8>,
    /// For the endpoint, from `written` on.
    out: Vec<u8>,
    written: usize,
    /// What the endpoint's last ping said, until the answer finds room: an endpoint that asks and never reads gets one
    /// answer, not a queue of them (RFC 6455, section 5.5.3).
    pong: Option<Vec<u8>>,
    /// For the client.
    relay: Vec<u8>,
    /// Messages passed to the endpoint, and how many of them are known to have arrived.
    sent: u64,
    confirmed: u64,
    /// How many had been passed on when it was pinged last.
    pinged: u64,
    /// Pings are under way; since when nothing was heard of them.
    asked: Option<Instant>,
    /// It talks, but answers no ping, against RFC 6455 (section 5.5.2): what was written counts as arrived.
    is_mute: bool,
    heard: Instant,
    /// The client has gone; until when the rest has time.
    leaving: Option<Instant>,
    timer: Timer,
    _occupied: Option<Occupied>,
}

impl<'a> Converse<'a> {
    pub(super) fn new(voice: &'a Voice, leg: &'a Leg, place: Place, opened: Opened) -> Self {
        let Opened { stream, early, occupied, .. } = opened;
        let hub = &voice.node.hub;
        let limits =
            Limits { message_bytes: hub.limits.message_bytes, frame_bytes: hub.limits.message_bytes };
        let now = Instant::now();
        let mut converse = Self {
            voice,
            leg,
            place,
            stream,
            decoder: Decoder::new(Role::Client, limits),
            closing: Closing::new(Role::Client),
            tag: words::tag(&voice.name),
            out: Vec::new(),
            written: 0,
            pong: None,
            relay: Vec::new(),
            sent: 0,
            confirmed: 0,
            pinged: 0,
            asked: None,
            is_mute: false,
            heard: now,
            leaving: None,
            timer: Timer::new(now + hub.limits.ping),
            _occupied: occupied,
        };
        hub.counters.gateway_opened.one();
        let mut early = early;
        converse.handle_bytes(&mut early);
        converse
    }
}

impl Future for Converse<'_> {
    type Output = End;

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<End> {
        let this = self.get_mut();
        if this.read_mail(cx) || this.take_turn(cx).is_none() || this.is_late(cx) {
            return Poll::Ready(this.end());
        }
        Poll::Pending
    }
}

impl Converse<'_> {
    fn end(&self) -> End {
        if self.leaving.is_some() {
            return End::Done;
        }
        End::Lost { unconfirmed: usize::try_from(self.sent - self.confirmed).unwrap_or(usize::MAX) }
    }

    /// What the hub says of the endpoint. True when the conversation is over because of it.
    fn read_mail(&mut self, cx: &mut Context<'_>) -> bool {
        let mut mail = VecDeque::new();
        self.place.poll_mail(cx, &mut mail);
        mail.into_iter().any(|item| {
            let Mail::Letter(letter) = item else { return false };
            match letter.announcement() {
                Some(Announcement::Kick(_)) => true,
                Some(Announcement::Recheck) => self.place.recheck().is_err(),
                // The client's own connection hears of it too, and decides.
                Some(Announcement::Drain { .. }) | None => false,
            }
        })
    }

    /// `None` when the endpoint is lost or done.
    fn take_turn(&mut self, cx: &mut Context<'_>) -> Option<()> {
        for _ in 0..ROUNDS {
            // 1. What the client said.
            let more = self.fill(cx);
            let written = self.poll_write(cx).ok()?;
            if written && self.closing.is_clean() {
                return None;
            }
            // 2. The client, if it has to catch up, then the endpoint itself.
            let heard = self.voice.client.poll_room(cx.waker()) && self.poll_read(cx)?;
            // What the socket took at once has made room for more, of which nobody would tell.
            let goes_on = more && written;
            if !heard && !goes_on {
                return Some(());
            }
        }
        cx.waker().wake_by_ref();
        Some(())
    }

    /// Frames what waits, as far as there is room, and asks for confirmation. True when more may wait.
    fn fill(&mut self, cx: &mut Context<'_>) -> bool {
        let sent_before = self.sent;
        let mut more = true;
        while more && self.may_pass() && self.out.len() - self.written < OUT_BYTES {
            if let Some(pong) = self.pong.take() {
                encode_masked(&mut self.out, Opcode::Pong, &pong, nonce());
            }
            match self.leg.poll_next(cx) {
                Poll::Pending => more = false,
                Poll::Ready(Some(queued)) => {
                    let opcode = if queued.text { Opcode::Text } else { Opcode::Binary };
                    encode_masked(&mut self.out, opcode, &queued.payload, nonce());
                    self.sent += 1;
                }
                Poll::Ready(None) => {
                    // It was open, or nothing would have been filled in.
                    let _ = self.closing.start();
                    encode_close(&mut self.out, CloseCode::NORMAL, "", Some(nonce()));
                    self.leaving = Some(Instant::now() + LAST_WORDS);
                }
            }
        }
        if self.sent > sent_before {
            self.voice.node.hub.counters.gateway_messages.add(self.sent - sent_before);
            self.ask();
        }
        if self.leg.take_news() {
            self.voice.news("ready");
        }
        more && self.may_pass()
    }

    /// Whether another message may go out: the conversation is open, and not too many are unconfirmed.
    fn may_pass(&self) -> bool {
        self.closing.may_send() && self.sent - self.confirmed < UNCONFIRMED_MAX
    }

    /// Asks the endpoint whether it has got everything so far. It may answer the last of such pings only (RFC 6455, section
    /// 5.5.3), which answers those before it.
    fn ask(&mut self) {
        if self.is_mute {
            self.confirmed = self.sent;
        } else if self.closing.may_send() {
            encode_masked(&mut self.out, Opcode::Ping, &self.sent.to_be_bytes(), nonce());
            self.pinged = self.sent;
            self.asked.get_or_insert_with(Instant::now);
        }
    }

    /// It has answered the ping that came after so many messages.
    fn confirm(&mut self, count: u64) {
        self.confirmed = self.confirmed.max(count.min(self.sent));
        self.asked = (self.confirmed < self.pinged).then(Instant::now);
    }

    /// Some endpoints answer no ping. One that has said something since, for as long as silence would be its end, is there.
    fn believe(&mut self) {
        let patience = 2 * self.voice.node.hub.limits.ping;
        if self.asked.is_some_and(|asked| asked.elapsed() >= patience) {
            (self.is_mute, self.asked, self.confirmed) = (true, None, self.sent);
        }
    }

    /// True when everything is written.
    fn poll_write(&mut self, cx: &mut Context<'_>) -> std::io::Result<bool> {
        while self.written < self.out.len() {
            match Pin::new(&mut self.stream).poll_write(cx, &self.out[self.written..])? {
                Poll::Pending => return Ok(false),
                Poll::Ready(0) => return Err(std::io::ErrorKind::WriteZero.into()),
                Poll::Ready(count) => self.written += count,
            }
        }
        if !self.out.is_empty() {
            // An idle conversation owns no buffer.
            (self.out, self.written) = (Vec::new(), 0);
        }
        Ok(Pin::new(&mut self.stream).poll_flush(cx)?.is_ready())
    }

    /// Reads once. False when there is nothing; `None` at the end.
    fn poll_read(&mut self, cx: &mut Context<'_>) -> Option<bool> {
        INPUT.with_borrow_mut(|input| {
            let mut buf = ReadBuf::new(input);
            match Pin::new(&mut self.stream).poll_read(cx, &mut buf) {
                Poll::Pending => return Some(false),
                Poll::Ready(Err(_)) => return None,
                Poll::Ready(Ok(())) => {}
            }
            let bytes = buf.filled_mut();
            if bytes.is_empty() {
                return None;
            }
            self.heard = Instant::now();
            self.handle_bytes(bytes);
            Some(true)
        })
    }

    fn handle_bytes(&mut self, input: &mut [u8]) {
        let mut batch = self.decoder.decode(input);
        let (mut messages, mut answered) = (0, None);
        loop {
            match batch.next() {
                Ok(None) => break,
                Ok(Some(Event::Message { kind, payload })) => {
                    let opcode = if kind == MessageKind::Text { Opcode::Text } else { Opcode::Binary };
                    let head = encode_head(opcode, self.tag.len() + payload.len(), None);
                    self.relay.extend_from_slice(&head);
                    self.relay.extend_from_slice(&self.tag);
                    self.relay.extend_from_slice(&payload);
                    messages += 1;
                }
                Ok(Some(Event::Ping(payload))) => self.pong = Some(payload.into_vec()),
                Ok(Some(Event::Pong(payload))) => {
                    answered = <[u8; 8]>::try_from(&*payload).ok().map(u64::from_be_bytes).max(answered);
                }
                Ok(Some(Event::Close(frame))) => {
                    if self.closing.receive() {
                        encode_close_reply(&mut self.out, frame.as_ref(), Some(nonce()));
                    }
                    break;
                }
                Err(violation) => {
                    if self.closing.start() {
                        let reason = violation.to_string();
                        encode_close(&mut self.out, violation.close_code(), &reason, Some(nonce()));
                    }
                    // It does not keep to the rules; it need not be heard any more.
                    let _ = self.closing.receive();
                    break;
                }
            }
        }
        if let Some(count) = answered {
            self.confirm(count);
        }
        self.believe();
        self.pass(messages);
    }

    /// Sends the client what the endpoint said.
    fn pass(&mut self, messages: u64) {
        if self.relay.is_empty() {
            return;
        }
        let (Sent::Room | Sent::Wait | Sent::Gone) =
            self.voice.client.send(Parcel::Framed { bytes: &self.relay, messages: 0 });
        self.voice.node.hub.counters.gateway_messages.add(messages);
        self.relay.clear();
        self.relay.shrink_to(OUT_BYTES);
    }

    /// Whether the endpoint has been silent for too long, or the last words have taken too long.
    fn is_late(&mut self, cx: &mut Context<'_>) -> bool {
        let ping = self.voice.node.hub.limits.ping;
        loop {
            let due = match (self.leaving, self.asked) {
                (Some(until), _) => until,
                (None, Some(asked)) => asked.max(self.heard) + 2 * ping,
                (None, None) => self.heard + ping,
            };
            if !self.timer.poll_due(cx, due) {
                return false;
            }
            if self.leaving.is_none() && !self.voice.client.poll_room(cx.waker()) {
                // It is not being listened to, which is no silence of its own.
                self.heard = Instant::now();
                continue;
            }
            if self.leaving.is_some() || self.asked.is_some() || !self.closing.may_send() {
                return true;
            }
            self.ask();
            cx.waker().wake_by_ref();
        }
    }
}
