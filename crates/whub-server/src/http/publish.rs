//! `POST /v1/publish/<channel>`: the body becomes a message.

use std::cell::RefCell;
use std::future::poll_fn;
use std::pin::Pin;

use hyper::Response;
use hyper::body::{Body as _, Incoming};
use hyper::header::CONTENT_TYPE;
use hyper::http::request::Parts;
use whub_core::{Hub, Identity, Issue, SessionId};
use whub_proto::names::Channel;
use whub_proto::{Body, Code, Flags, Format, Headers, Publish, Writer};

use crate::config::Config;
use crate::connection::{Fanout, now};
use crate::http::body::HttpBody;
use crate::http::head;
use crate::http::problem::Problem;
use crate::http::status;
use crate::http::visit::Visit;

thread_local! {
    static WRITER: RefCell<Writer> = RefCell::new(Writer::default());
}

/// What a frame needs beside the body, at most: head, via, envelope.
const AROUND_BYTES: usize = 4096;

/// Publishes the body on a channel, given as in the URL.
pub(super) async fn publish(
    visit: &Visit,
    config: &Config,
    identity: &Identity,
    channel: &str,
    parts: &Parts,
    body: Incoming,
) -> Result<Response<HttpBody>, Problem> {
    let channel = decode(channel)?;
    let channel = Channel::parse(&channel)
        .map_err(|error| Problem::new(error.code(), "publish.channel", error.to_string()))?;
    identity.grants.may_publish(&channel)?;
    let limit = config.limits.frame_bytes.saturating_sub(AROUND_BYTES);
    let limit = config.limits.body_bytes.map_or(limit, |bytes| bytes.min(limit));
    let whole = tokio::time::timeout(config.limits.call_timeout, whole(body, limit));
    let payload = whole
        .await
        .map_err(|_| Problem::new(Code::Timeout, "http.body_timeout", "the body did not come in time"))??;
    let issue = issue(visit, identity, &channel, parts, &payload)?;
    let count = issue.audience.subscribers.len();
    let mut delivery = Delivery::new(&visit.node.hub, issue);
    while !delivery.advance() {
        tokio::task::yield_now().await;
    }
    Ok(status::json(&serde_json::json!({ "count": count })))
}

/// A name within a URL, decoded.
///
/// # Errors
/// When it is no UTF-8.
pub(super) fn decode(raw: &str) -> Result<String, Problem> {
    let decoded = percent_encoding::percent_decode_str(raw).decode_utf8();
    decoded.map(Into::into).map_err(|_| Problem::new(Code::BadRequest, "http.path", "the name is not UTF-8"))
}

async fn whole(mut body: Incoming, limit: usize) -> Result<Vec<u8>, Problem> {
    let too_large = || {
        let detail = format!("a message has at most {limit} bytes here");
        Problem::new(Code::TooLarge, "http.body_too_large", detail)
    };
    if body.size_hint().lower() > limit as u64 {
        return Err(too_large());
    }
    let mut whole = Vec::new();
    while let Some(frame) = poll_fn(|cx| Pin::new(&mut body).poll_frame(cx)).await {
        let broken =
            |_| Problem::new(Code::BadRequest, "http.body_broken", "the body broke off or is malformed");
        let Ok(data) = frame.map_err(broken)?.into_data() else { continue };
        if data.len() > limit - whole.len() {
            return Err(too_large());
        }
        whole.extend_from_slice(&data);
    }
    Ok(whole)
}

fn issue(
    visit: &Visit,
    identity: &Identity,
    channel: &Channel<'_>,
    parts: &Parts,
    payload: &[u8],
) -> Result<Issue, Problem> {
    let format = head::format(&parts.headers);
    let media = parts.headers.get(CONTENT_TYPE).and_then(|value| value.to_str().ok());
    let pairs = media.filter(|_| format == Format::Unspecified).map(|media| [("content-type", media)]);
    let headers = pairs.as_ref().map_or(Headers::EMPTY, |pairs| Headers::new(pairs));
    let is_text = head::may_be_text(format) && std::str::from_utf8(payload).is_ok();
    let body = Body::Publish(Publish { channel: channel.as_str(), format, headers, ..Publish::default() });
    WRITER.with_borrow_mut(|writer| {
        let envelope = writer
            .envelope(&body)
            .map_err(|error| Problem::new(Code::TooLarge, "http.head_too_large", error.to_string()))?;
        let user = identity.user.as_deref().unwrap_or_default();
        let frame = (envelope, payload, Flags::NONE.with_if(is_text, Flags::TEXT));
        Ok(visit.node.hub.issue(now(), &visit.client, user, channel, frame))
    })
}

/// A message on its way to its subscribers. What was accepted is delivered, though its publisher is gone.
struct Delivery<'a> {
    hub: &'a Hub,
    publisher: SessionId,
    fanout: Fanout,
}

impl<'a> Delivery<'a> {
    fn new(hub: &'a Hub, issue: Issue) -> Self {
        let mut fanout = Fanout::default();
        if !issue.audience.subscribers.is_empty() {
            fanout.add(issue);
        }
        Self { hub, publisher: hub.next_session(), fanout }
    }

    /// Serves one slice of the subscribers. True when everybody was served.
    fn advance(&mut self) -> bool {
        self.fanout.advance(self.publisher, &self.hub.counters)
    }
}

impl Drop for Delivery<'_> {
    fn drop(&mut self) {
        while !self.advance() {}
    }
}
