//! The application's answer on its way to the hub.

use std::collections::VecDeque;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};

use bytes::Bytes;
use futures_core::Stream;
use hyper::body::{Body as _, Incoming};
use hyper::header::{CONTENT_LENGTH, CONTENT_LOCATION, CONTENT_TYPE, LOCATION, SET_COOKIE, TRAILER};
use hyper::http::response::Parts;
use hyper::{HeaderMap, StatusCode};
use tokio::sync::oneshot;
use whub_proto::Format;

use super::fields;
use super::pool::{Pool, Sender};
use super::rewrite::Place;
use crate::body::StreamError;
use crate::client::BoxFuture;
use crate::headers::Headers;
use crate::serve::Reply;

/// An answer that is no longer than this, and says so, travels in one frame, bytes.
const WHOLE_BYTES: u64 = 64 * 1024;
/// How often an answer that says it is short is looked at again before it is sent in parts.
const LOOKS: u32 = 3;

/// Makes a reply of the head and what is there of the body.
pub(super) async fn reply(
    parts: &Parts,
    place: Option<&Place<'_>>,
    download: Download,
    is_head: bool,
) -> Reply {
    let bodiless = is_head || matches!(parts.status, StatusCode::NO_CONTENT | StatusCode::NOT_MODIFIED);
    let length = parts.headers.get(CONTENT_LENGTH).and_then(|length| length.to_str().ok()?.parse().ok());
    let format = format(&parts.headers);
    let mut download = download;
    let mut headers = headers(&parts.headers, place);
    let whole =
        bodiless || length.is_some_and(|length: u64| length <= WHOLE_BYTES) && download.gather().await;
    let reply = if whole {
        let bytes = download.into_bytes();
        let is_text = matches!(format, Format::Text | Format::Json) && std::str::from_utf8(&bytes).is_ok();
        Reply { text: is_text, ..Reply::bytes(bytes) }
    } else if length.is_none() {
        // Only a body in chunks can have some.
        let (told, trailers) = oneshot::channel();
        download.trailers = Some(told);
        if let Some(names) = parts.headers.get(TRAILER) {
            headers.push("trailer", fields::text(names));
        }
        Reply::stream(download).trailers(async { trailers.await.unwrap_or_default() })
    } else {
        Reply::stream(download)
    };
    Reply { headers, ..reply.with_status(parts.status.as_u16()).with_format(format) }
}

/// What is end to end, and true for callers.
pub(super) fn headers(map: &HeaderMap, place: Option<&Place<'_>>) -> Headers {
    let mut kept = map.clone();
    fields::strip_hop_by_hop(&mut kept);
    // Announced where some will follow.
    kept.remove(TRAILER);
    let mut headers = Headers::default();
    for (name, value) in &kept {
        let text = fields::text(value);
        let rewritten = place.and_then(|place| {
            if name == LOCATION || name == CONTENT_LOCATION {
                place.location(&text)
            } else if name == SET_COOKIE {
                place.cookie(&text)
            } else {
                None
            }
        });
        headers.push(name.as_str(), rewritten.unwrap_or(text));
    }
    headers
}

fn format(headers: &HeaderMap) -> Format {
    let media = headers.get(CONTENT_TYPE).and_then(|value| value.to_str().ok()).unwrap_or_default();
    let media = media.split(';').next().unwrap_or_default().trim().to_ascii_lowercase();
    match media.as_str() {
        "application/json" => Format::Json,
        json if json.ends_with("+json") => Format::Json,
        text if text.starts_with("text/") => Format::Text,
        _ => Format::Bytes,
    }
}

/// The body of an answer. It is read only as fast as the caller takes it, and hung up on when nobody does.
pub(super) struct Download {
    body: Incoming,
    /// What was read before it was asked for.
    waiting: VecDeque<Bytes>,
    /// How it broke off, behind what waits.
    broken: Option<StreamError>,
    /// Who waits for the trailers.
    trailers: Option<oneshot::Sender<Headers>>,
    /// The connection, until the answer has ended.
    sender: Option<Sender>,
    pool: Arc<Pool>,
    gone: BoxFuture<()>,
}

impl Download {
    pub(super) fn new(body: Incoming, sender: Sender, pool: Arc<Pool>, gone: BoxFuture<()>) -> Self {
        let mut download = Self {
            body,
            waiting: VecDeque::new(),
            broken: None,
            trailers: None,
            sender: Some(sender),
            pool,
            gone,
        };
        if download.body.is_end_stream() {
            download.end();
        }
        download
    }

    /// Reads what is there; whether that was all.
    async fn gather(&mut self) -> bool {
        for _ in 0..LOOKS {
            if std::future::poll_fn(|cx| Poll::Ready(self.read_ready(cx))).await {
                return self.broken.is_none();
            }
            tokio::task::yield_now().await;
        }
        false
    }

    /// Whether nothing more is to come.
    fn read_ready(&mut self, cx: &mut Context<'_>) -> bool {
        loop {
            match self.poll_body(cx) {
                Poll::Ready(Some(Ok(chunk))) => self.waiting.push_back(chunk),
                Poll::Ready(Some(Err(error))) => self.broken = Some(error),
                Poll::Ready(None) => return true,
                Poll::Pending => return false,
            }
        }
    }

    fn poll_body(&mut self, cx: &mut Context<'_>) -> Poll<Option<Result<Bytes, StreamError>>> {
        while self.sender.is_some() {
            match ready!(Pin::new(&mut self.body).poll_frame(cx)) {
                Some(Ok(frame)) => match frame.into_data() {
                    Ok(chunk) => return Poll::Ready(Some(Ok(chunk))),
                    Err(frame) => self.tell_trailers(frame.trailers_ref()),
                },
                Some(Err(error)) => {
                    // The connection goes with it.
                    self.sender = None;
                    let error = format!("the application broke off its answer: {error}");
                    return Poll::Ready(Some(Err(error.into())));
                }
                None => self.end(),
            }
        }
        Poll::Ready(None)
    }

    fn tell_trailers(&mut self, trailers: Option<&HeaderMap>) {
        if let (Some(told), Some(trailers)) = (self.trailers.take(), trailers) {
            let pairs = trailers.iter().map(|(name, value)| (name.as_str(), fields::text(value)));
            // Whoever waits goes with the answer.
            let _ = told.send(pairs.collect());
        }
    }

    /// The connection is free for the next request.
    fn end(&mut self) {
        if let Some(sender) = self.sender.take() {
            self.pool.keep(sender);
        }
    }

    fn into_bytes(self) -> Bytes {
        let mut waiting = self.waiting;
        if waiting.len() > 1 {
            return waiting.iter().flat_map(|chunk| chunk.iter().copied()).collect();
        }
        waiting.pop_front().unwrap_or_default()
    }
}

impl Stream for Download {
    type Item = Result<Bytes, StreamError>;

    fn poll_next(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        let this = &mut *self;
        if let Some(chunk) = this.waiting.pop_front() {
            return Poll::Ready(Some(Ok(chunk)));
        }
        if let Some(error) = this.broken.take() {
            return Poll::Ready(Some(Err(error)));
        }
        if let Poll::Ready(read) = this.poll_body(cx) {
            return Poll::Ready(read);
        }
        ready!(this.gone.as_mut().poll(cx));
        Poll::Ready(Some(Err("nobody waits for the answer".into())))
    }
}
