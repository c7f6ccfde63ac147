//! Looking after an upstream: its health is known before a client asks.
//!
//! While it is up it is looked at every `health_interval`, and at once when a client's connection to it failed. While it
//! is down it is tried again with growing pauses and full jitter, so that many hubs do not knock at the same instant.

use std::sync::{Arc, Weak};
use std::time::Duration;

use bytes::Bytes;
use http_body_util::Empty;
use hyper::header::HOST;
use hyper::{Method, Request};
use hyper_util::rt::TokioIo;
use tokio::time::timeout;

use crate::config::{Endpoint, Health};
use crate::gateway::open::{self, Asked};
use crate::gateway::route::Route;
use crate::gateway::upstream::Upstream;

/// The first pause after an upstream was found down; it doubles with each attempt.
const BACKOFF_MIN: Duration = Duration::from_millis(100);

/// Looks after one upstream for as long as its endpoint is there.
pub(super) async fn watch(route: Weak<Route>, upstream: Arc<Upstream>) {
    let mut failures: u32 = 0;
    loop {
        let Some(endpoint) = route.upgrade().map(|route| route.endpoint.clone()) else { return };
        let verdict = check(&endpoint, &upstream).await;
        let Some(route) = route.upgrade() else { return };
        match verdict {
            Ok(()) => {
                failures = 0;
                route.note_up(&upstream);
            }
            Err(why) => {
                failures = failures.saturating_add(1);
                route.note_down(&upstream, &why);
                route.cure(&why);
                // What was just said is no news to this task.
                let _ = timeout(Duration::ZERO, upstream.alarm.notified()).await;
            }
        }
        let pause = pause(&route.endpoint, failures);
        drop(route);
        if failures > 0 {
            // Its process was started again, or nothing happened.
            if timeout(pause, upstream.hope.notified()).await.is_ok() {
                failures = 1;
            }
        } else if timeout(pause, upstream.alarm.notified()).await.is_ok() {
            // Somebody else found it down; it has a moment to come back.
            failures = 1;
            tokio::time::sleep(open::jitter(BACKOFF_MIN)).await;
        }
    }
}

/// How long until the next look.
fn pause(endpoint: &Endpoint, failures: u32) -> Duration {
    if failures == 0 {
        return endpoint.health_interval;
    }
    open::backoff(failures, (BACKOFF_MIN, endpoint.backoff_max))
}

/// One look.
async fn check(endpoint: &Endpoint, upstream: &Upstream) -> Result<(), String> {
    match &endpoint.health {
        // Then only those who want to use it find out; once down, a bare connection tells whether it is back.
        Health::Off if upstream.is_up() => Ok(()),
        Health::Off | Health::Connect => {
            upstream.connect().await.map(drop).map_err(|error| open::describe(&error))
        }
        Health::WebSocket => greet(endpoint, upstream).await,
        Health::Http(path) => {
            let asked = timeout(endpoint.connect_timeout, ask(endpoint, upstream, path)).await;
            asked.unwrap_or_else(|_| Err(format!("no answer within {:?}", endpoint.connect_timeout)))
        }
    }
}

/// A handshake, and a close.
async fn greet(endpoint: &Endpoint, upstream: &Upstream) -> Result<(), String> {
    let mut opened = open::open_at(endpoint, upstream, &Asked::own(endpoint)).await?;
    opened.say_goodbye().await;
    Ok(())
}

/// `GET` of a path.
async fn ask(endpoint: &Endpoint, upstream: &Upstream, path: &str) -> Result<(), String> {
    let stream = upstream.connect().await.map_err(|error| open::describe(&error))?;
    let (mut sender, connection) = hyper::client::conn::http1::handshake(TokioIo::new(stream))
        .await
        .map_err(|error| error.to_string())?;
    // It ends with this request.
    let driven = tokio::spawn(connection);
    let mut request = Request::builder()
        .method(Method::GET)
        .uri(path)
        .header(HOST, upstream.url.server.authority())
        .body(Empty::<Bytes>::new())
        .map_err(|error| error.to_string())?;
    open::add_own_headers(endpoint, request.headers_mut());
    let answer = sender.send_request(request).await.map_err(|error| error.to_string());
    driven.abort();
    let status = answer?.status();
    if status.is_client_error() || status.is_server_error() {
        return Err(format!("GET {path} is answered with {status}"));
    }
    Ok(())
}
