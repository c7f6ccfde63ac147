//! Endpoints behind TLS: `wss` and `https`, and whose certificates are believed.

use std::path::PathBuf;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::time::Duration;

use rcgen::{BasicConstraints, CertificateParams, DnType, IsCa, Issuer, KeyPair};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpListener;
use whub_proto::{Body, Data, Flags, Request};
use whub_server::config::{Config, Endpoint, Health, Target};

use crate::actor::{Actor, refusal, report_when_up, upgrade};
use crate::browser::Browser;
use crate::common::Node;
use crate::multiplexer::Talker;

/// A masked text "Hello", and what an echo answers.
const HELLO: &[u8] = b"\x81\x85\x37\xfa\x21\x3d\x7f\x9f\x4d\x51\x58";
const HELLO_BACK: &[u8] = b"\x81\x05Hello";

/// A folder with the files of one test, gone when it ends.
struct Folder(PathBuf);

impl Folder {
    fn new() -> Self {
        static FOLDERS: AtomicU64 = AtomicU64::new(0);
        let name = format!("whub-tls-{}-{}", std::process::id(), FOLDERS.fetch_add(1, Relaxed));
        let folder = std::env::temp_dir().join(name);
        std::fs::create_dir_all(&folder).unwrap();
        Self(folder)
    }

    fn write(&self, name: &str, text: &str) -> PathBuf {
        let path = self.0.join(name);
        std::fs::write(&path, text).unwrap();
        path
    }
}

impl Drop for Folder {
    fn drop(&mut self) {
        let _ = std::fs::remove_dir_all(&self.0);
    }
}

/// Somebody who signs certificates.
struct Authority {
    folder: Folder,
    issuer: Issuer<'static, KeyPair>,
    /// Its own certificate.
    roots: PathBuf,
}

impl Authority {
    fn new() -> Self {
        Self::called("the authority")
    }

    fn called(name: &str) -> Self {
        let folder = Folder::new();
        let mut params = CertificateParams::new(Vec::new()).unwrap();
        params.distinguished_name.push(DnType::CommonName, name);
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        let key = KeyPair::generate().unwrap();
        let roots = folder.write("roots.pem", &params.self_signed(&key).unwrap().pem());
        Self { folder, issuer: Issuer::new(params, key), roots }
    }

    /// Another hub, which has a certificate for this name, and an echo that is the endpoint.
    async fn node(&self, name: &str, change: impl FnOnce(&mut Config)) -> Node {
        let params = CertificateParams::new(vec![name.to_owned()]).unwrap();
        let key = KeyPair::generate().unwrap();
        let certificate = params.signed_by(&key, &self.issuer).unwrap();
        let certificate = self.folder.write("cert.pem", &certificate.pem());
        let key = self.folder.write("key.pem", &key.serialize_pem());
        Node::with(|config| {
            (config.tls.cert, config.tls.key) = (Some(certificate), Some(key));
            config.debug.echo = true;
            change(config);
        })
        .await
    }
}

fn endpoint(name: &str, url: &str, roots: Option<&PathBuf>) -> Endpoint {
    let mut endpoint = Endpoint::new(name, Target::Upstreams(vec![url.parse().unwrap()]));
    endpoint.tls_roots = roots.cloned();
    endpoint.health_interval = Duration::from_millis(20);
    endpoint.backoff_max = Duration::from_millis(50);
    endpoint
}

/// The endpoint with this certificate is down, and everybody is told why.
async fn is_refused(endpoint: Endpoint, why: &str) {
    let node = Node::with(|config| config.endpoints = vec![endpoint]).await;
    let (_, answer) = upgrade(&node, "/gateway/a", "").await;
    let (status, slug, words) = refusal(&answer);
    assert_eq!((status, slug.as_str()), (503, "gateway.down"));
    assert_eq!(words, format!("the endpoint a is down: no TLS: {why}"));
    let answer = Browser::visit(&node).await.ask("GET /gateway/a", b"").await;
    assert_eq!(refusal(&answer), (status, slug, words));
    let report = report_when_up(&node, "a", false).await;
    assert_eq!(report["upstreams"][0]["trouble"], format!("no TLS: {why}"));
}

