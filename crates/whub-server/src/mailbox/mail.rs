//! What waits for the connection's task to read it.

use bytes::Bytes;
use whub_core::Letter;
use whub_proto::{Flags, Kind};

/// Something for a session that frames for itself.
#[derive(Debug)]
pub(crate) enum Private {
    /// A message of a pair.
    Data {
        /// The receiver's id of the pair.
        seat: u64,
        /// Valid UTF-8.
        text: bool,
        /// Nothing follows.
        end: bool,
        /// The message.
        payload: Bytes,
    },
    /// A frame.
    Packet {
        /// The receiver's id.
        id: u64,
        /// The frame.
        packet: whub_core::Packet,
    },
}

impl Private {
    /// A published message or the last piece of a room's, as the counters of deliveries mean it.
    pub(crate) fn is_message(&self) -> bool {
        match self {
            Self::Data { .. } => false,
            Self::Packet { packet, .. } => {
                let head = packet.head(0);
                head.kind == Kind::Message || (head.kind == Kind::Data && !head.flags.contains(Flags::MORE))
            }
        }
    }

    pub(super) fn weight(&self) -> usize {
        match self {
            Self::Data { payload, .. } => payload.len(),
            Self::Packet { packet, .. } => packet.len(),
        }
    }
}

/// What the connection's task finds in its mailbox.
#[derive(Debug)]
pub(crate) enum Mail {
    /// From another session.
    Letter(Letter),
    /// For a session that frames for itself.
    Private(Private),
}
