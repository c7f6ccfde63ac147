//! Frames as dialogues of bytes: what is written reads back, what is forged or damaged is refused.

use whub_proto::{
    Body, Code, Credit, Data, EnvelopeError, Flags, Format, Frame, FrameError, Head, Headers, Kind, NodeInfo,
    Nodes, Origin, Publish, Request, Strings, Success, TooLarge, Via, Welcome, Writer, write_raw,
};

const MAX: usize = 1 << 20;

fn write(head: Head, via: Option<&Via<'_>>, body: &Body<'_>, payload: &[u8]) -> Vec<u8> {
    let mut out = Vec::new();
    Writer::new().frame(&mut out, head, via, body, payload).expect("it fits");
    out
}

fn head(id: u64) -> Head {
    Head { id, ..Head::default() }
}

fn refusal(bytes: &[u8], origin: Origin) -> FrameError {
    Frame::parse(bytes, MAX, origin).expect_err("it is refused")
}

#[test]
fn a_request_reads_back() {
    let request = Request {
        path: "/billing/total",
        timeout_ms: 5000,
        format: Format::Json,
        headers: Headers::new(&[("x-tenant", "acme"), ("x-empty", "")]),
        ..Request::default()
    };
    let bytes = write(head(7).with(Flags::END), None, &Body::Request(request), b"{}");
    let frame = Frame::parse(&bytes, MAX, Origin::Client).unwrap();
    assert_eq!(frame.head.kind, Kind::Request);
    assert_eq!((frame.head.id, frame.head.flags), (7, Flags::END));
    assert_eq!(frame.body, Body::Request(request));
    assert_eq!(frame.payload, b"{}");
    assert_eq!(frame.via, None);
    assert_eq!(frame.envelope.len() % 8, 0, "writers pad to a multiple of 8");
}

#[test]
fn what_hubs_say_reads_back_from_hubs_only() {
    let via = Via { client: "c1", offset: 9, ..Via::default() };
    let body = Body::Message(Publish { channel: "news/eu", ..Publish::default() });
    let bytes = write(head(0), Some(&via), &body, b"hi");
    let frame = Frame::parse(&bytes, MAX, Origin::Hub).unwrap();
    assert_eq!((frame.via, frame.body, frame.payload), (Some(via), body, &b"hi"[..]));
    assert_eq!(refusal(&bytes, Origin::Client), FrameError::ForgedVia);
}

#[test]
fn nested_tables_and_lists_read_back() {
    let nodes = [
        NodeInfo { id: "n1", url: "ws://a", ..NodeInfo::default() },
        NodeInfo { id: "n2", url: "ws://b", load: 7, ..NodeInfo::default() },
    ];
    let body = Body::Welcome(Welcome {
        client: "c1",
        features: Strings::new(&["credit", "gap"]),
        nodes: Nodes::new(&nodes),
        ..Welcome::default()
    });
    let bytes = write(head(0), None, &body, b"");
    assert_eq!(Frame::parse(&bytes, MAX, Origin::Hub).unwrap().body, body);
}

#[test]
fn bodies_of_defaults_have_no_envelope() {
    for body in [Body::Data(Data::default()), Body::Ok(Success::default()), Body::Ping, Body::Pong] {
        let bytes = write(head(3), None, &body, b"abc");
        assert_eq!(bytes.len(), 16 + 3);
        assert_eq!(Frame::parse(&bytes, MAX, Origin::Client).unwrap().body, body);
    }
}

#[test]
fn required_fields_are_written_even_if_empty() {
    let body = Body::Request(Request::default());
    let bytes = write(head(1), None, &body, b"");
    assert_eq!(Frame::parse(&bytes, MAX, Origin::Client).unwrap().body, body);
}

#[test]
fn forwarding_keeps_the_envelope_byte_for_byte() {
    let body = Body::Publish(Publish { channel: "a", key: "k", ..Publish::default() });
    let bytes = write(head(5).with(Flags::ACK), None, &body, b"payload");
    let frame = Frame::parse(&bytes, MAX, Origin::Client).unwrap();
    let mut writer = Writer::new();
    let via = writer.via(&Via { client: "c1", ..Via::default() }).unwrap();
    let mut forwarded = Vec::new();
    write_raw(&mut forwarded, Head::new(Kind::Message, 0), via, frame.envelope, frame.payload).unwrap();
    let message = Frame::parse(&forwarded, MAX, Origin::Hub).unwrap();
    assert_eq!(message.envelope, frame.envelope);
    assert_eq!(message.body, Body::Message(Publish { channel: "a", key: "k", ..Publish::default() }));
}

