//! `/v1/config`: what reading the configuration again would touch, and that it touches nothing else.

use std::sync::{Arc, Mutex};

use whub_server::{
    Change, ConfigSource, RereadError,
    config::{Config, ConfigFile, Input, Loaded, Problems, load},
};

use crate::browser::{Answer, Browser};
use crate::common::Node;

const HANDSHAKE: &str = "Connection: Upgrade\nUpgrade: websocket\nSec-WebSocket-Version: 13\n\
                         Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==";
const HELLO: &[u8] = b"\x81\x85\x37\xfa\x21\x3d\x7f\x9f\x4d\x51\x58";
const HELLO_BACK: &[u8] = b"\x81\x05Hello";

/// A configuration that a test can write anew.
#[derive(Clone, Debug)]
struct Paper {
    text: Arc<Mutex<String>>,
    applied: Arc<Mutex<Vec<String>>>,
}

impl Paper {
    fn new(text: &str) -> Self {
        Self { text: Arc::new(Mutex::new(text.to_owned())), applied: Arc::default() }
    }

    fn write(&self, text: &str) {
        text.clone_into(&mut self.text.lock().unwrap());
    }

    async fn node(&self) -> Node {
        let endpoints = self.read().unwrap().config.endpoints;
        Node::built(|config| config.endpoints = endpoints, |builder| builder.source(self.clone())).await
    }
}

impl ConfigSource for Paper {
    fn read(&self) -> Result<Loaded, Problems> {
        let text = format!("listen = [\"127.0.0.1:0\"]\n{}", self.text.lock().unwrap());
        load(&Input { file: Some(ConfigFile::new("whub.toml", text)), ..Input::default() })
    }

    fn applied(&self, config: &Config) {
        self.applied.lock().unwrap().push(config.log.level.clone());
    }
}

fn endpoint(name: &str, url: &str, more: &str) -> String {
    format!("[[endpoints]]\nname = \"{name}\"\nurl = \"{url}\"\n{more}\n")
}

async fn upgrade(node: &Node, name: &str) -> Browser {
    let mut browser = Browser::visit(node).await;
    let answer = browser.ask(&format!("GET /gateway/{name}\n{HANDSHAKE}"), b"").await;
    assert_eq!(answer.status, 101, "{answer:?}");
    browser
}

async fn ask(node: &Node, head: &str) -> Answer {
    Browser::visit(node).await.ask(head, b"").await
}

#[tokio::test]
async fn a_plan_counts_the_sockets_and_a_reload_touches_no_others() {
    let echo = Node::with(|config| config.debug.echo = true).await;
    let url = format!("{}/debug/echo", echo.url);
    let four = ["keep", "adjust", "move", "go"].map(|name| endpoint(name, &url, "")).concat();
    let paper = Paper::new(&four);
    let node = paper.node().await;
    let mut staying = vec![upgrade(&node, "keep").await, upgrade(&node, "adjust").await];
    let going = [upgrade(&node, "move").await, upgrade(&node, "move").await, upgrade(&node, "go").await];

    let fresh = [
        "log.level = \"warn\"\nlimits.ping = \"1s\"\n".to_owned(),
        endpoint("keep", &url, ""),
        endpoint("adjust", &url, "connections = 9"),
        endpoint("move", &format!("{url}?other"), ""),
        endpoint("new", &url, ""),
    ];
    paper.write(&fresh.concat());
    let plan = ask(&node, "GET /v1/config/plan").await;
    let expected = serde_json::json!({
        "ok": true,
        "problems": [],
        "warnings": [],
        "keys": [{ "key": "limits.ping", "restart": true }, { "key": "log.level", "restart": false }],
        "endpoints": [
            { "name": "keep", "change": "keep", "sockets": 1, "touched": 0 },
            { "name": "adjust", "change": "change", "sockets": 1, "touched": 0 },
            { "name": "move", "change": "redirect", "sockets": 2, "touched": 2 },
            { "name": "new", "change": "add", "sockets": 0, "touched": 0 },
            { "name": "go", "change": "remove", "sockets": 1, "touched": 1 },
        ],
    });
    assert_eq!((plan.status, plan.json()), (200, expected.clone()));
    assert!(paper.applied.lock().unwrap().is_empty(), "a plan is nothing but words");

    let done = ask(&node, "POST /v1/config/reload").await;
    assert_eq!((done.status, done.json()), (200, expected));
    assert_eq!(*paper.applied.lock().unwrap(), ["warn"]);
    for browser in going {
        let last = browser.until_the_end().await;
        assert_eq!(last[0], 0x88, "a close: {last:?}");
    }
    for browser in &mut staying {
        browser.write(HELLO).await;
        assert_eq!(browser.exactly(7).await, HELLO_BACK);
    }
    let plan = node.handle.plan().unwrap();
    let changes: Vec<_> = plan.endpoints.iter().map(|endpoint| endpoint.change).collect();
    assert_eq!(changes, [Change::Keep; 4]);
}

#[tokio::test]
async fn a_configuration_with_problems_changes_nothing() {
    let paper = Paper::new(&endpoint("a", "ws://127.0.0.1:1/", ""));
    let node = paper.node().await;
    paper.write("[[endpoints]]\nname = \"ACK\"\nurl = \"ws://127.0.0.1:1/\"\n");
    let plan = ask(&node, "GET /v1/config/plan").await;
    let problem =
        "whub.toml:3: \"ACK\" cannot be the name of an endpoint: it is a word of the gateway's handshake";
    assert_eq!((plan.status, plan.json()), (200, serde_json::json!({ "ok": false, "problems": [problem] })));
    let refused = ask(&node, "POST /v1/config/reload").await;
    assert_eq!(
        (refused.status, refused.json()["slug"].as_str(), refused.json()["detail"].as_str()),
        (409, Some("config.problems"), Some(problem))
    );
    paper.write(&endpoint("a", "ws://127.0.0.1:1/", ""));
    assert_eq!(node.handle.plan().unwrap().endpoints[0].change, Change::Keep);
}

#[tokio::test]
async fn a_node_is_no_endpoint_of_its_own() {
    let paper = Paper::new("");
    let node = paper.node().await;
    paper.write(&endpoint("loop", &format!("ws://{}/gateway/loop", node.authority()), ""));
    let answer = ask(&node, "GET /v1/config/plan").await.json();
    let problem = answer["problems"][0].as_str().unwrap();
    assert!(problem.starts_with("endpoint \"loop\": ws://127.0.0.1:"), "{problem}");
    assert!(problem.contains("is this hub itself"), "{problem}");
    assert!(node.handle.reread().is_err());
}

#[tokio::test]
async fn a_node_without_a_source_says_so() {
    let node = Node::start().await;
    for head in ["GET /v1/config/plan", "POST /v1/config/reload"] {
        let answer = ask(&node, head).await;
        assert_eq!((answer.status, answer.json()["slug"].as_str()), (501, Some("config.no_source")));
    }
    assert!(matches!(node.handle.reread(), Err(RereadError::NoSource)));
}
