//! A frame: head, hub-written part, envelope, payload. Read in place; every envelope is verified once, here.
//!
//! ```text
//! Head 16 | via (via_len) | envelope (env_len) | payload (the rest)
//!           hubs write it   sender writes it     opaque bytes
//! ```
//!
//! The transport gives the frame its length: a WebSocket message, or a little-endian `u32` in front on byte streams.

use crate::{
    Body, Code, HEAD_BYTES, Head, ID_MAX, Kind,
    body::{self, EnvelopeError},
    tables::Via,
};

/// Largest envelope and largest hub-written part, bytes.
pub const PART_BYTES_MAX: usize = 65_528;

/// Who wrote the bytes, which decides what may be in them.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Origin {
    /// A client: it writes neither via nor hops nor kinds of links, so that identity cannot be forged.
    Client,
    /// A hub, which the reader trusts.
    Hub,
}

/// A frame that has been checked; everything in it is a slice of the bytes it was read from.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Frame<'a> {
    /// Kind, flags, lengths, hops, id.
    pub head: Head,
    /// What hubs said about it, if they did.
    pub via: Option<Via<'a>>,
    /// What the sender said.
    pub body: Body<'a>,
    /// The hub-written part as it came.
    pub via_bytes: &'a [u8],
    /// The envelope as it came. Forward these bytes, never re-encode: that would drop unknown fields.
    pub envelope: &'a [u8],
    /// The rest, opaque.
    pub payload: &'a [u8],
}

/// Why a frame is refused. All but the size are the peer's breach of the protocol.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum FrameError {
    /// Longer than the limit of the session.
    #[error("frame of {len} bytes is longer than max_frame, {max} bytes")]
    TooLarge {
        /// Bytes of the frame.
        len: usize,
        /// The limit.
        max: usize,
    },
    /// Fewer bytes than a head.
    #[error("frame of {len} bytes is shorter than its head")]
    Short {
        /// Bytes of the frame.
        len: usize,
    },
    /// The parts do not fit into the frame.
    #[error("via and envelope are longer than the frame")]
    Lengths,
    /// Kind 0.
    #[error("kind 0 is not used")]
    NoKind,
    /// An id of 2^53 or more.
    #[error("id {0} is not below 2^53")]
    Id(u64),
    /// A client wrote a via.
    #[error("only hubs write a via")]
    ForgedVia,
    /// A client wrote hops.
    #[error("only hubs count hops")]
    ForgedHops,
    /// A client used a kind of links between nodes.
    #[error("{0} belongs to links between nodes")]
    LinkKind(Kind),
    /// The hub-written part is bad.
    #[error("via: {0}")]
    Via(#[source] EnvelopeError),
    /// The envelope is bad.
    #[error("{kind}: {error}")]
    Envelope {
        /// Kind of the frame.
        kind: Kind,
        /// What is wrong.
        #[source]
        error: EnvelopeError,
    },
}

impl FrameError {
    /// The code of the answer.
    pub fn code(&self) -> Code {
        match self {
            Self::TooLarge { .. } => Code::TooLarge,
            Self::Short { .. }
            | Self::Lengths
            | Self::NoKind
            | Self::Id(_)
            | Self::ForgedVia
            | Self::ForgedHops
            | Self::LinkKind(_)
            | Self::Via(_)
            | Self::Envelope { .. } => Code::ProtocolError,
        }
    }
}

impl<'a> Frame<'a> {
    /// Reads one frame. `max_frame` is the limit of the session in bytes. Copies nothing and allocates nothing.
    #[inline]
    pub fn parse(bytes: &'a [u8], max_frame: usize, origin: Origin) -> Result<Self, FrameError> {
        if bytes.len() > max_frame {
            return Err(FrameError::TooLarge { len: bytes.len(), max: max_frame });
        }
        let head = Head::parse(bytes).ok_or(FrameError::Short { len: bytes.len() })?;
        check_head(&head, origin)?;
        let (via_bytes, rest) =
            bytes[HEAD_BYTES..].split_at_checked(head.via_len.into()).ok_or(FrameError::Lengths)?;
        let (envelope, payload) = rest.split_at_checked(head.env_len.into()).ok_or(FrameError::Lengths)?;
        let via = if via_bytes.is_empty() {
            None
        } else {
            Some(body::read_via(via_bytes).map_err(FrameError::Via)?)
        };
        let body = Body::read(head.kind, envelope)
            .map_err(|error| FrameError::Envelope { kind: head.kind, error })?;
        Ok(Self { head, via, body, via_bytes, envelope, payload })
    }
}

#[inline]
fn check_head(head: &Head, origin: Origin) -> Result<(), FrameError> {
    if head.kind == Kind::None {
        return Err(FrameError::NoKind);
    }
    if head.id > ID_MAX {
        return Err(FrameError::Id(head.id));
    }
    if origin == Origin::Hub {
        return Ok(());
    }
    if head.via_len != 0 {
        return Err(FrameError::ForgedVia);
    }
    if head.hops != 0 {
        return Err(FrameError::ForgedHops);
    }
    if head.kind.is_link() {
        return Err(FrameError::LinkKind(head.kind));
    }
    Ok(())
}
