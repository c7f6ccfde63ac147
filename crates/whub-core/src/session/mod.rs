//! Sessions: one pure state machine per kind of conversation.

mod calling;
mod client;
mod gateway;
mod greeting;
mod kept;
mod liveness;
mod output;
mod owed;
mod own;
mod pairing;
mod plain;
mod plain_room;
mod providing;
mod publishing;
mod rights;
mod rooming;
mod seat;
mod stream;

pub use client::{ClientSession, Peer};
pub use gateway::{GatewayOutput, GatewaySaying, GatewaySession, Unrouted};
pub(crate) use kept::KeptSeat;
pub use liveness::{Liveness, Silence};
pub use output::{Handled, Output};
pub use plain::{PlainHalf, PlainOutput};
pub use plain_room::{RoomOutput, RoomTalker, Wish};
pub use publishing::Issue;
pub use rooming::RoomIssue;
pub use stream::{StreamHalf, StreamStanding};
