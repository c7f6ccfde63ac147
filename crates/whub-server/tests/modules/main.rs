//! Modules, services of the node's own process, and the hub's own services, over real sockets.

#![allow(clippy::unwrap_used)] // A failed unwrap is a failed test.

// Each part of these is used by some of the tests.
#[allow(dead_code)]
#[path = "../http/browser.rs"]
mod browser;
#[path = "../common/mod.rs"]
mod common;

mod builtin;
mod clients;
mod frames;
mod life;
mod local;
mod messages;
mod people;
mod roles;
