//! A session and the link that carries it.

use std::collections::VecDeque;
use std::future::pending;
use std::time::{Duration, Instant};

use whub_ws::CloseCode;

use crate::error::Error;
use crate::link::{Arrival, Link, closed};
use crate::session::{Flushed, Session};
use crate::wanted::Wanted;

/// Bytes that may wait for the socket before no more commands are taken.
const ROOM_BYTES: usize = 256 * 1024;

pub(crate) struct Conversation {
    pub(crate) session: Session,
    link: Link,
    /// Who waits until so many bytes were written.
    flushed: VecDeque<(u64, Flushed)>,
    pub(crate) since: Instant,
    /// When it is closed whatever is under way; for those that are being left.
    pub(crate) until: Option<Instant>,
}

/// What a conversation is ready for.
#[derive(Debug)]
pub(crate) enum Ready {
    Read,
    Wrote,
    Silence,
}

impl Conversation {
    pub(crate) fn new(session: Session, link: Link, now: Instant) -> Self {
        Self { session, link, flushed: VecDeque::new(), since: now, until: None }
    }

    /// Waits until something can be done; for ever without a conversation. It may be dropped at any time.
    pub(crate) async fn ready(conversation: Option<&mut Self>) -> Result<Ready, Error> {
        let Some(Self { session, link, .. }) = conversation else { return pending().await };
        let choked = session.is_choked();
        let silence = tokio::time::Instant::from_std(session.poll_timeout());
        let pending = link.writer.pending() > 0;
        tokio::select! {
            wrote = link.writer.write_some(), if pending => wrote.map(|()| Ready::Wrote),
            read = link.reader.read(), if !choked => match read? {
                true => Ok(Ready::Read),
                false => Err(Error::lost("the hub ended the connection")),
            },
            () = tokio::time::sleep_until(silence) => Ok(Ready::Silence),
        }
    }

    /// Does what it is ready for. An error ends it.
    pub(crate) fn handle(&mut self, now: Instant, ready: &Ready, wanted: &mut Wanted) -> Result<(), Error> {
        match ready {
            Ready::Read => self.handle_arrivals(now, wanted),
            Ready::Wrote => {
                self.settle_flushed();
                Ok(())
            }
            // What is not read cannot be heard; nor does the hub hear answers to its own questions.
            Ready::Silence if self.session.is_choked() => {
                self.session.handle_deaf(now);
                Ok(())
            }
            Ready::Silence => self.session.handle_timeout(now),
        }
    }

    /// Everything that the last read brought.
    pub(crate) fn handle_arrivals(&mut self, now: Instant, wanted: &mut Wanted) -> Result<(), Error> {
        while let Some(arrival) = self.link.reader.pop()? {
            match arrival {
                Arrival::Frame(bytes) => self.session.handle_frame(now, &bytes, wanted)?,
                Arrival::Ping(payload) => {
                    self.session.handle_alive(now);
                    self.link.writer.pong(&payload);
                }
                Arrival::Sign => self.session.handle_alive(now),
                Arrival::Close(frame) => {
                    self.link.writer.close_reply(frame.as_ref());
                    return Err(self.session.complaint().unwrap_or_else(|| closed(frame.as_ref())));
                }
            }
        }
        Ok(())
    }

    /// Hands the session's frames to the link.
    pub(crate) fn pump(&mut self) {
        let writer = &mut self.link.writer;
        self.session.outbox.drain(|frame| writer.frame(frame));
        let mark = writer.queued();
        self.flushed.extend(self.session.written.drain(..).map(|waiting| (mark, waiting)));
    }

    /// Whether more may be asked of it now.
    pub(crate) fn has_room(&self) -> bool {
        self.link.writer.pending() < ROOM_BYTES
    }

    /// Nothing is under way any more, and everything was written.
    pub(crate) fn is_quiet(&self) -> bool {
        self.session.is_quiet() && self.link.writer.pending() == 0
    }

    /// The connection is gone.
    pub(crate) fn lose(mut self, error: &Error, wanted: &mut Wanted) {
        self.settle_flushed();
        for (_, waiting) in self.flushed {
            waiting.fail(error);
        }
        self.session.handle_lost(error, wanted);
    }

    /// Ends the connection in order: the last bytes leave, then the hub is waited for, so that nothing it has not
    /// read yet is thrown away. `error` is told to those who still wait.
    pub(crate) async fn close(
        mut self,
        code: CloseCode,
        error: Error,
        within: Duration,
    ) -> Result<(), Error> {
        self.pump();
        self.link.writer.close(code, error.reason());
        let ended = tokio::time::timeout(within, async {
            self.link.writer.flush().await?;
            self.settle_flushed();
            self.link.writer.shutdown().await?;
            // Whatever it still says is of no use; a lost connection is an end as well.
            while let Ok(true) = self.link.reader.read().await {
                while let Ok(Some(_)) = self.link.reader.pop() {}
            }
            Ok(())
        })
        .await;
        self.settle_flushed();
        self.lose(&error, &mut Wanted::default());
        ended.unwrap_or_else(|_| Err(Error::timeout("the last bytes could not be written in time")))
    }

    fn settle_flushed(&mut self) {
        let written = self.link.writer.written();
        while self.flushed.front().is_some_and(|(mark, _)| *mark <= written) {
            let Some((_, waiting)) = self.flushed.pop_front() else { return };
            waiting.succeed();
        }
    }
}
