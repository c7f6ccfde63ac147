//! The event loop: many sockets, one thread, one read and one write per readable socket.
//!
//! The contract with a [`Load`]: it is given whole reads, says how many bytes it used, and appends what it
//! wants to send to the [`Outbox`], which is written before the next socket is read.

use std::io::{self, Read, Write};
use std::net::TcpStream as StdStream;
use std::time::{Duration, Instant};

use mio::net::TcpStream;
use mio::{Events, Interest, Poll, Token};

use crate::fault::Fault;
use crate::meter::Meter;

/// Largest single read.
const READ_BYTES: usize = 256 * 1024;

/// What happens on the connections of a cell.
pub(crate) trait Load {
    /// Sends the first messages.
    fn start(&mut self, now_ns: u64, out: &mut Outbox);

    /// Takes whole messages off `bytes` and says how many bytes they had; the rest is offered again with more.
    fn handle_bytes(
        &mut self,
        conn: usize,
        bytes: &[u8],
        now_ns: u64,
        out: &mut Outbox,
    ) -> Result<usize, Fault>;

    /// Sends what a schedule says is due. Called before every wait if `scheduled` is true.
    fn handle_due(&mut self, _now_ns: u64, _out: &mut Outbox) {}

    /// True for open loops: the generator then never sleeps.
    fn scheduled(&self) -> bool {
        false
    }

    /// The counters.
    fn meter(&mut self) -> &mut Meter;
}

/// What is to be written, by connection.
#[derive(Debug, Default)]
pub(crate) struct Outbox {
    queues: Vec<Vec<u8>>,
    dirty: Vec<usize>,
    marked: Vec<bool>,
}

impl Outbox {
    /// The queue of `conn`; what is appended is written after the current read batch.
    pub(crate) fn queue(&mut self, conn: usize) -> &mut Vec<u8> {
        if !self.marked[conn] {
            self.marked[conn] = true;
            self.dirty.push(conn);
        }
        &mut self.queues[conn]
    }

    /// Room for one more connection.
    pub(crate) fn add(&mut self) {
        self.queues.push(Vec::new());
        self.marked.push(false);
    }
}

#[derive(Debug)]
struct Conn {
    stream: TcpStream,
    /// Start of a message whose end has not come yet.
    carry: Vec<u8>,
}

/// The sockets of one cell.
#[derive(Debug)]
pub(crate) struct Net {
    poll: Poll,
    events: Events,
    conns: Vec<Conn>,
    out: Outbox,
    scratch: Vec<u8>,
    start: Instant,
}

impl Net {
    /// No connections yet.
    pub(crate) fn new() -> Result<Self, Fault> {
        Ok(Self {
            poll: Poll::new().map_err(Fault::io("epoll"))?,
            events: Events::with_capacity(1024),
            conns: Vec::new(),
            out: Outbox::default(),
            scratch: vec![0; READ_BYTES],
            start: Instant::now(),
        })
    }

    /// Takes over an opened connection and bytes already read from it; connections count from 0.
    pub(crate) fn add(&mut self, stream: StdStream, early: Vec<u8>) -> Result<usize, Fault> {
        stream.set_nonblocking(true).map_err(Fault::io("set_nonblocking"))?;
        let mut stream = TcpStream::from_std(stream);
        let conn = self.conns.len();
        self.poll
            .registry()
            .register(&mut stream, Token(conn), Interest::READABLE | Interest::WRITABLE)
            .map_err(Fault::io("epoll_ctl"))?;
        self.conns.push(Conn { stream, carry: early });
        self.out.add();
        Ok(conn)
    }

    /// Ns since this set of connections began.
    pub(crate) fn now_ns(&self) -> u64 {
        self.start.elapsed().as_nanos() as u64
    }

    /// Sends the first messages of `load`.
    pub(crate) fn begin(&mut self, load: &mut impl Load) -> Result<(), Fault> {
        let now_ns = self.now_ns();
        load.start(now_ns, &mut self.out);
        self.flush()
    }

    /// Serves the sockets for `span`, or until `over` says so.
    pub(crate) fn turn<L: Load>(
        &mut self,
        load: &mut L,
        span: Duration,
        over: impl Fn(&mut L) -> bool,
    ) -> Result<(), Fault> {
        let end = Instant::now() + span;
        while !over(load) {
            let now = Instant::now();
            if now >= end {
                break;
            }
            if load.scheduled() {
                load.handle_due((now - self.start).as_nanos() as u64, &mut self.out);
                self.flush()?;
            }
            let wait = if load.scheduled() { Duration::ZERO } else { end - now };
            self.wait(wait)?;
            self.serve(load)?;
        }
        Ok(())
    }

    fn wait(&mut self, at_most: Duration) -> Result<(), Fault> {
        match self.poll.poll(&mut self.events, Some(at_most)) {
            Err(error) if error.kind() == io::ErrorKind::Interrupted => Ok(()),
            result => result.map_err(Fault::io("epoll_wait")),
        }
    }

    fn serve(&mut self, load: &mut impl Load) -> Result<(), Fault> {
        let mut ready = std::mem::replace(&mut self.events, Events::with_capacity(0));
        for event in &ready {
            let Token(conn) = event.token();
            if event.is_writable() && !self.out.queues[conn].is_empty() {
                self.write(conn)?;
            }
            if event.is_readable() {
                self.read(conn, load)?;
                self.flush()?;
            }
        }
        ready.clear();
        self.events = ready;
        Ok(())
    }

    /// Edge-triggered: reads until a read comes back short.
    fn read(&mut self, conn: usize, load: &mut impl Load) -> Result<(), Fault> {
        loop {
            let got = match self.conns[conn].stream.read(&mut self.scratch) {
                Ok(0) => return Err(Fault::Closed(conn)),
                Ok(got) => got,
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => return Ok(()),
                Err(error) if error.kind() == io::ErrorKind::Interrupted => continue,
                Err(error) => return Err(Fault::io(format!("read from connection {conn}"))(error)),
            };
            self.deliver(conn, got, load)?;
            if got < self.scratch.len() {
                return Ok(());
            }
        }
    }

    fn deliver(&mut self, conn: usize, got: usize, load: &mut impl Load) -> Result<(), Fault> {
        let now_ns = self.now_ns();
        let fresh = &self.scratch[..got];
        let carry = &mut self.conns[conn].carry;
        if carry.is_empty() {
            let used = load.handle_bytes(conn, fresh, now_ns, &mut self.out)?;
            carry.extend_from_slice(&fresh[used..]);
            return Ok(());
        }
        carry.extend_from_slice(fresh);
        let used = load.handle_bytes(conn, carry, now_ns, &mut self.out)?;
        carry.drain(..used);
        Ok(())
    }

    fn flush(&mut self) -> Result<(), Fault> {
        while let Some(conn) = self.out.dirty.pop() {
            self.out.marked[conn] = false;
            self.write(conn)?;
        }
        Ok(())
    }

    fn write(&mut self, conn: usize) -> Result<(), Fault> {
        let queue = &mut self.out.queues[conn];
        let mut sent = 0;
        while sent < queue.len() {
            match self.conns[conn].stream.write(&queue[sent..]) {
                Ok(more) => sent += more,
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => break,
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) => return Err(Fault::io(format!("write to connection {conn}"))(error)),
            }
        }
        queue.drain(..sent);
        Ok(())
    }
}
