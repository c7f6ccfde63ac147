//! From bytes to events: frames are walked in the read buffer where they lie, and only what a read cuts in two
//! is kept.
//!
//! ```text
//!   read buffer   | frame | frame | frame | fra       decode(): three events that borrow from the buffer
//!                                           \__ the decoder keeps what came, unmasked and checked
//! ```

use std::mem;

use crate::{
    CloseFrame, Event, Limits, MessageKind, Payload, Role, Violation,
    assembly::Assembly,
    deflate::Inflater,
    frame::{HEAD_BYTES_MAX, Header, Opcode, Short},
    mask::mask,
    utf8,
};

/// Below this many missing bytes a read of its own is not worth it; the common buffer takes more frames at once.
const READ_SPACE_BYTES_MIN: usize = 64 * 1024;

/// Reads what one peer sends. At most 128 bytes while idle, and no heap unless context takeover was agreed.
///
/// Contract: pass every batch of bytes that a read gives to [`Decoder::decode`] and take events until there are
/// none. Before a read, a large frame may ask for the bytes itself: [`Decoder::read_space`].
#[derive(Debug)]
pub struct Decoder {
    limits: Limits,
    role: Role,
    /// Nothing is read after a Close frame or a violation.
    ended: bool,
    /// A head that has not arrived whole.
    head: [u8; HEAD_BYTES_MAX],
    head_bytes: u8,
    /// The frame whose payload is arriving.
    frame: Option<OpenFrame>,
    /// The message whose fragments, or whose first frame's bytes, are arriving.
    message: Option<Assembly>,
    /// A control frame's payload that has not arrived whole.
    control: Vec<u8>,
    inflater: Option<Box<Inflater>>,
}

/// A frame whose head has been read.
#[derive(Clone, Copy, Debug)]
struct OpenFrame {
    remaining: usize,
    key: [u8; 4],
    opcode: Opcode,
    fin: bool,
    compressed: bool,
    /// None of the payload has been taken yet.
    fresh: bool,
}

impl Decoder {
    /// A decoder for the side that plays `role`, without extensions.
    #[must_use]
    pub const fn new(role: Role, limits: Limits) -> Self {
        Self {
            limits,
            role,
            ended: false,
            head: [0; HEAD_BYTES_MAX],
            head_bytes: 0,
            frame: None,
            message: None,
            control: Vec::new(),
            inflater: None,
        }
    }

    /// A decoder for a connection on which permessage-deflate was agreed (RFC 7692).
    #[must_use]
    pub fn with_deflate(role: Role, limits: Limits, inflater: Inflater) -> Self {
        Self { inflater: Some(Box::new(inflater)), ..Self::new(role, limits) }
    }

    /// Takes one batch of bytes; they are unmasked where they lie. Take the events until there are none, or the
    /// rest of the batch is lost.
    pub const fn decode<'a, 'd>(&'d mut self, input: &'a mut [u8]) -> Batch<'a, 'd> {
        Batch { decoder: self, input }
    }

    /// Where the next read may go directly, if the rest of a large frame is due: at most what is missing of it, and
    /// no more than has arrived, so that an announced length alone reserves nothing. Call [`Decoder::filled`] after.
    pub fn read_space(&mut self) -> Option<&mut [u8]> {
        let frame =
            self.frame.as_ref().filter(|frame| frame.remaining >= READ_SPACE_BYTES_MIN && !self.ended)?;
        let message = self.message.as_mut().filter(|message| !message.is_compressed())?;
        Some(message.space(frame.remaining))
    }

