//! What becomes of a call: its answer, its error, its cancellation.

mod common;

use std::time::Duration;

use bytes::Bytes;
use common::{open, within};
use whub_client::{Code, ErrorKind};
use whub_proto::{Body, Credit, Data, Failure, Flags, Headers, Kind, Response, Via};

#[tokio::test(start_paused = true)]
async fn a_call_gets_its_response() {
    let (_hub, mut connection, client) = open().await;
    let calling = tokio::spawn(async move {
        let call = client.call("/math/add?exact=1").method("POST").header("X-Tenant", "acme");
        let response = call.text("1+1").timeout(Duration::from_secs(2)).await?;
        let kind = response.headers.get("content-type").map(str::to_owned);
        Ok::<_, whub_client::Error>((response.status, kind, response.text().await?))
    });
    let heard = connection.hear(Kind::Request).await;
    let Body::Request(request) = heard.frame().body else { unreachable!() };
    assert_eq!((request.path, request.query, request.method), ("/math/add", "exact=1", "POST"));
    assert_eq!(request.headers.get("x-tenant"), Some("acme"));
    assert_eq!(request.timeout_ms, 2000);
    assert_eq!((heard.id(), heard.flags(), heard.payload()), (1, Flags::END | Flags::TEXT, &b"1+1"[..]));

    let headers = [("content-type", "text/plain")];
    let response = Response { status: 201, headers: Headers::new(&headers), ..Response::default() };
    connection.say_with(1, Flags::NONE, None, &Body::Response(response), b"tw").await;
    connection.say_with(1, Flags::END, None, &Body::Data(Data::default()), b"o").await;
    let outcome = within(calling).await.unwrap().unwrap();
    assert_eq!(outcome, (201, Some("text/plain".to_owned()), "two".to_owned()));
}

#[tokio::test(start_paused = true)]
async fn progress_comes_before_the_answer_which_says_how_often_it_was_moved() {
    let (_hub, mut connection, client) = open().await;
    let (told, mut news) = tokio::sync::mpsc::unbounded_channel();
    let calling = tokio::spawn(async move {
        let call = client.call("/slow").on_progress(move |progress| drop(told.send(progress)));
        call.await.map(|response| (response.status, response.moved))
    });
    let id = connection.hear(Kind::Request).await.id();
    let progress = Response { status: 102, headers: Headers::new(&[("done", "40")]), ..Response::default() };
    connection.say_with(id, Flags::NONE, None, &Body::Response(progress), b"almost").await;
    let heard = within(news.recv()).await.unwrap();
    assert_eq!(
        (heard.status, heard.headers.get("done"), &heard.payload[..]),
        (102, Some("40"), &b"almost"[..])
    );
    let via = Via { moved: 2, ..Via::default() };
    connection.say_with(id, Flags::END, Some(&via), &Body::Response(Response::default()), b"").await;
    assert_eq!(within(calling).await.unwrap().unwrap(), (200, 2));
}

#[tokio::test(start_paused = true)]
async fn an_error_says_whether_to_try_again() {
    let (_hub, mut connection, client) = open().await;
    let calling = tokio::spawn(async move { client.call("/busy").await });
    let id = connection.hear(Kind::Request).await.id();
    let failure = Failure {
        code: Code::Unavailable,
        slug: "service.overloaded",
        reason: "busy",
        retry_ms: 500,
        ..Failure::default()
    };
    connection.refuse(id, failure).await;
    let error = within(calling).await.unwrap().unwrap_err();
    assert_eq!(
        (error.kind(), error.slug(), error.to_string()),
        (ErrorKind::Unavailable, "service.overloaded", "busy".into())
    );
    assert_eq!(error.retry_after(), Some(Duration::from_millis(500)));
}

#[tokio::test(start_paused = true)]
async fn a_call_without_an_answer_times_out_and_is_cancelled() {
    let (_hub, mut connection, client) = open().await;
    let begun = tokio::time::Instant::now();
    let calling = tokio::spawn(async move { (client.call("/slow").await.map(|_| ()), client) });
    let id = connection.hear(Kind::Request).await.id();
    let cancel = connection.hear(Kind::Cancel).await;
    assert_eq!(cancel.id(), id);
    let (outcome, _client) = calling.await.unwrap();
    assert_eq!(outcome.unwrap_err().kind(), ErrorKind::Timeout);
    assert_eq!(begun.elapsed().as_secs(), 10);
    // A late answer disturbs nobody.
    connection.say_with(id, Flags::END, None, &Body::Response(Response::default()), b"late").await;
}

#[tokio::test(start_paused = true)]
async fn dropping_a_response_before_its_end_cancels_the_call() {
    let (_hub, mut connection, client) = open().await;
    let calling = tokio::spawn(async move { (client.call("/long").await.unwrap(), client) });
    let id = connection.hear(Kind::Request).await.id();
    connection.say_with(id, Flags::NONE, None, &Body::Response(Response::default()), b"first").await;
    let (mut response, _client) = within(calling).await.unwrap();
    assert_eq!(response.body.next_chunk().await.unwrap(), Some(Bytes::from_static(b"first")));
    drop(response);
    assert_eq!(connection.hear(Kind::Cancel).await.id(), id);
}

#[tokio::test(start_paused = true)]
async fn a_large_body_waits_for_credit() {
    const WINDOW: usize = 256 * 1024;
    let (_hub, mut connection, client) = open().await;
    let body = Bytes::from(vec![7; WINDOW + 1000]);
    let calling = tokio::spawn(async move { client.call("/upload").body(body).await?.bytes().await });
    let request = connection.hear(Kind::Request).await;
    let (id, mut arrived) = (request.id(), request.payload().len());
    while arrived < WINDOW {
        let data = connection.hear(Kind::Data).await;
        assert!(!data.flags().contains(Flags::END));
        arrived += data.payload().len();
    }
    assert_eq!(arrived, WINDOW);
    assert!(tokio::time::timeout(Duration::from_secs(1), connection.hear_any()).await.is_err());
    connection.say(id, &Body::Credit(Credit { bytes: 5000 })).await;
    let last = connection.hear(Kind::Data).await;
    assert_eq!((last.payload().len(), last.flags()), (1000, Flags::END));
    connection.say_with(id, Flags::END, None, &Body::Response(Response::default()), b"ok").await;
    assert_eq!(within(calling).await.unwrap().unwrap(), "ok");
}

#[tokio::test(start_paused = true)]
async fn an_answer_that_outruns_its_credit_is_stopped() {
    let (_hub, mut connection, client) = open().await;
    let calling = tokio::spawn(async move { (client.call("/flood").await.unwrap(), client) });
    let id = connection.hear(Kind::Request).await.id();
    connection.say(id, &Body::Response(Response::default())).await;
    let (mut response, _client) = within(calling).await.unwrap();
    for _ in 0..5 {
        connection.say_with(id, Flags::NONE, None, &Body::Data(Data::default()), &[0; 60_000]).await;
    }
    assert_eq!(connection.hear(Kind::Cancel).await.id(), id);
    let mut outcome = response.body.next_chunk().await;
    while let Ok(Some(_)) = outcome {
        outcome = response.body.next_chunk().await;
    }
    assert_eq!(outcome.unwrap_err().kind(), ErrorKind::ProtocolError);
}

#[tokio::test(start_paused = true)]
async fn a_bad_path_is_refused_before_it_is_sent() {
    let (_hub, _connection, client) = open().await;
    assert_eq!(client.call("/a/../b").await.unwrap_err().kind(), ErrorKind::Invalid);
}
