//! The JSON mirror as a dialogue: this text, exactly these bytes, exactly this complaint.

use whub_proto::{
    Body, Code, Data, Flags, Format, Frame, FrameError, Head, Headers, Kind, Origin, Publish, Request,
    Response, Via, Writer, json,
};

fn decode(text: &str) -> Vec<u8> {
    let mut bytes = Vec::new();
    json::Decoder::new().decode(text, &mut bytes).expect(text);
    bytes
}

fn parse(bytes: &[u8]) -> Frame<'_> {
    Frame::parse(bytes, 1 << 20, Origin::Hub).expect("a decoded frame is sound")
}

fn encode(head: Head, via: Option<&Via<'_>>, body: Body<'_>, payload: &[u8]) -> String {
    let mut bytes = Vec::new();
    Writer::new().frame(&mut bytes, head, via, &body, payload).expect("it fits");
    let mut text = Vec::new();
    json::encode(&parse(&bytes), &mut text);
    String::from_utf8(text).expect("JSON is UTF-8")
}

fn complaint(text: &str) -> (Code, u64, String) {
    let mut bytes = b"before".to_vec();
    let error = json::Decoder::new().decode(text, &mut bytes).expect_err(text);
    assert_eq!(bytes, b"before", "nothing is left behind");
    (error.code(), error.id(), error.to_string())
}

#[test]
fn a_request_is_translated() {
    let bytes = decode(
        r#"{"kind":"request","id":7,"path":"/billing/total","timeout_ms":5000,
            "headers":{"X-Tenant":"acme","accept":["a","b"]},"end":true,"data":{"n": 1.50, "n":1e400},"later":[1]}"#,
    );
    let frame = parse(&bytes);
    let expected = Request {
        path: "/billing/total",
        timeout_ms: 5000,
        format: Format::Json,
        headers: Headers::new(&[("x-tenant", "acme"), ("accept", "a"), ("accept", "b")]),
        ..Request::default()
    };
    assert_eq!((frame.head.id, frame.head.flags), (7, Flags::END));
    assert_eq!(frame.body, Body::Request(expected));
    assert_eq!(frame.payload, br#"{"n": 1.50, "n":1e400}"#, "`data` is passed on byte for byte");
}

#[test]
fn a_message_is_translated() {
    let via = Via { client: "c1", offset: 1 << 53, time_ms: 5, ..Via::default() };
    let publish = Publish { channel: "news/eu", format: Format::Json, ..Publish::default() };
    let text = encode(
        Head::default().with(Flags::REPLAY),
        Some(&via),
        Body::Message(publish),
        r#"[1, "ü"]"#.as_bytes(),
    );
    assert_eq!(
        text,
        r#"{"kind":"message","replay":true,"channel":"news/eu","format":"json","#.to_owned()
            + r#""via":{"client":"c1","time_ms":5,"offset":"9007199254740992"},"data":[1, "ü"]}"#
    );
}

