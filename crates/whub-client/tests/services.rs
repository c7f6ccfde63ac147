//! Providing: registration, calls that arrive, answers that leave.

#![allow(clippy::unwrap_used, reason = "the helpers are a part of the tests")]

mod common;

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering::SeqCst};
use std::time::Duration;

use common::{FakeConnection, open, within};
use whub_client::{Access, Client, Code, ErrorKind, Registration, Reply, Request, ServiceError};
use whub_proto::{
    Body, Cancel, Credit, Data, Failure, Flags, Headers, Kind, Register, Request as WireRequest, Strings,
    Unregister, Via,
};

type Answer = Result<Reply, ServiceError>;

async fn provide<F, Fut>(
    connection: &mut FakeConnection,
    client: &Client,
    pattern: &str,
    serve: F,
) -> Registration
where
    F: Fn(Request) -> Fut + Send + Sync + 'static,
    Fut: Future<Output = Answer> + Send + 'static,
{
    let providing = tokio::spawn(client.provide(pattern, serve).max_inflight(2).into_future());
    let heard = connection.hear(Kind::Register).await;
    let Body::Register(register) = heard.frame().body else { unreachable!() };
    assert_eq!((register.path, register.max_inflight), (pattern, 2));
    connection.agree(heard.id()).await;
    within(providing).await.unwrap().unwrap()
}

async fn call(connection: &mut FakeConnection, id: u64, path: &str, pattern: &str, payload: &[u8]) {
    let via = Via { path: pattern, client: "c9", user: "ada", timeout_ms: 5000, ..Via::default() };
    let request = WireRequest { path, ..WireRequest::default() };
    connection.say_with(id, Flags::END, Some(&via), &Body::Request(request), payload).await;
}

#[tokio::test(start_paused = true)]
async fn all_that_is_said_of_a_service_reaches_the_hub() {
    let (_hub, mut connection, client) = open().await;
    let provide = client
        .provide("/bills", |_: Request| async { Ok::<_, ServiceError>(Reply::text("")) })
        .group("blue")
        .version("1.4")
        .description("Sums up invoices.")
        .metadata("team", "pay")
        .weight(3)
        .access(Access::Named(vec!["ada".into()]))
        .pass_header("cookie");
    let _providing = tokio::spawn(provide.into_future());
    let heard = connection.hear(Kind::Register).await;
    let expected = Register {
        path: "/bills",
        group: "blue",
        weight: 3,
        max_inflight: 128,
        version: "1.4",
        headers: Headers::new(&[("team", "pay")]),
        description: "Sums up invoices.",
        access: whub_proto::Access::Named,
        clients: Strings::new(&["ada"]),
        pass_headers: Strings::new(&["cookie"]),
    };
    assert_eq!(heard.frame().body, Body::Register(expected));
}

#[tokio::test(start_paused = true)]
async fn a_service_may_say_how_far_it_is() {
    let (_hub, mut connection, client) = open().await;
    let _service = provide(&mut connection, &client, "/slow", |request: Request| async move {
        let mut headers = whub_client::Headers::default();
        headers.push("done", "40");
        request.progress(headers, "almost").await?;
        Ok(Reply::text("done"))
    })
    .await;
    call(&mut connection, 2, "/slow", "/slow", b"").await;
    for (status, payload, flags) in
        [(102, &b"almost"[..], Flags::NONE), (200, b"done", Flags::END | Flags::TEXT)]
    {
        let heard = connection.hear(Kind::Response).await;
        let Body::Response(response) = heard.frame().body else { unreachable!() };
        assert_eq!(
            (heard.id(), response.status, heard.payload(), heard.flags()),
            (2, status, payload, flags)
        );
    }
}

#[tokio::test(start_paused = true)]
async fn a_service_answers_what_it_is_asked() {
    let (_hub, mut connection, client) = open().await;
    let service = provide(&mut connection, &client, "/greet/:name", |mut request: Request| async move {
        let name = request.param("name").unwrap_or_default();
        let said =
            format!("{} {name}, says {} ({})", request.text().await?, request.user(), request.client());
        Ok(Reply::text(said).with_status(203).header("X-Left", "1"))
    })
    .await;
    call(&mut connection, 2, "/greet/a%20b", "/greet/:name", b"hello").await;
    let heard = connection.hear(Kind::Response).await;
    let Body::Response(response) = heard.frame().body else { unreachable!() };
    assert_eq!((heard.id(), response.status, heard.flags()), (2, 203, Flags::END | Flags::TEXT));
    assert_eq!(response.headers.get("x-left"), Some("1"));
    assert_eq!(heard.payload(), b"hello a b, says ada (c9)");

    let ending = tokio::spawn(service.unregister_within(Duration::from_secs(3)));
    let heard = connection.hear(Kind::Unregister).await;
    let leaving = Unregister { path: "/greet/:name", grace_ms: 3000 };
    assert_eq!(heard.frame().body, Body::Unregister(leaving));
    connection.agree(heard.id()).await;
    within(ending).await.unwrap().unwrap();
}

#[tokio::test(start_paused = true)]
async fn a_call_that_crosses_with_the_end_of_a_service_is_answered() {
    let (_hub, mut connection, client) = open().await;
    let serve = |_: Request| async { Ok::<_, ServiceError>(Reply::text("still here")) };
    let service = provide(&mut connection, &client, "/a", serve).await;
    let ending = tokio::spawn(service.unregister());
    let farewell = connection.hear(Kind::Unregister).await;
    call(&mut connection, 2, "/a", "/a", b"").await;
    let heard = connection.hear(Kind::Response).await;
    assert_eq!((heard.id(), heard.payload()), (2, &b"still here"[..]));
    connection.agree(farewell.id()).await;
    within(ending).await.unwrap().unwrap();
    call(&mut connection, 4, "/a", "/a", b"").await;
    let heard = connection.hear(Kind::Error).await;
    let Body::Error(failure) = heard.frame().body else { unreachable!() };
    assert_eq!((heard.id(), failure.slug), (4, whub_proto::code::NOT_TAKEN));
}

