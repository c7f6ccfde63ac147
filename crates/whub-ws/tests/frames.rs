//! Dialogues: these bytes, exactly these events (RFC 6455 sections 5 to 8).

mod common;

use common::{Said, client, feed, feed_by_space, masked, part, server, text};
use whub_ws::{CloseCode, Decoder, Limits, Opcode, Role, Violation, encode_frame};

#[test]
fn the_examples_of_the_standard() {
    // RFC 6455 section 5.7
    let hello = [0x81, 0x05, 0x48, 0x65, 0x6c, 0x6c, 0x6f]; // FIN text, 5 bytes, "Hello"
    assert_eq!(feed(&mut client(), [&hello[..]]), [text("Hello")]);

    let masked_hello = [0x81, 0x85, 0x37, 0xfa, 0x21, 0x3d, 0x7f, 0x9f, 0x4d, 0x51, 0x58];
    assert_eq!(feed(&mut server(), [&masked_hello[..]]), [text("Hello")]);

    let fragments = [
        0x01, 0x03, 0x48, 0x65, 0x6c, // text without FIN, "Hel"
        0x80, 0x02, 0x6c, 0x6f, // FIN continuation, "lo"
    ];
    assert_eq!(feed(&mut client(), [&fragments[..]]), [text("Hello")]);

    let ping = [0x89, 0x05, 0x48, 0x65, 0x6c, 0x6c, 0x6f];
    assert_eq!(feed(&mut client(), [&ping[..]]), [Said::Ping(b"Hello".to_vec())]);

    let pong = [0x8a, 0x85, 0x37, 0xfa, 0x21, 0x3d, 0x7f, 0x9f, 0x4d, 0x51, 0x58];
    assert_eq!(feed(&mut server(), [&pong[..]]), [Said::Pong(b"Hello".to_vec())]);

    let mut medium = vec![0x82, 0x7e, 0x01, 0x00]; // FIN binary, 256 bytes
    medium.extend([7; 256]);
    assert_eq!(feed(&mut client(), [&medium[..]]), [Said::Binary(vec![7; 256])]);

    let mut large = vec![0x82, 0x7f, 0, 0, 0, 0, 0, 1, 0, 0]; // FIN binary, 64 KiB
    large.extend([7; 65_536]);
    assert_eq!(feed(&mut client(), [&large[..]]), [Said::Binary(vec![7; 65_536])]);
}

#[test]
fn control_frames_come_between_fragments() {
    let mut bytes = masked(part(Opcode::Text, false), b"one ");
    bytes.extend(masked(Opcode::Ping, b"?"));
    bytes.extend(masked(part(Opcode::Continuation, false), b""));
    bytes.extend(masked(Opcode::Pong, b"!"));
    bytes.extend(masked(Opcode::Continuation, b"message"));
    bytes.extend(masked(Opcode::Text, b""));
    let expected = [Said::Ping(b"?".to_vec()), Said::Pong(b"!".to_vec()), text("one message"), text("")];
    assert_eq!(feed(&mut server(), [&bytes[..]]), expected);
}

#[test]
fn nothing_is_read_after_a_close() {
    let mut bytes = masked(Opcode::Close, b"\x03\xe8bye");
    bytes.extend(masked(Opcode::Text, b"too late"));
    let mut decoder = server();
    let bye = Said::Close(Some((CloseCode::NORMAL, "bye".to_owned())));
    assert_eq!(feed(&mut decoder, [&bytes[..], &bytes[..]]), [bye]);
    assert!(decoder.is_ended());
    assert_eq!(feed(&mut server(), [&masked(Opcode::Close, b"")[..]]), [Said::Close(None)]);
}

#[test]
fn each_breach_has_its_name_and_code() {
    use Violation as V;
    let cases: &[(&[u8], V, u16)] = &[
        (&[0xa1, 0x80], V::ReservedBits, 1002),                  // RSV2
        (&[0x91, 0x80], V::ReservedBits, 1002),                  // RSV3
        (&[0xc1, 0x80, 0, 0, 0, 0], V::ReservedBits, 1002),      // RSV1 without an extension
        (&[0xc9, 0x80], V::ReservedBits, 1002),                  // RSV1 on a ping
        (&[0x83, 0x80], V::ReservedOpcode(3), 1002),             // a reserved data opcode
        (&[0x8b, 0x80], V::ReservedOpcode(11), 1002),            // a reserved control opcode
        (&[0x81, 0x00], V::Unmasked, 1002),                      // a client must mask
        (&[0x09, 0x80], V::ControlFragmented, 1002),             // a ping without FIN
        (&[0x89, 0xfe, 0, 126], V::ControlTooLong, 1002),        // a ping of 126 bytes
        (&[0x82, 0xfe, 0, 125], V::Length, 1002),                // 125 in two bytes
        (&[0x80, 0x80, 0, 0, 0, 0], V::StrayContinuation, 1002), // nothing to continue
        (&[0x01, 0x80, 0, 0, 0, 0, 0x81, 0x80, 0, 0, 0, 0], V::InterruptedMessage, 1002),
        (&[0x88, 0x81, 0, 0, 0, 0, 0x03], V::CloseBody, 1002), // half a code
        (&[0x88, 0x82, 0, 0, 0, 0, 0x03, 0xed], V::CloseCode(1005), 1002),
        (&[0x88, 0x83, 0, 0, 0, 0, 0x03, 0xe8, 0xff], V::Utf8, 1007), // a reason that is not UTF-8
        (&[0x81, 0x81, 0, 0, 0, 0, 0xff], V::Utf8, 1007),
        (&[0x81, 0x81, 0, 0, 0, 0, 0xc3], V::Utf8, 1007), // ends within a character
    ];
    for (bytes, violation, code) in cases {
        let mut decoder = server();
        // The valid message before it is delivered, and nothing after it.
        let mut input = masked(Opcode::Binary, b"fine");
        input.extend_from_slice(bytes);
        let expected = [Said::Binary(b"fine".to_vec()), Said::Wrong(*violation)];
        assert_eq!(feed(&mut decoder, [&input[..], &input[..]]), expected, "{bytes:02x?}");
        assert_eq!(violation.close_code().value(), *code);
    }
    assert_eq!(feed(&mut client(), [&[0x81, 0x80][..]]), [Said::Wrong(V::Masked)]);
}