#[test]
fn payloads_take_the_most_readable_form_that_keeps_every_byte() {
    let data = |flags, payload: &[u8]| {
        encode(Head::default().with(flags), None, Body::Data(Data::default()), payload)
    };
    assert_eq!(data(Flags::NONE, b""), r#"{"kind":"data"}"#);
    assert_eq!(data(Flags::TEXT, b""), r#"{"kind":"data","text":""}"#);
    assert_eq!(data(Flags::TEXT | Flags::MORE, b"a\"b"), r#"{"kind":"data","more":true,"text":"a\"b"}"#);
    assert_eq!(data(Flags::TEXT, b"\xff"), r#"{"kind":"data","b64":"/w=="}"#);
    assert_eq!(data(Flags::NONE, b"text"), r#"{"kind":"data","b64":"dGV4dA=="}"#);
    let compressed = r#"{"kind":"data","compressed":true,"b64":"dGV4dA=="}"#;
    assert_eq!(data(Flags::TEXT | Flags::COMPRESSED, b"text"), compressed);

    let response = |format, payload: &[u8]| {
        encode(Head::default(), None, Body::Response(Response { format, ..Response::default() }), payload)
    };
    assert_eq!(response(Format::Text, b"hi"), r#"{"kind":"response","format":"text","text":"hi"}"#);
    assert_eq!(response(Format::Json, b"null"), r#"{"kind":"response","format":"json","data":null}"#);
    assert_eq!(response(Format::Json, b"{"), r#"{"kind":"response","format":"json","b64":"ew=="}"#);
    let spaced = r#"{"kind":"response","format":"json","b64":"IDEK"}"#;
    assert_eq!(response(Format::Json, b" 1\n"), spaced, "`data` would lose the space around it");
    assert_eq!(response(Format::Cbor, b"hi"), r#"{"kind":"response","format":"cbor","b64":"aGk="}"#);
}

#[test]
fn payloads_say_what_they_are() {
    let bytes = decode(r#"{"kind":"data","id":3,"data":null}"#);
    let frame = parse(&bytes);
    assert_eq!((frame.payload, frame.head.flags), (&b"null"[..], Flags::TEXT), "there is no format to set");
    let bytes = decode(r#"{"kind":"publish","channel":"a","data":1}"#);
    let Body::Publish(publish) = parse(&bytes).body else { panic!("a publish") };
    assert_eq!(publish.format, Format::Json);
    let bytes = decode(r#"{"kind":"publish","channel":"a","text":"\u0000\n"}"#);
    assert_eq!((parse(&bytes).payload, parse(&bytes).head.flags), (&b"\0\n"[..], Flags::TEXT));
    let bytes = decode(r#"{"kind":"publish","channel":"a","b64":"/w==","text":null}"#);
    assert_eq!((parse(&bytes).payload, parse(&bytes).head.flags), (&b"\xff"[..], Flags::NONE));
}

#[test]
fn numbers_and_names_of_later_versions_pass() {
    let bytes = decode(r#"{"kind":"error","code":460,"retry_ms":1}"#);
    let Body::Error(failure) = parse(&bytes).body else { panic!("an error") };
    assert_eq!(failure.code, Code::Unknown(460));
    let text = encode(Head::default(), None, Body::Error(failure), b"");
    assert_eq!(text, r#"{"kind":"error","code":460,"retry_ms":1}"#);
    let bytes = decode(r#"{"kind":99,"id":"5"}"#);
    assert_eq!((parse(&bytes).head.kind, parse(&bytes).head.id), (Kind::Unknown(99), 5));
}

#[test]
fn complaints_name_the_field_and_the_frame() {
    let id = r#"{"id":9,"kind":"request","path":"/a""#;
    for (text, code, at, words) in [
        ("[]".into(), Code::ProtocolError, 0, "not a JSON object"),
        ("{\"kind\":\"ping\"} x".into(), Code::ProtocolError, 0, "not a JSON object"),
        (
            format!("{id},\"timeout_ms\":-1}}"),
            Code::BadRequest,
            9,
            "field `timeout_ms`: expected a whole number",
        ),
        (format!("{id},\"timeout_ms\":4294967296}}"), Code::BadRequest, 9, "field `timeout_ms`"),
        (format!("{id},\"timeout_ms\":1,\"timeout_ms\":1}}"), Code::BadRequest, 9, "is given twice"),
        (format!("{id},\"method\":5}}"), Code::BadRequest, 9, "field `method`: expected a text"),
        (format!("{id},\"format\":\"yaml\"}}"), Code::BadRequest, 9, "field `format`: expected a format"),
        (
            format!("{id},\"headers\":{{\"x\":[1]}}}}"),
            Code::BadRequest,
            9,
            "field `headers.x[0]`: expected a text",
        ),
        (format!("{id},\"end\":1}}"), Code::BadRequest, 9, "field `end`: expected true or false"),
        (format!("{id},\"data\":1,\"text\":\"\"}}"), Code::BadRequest, 9, "give only one of"),
        (format!("{id},\"format\":\"cbor\",\"data\":1}}"), Code::BadRequest, 9, "field `data`: needs format"),
        (format!("{id},\"b64\":\"a\"}}"), Code::BadRequest, 9, "field `b64`: expected padded base64"),
        (r#"{"id":9}"#.into(), Code::BadRequest, 9, "field `kind`: is missing"),
        (r#"{"id":9,"kind":"shout"}"#.into(), Code::Unsupported, 9, "unknown kind `shout`"),
        (r#"{"id":1.5,"kind":"ping"}"#.into(), Code::BadRequest, 0, "field `id`: expected a whole number"),
        (r#"{"id":"9007199254740992","kind":"ping"}"#.into(), Code::BadRequest, 0, "field `id`"),
        (
            r#"{"kind":"drain","nodes":[{"id":"a","url":"b"},{"id":"c"}]}"#.into(),
            Code::BadRequest,
            0,
            "field `nodes[1].url`: is missing",
        ),
    ] {
        let text: String = text;
        let (got_code, got_id, got_words) = complaint(&text);
        assert_eq!((got_code, got_id), (code, at), "{text}");
        assert!(got_words.contains(words), "{text}: {got_words}");
    }
}

#[test]
fn limits_hold_in_json_too() {
    let values = vec!["\"v\""; 97].join(",");
    let text = format!(r#"{{"kind":"publish","channel":"a","headers":{{"k":[{values}]}}}}"#);
    assert!(complaint(&text).2.contains("more than 96 header values"));
    let members: Vec<_> = (0..257).map(|number| format!("\"{number}\":0")).collect();
    assert!(complaint(&format!("{{{}}}", members.join(","))).2.contains("more than 256 members"));
    let text = format!(r#"{{"kind":"publish","channel":"a","key":"{}"}}"#, "k".repeat(70_000));
    assert_eq!(complaint(&text).0, Code::TooLarge);
}

#[test]
fn a_forged_via_is_refused_like_any_other() {
    let bytes = decode(r#"{"kind":"ping","via":{"client":"root"}}"#);
    assert_eq!(Frame::parse(&bytes, 1 << 20, Origin::Client).unwrap_err(), FrameError::ForgedVia);
    let bytes = decode(r#"{"kind":"ping","hops":1}"#);
    assert_eq!(Frame::parse(&bytes, 1 << 20, Origin::Client).unwrap_err(), FrameError::ForgedHops);
}

#[test]
fn a_decoder_can_be_used_again() {
    let mut decoder = json::Decoder::new();
    let mut bytes = Vec::new();
    for _ in 0..3 {
        bytes.clear();
        decoder.decode(r#"{"kind":"subscribe","id":1,"filter":"\u0061/#"}"#, &mut bytes).unwrap();
        let Body::Subscribe(subscribe) = parse(&bytes).body else { panic!("a subscribe") };
        assert_eq!(subscribe.filter, "a/#");
    }
}
