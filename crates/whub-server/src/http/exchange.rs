//! A call under way: the body goes up, the answer comes down, and whoever drops it has abandoned the call.

use std::task::{Context, Poll};

use bytes::Bytes;
use hyper::HeaderMap;
use hyper::body::Frame;
use whub_core::{Fault, Letter, Packet};
use whub_proto::{Body, Code, Kind};

use crate::http::body::BrokenOff;
use crate::http::caller::CALL;
use crate::http::tie::Tie;
use crate::http::trailers;
use crate::http::upload::{Upload, UploadError};
use crate::http::window::Window;

/// A call that a provider owes an answer for.
#[derive(Debug)]
pub(super) struct Exchange {
    tie: Tie,
    upload: Option<Upload>,
}

/// The next thing that happened.
#[derive(Debug)]
pub(super) enum Turn {
    /// `Response`, `Data`, or the service's `Error`.
    Answer { packet: Packet, last: bool },
    /// The call ended without an answer.
    Failed(Fault),
    /// The client's body did not come whole.
    Upload(UploadError),
}

impl Exchange {
    pub(super) fn new(tie: Tie, upload: Option<Upload>) -> Self {
        Self { tie, upload }
    }

    /// For those who go on with the call in another way.
    pub(super) fn into_tie(self) -> Tie {
        self.tie
    }

    /// So many bytes of the answer were taken.
    pub(super) fn refill(&self, bytes: u32) {
        self.tie.refill(bytes);
    }

    /// Moves the upload on and waits for the next letter.
    pub(super) fn poll_turn(&mut self, cx: &mut Context<'_>) -> Poll<Turn> {
        loop {
            match self.tie.caller().poll_letter(cx) {
                // The answer has not begun; what is said about its progress has no place in HTTP.
                Poll::Ready(Letter::Answer { packet, .. }) if is_progress(&packet) => {}
                Poll::Ready(Letter::Answer { packet, last, .. }) => {
                    if last {
                        self.tie.settle();
                    }
                    return Poll::Ready(Turn::Answer { packet, last });
                }
                Poll::Ready(Letter::Failed { fault, .. }) => {
                    // A call that this side gave up is still owed an answer by its provider.
                    if fault.code != Code::SlowConsumer {
                        self.tie.settle();
                    }
                    return Poll::Ready(Turn::Failed(fault));
                }
                Poll::Ready(Letter::Credit { bytes, .. }) => {
                    if let Some(upload) = &mut self.upload {
                        upload.refill(bytes);
                    }
                }
                Poll::Ready(Letter::Placed { place, step, .. }) => self.tie.placed(place, step),
                // Letters to sessions; nobody posts them here.
                Poll::Ready(_) => {}
                Poll::Pending => return self.poll_upload(cx).map(Turn::Upload),
            }
        }
    }

    /// Ready only with a failure.
    fn poll_upload(&mut self, cx: &mut Context<'_>) -> Poll<UploadError> {
        // Until there is a provider nothing is read of the body.
        let Some(upload) = self.upload.as_mut().filter(|_| self.tie.is_placed()) else {
            return Poll::Pending;
        };
        match upload.poll(cx, &self.tie) {
            Poll::Pending => Poll::Pending,
            Poll::Ready(Ok(())) => {
                self.upload = None;
                Poll::Pending
            }
            Poll::Ready(Err(error)) => {
                self.upload = None;
                Poll::Ready(error)
            }
        }
    }
}

/// The rest of an answer that did not fit into one frame.
#[derive(Debug)]
pub(super) struct Download {
    exchange: Exchange,
    /// What came with the head.
    first: Bytes,
    trailers: Option<HeaderMap>,
    window: Window,
    /// Its provider is to hear first that it may send more.
    yields: bool,
    ended: bool,
}

impl Download {
    pub(super) fn new(exchange: Exchange, first: Bytes) -> Self {
        Self { exchange, first, trailers: None, window: Window::new(), yields: false, ended: false }
    }

    /// The next bytes, or what follows them; `None` at the end.
    pub(super) fn poll_frame(
        &mut self,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, BrokenOff>>> {
        if !self.first.is_empty() {
            let first = std::mem::take(&mut self.first);
            return Poll::Ready(Some(Ok(Frame::data(self.take(first)))));
        }
        while !self.ended {
            let bytes = match std::task::ready!(self.exchange.poll_turn(cx)) {
                Turn::Answer { packet, last } => {
                    self.ended = last;
                    if last {
                        self.trailers = trailers::of_answer(&packet);
                    }
                    match content(&packet) {
                        Ok(bytes) => bytes,
                        Err(error) => return self.break_off(error),
                    }
                }
                Turn::Failed(fault) => return self.break_off(fault.to_string()),
                Turn::Upload(error) => return self.break_off(format!("its request did: {error:?}")),
            };
            if !bytes.is_empty() {
                return Poll::Ready(Some(Ok(Frame::data(self.take(bytes)))));
            }
        }
        Poll::Ready(self.trailers.take().map(|trailers| Ok(Frame::trailers(trailers))))
    }

    /// Whether others should go first, once: the letter with the provider's credit is its session's to read, on this very
    /// thread perhaps. Were all written first that waits here, the provider would wait meanwhile, and the client afterwards.
    pub(super) fn yields(&mut self) -> bool {
        std::mem::take(&mut self.yields) && !self.ended
    }

    fn take(&mut self, bytes: Bytes) -> Bytes {
        if let Some(credit) = self.window.take(bytes.len()) {
            self.exchange.tie.refill(credit);
            self.yields = true;
        }
        bytes
    }

    fn break_off<T>(&mut self, why: String) -> Poll<Option<Result<T, BrokenOff>>> {
        self.ended = true;
        Poll::Ready(Some(Err(BrokenOff(why))))
    }
}

fn is_progress(packet: &Packet) -> bool {
    if packet.head(CALL.id).kind != Kind::Response {
        return false;
    }
    let Ok(frame) = packet.frame() else { return false };
    let Body::Response(response) = frame.body else { return false };
    matches!(response.status, 100 | 102..=199)
}

fn content(packet: &Packet) -> Result<Bytes, String> {
    if packet.head(CALL.id).kind == Kind::Data {
        return Ok(packet.payload());
    }
    let frame = packet.frame().map_err(|error| error.to_string())?;
    if let Body::Error(failure) = &frame.body {
        return Err(format!("{} ({})", failure.reason, failure.slug));
    }
    Err(format!("the service sent {:?} instead of Data", frame.head.kind))
}
