//! What a peer may do, and the tokens that say so.

use super::Secret;

pub use whub_core::Grants as Grant;

/// A token of the configuration: a secret and what its bearer may do.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Token {
    /// Name for logs and listings; unique.
    pub name: String,
    /// What the peer presents; unique.
    pub secret: Secret,
    /// What the peer may then do.
    pub grant: Grant,
}
