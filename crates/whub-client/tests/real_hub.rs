//! The verbs against a real hub, over every transport; and a hub that dies.

#![allow(clippy::unwrap_used, reason = "the helpers are a part of the tests")]

use std::path::PathBuf;
use std::time::Duration;

use bytes::Bytes;
use tokio::net::{TcpListener, TcpStream};
use tokio::runtime::Runtime;
use tokio::sync::oneshot;
use tokio::task::JoinSet;
use whub_client::{
    Client, Code, Connect, ErrorKind, Event, PairEvent, Reply, Request, RoomEvent, RoomRole, ServiceError,
    SocketClose, SocketMessage, State, connect,
};
use whub_server::{Server, config::Config};

/// Longer than anything here takes on a busy machine.
const SOON: Duration = Duration::from_secs(60);

/// A hub with a runtime of its own, so that it can die as a process does.
struct Hub {
    runtime: Option<Runtime>,
    urls: Vec<String>,
    fingerprint: Option<String>,
    stop: Option<oneshot::Sender<()>>,
}

impl Hub {
    fn start(change: impl FnOnce(&mut Config)) -> Self {
        let runtime =
            tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build().unwrap();
        let mut config = Config { listen: vec!["127.0.0.1:0".parse().unwrap()], ..Config::default() };
        change(&mut config);
        let bound = std::thread::scope(|scope| {
            scope.spawn(|| runtime.block_on(Server::bind(config, "test"))).join().unwrap()
        });
        let server = bound.unwrap();
        let (urls, fingerprint) = (server.urls(), server.fingerprint());
        let (stop, stopped) = oneshot::channel::<()>();
        runtime.spawn(server.run(async move { drop(stopped.await) }));
        Self { runtime: Some(runtime), urls, fingerprint, stop: Some(stop) }
    }

    /// `127.0.0.1:PORT` of the first listener.
    fn authority(&self) -> String {
        self.urls[0].split_once("//").unwrap().1.to_owned()
    }

    fn connect(&self) -> Connect {
        connect(self.urls[0].clone())
    }

    /// Asks it to stop in order.
    fn stop(&mut self) {
        self.stop.take();
    }
}

impl Drop for Hub {
    fn drop(&mut self) {
        if let Some(runtime) = self.runtime.take() {
            runtime.shutdown_background();
        }
    }
}

/// The way to a hub, which can break.
struct Road {
    listener: TcpListener,
    hub: String,
    cars: JoinSet<()>,
}

impl Road {
    async fn to(hub: &Hub) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        Self { listener, hub: hub.authority(), cars: JoinSet::new() }
    }

    fn authority(&self) -> String {
        self.listener.local_addr().unwrap().to_string()
    }

    /// Leads to a hub for ever.
    async fn lead(&mut self) {
        loop {
            let (mut near, _) = self.listener.accept().await.unwrap();
            let mut far = TcpStream::connect(&self.hub).await.unwrap();
            self.cars.spawn(async move {
                // However it ends, it ends.
                let _ = tokio::io::copy_bidirectional(&mut near, &mut far).await;
            });
        }
    }

    /// Breaks every connection and leads elsewhere from now on.
    async fn break_off(&mut self, hub: &Hub) {
        self.cars.shutdown().await;
        self.hub = hub.authority();
    }
}

async fn within<T>(future: impl Future<Output = T>) -> T {
    tokio::time::timeout(SOON, future).await.expect("something happens in time")
}

async fn echo(request: Request) -> Result<Reply, ServiceError> {
    let kind = request.headers().get("content-type").unwrap_or_default().to_owned();
    Ok(Reply::stream(request.into_body()).header("content-type", kind))
}

// ------------------------------------------------------------------------------------- one suite, every transport

async fn every_verb_works(one: Client, other: Client) {
    calls_work(&one, &other).await;
    channels_work(&one, &other).await;
    pairs_work(&one, &other).await;
    rooms_work(&one, &other).await;
    sockets_work(&one, &other).await;
    within(one.drain()).await.unwrap();
    within(other.close()).await.unwrap();
}