#[tokio::test]
async fn websockets_and_requests_pass_through_tls() {
    let authority = Authority::new();
    let behind = authority.node("127.0.0.1", |_| {}).await;
    let (wss, https) = (format!("{}/debug/echo", behind.url), behind.url.replace("wss://", "https://"));
    assert!(wss.starts_with("wss://") && https.starts_with("https://"), "{wss} {https}");
    let endpoints =
        vec![endpoint("a", &wss, Some(&authority.roots)), endpoint("b", &https, Some(&authority.roots))];
    let node = Node::with(|config| config.endpoints = endpoints).await;

    let (mut browser, answer) = upgrade(&node, "/gateway/a", "").await;
    assert_eq!(answer.status, 101, "{answer:?}");
    browser.write(HELLO).await;
    assert_eq!(browser.exactly(7).await, HELLO_BACK);
    // More than any buffer on the way holds, and read only afterwards.
    let large = vec![b'x'; 3 << 20];
    let mut frame = b"\x82\xff\x00\x00\x00\x00\x00\x30\x00\x00\x00\x00\x00\x00".to_vec();
    frame.extend_from_slice(&large);
    browser.write(&frame).await;
    assert_eq!(browser.exactly(10).await, b"\x82\x7f\x00\x00\x00\x00\x00\x30\x00\x00");
    assert!(browser.exactly(large.len()).await == large, "the message changed on its way");
    browser.write(b"\x88\x85\x00\x00\x00\x00\x0f\xa1bye").await;
    assert_eq!(browser.until_the_end().await, b"\x88\x02\x0f\xa1");

    let mut browser = Browser::visit(&node).await;
    assert_eq!(browser.ask("GET /gateway/b/healthz", b"").await.text(), "ok\n");
    let answer = browser.ask("POST /gateway/b/v1/publish/news", &large[..1_000_000]).await;
    assert_eq!((answer.status, answer.text()), (200, "{\"count\":0}\n"));

    let mut client = Talker::open(&node, &["a"]).await;
    client.say("ROUTENAME=a\nhello").await;
    client.hears("ROUTENAME=a\nhello").await;

    let mut client = node.client().await;
    let request = Request { path: "/gateway/a", method: "WEBSOCKET", ..Request::default() };
    client.say(1, &Body::Request(request)).await;
    let answer = client.hear().await;
    let Body::Response(response) = answer.frame().body else { panic!("{answer:?}") };
    assert_eq!(response.status, 101);
    client.send(1, Flags::TEXT, &Body::Data(Data::default()), b"hello").await;
    assert_eq!(client.hear().await.payload, b"hello");
}

#[tokio::test]
async fn who_loses_an_endpoint_behind_tls_is_told() {
    let authority = Authority::new();
    let mut behind = authority.node("127.0.0.1", |_| {}).await;
    let url = format!("{}/debug/echo", behind.url);
    let asked = endpoint("a", &url, Some(&authority.roots));
    let node = Node::with(|config| config.endpoints = vec![asked]).await;
    let (browser, answer) = upgrade(&node, "/gateway/a", "").await;
    assert_eq!(answer.status, 101, "{answer:?}");
    behind.stop();
    assert_eq!(browser.until_the_end().await[2..4], 1001_u16.to_be_bytes(), "its own goodbye");
    report_when_up(&node, "a", false).await;
}

#[tokio::test]
async fn health_is_found_out_through_tls() {
    for health in [Health::Connect, Health::WebSocket, Health::Http("/healthz".to_owned())] {
        let authority = Authority::new();
        // Nobody is there yet.
        let address = Actor::open("a").await.die().await;
        let path = if health == Health::WebSocket { "/debug/echo" } else { "" };
        let mut asked = endpoint("a", &format!("wss://{address}{path}"), Some(&authority.roots));
        asked.health = health.clone();
        let node = Node::with(|config| config.endpoints = vec![asked]).await;
        report_when_up(&node, "a", false).await;
        let at = format!("{address}");
        let _behind = authority
            .node(&address.ip().to_string(), |config| config.listen = vec![at.parse().unwrap()])
            .await;
        report_when_up(&node, "a", true).await;
    }
}

