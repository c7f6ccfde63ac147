//! permessage-deflate on the wire (RFC 7692 section 7.2).

mod common;

use common::{Said, feed, masked, part, text};
use proptest::prelude::*;
use whub_ws::{
    Decoder, Head, Limits, Opcode, Role, Violation,
    deflate::{Deflater, Inflater},
    encode_frame,
};

/// A client's decoder, since its input needs no mask and can be written down as it is.
fn decoder(peer_keeps_context: bool, message_bytes: usize) -> Decoder {
    let limits = Limits { message_bytes, ..Limits::default() };
    Decoder::with_deflate(Role::Client, limits, Inflater::new(peer_keeps_context))
}

const fn compressed(opcode: Opcode, fin: bool) -> Head {
    Head { opcode, fin, compressed: true }
}

fn frame(head: impl Into<Head>, payload: &[u8]) -> Vec<u8> {
    let mut out = Vec::new();
    encode_frame(&mut out, head, payload);
    out
}

#[test]
fn the_examples_of_the_standard() {
    // RFC 7692 section 7.2.3.1: one compressed block, in one frame and in two.
    let whole = [0xc1, 0x07, 0xf2, 0x48, 0xcd, 0xc9, 0xc9, 0x07, 0x00];
    let halves = [0x41, 0x03, 0xf2, 0x48, 0xcd, 0x80, 0x04, 0xc9, 0xc9, 0x07, 0x00];
    // 7.2.3.3: a block without compression.
    let stored = [0xc1, 0x0b, 0x00, 0x05, 0x00, 0xfa, 0xff, 0x48, 0x65, 0x6c, 0x6c, 0x6f, 0x00];
    // 7.2.3.4: a block with BFINAL.
    let last = [0xc1, 0x08, 0xf3, 0x48, 0xcd, 0xc9, 0xc9, 0x07, 0x00, 0x00];
    // 7.2.3.5: two blocks.
    let two = [0xc1, 0x0d, 0xf2, 0x48, 0x05, 0x00, 0x00, 0x00, 0xff, 0xff, 0xca, 0xc9, 0xc9, 0x07, 0x00];
    for keeps_context in [false, true] {
        for bytes in [&whole[..], &halves, &stored, &last, &two] {
            let mut decoder = decoder(keeps_context, 5);
            assert_eq!(feed(&mut decoder, [bytes, bytes]), [text("Hello"), text("Hello")], "{bytes:02x?}");
        }
    }
}

#[test]
fn a_message_may_refer_to_earlier_ones_only_if_that_was_agreed() {
    // RFC 7692 section 7.2.3.2: the second "Hello" is a reference to the first.
    let first = frame(compressed(Opcode::Text, true), &[0xf2, 0x48, 0xcd, 0xc9, 0xc9, 0x07, 0x00]);
    let second = frame(compressed(Opcode::Text, true), &[0xf2, 0x00, 0x11, 0x00, 0x00]);
    let pieces = [&first[..], &second[..]];
    assert_eq!(feed(&mut decoder(true, 100), pieces), [text("Hello"), text("Hello")]);
    assert_eq!(feed(&mut decoder(false, 100), pieces), [text("Hello"), Said::Wrong(Violation::Deflate)]);
}

#[test]
fn plain_messages_and_control_frames_come_between() {
    let mut bytes = frame(compressed(Opcode::Text, false), &[0xf2, 0x48, 0xcd]);
    bytes.extend(frame(Opcode::Ping, b"?"));
    bytes.extend(frame(part(Opcode::Continuation, false), &[0xc9, 0xc9]));
    bytes.extend(frame(Opcode::Continuation, &[0x07, 0x00]));
    bytes.extend(frame(Opcode::Text, b"plain"));
    let expected = [Said::Ping(b"?".to_vec()), text("Hello"), text("plain")];
    assert_eq!(feed(&mut decoder(false, 100), [&bytes[..]]), expected);
    assert_eq!(feed(&mut decoder(false, 100), bytes.chunks(1)), expected);
}

#[test]
fn empty_messages() {
    // One byte as the standard has it (section 7.2.3.6), or none as some senders have it.
    for payload in [&[0x00][..], &[]] {
        let bytes = frame(compressed(Opcode::Binary, true), payload);
        assert_eq!(
            feed(&mut decoder(true, 0), [&bytes[..], &bytes[..]]),
            [Said::Binary(vec![]), Said::Binary(vec![])]
        );
    }
}

#[test]
fn the_compressed_bit_stands_only_on_a_first_data_frame() {
    let mut continued = frame(part(Opcode::Text, false), b"a");
    continued.extend(frame(compressed(Opcode::Continuation, true), b"b"));
    let pong = frame(compressed(Opcode::Pong, true), b"");
    for bytes in [continued, pong] {
        assert_eq!(feed(&mut decoder(false, 100), [&bytes[..]]), [Said::Wrong(Violation::ReservedBits)]);
    }
}

