//! Requests that two readers could read in two ways: one answer at most, and nothing behind it is a request.

use hyper::Method;
use hyper::header::HeaderName;

use crate::browser::Browser;
use crate::common::Node;

const SECOND: &str = "GET /healthz?second HTTP/1.1\r\nHost: localhost\r\nX-Request-Id: second\r\n\r\n";

/// What came back until the end of the connection.
async fn answers(node: &Node, request: &str) -> (usize, String) {
    let mut browser = Browser::visit(node).await;
    browser.write(request).await;
    // The end of our side: whatever could still be read as a request has been by now.
    tokio::io::AsyncWriteExt::shutdown(&mut browser.socket).await.unwrap();
    let text = String::from_utf8_lossy(&browser.until_the_end().await).into_owned();
    (text.matches("HTTP/1.1 ").count(), text)
}

#[tokio::test]
async fn ambiguous_requests_get_one_answer_at_most() {
    let node = Node::with(|config| config.debug.echo = true).await;
    let post = "POST /v1/publish/c HTTP/1.1\r\nHost: localhost\r\n";
    let upgrade = "GET /debug/echo HTTP/1.1\r\nHost: localhost\r\nConnection: upgrade\r\nUpgrade: websocket\r\n\
                   Sec-WebSocket-Version: 13\r\n";
    let key = "Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n";
    for (name, request) in [
        (
            "length, then chunks",
            format!("{post}Content-Length: 4\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n"),
        ),
        (
            "chunks, then length",
            format!("{post}Transfer-Encoding: chunked\r\nContent-Length: 4\r\n\r\n0\r\n\r\n"),
        ),
        ("two lengths", format!("{post}Content-Length: 4\r\nContent-Length: 5\r\n\r\nbody")),
        ("a list of lengths", format!("{post}Content-Length: 4, 5\r\n\r\nbody")),
        ("a signed length", format!("{post}Content-Length: +4\r\n\r\nbody")),
        ("chunks that are not last", format!("{post}Transfer-Encoding: chunked, identity\r\n\r\n0\r\n\r\n")),
        ("an unknown coding", format!("{post}Transfer-Encoding: xchunked\r\n\r\n0\r\n\r\n")),
        ("a bad chunk", format!("{post}Transfer-Encoding: chunked\r\n\r\nZZ\r\nbody\r\n0\r\n\r\n")),
        (
            "a chunk longer than it says",
            format!("{post}Transfer-Encoding: chunked\r\n\r\n2\r\nbody\r\n0\r\n\r\n"),
        ),
        ("a huge chunk", format!("{post}Transfer-Encoding: chunked\r\n\r\nfffffffffffffffff\r\nbody")),
        ("a folded field", format!("{post}X-A: 1\r\n Content-Length: 4\r\n\r\n")),
        ("a space before the colon", format!("{post}Content-Length : 4\r\n\r\nbody")),
        ("a bare line feed in a field", format!("{post}X-A: 1\rContent-Length: 4\r\n\r\n")),
        ("a zero byte", format!("{post}X-A: 1\0\r\n\r\n")),
        ("a coding behind a tab", format!("{post}Transfer-Encoding:\x0bchunked\r\n\r\n0\r\n\r\n")),
        ("a coding before a colon", format!("{post}Transfer-Encoding : chunked\r\n\r\n0\r\n\r\n")),
        ("a coding twice", format!("{post}Transfer-Encoding: chunked, chunked\r\n\r\n0\r\n\r\n")),
        (
            "two codings",
            format!("{post}Transfer-Encoding: chunked\r\nTransfer-Encoding: identity\r\n\r\n0\r\n\r\n"),
        ),
        (
            "chunks in HTTP/1.0",
            "POST /v1/publish/c HTTP/1.0\r\nHost: localhost\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n"
                .to_owned(),
        ),
        (
            "a line feed in a chunk's extension",
            format!("{post}Transfer-Encoding: chunked\r\n\r\n2;x\nab\r\n0\r\n\r\n"),
        ),
        (
            "an extension behind every chunk",
            format!("{post}Transfer-Encoding: chunked\r\n\r\n2;x=\"y\"\r\nab\r\n0;z\r\n\r\n"),
        ),
        ("a chunk without its end", format!("{post}Transfer-Encoding: chunked\r\n\r\n2\r\nabX\r\n0\r\n\r\n")),
        ("a length that is too long", format!("{post}Content-Length: 99999999999999999999\r\n\r\nbody")),
        ("a length in hexadecimals", format!("{post}Content-Length: 0x4\r\n\r\nbody")),
        ("an empty length", format!("{post}Content-Length:\r\n\r\nbody")),
        ("a space in the target", "GET /healthz x HTTP/1.1\r\nHost: localhost\r\n\r\n".to_owned()),
        ("a name with a space", format!("{post}X A: 1\r\n\r\n")),
        ("no name", format!("{post}: 1\r\n\r\n")),
        ("a bare carriage return", format!("{post}X-A: 1\r\rContent-Length: 4\r\n\r\n")),
        (
            "a service's upgrade with a body",
            format!("{}{key}Content-Length: 4\r\n\r\nbody", upgrade.replace("/debug/echo", "/nobody")),
        ),
        (
            "a service's upgrade that is refused",
            format!("{}{key}\r\n", upgrade.replace("/debug/echo", "/nobody")),
        ),
        ("no such version", "GET / HTTP/3.7\r\nHost: localhost\r\n\r\n".to_owned()),
        ("two keys", format!("{upgrade}{key}{key}\r\n")),
        ("two versions", format!("{upgrade}{key}Sec-WebSocket-Version: 13\r\n\r\n")),
        ("a key that is none", format!("{upgrade}Sec-WebSocket-Key: short\r\n\r\n")),
        ("an upgrade with a body", format!("{upgrade}{key}Content-Length: 4\r\n\r\nbody")),
    ] {
        let (count, text) = answers(&node, &format!("{request}{SECOND}")).await;
        let has_second = text.contains("x-request-id: second");
        assert!(count <= 1 && !has_second, "{name}: {text}");
        assert!(!text.starts_with("HTTP/1.1 200") || text.contains("connection: close"), "{name}: {text}");
    }
}

