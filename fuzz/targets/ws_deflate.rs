//! Any bytes as a compressed message: never a panic, never more than the limit; and what is deflated is inflated.

#![no_main]

use libfuzzer_sys::fuzz_target;
use whub_ws::{
    Decoder, Event, Head, Limits, Opcode, Role, Violation,
    deflate::{Deflater, Inflater},
    encode_frame,
};

const LIMITS: Limits = Limits { message_bytes: 100_000, frame_bytes: 1 << 20 };
const COMPRESSED: Head = Head { opcode: Opcode::Binary, fin: true, compressed: true };

/// The messages in `bytes`, which come `chunk` bytes at a time.
fn messages(decoder: &mut Decoder, bytes: &[u8], chunk: usize) -> Result<Vec<Vec<u8>>, Violation> {
    let mut all = Vec::new();
    for piece in bytes.chunks(chunk) {
        let mut piece = piece.to_vec();
        let mut batch = decoder.decode(&mut piece);
        while let Some(event) = batch.next()? {
            let Event::Message { payload, .. } = event else { continue };
            assert!(payload.len() <= LIMITS.message_bytes);
            all.push(payload.into_vec());
        }
    }
    Ok(all)
}

// The first byte chooses the window, whether context is kept, and how the bytes are cut.
fuzz_target!(|data: &[u8]| {
    let Some((choice, bytes)) = data.split_first() else { return };
    let (keeps_context, window_bits, chunk) =
        (choice & 1 == 1, 9 + (choice >> 1) % 7, usize::from(choice >> 4) * 7 + 1);
    let decoder = || Decoder::with_deflate(Role::Client, LIMITS, Inflater::new(keeps_context));

    // As what a peer might send, twice: the second message meets what the first has left behind.
    let mut wire = Vec::new();
    encode_frame(&mut wire, COMPRESSED, bytes);
    encode_frame(&mut wire, COMPRESSED, bytes);
    let cut = messages(&mut decoder(), &wire, chunk);
    let whole = messages(&mut decoder(), &wire, wire.len());
    assert_eq!(cut, whole);

    // As what this side might send.
    let mut deflater = Deflater::new(window_bits, keeps_context);
    let mut wire = Vec::new();
    for _ in 0..2 {
        match deflater.compress(bytes) {
            Some(small) => encode_frame(&mut wire, COMPRESSED, &small),
            None => encode_frame(&mut wire, Opcode::Binary, bytes),
        }
    }
    if bytes.len() <= LIMITS.message_bytes {
        assert_eq!(messages(&mut decoder(), &wire, chunk), Ok(vec![bytes.to_vec(); 2]));
    }
});
