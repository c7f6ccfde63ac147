//! What a decoder reports: messages and control frames, borrowed from the read buffer wherever they fit it whole.

use std::{fmt, ops::Deref};

use crate::CloseFrame;

/// One thing that the peer said.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Event<'a> {
    /// A whole message, its fragments joined and its compression undone.
    Message {
        /// Text or binary.
        kind: MessageKind,
        /// Its bytes. Those of a text are valid UTF-8; that has been checked.
        payload: Payload<'a>,
    },
    /// Answer with a Pong that carries the same bytes.
    Ping(Payload<'a>),
    /// The answer to a Ping, or a heartbeat.
    Pong(Payload<'a>),
    /// The peer begins or answers the closing handshake. Nothing comes after it.
    Close(Option<CloseFrame<'a>>),
}

/// The kind of a message.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum MessageKind {
    /// UTF-8.
    Text,
    /// Any bytes.
    Binary,
}

/// Bytes that either lie in the caller's read buffer, or were gathered from several reads, fragments or a
/// compressed message and can be taken without copying them.
#[derive(Clone)]
pub enum Payload<'a> {
    /// In the read buffer.
    Borrowed(&'a [u8]),
    /// On their own.
    Owned(Vec<u8>),
}

impl Payload<'_> {
    /// The bytes as a vector; copies only those that are borrowed.
    #[must_use]
    pub fn into_vec(self) -> Vec<u8> {
        match self {
            Self::Borrowed(bytes) => bytes.to_vec(),
            Self::Owned(bytes) => bytes,
        }
    }
}

impl Deref for Payload<'_> {
    type Target = [u8];

    #[inline]
    fn deref(&self) -> &[u8] {
        match self {
            Self::Borrowed(bytes) => bytes,
            Self::Owned(bytes) => bytes,
        }
    }
}

impl AsRef<[u8]> for Payload<'_> {
    fn as_ref(&self) -> &[u8] {
        self
    }
}

/// Where the bytes lie makes no difference.
impl PartialEq for Payload<'_> {
    fn eq(&self, other: &Self) -> bool {
        **self == **other
    }
}

impl Eq for Payload<'_> {}

/// Shows the size and not the bytes, which are none of a log's business.
impl fmt::Debug for Payload<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} bytes", self.len())
    }
}
