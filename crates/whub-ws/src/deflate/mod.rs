//! permessage-deflate (RFC 7692): compression of messages.

mod agreement;
mod deflater;
mod inflater;

pub use agreement::{Agreement, Config};
pub use deflater::Deflater;
pub use inflater::Inflater;

/// What a sender cuts off the end of every compressed message and a receiver puts back (RFC 7692 section 7.2.1).
const TAIL: [u8; 4] = [0, 0, 0xff, 0xff];
