//! An access node takes the clients, a service node the providers; both in one process, on two ports.

use whub_core::{Choose, Joined};
use whub_proto::{Body, Cancel, Code, Credit, Data, Flags, Kind, Register, Request, Response};
use whub_server::config::Config;
use whub_server::{LocalService, Module, ModuleError, Setup};

use crate::browser::Browser;
use crate::common::{Client, Heard, Node};

async fn node(name: &str, roles: &[&str]) -> Node {
    let roles = roles.iter().map(|role| (*role).to_owned()).collect();
    Node::built(|config| config.node.roles = roles, |builder| builder.name(name)).await
}

/// An access node, joined to a service node.
async fn two() -> (Node, Node, Joined) {
    let (front, back) = (node("front", &["access"]).await, node("back", &["service"]).await);
    let joined = front.handle.join(&back.handle);
    (front, back, joined)
}

fn code(heard: &Heard) -> Code {
    let Body::Error(failure) = heard.frame().body else { panic!("an error, not {heard:?}") };
    failure.code
}

fn request(path: &str) -> Body<'_> {
    Body::Request(Request { path, ..Request::default() })
}

async fn get(node: &Node, path: &str) -> (u16, String) {
    let answer = Browser::visit(node).await.ask(&format!("GET {path}"), b"").await;
    (answer.status, answer.text().to_owned())
}

async fn answer(provider: &mut Client, payload: &[u8]) {
    let asked = provider.hear().await;
    assert_eq!(asked.kind, Kind::Request, "{asked:?}");
    provider.send(asked.id, Flags::END, &Body::Response(Response::default()), payload).await;
}

#[tokio::test]
async fn each_node_does_what_its_roles_say() {
    let (front, back, _joined) = two().await;
    let mut provider = front.client().await;
    provider.say(1, &Body::Register(Register { path: "/x", ..Register::default() })).await;
    let refused = provider.hear().await;
    assert!(format!("{:?}", refused.frame().body).contains("node.no_services"), "{refused:?}");
    let mut provider = back.client().await;
    provider.register(1, "/x").await;
    let (status, problem) = get(&back, "/x").await;
    assert!(status == 501 && problem.contains("node.no_access"), "{status} {problem}");
    for node in [&front, &back] {
        assert_eq!(get(node, "/status").await.0, 200, "the hub's own services are everywhere");
    }
}

#[tokio::test]
async fn a_call_crosses_and_its_answer_comes_back() {
    let (front, back, _joined) = two().await;
    let mut provider = back.client().await;
    provider.register(1, "/far/:x").await;
    let providing = async {
        let asked = provider.hear().await;
        let frame = asked.frame();
        let Body::Request(request) = frame.body else { panic!("{asked:?}") };
        let via = frame.via.unwrap();
        assert_eq!((request.path, via.node, via.path), ("/far/a", "front", "/far/:x"));
        assert!(via.client.starts_with("c-") && via.peer.starts_with("127.0.0.1:"), "{via:?}");
        provider.send(asked.id, Flags::END, &Body::Response(Response::default()), b"from afar").await;
    };
    let (answered, ()) = tokio::join!(get(&front, "/far/a"), providing);
    assert_eq!(answered, (200, "from afar".to_owned()));
    // It counts at both nodes, and nothing is left over.
    for hub in [&front.hub, &back.hub] {
        assert_eq!((hub.counters.calls_accepted.read(), hub.counters.calls_answered.read()), (1, 1));
        assert_eq!(hub.services.list()[0].inflight(), 0);
    }
    // What is no longer provided there is not found here.
    drop(provider);
    back.until(|hub| hub.services.list().is_empty()).await;
    assert_eq!(get(&front, "/far/a").await.0, 404);
}

