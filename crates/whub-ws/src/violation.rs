//! What a peer can do wrong on an open WebSocket, and the close code that tells it so.

use crate::CloseCode;

/// A breach of RFC 6455 or RFC 7692, or of a limit. It ends the connection: send a Close frame with
/// [`Violation::close_code`] and read no more. The peer's fault in every case; doing the same again will not help.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum Violation {
    /// A reserved bit without an extension that gives it a meaning (RFC 6455 section 5.2).
    #[error("a reserved bit is set")]
    ReservedBits,
    /// An opcode without a meaning.
    #[error("opcode {0} is reserved")]
    ReservedOpcode(u8),
    /// A client's frame without a mask (RFC 6455 section 5.1).
    #[error("a frame from a client must be masked")]
    Unmasked,
    /// A server's frame with a mask.
    #[error("a frame from a server must not be masked")]
    Masked,
    /// A payload length that is not in its shortest form, or has its top bit set.
    #[error("the payload length is not in its shortest form")]
    Length,
    /// A control frame without FIN.
    #[error("a control frame must not be fragmented")]
    ControlFragmented,
    /// A control frame with more than 125 bytes.
    #[error("a control frame carries at most 125 bytes")]
    ControlTooLong,
    /// A continuation while no message is open.
    #[error("a continuation frame without a message to continue")]
    StrayContinuation,
    /// A new message before the last fragment of the one before.
    #[error("a new message began within a fragmented one")]
    InterruptedMessage,
    /// A Close frame whose body is a single byte.
    #[error("a close frame's body is empty or begins with a two-byte code")]
    CloseBody,
    /// A close code that must not appear on the wire (RFC 6455 section 7.4).
    #[error("close code {0} must not be sent")]
    CloseCode(u16),
    /// Text, or the reason of a Close frame, that is not UTF-8.
    #[error("text is not valid UTF-8")]
    Utf8,
    /// Compressed data that cannot be inflated.
    #[error("compressed data is damaged")]
    Deflate,
    /// More bytes than the limit, announced or inflated.
    #[error("a message or frame is longer than {limit} bytes")]
    TooBig {
        /// The limit in bytes.
        limit: usize,
    },
}

impl Violation {
    /// The code of the Close frame that answers it (RFC 6455 section 7.4.1).
    #[must_use]
    pub const fn close_code(self) -> CloseCode {
        match self {
            Self::ReservedBits
            | Self::ReservedOpcode(_)
            | Self::Unmasked
            | Self::Masked
            | Self::Length
            | Self::ControlFragmented
            | Self::ControlTooLong
            | Self::StrayContinuation
            | Self::InterruptedMessage
            | Self::CloseBody
            | Self::CloseCode(_) => CloseCode::PROTOCOL_ERROR,
            Self::Utf8 | Self::Deflate => CloseCode::INVALID_PAYLOAD,
            Self::TooBig { .. } => CloseCode::TOO_BIG,
        }
    }
}
