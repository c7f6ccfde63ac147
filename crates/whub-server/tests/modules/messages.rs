//! Messages to clients, and what becomes of them at each.

use serde_json::json as value;
use whub_proto::{Body, Flags, Format, Headers, Kind, Publish, Request};

use crate::common::{Client, Heard, Node};
use crate::people::{ask, join, json, people};

async fn inbox(client: &mut Client) -> Heard {
    let heard = client.hear().await;
    let Body::Message(message) = heard.frame().body else { panic!("a message, not {heard:?}") };
    assert_eq!((heard.id, message.channel), (0, "$inbox"));
    heard
}

#[tokio::test]
async fn a_message_reaches_every_session_of_its_recipients_once() {
    let node = Node::with(people).await;
    let (mut bob, bob_id) = join(&node, "bob", "").await;
    let (mut other_bob, _) = join(&node, "bob", "").await;
    let (mut eve, eve_id) = join(&node, "eve", "").await;
    let letter =
        value!({ "to": ["@night", "bob", bob_id, "nobody"], "data": { "n": 1 }, "headers": { "X-A": "b" } });
    let sent =
        ask(&node, "ada", "POST /message/send\nContent-Type: application/json\n", &letter.to_string()).await;
    assert_eq!(sent.status, 200);
    let outcomes = json(&sent);
    assert_eq!((&outcomes["delivered"], &outcomes["not_found"]), (&value!(6), &value!(1)), "{outcomes}");
    assert_eq!(outcomes["outcomes"][2], value!({ "to": "@night", "client": eve_id, "outcome": "delivered" }));
    assert_eq!(outcomes["outcomes"][6], value!({ "to": "nobody", "client": null, "outcome": "not_found" }));
    for client in [&mut bob, &mut other_bob, &mut eve] {
        let heard = inbox(client).await;
        let Body::Message(message) = heard.frame().body else { panic!() };
        assert_eq!((message.format, message.headers.get("x-a")), (Format::Json, Some("b")));
        assert_eq!((&*heard.payload, heard.frame().via.unwrap().user), (&br#"{"n":1}"#[..], "ada"));
    }
    // Each of them got it once: the next frame is the answer to what it asks now.
    bob.subscribe(1, "news").await;
    let counters = &node.hub.counters;
    assert_eq!((counters.deliveries_accepted.read(), counters.deliveries_delivered.read()), (3, 3));
}

#[tokio::test]
async fn the_body_is_the_message_where_the_recipients_stand_beside_it() {
    let node = Node::with(people).await;
    let (mut bob, bob_id) = join(&node, "bob", "").await;
    for head in ["POST /message/send\nX-To: bob", "POST /message/send?to=nobody,bob\n"] {
        let sent = ask(&node, "ada", &format!("{head}\nContent-Type: text/plain\n"), "good morning").await;
        assert_eq!(json(&sent)["delivered"], 1, "{head}");
        let heard = inbox(&mut bob).await;
        assert_eq!((&*heard.payload, heard.flags.contains(Flags::TEXT)), (&b"good morning"[..], true));
    }
    // Over the protocol, by a session, which is named as the sender.
    let (mut ada, ada_id) = join(&node, "ada", "").await;
    let to = [("x-to", &*bob_id)];
    let request = Request { path: "/message/send", headers: Headers::new(&to), ..Request::default() };
    ada.send(1, Flags::END, &Body::Request(request), &[0, 255]).await;
    assert_eq!(ada.hear().await.kind, Kind::Response);
    let heard = inbox(&mut bob).await;
    assert_eq!((&*heard.payload, heard.frame().via.unwrap().client), (&[0, 255][..], &*ada_id));
}

#[tokio::test]
async fn a_broadcast_reaches_everybody() {
    let node = Node::with(people).await;
    let (mut bob, _) = join(&node, "bob", "").await;
    let (mut eve, _) = join(&node, "eve", "").await;
    let sent = ask(&node, "bob", "POST /message/broadcast", "fire").await;
    assert_eq!((sent.status, &json(&sent)["delivered"]), (200, &value!(2)));
    assert_eq!(inbox(&mut bob).await.payload, b"fire");
    assert_eq!(inbox(&mut eve).await.payload, b"fire");
    assert_eq!(ask(&node, "eve", "POST /message/broadcast", "fire").await.status, 403);
}

#[tokio::test]
async fn a_grant_says_to_whom() {
    let node = Node::with(|config| {
        people(config);
        config.tokens[2].grant.message = vec!["bob".parse().unwrap(), "@day".parse().unwrap()];
    })
    .await;
    let (mut bob, bob_id) = join(&node, "bob", "").await;
    let (_ada, ada_id) = join(&node, "ada", "").await;
    let letter = value!({ "to": ["bob", bob_id, "@day", "ada", ada_id, "nobody", "@night"], "text": "hi" });
    let sent =
        ask(&node, "eve", "POST /message/send\nContent-Type: application/json\n", &letter.to_string()).await;
    let outcomes: Vec<_> = json(&sent)["outcomes"]
        .as_array()
        .unwrap()
        .iter()
        .map(|one| one["outcome"].as_str().unwrap().to_owned())
        .collect();
    // The last is a group, in which bob is: whom one may write to, one may reach by any address.
    let expected =
        ["delivered", "delivered", "not_found", "forbidden", "forbidden", "forbidden", "delivered"];
    assert_eq!(outcomes, expected);
    assert_eq!(inbox(&mut bob).await.payload, b"hi");
}

#[tokio::test]
async fn who_may_not_send_does_not_learn_how_many_there_are() {
    let node = Node::with(people).await;
    let letter = value!({ "to": ["bob", "@night"], "text": "hi" }).to_string();
    let head = "POST /message/send\nContent-Type: application/json\n";
    let nobody = json(&ask(&node, "eve", head, &letter).await);
    let _sessions = [join(&node, "bob", "").await, join(&node, "bob", "").await];
    let many = json(&ask(&node, "eve", head, &letter).await);
    assert_eq!((&many["forbidden"], many == nobody), (&value!(2), true), "{many}");
}

#[tokio::test]
async fn a_message_that_makes_no_sense_says_what_to_do() {
    let node = Node::start().await;
    for (body, part) in [
        ("{}", "names nobody"),
        (r#"{"to":"a"}"#, "one of"),
        (r#"{"to":"a","text":"x","b64":"eA=="}"#, "one of"),
        (r#"{"to":"a","b64":"?"}"#, "base64"),
        (r#"{"too":"a"}"#, "too"),
        ("not json", "JSON"),
    ] {
        let sent = ask(&node, "", "POST /message/send\nContent-Type: application/json\n", body).await;
        assert_eq!(sent.status, 400, "{body}");
        assert!(sent.text().contains(part), "{body}: {}", sent.text());
    }
    assert_eq!(ask(&node, "", "GET /message/send", "").await.status, 405);
    let mut client = node.client().await;
    client.say(1, &Body::Publish(Publish { channel: "$inbox", ..Publish::default() })).await;
    assert_eq!(client.hear().await.kind, Kind::Error, "the inbox is the hub's own");
}

#[tokio::test]
async fn a_session_that_does_not_read_loses_messages_and_is_told_so() {
    let node = Node::with(|config| config.limits.mailbox_bytes = 64 * 1024).await;
    let (mut slow, id) = join(&node, "", "").await;
    let path = format!("POST /message/send?to={id}");
    let text = "x".repeat(32 * 1024);
    let mut sent = 0;
    loop {
        let outcome = json(&crate::browser::Browser::visit(&node).await.ask(&path, text.as_bytes()).await);
        if outcome["dropped"] == 1 {
            break;
        }
        assert_eq!(
            outcome["delivered"].as_u64().unwrap() + outcome["queued"].as_u64().unwrap(),
            1,
            "{outcome}"
        );
        sent += 1;
    }
    for _ in 0..sent {
        inbox(&mut slow).await;
    }
    let heard = slow.hear().await;
    let Body::Gap(gap) = heard.frame().body else { panic!("{heard:?}") };
    assert_eq!((gap.channel, gap.count), ("$inbox", 1));
}
