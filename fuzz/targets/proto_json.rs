//! Any text as a JSON frame: never a panic; what is accepted is a sound frame and comes back.

#![no_main]

use libfuzzer_sys::fuzz_target;
use whub_proto::{
    Frame, FrameError, Origin,
    json::{Decoder, encode},
};

fuzz_target!(|text: &str| {
    let mut decoder = Decoder::new();
    let mut bytes = b"before".to_vec();
    if decoder.decode(text, &mut bytes).is_err() {
        assert_eq!(bytes, b"before", "nothing is left behind");
        return;
    }
    let first = &bytes[6..];
    let frame = match Frame::parse(first, usize::MAX, Origin::Hub) {
        Ok(frame) => frame,
        Err(FrameError::NoKind) => return,
        Err(error) => panic!("{error}: {text}"),
    };
    // Grouping of header keys and the choice of `data` may change it once, but not twice.
    let second = translate(&mut decoder, &frame);
    let frame = Frame::parse(&second, usize::MAX, Origin::Hub).expect("a decoded frame is sound");
    assert_eq!(translate(&mut decoder, &frame), second);
});

fn translate(decoder: &mut Decoder, frame: &Frame<'_>) -> Vec<u8> {
    let mut text = Vec::new();
    encode(frame, &mut text);
    let text = std::str::from_utf8(&text).expect("JSON is UTF-8");
    let mut bytes = Vec::new();
    decoder.decode(text, &mut bytes).unwrap_or_else(|error| panic!("{error}: {text}"));
    bytes
}