#[test]
fn kinds_of_later_versions_stay_readable() {
    let mut bytes = Vec::new();
    write_raw(&mut bytes, Head::new(Kind::from(44), 9), b"", b"no table", b"rest").unwrap();
    let frame = Frame::parse(&bytes, MAX, Origin::Client).unwrap();
    assert_eq!((frame.body, frame.head.kind), (Body::Unknown(44), Kind::Unknown(44)));
    assert_eq!((frame.envelope, frame.payload), (&b"no table"[..], &b"rest"[..]));
}

#[test]
fn heads_are_checked() {
    let plain = Head::new(Kind::Ping, 1).to_bytes();
    let with = |change: fn(&mut Head)| {
        let mut head = Head::new(Kind::Ping, 1);
        change(&mut head);
        head.to_bytes()
    };
    assert!(Frame::parse(&plain, MAX, Origin::Client).is_ok());
    assert_eq!(refusal(&plain[..15], Origin::Client), FrameError::Short { len: 15 });
    assert_eq!(refusal(&with(|head| head.env_len = 1), Origin::Client), FrameError::Lengths);
    assert_eq!(refusal(&with(|head| head.via_len = 1), Origin::Hub), FrameError::Lengths);
    assert_eq!(refusal(&with(|head| head.kind = Kind::None), Origin::Client), FrameError::NoKind);
    assert_eq!(refusal(&with(|head| head.id = 1 << 53), Origin::Client), FrameError::Id(1 << 53));
    assert_eq!(refusal(&with(|head| head.hops = 1), Origin::Client), FrameError::ForgedHops);
    let link = with(|head| head.kind = Kind::NodePeers);
    assert_eq!(refusal(&link, Origin::Client), FrameError::LinkKind(Kind::NodePeers));
    let large = Frame::parse(&plain, 15, Origin::Client).unwrap_err();
    assert_eq!((large.code(), large), (Code::TooLarge, FrameError::TooLarge { len: 16, max: 15 }));
}

#[test]
fn envelopes_are_checked() {
    let parse = |kind, envelope: &[u8]| {
        let mut bytes = Vec::new();
        write_raw(&mut bytes, Head::new(kind, 1), b"", envelope, b"").unwrap();
        match Frame::parse(&bytes, MAX, Origin::Client) {
            Err(FrameError::Envelope { kind: named, error }) if named == kind => error,
            other => panic!("{other:?}"),
        }
    };
    assert_eq!(parse(Kind::Request, b""), EnvelopeError::Missing);
    assert_eq!(parse(Kind::Ping, b"12345678"), EnvelopeError::Unexpected);
    assert!(matches!(parse(Kind::Request, b"12345678"), EnvelopeError::Malformed(_)));
    let mut writer = Writer::new();
    let no_channel = writer.envelope(&Body::Credit(Credit { bytes: 5 })).unwrap();
    assert!(matches!(parse(Kind::Publish, no_channel), EnvelopeError::Malformed(_)));
}

#[test]
fn headers_are_pairs_and_not_too_many() {
    let pairs = [("k", "v"); whub_proto::HEADER_PAIRS_MAX + 1];
    let body = Body::Publish(Publish { channel: "a", headers: Headers::new(&pairs), ..Publish::default() });
    let mut out = b"before".to_vec();
    assert_eq!(Writer::new().frame(&mut out, head(0), None, &body, b""), Err(TooLarge::Headers));
    assert_eq!(out, b"before", "nothing is left behind");
}

#[test]
fn a_large_envelope_is_refused_by_the_writer() {
    let path = "a".repeat(70_000);
    let body = Body::Request(Request { path: &path, ..Request::default() });
    assert_eq!(Writer::new().envelope(&body), Err(TooLarge::Envelope));
}
