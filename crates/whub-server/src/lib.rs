//! The running hub: connections, the write path, HTTP, configuration.

pub mod config;