async fn calls_work(provider: &Client, caller: &Client) {
    let service = within(provider.provide("/echo/:name", echo).into_future()).await.unwrap();
    let call = caller.call("/echo/a%2Fb").header("content-type", "text/x-test").text("hello");
    let response = within(call.into_future()).await.unwrap();
    assert_eq!((response.status, response.headers.get("content-type")), (200, Some("text/x-test")));
    assert_eq!(within(response.text()).await.unwrap(), "hello");

    // Four windows each way: credit has to flow.
    let large: Bytes = (0..1_000_003_u32).map(|at| at as u8).collect::<Vec<u8>>().into();
    let response = within(caller.call("/echo/large").body(large.clone()).into_future()).await.unwrap();
    assert_eq!(within(response.bytes()).await.unwrap(), large);

    within(service.unregister()).await.unwrap();
    let error = within(caller.call("/echo/gone").into_future()).await.unwrap_err();
    assert_eq!((error.kind(), error.retryable()), (ErrorKind::NotFound, false));
}

async fn channels_work(subscriber: &Client, publisher: &Client) {
    let mut wide = within(subscriber.subscribe("news/#").into_future()).await.unwrap();
    let mut narrow = within(subscriber.subscribe("news/eu").into_future()).await.unwrap();
    let published = within(publisher.publish("news/eu").text("hi").ack().into_future()).await.unwrap();
    assert!(published.receivers >= 1);
    within(publisher.publish("news/eu/north").bytes("ho").into_future()).await.unwrap();
    let message = within(narrow.next()).await.unwrap();
    assert_eq!((message.channel(), message.text().unwrap(), message.is_text()), ("news/eu", "hi", true));
    assert_eq!(within(wide.next()).await.unwrap().text().unwrap(), "hi");
    assert_eq!(within(wide.next()).await.unwrap().channel(), "news/eu/north");
    within(wide.unsubscribe()).await.unwrap();
    within(narrow.unsubscribe()).await.unwrap();
}

async fn pairs_work(one: &Client, other: &Client) {
    let waiting = tokio::spawn(one.pair("room 1").into_future());
    let mut right = within(other.pair("room 1").into_future()).await.unwrap();
    let mut left = within(waiting).await.unwrap().unwrap();
    within(left.send("ping")).await.unwrap();
    assert_eq!(said(within(right.next()).await), "ping");
    // Larger than one frame may be.
    let large = vec![3; 3 << 20];
    within(right.send_bytes(large.clone())).await.unwrap();
    match within(left.next()).await {
        Some(PairEvent::Message(message)) => assert!(message.bytes() == &large),
        event => panic!("{event:?}"),
    }
    within(right.finish()).await.unwrap();
    assert!(matches!(within(left.next()).await, Some(PairEvent::Finished)));
    within(left.send("pong")).await.unwrap();
    assert_eq!(said(within(right.next()).await), "pong");
    within(left.leave()).await.unwrap();
    assert!(matches!(within(right.next()).await, Some(PairEvent::Left { .. })));
}

async fn rooms_work(one: &Client, other: &Client) {
    let mut left = within(one.room("den").secret("s").info("1").into_future()).await.unwrap();
    let error = within(other.room("den").secret("guess").into_future()).await.unwrap_err();
    assert_eq!(error.code(), Code::Forbidden);
    let mut right = within(other.room("den").secret("s").info("2").into_future()).await.unwrap();
    assert!(matches!(within(left.next()).await, Some(RoomEvent::State(state)) if state.me == 1));
    assert!(matches!(within(left.next()).await, Some(RoomEvent::Joined(member)) if member.info == "2"));
    let Some(RoomEvent::State(state)) = within(right.next()).await else { panic!("the state comes first") };
    assert_eq!((state.me, state.members.len(), state.members[0].role), (2, 2, RoomRole::Owner));
    // Larger than one frame may be.
    let large = "x".repeat(3 << 20);
    within(right.send_to(&[1], large.clone())).await.unwrap();
    match within(left.next()).await {
        Some(RoomEvent::Message(message)) => {
            assert!(message.text().unwrap() == large);
            assert_eq!((message.from(), message.to()), (2, &[1][..]));
        }
        event => panic!("{event:?}"),
    }
    assert_eq!(within(right.sender().lock()).await.unwrap_err().code(), Code::Forbidden);
    within(left.sender().kick(&[2], "enough")).await.unwrap();
    assert_eq!(within(right.next()).await, None);
    assert_eq!(right.error().unwrap().code(), Code::Gone);
    assert!(
        matches!(within(left.next()).await, Some(RoomEvent::Left { member: 2, reason }) if reason == "enough")
    );
    within(left.leave()).await.unwrap();
}

