//! The whub command line.
fn main() {}
