//! Bodies of requests and responses: read piece by piece under credit, or sent from bytes or a stream.

use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};

use bytes::{Bytes, BytesMut};
use futures_core::Stream;
use serde::de::DeserializeOwned;
use tokio::sync::mpsc;

use crate::client::BoxFuture;
use crate::command::{Command, Release};
use crate::credit::{Credit, WINDOW_BYTES};
use crate::error::Error;
use crate::headers::Headers;
use crate::key::Key;
use crate::socket::SocketClose;

/// Most bytes that [`Body::bytes`] and its like gather: 16 MiB. Read larger bodies chunk by chunk.
pub const GATHER_BYTES_MAX: usize = 16 << 20;

/// Bytes of one `Data` frame of a body.
const CHUNK_BYTES: usize = 64 * 1024;

/// One step of a body that arrives.
#[derive(Debug)]
pub(crate) enum Piece {
    Chunk(Bytes),
    /// The end, with trailers.
    End(Headers),
    /// A message of a WebSocket, or a part of one.
    Part {
        payload: Bytes,
        text: bool,
        more: bool,
    },
    /// The end of a WebSocket.
    Close(SocketClose),
    Failed(Error),
}

/// A body that arrives. The sender is held back until what came was taken: at most 256 KiB wait here.
#[derive(Debug)]
pub struct Body {
    pieces: mpsc::UnboundedReceiver<Piece>,
    key: Key,
    releases: mpsc::UnboundedSender<Release>,
    /// Taken and not yet granted again, bytes.
    taken: u32,
    state: Progress,
    trailers: Headers,
    /// What must live as long as the body is read.
    pub(crate) keep: Option<Box<dyn std::any::Any + Send + Sync>>,
}

#[derive(Debug, Clone)]
enum Progress {
    Running,
    Ended,
    Failed(Error),
}

impl Body {
    pub(crate) fn new(
        key: Key,
        pieces: mpsc::UnboundedReceiver<Piece>,
        releases: mpsc::UnboundedSender<Release>,
    ) -> Self {
        let (state, trailers) = (Progress::Running, Headers::default());
        Self { pieces, key, releases, taken: 0, state, trailers, keep: None }
    }

    /// The next chunk, of any size; `None` after the last.
    ///
    /// # Errors
    /// When the connection, the service or the caller was lost before the end.
    pub async fn next_chunk(&mut self) -> Result<Option<Bytes>, Error> {
        std::future::poll_fn(|cx| self.poll_chunk(cx)).await
    }

    /// As [`Body::next_chunk`], for those who poll. The body is a [`Stream`] of its chunks as well.
    ///
    /// # Errors
    /// As there.
    pub fn poll_chunk(&mut self, cx: &mut Context<'_>) -> Poll<Result<Option<Bytes>, Error>> {
        match &self.state {
            Progress::Running => {}
            Progress::Ended => return Poll::Ready(Ok(None)),
            Progress::Failed(error) => return Poll::Ready(Err(error.clone())),
        }
        Poll::Ready(match ready!(self.poll_piece(cx)) {
            Some(Piece::Chunk(chunk) | Piece::Part { payload: chunk, .. }) => Ok(Some(chunk)),
            Some(Piece::Close(_)) => {
                self.end(Progress::Ended);
                Ok(None)
            }
            Some(Piece::End(trailers)) => {
                self.trailers = trailers;
                self.end(Progress::Ended);
                Ok(None)
            }
            Some(Piece::Failed(error)) => self.fail(error),
            None => self.fail(Error::lost("the connection ended before the body did")),
        })
    }

    /// The next piece as it came. Its bytes count as taken.
    pub(crate) fn poll_piece(&mut self, cx: &mut Context<'_>) -> Poll<Option<Piece>> {
        let piece = ready!(self.pieces.poll_recv(cx));
        if let Some(Piece::Chunk(bytes) | Piece::Part { payload: bytes, .. }) = &piece {
            self.grant(bytes.len());
        }
        Poll::Ready(piece)
    }

    /// All of it, at most [`GATHER_BYTES_MAX`].
    ///
    /// # Errors
    /// As [`Body::next_chunk`], and when it is longer.
    pub async fn bytes(&mut self) -> Result<Bytes, Error> {
        self.bytes_up_to(GATHER_BYTES_MAX).await
    }

    /// All of it, at most `bytes_max`.
    ///
    /// # Errors
    /// As [`Body::next_chunk`], and when it is longer.
    pub async fn bytes_up_to(&mut self, bytes_max: usize) -> Result<Bytes, Error> {
        let Some(first) = self.next_chunk().await? else { return Ok(Bytes::new()) };
        let Some(second) = self.next_chunk().await? else { return within(first, bytes_max) };
        let mut all = BytesMut::from(first);
        let mut next = Some(second);
        while let Some(chunk) = next {
            if all.len() + chunk.len() > bytes_max {
                return Err(too_long(bytes_max));
            }
            all.extend_from_slice(&chunk);
            next = self.next_chunk().await?;
        }
        Ok(all.freeze())
    }

