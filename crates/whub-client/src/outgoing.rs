//! Bytes on their way to a socket: appended at one end, written from the other.

use std::io;

use tokio::io::{AsyncWrite, AsyncWriteExt};

/// Above this an emptied buffer is given back, bytes.
const KEEP_BYTES_MAX: usize = 256 * 1024;

/// What waits to be written. Its bound is kept by those who append: they look at [`Outgoing::pending`] first.
#[derive(Debug, Default)]
pub(crate) struct Outgoing {
    bytes: Vec<u8>,
    done: usize,
    written: u64,
    unflushed: bool,
}

impl Outgoing {
    /// Where to append.
    pub(crate) fn bytes(&mut self) -> &mut Vec<u8> {
        &mut self.bytes
    }

    /// Bytes that are not written and flushed yet; never 0 while a flush is due.
    pub(crate) fn pending(&self) -> usize {
        (self.bytes.len() - self.done).max(usize::from(self.unflushed))
    }

    /// Bytes handed over since the beginning.
    pub(crate) fn written(&self) -> u64 {
        self.written
    }

    /// Bytes handed over since the beginning, once all that waits now is.
    pub(crate) fn queued(&self) -> u64 {
        self.written + (self.bytes.len() - self.done) as u64
    }

    /// Writes once, or flushes when all is written. It may be dropped at any time.
    pub(crate) async fn write_some(&mut self, io: &mut (impl AsyncWrite + Unpin)) -> io::Result<()> {
        if self.done < self.bytes.len() {
            let count = io.write(&self.bytes[self.done..]).await?;
            if count == 0 {
                return Err(io::ErrorKind::WriteZero.into());
            }
            self.done += count;
            self.written += count as u64;
            self.unflushed = true;
        }
        if self.done == self.bytes.len() {
            self.done = 0;
            self.bytes.clear();
            self.bytes.shrink_to(KEEP_BYTES_MAX);
            io.flush().await?;
            self.unflushed = false;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn bytes_go_out_in_order_and_are_counted() {
        let mut io = tokio_test_sink();
        let mut out = Outgoing::default();
        out.bytes().extend_from_slice(b"hello ");
        out.write_some(&mut io).await.unwrap();
        out.bytes().extend_from_slice(b"hub");
        assert_eq!((out.pending(), out.written()), (3, 6));
        out.write_some(&mut io).await.unwrap();
        assert_eq!((out.pending(), out.written()), (0, 9));
        assert_eq!(io.into_inner(), b"hello hub");
    }

    fn tokio_test_sink() -> std::io::Cursor<Vec<u8>> {
        std::io::Cursor::new(Vec::new())
    }
}
