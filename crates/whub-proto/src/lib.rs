//! The wire: frames, names and codes. Pure: no clock, no socket, no randomness.

pub mod close;
pub mod code;
mod flags;
mod head;
mod kind;
pub mod names;

pub use code::Code;
pub use flags::Flags;
pub use head::{HEAD_BYTES, Head, ID_MAX};
pub use kind::Kind;
