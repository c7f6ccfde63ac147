//! How frames and messages look on a peer's connection.

use whub_core::{Framing, Packet};
use whub_proto::{Flags, Frame, HEAD_BYTES, Head, Kind, Origin, json};
use whub_ws::{Opcode, encode_frame, encode_head};

use crate::outgoing::Outgoing;
use crate::room_text;

/// Appends a frame as the peer wants it. A frame for a plain or private peer is nothing.
pub(crate) fn encode_packet(out: &mut Vec<u8>, framing: Framing, id: u64, packet: &Packet) {
    if encode_front(out, framing, id, packet) {
        out.extend_from_slice(packet.apart());
    }
}

/// The same, but a payload that lies apart is shared.
pub(crate) fn say_packet(own: &mut Outgoing, framing: Framing, id: u64, packet: &Packet) {
    if encode_front(own.bytes(), framing, id, packet) && !packet.apart().is_empty() {
        own.share(packet.apart().clone());
    }
}

/// Appends all but a payload that lies apart; true if that is to follow.
fn encode_front(out: &mut Vec<u8>, framing: Framing, id: u64, packet: &Packet) -> bool {
    let length = packet.len();
    match framing {
        Framing::Binary => out.extend_from_slice(&encode_head(Opcode::Binary, length, None)),
        // The packet was bounded when it came in, far below 4 GiB.
        Framing::Stream => out.extend_from_slice(&u32::try_from(length).unwrap_or(u32::MAX).to_le_bytes()),
        Framing::Json => {
            let mut text = Vec::with_capacity(length * 2);
            encode_message(&mut text, Framing::Json, id, packet);
            encode_frame(out, Opcode::Text, &text);
            return false;
        }
        Framing::Room => {
            room_text::encode_packets(out, std::slice::from_ref(packet));
            return false;
        }
        Framing::Plain | Framing::Private => return false,
    }
    packet.head(id).write(out);
    out.extend_from_slice(packet.rest());
    true
}

/// Appends a frame as the content of a WebSocket message: itself, or its translation.
pub(crate) fn encode_message(out: &mut Vec<u8>, dialect: Framing, id: u64, packet: &Packet) {
    match dialect {
        Framing::Json => {
            // Every packet was verified or built here, so reading it again cannot fail.
            if let Ok(frame) = packet.frame() {
                json::encode(&Frame { head: packet.head(id), ..frame }, out);
            }
        }
        Framing::Binary | Framing::Stream | Framing::Plain | Framing::Room | Framing::Private => {
            packet.head(id).write(out);
            out.extend_from_slice(packet.rest());
            out.extend_from_slice(packet.apart());
        }
    }
}

/// The JSON mirror of a whole frame.
fn translate(out: &mut Vec<u8>, whole: &[u8]) {
    // Every frame in the hub was verified or built here, so reading it again cannot fail.
    if let Ok(frame) = Frame::parse(whole, usize::MAX, Origin::Hub) {
        json::encode(&frame, out);
    }
}

/// Appends one message of a pair. What is longer than a frame may be goes out in pieces that say `More`.
pub(crate) fn encode_data(out: &mut Vec<u8>, framing: Framing, parcel: &Data<'_>, frame_bytes_max: usize) {
    match framing {
        Framing::Plain if parcel.end && parcel.payload.is_empty() => {}
        Framing::Plain => {
            let opcode = if parcel.text { Opcode::Text } else { Opcode::Binary };
            encode_frame(out, opcode, parcel.payload);
        }
        Framing::Binary | Framing::Stream | Framing::Json => {
            encode_pieces(out, framing, parcel, frame_bytes_max);
        }
        // Members of rooms get no messages of pairs.
        Framing::Room | Framing::Private => {}
    }
}

/// One message of a pair, as its receiver knows the pair.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Data<'a> {
    pub(crate) seat: u64,
    pub(crate) text: bool,
    pub(crate) end: bool,
    pub(crate) payload: &'a [u8],
}

fn encode_pieces(out: &mut Vec<u8>, framing: Framing, data: &Data<'_>, frame_bytes_max: usize) {
    each_piece(data, frame_bytes_max, |head, piece| {
        let length = HEAD_BYTES + piece.len();
        match framing {
            Framing::Binary => out.extend_from_slice(&encode_head(Opcode::Binary, length, None)),
            // A piece is no longer than a frame may be, far below 4 GiB.
            Framing::Stream => {
                out.extend_from_slice(&u32::try_from(length).unwrap_or(u32::MAX).to_le_bytes());
            }
            Framing::Json => return encode_frame(out, Opcode::Text, &mirror(head, piece)),
            Framing::Plain | Framing::Room | Framing::Private => return,
        }
        head.write(out);
        out.extend_from_slice(piece);
    });
}

