//! However a conversation is cut into reads, it says the same; and damaged bytes never do harm.

mod common;

use common::{Said, feed, feed_by_space, masked, part};
use proptest::prelude::*;
use whub_ws::{Decoder, Limits, Opcode, Role, Walk, encode_close, encode_either};

/// One thing to say, in one or more frames.
#[derive(Clone, Debug)]
enum Say {
    Text(String, usize),
    Binary(Vec<u8>, usize),
    Ping(Vec<u8>),
    Pong(Vec<u8>),
}

fn say() -> impl Strategy<Value = Say> {
    let bytes = |most| proptest::collection::vec(any::<u8>(), 0..most);
    prop_oneof![
        (".{0,150}", 1..4_usize).prop_map(|(text, frames)| Say::Text(text, frames)),
        (bytes(400), 1..4_usize).prop_map(|(bytes, frames)| Say::Binary(bytes, frames)),
        bytes(126).prop_map(Say::Ping),
        bytes(126).prop_map(Say::Pong),
    ]
}

/// The conversation as bytes, and as what should be heard.
fn encode(conversation: &[Say], role: Role, key: [u8; 4]) -> (Vec<u8>, Vec<Said>) {
    let key = matches!(role, Role::Client).then_some(key);
    let mut out = Vec::new();
    let mut heard = Vec::new();
    for item in conversation {
        match item {
            Say::Text(text, frames) => {
                fragments(&mut out, Opcode::Text, text.as_bytes(), *frames, key);
                heard.push(Said::Text(text.clone()));
            }
            Say::Binary(bytes, frames) => {
                fragments(&mut out, Opcode::Binary, bytes, *frames, key);
                heard.push(Said::Binary(bytes.clone()));
            }
            Say::Ping(bytes) => {
                encode_either(&mut out, Opcode::Ping, bytes, key);
                heard.push(Said::Ping(bytes.clone()));
            }
            Say::Pong(bytes) => {
                encode_either(&mut out, Opcode::Pong, bytes, key);
                heard.push(Said::Pong(bytes.clone()));
            }
        }
    }
    encode_close(&mut out, whub_ws::CloseCode::GOING_AWAY, "so long", key);
    heard.push(Said::Close(Some((whub_ws::CloseCode::GOING_AWAY, "so long".to_owned()))));
    (out, heard)
}

fn fragments(out: &mut Vec<u8>, opcode: Opcode, payload: &[u8], frames: usize, key: Option<[u8; 4]>) {
    let size = payload.len() / frames;
    for frame in 0..frames {
        let last = frame + 1 == frames;
        let end = if last { payload.len() } else { (frame + 1) * size };
        let opcode = if frame == 0 { opcode } else { Opcode::Continuation };
        encode_either(out, part(opcode, last), &payload[frame * size..end], key);
    }
}

const fn listener(speaker: Role) -> Role {
    match speaker {
        Role::Server => Role::Client,
        Role::Client => Role::Server,
    }
}

fn cut<'b>(mut bytes: &'b [u8], sizes: &[usize]) -> Vec<&'b [u8]> {
    let mut pieces = Vec::new();
    let mut sizes = sizes.iter().cycle();
    while !bytes.is_empty() {
        let size = sizes.next().map_or(bytes.len(), |size| (*size).min(bytes.len()));
        let (front, rest) = bytes.split_at(size);
        pieces.push(front);
        bytes = rest;
    }
    pieces
}

