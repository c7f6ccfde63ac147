//! Names, parsed once at the door: service paths and their patterns, channels and their filters, pair ids, endpoints.
//!
//! All of them are `/`-separated segments, so one segment rule and one [`Trie`] serve them all. Service paths begin
//! with `/` and are percent-encoded; channels and pair ids never begin with `/` and are taken as they are.
//!
//! | | service paths | channels |
//! |---|---|---|
//! | a name | [`ServicePath`] `/billing/total` | [`Channel`] `news/eu` |
//! | a set of names | [`Pattern`] `/billing/:op`, `/files/*rest` | [`Filter`] `news/+`, `news/#` |
//! | one segment | `:name` (not empty) | `+` |
//! | the remainder, which may be empty | `*rest` | `#` |
//! | a host of its own | `//app.example.com/*rest` | |
//!
//! Absent on purpose: case folding and Unicode normalisation. Names are compared byte by byte after decoding.

mod channel;
mod endpoint_name;
mod escape;
mod filter;
mod host;
mod pair_id;
mod path;
mod pattern;
mod text;
pub mod trie;

pub use channel::Channel;
pub use endpoint_name::EndpointName;
pub use filter::Filter;
pub use host::canonical as canonical_host;
pub use pair_id::PairId;
pub use path::{RESERVED_ROOTS, SERVICE_ROOTS, ServicePath};
pub use pattern::{Captures, Pattern};
pub use trie::{Shape, Trie};

use crate::Code;

/// The channel of messages to a session itself: the hub's own, no subscription is needed and nobody else publishes here.
pub const INBOX: &str = "$inbox";

/// Largest pattern, channel or filter, bytes.
pub const NAME_BYTES_MAX: usize = 1024;
/// Largest number of segments of a pattern, channel or filter.
pub const NAME_SEGMENTS_MAX: usize = 32;
/// Largest raw path of a call, bytes. More than a pattern's, since `*rest` may take long paths.
pub const PATH_BYTES_MAX: usize = 4096;
/// Largest number of segments of the path of a call.
pub const PATH_SEGMENTS_MAX: usize = 128;
/// Largest pair id or endpoint name, bytes.
pub const ID_BYTES_MAX: usize = 256;

/// Why a name is refused. The sentence is meant for the person who wrote the name.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, thiserror::Error)]
#[non_exhaustive]
pub enum NameError {
    /// There is nothing.
    #[error("the name is empty")]
    Empty,
    /// Longer than its limit.
    #[error("the name is longer than {max} bytes")]
    TooLong {
        /// The limit, bytes.
        max: usize,
    },
    /// More segments than allowed.
    #[error("the name has more than {max} segments")]
    TooDeep {
        /// The limit.
        max: usize,
    },
    /// A control character, plain or escaped.
    #[error("the name holds a control character")]
    ControlCharacter,
    /// A channel or pair id that begins with `/`.
    #[error("channels and pair ids do not begin with `/`; only service paths do")]
    LeadingSlash,
    /// Two slashes in a row, or one at the end, where that has no meaning.
    #[error("the name has an empty segment")]
    EmptySegment,
    /// `.` or `..`, plain or escaped.
    #[error("`.` and `..` are not allowed as segments")]
    DotSegment,
    /// `%` without two hexadecimal digits, or bytes that are not UTF-8.
    #[error("the path has a bad percent escape")]
    BadEscape,
    /// A space, `?` or `#` in a raw path.
    #[error("a path holds no space, `?` or `#`: escape them, and send the query by itself")]
    NotRaw,
    /// `*rest` before the end of a pattern.
    #[error("`*rest` takes the remainder, so it must be the last segment")]
    RestNotLast,
    /// `:` without a name, or a parameter name with other characters than letters, digits, `_` and `-`.
    #[error("a parameter is `:` and a name of letters, digits, `_` or `-`")]
    BadParameter,
    /// Two parameters of one name.
    #[error("two parameters of the pattern have the same name")]
    DuplicateParameter,
    /// A wildcard in a channel.
    #[error("a channel holds no `+` or `#`; these belong to filters")]
    Wildcard,
    /// `+` or `#` beside other characters, or `#` before the end of a filter.
    #[error("`+` stands for one whole segment, `#` for the remainder and stands last")]
    BadWildcard,
    /// A pattern under a root that the hub itself serves.
    #[error("the hub itself serves paths under this root; choose another first segment")]
    Reserved,
    /// A call to a path that the hub itself serves.
    #[error("the hub itself serves this path; it is no service")]
    NoService,
    /// A host that is not a name, or is the hub's own.
    #[error(
        "the host behind `//` is a name with a dot, such as app.example.com (letters, digits, `-`; others in their \
         xn-- form); no address, and not localhost"
    )]
    BadHost,
    /// A `/` in an endpoint name.
    #[error("an endpoint name is one segment, without `/`")]
    Slash,
}

impl NameError {
    /// The code of the answer to a peer.
    pub fn code(self) -> Code {
        match self {
            Self::Reserved => Code::Forbidden,
            Self::NoService => Code::NotFound,
            Self::Empty
            | Self::TooLong { .. }
            | Self::TooDeep { .. }
            | Self::ControlCharacter
            | Self::LeadingSlash
            | Self::EmptySegment
            | Self::DotSegment
            | Self::BadEscape
            | Self::NotRaw
            | Self::RestNotLast
            | Self::BadParameter
            | Self::DuplicateParameter
            | Self::Wildcard
            | Self::BadWildcard
            | Self::BadHost
            | Self::Slash => Code::BadRequest,
        }
    }
}
