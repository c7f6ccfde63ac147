//! HTTP on the hub's port, over real sockets.

#![allow(clippy::unwrap_used)] // A failed unwrap is a failed test.

#[path = "../common/mod.rs"]
mod common;

mod actor;
mod bodies;
mod bridges;
mod browser;
mod calls;
mod channels;
mod compression;
mod cors;
mod discovery;
mod endpoint_access;
mod endpoint_health;
mod endpoint_tls;
mod endpoint_upstreams;
mod endpoints;
mod forwarded;
mod hosts;
mod http2;
mod inspector;
mod multiplexer;
mod openers;
mod own_paths;
mod pairs;
mod providers;
mod reloading;
mod rooms;
mod rules;
mod smuggling;
mod trailers;
mod visitors;
mod websockets;
