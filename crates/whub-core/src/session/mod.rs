//! Sessions: one pure state machine per kind of conversation.

mod calling;
mod client;
mod greeting;
mod kept;
mod liveness;
mod output;
mod owed;
mod own;
mod pairing;
mod plain;
mod providing;
mod publishing;
mod rights;
mod seat;
mod stream;

pub use client::{ClientSession, Peer};
pub(crate) use kept::KeptSeat;
pub use liveness::{Liveness, Silence};
pub use output::{Handled, Output};
pub use plain::{PlainHalf, PlainOutput};
pub use publishing::Issue;
pub use stream::{StreamHalf, StreamStanding};
