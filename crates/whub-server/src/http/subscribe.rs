//! `GET /v1/subscribe/<filter>`: messages as server-sent events.

use std::sync::Arc;

use hyper::Response;
use hyper::header::{CACHE_CONTROL, CONTENT_TYPE, HeaderName, HeaderValue};
use hyper::http::request::Parts;
use whub_core::{Fault, Identity, Mailbox, Post};
use whub_proto::Code;
use whub_proto::names::Filter;

use crate::config::Config;
use crate::http::body::HttpBody;
use crate::http::event_mailbox::EventMailbox;
use crate::http::events::{EventStream, Subscriber, View};
use crate::http::problem::Problem;
use crate::http::visit::Stay;
use crate::http::{credentials, publish};

/// Tells nginx not to collect what is meant to be seen at once.
pub(super) const ACCEL_BUFFERING: HeaderName = HeaderName::from_static("x-accel-buffering");

/// Subscribes to a filter, given as in the URL.
pub(super) fn subscribe(
    visit: &Stay,
    config: &Config,
    identity: &Identity,
    filter: &str,
    parts: &Parts,
) -> Result<Response<HttpBody>, Problem> {
    let filter = Filter::parse(&publish::decode(filter)?)
        .map_err(|error| Problem::new(error.code(), "subscribe.filter", error.to_string()))?;
    identity.grants.may_subscribe(&filter)?;
    let view = view(parts.uri.query())?;
    if visit.node.is_stopping() {
        return Err(Fault::draining().into());
    }
    let token = credentials::of_header(&parts.headers).map(Into::into);
    let hub = Arc::clone(&visit.node.hub);
    let mailbox = Arc::new(EventMailbox::new(hub, config.limits.mailbox_bytes, config.channels.slow));
    let post: Arc<dyn Post> = mailbox.clone();
    visit.node.enroll(&post);
    let subscriber = whub_core::Subscriber { mailbox: Mailbox::new(post), no_echo: false };
    visit.node.hub.channels.subscribe(&filter, subscriber);
    visit.node.http.event_streams.one();
    let events = EventStream::new(
        Arc::clone(&visit.node),
        mailbox,
        Subscriber { filter, token, view, _listening: visit.listen() },
    );
    let mut response = Response::new(HttpBody::events(events));
    let headers = response.headers_mut();
    headers.insert(CONTENT_TYPE, HeaderValue::from_static("text/event-stream"));
    headers.insert(CACHE_CONTROL, HeaderValue::from_static("no-store"));
    headers.insert(ACCEL_BUFFERING, HeaderValue::from_static("no"));
    Ok(response)
}

fn view(query: Option<&str>) -> Result<View, Problem> {
    let wanted = query.unwrap_or_default().split('&').find_map(|pair| pair.strip_prefix("as="));
    match wanted {
        None | Some("frame") => Ok(View::Frame),
        Some("data") => Ok(View::Data),
        Some(_) => {
            let detail = "`as` is `frame` (the whole message as JSON) or `data` (its payload alone)";
            Err(Problem::new(Code::BadRequest, "subscribe.view", detail))
        }
    }
}