#[tokio::test]
async fn a_body_in_a_coding_that_nobody_undoes_is_refused() {
    let node = Node::start().await;
    for coding in ["gzip, chunked", "gzip\r\nTransfer-Encoding: chunked", "chunked, chunked", ", chunked"] {
        let head = "POST /nobody HTTP/1.1\r\nHost: localhost\r\nTransfer-Encoding: ";
        let (count, text) = answers(&node, &format!("{head}{coding}\r\n\r\n0\r\n\r\n{SECOND}")).await;
        assert!(count == 1 && text.starts_with("HTTP/1.1 501"), "{coding}: {text}");
        assert!(text.contains("http.transfer_coding") && text.contains("connection: close"), "{text}");
    }
    let (_, text) = answers(
        &node,
        "POST /nobody HTTP/1.1\r\nHost: localhost\r\nTransfer-Encoding: Chunked\r\n\r\n0\r\n\r\n",
    )
    .await;
    assert!(text.starts_with("HTTP/1.1 404"), "{text}");
}

#[tokio::test]
async fn an_upgrade_to_something_else_is_an_ordinary_request() {
    let node = Node::start().await;
    let h2c = "GET /healthz HTTP/1.1\r\nHost: localhost\r\nConnection: Upgrade, HTTP2-Settings\r\nUpgrade: h2c\r\n\
               HTTP2-Settings: AAMAAABkAAQAAP__\r\n\r\n";
    let (count, text) = answers(&node, h2c).await;
    assert!(count == 1 && text.starts_with("HTTP/1.1 200"), "{text}");
}

#[tokio::test]
async fn lines_that_end_in_a_line_feed_alone_are_one_request_each() {
    let node = Node::start().await;
    // RFC 9112 section 2.2 lets them be read; every reader that does reads the same.
    let (count, text) = answers(&node, "GET /healthz HTTP/1.1\nHost: localhost\n\n").await;
    assert!(count == 1 && text.starts_with("HTTP/1.1 200"), "{text}");
    let (count, text) =
        answers(&node, "GET /healthz HTTP/1.1\nHost: localhost\nContent-Length: 4\n\nGET ").await;
    assert!(count == 1 && text.starts_with("HTTP/1.1 200"), "{text}");
}

#[tokio::test]
async fn whole_requests_one_behind_the_other_get_one_answer_each() {
    let node = Node::start().await;
    let (count, text) = answers(&node, &SECOND.repeat(5)).await;
    assert_eq!(count, 5, "{text}");
}

