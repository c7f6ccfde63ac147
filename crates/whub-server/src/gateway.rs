//! The endpoint gateway: named WebSocket servers that one address reaches, and that the hub looks after.
//!
//! ```text
//! /gateway/<name> ─► http/gateway ─► open ─► an upstream          connection/pass: byte for byte
//! /gateway        ─► connection/mux ─► a leg per route ─► the same, inside the hub
//!                                    routes: names ─► route ─► upstreams ◄─ health
//! ```
//!
//! Deliberately absent: a connection to an endpoint that several clients share. What an endpoint says is for the one
//! client whose connection it is; nobody could tell otherwise whom it means.

mod bridge;
mod carry;
mod converse;
mod health;
mod leg;
mod open;
mod pool;
mod process;
mod route;
mod routes;
mod upstream;
mod words;

pub(crate) use bridge::bridge;
pub(crate) use carry::{Voice, carry};
pub(crate) use leg::{Leg, Taken};
pub(crate) use open::{Asked, Opened, Outcome, add_own_headers, nonce, offers, open, segment, target};
pub(crate) use pool::{Line, Passed};
pub(crate) use process::ProcessState;
pub(crate) use route::{Route, Seat};
pub use routes::Change;
pub(crate) use routes::{Routes, change};
pub(crate) use upstream::{KEEP_ALIVE, Occupied};
pub(crate) use words::{ACK, Heard, Spelling, read};

use whub_core::Fault;
use whub_proto::Code;

/// The fault of a name that no endpoint has.
pub(crate) fn unknown(name: &str) -> Fault {
    Fault::fatal(Code::NotFound, "gateway.unknown", format!("there is no endpoint {name}"))
}
