//! Any bytes, in both roles: never a panic, never more memory than the limits allow, and the same events whether the
//! bytes come at once, in pieces or through the decoder's own space.

#![no_main]

use libfuzzer_sys::fuzz_target;
use whub_ws::{Decoder, Event, Limits, MessageKind, Role, Violation};

const LIMITS: Limits = Limits { message_bytes: 200_000, frame_bytes: 150_000 };

/// What was heard, in a form that can be compared.
#[derive(Debug, PartialEq)]
enum Heard {
    Message(MessageKind, Vec<u8>),
    Ping(Vec<u8>),
    Pong(Vec<u8>),
    Close(Option<(u16, String)>),
    Wrong(Violation),
}

fn heard(event: Event<'_>) -> Heard {
    match event {
        Event::Message { kind, payload } => {
            assert!(kind != MessageKind::Text || std::str::from_utf8(&payload).is_ok(), "text is UTF-8");
            assert!(payload.len() <= LIMITS.message_bytes);
            Heard::Message(kind, payload.into_vec())
        }
        Event::Ping(payload) => Heard::Ping(payload.into_vec()),
        Event::Pong(payload) => Heard::Pong(payload.into_vec()),
        Event::Close(frame) => {
            Heard::Close(frame.map(|frame| (frame.code.value(), frame.reason.into_owned())))
        }
    }
}

fn push(decoder: &mut Decoder, piece: &[u8], into: &mut Vec<Heard>) {
    let mut piece = piece.to_vec();
    let mut batch = decoder.decode(&mut piece);
    loop {
        match batch.next() {
            Ok(Some(event)) => into.push(heard(event)),
            Ok(None) => break,
            Err(violation) => {
                into.push(Heard::Wrong(violation));
                break;
            }
        }
    }
    assert!(decoder.held_bytes() <= LIMITS.message_bytes + whub_ws::CONTROL_BYTES_MAX);
}

/// Takes as much as the decoder asks for itself, else `chunk` bytes; gives what is left.
fn read<'b>(decoder: &mut Decoder, bytes: &'b [u8], chunk: usize, into: &mut Vec<Heard>) -> &'b [u8] {
    let Some(space) = decoder.read_space() else {
        let (front, rest) = bytes.split_at(chunk.min(bytes.len()));
        push(decoder, front, into);
        return rest;
    };
    let count = space.len().min(bytes.len());
    space[..count].copy_from_slice(&bytes[..count]);
    match decoder.filled(count) {
        Ok(event) => into.extend(event.map(heard)),
        Err(violation) => into.push(Heard::Wrong(violation)),
    }
    &bytes[count..]
}

// The first byte chooses the role and how the rest is cut.
fuzz_target!(|data: &[u8]| {
    let Some((choice, bytes)) = data.split_first() else { return };
    let role = if choice & 1 == 0 { Role::Server } else { Role::Client };
    let chunk = usize::from(choice >> 1) + 1;

    let mut at_once = Vec::new();
    push(&mut Decoder::new(role, LIMITS), bytes, &mut at_once);

    let mut in_pieces = Vec::new();
    let mut decoder = Decoder::new(role, LIMITS);
    bytes.chunks(chunk).for_each(|piece| push(&mut decoder, piece, &mut in_pieces));
    assert_eq!(in_pieces, at_once);

    let mut in_place = Vec::new();
    let mut decoder = Decoder::new(role, LIMITS);
    let mut rest = bytes;
    while !rest.is_empty() {
        rest = read(&mut decoder, rest, chunk, &mut in_place);
    }
    assert_eq!(in_place, at_once);
});
