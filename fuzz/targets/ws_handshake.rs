//! Any values in the fields of opening handshakes: never a panic; what is agreed on keeps its word.

#![no_main]

use libfuzzer_sys::fuzz_target;
use whub_ws::{
    Role,
    deflate::Config,
    handshake::{Request, Upgrade, accept_key},
};

const NAMES: [&str; 8] = [
    "upgrade",
    "connection",
    "sec-websocket-key",
    "sec-websocket-version",
    "sec-websocket-protocol",
    "sec-websocket-extensions",
    "sec-websocket-accept",
    "host",
];

/// A line is a field: its first byte chooses the name, the rest is the value.
fn fields(data: &[u8]) -> Vec<(&'static str, &[u8])> {
    let lines = data.split(|byte| *byte == b'\n').filter_map(|line| line.split_first());
    lines.map(|(first, value)| (NAMES[usize::from(*first) % NAMES.len()], value)).collect()
}

fn serve(fields: &[(&'static str, &[u8])], config: &Config) {
    for upgrade in
        [Upgrade::from_http1(fields.iter().copied()), Upgrade::from_extended_connect(fields.iter().copied())]
    {
        let Ok(upgrade) = upgrade else { continue };
        assert!(upgrade.accept.is_none() || Upgrade::is_wanted(fields.iter().copied()));
        let Some(agreed) = upgrade.accept_deflate(config) else { continue };
        assert!(agreed.deflater(Role::Server).is_some(), "an offer that cannot be met is declined");
        assert!(agreed.to_string().bytes().all(|byte| byte.is_ascii_graphic() || byte == b' '));
    }
}

fn dial(fields: &[(&'static str, &[u8])], config: Config) {
    let request = Request {
        authority: "hub",
        target: "/",
        nonce: [7; 16],
        protocols: &["whub.v1"],
        deflate: Some(config),
        headers: &[],
    };
    let bytes = request.encode().expect("every part is sound");
    let accept = accept_key(b"BwcHBwcHBwcHBwcHBwcHBw==");
    let with_accept = fields.iter().copied().chain([("sec-websocket-accept", accept.as_bytes())]);
    if let Ok(established) = request.verify(101, with_accept) {
        assert!(established.protocol.is_none_or(|protocol| protocol == "whub.v1"));
        let _ =
            established.deflate.map(|agreed| (agreed.inflater(Role::Client), agreed.deflater(Role::Client)));
    }
    assert!(bytes.ends_with(b"\r\n\r\n"));
}

fuzz_target!(|data: &[u8]| {
    let fields = fields(data);
    let keeping = Config { keep_context: true, let_peer_keep_context: true, window_bits: 15 };
    for config in [Config::default(), keeping] {
        serve(&fields, &config);
        dial(&fields, config);
    }
    // Values that HTTP does not allow never reach the wire.
    let text = String::from_utf8_lossy(data);
    let headers = [("x", text.as_ref())];
    let request = Request {
        authority: "hub",
        target: &text,
        nonce: [0; 16],
        protocols: &[],
        deflate: None,
        headers: &headers,
    };
    if let Ok(bytes) = request.encode() {
        assert_eq!(bytes.split(|byte| *byte == b'\n').count(), 9, "no line was smuggled in");
    }
});
