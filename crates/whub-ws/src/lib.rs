//! WebSocket frames and handshakes (RFC 6455, RFC 7692), sans-IO, both roles.
//!
//! Bytes in, events out; events in, bytes out. Made for relaying batches: frames that lie whole in the read buffer
//! are reported where they lie, and a payload is passed over once, to unmask it. Sockets, time, masking keys and the
//! decision what to do with a message come from outside.
//!
//! ```
//! use whub_ws::{Decoder, Event, Limits, Opcode, Role, encode_frame};
//!
//! # fn main() -> Result<(), whub_ws::Violation> {
//! let mut decoder = Decoder::new(Role::Server, Limits::default());
//! // What a socket gave: a masked text "Hello" (RFC 6455 section 5.7).
//! let mut read = [0x81, 0x85, 0x37, 0xfa, 0x21, 0x3d, 0x7f, 0x9f, 0x4d, 0x51, 0x58];
//! let mut answer = Vec::new();
//! let mut batch = decoder.decode(&mut read);
//! while let Some(event) = batch.next()? {
//!     match event {
//!         Event::Message { payload, .. } => encode_frame(&mut answer, Opcode::Text, &payload),
//!         Event::Ping(payload) => encode_frame(&mut answer, Opcode::Pong, &payload),
//!         Event::Pong(_) => {}
//!         Event::Close(frame) => whub_ws::encode_close_reply(&mut answer, frame.as_ref(), None),
//!     }
//! }
//! assert_eq!(answer, b"\x81\x05Hello");
//! # Ok(())
//! # }
//! ```

mod assembly;
mod close;
mod decoder;
pub mod deflate;
mod encoder;
mod event;
mod frame;
pub mod handshake;
mod limits;
mod mask;
mod utf8;
mod violation;
mod walk;

pub use close::{CloseCode, CloseFrame, Closing, REASON_BYTES_MAX};
pub use decoder::{Batch, Decoder};
pub use encoder::{
    EncodedHead, encode_close, encode_close_reply, encode_either, encode_frame, encode_head, encode_masked,
};
pub use event::{Event, MessageKind, Payload};
pub use frame::{CONTROL_BYTES_MAX, HEAD_BYTES_MAX, Head, Opcode};
pub use limits::{Limits, Role};
pub use mask::mask;
pub use violation::Violation;
pub use walk::Walk;
