//! A service of the node's own process answers as any provider does.

use std::sync::Arc;

use tokio::sync::{Notify, Semaphore};
use whub_proto::{Body, Cancel, Code, Credit, Data, Flags, Kind, Request};
use whub_server::{LocalAnswer, LocalRequest, LocalService, Module, ModuleError, Setup};

use crate::browser::Browser;
use crate::common::{Client, Heard, Node};

/// A module with one service.
struct One(Option<LocalService>);

impl Module for One {
    fn name(&self) -> &'static str {
        "one"
    }

    fn init(&mut self, setup: &mut Setup<'_>) -> Result<(), ModuleError> {
        setup.service(self.0.take().expect("init is called once"));
        Ok(())
    }
}

async fn serving<F, Fut, A>(pattern: &str, handler: F) -> Node
where
    F: Fn(LocalRequest) -> Fut + Send + Sync + 'static,
    Fut: Future<Output = A> + Send + 'static,
    A: Into<LocalAnswer>,
{
    let service = LocalService::new(pattern, handler).unwrap();
    Node::built(|_| {}, |builder| builder.module(One(Some(service)))).await
}

async fn call(client: &mut Client, id: u64, path: &str) {
    client.send(id, Flags::END, &request(path), b"").await;
}

fn request(path: &str) -> Body<'_> {
    Body::Request(Request { path, ..Request::default() })
}

fn code(heard: &Heard) -> Code {
    let Body::Error(failure) = heard.frame().body else { panic!("an error, not {heard:?}") };
    failure.code
}

/// Tells when it is dropped.
struct Bell(Arc<Notify>);

impl Drop for Bell {
    fn drop(&mut self) {
        self.0.notify_one();
    }
}

#[tokio::test]
async fn a_call_is_answered_over_http_and_over_the_protocol() {
    let node = serving("/greet/:name/*rest", |mut request| async move {
        let body = request.bytes(100).await?;
        let name = request.param("name").unwrap_or_default();
        let query = request.query_value("q").unwrap_or_default();
        let text = format!(
            "{} {name} {} {query} {} {}",
            request.method,
            request.rest,
            request.caller.user,
            String::from_utf8_lossy(&body)
        );
        Ok::<_, whub_core::Fault>(LocalAnswer::text(text).with_status(201).with_header("X-A", "1"))
    })
    .await;
    let mut browser = Browser::visit(&node).await;
    let answer = browser.ask("POST /greet/a%20b/c%2Fd?q=x+%79", b"hello").await;
    assert_eq!((answer.status, answer.text()), (201, "POST a b c%2Fd x y  hello"));
    assert!(answer.is("content-type", "text/plain; charset=utf-8") && answer.is("x-a", "1"));
    let mut client = node.client().await;
    client.send(1, Flags::END, &request("/greet/a"), b"hi").await;
    let heard = client.hear().await;
    assert_eq!((heard.kind, heard.id, &*heard.payload), (Kind::Response, 1, &b" a    hi"[..]));
    assert_eq!(node.hub.counters.calls_answered.read(), 2);
    assert_eq!(node.hub.services.list()[0].stats.latency.read().count, 2);
}

#[tokio::test]
async fn a_fault_of_the_handler_is_the_outcome() {
    let node = serving("/teapot", |_| async {
        Err::<LocalAnswer, _>(whub_core::Fault::passing(Code::Unavailable, "tea.cold", 700, "come back"))
    })
    .await;
    let mut client = node.client().await;
    call(&mut client, 1, "/teapot").await;
    let heard = client.hear().await;
    let Body::Error(failure) = heard.frame().body else { panic!("{heard:?}") };
    assert_eq!((failure.code, failure.slug, failure.retry_ms), (Code::Unavailable, "tea.cold", 700));
    let answer = Browser::visit(&node).await.ask("GET /teapot", b"").await;
    assert_eq!(answer.status, 503);
    let service = &node.hub.services.list()[0];
    assert_eq!(service.stats.errors.each().collect::<Vec<_>>(), [(Code::Unavailable, 2)]);
    assert_eq!((service.stats.calls.read(), service.providers()[0].stats.errors.total()), (2, 2));
}