#[test]
fn a_bomb_is_closed_and_not_inflated() {
    let mut deflater = Deflater::new(15, false);
    let bomb = deflater.compress(&vec![0; 64 << 20]).expect("zeroes shrink");
    assert!(bomb.len() < 1 << 20, "{} bytes on the wire", bomb.len());
    let bytes = frame(compressed(Opcode::Binary, true), &bomb);

    let mut decoder = decoder(false, 10_000);
    // Told long before the last of it has come, so what comes after the limit is never inflated.
    let said = feed(&mut decoder, bytes[..2_000].chunks(50));
    assert_eq!(said, [Said::Wrong(Violation::TooBig { limit: 10_000 })]);
    assert_eq!(decoder.held_bytes(), 0);
}

#[test]
fn a_message_may_be_exactly_as_long_as_the_limit() {
    for keeps_context in [false, true] {
        for size in [511, 512, 513, 4_096, 100_000] {
            let message = vec![b'x'; size];
            let bytes = Deflater::new(15, false).compress(&message).expect("one letter shrinks");
            let bytes = frame(compressed(Opcode::Text, true), &bytes);
            let said = |limit| feed(&mut decoder(keeps_context, limit), [&bytes[..]]);
            assert_eq!(said(size), [Said::Text("x".repeat(size))]);
            assert_eq!(said(size - 1), [Said::Wrong(Violation::TooBig { limit: size - 1 })]);
        }
    }
}

#[test]
fn damage_is_told() {
    // A block type that does not exist; a message that ends within a block.
    for payload in [&[0x07][..], &[0xf2, 0x48, 0xcd]] {
        let bytes = frame(compressed(Opcode::Text, true), payload);
        assert_eq!(
            feed(&mut decoder(false, 100), [&bytes[..]]),
            [Said::Wrong(Violation::Deflate)],
            "{payload:02x?}"
        );
    }
}

#[test]
fn bad_text_fails_before_the_message_is_whole() {
    let message = [&[0xff][..], "x".repeat(300).as_bytes()].concat();
    let bytes = Deflater::new(15, false).compress(&message).expect("one letter shrinks");
    let bytes = frame(compressed(Opcode::Text, false), &bytes);
    assert_eq!(feed(&mut decoder(false, 1_000), [&bytes[..]]), [Said::Wrong(Violation::Utf8)]);
}

#[test]
fn what_does_not_shrink_goes_as_it_is() {
    let noise: Vec<u8> = (0..200_u32).map(|i| (i.wrapping_mul(2_654_435_761) >> 13) as u8).collect();
    assert_eq!(Deflater::new(12, false).compress(&noise), None);
    assert_eq!(Deflater::new(12, false).compress(b"too short to be worth it"), None);
}

proptest! {
    #[test]
    fn what_is_deflated_is_inflated(
        messages in proptest::collection::vec((any::<u8>(), 0..5_000_usize, 1..40_usize), 1..6),
        window_bits in 9..=15_u8,
        keeps_context in any::<bool>(),
        chunk in 1..3_000_usize,
    ) {
        let mut deflater = Deflater::new(window_bits, keeps_context);
        let limits = Limits::default();
        let mut decoder = Decoder::with_deflate(Role::Server, limits, Inflater::new(keeps_context));
        let mut bytes = Vec::new();
        let mut expected = Vec::new();
        for (seed, size, period) in messages {
            let message: Vec<u8> = (0..size).map(|i| seed.wrapping_mul((i % period) as u8)).collect();
            match deflater.compress(&message) {
                Some(small) => {
                    let (front, back) = small.split_at(small.len() / 2);
                    bytes.extend(masked(compressed(Opcode::Binary, false), front));
                    bytes.extend(masked(Opcode::Continuation, back));
                }
                None => bytes.extend(masked(Opcode::Binary, &message)),
            }
            expected.push(Said::Binary(message));
        }
        prop_assert_eq!(feed(&mut decoder, bytes.chunks(chunk)), expected);
    }

    #[test]
    fn any_bytes_inflate_to_something_within_the_limit_or_fail(
        payload in proptest::collection::vec(any::<u8>(), 0..300),
        keeps_context in any::<bool>(),
        chunk in 1..50_usize,
    ) {
        let bytes = frame(compressed(Opcode::Binary, true), &payload);
        let said = feed(&mut decoder(keeps_context, 2_000), bytes.chunks(chunk));
        prop_assert_eq!(said.len(), 1);
        prop_assert!(!matches!(&said[0], Said::Binary(message) if message.len() > 2_000));
    }
}