#[tokio::test]
async fn http_2_has_no_fields_of_a_connection_and_no_false_lengths() {
    use hyper::Method;
    let node = Node::start().await;
    for (name, value) in [("transfer-encoding", "chunked"), ("connection", "close"), ("upgrade", "h2c")] {
        let mut sender = crate::http2::connect(&node).await;
        let mut request = crate::http2::request(Method::POST, "http://localhost/nobody");
        request.headers_mut().insert(name, value.parse().unwrap());
        // The client's library may refuse to send it; the hub must not take it for good.
        let Ok((response, mut body)) = sender.send_request(request, false) else { continue };
        let _ = body.send_data(bytes::Bytes::from_static(b"body"), true);
        let answer = response.await;
        assert!(answer.is_err() || answer.unwrap().status().is_client_error(), "{name}");
    }
    let mut sender = crate::http2::connect(&node).await;
    let mut request = crate::http2::request(Method::POST, "http://localhost/v1/publish/c");
    request.headers_mut().insert("content-length", "2".parse().unwrap());
    let (response, mut body) = sender.send_request(request, false).unwrap();
    let _ = body.send_data(bytes::Bytes::from_static(b"longer than that"), true);
    let answer = response.await;
    assert!(answer.is_err() || !answer.unwrap().status().is_success());
}

#[tokio::test]
async fn heads_have_limits() {
    let node = Node::with(|config| {
        config.limits.header_fields = 10;
        config.limits.header_bytes = 16 * 1024;
        config.http.allowed_origins = vec!["https://app.example".to_owned()];
    })
    .await;
    let many: String = (0..10).map(|number| format!("X-{number}: 1\r\n")).collect();
    // Head and limit, byte by byte: request line, two fields, the empty line.
    let line = "GET /healthz HTTP/1.1\r\nHost: localhost\r\n".len() + "X-A: \r\n\r\n".len();
    let long = |bytes: usize| format!("X-A: {}\r\n", "a".repeat(bytes - line));
    let limit = 16 * 1024;
    for (fields, status, slug) in [
        (many, 431, "http.header_fields"),
        (long(limit + 1), 431, "http.head_too_large"),
        (long(limit * 6), 431, "http.head_too_large"),
        (long(limit), 200, "ok"),
        ("X-A: 1\r\n".to_owned(), 200, "ok"),
    ] {
        let mut browser = Browser::visit(&node).await;
        browser.write(format!("GET /healthz HTTP/1.1\r\nHost: localhost\r\n{fields}\r\n")).await;
        let answer = browser.answer().await;
        assert!(answer.status == status && answer.text().contains(slug), "{answer:?}");
    }
    // A page of elsewhere that asks what it may do has no larger head either.
    let preflight = "Origin: https://app.example\r\nAccess-Control-Request-Method: PUT\r\n";
    for (fields, status) in [(long(limit), 431), ("X-A: 1\r\n".to_owned(), 204)] {
        let mut browser = Browser::visit(&node).await;
        browser.write(format!("OPTIONS /a HTTP/1.1\r\nHost: localhost\r\n{preflight}{fields}\r\n")).await;
        assert_eq!(browser.answer().await.status, status);
    }
    // In HTTP/2 as in HTTP/1.1, for one field or many.
    for (count, length, status) in [(1, 16_300, 200), (1, 16_400, 431), (9, 1_700, 200), (9, 1_900, 431)] {
        let mut sender = crate::http2::connect(&node).await;
        let mut request = crate::http2::request(Method::GET, "http://localhost/healthz");
        for field in 0..count {
            let name = HeaderName::try_from(format!("x-{field}")).unwrap();
            request.headers_mut().insert(name, "a".repeat(length).parse().unwrap());
        }
        let (response, _) = sender.send_request(request, true).unwrap();
        let response = response.await.unwrap();
        let named = response.headers().contains_key("x-request-id");
        assert_eq!((response.status().as_u16(), named), (status, true), "{count} × {length}");
    }
    // More than is read of a connection at once: hyper's own refusal has no body, and may come with a reset that hides it.
    let request = format!("GET /healthz HTTP/1.1\r\nHost: localhost\r\n{}\r\n", long(limit * 10));
    let (count, text) = answers(&node, &request).await;
    assert!(count == 0 || text.starts_with("HTTP/1.1 431"), "{text}");
}