#[tokio::test(start_paused = true)]
async fn an_error_of_a_service_reaches_the_caller() {
    let (_hub, mut connection, client) = open().await;
    let _service = provide(&mut connection, &client, "/no", |_| async {
        Err(ServiceError::new(Code::Conflict, "not now")
            .slug("no.not_now")
            .retry_after(Duration::from_secs(3)))
    })
    .await;
    call(&mut connection, 2, "/no", "/no", b"").await;
    let heard = connection.hear(Kind::Error).await;
    let Body::Error(failure) = heard.frame().body else { unreachable!() };
    let told = (failure.code, failure.slug, failure.reason, failure.retry_ms);
    assert_eq!(told, (Code::Conflict, "no.not_now", "not now", 3000));
}

#[tokio::test(start_paused = true)]
async fn a_service_that_panics_still_answers() {
    let (_hub, mut connection, client) = open().await;
    let _service = provide(&mut connection, &client, "/boom", |_| async { panic!("as tested") }).await;
    call(&mut connection, 2, "/boom", "/boom", b"").await;
    let heard = connection.hear(Kind::Error).await;
    let Body::Error(failure) = heard.frame().body else { unreachable!() };
    assert_eq!(failure.code, Code::Internal);
}

#[tokio::test(start_paused = true)]
async fn a_busy_service_refuses_at_once() {
    let (_hub, mut connection, client) = open().await;
    let _service = provide(&mut connection, &client, "/wait", |request: Request| async move {
        request.cancelled().await;
        Ok(Reply::default())
    })
    .await;
    for id in [2, 4, 6] {
        call(&mut connection, id, "/wait", "/wait", b"").await;
    }
    let heard = connection.hear(Kind::Error).await;
    let Body::Error(failure) = heard.frame().body else { unreachable!() };
    assert_eq!((heard.id(), failure.code, failure.retry_ms), (6, Code::Unavailable, 100));
    assert_eq!(failure.slug, "call.not_taken", "so that another provider is asked");
}

#[tokio::test(start_paused = true)]
async fn a_handler_learns_that_nobody_waits() {
    let (_hub, mut connection, client) = open().await;
    let (told, noticed) = (Arc::new(AtomicBool::new(false)), Arc::new(tokio::sync::Notify::new()));
    let (tell, notice) = (Arc::clone(&told), Arc::clone(&noticed));
    let _service = provide(&mut connection, &client, "/wait", move |request: Request| {
        let (tell, notice) = (Arc::clone(&tell), Arc::clone(&notice));
        async move {
            notice.notify_one();
            request.cancelled().await;
            tell.store(true, SeqCst);
            notice.notify_one();
            Ok(Reply::text("too late"))
        }
    })
    .await;
    call(&mut connection, 2, "/wait", "/wait", b"").await;
    within(noticed.notified()).await;
    assert!(!told.load(SeqCst));
    connection.say(2, &Body::Cancel(Cancel::default())).await;
    within(noticed.notified()).await;
    assert!(told.load(SeqCst));
    // Its answer is not sent: the next frame is another call's.
    call(&mut connection, 4, "/gone", "/gone", b"").await;
    assert_eq!(connection.hear(Kind::Error).await.id(), 4);
}

#[tokio::test(start_paused = true)]
async fn a_stream_is_sent_as_the_caller_takes_it() {
    let (_hub, mut connection, client) = open().await;
    let _service = provide(&mut connection, &client, "/echo", |request: Request| async move {
        Ok(Reply::stream(request.into_body()))
    })
    .await;
    let via = Via { path: "/echo", ..Via::default() };
    let request = WireRequest { path: "/echo", credit: 10, ..WireRequest::default() };
    connection.say_with(2, Flags::NONE, Some(&via), &Body::Request(request), b"0123456789").await;
    assert_eq!(connection.hear(Kind::Response).await.flags(), Flags::NONE);
    assert_eq!(connection.hear(Kind::Data).await.payload(), b"0123456789");
    connection.say_with(2, Flags::END, None, &Body::Data(Data::default()), b"abc").await;
    assert!(tokio::time::timeout(Duration::from_secs(1), connection.hear_any()).await.is_err());
    connection.say(2, &Body::Credit(Credit { bytes: 10 })).await;
    assert_eq!(connection.hear(Kind::Data).await.payload(), b"abc");
    let last = connection.hear(Kind::Data).await;
    assert_eq!((last.payload(), last.flags()), (&b""[..], Flags::END));
}

#[tokio::test(start_paused = true)]
async fn a_refused_registration_is_an_error() {
    let (_hub, mut connection, client) = open().await;
    let providing =
        tokio::spawn(client.provide("/mine", |_| async { Ok::<_, ServiceError>("") }).into_future());
    let id = connection.hear(Kind::Register).await.id();
    connection.refuse(id, Failure { code: Code::Forbidden, ..Failure::default() }).await;
    assert_eq!(within(providing).await.unwrap().unwrap_err().kind(), ErrorKind::Forbidden);
    let reserved = client.provide("/metrics", |_| async { Ok::<_, ServiceError>("") }).await;
    assert_eq!(reserved.unwrap_err().kind(), ErrorKind::Invalid);
}
