//! Any bytes as a frame: never a panic; what a client may send a hub may too; what is accepted can be shown as JSON
//! and comes back.

#![no_main]

use libfuzzer_sys::fuzz_target;
use whub_proto::{
    Frame, Origin,
    json::{Decoder, JsonError, encode},
};

fuzz_target!(|bytes: &[u8]| {
    let from_hub = Frame::parse(bytes, 1 << 20, Origin::Hub);
    if let Ok(frame) = Frame::parse(bytes, 1 << 20, Origin::Client) {
        assert_eq!(from_hub.as_ref(), Ok(&frame), "a hub may send what a client may");
        assert!(frame.via.is_none());
    }
    let Ok(frame) = from_hub else { return };
    let parts = frame.via_bytes.len() + frame.envelope.len() + frame.payload.len();
    assert_eq!(16 + parts, bytes.len(), "nothing is lost");

    // Once through JSON gives the normal form (header keys grouped and lower-case); from then on nothing changes.
    let Some(normal) = translate(&frame) else { return };
    let frame = Frame::parse(&normal, usize::MAX, Origin::Hub).expect("a decoded frame is sound");
    assert_eq!(translate(&frame).as_ref(), Some(&normal));
});

/// To JSON and back; `None` where texts that shared their bytes are too long one by one.
fn translate(frame: &Frame<'_>) -> Option<Vec<u8>> {
    let mut text = Vec::new();
    encode(frame, &mut text);
    let text = std::str::from_utf8(&text).expect("JSON is UTF-8");
    let mut bytes = Vec::new();
    match Decoder::new().decode(text, &mut bytes) {
        Ok(()) => Some(bytes),
        Err(JsonError::TooLarge { .. }) => None,
        Err(error) => panic!("{error}: {text}"),
    }
}
