//! PROXY protocol v2, byte by byte, then damaged.

use std::time::Duration;

use proptest::prelude::*;
use whub_transport::proxy::{
    HEADER_BYTES_MAX, Parsed, ProxyError, ProxySource, SIGNATURE, parse, read_header,
};

/// A header with this command, family and body.
fn header(command: u8, family: u8, body: &[u8]) -> Vec<u8> {
    let length = u16::try_from(body.len()).expect("short").to_be_bytes();
    [&SIGNATURE[..], &[command, family], &length, body].concat()
}

/// 192.0.2.7:4660 → 198.51.100.1:443.
const TCP4: [u8; 12] = [192, 0, 2, 7, 198, 51, 100, 1, 0x12, 0x34, 0x01, 0xBB];

fn tcp6() -> Vec<u8> {
    let mut body = vec![0x20, 0x01, 0x0D, 0xB8];
    body.extend([0; 11]);
    body.push(0x07); // 2001:db8::7
    body.extend([0; 15]);
    body.push(0x01); // ::1
    body.extend([0x12, 0x34, 0x01, 0xBB]);
    body
}

fn client(at: &str) -> ProxySource {
    ProxySource::Client(at.parse().expect("an address"))
}

#[test]
fn the_signature_is_that_of_the_specification() {
    assert_eq!(SIGNATURE, [0x0D, 0x0A, 0x0D, 0x0A, 0x00, 0x0D, 0x0A, 0x51, 0x55, 0x49, 0x54, 0x0A]);
}

#[test]
fn headers_and_whom_they_name() {
    let with_fields = [&TCP4[..], &[0x03, 0x00, 0x04, 1, 2, 3, 4]].concat();
    for (bytes, source) in [
        (header(0x21, 0x11, &TCP4), client("192.0.2.7:4660")),
        (header(0x21, 0x11, &with_fields), client("192.0.2.7:4660")),
        (header(0x21, 0x21, &tcp6()), client("[2001:db8::7]:4660")),
        (header(0x21, 0x31, &[b'/'; 216]), ProxySource::Itself),
        (header(0x21, 0x00, &[]), ProxySource::Itself),
        (header(0x20, 0x00, &[]), ProxySource::Itself),
        (header(0x20, 0x11, &TCP4), ProxySource::Itself),
    ] {
        assert_eq!(parse(&bytes).expect("valid"), Parsed::Done { source, length: bytes.len() });
        for cut in 0..bytes.len() {
            let Parsed::More(wanted) = parse(&bytes[..cut]).expect("so far valid") else {
                panic!("incomplete")
            };
            assert!(wanted > cut && wanted <= bytes.len());
        }
        let more = [&bytes[..], b"GET / HTTP/1.1\r\n"].concat();
        assert_eq!(parse(&more).expect("valid"), Parsed::Done { source, length: bytes.len() });
    }
}

#[test]
fn headers_that_are_not_believed() {
    let wrong = |bytes: &[u8]| parse(bytes).expect_err("not valid");
    assert!(matches!(wrong(b"\r\nGET / HTTP/1.1"), ProxyError::Signature));
    assert!(matches!(wrong(b"PROXY TCP4 1.2.3.4 5.6.7.8 1 2\r\n"), ProxyError::Signature));
    assert!(matches!(wrong(&header(0x11, 0x11, &TCP4)), ProxyError::Command(0x11)));
    assert!(matches!(wrong(&header(0x22, 0x11, &TCP4)), ProxyError::Command(0x22)));
    assert!(matches!(wrong(&header(0x21, 0x12, &TCP4)), ProxyError::Family(0x12)));
    assert!(matches!(wrong(&header(0x21, 0x11, &TCP4[..11])), ProxyError::TooShort));
    assert!(matches!(wrong(&header(0x21, 0x21, &tcp6()[..35])), ProxyError::TooShort));
    assert!(matches!(wrong(&header(0x21, 0x31, &[0; 215])), ProxyError::TooShort));
    let long = header(0x21, 0x11, &[0; HEADER_BYTES_MAX]);
    assert!(matches!(wrong(&long[..16]), ProxyError::TooLong(_)), "refused before it is read");
}

#[tokio::test]
async fn exactly_the_header_is_read() {
    let bytes = [&header(0x21, 0x11, &TCP4)[..], b"\x16\x03"].concat();
    let mut rest = &bytes[..];
    let source = read_header(&mut rest, Duration::from_secs(1)).await.expect("valid");
    assert_eq!(source, client("192.0.2.7:4660"));
    assert_eq!(rest, b"\x16\x03");
}

#[tokio::test]
async fn a_header_that_ends_early_is_lost() {
    let bytes = header(0x21, 0x11, &TCP4);
    let error = read_header(&mut &bytes[..20], Duration::from_secs(1)).await.expect_err("incomplete");
    assert!(matches!(error, ProxyError::Lost(_)), "{error}");
}

#[tokio::test(start_paused = true)]
async fn half_a_header_waits_only_so_long() {
    let (mut ours, mut theirs) = tokio::io::duplex(64);
    tokio::io::AsyncWriteExt::write_all(&mut theirs, &SIGNATURE).await.expect("room");
    let error = read_header(&mut ours, Duration::from_secs(5)).await.expect_err("never finished");
    assert!(matches!(error, ProxyError::Late), "{error}");
}

proptest! {
    #[test]
    fn damaged_headers_give_a_result(
        v6 in any::<bool>(),
        damage in prop::collection::vec((any::<prop::sample::Index>(), any::<u8>()), 0..4),
        cut in any::<prop::sample::Index>(),
    ) {
        let mut bytes = if v6 { header(0x21, 0x21, &tcp6()) } else { header(0x21, 0x11, &TCP4) };
        for (at, byte) in damage {
            let at = at.index(bytes.len());
            bytes[at] = byte;
        }
        check(&bytes);
        check(&bytes[..cut.index(bytes.len())]);
    }

    #[test]
    fn anything_behind_the_signature_gives_a_result(tail in prop::collection::vec(any::<u8>(), 0..300)) {
        check(&[&SIGNATURE[..], &tail].concat());
    }
}

/// Whatever the bytes: no panic, and a verdict that fits them.
fn check(bytes: &[u8]) {
    match parse(bytes) {
        Ok(Parsed::Done { length, .. }) => assert!(length <= bytes.len() && length <= HEADER_BYTES_MAX),
        Ok(Parsed::More(wanted)) => assert!(wanted > bytes.len() && wanted <= HEADER_BYTES_MAX),
        Err(_) => {}
    }
}
