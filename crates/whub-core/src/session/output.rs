//! What a session has its driver do.

use std::borrow::Cow;

use crate::fault::Fault;
use crate::packet::Packet;
use crate::pairs::Half;
use crate::session::publishing::Issue;
use crate::session::rooming::RoomIssue;

/// What the driver of a session is to do.
#[derive(Debug, Clone, PartialEq)]
pub enum Output {
    /// Send this frame to the peer, with this id.
    Frame {
        /// The id on this connection.
        id: u64,
        /// The frame.
        packet: Packet,
    },
    /// Find out who holds this token and call [`ClientSession::handle_identity`].
    Authenticate {
        /// The token; `None` for anonymous peers.
        token: Option<Box<str>>,
    },
    /// Deliver this message to everyone in the audience, leaving out this session where a subscriber wants no echo.
    Publish(Issue),
    /// Deliver this message of a room, before anything else that the session says or does is seen there.
    Room(RoomIssue),
    /// Ask for a sign of life, in the way of the transport.
    Ping,
    /// Send what is queued, then close with this fault's close code.
    Close(Fault),
}

/// What is left to do for the driver with a frame's payload.
#[derive(Debug)]
pub enum Handled<'a> {
    /// Nothing.
    Done,
    /// Pass it to the other half of a pair.
    Relay {
        /// The other half.
        partner: &'a Half,
        /// The message is valid UTF-8.
        text: bool,
        /// Nothing follows from this side. With an empty payload there is no message, only the end.
        end: bool,
        /// The whole message.
        payload: Cow<'a, [u8]>,
    },
}