#[test]
fn bad_text_fails_within_an_unfinished_frame() {
    // A frame of 20 bytes of which only the first 4 have come, the last of them impossible.
    let whole = masked(Opcode::Text, b"abc\xff................");
    assert_eq!(feed(&mut server(), [&whole[..10]]), [Said::Wrong(Violation::Utf8)]);
    assert_eq!(feed(&mut server(), [&whole[..9]]), []);

    // U+110000 would take four bytes; with the second it is lost. Cut between two fragments.
    let mut bytes = masked(part(Opcode::Text, false), b"\xce\xba\xf4");
    bytes.extend(masked(part(Opcode::Continuation, false), b"\x90"));
    assert_eq!(feed(&mut server(), [&bytes[..]]), [Said::Wrong(Violation::Utf8)]);
}

#[test]
fn sizes_are_refused_by_their_announcement() {
    let limits = Limits { message_bytes: 1000, frame_bytes: 600 };
    let decoder = || Decoder::new(Role::Client, limits);
    let too_big = |limit| Said::Wrong(Violation::TooBig { limit });

    // 601 bytes announced, none sent.
    assert_eq!(feed(&mut decoder(), [&[0x82, 126, 0x02, 0x59][..]]), [too_big(600)]);
    // 2^63 - 1 bytes announced.
    let huge = [0x82, 127, 0x7f, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff];
    assert_eq!(feed(&mut decoder(), [&huge[..]]), [too_big(600)]);
    // 600 and 400 fit, one more does not.
    let mut fits = Vec::new();
    encode_frame(&mut fits, part(Opcode::Binary, false), &[1; 600]);
    let mut last = fits.clone();
    encode_frame(&mut fits, part(Opcode::Continuation, true), &[1; 400]);
    assert_eq!(feed(&mut decoder(), [&fits[..]]), [Said::Binary(vec![1; 1000])]);
    encode_frame(&mut last, part(Opcode::Continuation, true), &[1; 401]);
    assert_eq!(feed(&mut decoder(), [&last[..]]), [too_big(1000)]);
    assert_eq!(Violation::TooBig { limit: 1 }.close_code(), CloseCode::TOO_BIG);
}

#[test]
fn an_announcement_alone_reserves_little() {
    let mut decoder = server();
    let frame = masked(Opcode::Binary, &vec![5; 8 << 20]);
    assert_eq!(feed(&mut decoder, [&frame[..15]]), []);
    assert_eq!(decoder.held_bytes(), 1);
    let space = decoder.read_space().expect("a large frame is due").len();
    assert!(space <= 4096, "{space} bytes for one that has arrived");
}

#[test]
fn a_large_frame_is_read_in_place() {
    let payload: Vec<u8> = (0..300_000_u32).map(|i| (i % 251) as u8).collect();
    let mut bytes = masked(Opcode::Binary, &payload);
    bytes.extend(masked(Opcode::Ping, b"next"));
    let expected = [Said::Binary(payload), Said::Ping(b"next".to_vec())];
    for chunk in [7_001, 65_536, 1 << 20] {
        assert_eq!(feed_by_space(&mut server(), &bytes, chunk), expected, "{chunk} bytes per read");
    }
}

#[test]
fn bad_text_fails_in_a_large_frame_too() {
    let mut payload = vec![b'a'; 200_000];
    payload[150_000] = 0xff;
    let bytes = masked(Opcode::Text, &payload);
    let said = feed_by_space(&mut server(), &bytes[..160_000], 10_000);
    assert_eq!(said, [Said::Wrong(Violation::Utf8)]);
}

#[test]
fn whole_frames_are_not_copied() {
    let mut bytes = masked(Opcode::Binary, &[9; 128]);
    bytes.extend(masked(Opcode::Text, &[b'x'; 200]));
    let mut decoder = server();
    let mut batch = decoder.decode(&mut bytes);
    while let Some(event) = batch.next().unwrap() {
        let whub_ws::Event::Message { payload, .. } = event else { panic!("only messages were sent") };
        assert!(matches!(payload, whub_ws::Payload::Borrowed(_)));
    }
    assert_eq!(decoder.held_bytes(), 0);
}