/// Says back what it hears; closes as the other side does, or when it is told to.
async fn talk(request: Request) -> Result<Reply, ServiceError> {
    if !request.is_websocket() {
        return Ok(Reply::status(426));
    }
    if request.query() == "refuse" {
        return Err(ServiceError::new(Code::Forbidden, "not you"));
    }
    let protocol = request.protocols().last().map(str::to_owned);
    let mut socket = request.accept(protocol.as_deref()).await?;
    while let Some(message) = socket.next().await? {
        if message.as_text() == Some("leave") {
            socket.close(4001, "as you wish").await?;
            return Ok(Reply::default());
        }
        socket.send(message).await?;
    }
    let SocketClose { code, reason } = socket.close_frame().cloned().unwrap_or_default();
    socket.close(code, &reason).await?;
    Ok(Reply::default())
}

async fn sockets_work(provider: &Client, caller: &Client) {
    let service = within(provider.provide("/talk", talk).into_future()).await.unwrap();
    let opening = caller.websocket("/talk").protocol("one").protocol("two");
    let mut socket = within(opening.into_future()).await.unwrap();
    assert_eq!(socket.protocol(), Some("two"));
    // Larger than a frame, and than all windows.
    let large: Bytes = vec![7; 3 << 20].into();
    let messages =
        [SocketMessage::text("gr\u{fc}\u{df}e"), SocketMessage::binary(""), SocketMessage::binary(large)];
    for message in messages {
        within(socket.send(message.clone())).await.unwrap();
        assert!(within(socket.next()).await.unwrap() == Some(message));
    }
    within(socket.close(3001, "enough")).await.unwrap();

    let mut socket = within(caller.websocket("/talk").into_future()).await.unwrap();
    within(socket.send("leave")).await.unwrap();
    assert_eq!(within(socket.next()).await.unwrap(), None);
    let expected = SocketClose { code: 4001, reason: "as you wish".to_owned() };
    assert_eq!(socket.close_frame(), Some(&expected));
    within(socket.close(4001, "")).await.unwrap();

    let error = within(caller.websocket("/talk?refuse").into_future()).await.unwrap_err();
    assert_eq!((error.kind(), error.reason()), (ErrorKind::Forbidden, "not you"));
    let plain = within(caller.call("/talk").into_future()).await.unwrap();
    assert_eq!(plain.status, 426);
    within(service.unregister()).await.unwrap();
}

fn said(event: Option<PairEvent>) -> String {
    match event {
        Some(PairEvent::Message(message)) => message.text().unwrap().to_owned(),
        event => panic!("{event:?}"),
    }
}

#[tokio::test]
async fn every_verb_works_over_websocket() {
    let hub = Hub::start(|_| {});
    every_verb_works(within(hub.connect().into_future()).await.unwrap(), hub.connect().await.unwrap()).await;
}

#[tokio::test]
async fn every_verb_works_over_tcp() {
    let hub = Hub::start(|_| {});
    let url = format!("tcp://{}", hub.authority());
    every_verb_works(within(connect(&url).into_future()).await.unwrap(), hub.connect().await.unwrap()).await;
}

#[tokio::test]
async fn every_verb_works_over_a_unix_socket() {
    let path = std::env::temp_dir().join(format!("whub-client-{}.sock", std::process::id()));
    let _remove = Remove(path.clone());
    let hub = Hub::start(|config| config.listen.push(format!("unix:{}", path.display()).parse().unwrap()));
    let url = hub.urls[1].clone();
    every_verb_works(within(connect(&url).into_future()).await.unwrap(), connect(&url).await.unwrap()).await;
}