    /// All of it as text.
    ///
    /// # Errors
    /// As [`Body::bytes`], and when it is not UTF-8.
    pub async fn text(&mut self) -> Result<String, Error> {
        let bytes = self.bytes().await?;
        let text = std::str::from_utf8(&bytes)
            .map_err(|error| Error::invalid("the body is not UTF-8").with_source(error))?;
        Ok(text.to_owned())
    }

    /// All of it as a value of JSON.
    ///
    /// # Errors
    /// As [`Body::bytes`], and when it is not the JSON that `T` wants.
    pub async fn json<T: DeserializeOwned>(&mut self) -> Result<T, Error> {
        from_json(&self.bytes().await?)
    }

    /// The trailers, once the last chunk was taken.
    #[must_use]
    pub fn trailers(&self) -> &Headers {
        &self.trailers
    }

    /// Lets the sender go on, half a window at a time.
    fn grant(&mut self, bytes: usize) {
        self.taken = self.taken.saturating_add(u32::try_from(bytes).unwrap_or(u32::MAX));
        if self.taken >= WINDOW_BYTES / 2 {
            // A connection that is gone needs no credit.
            let _ = self.releases.send(Release::Credit(self.key, self.taken));
            self.taken = 0;
        }
    }

    fn fail<T>(&mut self, error: Error) -> Result<T, Error> {
        self.end(Progress::Failed(error.clone()));
        Err(error)
    }

    fn end(&mut self, state: Progress) {
        self.state = state;
        self.keep = None;
    }
}

impl Stream for Body {
    type Item = Result<Bytes, Error>;

    fn poll_next(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        self.poll_chunk(cx).map(Result::transpose)
    }
}

pub(crate) fn from_json<T: DeserializeOwned>(bytes: &[u8]) -> Result<T, Error> {
    serde_json::from_slice(bytes).map_err(|error| {
        Error::invalid(format!("the body is not the JSON that was expected: {error}")).with_source(error)
    })
}

pub(crate) fn to_json(value: &(impl serde::Serialize + ?Sized)) -> Result<Bytes, Error> {
    let bytes = serde_json::to_vec(value);
    bytes.map(Bytes::from).map_err(|error| {
        Error::invalid(format!("no JSON can be made of the value: {error}")).with_source(error)
    })
}

fn within(bytes: Bytes, bytes_max: usize) -> Result<Bytes, Error> {
    if bytes.len() > bytes_max { Err(too_long(bytes_max)) } else { Ok(bytes) }
}

fn too_long(bytes_max: usize) -> Error {
    Error::too_large(format!("the body is longer than {bytes_max} bytes; read it chunk by chunk"))
}

/// Why a stream that feeds a body failed.
pub type StreamError = Box<dyn std::error::Error + Send + Sync>;

type BoxStream = Pin<Box<dyn Stream<Item = Result<Bytes, StreamError>> + Send>>;

/// A body to be sent.
pub(crate) enum Source {
    Bytes(Bytes),
    Stream(BoxStream),
    /// A stream, and what is known at its end.
    Trailed(BoxStream, BoxFuture<Headers>),
}

impl Default for Source {
    fn default() -> Self {
        Self::Bytes(Bytes::new())
    }
}

impl std::fmt::Debug for Source {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Bytes(bytes) => write!(f, "{} bytes", bytes.len()),
            Self::Stream(_) | Self::Trailed(..) => f.write_str("stream"),
        }
    }
}

impl Source {
    pub(crate) fn stream<S, E>(stream: S) -> Self
    where
        S: Stream<Item = Result<Bytes, E>> + Send + 'static,
        E: Into<StreamError> + 'static,
    {
        Self::Stream(Box::pin(MapError(Box::pin(stream))))
    }

    /// The same with trailers.
    pub(crate) fn trailed(self, trailers: BoxFuture<Headers>) -> Self {
        match self {
            Self::Bytes(bytes) => Self::Trailed(Box::pin(Once(Some(bytes))), trailers),
            Self::Stream(stream) | Self::Trailed(stream, _) => Self::Trailed(stream, trailers),
        }
    }

    /// What travels with the first frame, and the rest if there may be one.
    pub(crate) fn split(self) -> (Bytes, Option<Self>) {
        match self {
            Self::Bytes(mut bytes) if bytes.len() > CHUNK_BYTES => {
                let first = bytes.split_to(CHUNK_BYTES);
                (first, Some(Self::Bytes(bytes)))
            }
            Self::Bytes(bytes) => (bytes, None),
            stream @ (Self::Stream(_) | Self::Trailed(..)) => (Bytes::new(), Some(stream)),
        }
    }