    /// Takes the first `count` bytes of [`Decoder::read_space`], which a read has filled. Gives the message if they
    /// complete it.
    ///
    /// # Errors
    /// As [`Batch::next`].
    pub fn filled(&mut self, count: usize) -> Result<Option<Event<'static>>, Violation> {
        let Some(mut frame) = self.frame.take() else { return Ok(None) };
        let Some(mut message) = self.message.take() else {
            self.frame = Some(frame);
            return Ok(None);
        };
        let count = count.min(message.space(frame.remaining).len());
        match message.fill(count, frame.key) {
            Ok(turned) => frame.key = turned,
            Err(violation) => return Err(self.end(violation)),
        }
        frame.remaining -= count;
        self.settle(frame, message).map_err(|violation| self.end(violation))
    }

    /// Bytes of the unfinished message that are held in memory.
    #[must_use]
    pub fn held_bytes(&self) -> usize {
        self.message.as_ref().map_or(0, Assembly::len) + self.control.len()
    }

    /// Whether a Close frame or a violation has ended the input; further bytes are ignored.
    #[must_use]
    pub const fn is_ended(&self) -> bool {
        self.ended
    }

    fn end(&mut self, violation: Violation) -> Violation {
        self.ended = true;
        self.frame = None;
        self.message = None;
        self.control = Vec::new();
        self.inflater = None;
        violation
    }

    /// A short message in one frame, all of which is at the front of `input`. So are nearly all, and nothing about them has
    /// to be remembered, so they are cut off where they lie; the long way, which knows all the rules, costs three times
    /// as much.
    #[inline]
    fn cut_message<'a>(&self, input: &mut &'a mut [u8]) -> Option<(Opcode, &'a mut [u8])> {
        if self.frame.is_some() || self.message.is_some() || self.head_bytes > 0 {
            return None;
        }
        let header = Short::parse(input, self.role)?;
        let limit = self.limits.frame_bytes.min(self.limits.message_bytes);
        if header.payload_bytes > limit || input.len() - header.size < header.payload_bytes {
            return None;
        }
        take_front(input, header.size);
        let body = take_front(input, header.payload_bytes);
        if self.role == Role::Server {
            mask(body, header.key);
        }
        Some((header.opcode, body))
    }

    /// The frame that the front of `input` belongs to; `None` if its head is not whole yet.
    #[inline]
    fn current_frame(&mut self, input: &mut &mut [u8]) -> Result<Option<OpenFrame>, Violation> {
        if let Some(frame) = self.frame.take() {
            return Ok(Some(frame));
        }
        if self.head_bytes > 0 {
            return self.resume_head(input);
        }
        match Header::parse(input, self.role)? {
            Some(header) => {
                take_front(input, header.size);
                self.admit(&header).map(Some)
            }
            None => self.resume_head(input),
        }
    }

    /// Goes on with a head byte by byte.
    #[cold]
    fn resume_head(&mut self, input: &mut &mut [u8]) -> Result<Option<OpenFrame>, Violation> {
        while let [byte, ..] = take_front(input, 1) {
            // There is room: every head is whole with HEAD_BYTES_MAX bytes.
            self.head[usize::from(self.head_bytes)] = *byte;
            self.head_bytes += 1;
            if let Some(header) = Header::parse(&self.head[..usize::from(self.head_bytes)], self.role)? {
                self.head_bytes = 0;
                return self.admit(&header).map(Some);
            }
        }
        Ok(None)
    }

    /// Checks a head against what came before and against the limits.
    #[inline]
    fn admit(&self, header: &Header) -> Result<OpenFrame, Violation> {
        let remaining = usize::try_from(header.payload_bytes).unwrap_or(usize::MAX);
        let frame = OpenFrame {
            remaining,
            key: header.key,
            opcode: header.opcode,
            fin: header.fin,
            compressed: header.compressed,
            fresh: true,
        };
        if header.opcode.is_control() {
            return Ok(frame);
        }
        match (header.opcode, &self.message) {
            (Opcode::Continuation, None) => return Err(Violation::StrayContinuation),
            (Opcode::Text | Opcode::Binary, Some(_)) => return Err(Violation::InterruptedMessage),
            _ => {}
        }
        // Only a message's first frame says that it is compressed (RFC 7692 section 6).
        if header.compressed && (self.inflater.is_none() || header.opcode == Opcode::Continuation) {
            return Err(Violation::ReservedBits);
        }
        self.check_size(header.compressed, remaining)?;
        Ok(frame)
    }

    #[inline]
    fn check_size(&self, compressed: bool, announced: usize) -> Result<(), Violation> {
        if announced > self.limits.frame_bytes {
            return Err(Violation::TooBig { limit: self.limits.frame_bytes });
        }
        let (held, compressed) =
            self.message.as_ref().map_or((0, compressed), |message| (message.len(), message.is_compressed()));
        // What a compressed frame holds is only known, and bounded, while it is inflated.
        if !compressed && held.saturating_add(announced) > self.limits.message_bytes {
            return Err(Violation::TooBig { limit: self.limits.message_bytes });
        }
        Ok(())
    }

    /// Takes bytes of a frame's payload.
    #[inline]
    fn take<'a>(&mut self, mut frame: OpenFrame, body: &'a mut [u8]) -> Result<Option<Event<'a>>, Violation> {
        let whole = frame.fresh && body.len() == frame.remaining;
        if self.role == Role::Server {
            frame.key = mask(body, frame.key);
        }
        if frame.opcode.is_control() {
            return self.take_control(frame, body, whole);
        }
        if whole && frame.fin && !frame.compressed && self.message.is_none() {
            return whole_message(frame.opcode, body).map(Some);
        }
        self.take_data(frame, body)
    }

    fn take_data(&mut self, mut frame: OpenFrame, body: &[u8]) -> Result<Option<Event<'static>>, Violation> {
        let mut message = match (self.message.take(), kind(frame.opcode)) {
            (Some(message), _) => message,
            (None, Some(kind)) => Assembly::new(kind, frame.compressed),
            (None, None) => return Err(Violation::StrayContinuation),
        };
        match self.inflater.as_mut().filter(|_| message.is_compressed()) {
            Some(inflater) => message.inflate(body, inflater, self.limits.message_bytes)?,
            None => message.push(body, frame.remaining)?,
        }
        frame.remaining -= body.len();
        self.settle(frame, message)
    }

    /// Puts frame and message back, or ends them.
    fn settle(
        &mut self,
        frame: OpenFrame,
        mut message: Assembly,
    ) -> Result<Option<Event<'static>>, Violation> {
        if frame.remaining > 0 || !frame.fin {
            self.frame = (frame.remaining > 0).then_some(OpenFrame { fresh: false, ..frame });
            self.message = Some(message);
            return Ok(None);
        }
        if let Some(inflater) = self.inflater.as_mut().filter(|_| message.is_compressed()) {
            message.end_inflate(inflater, self.limits.message_bytes)?;
        }
        message.finish().map(Some)
    }

    fn take_control<'a>(
        &mut self,
        mut frame: OpenFrame,
        body: &'a [u8],
        whole: bool,
    ) -> Result<Option<Event<'a>>, Violation> {
        if whole {
            return self.control_event(frame.opcode, Payload::Borrowed(body)).map(Some);
        }
        self.control.reserve_exact(frame.remaining);
        self.control.extend_from_slice(body);
        frame.remaining -= body.len();
        if frame.remaining > 0 {
            self.frame = Some(OpenFrame { fresh: false, ..frame });
            return Ok(None);
        }
        let payload = Payload::Owned(mem::take(&mut self.control));
        self.control_event(frame.opcode, payload).map(Some)
    }

    fn control_event<'a>(&mut self, opcode: Opcode, payload: Payload<'a>) -> Result<Event<'a>, Violation> {
        Ok(match opcode {
            Opcode::Ping => Event::Ping(payload),
            Opcode::Pong => Event::Pong(payload),
            Opcode::Close => {
                self.ended = true;
                Event::Close(match payload {
                    Payload::Borrowed(body) => CloseFrame::parse(body)?,
                    Payload::Owned(body) => CloseFrame::parse(&body)?.map(CloseFrame::into_owned),
                })
            }
            Opcode::Continuation | Opcode::Text | Opcode::Binary => return Err(Violation::StrayContinuation),
        })
    }
}

