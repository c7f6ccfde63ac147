//! Several upstreams of one endpoint: which one a client gets, and what becomes of it when one dies.

use std::collections::BTreeSet;
use std::time::Duration;

use whub_server::config::{Balance, Endpoint, Health, Target};

use crate::actor::{Actor, MUTE, meet, refusal, report, report_when, report_when_up, upgrade};
use crate::browser::Browser;
use crate::common::Node;
use crate::multiplexer::{Said, Talker};

/// An endpoint whose upstreams are looked at by nobody but its clients, so that these find out what has died.
fn endpoint(balance: Balance, urls: &[&str]) -> Endpoint {
    let urls = urls.iter().map(|url| url.parse().unwrap()).collect();
    let mut endpoint = Endpoint::new("a", Target::Upstreams(urls));
    (endpoint.balance, endpoint.health) = (balance, Health::Off);
    endpoint.backoff_max = Duration::from_millis(50);
    endpoint
}

async fn with(endpoint: Endpoint) -> Node {
    Node::with(|config| config.endpoints = vec![endpoint]).await
}

/// The connections that each upstream has.
fn connections(report: &serde_json::Value) -> Vec<u64> {
    let upstreams = report["upstreams"].as_array().unwrap();
    upstreams.iter().map(|upstream| upstream["connections"].as_u64().unwrap()).collect()
}

fn is_up(report: &serde_json::Value, index: usize) -> bool {
    report["upstreams"][index]["up"].as_bool().unwrap()
}

async fn three() -> [Actor; 3] {
    [Actor::open("one").await, Actor::open("two").await, Actor::open("three").await]
}

#[tokio::test]
async fn by_turns_each_gets_the_next_client() {
    let [one, two, three] = three().await;
    let node = with(endpoint(Balance::RoundRobin, &[&one.url, &two.url, &three.url])).await;
    for expected in ["one", "two", "three", "one", "two", "three"] {
        assert_eq!(meet(&node, "a").await.1, expected);
    }
    // Requests have their turn too.
    let mut browser = Browser::visit(&node).await;
    for expected in ["one", "two", "three", "one"] {
        assert_eq!(browser.ask("GET /gateway/a/x", b"").await.text(), expected);
    }
}

#[tokio::test]
async fn the_one_with_the_fewest_connections_gets_the_next_client() {
    let [one, two, three] = three().await;
    let node = with(endpoint(Balance::LeastConnections, &[&one.url, &two.url, &three.url])).await;
    let mut browsers = Vec::new();
    for expected in ["one", "two", "three", "one"] {
        let (browser, name) = meet(&node, "a").await;
        assert_eq!(name, expected);
        browsers.push(browser);
    }
    drop(browsers.remove(1));
    report_when(&node, "a", |report| connections(report) == [2, 0, 1]).await;
    assert_eq!(meet(&node, "a").await.1, "two");
    // A client of many endpoints counts as much.
    report_when(&node, "a", |report| connections(report) == [2, 0, 1]).await;
    let mut client = Talker::open(&node, &["a"]).await;
    client.hears("ROUTENAME=a\ntwo").await;
    assert_eq!(connections(&report(&node, "a").await), [2, 1, 1]);
}

#[tokio::test]
async fn by_chance_everybody_gets_one_and_each_gets_some() {
    let [one, two, _] = three().await;
    let node = with(endpoint(Balance::Random, &[&one.url, &two.url])).await;
    let mut met = BTreeSet::new();
    // The same one every time: once in 2^63.
    for _ in 0..64 {
        met.insert(meet(&node, "a").await.1);
    }
    assert_eq!(met, BTreeSet::from(["one".to_owned(), "two".to_owned()]));
}

#[tokio::test]
async fn the_others_stand_in_for_the_first_until_it_is_back() {
    let [one, two, _] = three().await;
    let node = with(endpoint(Balance::First, &[&one.url, &two.url])).await;
    for _ in 0..3 {
        assert_eq!(meet(&node, "a").await.1, "one");
    }
    let address = one.die().await;
    // Whoever comes first finds out, and is none the worse for it.
    for _ in 0..3 {
        assert_eq!(meet(&node, "a").await.1, "two");
        assert!(!is_up(&report(&node, "a").await, 0));
    }
    let second = report(&node, "a").await;
    assert!(second["up"] == true && is_up(&second, 1), "{second}");
    let _one = Actor::at("one again", address).await;
    report_when(&node, "a", |report| is_up(report, 0)).await;
    assert_eq!(meet(&node, "a").await.1, "one again");
}

