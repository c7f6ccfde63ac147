//! The JSON mirror, subprotocol `whub.v1.json`: one object per frame, for people and for programs without FlatBuffers.
//!
//! ```json
//! {"kind":"request","id":7,"path":"/billing/total","timeout_ms":5000,"headers":{"x-tenant":"acme"},"data":{"n":1}}
//! ```
//!
//! Names are the schema's; absent and `null` are the default; unknown names are ignored. Flags are `true` members
//! (`end`, `ack`, `replay`, `more`, `compressed`). Headers are an object; keys that repeat have an array. Enumerations
//! are lower snake case (numbers are accepted). 64-bit numbers are numbers below 2^53, else decimal strings. The
//! payload is one of `data` (any JSON, passed on byte for byte), `text` and `b64` (padded).
//!
//! The translation is between bytes and text; who may say what is checked by [`Frame::parse`](crate::Frame::parse)
//! on the bytes that [`Decoder::decode`] gives, as for any frame.

mod decode;
mod encode;
mod error;
mod field;
mod object;
mod payload;

pub use decode::Decoder;
pub use encode::encode;
pub use error::{JsonError, Problem};

pub(crate) use field::Field;
pub(crate) use object::{Members, Object};

/// Fields of a table, in both directions.
pub(crate) trait Mirror<'a>: Sized {
    /// Writes the fields that differ from their default.
    fn write_fields(&self, object: &mut Object<'_>);

    /// Reads the fields that are there.
    fn read_fields(members: &Members<'a>) -> Result<Self, Problem>;
}

/// Whether a text is one JSON value, of a depth that readers can be asked to bear.
#[must_use]
pub fn is_json(text: &str) -> bool {
    serde_json::from_str::<serde::de::IgnoredAny>(text).is_ok()
}
