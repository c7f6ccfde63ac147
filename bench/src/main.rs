//! Neutral load generator.
fn main() {}
