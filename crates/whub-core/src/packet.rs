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

/// `Head | via | envelope | payload` with id 0. Cheap to clone; the bytes are shared.
#[derive(Clone, PartialEq, Eq)]
pub struct Packet {
    bytes: Bytes,
}

impl Packet {
    /// A frame of the hub's own making, without payload.
    #[must_use]
    pub fn build(body: &Body<'_>) -> Self {
        Self::build_with(body, Flags::NONE, None, &[])
    }

    /// A frame of the hub's own making.
    #[must_use]
    pub fn build_with(body: &Body<'_>, flags: Flags, via: Option<&Via<'_>>, payload: &[u8]) -> Self {
        Self::try_build(body, flags, via, payload).unwrap_or_else(|_| Self { bytes: too_large() })
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
        Ok(Self { bytes: bytes.into() })
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
        Self { bytes: if written.is_ok() { bytes.into() } else { too_large() } }
    }

    /// Nothing, in place of what is not needed any more.
    pub(crate) fn empty() -> Self {
        Self { bytes: Bytes::new() }
    }

    /// The frame as bytes, id 0.
    #[must_use]
    pub fn bytes(&self) -> &Bytes {
        &self.bytes
    }

    /// The frame's head with the id that the receiving connection uses.
    #[must_use]
    pub fn head(&self, id: u64) -> Head {
        // Every packet was written with a head of a known kind.
        Head::parse(&self.bytes).map_or_else(|| Head::new(Kind::Error, id), |head| Head { id, ..head })
    }

    /// Everything behind the head: via, envelope, payload.
    #[must_use]
    pub fn rest(&self) -> &[u8] {
        &self.bytes[HEAD_BYTES..]
    }

    /// Reads the frame again, for receivers that look inside (HTTP, JSON).
    ///
    /// # Errors
    /// None in practice: every packet was verified or built by the hub.
    pub fn frame(&self) -> Result<Frame<'_>, FrameError> {
        Frame::parse(&self.bytes, usize::MAX, Origin::Hub)
    }

    /// The payload, sharing the packet's bytes.
    #[must_use]
    pub fn payload(&self) -> Bytes {
        let head = self.head(0);
        self.bytes.slice(HEAD_BYTES + usize::from(head.via_len) + usize::from(head.env_len)..)
    }

    /// The length of the payload.
    #[must_use]
    pub fn payload_len(&self) -> usize {
        let head = self.head(0);
        self.rest().len() - usize::from(head.via_len) - usize::from(head.env_len)
    }

    /// Bytes that the packet holds in memory.
    #[must_use]
    pub fn weight(&self) -> usize {
        self.bytes.len()
    }
}

impl fmt::Debug for Packet {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let head = self.head(0);
        write!(f, "Packet({:?}, {:?}, {} bytes)", head.kind, head.flags, self.bytes.len())
    }
}

/// What a frame becomes whose strings are longer than an envelope may be. They were bounded when they came in, so
/// this is a defect of the hub, which its peer sees as an error instead of a silence.
fn too_large() -> Bytes {
    let mut bytes = Vec::with_capacity(HEAD_BYTES);
    Head::new(Kind::Error, 0).write(&mut bytes);
    bytes.into()
}
