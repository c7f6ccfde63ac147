//! HTTP on the hub's port, over real sockets.

#![allow(clippy::unwrap_used)] // A failed unwrap is a failed test.

#[path = "../common/mod.rs"]
mod common;

mod browser;
mod calls;
mod websockets;
