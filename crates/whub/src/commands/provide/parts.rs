//! A body made of parts of a file and of words between them, read as it is sent.

use std::{
    collections::hash_map::RandomState,
    fs::File,
    hash::BuildHasher,
    io::{self, SeekFrom},
};

use bytes::{Bytes, BytesMut};
use tokio::{
    io::{AsyncReadExt, AsyncSeekExt},
    sync::mpsc,
};

use super::ranges::Span;
use crate::stream::{CHUNK_BYTES, Chunks};

/// What a body is made of, in order.
#[derive(Debug, Default)]
pub(crate) struct Parts(Vec<Part>);

#[derive(Debug)]
enum Part {
    Words(Bytes),
    Span(Span),
}

impl Parts {
    /// One part of the file.
    pub(crate) fn one(span: Span) -> Self {
        Self(vec![Part::Span(span)])
    }

    /// A `multipart/byteranges` body (RFC 9110, section 14.6), and the content type that names its boundary.
    pub(crate) fn several(spans: &[Span], total: u64, content_type: &str) -> (Self, String) {
        let boundary = boundary();
        let mut parts = Vec::new();
        for (number, span) in spans.iter().enumerate() {
            let before = if number == 0 { "" } else { "\r\n" };
            let range = span.content_range(total);
            let words = format!(
                "{before}--{boundary}\r\ncontent-type: {content_type}\r\ncontent-range: {range}\r\n\r\n"
            );
            parts.push(Part::Words(words.into()));
            parts.push(Part::Span(*span));
        }
        parts.push(Part::Words(format!("\r\n--{boundary}--\r\n").into()));
        (Self(parts), format!("multipart/byteranges; boundary={boundary}"))
    }

    /// Its length.
    pub(crate) fn bytes(&self) -> u64 {
        let each = self.0.iter().map(|part| match part {
            Part::Words(words) => words.len() as u64,
            Part::Span(span) => span.bytes,
        });
        each.sum()
    }

    /// Reads it from `file`, one chunk ahead of whoever takes it. A file that became shorter meanwhile breaks the body
    /// off, so that nobody takes the half for the whole; what was added to it is left out.
    pub(crate) fn read(self, file: File) -> Chunks<io::Error> {
        let (sender, chunks) = mpsc::channel(1);
        tokio::spawn(async move {
            let mut file = tokio::fs::File::from_std(file);
            for part in self.0 {
                let sent = match part {
                    Part::Words(words) => sender.send(Ok(words)).await.map_err(|_| None),
                    Part::Span(span) => send_span(&mut file, span, &sender).await,
                };
                let Err(why) = sent else { continue };
                if let Some(error) = why {
                    let _ = sender.send(Err(error)).await;
                }
                return;
            }
        });
        Chunks::new(chunks)
    }
}

/// Fails without an error when nobody wants the rest.
async fn send_span(
    file: &mut tokio::fs::File,
    span: Span,
    sender: &mpsc::Sender<Result<Bytes, io::Error>>,
) -> Result<(), Option<io::Error>> {
    file.seek(SeekFrom::Start(span.begin)).await.map_err(Some)?;
    let mut part = file.take(span.bytes);
    while part.limit() > 0 {
        let mut chunk =
            BytesMut::with_capacity(CHUNK_BYTES.min(usize::try_from(part.limit()).unwrap_or(CHUNK_BYTES)));
        if part.read_buf(&mut chunk).await.map_err(Some)? == 0 {
            let shorter = "the file became shorter while it was read";
            return Err(Some(io::Error::new(io::ErrorKind::UnexpectedEof, shorter)));
        }
        sender.send(Ok(chunk.freeze())).await.map_err(|_| None)?;
    }
    Ok(())
}

/// A line that no file holds by accident. The standard library's hashers are keyed at random, which is enough: nobody
/// can know it before the answer is made.
fn boundary() -> String {
    let random = || RandomState::new().hash_one(0_u8);
    format!("{:016x}{:016x}", random(), random())
}

#[cfg(test)]
mod tests {
    use std::pin::Pin;

    use futures_core::Stream;

    use super::*;

    fn file(text: &[u8], name: &str) -> (File, std::path::PathBuf) {
        let path = std::env::temp_dir().join(format!("whub-parts-{}-{name}", std::process::id()));
        std::fs::write(&path, text).unwrap();
        (File::open(&path).unwrap(), path)
    }

    async fn all(mut chunks: Chunks<io::Error>) -> io::Result<Vec<u8>> {
        let mut all = Vec::new();
        while let Some(chunk) = std::future::poll_fn(|cx| Pin::new(&mut chunks).poll_next(cx)).await {
            all.extend_from_slice(&chunk?);
        }
        Ok(all)
    }

    #[tokio::test]
    async fn a_part_is_read_from_where_it_begins() {
        let (file, path) = file(b"0123456789", "one");
        let parts = Parts::one(Span { begin: 2, bytes: 4 });
        assert_eq!(parts.bytes(), 4);
        assert_eq!(all(parts.read(file)).await.unwrap(), b"2345");
        std::fs::remove_file(path).unwrap();
    }

    #[tokio::test]
    async fn several_parts_are_told_apart_by_a_boundary() {
        let (file, path) = file(b"0123456789", "several");
        let spans = [Span { begin: 8, bytes: 2 }, Span { begin: 0, bytes: 1 }];
        let (parts, content_type) = Parts::several(&spans, 10, "text/plain");
        let boundary = content_type.strip_prefix("multipart/byteranges; boundary=").unwrap().to_owned();
        let bytes = parts.bytes();
        let body = all(parts.read(file)).await.unwrap();
        assert_eq!(body.len() as u64, bytes);
        let expected = format!(
            "--{boundary}\r\ncontent-type: text/plain\r\ncontent-range: bytes 8-9/10\r\n\r\n89\r\n\
             --{boundary}\r\ncontent-type: text/plain\r\ncontent-range: bytes 0-0/10\r\n\r\n0\r\n\
             --{boundary}--\r\n"
        );
        assert_eq!(String::from_utf8(body).unwrap(), expected);
        std::fs::remove_file(path).unwrap();
    }

    #[tokio::test]
    async fn a_file_that_shrinks_breaks_off_and_one_that_grows_does_not() {
        let (shrunk, path) = file(b"0123456789", "shrinks");
        std::fs::write(&path, b"0123").unwrap();
        let error = all(Parts::one(Span { begin: 0, bytes: 10 }).read(shrunk)).await.unwrap_err();
        assert_eq!(error.kind(), io::ErrorKind::UnexpectedEof);
        let grown = File::open(&path).unwrap();
        std::fs::write(&path, b"0123456789").unwrap();
        assert_eq!(all(Parts::one(Span { begin: 0, bytes: 4 }).read(grown)).await.unwrap(), b"0123");
        std::fs::remove_file(path).unwrap();
    }
}
