//! A frame in transit inside the hub: bytes as they go on the wire, but for the id, which each connection sets
//! for itself.

use std::cell::RefCell;
use std::fmt;

use bytes::Bytes;
use whub_proto::{
    Body, Flags, Frame, FrameError, HEAD_BYTES, Head, Kind, Origin, TooLarge, Via, Writer, write_raw,
};

thread_local! {
    /// Builders are reused: a FlatBuffer builder that starts empty grows by doubling, several allocations a frame.
    static WRITER: RefCell<Writer> = RefCell::new(Writer::default());
}

/// Shortest payload that lies apart, bytes.
const APART_BYTES_MIN: usize = 16 * 1024;

/// `Head | via | envelope | payload` with id 0. Cheap to clone; the bytes are shared.
#[derive(Clone)]
pub struct Packet {
    /// The frame; without its payload, where that lies apart.
    bytes: Bytes,
    /// The payload, where somebody else's memory holds it.
    apart: Bytes,
}

impl Packet {
    fn whole(bytes: Bytes) -> Self {
        Self { bytes, apart: Bytes::new() }
    }

    /// A frame of the hub's own making, without payload.
    #[must_use]
    pub fn build(body: &Body<'_>) -> Self {
        Self::build_with(body, Flags::NONE, None, &[])
    }

    /// A frame of the hub's own making.
    #[must_use]
    pub fn build_with(body: &Body<'_>, flags: Flags, via: Option<&Via<'_>>, payload: &[u8]) -> Self {
        Self::try_build(body, flags, via, payload).unwrap_or_else(|_| Self::whole(too_large()))
    }

    /// A frame whose strings nobody has bounded yet.
    ///
    /// # Errors
    /// When they do not fit an envelope.
    pub fn try_build(
        body: &Body<'_>,
        flags: Flags,
        via: Option<&Via<'_>>,
        payload: &[u8],
    ) -> Result<Self, TooLarge> {
        let head = Head::new(body.kind(), 0).with(flags);
        let mut bytes = Vec::with_capacity(HEAD_BYTES + 64 + payload.len());
        WRITER.with_borrow_mut(|writer| writer.frame(&mut bytes, head, via, body, payload))?;
        Ok(Self::whole(bytes.into()))
    }

    /// Passes a peer's frame on: envelope and payload untouched, a new via, the flags given.
    #[must_use]
    pub fn forward(kind: Kind, flags: Flags, via: Option<&Via<'_>>, envelope: &[u8], payload: &[u8]) -> Self {
        let head = Head::new(kind, 0).with(flags);
        let mut bytes = Vec::new();
        let written = WRITER.with_borrow_mut(|writer| {
            let via = via.map_or(Ok(&[][..]), |via| writer.via(via))?;
            write_raw(&mut bytes, head, via, envelope, payload)
        });
        if written.is_ok() { Self::whole(bytes.into()) } else { Self::whole(too_large()) }
    }

    /// A piece of a body. A long one is shared; of a short one the memory around it might be much longer, so it is copied.
    #[must_use]
    pub fn piece(flags: Flags, payload: Bytes) -> Self {
        if payload.len() < APART_BYTES_MIN {
            return Self::forward(Kind::Data, flags, None, &[], &payload);
        }
        let data = Self::forward(Kind::Data, flags, None, &[], &[]);
        Self { apart: payload, ..data }
    }

    /// `Data` of a peer, to be passed on as it is. A long payload is shared with the `memory` that the frame was read from,
    /// where that was the frame's own.
    #[must_use]
    pub fn data(frame: &Frame<'_>, memory: Option<&Bytes>) -> Self {
        let forward = |payload| Self::forward(Kind::Data, frame.head.flags, None, frame.envelope, payload);
        match memory {
            Some(memory) if frame.payload.len() >= APART_BYTES_MIN => {
                Self { apart: memory.slice_ref(frame.payload), ..forward(&[]) }
            }
            Some(_) | None => forward(frame.payload),
        }
    }

    /// Nothing, in place of what is not needed any more.
    pub(crate) fn empty() -> Self {
        Self::whole(Bytes::new())
    }

    /// The length of the frame, bytes. A payload that lies apart may keep more in memory: the read that brought it.
    #[must_use]
    #[expect(clippy::len_without_is_empty, reason = "a frame has at least its head")]
    pub fn len(&self) -> usize {
        self.bytes.len() + self.apart.len()
    }

    /// The frame as it goes on the wire, id 0.
    #[must_use]
    pub fn to_vec(&self) -> Vec<u8> {
        [&self.bytes[..], &self.apart].concat()
    }

    /// A part of the frame that was read from it ([`Self::frame`]), sharing its bytes. Not for payloads.
    #[must_use]
    pub fn share(&self, part: &[u8]) -> Bytes {
        self.bytes.slice_ref(part)
    }

