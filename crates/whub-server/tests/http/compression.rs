//! Answers are compressed where the client takes it, the configuration wants it and the bytes allow it.

use std::io::Read as _;
use std::io::Write as _;

use flate2::read::GzDecoder;
use flate2::write::GzDecoder as GzReader;
use whub_proto::{Body, Data, Flags, Headers, Response};

use crate::browser::{Answer, Browser};
use crate::common::{Client, Node};

async fn compressing(pattern: &str) -> (Node, Client) {
    let node = Node::with(|config| config.compression.enabled = true).await;
    let mut provider = node.client().await;
    provider.register(1, pattern).await;
    (node, provider)
}

/// Asks, and has it answered with these headers and this body.
async fn asked(
    browser: &mut Browser,
    provider: &mut Client,
    head: &str,
    headers: &[(&str, &str)],
    body: &[u8],
) -> Answer {
    let providing = async {
        let asked = provider.hear().await;
        let response = Response { headers: Headers::new(headers), ..Response::default() };
        provider.send(asked.id, Flags::END, &Body::Response(response), body).await;
    };
    tokio::join!(browser.ask(head, b""), providing).0
}

fn unpacked(bytes: &[u8]) -> Vec<u8> {
    let mut plain = Vec::new();
    GzDecoder::new(bytes).read_to_end(&mut plain).unwrap();
    plain
}

#[tokio::test]
async fn text_is_compressed_for_those_who_take_it() {
    let (node, mut provider) = compressing("/a").await;
    let mut browser = Browser::visit(&node).await;
    let page = "hello ".repeat(1000);
    let headers =
        [("content-type", "text/html; charset=utf-8"), ("etag", "\"v1\""), ("accept-ranges", "bytes")];
    let head = "GET /a\nAccept-Encoding: br, gzip";
    let answer = asked(&mut browser, &mut provider, head, &headers, page.as_bytes()).await;
    assert!(answer.is("content-encoding", "gzip") && answer.is("vary", "accept-encoding"), "{answer:?}");
    assert!(answer.is("etag", "W/\"v1\"") && answer.header("accept-ranges").is_none());
    assert!(answer.body.len() < 200, "{}", answer.body.len());
    assert_eq!(unpacked(&answer.body), page.as_bytes());

    let told = [headers[0], headers[1], ("content-length", "6000")];
    let answer = asked(&mut browser, &mut provider, &head.replace("GET", "HEAD"), &told, b"").await;
    assert!(answer.is("content-encoding", "gzip") && answer.is("etag", "W/\"v1\""), "as GET: {answer:?}");
    assert!(answer.header("content-length").is_none() && answer.body.is_empty());

    let answer = asked(&mut browser, &mut provider, "GET /a", &headers, page.as_bytes()).await;
    assert!(answer.header("content-encoding").is_none() && answer.is("vary", "accept-encoding"));
    assert!(answer.is("etag", "\"v1\"") && answer.is("content-length", "6000"));
    assert_eq!(answer.text(), page);
}

#[tokio::test]
async fn what_must_stay_as_it_is_does() {
    let (node, mut provider) = compressing("/a").await;
    let mut browser = Browser::visit(&node).await;
    let page = "hello ".repeat(1000);
    let text = ("content-type", "text/plain");
    for headers in [
        [("content-type", "image/png"), ("x-a", "1")],
        [text, ("content-encoding", "br")],
        [text, ("cache-control", "max-age=1, no-transform")],
        [text, ("content-range", "bytes 0-5999/9000")],
        [text, ("repr-digest", "sha-256=:AA==:")],
    ] {
        let head = "GET /a\nAccept-Encoding: gzip";
        let answer = asked(&mut browser, &mut provider, head, &headers, page.as_bytes()).await;
        assert_eq!(answer.body, page.as_bytes(), "{headers:?}");
        assert!(answer.header("content-encoding") != Some("gzip") && answer.header("vary").is_none());
    }
    let head = "GET /a\nAccept-Encoding: gzip";
    let short = asked(&mut browser, &mut provider, head, &[text], b"short").await;
    assert_eq!((short.text(), short.header("content-encoding")), ("short", None));
}

#[tokio::test]
async fn a_stream_arrives_as_it_is_said() {
    let (node, mut provider) = compressing("/a").await;
    let mut browser = Browser::visit(&node).await;
    browser.write("GET /a HTTP/1.1\r\nHost: localhost\r\nAccept-Encoding: gzip\r\n\r\n").await;
    let asked = provider.hear().await;
    let pairs = [("content-type", "text/event-stream")];
    let response = Body::Response(Response { headers: Headers::new(&pairs), ..Response::default() });
    provider.send(asked.id, Flags::NONE, &response, b"data: 1\n\n").await;
    let head = browser.head().await;
    assert!(head.is("content-encoding", "gzip"), "{head:?}");
    let mut reader = GzReader::new(Vec::new());
    for (index, event) in ["data: 1\n\n", "data: 2\n\n", "data: 3\n\n"].into_iter().enumerate() {
        if index > 0 {
            provider.send(asked.id, Flags::NONE, &Body::Data(Data::default()), event.as_bytes()).await;
        }
        // Nothing follows before this one has come: it was flushed.
        while reader.get_ref().len() < event.len() {
            let chunk = browser.chunk().await.expect("more of the stream");
            reader.write_all(&chunk).unwrap();
            reader.flush().unwrap();
        }
        assert_eq!(std::mem::take(reader.get_mut()), event.as_bytes());
    }
    provider.send(asked.id, Flags::END, &Body::Data(Data::default()), b"").await;
    while let Some(chunk) = browser.chunk().await {
        reader.write_all(&chunk).unwrap();
    }
    assert!(reader.finish().unwrap().is_empty());
}

#[tokio::test]
async fn nobody_has_to_be_asked_while_it_is_off() {
    let node = Node::start().await;
    let mut provider = node.client().await;
    provider.register(1, "/a").await;
    let mut browser = Browser::visit(&node).await;
    let page = "hello ".repeat(1000);
    let head = "GET /a\nAccept-Encoding: gzip";
    let headers = [("content-type", "text/plain")];
    let answer = asked(&mut browser, &mut provider, head, &headers, page.as_bytes()).await;
    assert_eq!((answer.text(), answer.header("vary")), (page.as_str(), None));
}