#[tokio::test]
async fn every_way_of_choosing_leaves_out_one_that_died_and_takes_it_back() {
    for balance in [Balance::RoundRobin, Balance::LeastConnections, Balance::Random, Balance::First] {
        let [one, two, _] = three().await;
        let node = with(endpoint(balance, &[&one.url, &two.url])).await;
        let (address, mut browsers) = (one.die().await, Vec::new());
        for _ in 0..6 {
            let (browser, name) = meet(&node, "a").await;
            assert_eq!(name, "two", "{balance:?}");
            browsers.push(browser);
        }
        // Where chance alone chose, it may not have been tried.
        let _one = Actor::at("one again", address).await;
        report_when(&node, "a", |report| is_up(report, 0)).await;
        let again = async { while meet(&node, "a").await.1 != "one again" {} };
        tokio::time::timeout(crate::common::SOON, again).await.expect("it is used again");
    }
}

#[tokio::test]
async fn a_request_that_finds_the_first_dead_is_answered_by_the_second() {
    let [one, two, _] = three().await;
    let node = with(endpoint(Balance::First, &[&one.url, &two.url])).await;
    let mut browser = Browser::visit(&node).await;
    assert_eq!(browser.ask("DELETE /gateway/a/x", b"").await.text(), "one");
    one.die().await;
    assert_eq!(browser.ask("DELETE /gateway/a/x", b"").await.text(), "two");
}

#[tokio::test]
async fn a_client_whom_the_first_does_not_answer_gets_the_second() {
    let [one, two, _] = three().await;
    one.upgrades(MUTE);
    let mut asked = endpoint(Balance::First, &[&one.url, &two.url]);
    asked.connect_timeout = Duration::from_millis(50);
    let node = with(asked).await;
    assert_eq!(meet(&node, "a").await.1, "two");
    assert!(is_up(&report(&node, "a").await, 0), "it may have been the client's fault");
}

#[tokio::test]
async fn a_client_whom_the_first_refuses_is_refused() {
    let [one, two, _] = three().await;
    one.upgrades(403);
    let node = with(endpoint(Balance::First, &[&one.url, &two.url])).await;
    assert_eq!(upgrade(&node, "/gateway/a", "").await.1.status, 403);
}

#[tokio::test]
async fn a_client_of_many_that_loses_one_upstream_goes_on_with_another() {
    let [one, two, three] = three().await;
    let mut other = endpoint(Balance::First, &[&three.url]);
    other.name = "other".to_owned();
    let endpoints = vec![endpoint(Balance::First, &[&one.url, &two.url]), other];
    let node = Node::with(|config| config.endpoints = endpoints).await;
    let mut client = Talker::open(&node, &["a"]).await;
    client.hears("ROUTENAME=a\none").await;
    client.say("ROUTENAME=other\nhello").await;
    client.hears("ROUTENAME=other\nthree").await;
    client.hears("ROUTENAME=other\nhello").await;
    let address = one.die().await;
    client.hears("{event: SMRoute, data: route down a}").await;
    client.hears("{event: SMRoute, data: route up a}").await;
    client.hears("ROUTENAME=a\ntwo").await;
    client.say("ROUTENAME=a\nto the second").await;
    client.hears("ROUTENAME=a\nto the second").await;
    // Nobody is moved because the first is back; whoever comes anew is served by it.
    let _one = Actor::at("one again", address).await;
    report_when(&node, "a", |report| is_up(report, 0)).await;
    client.say("ROUTENAME=a\nstill the second").await;
    client.hears("ROUTENAME=a\nstill the second").await;
    let mut next = Talker::open(&node, &["a"]).await;
    next.hears("ROUTENAME=a\none again").await;
}

#[tokio::test]
async fn when_all_are_down_so_is_the_endpoint_and_one_is_enough_to_bring_it_back() {
    let [one, two, _] = three().await;
    let mut looked_at = endpoint(Balance::RoundRobin, &[&one.url, &two.url]);
    (looked_at.health, looked_at.health_interval) = (Health::Connect, Duration::from_millis(20));
    let node = with(looked_at).await;
    let mut client = Talker::open(&node, &["a"]).await;
    assert!(matches!(client.hear().await, Said::Text(_)));
    one.die().await;
    let two = two.die().await;
    client.hears("{event: SMRoute, data: route down a}").await;
    let down = report_when_up(&node, "a", false).await;
    assert!(!is_up(&down, 0) && !is_up(&down, 1), "{down}");
    let (_, answer) = upgrade(&node, "/gateway/a", "").await;
    assert_eq!((refusal(&answer).0, refusal(&answer).1.as_str()), (503, "gateway.down"));
    let _two = Actor::at("two", two).await;
    // Between these two there may have been one more loss of the first.
    while client.hear().await != Said::Text("ROUTENAME=a\ntwo".to_owned()) {}
    assert_eq!(meet(&node, "a").await.1, "two");
    assert!(!is_up(&report(&node, "a").await, 0));
}