/// The events of one batch of bytes, in order.
#[derive(Debug)]
#[must_use = "bytes whose events are not taken are lost"]
pub struct Batch<'a, 'd> {
    decoder: &'d mut Decoder,
    input: &'a mut [u8],
}

impl<'a> Batch<'a, '_> {
    /// The next event; `None` when the batch is used up. What is left then is a part of a frame, and is kept.
    /// After a Close event there are no more.
    ///
    /// # Errors
    /// What the peer did wrong. It ends the decoder: send a Close frame with [`Violation::close_code`].
    #[inline]
    #[expect(clippy::should_implement_trait, reason = "`while let Some(event) = batch.next()?` reads best")]
    pub fn next(&mut self) -> Result<Option<Event<'a>>, Violation> {
        self.step().map_err(|violation| self.decoder.end(violation))
    }

    #[inline]
    fn step(&mut self) -> Result<Option<Event<'a>>, Violation> {
        while !self.input.is_empty() && !self.decoder.ended {
            if let Some((opcode, body)) = self.decoder.cut_message(&mut self.input) {
                return whole_message(opcode, body).map(Some);
            }
            let Some(frame) = self.decoder.current_frame(&mut self.input)? else { break };
            let body = take_front(&mut self.input, frame.remaining);
            let event = self.decoder.take(frame, body)?;
            if event.is_some() {
                return Ok(event);
            }
        }
        Ok(None)
    }
}

fn kind(opcode: Opcode) -> Option<MessageKind> {
    match opcode {
        Opcode::Text => Some(MessageKind::Text),
        Opcode::Binary => Some(MessageKind::Binary),
        Opcode::Continuation | Opcode::Close | Opcode::Ping | Opcode::Pong => None,
    }
}

#[inline]
fn whole_message(opcode: Opcode, body: &[u8]) -> Result<Event<'_>, Violation> {
    let kind = kind(opcode).ok_or(Violation::StrayContinuation)?;
    if kind == MessageKind::Text {
        utf8::check(body)?;
    }
    Ok(Event::Message { kind, payload: Payload::Borrowed(body) })
}

/// Cuts off up to `count` bytes.
#[inline]
fn take_front<'a>(input: &mut &'a mut [u8], count: usize) -> &'a mut [u8] {
    let count = count.min(input.len());
    let (front, rest) = mem::take(input).split_at_mut(count);
    *input = rest;
    front
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_idle_decoder_is_small() {
        assert!(size_of::<Decoder>() <= 128, "{} bytes", size_of::<Decoder>());
    }
}
