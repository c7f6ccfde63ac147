//! Who this side is, and how much it takes.

/// Which side of the connection the caller plays. It decides who masks (RFC 6455 section 5.1).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Role {
    /// Reads masked frames, writes unmasked ones.
    Server,
    /// Reads unmasked frames, writes masked ones.
    Client,
}

/// Bounds of what a peer may send; beyond them the connection ends with 1009.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Limits {
    /// Bytes of one message, its fragments joined and its compression undone. Default 16 MiB.
    pub message_bytes: usize,
    /// Bytes of one frame's payload as on the wire. Default 16 MiB.
    pub frame_bytes: usize,
}

impl Default for Limits {
    fn default() -> Self {
        Self { message_bytes: 16 << 20, frame_bytes: 16 << 20 }
    }
}
