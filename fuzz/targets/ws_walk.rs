//! Any bytes: never a panic, and the same end however they are cut. What the decoder takes, the walk follows: as many
//! messages, a close where there is one.

#![no_main]

use libfuzzer_sys::fuzz_target;
use whub_ws::{Decoder, Event, Limits, Role, Walk};

const LIMITS: Limits = Limits { message_bytes: 1 << 20, frame_bytes: 1 << 20 };

// The first byte chooses the role and how the rest is cut.
fuzz_target!(|data: &[u8]| {
    let Some((choice, bytes)) = data.split_first() else { return };
    let role = if choice & 1 == 0 { Role::Server } else { Role::Client };
    let chunk = usize::from(choice >> 1) + 1;

    let mut at_once = Walk::default();
    at_once.pass(bytes);
    let mut in_pieces = Walk::default();
    bytes.chunks(chunk).for_each(|piece| in_pieces.pass(piece));
    let stands = |walk: &Walk| (walk.messages(), walk.has_closed(), walk.is_between_frames());
    assert_eq!(stands(&in_pieces), stands(&at_once));

    let mut decoder = Decoder::new(role, LIMITS);
    let mut bytes = bytes.to_vec();
    let mut batch = decoder.decode(&mut bytes);
    let mut messages = 0;
    loop {
        match batch.next() {
            Ok(Some(Event::Message { .. })) => messages += 1,
            Ok(Some(Event::Ping(_) | Event::Pong(_))) => {}
            Ok(Some(Event::Close(_))) => {
                assert!(at_once.has_closed());
                return;
            }
            Ok(None) => break,
            // What the decoder does not take is for the other end to refuse.
            Err(_) => return,
        }
    }
    assert_eq!(at_once.messages(), messages);
});