#[tokio::test]
async fn every_verb_works_over_tls() {
    let hub = Hub::start(|config| config.tls.self_signed = true);
    let pin = hub.fingerprint.clone().unwrap();
    let own = connect(format!("tls://{}", hub.authority())).tls_fingerprint(&pin).unwrap();
    let websocket = hub.connect().tls_fingerprint(&pin).unwrap();
    every_verb_works(
        within(own.into_future()).await.unwrap(),
        within(websocket.into_future()).await.unwrap(),
    )
    .await;
    let stranger = within(hub.connect().into_future()).await.unwrap_err();
    assert_eq!(stranger.kind(), ErrorKind::ConnectionLost);
}

/// Removes a file at the end of a test, however it ends.
struct Remove(PathBuf);

impl Drop for Remove {
    fn drop(&mut self) {
        let _ = std::fs::remove_file(&self.0);
    }
}

// ---------------------------------------------------------------------------------------------- loss and recovery

#[tokio::test]
async fn a_client_survives_its_hub() {
    let (first, second) = (Hub::start(|_| {}), Hub::start(|_| {}));
    let mut road = Road::to(&first).await;
    let authority = road.authority();
    let driving = async {
        let (dead, died) = oneshot::channel();
        let surviving = tokio::spawn(survive(authority, dead));
        tokio::select! {
            () = road.lead() => {}
            died = died => died.unwrap(),
        }
        drop(first);
        road.break_off(&second).await;
        tokio::select! {
            () = road.lead() => {}
            outcome = surviving => outcome.unwrap(),
        }
    };
    within(driving).await;
}

/// The client's part; `dead` asks for the hub's death.
async fn survive(authority: String, dead: oneshot::Sender<()>) {
    let client = connect(format!("ws://{authority}")).await.unwrap();
    let _service = client.provide("/echo", echo).await.unwrap();
    let mut news = client.subscribe("news/+").await.unwrap();
    let hanging = |request: Request| async move {
        request.cancelled().await;
        Ok::<_, ServiceError>(())
    };
    let _hanging = client.provide("/hang", hanging).await.unwrap();
    let mut events = client.events();
    let calling = tokio::spawn(client.call("/hang").timeout(SOON).into_future());
    client.publish("news/eu").text("before").ack().await.unwrap();
    assert_eq!(news.next().await.unwrap().text().unwrap(), "before");

    dead.send(()).unwrap();
    let error = calling.await.unwrap().unwrap_err();
    assert_eq!((error.kind(), error.retryable()), (ErrorKind::ConnectionLost, true));
    while !matches!(events.next().await, Some(Event::Resubscribed { recovered: false, .. })) {}
    assert!(matches!(client.state(), State::Open));
    client.publish("news/eu").text("after").await.unwrap();
    assert_eq!(news.next().await.unwrap().text().unwrap(), "after");
    let response = client.call("/echo").text("still here").await.unwrap();
    assert_eq!(response.text().await.unwrap(), "still here");
}

#[tokio::test]
async fn a_websocket_ends_with_its_provider() {
    let hub = Hub::start(|_| {});
    let provider = within(hub.connect().into_future()).await.unwrap();
    let caller = within(hub.connect().into_future()).await.unwrap();
    let _service = within(provider.provide("/talk", talk).into_future()).await.unwrap();
    let mut socket = within(caller.websocket("/talk").into_future()).await.unwrap();
    within(socket.send("hi")).await.unwrap();
    assert_eq!(within(socket.next()).await.unwrap(), Some(SocketMessage::text("hi")));
    within(provider.close()).await.unwrap();
    let error = within(socket.next()).await.unwrap_err();
    assert_eq!((error.kind(), error.retryable()), (ErrorKind::ProviderLost, true));
}