proptest! {
    #[test]
    fn both_roles_hear_what_was_said_however_it_is_cut(
        conversation in proptest::collection::vec(say(), 0..8),
        speaks_server in any::<bool>(),
        key in any::<[u8; 4]>(),
        sizes in proptest::collection::vec(1..200_usize, 1..6),
    ) {
        let speaker = if speaks_server { Role::Server } else { Role::Client };
        let (bytes, heard) = encode(&conversation, speaker, key);
        let decoder = || Decoder::new(listener(speaker), Limits::default());
        prop_assert_eq!(&feed(&mut decoder(), [&bytes[..]]), &heard);
        prop_assert_eq!(&feed(&mut decoder(), cut(&bytes, &sizes)), &heard);
        prop_assert_eq!(&feed(&mut decoder(), cut(&bytes, &[1])), &heard);
    }

    #[test]
    fn damaged_bytes_say_the_same_however_they_are_cut(
        conversation in proptest::collection::vec(say(), 1..6),
        damage in proptest::collection::vec((any::<prop::sample::Index>(), any::<u8>()), 1..5),
        sizes in proptest::collection::vec(1..60_usize, 1..6),
    ) {
        let (mut bytes, _) = encode(&conversation, Role::Client, [1, 2, 3, 4]);
        for (place, value) in &damage {
            let place = place.index(bytes.len());
            bytes[place] = *value;
        }
        let limits = Limits { message_bytes: 700, frame_bytes: 500 };
        let decoder = || Decoder::new(Role::Server, limits);
        let at_once = feed(&mut decoder(), [&bytes[..]]);
        prop_assert_eq!(&feed(&mut decoder(), cut(&bytes, &sizes)), &at_once);
        let wrong = at_once.iter().position(|said| matches!(said, Said::Wrong(_)));
        prop_assert!(wrong.is_none_or(|index| index + 1 == at_once.len()), "nothing follows a violation");
    }

    #[test]
    fn reading_in_place_says_the_same(size in 60_000..400_000_usize, chunk in 1_000..200_000_usize) {
        let payload: Vec<u8> = (0..size).map(|i| (i * 7 % 253) as u8).collect();
        let mut bytes = masked(Opcode::Ping, b"first");
        bytes.extend(masked(part(Opcode::Binary, false), &payload));
        bytes.extend(masked(Opcode::Continuation, &payload[..size / 2]));
        let expected = [Said::Ping(b"first".to_vec()), Said::Binary([&payload[..], &payload[..size / 2]].concat())];
        let mut decoder = Decoder::new(Role::Server, Limits::default());
        prop_assert_eq!(feed_by_space(&mut decoder, &bytes, chunk), expected);
    }
}

#[test]
fn every_cut_of_a_conversation_in_two() {
    let conversation = [
        Say::Text("κόσμε".to_owned(), 2),
        Say::Binary(vec![3; 130], 1),
        Say::Ping(b"between".to_vec()),
        Say::Text(String::new(), 1),
        Say::Binary(vec![4; 300], 3),
    ];
    let (bytes, heard) = encode(&conversation, Role::Client, [9, 8, 7, 6]);
    for at in 0..=bytes.len() {
        let mut decoder = Decoder::new(Role::Server, Limits::default());
        assert_eq!(feed(&mut decoder, [&bytes[..at], &bytes[at..]]), heard, "cut at {at}");
    }
}

proptest! {
    #[test]
    fn whoever_only_walks_along_counts_what_the_decoder_hears(
        conversation in proptest::collection::vec(say(), 0..8),
        from_client: bool,
        key: [u8; 4],
        cuts in proptest::collection::vec(1..200_usize, 1..60),
    ) {
        let speaker = if from_client { Role::Client } else { Role::Server };
        let (bytes, heard) = encode(&conversation, speaker, key);
        let mut decoder = Decoder::new(listener(speaker), Limits::default());
        let (mut walk, mut said, mut rest) = (Walk::default(), Vec::new(), bytes.as_slice());
        for cut in cuts.into_iter().cycle() {
            if rest.is_empty() {
                break;
            }
            let (piece, after) = rest.split_at(cut.min(rest.len()));
            rest = after;
            walk.pass(piece);
            said.extend(feed(&mut decoder, [piece]));
            let messages = said.iter().filter(|said| matches!(said, Said::Text(_) | Said::Binary(_))).count();
            // A message counts from the head of its last frame on; within a frame the decoder may be behind by one.
            let ahead = walk.messages() - messages as u64;
            prop_assert!(ahead <= u64::from(!walk.is_between_frames()), "{} ahead", ahead);
            prop_assert_eq!(walk.has_closed(), said.iter().any(|said| matches!(said, Said::Close(_))));
        }
        prop_assert!(walk.is_between_frames() && walk.has_closed());
        prop_assert_eq!(said, heard);
    }

    #[test]
    fn nothing_makes_a_walk_stumble(bytes in proptest::collection::vec(any::<u8>(), 0..400), cut in 1..50_usize) {
        let (mut whole, mut chopped) = (Walk::default(), Walk::default());
        whole.pass(&bytes);
        bytes.chunks(cut).for_each(|piece| chopped.pass(piece));
        prop_assert_eq!(whole.messages(), chopped.messages());
        prop_assert_eq!(whole.has_closed(), chopped.has_closed());
        prop_assert_eq!(whole.is_between_frames(), chopped.is_between_frames());
    }
}