#[tokio::test]
async fn an_endpoint_of_another_authority_is_refused() {
    let (authority, other) = (Authority::new(), Authority::called("another"));
    let behind = authority.node("127.0.0.1", |_| {}).await;
    let why = "invalid peer certificate: UnknownIssuer; name its authority in tls_roots";
    is_refused(endpoint("a", &behind.url, Some(&other.roots)), why).await;
    // Nor is it one that the system believes.
    is_refused(endpoint("a", &behind.url, None), why).await;
    // One that was made anew has its name, but not its key.
    let why = "invalid peer certificate: BadSignature; name its authority in tls_roots";
    is_refused(endpoint("a", &behind.url, Some(&Authority::new().roots)), why).await;
}

#[tokio::test]
async fn authorities_are_read_again_with_the_configuration() {
    let (authority, old) = (Authority::new(), Authority::called("the old one"));
    let behind = authority.node("127.0.0.1", |_| {}).await;
    let asked = endpoint("a", &format!("{}/debug/echo", behind.url), Some(&old.roots));
    let config = || Config { endpoints: vec![asked.clone()], ..Config::default() };
    let node = Node::with(|node| node.endpoints = config().endpoints).await;
    report_when_up(&node, "a", false).await;
    std::fs::copy(&authority.roots, &old.roots).unwrap();
    node.handle.reload(config());
    report_when_up(&node, "a", true).await;
    assert_eq!(upgrade(&node, "/gateway/a", "").await.1.status, 101);
}

#[tokio::test]
async fn who_is_believed_no_more_is_not_asked_over_a_connection_from_before() {
    let (authority, other) = (Authority::new(), Authority::called("another"));
    let behind = authority.node("127.0.0.1", |_| {}).await;
    let asked = endpoint("a", &behind.url, Some(&authority.roots));
    let config = || Config { endpoints: vec![asked.clone()], ..Config::default() };
    let node = Node::with(|node| node.endpoints = config().endpoints).await;
    let mut browser = Browser::visit(&node).await;
    assert_eq!(browser.ask("GET /gateway/a/healthz", b"").await.status, 200);
    std::fs::copy(&other.roots, &authority.roots).unwrap();
    node.handle.reload(config());
    let answer = browser.ask("GET /gateway/a/healthz", b"").await;
    assert_eq!((answer.status, answer.json()["slug"].as_str().unwrap()), (503, "gateway.down"));
}

#[tokio::test]
async fn an_endpoint_of_another_name_is_refused() {
    let authority = Authority::new();
    let behind = authority.node("other.example", |_| {}).await;
    let why = "its certificate is for another name; dial it by one that it is for";
    is_refused(endpoint("a", &behind.url, Some(&authority.roots)), why).await;
}

#[tokio::test]
async fn an_endpoint_that_speaks_no_tls_is_refused() {
    let authority = Authority::new();
    for (answer, why) in [
        ("HTTP/1.1 400 Bad Request\r\n\r\n", "received corrupt message of type InvalidContentType"),
        ("", "tls handshake eof"),
    ] {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let url = format!("wss://{}", listener.local_addr().unwrap());
        tokio::spawn(async move {
            loop {
                let (mut socket, _) = listener.accept().await.unwrap();
                // All of its first words, so that the end of the connection is one in order.
                let _ = socket.read(&mut [0; 4096]).await;
                let _ = socket.write_all(answer.as_bytes()).await;
            }
        });
        let why = format!("{why}; it may be ws or http, not wss or https");
        is_refused(endpoint("a", &url, Some(&authority.roots)), &why).await;
    }
}