#[tokio::test]
async fn a_stopping_hub_lets_calls_finish() {
    let mut hub = Hub::start(|_| {});
    let client = within(hub.connect().into_future()).await.unwrap();
    let (begun, begin) = oneshot::channel::<()>();
    let (go_on, told) = oneshot::channel::<()>();
    let once = std::sync::Mutex::new(Some((begun, told)));
    let slow = move |_: Request| {
        let once = once.lock().unwrap().take();
        async move {
            let (begun, told) = once.expect("one call");
            let _ = begun.send(());
            let _ = told.await;
            Ok::<_, ServiceError>("done")
        }
    };
    let _service = within(client.provide("/slow", slow).into_future()).await.unwrap();
    let mut events = client.events();
    let calling = tokio::spawn(client.call("/slow").into_future());
    within(begin).await.unwrap();
    hub.stop();
    while !matches!(within(events.next()).await, Some(Event::Drain { .. })) {}
    go_on.send(()).unwrap();
    let response = within(calling).await.unwrap().unwrap();
    assert_eq!(within(response.text()).await.unwrap(), "done");
}

#[tokio::test]
async fn a_wrong_token_is_told_and_not_tried_for_ever() {
    let hub = Hub::start(|config| config.auth.anonymous = Some(Default::default()));
    let error = within(hub.connect().token("wrong").into_future()).await.unwrap_err();
    assert_eq!((error.kind(), error.code()), (ErrorKind::Unauthorized, Code::Unauthorized));
    assert!(!error.retryable());
}

#[tokio::test]
async fn a_place_without_a_hub_is_told_apart() {
    let hub = Hub::start(|_| {});
    let error =
        within(connect(format!("ws://{}/v1/elsewhere", hub.authority())).into_future()).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::NotFound, "{error:?}");
    let authority = hub.authority();
    drop(hub);
    let error = within(connect(format!("tcp://{authority}")).into_future()).await.unwrap_err();
    assert_eq!((error.kind(), error.retryable()), (ErrorKind::ConnectionLost, true));
}

#[tokio::test]
async fn messages_to_oneself_come_to_the_inbox() {
    let hub = Hub::start(|_| {});
    let (ada, bob) = (hub.connect().await.unwrap(), hub.connect().await.unwrap());
    let mut inbox = bob.inbox().await.unwrap();
    let sent = ada.call("/message/broadcast").method("POST").text("hello").await.unwrap();
    assert_eq!(sent.status, 200);
    let message = tokio::time::timeout(SOON, inbox.next()).await.unwrap().unwrap();
    assert_eq!((message.channel(), message.text().unwrap()), ("$inbox", "hello"));
    // An answer reaches whoever sent it by the name that the message gives.
    let mut answers = ada.inbox().await.unwrap();
    let to = message.client().to_owned();
    bob.call("/message/send").method("POST").header("x-to", to).text("hello yourself").await.unwrap();
    let answer = tokio::time::timeout(SOON, answers.next()).await.unwrap().unwrap();
    assert_eq!(answer.text().unwrap(), "hello yourself");
}

/// Much is said in two pairs, each way, so that each client waits for the other in one while it says in the other what it
/// has.
#[tokio::test]
async fn who_shares_two_pairs_with_somebody_does_not_wait_for_ever() {
    const PIECES: usize = 200;
    let hub = Hub::start(|config| config.limits.mailbox_bytes = 1);
    let (ada, bob) = (hub.connect().await.unwrap(), hub.connect().await.unwrap());
    let mut talks = JoinSet::new();
    for room in ["one", "two"] {
        for client in [&ada, &bob] {
            let joining = client.pair(room).grace(Duration::from_secs(30)).into_future();
            talks.spawn(async move {
                let (sender, mut receiver) = joining.await.unwrap().split();
                let speaking = tokio::spawn(async move {
                    for _ in 0..PIECES {
                        sender.send_bytes(vec![7; 40_000]).await.unwrap();
                    }
                    sender.finish().await.unwrap();
                    sender
                });
                let mut heard = 0;
                while let Some(event) = receiver.next().await {
                    if matches!(event, PairEvent::Finished) {
                        break;
                    }
                    let is_message = matches!(event, PairEvent::Message(_));
                    assert!(is_message || matches!(event, PairEvent::Ready { .. }), "{event:?}");
                    heard += usize::from(is_message);
                }
                (heard, speaking.await.unwrap())
            });
        }
    }
    while let Some(talk) = within(talks.join_next()).await {
        assert_eq!(talk.unwrap().0, PIECES);
    }
}
