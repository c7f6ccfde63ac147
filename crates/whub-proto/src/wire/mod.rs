//! The generated accessors, and the one place where foreign bytes become tables.

#[allow(
    clippy::all,
    clippy::disallowed_methods,
    clippy::or_fun_call,
    clippy::unwrap_used,
    clippy::use_self,
    missing_debug_implementations,
    missing_docs,
    unreachable_pub,
    unsafe_code,
    unused_imports,
    dead_code,
    mismatched_lifetime_syntaxes,
    deprecated
)]
mod generated;

pub(crate) use generated::whub::wire::*;

use flatbuffers::{Follow, InvalidFlatbuffer, Verifiable, VerifierOptions};

/// The library's own limits (a million tables, 2 GiB) are far too loose for bytes of strangers.
const LIMITS: VerifierOptions = VerifierOptions {
    max_depth: 4,
    max_tables: 512,
    max_apparent_size: 128 * 1024,
    ignore_missing_null_terminator: false,
};

/// Verifies `bytes` as a table of type `T`, once; what it returns can be read without further checks.
pub(crate) fn verify<'a, T: Follow<'a> + Verifiable + 'a>(
    bytes: &'a [u8],
) -> Result<T::Inner, InvalidFlatbuffer> {
    flatbuffers::root_with_opts::<T>(&LIMITS, bytes)
}
