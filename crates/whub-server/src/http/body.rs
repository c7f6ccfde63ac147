//! The bodies of answers: one type, so that none needs a box of its own.

use std::pin::Pin;
use std::task::{Context, Poll};

use bytes::Bytes;
use hyper::HeaderMap;
use hyper::body::{Body, Frame, Incoming, SizeHint};

use crate::http::compress::Gzip;
use crate::http::events::EventStream;
use crate::http::exchange::Download;
use crate::http::live::Live;
use crate::http::pair::PairStream;
use crate::http::visit::Stay;

/// A body, and the request's place among those in flight.
#[derive(Debug)]
pub(super) struct HttpBody {
    content: Content,
    gzip: Option<Box<Gzip>>,
    /// What follows the last compressed bytes.
    trailers: Option<HeaderMap>,
    stay: Option<Stay>,
}

#[derive(Debug)]
enum Content {
    Empty,
    Full(Bytes),
    Download(Box<Download>),
    Events(Box<EventStream>),
    Live(Live),
    Pair(Box<PairStream>),
    Passed(Incoming),
}

/// Why a body broke off. The client sees its connection or stream fail, never a whole-looking half.
#[derive(Debug, thiserror::Error)]
#[error("the answer broke off: {0}")]
pub(super) struct BrokenOff(pub(super) String);

impl HttpBody {
    pub(super) const fn empty() -> Self {
        Self { content: Content::Empty, gzip: None, trailers: None, stay: None }
    }

    pub(super) const fn full(bytes: Bytes) -> Self {
        Self { content: Content::Full(bytes), gzip: None, trailers: None, stay: None }
    }

    /// A service's answer that goes on.
    pub(super) fn download(download: Download) -> Self {
        Self { content: Content::Download(Box::new(download)), gzip: None, trailers: None, stay: None }
    }

    /// Messages as they come.
    pub(super) fn events(events: EventStream) -> Self {
        Self { content: Content::Events(Box::new(events)), gzip: None, trailers: None, stay: None }
    }

    /// News as they come.
    pub(super) const fn live(live: Live) -> Self {
        Self { content: Content::Live(live), gzip: None, trailers: None, stay: None }
    }

    /// What the other half of a pair sends.
    pub(super) fn pair(stream: PairStream) -> Self {
        Self { content: Content::Pair(Box::new(stream)), gzip: None, trailers: None, stay: None }
    }

    /// The answer of an endpoint.
    pub(super) const fn passed(body: Incoming) -> Self {
        Self { content: Content::Passed(body), gzip: None, trailers: None, stay: None }
    }

    /// The same, compressed.
    pub(super) fn gzipped(self) -> Self {
        Self { gzip: Some(Box::new(Gzip::new())), ..self }
    }

    /// The request counts as in flight until the body is gone.
    pub(super) fn keep(&mut self, stay: Stay) {
        self.stay = Some(stay);
    }
}

impl HttpBody {
    fn poll_plain(&mut self, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, BrokenOff>>> {
        let next = match &mut self.content {
            Content::Download(download) => return download.poll_frame(cx),
            Content::Pair(stream) => {
                return stream.poll_bytes(cx).map(|next| next.map(|bytes| bytes.map(Frame::data)));
            }
            Content::Passed(body) => {
                let broken = |error: hyper::Error| BrokenOff(error.to_string());
                return Pin::new(body).poll_frame(cx).map(|next| next.map(|frame| frame.map_err(broken)));
            }
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

    /// Compresses what there is; flushes when the source has nothing for now.
    fn poll_gzip(
        &mut self,
        gzip: &mut Gzip,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, BrokenOff>>> {
        loop {
            let came = match self.poll_plain(cx) {
                Poll::Pending => match gzip.flush() {
                    Ok(None) => return Poll::Pending,
                    flushed => flushed,
                },
                Poll::Ready(Some(Err(error))) => return Poll::Ready(Some(Err(error))),
                Poll::Ready(Some(Ok(frame))) => match frame.into_data() {
                    Ok(data) => match gzip.write(&data) {
                        Ok(None) => continue,
                        written => written,
                    },
                    Err(trailers) => {
                        self.trailers = trailers.into_trailers().ok();
                        return self.finish(gzip);
                    }
                },
                Poll::Ready(None) => return self.finish(gzip),
            };
            return Poll::Ready(came.transpose().map(|bytes| bytes.map(Frame::data)));
        }
    }

    fn finish(&mut self, gzip: &mut Gzip) -> Poll<Option<Result<Frame<Bytes>, BrokenOff>>> {
        self.content = Content::Empty;
        Poll::Ready(gzip.finish().transpose().map(|bytes| bytes.map(Frame::data)))
    }
}

impl Body for HttpBody {
    type Data = Bytes;
    type Error = BrokenOff;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, BrokenOff>>> {
        if let Content::Download(download) = &mut self.content
            && download.yields()
        {
            cx.waker().wake_by_ref();
            return Poll::Pending;
        }
        if let Some(mut gzip) = self.gzip.take() {
            let polled = self.poll_gzip(&mut gzip, cx);
            if !gzip.is_finished() {
                self.gzip = Some(gzip);
            }
            return polled;
        }
        if let Some(trailers) = self.trailers.take() {
            return Poll::Ready(Some(Ok(Frame::trailers(trailers))));
        }
        self.poll_plain(cx)
    }

    fn is_end_stream(&self) -> bool {
        if self.gzip.is_some() || self.trailers.is_some() {
            return false;
        }
        match &self.content {
            Content::Empty => true,
            Content::Full(bytes) => bytes.is_empty(),
            Content::Passed(body) => body.is_end_stream(),
            Content::Download(_) | Content::Events(_) | Content::Live(_) | Content::Pair(_) => false,
        }
    }

    fn size_hint(&self) -> SizeHint {
        if self.gzip.is_some() {
            return SizeHint::default();
        }
        match &self.content {
            Content::Empty => SizeHint::with_exact(0),
            Content::Full(bytes) => SizeHint::with_exact(bytes.len() as u64),
            Content::Passed(body) => body.size_hint(),
            Content::Download(_) | Content::Events(_) | Content::Live(_) | Content::Pair(_) => {
                SizeHint::default()
            }
        }
    }
}
