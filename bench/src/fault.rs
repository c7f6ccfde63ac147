//! What makes a cell not count: any disorder, loss, wrong size, or a server that is not there.

use std::io;

/// Why a run of a cell is void.
#[derive(Debug, thiserror::Error)]
pub(crate) enum Fault {
    /// The system refused something; the text says what was tried.
    #[error("{what}: {source}")]
    Io {
        /// What was tried.
        what: String,
        /// The system's answer.
        source: io::Error,
    },
    /// The server closed a connection in the middle of a cell.
    #[error("connection {0} was closed by the server")]
    Closed(usize),
    /// A message arrived with another number than the next expected one.
    #[error("connection {conn}: expected message {expected}, got {got}")]
    Order {
        /// Connection that received it.
        conn: usize,
        /// Next number expected there.
        expected: u64,
        /// Number that came.
        got: u64,
    },
    /// A message arrived with another length or content.
    #[error("a message of {expected} bytes came back with {got}")]
    Size {
        /// Bytes sent.
        expected: usize,
        /// Bytes that came.
        got: usize,
    },
    /// The length is right and the content is not.
    #[error("a message came back altered")]
    Altered,
    /// Messages were still missing when the time to wait for them was over.
    #[error("{0} messages never arrived")]
    Lost(u64),
    /// Nothing at all was measured.
    #[error("no message arrived during the measurement")]
    Nothing,
    /// The server answered something that its protocol does not have here.
    #[error("{0}")]
    Protocol(String),
    /// A step of the preparation took longer than its limit.
    #[error("timed out: {0}")]
    Timeout(String),
}

impl Fault {
    /// Wraps a system error with what was being tried.
    pub(crate) fn io(what: impl Into<String>) -> impl FnOnce(io::Error) -> Self {
        let what = what.into();
        move |source| Self::Io { what, source }
    }

    /// An answer that the protocol does not have at this place.
    pub(crate) fn protocol(what: impl Into<String>) -> Self {
        Self::Protocol(what.into())
    }
}