/// Cuts a message of a pair into frames, or their translations, each no longer than a frame may be, for a peer whose
/// messages are compressed.
pub(crate) fn each_message(
    dialect: Framing,
    data: &Data<'_>,
    frame_bytes_max: usize,
    mut on_message: impl FnMut(&[u8]),
) {
    each_piece(data, frame_bytes_max, |head, piece| {
        if dialect == Framing::Json {
            on_message(&mirror(head, piece))
        } else {
            on_message(&whole(head, piece))
        }
    });
}

fn each_piece(data: &Data<'_>, frame_bytes_max: usize, mut on_piece: impl FnMut(Head, &[u8])) {
    let piece_max = frame_bytes_max.saturating_sub(HEAD_BYTES).max(4);
    let mut rest = data.payload;
    loop {
        let (piece, tail) = rest.split_at(piece_end(rest, piece_max, data.text));
        let more = !tail.is_empty();
        let flags = Flags::NONE
            .with_if(data.text, Flags::TEXT)
            .with_if(more, Flags::MORE)
            .with_if(data.end && !more, Flags::END);
        on_piece(Head::new(Kind::Data, data.seat).with(flags), piece);
        if !more {
            return;
        }
        rest = tail;
    }
}

fn whole(head: Head, piece: &[u8]) -> Vec<u8> {
    let mut whole = Vec::with_capacity(HEAD_BYTES + piece.len());
    head.write(&mut whole);
    whole.extend_from_slice(piece);
    whole
}

fn mirror(head: Head, piece: &[u8]) -> Vec<u8> {
    let mut text = Vec::with_capacity(2 * (HEAD_BYTES + piece.len()));
    translate(&mut text, &whole(head, piece));
    text
}

/// Where to cut: a text is cut between characters, so that every piece is valid UTF-8.
fn piece_end(rest: &[u8], max: usize, text: bool) -> usize {
    if rest.len() <= max {
        return rest.len();
    }
    let is_boundary = |end: &usize| !text || rest[*end] & 0xc0 != 0x80;
    (max.saturating_sub(3)..=max).rev().find(is_boundary).unwrap_or(max)
}

#[cfg(test)]
mod tests {
    use bytes::Bytes;

    use super::*;

    fn text(payload: &[u8]) -> Data<'_> {
        Data { seat: 7, text: true, end: false, payload }
    }

    #[test]
    fn a_plain_peer_gets_a_websocket_message() {
        let mut out = Vec::new();
        encode_data(&mut out, Framing::Plain, &text(b"hi"), 1024);
        assert_eq!(out, b"\x81\x02hi");
    }

    #[test]
    fn a_plain_peer_is_told_nothing_of_an_end_of_input() {
        let mut out = Vec::new();
        encode_data(&mut out, Framing::Plain, &Data { end: true, payload: b"", ..text(b"") }, 1024);
        assert!(out.is_empty());
    }

    #[test]
    fn a_long_text_is_cut_between_characters_and_all_but_the_last_piece_say_more() {
        let mut out = Vec::new();
        encode_data(&mut out, Framing::Stream, &text("aé".repeat(3).as_bytes()), HEAD_BYTES + 5);
        // length | kind flags | id 7 | piece
        let pieces: Vec<(u8, &[u8])> = vec![(4 | 32, "aéa".as_bytes()), (4, "éaé".as_bytes())];
        let mut expected = Vec::new();
        for (flags, piece) in pieces {
            expected.extend_from_slice(&(16 + piece.len() as u32).to_le_bytes());
            Head::new(Kind::Data, 7).with(Flags::from_bits(flags)).write(&mut expected);
            expected.extend_from_slice(piece);
        }
        assert_eq!(out, expected);
    }

    #[test]
    fn a_payload_that_lies_apart_looks_the_same_to_every_peer() {
        let payload = Bytes::from(vec![b'x'; 40_000]);
        let apart = Packet::piece(Flags::END, payload.clone());
        let copied = Packet::forward(Kind::Data, Flags::END, None, &[], &payload);
        assert!(!apart.apart().is_empty() && copied.apart().is_empty());
        for framing in [Framing::Stream, Framing::Binary, Framing::Json, Framing::Room, Framing::Plain] {
            let (mut expected, mut encoded, mut said) = (Vec::new(), Vec::new(), Outgoing::new());
            encode_packet(&mut expected, framing, 7, &copied);
            encode_packet(&mut encoded, framing, 7, &apart);
            say_packet(&mut said, framing, 7, &apart);
            assert!(encoded == expected, "{framing:?}");
            assert!(said.rest(0).collect::<Vec<_>>().concat() == expected, "{framing:?}");
        }
        for dialect in [Framing::Binary, Framing::Json] {
            let (mut expected, mut encoded) = (Vec::new(), Vec::new());
            encode_message(&mut expected, dialect, 7, &copied);
            encode_message(&mut encoded, dialect, 7, &apart);
            assert!(encoded == expected, "{dialect:?}");
        }
    }
}