#[tokio::test]
async fn bodies_of_any_length_go_both_ways_as_fast_as_they_are_taken() {
    let node = serving("/double", |mut request| async move {
        LocalAnswer::stream(|mut writer| async move {
            while let Some(chunk) = request.body.chunk().await {
                writer.write(&chunk).await;
                writer.write(&chunk).await;
            }
            let trailers = request.body.trailers().len().to_string();
            writer.finish_with(&[("x-trailers", &trailers)]);
        })
    })
    .await;
    let sent: Vec<u8> = (0..300_000_u32).map(|n| (n / 7) as u8).collect();
    let answer = Browser::visit(&node).await.ask("POST /double", &sent).await;
    assert_eq!((answer.status, answer.body.len()), (200, 2 * sent.len()));
    // Over the protocol, with little credit: the writer waits for more of it.
    let mut client = node.client().await;
    let asked = Request { path: "/double", credit: 4, ..Request::default() };
    client.send(1, Flags::NONE, &Body::Request(asked), b"abc").await;
    assert_eq!(client.hear().await.kind, Kind::Response);
    assert_eq!(client.hear().await.payload, b"abc");
    assert_eq!(client.hear().await.payload, b"a");
    client.send(1, Flags::END, &Body::Data(Data::default()), b"").await;
    client.say(1, &Body::Credit(Credit { bytes: 100 })).await;
    assert_eq!(client.hear().await.payload, b"bc");
    let last = client.hear().await;
    let Body::Data(data) = last.frame().body else { panic!("{last:?}") };
    assert_eq!((last.flags.contains(Flags::END), data.headers.get("x-trailers")), (true, Some("0")));
}

#[tokio::test]
async fn an_abandoned_call_drops_its_handler() {
    let (begun, dropped) = (Arc::new(Notify::new()), Arc::new(Notify::new()));
    let (began, bell) = (Arc::clone(&begun), Arc::clone(&dropped));
    let node = serving("/forever", move |_| {
        let bell = Bell(Arc::clone(&bell));
        began.notify_one();
        async move {
            let _bell = bell;
            std::future::pending::<&str>().await
        }
    })
    .await;
    let mut client = node.client().await;
    call(&mut client, 1, "/forever").await;
    begun.notified().await;
    client.say(1, &Body::Cancel(Cancel::default())).await;
    assert_eq!(code(&client.hear().await), Code::Cancelled);
    dropped.notified().await;
    // The same when the caller just leaves.
    call(&mut client, 3, "/forever").await;
    begun.notified().await;
    drop(client);
    dropped.notified().await;
    node.until(|hub| hub.counters.calls_cancelled.read() == 2).await;
}

#[tokio::test]
async fn an_answer_that_does_not_come_is_a_deadline_and_a_panic_an_error() {
    let node = serving("/:what", |request| async move {
        if request.path == "/panic" {
            panic!("as the test wants");
        }
        std::future::pending::<&str>().await
    })
    .await;
    let mut client = node.client().await;
    let asked = Request { path: "/late", timeout_ms: 10, ..Request::default() };
    client.send(1, Flags::END, &Body::Request(asked), b"").await;
    assert_eq!(code(&client.hear().await), Code::DeadlineExceeded);
    call(&mut client, 3, "/panic").await;
    assert_eq!(code(&client.hear().await), Code::Internal);
    assert_eq!(node.hub.counters.calls_deadline.read(), 1);
}

#[tokio::test]
async fn a_body_that_is_not_finished_is_not_taken_for_whole() {
    let node = serving("/half", |_| async {
        LocalAnswer::stream(|mut writer| async move { writer.write(b"half").await })
    })
    .await;
    let mut client = node.client().await;
    call(&mut client, 1, "/half").await;
    assert_eq!(client.hear().await.kind, Kind::Response);
    assert_eq!(client.hear().await.payload, b"half");
    assert_eq!(code(&client.hear().await), Code::Internal);
}

#[tokio::test]
async fn calls_beyond_the_concurrency_wait_and_beyond_the_queue_are_refused() {
    let (gate, begun) = (Arc::new(Semaphore::new(0)), Arc::new(Semaphore::new(0)));
    let (wait, begin) = (Arc::clone(&gate), Arc::clone(&begun));
    let service = LocalService::new("/narrow", move |_| {
        begin.add_permits(1);
        let wait = Arc::clone(&wait);
        async move {
            wait.acquire().await.expect("it is never closed").forget();
            "done"
        }
    });
    let service = service.unwrap().concurrency(1).queue(1);
    let node = Node::built(|_| {}, |builder| builder.module(One(Some(service)))).await;
    let mut client = node.client().await;
    for id in [1, 3, 5] {
        call(&mut client, id, "/narrow").await;
    }
    let heard = client.hear().await;
    assert_eq!((heard.id, code(&heard)), (5, Code::Unavailable));
    begun.acquire().await.unwrap().forget();
    assert_eq!(begun.available_permits(), 0, "the second call waits for the first");
    gate.add_permits(2);
    assert_eq!(client.hear().await.id, 1);
    assert_eq!(client.hear().await.id, 3);
}