    /// The frame's head with the id that the receiving connection uses.
    #[must_use]
    pub fn head(&self, id: u64) -> Head {
        // Every packet was written with a head of a known kind.
        Head::parse(&self.bytes).map_or_else(|| Head::new(Kind::Error, id), |head| Head { id, ..head })
    }

    /// Everything behind the head: via and envelope, with the payload if it does not lie apart.
    #[must_use]
    pub fn rest(&self) -> &[u8] {
        &self.bytes[HEAD_BYTES..]
    }

    /// The payload, if it lies apart. It follows [`Self::rest`] on the wire.
    #[must_use]
    pub fn apart(&self) -> &Bytes {
        &self.apart
    }

    /// Reads the frame again, for receivers that look inside (HTTP, JSON).
    ///
    /// # Errors
    /// None in practice: every packet was verified or built by the hub.
    pub fn frame(&self) -> Result<Frame<'_>, FrameError> {
        let frame = Frame::parse(&self.bytes, usize::MAX, Origin::Hub)?;
        Ok(if self.apart.is_empty() { frame } else { Frame { payload: &self.apart, ..frame } })
    }

    /// The payload, sharing the packet's bytes.
    #[must_use]
    pub fn payload(&self) -> Bytes {
        if !self.apart.is_empty() {
            return self.apart.clone();
        }
        let head = self.head(0);
        self.bytes.slice(HEAD_BYTES + usize::from(head.via_len) + usize::from(head.env_len)..)
    }

    /// The length of the payload.
    #[must_use]
    pub fn payload_len(&self) -> usize {
        let head = self.head(0);
        self.len() - HEAD_BYTES - usize::from(head.via_len) - usize::from(head.env_len)
    }
}

/// As they are on the wire, wherever the payload lies.
impl PartialEq for Packet {
    fn eq(&self, other: &Self) -> bool {
        self.bytes.iter().chain(&self.apart).eq(other.bytes.iter().chain(&other.apart))
    }
}

impl Eq for Packet {}

impl fmt::Debug for Packet {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let head = self.head(0);
        write!(f, "Packet({:?}, {:?}, {} bytes)", head.kind, head.flags, self.len())
    }
}

/// What a frame becomes whose strings are longer than an envelope may be. They were bounded when they came in, so
/// this is a defect of the hub, which its peer sees as an error instead of a silence.
fn too_large() -> Bytes {
    let mut bytes = Vec::with_capacity(HEAD_BYTES);
    Head::new(Kind::Error, 0).write(&mut bytes);
    bytes.into()
}

#[cfg(test)]
mod tests {
    use whub_proto::Data;

    use super::*;

    /// A piece of this length in the middle of more memory.
    fn piece(length: usize) -> (Bytes, Packet) {
        let around: Bytes = (0..length + 20).map(|at| at as u8).collect::<Vec<_>>().into();
        let payload = around.slice(10..10 + length);
        let packet = Packet::piece(Flags::END, payload.clone());
        (payload, packet)
    }

    #[test]
    fn a_long_piece_is_shared_and_a_short_one_copied() {
        for (length, shared) in [(0, false), (APART_BYTES_MIN - 1, false), (APART_BYTES_MIN, true)] {
            let (payload, packet) = piece(length);
            assert_eq!(packet.payload().as_ptr() == payload.as_ptr(), shared, "{length}");
            assert_eq!(packet.apart().is_empty(), !shared);
        }
    }

    #[test]
    fn a_long_payload_stays_in_the_memory_of_its_frame() {
        for (length, shared) in [(APART_BYTES_MIN - 1, false), (APART_BYTES_MIN, true)] {
            let data = Data { close: 1000, ..Data::default() };
            let sent = Packet::build_with(&Body::Data(data), Flags::END, None, &vec![b'x'; length]);
            let memory = Bytes::from(sent.to_vec());
            let frame = Frame::parse(&memory, usize::MAX, Origin::Client).unwrap();
            let (lent, own) = (Packet::data(&frame, None), Packet::data(&frame, Some(&memory)));
            assert_eq!((&lent, &own), (&sent, &sent));
            assert_eq!(own.payload().as_ptr() == frame.payload.as_ptr(), shared, "{length}");
            assert_ne!(lent.payload().as_ptr(), frame.payload.as_ptr());
        }
    }

    #[test]
    fn wherever_the_payload_lies_the_frame_is_the_same() {
        for length in [1, APART_BYTES_MIN] {
            let (payload, packet) = piece(length);
            let copied = Packet::forward(Kind::Data, Flags::END, None, &[], &payload);
            assert_eq!(packet, copied);
            assert_eq!((packet.len(), packet.payload_len()), (copied.len(), length));
            assert_eq!(packet.to_vec(), copied.to_vec());
            let frame = packet.frame().unwrap();
            assert_eq!(
                (frame.head.kind, frame.head.flags, frame.payload),
                (Kind::Data, Flags::END, &payload[..])
            );
        }
        assert_ne!(piece(APART_BYTES_MIN).1, piece(APART_BYTES_MIN + 1).1);
    }
}
