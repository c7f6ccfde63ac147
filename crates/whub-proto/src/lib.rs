//! The wire: frames, names and codes. Pure: no clock, no socket, no randomness.
//!
//! Bytes become a [`Frame`] by [`Frame::parse`], in place and checked once; a [`Writer`] makes bytes. [`json`] mirrors frames as text.
//! [`names`] are
//! parsed once where they enter. [`Code`] is the public table of what can go wrong.
//!
//! Left to others: who may say what when (sessions), and where frames begin and end (transports).

mod body;
pub mod close;
pub mod code;
mod convert;
mod enums;
mod flags;
mod frame;
mod head;
pub mod json;
mod kind;
mod lists;
pub mod names;
pub mod tables;
mod wire;
mod writer;

pub use body::{Body, EnvelopeError};
pub use code::Code;
pub use enums::{Access, Format, RoomAct, RoomMode, RoomRole, RoomWhat, RouteKind, Third};
pub use flags::Flags;
pub use frame::{Frame, FrameError, Origin, PART_BYTES_MAX};
pub use head::{HEAD_BYTES, Head, ID_MAX};
pub use kind::Kind;
pub use lists::{HEADER_PAIRS_MAX, Headers, HeadersIter, Members, Nodes, Numbers, Routes, Strings};
pub use tables::*;
pub use writer::{TooLarge, Writer, write_raw};
