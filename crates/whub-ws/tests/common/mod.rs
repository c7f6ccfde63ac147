//! Shared by the test files: a peer's bytes in, owned events out.

#![allow(dead_code, unreachable_pub, missing_docs)]

use whub_ws::{Batch, CloseCode, Decoder, Event, MessageKind, Opcode, Role, Violation, encode_masked};

/// An event that owns its bytes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Said {
    Text(String),
    Binary(Vec<u8>),
    Ping(Vec<u8>),
    Pong(Vec<u8>),
    Close(Option<(CloseCode, String)>),
    Wrong(Violation),
}

pub fn said(event: Event<'_>) -> Said {
    match event {
        Event::Message { kind: MessageKind::Text, payload } => {
            Said::Text(String::from_utf8(payload.into_vec()).expect("texts are checked"))
        }
        Event::Message { kind: MessageKind::Binary, payload } => Said::Binary(payload.into_vec()),
        Event::Ping(payload) => Said::Ping(payload.into_vec()),
        Event::Pong(payload) => Said::Pong(payload.into_vec()),
        Event::Close(frame) => Said::Close(frame.map(|frame| (frame.code, frame.reason.into_owned()))),
    }
}

fn drain(mut batch: Batch<'_, '_>, into: &mut Vec<Said>) {
    loop {
        match batch.next() {
            Ok(Some(event)) => into.push(said(event)),
            Ok(None) => return,
            Err(violation) => return into.push(Said::Wrong(violation)),
        }
    }
}

/// What the decoder reports when the bytes come in these pieces.
pub fn feed<'p>(decoder: &mut Decoder, pieces: impl IntoIterator<Item = &'p [u8]>) -> Vec<Said> {
    let mut all = Vec::new();
    for piece in pieces {
        let mut piece = piece.to_vec();
        drain(decoder.decode(&mut piece), &mut all);
    }
    all
}

/// As [`feed`], but takes large frames through the decoder's own space, `chunk` bytes at a time.
pub fn feed_by_space(decoder: &mut Decoder, mut bytes: &[u8], chunk: usize) -> Vec<Said> {
    let mut all = Vec::new();
    while !bytes.is_empty() {
        let Some(space) = decoder.read_space() else {
            let (front, rest) = bytes.split_at(chunk.min(bytes.len()));
            bytes = rest;
            all.extend(feed(decoder, [front]));
            continue;
        };
        let count = space.len().min(chunk).min(bytes.len());
        space[..count].copy_from_slice(&bytes[..count]);
        bytes = &bytes[count..];
        match decoder.filled(count) {
            Ok(event) => all.extend(event.map(said)),
            Err(violation) => all.push(Said::Wrong(violation)),
        }
    }
    all
}

pub fn server() -> Decoder {
    Decoder::new(Role::Server, whub_ws::Limits::default())
}

pub fn client() -> Decoder {
    Decoder::new(Role::Client, whub_ws::Limits::default())
}

pub fn text(text: &str) -> Said {
    Said::Text(text.to_owned())
}

pub fn masked(head: impl Into<whub_ws::Head>, payload: &[u8]) -> Vec<u8> {
    let mut out = Vec::new();
    encode_masked(&mut out, head, payload, [0x37, 0xfa, 0x21, 0x3d]);
    out
}

pub const fn part(opcode: Opcode, fin: bool) -> whub_ws::Head {
    whub_ws::Head { opcode, fin, compressed: false }
}
