//! The write path: to the socket at once, or to the backlog and from there.

use std::io;

use bytes::Bytes;
use whub_core::{Framing, Sent};
use whub_transport::DirectWriter;

use crate::framing;
use crate::gaps::Caught;
use crate::mailbox::{Mail, PeerMailbox, Private, State};
use crate::outgoing::Outgoing;

impl PeerMailbox {
    /// Writes now if nothing waits, else queues. `bytes` are copied only if they have to wait.
    pub(super) fn write_or_queue(
        &self,
        state: &mut State,
        bytes: &[u8],
        messages: u32,
        whole: Option<&Bytes>,
    ) -> Sent {
        let mut written = 0;
        if state.backlog.is_clear() {
            match self.write(state, bytes.len(), |direct| direct.try_write(bytes)) {
                Ok(count) => written = count,
                Err(_) => return Sent::Gone,
            }
            if written == bytes.len() {
                return Sent::Room;
            }
        }
        let rest = match whole {
            Some(whole) => whole.slice(written..),
            None => Bytes::copy_from_slice(&bytes[written..]),
        };
        state.backlog.push(rest, messages);
        self.wake(state);
        if state.backlog.bytes() > self.budget { Sent::Wait } else { Sent::Room }
    }

    /// The same for what the session says itself, but nothing is queued: returned is how much was written.
    pub(super) fn write_own(&self, state: &State, own: &Outgoing) -> io::Result<usize> {
        if let Some(bytes) = own.whole() {
            return self.write(state, bytes.len(), |direct| direct.try_write(bytes));
        }
        let slices = own.slices();
        let length = slices.iter().map(|slice| slice.len()).sum();
        self.write(state, length, |direct| direct.try_write_vectored(&slices))
    }

    /// What the socket takes at once of so many bytes; 0 where only the connection's task can write.
    fn write(
        &self,
        state: &State,
        length: usize,
        try_write: impl FnOnce(&DirectWriter) -> io::Result<usize>,
    ) -> io::Result<usize> {
        let Some(direct) = &self.direct else {
            self.wake(state);
            return Ok(0);
        };
        match try_write(direct) {
            Ok(count) => {
                if count < length {
                    self.wake(state);
                }
                Ok(count)
            }
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => {
                self.wake(state);
                Ok(0)
            }
            Err(error) => {
                // The connection's task sees the error itself when it reads or flushes.
                self.wake(state);
                Err(error)
            }
        }
    }

    /// Writes from the backlog until it is empty (true) or the socket is full (false). Wakes nobody: the flusher calls
    /// this itself, and would never rest.
    pub(super) fn drain(&self, state: &mut State) -> io::Result<bool> {
        let Some(direct) = &self.direct else { return Ok(false) };
        loop {
            let (slices, count) = state.backlog.slices();
            if count == 0 {
                return Ok(true);
            }
            match direct.try_write_vectored(&slices[..count]) {
                Ok(written) => self.advance(state, written),
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => return Ok(false),
                Err(error) => return Err(error),
            }
        }
    }

    pub(super) fn advance(&self, state: &mut State, written: usize) {
        state.written += written as u64;
        let delivered = state.backlog.advance(written);
        if delivered > 0 {
            self.hub.counters.deliveries_delivered.add(delivered);
        }
        self.relieve(state);
    }

    /// There may be room again: those who wait for it go on, and the subscriber learns what it missed.
    pub(super) fn relieve(&self, state: &mut State) {
        if state.load() > self.budget / 2 {
            return;
        }
        for waker in std::mem::take(&mut state.waiting) {
            waker.wake();
        }
        if !state.gaps.is_empty() {
            self.report_gaps(state);
        }
    }

    /// Tells the subscriber what it missed, at the place in the stream where it is missing.
    pub(super) fn report_gaps(&self, state: &mut State) {
        let Caught { gaps, latest } = state.gaps.take();
        if self.framing == Framing::Private {
            let packets = gaps.into_iter().chain(latest.into_iter().map(|packet| (0, packet)));
            state.mail.extend(packets.map(|(id, packet)| Mail::Private(Private::Packet { id, packet })));
            self.wake(state);
            return;
        }
        let mut bytes = Vec::new();
        for (id, packet) in &gaps {
            framing::encode_packet(&mut bytes, self.framing, *id, packet);
        }
        for packet in &latest {
            framing::encode_packet(&mut bytes, self.framing, 0, packet);
        }
        state.backlog.push(bytes.into(), u32::try_from(latest.len()).unwrap_or(u32::MAX));
    }
}

#[cfg(test)]
mod tests {
    use std::collections::VecDeque;
    use std::sync::Arc;
    use std::sync::atomic::{AtomicUsize, Ordering::Relaxed};
    use std::task::{Context, Wake, Waker};

    use tokio::net::UnixStream;
    use whub_core::{Hub, Parcel, Post as _, SessionLimits};
    use whub_transport::{Stream, WriteHalf};

    use super::*;
    use crate::config::SlowPolicy;
    use crate::mailbox::MailboxPolicy;

    /// Counts how often it is woken.
    #[derive(Default)]
    struct Bell(AtomicUsize);

    impl Wake for Bell {
        fn wake(self: Arc<Self>) {
            self.0.fetch_add(1, Relaxed);
        }
    }

    #[tokio::test]
    async fn a_flusher_whose_socket_is_full_rests() {
        let (ours, _deaf) = UnixStream::pair().unwrap();
        let (_read, write) = Stream::from(ours).split();
        let WriteHalf::Direct(direct) = write else { panic!("a bare socket") };
        let hub = Arc::new(Hub::new("test", "whub/test", SessionLimits::default()));
        let policy = MailboxPolicy { bytes: 1024, slow: SlowPolicy::Drop };
        let mailbox = PeerMailbox::new(hub, Framing::Plain, Some(direct), policy);
        let bell = Arc::new(Bell::default());
        let waker = Waker::from(Arc::clone(&bell));
        let mut cx = Context::from_waker(&waker);
        mailbox.poll_mail(&mut cx, &mut VecDeque::new());
        while mailbox.send(Parcel::Framed { bytes: &[0; 4096], messages: 0 }) == Sent::Room {}
        assert!(bell.0.load(Relaxed) > 0, "its task was told that something waits");
        let told = bell.0.load(Relaxed);
        for _ in 0..3 {
            assert!(mailbox.poll_flush(&mut cx).is_pending());
        }
        assert_eq!(bell.0.load(Relaxed), told, "and does not wake itself over and over");
    }
}
