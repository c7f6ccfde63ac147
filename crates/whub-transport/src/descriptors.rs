//! How many descriptors, and so connections, this process may hold.

use std::io;

use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};

/// The limit of open descriptors; `None` where there is none.
#[must_use]
pub fn limit() -> Option<u64> {
    getrlimit(Resource::Nofile).current
}

/// Raises the soft limit of open descriptors to the hard one, which needs no rights, and says what it is now.
/// To be called once, at the start.
///
/// # Errors
/// When the system refuses; the limit is then as before.
pub fn raise_limit() -> io::Result<Option<u64>> {
    let maximum = getrlimit(Resource::Nofile).maximum;
    setrlimit(Resource::Nofile, Rlimit { current: maximum, maximum })?;
    Ok(limit())
}
