//! The bodies of answers: one type, so that none needs a box of its own.

use std::pin::Pin;
use std::task::{Context, Poll};

use bytes::Bytes;
use hyper::body::{Body, Frame, SizeHint};

use crate::http::events::EventStream;
use crate::http::exchange::Download;
use crate::http::live::Live;
use crate::http::visit::Stay;

/// A body, and the request's place among those in flight.
#[derive(Debug)]
pub(super) struct HttpBody {
    content: Content,
    stay: Option<Stay>,
}

#[derive(Debug)]
enum Content {
    Empty,
    Full(Bytes),
    Download(Box<Download>),
    Events(Box<EventStream>),
    Live(Live),
}

/// Why a body broke off. The client sees its connection or stream fail, never a whole-looking half.
#[derive(Debug, thiserror::Error)]
#[error("the answer broke off: {0}")]
pub(super) struct BrokenOff(pub(super) String);

impl HttpBody {
    pub(super) const fn empty() -> Self {
        Self { content: Content::Empty, stay: None }
    }

    pub(super) const fn full(bytes: Bytes) -> Self {
        Self { content: Content::Full(bytes), stay: None }
    }

    /// A service's answer that goes on.
    pub(super) fn download(download: Download) -> Self {
        Self { content: Content::Download(Box::new(download)), stay: None }
    }

    /// Messages as they come.
    pub(super) fn events(events: EventStream) -> Self {
        Self { content: Content::Events(Box::new(events)), stay: None }
    }

    /// News as they come.
    pub(super) const fn live(live: Live) -> Self {
        Self { content: Content::Live(live), stay: None }
    }

    /// The request counts as in flight until the body is gone.
    pub(super) fn keep(&mut self, stay: Stay) {
        self.stay = Some(stay);
    }
}

impl Body for HttpBody {
    type Data = Bytes;
    type Error = BrokenOff;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, BrokenOff>>> {
        let next = match &mut self.content {
            Content::Download(download) => return download.poll_frame(cx),
            Content::Empty => None,
            Content::Full(bytes) => {
                let bytes = std::mem::take(bytes);
                self.content = Content::Empty;
                (!bytes.is_empty()).then_some(Ok(bytes))
            }
            Content::Events(events) => std::task::ready!(events.poll_text(cx)).map(Ok),
            Content::Live(live) => std::task::ready!(live.poll_text(cx)).map(Ok),
        };
        Poll::Ready(next.map(|result| result.map(Frame::data)))
    }

    fn is_end_stream(&self) -> bool {
        match &self.content {
            Content::Empty => true,
            Content::Full(bytes) => bytes.is_empty(),
            Content::Download(_) | Content::Events(_) | Content::Live(_) => false,
        }
    }

    fn size_hint(&self) -> SizeHint {
        match &self.content {
            Content::Empty => SizeHint::with_exact(0),
            Content::Full(bytes) => SizeHint::with_exact(bytes.len() as u64),
            Content::Download(_) | Content::Events(_) | Content::Live(_) => SizeHint::default(),
        }
    }
}
