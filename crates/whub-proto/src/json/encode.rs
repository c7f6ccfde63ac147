//! Bytes to text.

use super::{Object, payload};
use crate::{Flags, Frame};

/// Appends the frame as one JSON object. The envelope of an unknown kind cannot be translated and is left out.
pub fn encode(frame: &Frame<'_>, out: &mut Vec<u8>) {
    let head = frame.head;
    let mut object = Object::begin(out);
    object.required("kind", &head.kind);
    object.field("id", &head.id, &0);
    for (flag, name) in Flags::NAMED {
        // The text flag shows in `text`.
        if flag != Flags::TEXT {
            object.field(name, &head.flags.contains(flag), &false);
        }
    }
    object.field("hops", &u16::from(head.hops), &0);
    frame.body.write_fields(&mut object);
    if let Some(via) = &frame.via {
        object.required("via", via);
    }
    payload::write(&mut object, frame);
    object.end();
}
