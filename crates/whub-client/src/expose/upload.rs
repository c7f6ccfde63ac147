//! The body of a request on its way to the application.

use std::collections::VecDeque;
use std::future::poll_fn;
use std::pin::Pin;
use std::task::{Context, Poll};

use bytes::Bytes;
use hyper::HeaderMap;
use hyper::body::{Frame, SizeHint};

use super::fields;
use crate::body::Body;
use crate::error::Error;

/// A body that arrives from the hub, as hyper sends it. It is read only as fast as the application takes it.
#[derive(Debug)]
pub(super) struct Upload {
    /// `None` where nothing was ever to come.
    body: Option<Body>,
    /// What was there before the head was sent: two chunks at most.
    waiting: VecDeque<Bytes>,
    /// Bytes that are still to be sent, where that is known.
    left: Option<u64>,
    /// Nothing follows what waits, but for trailers.
    ended: bool,
    trailers: Option<HeaderMap>,
}

impl Upload {
    /// Looks at what has come already: a body that came whole has a known length, whatever its head says, unless trailers
    /// follow it, which only chunks can have. `declared` is the caller's `Content-Length`.
    pub(super) async fn look(mut body: Body, declared: Option<u64>) -> Result<Self, Error> {
        let mut waiting = VecDeque::new();
        let mut ended = false;
        poll_fn(|cx| {
            while !ended && waiting.len() < 2 {
                match body.poll_chunk(cx)? {
                    Poll::Ready(Some(chunk)) => waiting.push_back(chunk),
                    Poll::Ready(None) => ended = true,
                    Poll::Pending => break,
                }
            }
            Poll::Ready(Ok::<(), Error>(()))
        })
        .await?;
        let trailers = if ended { trailers(&body) } else { None };
        let left = match (ended, &trailers) {
            (true, None) => Some(waiting.iter().map(|chunk| chunk.len() as u64).sum()),
            (true, Some(_)) => None,
            (false, _) => declared,
        };
        Ok(Self { body: Some(body), waiting, left, ended, trailers })
    }

    /// No body.
    pub(super) fn nothing() -> Self {
        Self { body: None, waiting: VecDeque::new(), left: Some(0), ended: true, trailers: None }
    }

    /// Whether there is nothing to send, now or later.
    pub(super) fn is_empty(&self) -> bool {
        self.ended && self.waiting.is_empty() && self.trailers.is_none()
    }

    fn send(&mut self, chunk: Bytes) -> Frame<Bytes> {
        self.left = self.left.map(|left| left.saturating_sub(chunk.len() as u64));
        Frame::data(chunk)
    }
}

/// Those of a body that has ended, if it has some.
fn trailers(body: &Body) -> Option<HeaderMap> {
    let mut trailers = fields::map(body.trailers());
    fields::strip_from_trailers(&mut trailers);
    (!trailers.is_empty()).then_some(trailers)
}

impl hyper::body::Body for Upload {
    type Data = Bytes;
    type Error = Error;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Error>>> {
        let this = &mut *self;
        if let Some(chunk) = this.waiting.pop_front() {
            return Poll::Ready(Some(Ok(this.send(chunk))));
        }
        if let Some(body) = this.body.as_mut().filter(|_| !this.ended) {
            match std::task::ready!(body.poll_chunk(cx)) {
                Ok(Some(chunk)) => return Poll::Ready(Some(Ok(this.send(chunk)))),
                Ok(None) => (this.ended, this.trailers) = (true, trailers(body)),
                Err(error) => return Poll::Ready(Some(Err(error))),
            }
        }
        Poll::Ready(this.trailers.take().map(|trailers| Ok(Frame::trailers(trailers))))
    }

    fn is_end_stream(&self) -> bool {
        self.is_empty()
    }

    fn size_hint(&self) -> SizeHint {
        self.left.map_or_else(SizeHint::default, SizeHint::with_exact)
    }
}
