//! The running hub: connections, the write path, HTTP, configuration.

mod backlog;
pub mod config;
mod connection;
mod framing;
mod gaps;
mod http;
mod mailbox;
mod node;
mod server;

pub use server::{Handle, Server, StartError};
