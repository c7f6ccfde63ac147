//! What follows a body: passed both ways where HTTP has a place for it, never with what must come before a body.

use bytes::Bytes;
use hyper::HeaderMap;
use whub_proto::{Body, Data, Failure, Flags, Headers, Kind, Response};

use crate::browser::Browser;
use crate::calls::providing;
use crate::common::{Client, Heard};
use crate::http2::{connect, request};

/// Everything that the provider hears of a request, up to its end.
async fn hear_all(provider: &mut Client) -> (u64, Heard) {
    let mut heard = provider.hear().await;
    let id = heard.id;
    while !heard.flags.contains(Flags::END) {
        heard = provider.hear().await;
    }
    (id, heard)
}

fn trailers(heard: &Heard) -> Vec<(String, String)> {
    let Body::Data(data) = heard.frame().body else { panic!("{heard:?}") };
    data.headers.iter().map(|(name, value)| (name.to_owned(), value.to_owned())).collect()
}

/// An answer in two pieces with trailers.
async fn answer(provider: &mut Client, id: u64) {
    let pairs = [("trailer", "x-sum, set-cookie")];
    let response = Response { headers: Headers::new(&pairs), ..Response::default() };
    provider.send(id, Flags::NONE, &Body::Response(response), b"one ").await;
    let pairs = [("x-sum", "7"), ("set-cookie", "a=b"), ("content-length", "1")];
    let data = Data { headers: Headers::new(&pairs), ..Data::default() };
    provider.send(id, Flags::END, &Body::Data(data), b"two").await;
}

const CHUNKED: &str = "POST /up HTTP/1.1\r\nHost: localhost\r\nTransfer-Encoding: chunked\r\n";

#[tokio::test]
async fn over_http_1_they_follow_the_last_chunk() {
    let (node, mut provider) = providing("/up").await;
    let mut browser = Browser::visit(&node).await;
    let request = "TE: trailers\r\nTrailer: X-Check\r\n\r\n3\r\nabc\r\n0\r\nX-Check: 1\r\nX-Check: 2\r\nHost: evil\r\n\r\n";
    browser.write(format!("{CHUNKED}{request}")).await;
    let (id, heard) = hear_all(&mut provider).await;
    let expected = [("x-check".to_owned(), "1".to_owned()), ("x-check".to_owned(), "2".to_owned())];
    assert_eq!(trailers(&heard), expected);
    answer(&mut provider, id).await;
    let answer = browser.head().await;
    assert!(answer.status == 200 && answer.is("trailer", "x-sum"), "{answer:?}");
    let text = String::from_utf8(browser.until_the_end().await).unwrap();
    assert!(text.ends_with("0\r\nx-sum: 7\r\n\r\n"), "{text:?}");
}

#[tokio::test]
async fn a_client_that_does_not_ask_for_them_gets_none() {
    let (node, mut provider) = providing("/up").await;
    let mut browser = Browser::visit(&node).await;
    browser.write("GET /up HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n").await;
    let (id, _) = hear_all(&mut provider).await;
    answer(&mut provider, id).await;
    browser.head().await;
    let text = String::from_utf8(browser.until_the_end().await).unwrap();
    assert!(text.ends_with("0\r\n\r\n"), "{text:?}");
}

#[tokio::test]
async fn over_http_2_they_are_fields_of_their_own_with_short_bodies_too() {
    let (node, mut provider) = providing("/up").await;
    let mut sender = connect(&node).await;
    for length in [None, Some("4")] {
        let mut request = request(hyper::Method::POST, "http://localhost/up");
        if let Some(length) = length {
            request.headers_mut().insert("content-length", length.parse().unwrap());
        }
        let (response, mut up) = sender.send_request(request, false).unwrap();
        up.send_data(Bytes::from_static(b"body"), false).unwrap();
        let mut fields = HeaderMap::new();
        fields.insert("grpc-status", "0".parse().unwrap());
        up.send_trailers(fields).unwrap();
        let (id, heard) = hear_all(&mut provider).await;
        assert_eq!(heard.kind, Kind::Data, "{length:?}");
        assert_eq!(trailers(&heard), [("grpc-status".to_owned(), "0".to_owned())]);
        answer(&mut provider, id).await;
        let mut down = response.await.unwrap().into_body();
        let mut whole = Vec::new();
        while let Some(chunk) = down.data().await {
            whole.extend_from_slice(&chunk.unwrap());
        }
        assert_eq!(whole, b"one two");
        let trailers = down.trailers().await.unwrap().unwrap();
        assert_eq!((trailers.len(), &trailers["x-sum"]), (1, &"7".parse().unwrap()));
    }
}

#[tokio::test]
async fn headers_of_an_error_are_passed_on_beside_the_hubs_own() {
    let (node, mut provider) = providing("/up").await;
    let mut browser = Browser::visit(&node).await;
    let asking = browser.ask("GET /up", b"");
    let answering = async {
        let id = provider.hear().await.id;
        let pairs = [("retry-after", "9"), ("x-why", "full"), ("content-type", "text/html")];
        let failure =
            Failure { code: whub_proto::Code::Conflict, headers: Headers::new(&pairs), ..Failure::default() };
        provider.say(id, &Body::Error(failure)).await;
    };
    let (answer, ()) = tokio::join!(asking, answering);
    assert_eq!(answer.status, 409);
    assert!(answer.is("x-why", "full") && answer.is("retry-after", "9"), "{answer:?}");
    assert!(answer.is("content-type", "application/problem+json"), "{answer:?}");
}