#[tokio::test]
async fn bodies_stream_both_ways_with_their_credit() {
    let (front, back, _joined) = two().await;
    let (mut provider, mut caller) = (back.client().await, front.client().await);
    provider.register(1, "/stream").await;
    let asked = Request { path: "/stream", credit: 3, ..Request::default() };
    caller.send(1, Flags::NONE, &Body::Request(asked), b"a").await;
    let id = provider.hear().await.id;
    caller.send(1, Flags::NONE, &Body::Data(Data::default()), b"b").await;
    assert_eq!(provider.hear().await.payload, b"b");
    provider.say(id, &Body::Credit(Credit { bytes: 7 })).await;
    let Body::Credit(Credit { bytes: 7 }) = caller.hear().await.frame().body else { panic!() };
    provider.send(id, Flags::NONE, &Body::Response(Response::default()), b"").await;
    assert_eq!(caller.hear().await.kind, Kind::Response);
    provider.send(id, Flags::NONE, &Body::Data(Data::default()), b"xyz").await;
    assert_eq!(caller.hear().await.payload, b"xyz");
    caller.say(1, &Body::Credit(Credit { bytes: 1 })).await;
    let Body::Credit(Credit { bytes: 1 }) = provider.hear().await.frame().body else { panic!() };
    caller.send(1, Flags::END, &Body::Data(Data::default()), b"c").await;
    let last = provider.hear().await;
    assert_eq!((&*last.payload, last.flags.contains(Flags::END)), (&b"c"[..], true));
    provider.send(id, Flags::END, &Body::Data(Data::default()), b"!").await;
    let last = caller.hear().await;
    assert_eq!((&*last.payload, last.flags.contains(Flags::END)), (&b"!"[..], true));
    // Over HTTP, more than fits into one window, each way.
    let body: Vec<u8> = (0..600_000_u32).map(|n| (n / 7) as u8).collect();
    let echoing = async {
        let asked = provider.hear().await;
        provider.send(asked.id, Flags::NONE, &Body::Response(Response::default()), b"").await;
        let (mut left, mut allowed, mut pending) = (600_000, 256 * 1024, Vec::new());
        while left > 0 {
            let heard = provider.hear().await;
            if let Body::Credit(credit) = heard.frame().body {
                allowed += credit.bytes as usize;
            } else {
                assert_eq!(heard.kind, Kind::Data, "{heard:?}");
                let bytes = u32::try_from(heard.payload.len()).unwrap();
                pending.extend(heard.payload);
                provider.say(asked.id, &Body::Credit(Credit { bytes })).await;
            }
            let piece: Vec<u8> = pending.drain(..pending.len().min(allowed)).collect();
            provider.send(asked.id, Flags::NONE, &Body::Data(Data::default()), &piece).await;
            allowed -= piece.len();
            left -= piece.len();
        }
        provider.send(asked.id, Flags::END, &Body::Data(Data::default()), b"").await;
    };
    let mut browser = Browser::visit(&front).await;
    let (answered, ()) = tokio::join!(browser.ask("POST /stream", &body), echoing);
    assert!(answered.status == 200 && answered.body == body, "{} {}", answered.status, answered.body.len());
}

#[tokio::test]
async fn losses_cancels_and_deadlines_cross_too() {
    let (front, back, _joined) = two().await;
    let mut provider = back.client().await;
    provider.register(1, "/x").await;
    let mut caller = front.client().await;
    // The caller cancels; the provider is told.
    caller.send(1, Flags::END, &request("/x"), b"").await;
    let asked = provider.hear().await;
    caller.say(1, &Body::Cancel(Cancel::default())).await;
    assert_eq!(code(&caller.hear().await), Code::Cancelled);
    let told = provider.hear().await;
    assert_eq!((told.kind, told.id), (Kind::Cancel, asked.id));
    // The deadline passes.
    let late = Request { path: "/x", timeout_ms: 20, ..Request::default() };
    caller.send(3, Flags::END, &Body::Request(late), b"").await;
    assert_eq!(provider.hear().await.kind, Kind::Request);
    assert_eq!(code(&caller.hear().await), Code::DeadlineExceeded);
    assert_eq!(provider.hear().await.kind, Kind::Cancel);
    // The provider is lost.
    caller.send(5, Flags::END, &request("/x"), b"").await;
    assert_eq!(provider.hear().await.kind, Kind::Request);
    drop(provider);
    assert_eq!(code(&caller.hear().await), Code::ProviderLost);
    front.until(|hub| hub.services.list().is_empty()).await;
    let counters = &front.hub.counters;
    let ended = [&counters.calls_cancelled, &counters.calls_deadline, &counters.calls_provider_lost];
    assert_eq!(ended.map(whub_core::Counter::read), [1, 1, 1]);
}

#[tokio::test]
async fn nodes_that_part_lose_what_is_under_way() {
    let (front, back, joined) = two().await;
    let mut provider = back.client().await;
    provider.register(1, "/x").await;
    let mut caller = front.client().await;
    caller.send(1, Flags::END, &request("/x"), b"").await;
    assert_eq!(provider.hear().await.kind, Kind::Request);
    drop(joined);
    assert_eq!(code(&caller.hear().await), Code::ProviderLost);
    assert_eq!(provider.hear().await.kind, Kind::Cancel);
    assert_eq!(get(&front, "/x").await.0, 404);
    // What comes later is not taken over.
    provider.register(3, "/y").await;
    assert_eq!(get(&front, "/y").await.0, 404);
}

#[tokio::test]
async fn services_of_this_node_come_first_and_calls_do_not_go_round() {
    struct Here(&'static str);
    impl Module for Here {
        fn name(&self) -> &'static str {
            "here"
        }

        fn init(&mut self, setup: &mut Setup<'_>) -> Result<(), ModuleError> {
            let name = self.0;
            setup.service(LocalService::new("/where", move |_| async move { name })?);
            Ok(())
        }
    }
    let prefer_own = |config: &mut Config| config.service_defaults.choose = Choose::Local;
    let one = Node::built(prefer_own, |builder| builder.module(Here("one"))).await;
    let two = Node::built(prefer_own, |builder| builder.module(Here("two"))).await;
    let mut provider = two.client().await;
    provider.register(1, "/only").await;
    let _joined = [one.handle.join(&two.handle), two.handle.join(&one.handle)];
    for _ in 0..5 {
        assert_eq!(get(&one, "/where").await.1, "one");
        assert_eq!(get(&two, "/where").await.1, "two");
    }
    let (answered, ()) = tokio::join!(get(&one, "/only"), answer(&mut provider, b"over there"));
    assert_eq!(answered, (200, "over there".to_owned()));
    drop(provider);
    two.until(|hub| hub.services.list().len() == 1).await;
    assert_eq!(get(&one, "/only").await.0, 404);
}
