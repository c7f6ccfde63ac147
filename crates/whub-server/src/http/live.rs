//! News as server-sent events, for those who look on: each listener has a task that writes, and what it is too slow for
//! is left out and counted.

use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;

use bytes::Bytes;
use hyper::Response;
use hyper::header::{CACHE_CONTROL, CONTENT_TYPE, HeaderValue};
use serde_json::{Value, json};
use tokio::sync::broadcast::{Receiver, error::RecvError};
use tokio::sync::{mpsc, watch};
use whub_core::{Fault, Identity};

use crate::http::body::HttpBody;
use crate::http::events::{HEARTBEAT, write_event};
use crate::http::subscribe::ACCEL_BUFFERING;
use crate::http::visit::{Engaged, Stay};
use crate::node::Node;

/// Texts that wait for the connection to take them; the news wait in the channel.
const TEXTS: usize = 4;

/// What a listener is shown of the news, and whether it still may see them.
pub(super) trait Listener: Send + 'static {
    /// One piece of news.
    type News: Send + Sync + 'static;

    /// Name and data of its event; `None` for what is not for this listener.
    ///
    /// # Errors
    /// Why this listener may no longer listen.
    fn show(&self, identity: &Identity, news: &Self::News) -> Result<Option<(&'static str, Value)>, Fault>;

    /// Called every now and then while the connection is there.
    fn still_here(&self) {}
}

/// The text that a listener reads.
#[derive(Debug)]
pub(super) struct Live {
    texts: mpsc::Receiver<Bytes>,
    /// As long as it listens, its connection is never silent for long.
    _listening: Engaged,
}

impl Live {
    /// The next text; `None` at the end.
    pub(super) fn poll_text(&mut self, cx: &mut Context<'_>) -> Poll<Option<Bytes>> {
        self.texts.poll_recv(cx)
    }
}

/// Answers with `first`, an event, and then with the news until the listener leaves.
pub(super) fn listen<L: Listener>(
    visit: &Stay,
    token: Option<Box<str>>,
    first: (&'static str, &Value),
    news: Receiver<Arc<L::News>>,
    listener: L,
) -> Response<HttpBody> {
    let (sender, texts) = mpsc::channel(TEXTS);
    let mut text = String::new();
    write_event(&mut text, first.0, &first.1.to_string());
    let telling = Telling { node: Arc::clone(&visit.node), token, sender, listener };
    tokio::spawn(telling.run(text, news));
    let mut response = Response::new(HttpBody::live(Live { texts, _listening: visit.listen() }));
    let headers = response.headers_mut();
    headers.insert(CONTENT_TYPE, HeaderValue::from_static("text/event-stream"));
    headers.insert(CACHE_CONTROL, HeaderValue::from_static("no-store"));
    headers.insert(ACCEL_BUFFERING, HeaderValue::from_static("no"));
    response
}

/// Writes for one listener.
struct Telling<L> {
    node: Arc<Node>,
    token: Option<Box<str>>,
    sender: mpsc::Sender<Bytes>,
    listener: L,
}

impl<L: Listener> Telling<L> {
    async fn run(self, first: String, mut news: Receiver<Arc<L::News>>) {
        let silence: Duration = HEARTBEAT.min(self.node.hub.limits.ping);
        let mut stopping = self.node.stopping();
        let mut text = first;
        loop {
            if !text.is_empty() && self.sender.send(std::mem::take(&mut text).into()).await.is_err() {
                return;
            }
            let heard = tokio::select! {
                biased;
                () = self.sender.closed() => return,
                () = stops(&mut stopping) => {
                    write_event(&mut text, "drain", r#"{"reason":"this node is stopping"}"#);
                    let _ = self.sender.send(text.into()).await;
                    return;
                }
                heard = tokio::time::timeout(silence, news.recv()) => heard,
            };
            self.listener.still_here();
            match heard {
                Err(_) => text.push_str(":\n\n"),
                Ok(Err(RecvError::Closed)) => return,
                Ok(Err(RecvError::Lagged(count))) => {
                    write_event(&mut text, "gap", &json!({ "count": count }).to_string());
                }
                Ok(Ok(news)) => {
                    if let Err(fault) = self.tell(&mut text, &news) {
                        let told = json!({
                            "code": u16::from(fault.code),
                            "slug": fault.slug,
                            "reason": fault.reason,
                        });
                        write_event(&mut text, "error", &told.to_string());
                        let _ = self.sender.send(text.into()).await;
                        return;
                    }
                }
            }
        }
    }

    /// Each piece of news is for those who may see it now: rules may have changed since the last.
    fn tell(&self, text: &mut String, news: &L::News) -> Result<(), Fault> {
        let identity = self.node.authenticate(self.token.as_deref())?;
        if let Some((name, data)) = self.listener.show(&identity, news)? {
            write_event(text, name, &data.to_string());
        }
        Ok(())
    }
}

/// Waits until the node begins to stop.
async fn stops(stopping: &mut watch::Receiver<bool>) {
    // The sender lives as long as the node.
    let _ = stopping.wait_for(|stopping| *stopping).await;
}

/// Whether the query wants to listen: `watch`, `watch=1` or `watch=true`.
pub(super) fn is_wanted(query: Option<&str>) -> bool {
    let mut pairs = query.unwrap_or_default().split('&');
    pairs.any(|pair| matches!(pair, "watch" | "watch=" | "watch=1" | "watch=true"))
}

/// One parameter of a query, decoded.
pub(super) fn parameter(query: Option<&str>, name: &str) -> Option<String> {
    let pairs = query?.split('&').filter_map(|pair| pair.split_once('='));
    let (_, value) = pairs.into_iter().find(|(known, _)| *known == name)?;
    Some(percent_encoding::percent_decode_str(value).decode_utf8_lossy().into_owned())
}