    /// Sends the body as credit allows. An error is one of the stream; the end of the call is none.
    pub(crate) async fn send(
        self,
        key: Key,
        credit: Arc<Credit>,
        commands: mpsc::Sender<Command>,
    ) -> Result<(), StreamError> {
        let sink = Sink { key, credit, commands };
        match self {
            Self::Bytes(bytes) => _ = sink.send(bytes, true).await,
            Self::Stream(stream) => {
                if sink.drain(stream).await?.is_some() {
                    let _ = sink.send(Bytes::new(), true).await;
                }
            }
            Self::Trailed(stream, trailers) => {
                if sink.drain(stream).await?.is_some() {
                    let last = Command::Trailers { key, trailers: trailers.await };
                    // A connection that is gone needs no end.
                    let _ = sink.commands.send(last).await;
                }
            }
        }
        Ok(())
    }
}

struct Sink {
    key: Key,
    credit: Arc<Credit>,
    commands: mpsc::Sender<Command>,
}

impl Sink {
    /// Sends a stream without its end; `None` when nobody wants the rest.
    async fn drain(&self, mut stream: BoxStream) -> Result<Option<()>, StreamError> {
        while let Some(chunk) = std::future::poll_fn(|cx| stream.as_mut().poll_next(cx)).await {
            if self.send(chunk?, false).await.is_none() {
                return Ok(None);
            }
        }
        Ok(Some(()))
    }

    /// `None` when nobody wants the rest.
    async fn send(&self, mut bytes: Bytes, ended: bool) -> Option<()> {
        while !bytes.is_empty() {
            let count = self.credit.take(bytes.len().min(CHUNK_BYTES)).await?;
            let payload = bytes.split_to(count);
            let last = ended && bytes.is_empty();
            self.commands.send(Command::Data { key: self.key, payload, ended: last }).await.ok()?;
            if last {
                return Some(());
            }
        }
        if ended {
            let last = Command::Data { key: self.key, payload: Bytes::new(), ended };
            self.commands.send(last).await.ok()?;
        }
        Some(())
    }
}

/// A stream of one chunk.
struct Once(Option<Bytes>);

impl Stream for Once {
    type Item = Result<Bytes, StreamError>;

    fn poll_next(mut self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        Poll::Ready(self.0.take().map(Ok))
    }
}

/// A stream with its errors boxed.
struct MapError<S>(Pin<Box<S>>);

impl<S, E> Stream for MapError<S>
where
    S: Stream<Item = Result<Bytes, E>>,
    E: Into<StreamError>,
{
    type Item = Result<Bytes, StreamError>;

    fn poll_next(
        mut self: Pin<&mut Self>,
        cx: &mut std::task::Context<'_>,
    ) -> std::task::Poll<Option<Self::Item>> {
        self.0.as_mut().poll_next(cx).map(|item| item.map(|chunk| chunk.map_err(Into::into)))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::key::KeySource;

    fn body() -> (mpsc::UnboundedSender<Piece>, mpsc::UnboundedReceiver<Release>, Body) {
        let (pieces, incoming) = mpsc::unbounded_channel();
        let (releases, released) = mpsc::unbounded_channel();
        (pieces, released, Body::new(KeySource::default().next(), incoming, releases))
    }

    #[tokio::test]
    async fn credit_is_granted_as_chunks_are_taken() {
        let (pieces, mut released, mut body) = body();
        for _ in 0..3 {
            pieces.send(Piece::Chunk(Bytes::from(vec![0; 50_000]))).unwrap();
        }
        body.next_chunk().await.unwrap();
        body.next_chunk().await.unwrap();
        assert!(released.try_recv().is_err());
        body.next_chunk().await.unwrap();
        assert!(matches!(released.try_recv(), Ok(Release::Credit(_, 150_000))));
    }

    #[tokio::test]
    async fn a_body_that_is_cut_off_is_an_error() {
        let (pieces, _released, mut body) = body();
        pieces.send(Piece::Chunk(Bytes::from_static(b"half"))).unwrap();
        drop(pieces);
        assert_eq!(body.bytes().await.unwrap_err().kind(), crate::ErrorKind::ConnectionLost);
    }

    #[tokio::test]
    async fn a_body_is_gathered_up_to_a_limit() {
        let (pieces, _released, mut whole) = body();
        for chunk in ["{\"a\"", ":1}"] {
            pieces.send(Piece::Chunk(chunk.into())).unwrap();
        }
        pieces.send(Piece::End(Headers::default())).unwrap();
        let value: serde_json::Value = whole.json().await.unwrap();
        assert_eq!(value["a"], 1);

        let (pieces, _released, mut long) = body();
        pieces.send(Piece::Chunk("12345".into())).unwrap();
        pieces.send(Piece::Chunk("12345".into())).unwrap();
        assert_eq!(long.bytes_up_to(9).await.unwrap_err().kind(), crate::ErrorKind::TooLarge);
    }
}
