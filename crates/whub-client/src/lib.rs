//! The Rust client of whub.
