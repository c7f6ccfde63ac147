//! One connection to the hub, spoken by hand: what the hub says is looked at frame by frame, and no client library
//! stands between that could make good what the hub does wrong.

use std::io::{self, Read, Write};
use std::net::{Shutdown, SocketAddr};
use std::time::Duration;

use mio::net::TcpStream;
use mio::{Events, Interest, Poll, Token};
use whub_proto::{Body, Flags, Frame, Head, Hello, Kind, Origin, Writer};

use crate::fault::Fault;

/// What a connection over TCP begins with.
const PREFACE: [u8; 5] = [0x0E, b'W', b'H', b'B', 1];

/// Bytes of the length in front of a frame.
const LENGTH: usize = 4;

#[derive(Debug)]
pub(super) struct Link {
    stream: TcpStream,
    poll: Poll,
    events: Events,
    unread: Vec<u8>,
    unsent: Vec<u8>,
    writer: Writer,
    /// The hub has ended the connection.
    pub(super) over: bool,
}

impl Link {
    /// Connects and says hello; the welcome comes as a frame like any other.
    pub(super) fn open(hub: SocketAddr) -> Result<Self, Fault> {
        let stream = std::net::TcpStream::connect(hub).map_err(Fault::io(format!("connect to {hub}")))?;
        stream.set_nodelay(true).map_err(Fault::io("TCP_NODELAY"))?;
        stream.set_nonblocking(true).map_err(Fault::io("set_nonblocking"))?;
        let mut stream = TcpStream::from_std(stream);
        let poll = Poll::new().map_err(Fault::io("epoll"))?;
        poll.registry()
            .register(&mut stream, Token(0), Interest::READABLE | Interest::WRITABLE)
            .map_err(Fault::io("epoll_ctl"))?;
        let mut link = Self {
            stream,
            poll,
            events: Events::with_capacity(8),
            unread: Vec::new(),
            unsent: PREFACE.to_vec(),
            writer: Writer::new(),
            over: false,
        };
        link.say(0, Flags::NONE, &Body::Hello(Hello { agent: "whub-soak", ..Hello::default() }), b"")?;
        Ok(link)
    }

    /// Queues a frame.
    pub(super) fn say(
        &mut self,
        id: u64,
        flags: Flags,
        body: &Body<'_>,
        payload: &[u8],
    ) -> Result<(), Fault> {
        let start = self.unsent.len();
        self.unsent.extend_from_slice(&[0; LENGTH]);
        let head = Head::new(Kind::None, id).with(flags);
        let written = self.writer.frame(&mut self.unsent, head, None, body, payload);
        written.map_err(|error| Fault::protocol(error.to_string()))?;
        let length = (self.unsent.len() - start - LENGTH) as u32;
        self.unsent[start..start + LENGTH].copy_from_slice(&length.to_le_bytes());
        Ok(())
    }

    /// Sends what is queued and reads what came, waiting at most so long for either.
    pub(super) fn turn(&mut self, wait: Duration) -> Result<(), Fault> {
        self.send();
        match self.poll.poll(&mut self.events, Some(wait)) {
            Err(error) if error.kind() != io::ErrorKind::Interrupted => {
                return Err(Fault::io("epoll_wait")(error));
            }
            _ => {}
        }
        self.send();
        self.read();
        Ok(())
    }

    /// The next whole frame.
    pub(super) fn next(&mut self) -> Option<Vec<u8>> {
        let length = u32::from_le_bytes(*self.unread.first_chunk::<LENGTH>()?) as usize;
        let frame = self.unread.get(LENGTH..LENGTH + length)?.to_vec();
        self.unread.drain(..LENGTH + length);
        Some(frame)
    }

    /// Says that nothing more comes from this side, and goes on listening.
    pub(super) fn half_close(&self) {
        // A connection that is lost already needs no more.
        let _ = self.stream.shutdown(Shutdown::Write);
    }

    // What is wrong with the connection shows itself at the next read.
    fn send(&mut self) {
        while !self.unsent.is_empty() {
            match self.stream.write(&self.unsent) {
                Ok(count) => drop(self.unsent.drain(..count)),
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(_) => return,
            }
        }
    }

    fn read(&mut self) {
        let mut chunk = [0; 64 * 1024];
        loop {
            match self.stream.read(&mut chunk) {
                Ok(0) => self.over = true,
                Ok(count) => {
                    self.unread.extend_from_slice(&chunk[..count]);
                    continue;
                }
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => {}
                Err(error) if error.kind() == io::ErrorKind::Interrupted => continue,
                Err(_) => self.over = true,
            }
            return;
        }
    }
}

/// A frame of the hub, which must be sound.
pub(super) fn read(bytes: &[u8]) -> Result<Frame<'_>, Fault> {
    Frame::parse(bytes, usize::MAX, Origin::Hub).map_err(|error| Fault::protocol(error.to_string()))
}
