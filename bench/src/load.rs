//! What is done on the connections of a cell, one file per shape of traffic.

pub(crate) mod call;
pub(crate) mod fanout;
pub(crate) mod http;
pub(crate) mod idle;
pub(crate) mod lanes;
pub(crate) mod storm;
pub(crate) mod stream;

use crate::fault::Fault;

/// Fails unless the message that came is the expected one.
fn expect(conn: usize, expected: u64, got: u64) -> Result<(), Fault> {
    if expected == got { Ok(()) } else { Err(Fault::Order { conn, expected, got }) }
}
