//! What went wrong, whose fault it is and whether trying again helps: the one error that a peer can see.

use std::borrow::Cow;
use std::fmt;

use whub_proto::code::NOT_TAKEN;
use whub_proto::{Body, Code, Failure, Headers};

use crate::packet::Packet;

/// An error on its way to a peer. `retry_ms`: 0 do not retry, 1 at once, otherwise not before.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Fault {
    /// The public code.
    pub code: Code,
    /// Stable machine string, such as `service.not_found`.
    pub slug: &'static str,
    /// For people: what, where, and what to try.
    pub reason: Cow<'static, str>,
    /// Retry advice in milliseconds.
    pub retry_ms: u32,
    /// How often the call that failed was moved to another provider before.
    pub moved: u8,
}

/// The header of an error that says how often its call was moved to another provider.
pub const MOVED: &str = "whub-moved";

/// When to come back to a service that does not take a call.
const RETRY_MS: u32 = 1000;

impl Fault {
    /// A fault that the same request would meet again.
    pub fn fatal(code: Code, slug: &'static str, reason: impl Into<Cow<'static, str>>) -> Self {
        Self { code, slug, reason: reason.into(), retry_ms: 0, moved: 0 }
    }

    /// A fault that may have passed after `retry_ms`.
    pub fn passing(
        code: Code,
        slug: &'static str,
        retry_ms: u32,
        reason: impl Into<Cow<'static, str>>,
    ) -> Self {
        Self { code, slug, reason: reason.into(), retry_ms, moved: 0 }
    }

    /// What a service says of a call that it has not begun: the hub asks another provider if there is one.
    pub fn not_taken(reason: impl Into<Cow<'static, str>>) -> Self {
        Self::passing(Code::Unavailable, NOT_TAKEN, RETRY_MS, reason)
    }

    /// Whether it is [that](Self::not_taken).
    #[must_use]
    pub fn is_not_taken(&self) -> bool {
        self.code == Code::Unavailable && self.slug == NOT_TAKEN
    }

    /// The node is stopping: elsewhere, at once.
    #[must_use]
    pub fn draining() -> Self {
        Self::passing(
            Code::Draining,
            "node.draining",
            1,
            "this node is stopping; connect to another, or come back",
        )
    }

    /// The same, of a call that was moved.
    #[must_use]
    pub(crate) fn of_moved(self, moved: u8) -> Self {
        Self { moved, ..self }
    }

    /// The `Error` frame that tells a peer.
    #[must_use]
    pub fn packet(&self) -> Packet {
        let moved = self.moved.to_string();
        let pairs = [(MOVED, moved.as_str())];
        let body = Failure {
            headers: Headers::new(&pairs[..usize::from(self.moved > 0)]),
            code: self.code,
            slug: self.slug,
            reason: &self.reason,
            retry_ms: self.retry_ms,
        };
        Packet::build(&Body::Error(body))
    }
}

impl fmt::Display for Fault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} ({})", self.reason, self.slug)
    }
}

impl std::error::Error for Fault {}
