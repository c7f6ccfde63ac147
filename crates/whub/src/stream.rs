//! Bodies on their way: from a reader to the wire, from the wire to a reader.

use std::{
    io,
    pin::Pin,
    task::{Context, Poll},
};

use bytes::{Buf, Bytes, BytesMut};
use futures_core::Stream;
use tokio::io::{AsyncRead, AsyncReadExt, ReadBuf};
use tokio::sync::mpsc;
use whub_client::{Body, Error};

/// Bytes read at once.
pub(crate) const CHUNK_BYTES: usize = 64 << 10;

/// Chunks that a task of their own makes, one ahead of whoever takes them. Dropping them tells it to stop.
#[derive(Debug)]
pub(crate) struct Chunks<E> {
    first: Option<Bytes>,
    rest: mpsc::Receiver<Result<Bytes, E>>,
}

impl<E> Chunks<E> {
    /// Those that come out of a channel.
    pub(crate) fn new(rest: mpsc::Receiver<Result<Bytes, E>>) -> Self {
        Self { first: None, rest }
    }

    /// The same after `first`, which is there already.
    pub(crate) fn after(first: Bytes, rest: mpsc::Receiver<Result<Bytes, E>>) -> Self {
        Self { first: Some(first).filter(|first| !first.is_empty()), rest }
    }

    fn poll_chunk(&mut self, context: &mut Context<'_>) -> Poll<Option<Result<Bytes, E>>> {
        match self.first.take() {
            Some(first) => Poll::Ready(Some(Ok(first))),
            None => self.rest.poll_recv(context),
        }
    }
}

impl<E> Stream for Chunks<E> {
    type Item = Result<Bytes, E>;

    fn poll_next(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        self.poll_chunk(context)
    }
}

/// What a reader gives.
pub(crate) fn read(mut reader: impl AsyncRead + Send + Unpin + 'static) -> Chunks<io::Error> {
    let (sender, chunks) = mpsc::channel(1);
    tokio::spawn(async move {
        loop {
            let mut chunk = BytesMut::with_capacity(CHUNK_BYTES);
            let next = match reader.read_buf(&mut chunk).await {
                Ok(0) => return,
                Ok(_) => Ok(chunk.freeze()),
                Err(error) => Err(error),
            };
            let failed = next.is_err();
            if sender.send(next).await.is_err() || failed {
                return;
            }
        }
    });
    Chunks::new(chunks)
}

/// What a body brings, to send it on.
pub(crate) fn relay(mut body: Body) -> Chunks<Error> {
    let (sender, chunks) = mpsc::channel(1);
    tokio::spawn(async move {
        while let Some(next) = body.next_chunk().await.transpose() {
            let failed = next.is_err();
            if sender.send(next).await.is_err() || failed {
                return;
            }
        }
    });
    Chunks::new(chunks)
}

/// Chunks as something to read.
#[derive(Debug)]
pub(crate) struct Reader {
    chunks: Chunks<Error>,
    current: Bytes,
}

/// A body as something to read.
pub(crate) fn reader(body: Body) -> Reader {
    Reader { chunks: relay(body), current: Bytes::new() }
}

impl AsyncRead for Reader {
    fn poll_read(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        into: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        while self.current.is_empty() {
            match std::task::ready!(self.chunks.poll_chunk(context)) {
                Some(Ok(chunk)) => self.current = chunk,
                Some(Err(error)) => return Poll::Ready(Err(io::Error::other(error))),
                None => return Poll::Ready(Ok(())),
            }
        }
        let count = self.current.len().min(into.remaining());
        into.put_slice(&self.current[..count]);
        self.current.advance(count);
        Poll::Ready(Ok(()))
    }
}
