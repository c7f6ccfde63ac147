//! The servers everything is measured against: a raw TCP echo, and a stub behind reverse proxies.
//!
//! Both are one plain epoll loop on one thread: one read and one write per readable socket. They are the floor
//! that a server on this kernel cannot pass under.

use std::collections::HashMap;
use std::io::{self, Read, Write};
use std::net::SocketAddr;

use mio::net::{TcpListener, TcpStream};
use mio::{Events, Interest, Poll, Token};

use crate::dial::{ACCEPT, head_len};
use crate::message;

const LISTENER: Token = Token(usize::MAX);
const READ_BYTES: usize = 128 * 1024;

/// Which of the two.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Kind {
    /// Sends every byte back.
    Echo,
    /// Answers every GET with 128 bytes and every upgrade with 101.
    Stub,
}

#[derive(Debug)]
struct Conn {
    stream: TcpStream,
    /// What the socket did not take.
    backlog: Vec<u8>,
    /// Start of a request whose end has not come (stub).
    carry: Vec<u8>,
}

/// Serves on a free loopback port, announced on standard output, until the process is ended.
pub(crate) fn serve(kind: Kind) -> io::Result<()> {
    let addr = SocketAddr::from(([127, 0, 0, 1], 0));
    let mut listener = TcpListener::bind(addr)?;
    writeln!(io::stdout(), "listening on tcp://{}", listener.local_addr()?)?;
    Server::new(kind, &mut listener)?.run(&listener)
}

struct Server {
    kind: Kind,
    poll: Poll,
    conns: HashMap<Token, Conn>,
    next: usize,
    scratch: Vec<u8>,
    answer: Vec<u8>,
}

impl Server {
    fn new(kind: Kind, listener: &mut TcpListener) -> io::Result<Self> {
        let poll = Poll::new()?;
        poll.registry().register(listener, LISTENER, Interest::READABLE)?;
        let body = message::blank(128);
        let mut answer =
            b"HTTP/1.1 200 OK\r\nContent-Type: text/plain\r\nContent-Length: 128\r\n\r\n".to_vec();
        answer.extend_from_slice(&body);
        Ok(Self { kind, poll, conns: HashMap::new(), next: 0, scratch: vec![0; READ_BYTES], answer })
    }

    fn run(&mut self, listener: &TcpListener) -> io::Result<()> {
        let mut events = Events::with_capacity(1024);
        loop {
            match self.poll.poll(&mut events, None) {
                Err(error) if error.kind() == io::ErrorKind::Interrupted => continue,
                result => result?,
            }
            for event in &events {
                if event.token() == LISTENER {
                    self.accept(listener)?;
                } else if self.handle(event.token(), event.is_writable()).is_err() {
                    self.conns.remove(&event.token());
                }
            }
        }
    }

    fn accept(&mut self, listener: &TcpListener) -> io::Result<()> {
        loop {
            let mut stream = match listener.accept() {
                Ok((stream, _)) => stream,
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => return Ok(()),
                Err(error) if error.kind() == io::ErrorKind::ConnectionAborted => continue,
                Err(error) => return Err(error),
            };
            stream.set_nodelay(true)?;
            let token = Token(self.next);
            self.next += 1;
            self.poll.registry().register(&mut stream, token, Interest::READABLE | Interest::WRITABLE)?;
            self.conns.insert(token, Conn { stream, backlog: Vec::new(), carry: Vec::new() });
        }
    }

    /// An error, the end of the stream included, means that the connection is over.
    fn handle(&mut self, token: Token, writable: bool) -> io::Result<()> {
        let Some(conn) = self.conns.get_mut(&token) else { return Ok(()) };
        if writable && !conn.backlog.is_empty() {
            let backlog = std::mem::take(&mut conn.backlog);
            send(conn, &backlog)?;
        }
        // While the peer does not read, nothing is read from it.
        while conn.backlog.is_empty() {
            let got = match conn.stream.read(&mut self.scratch) {
                Ok(0) => return Err(io::ErrorKind::UnexpectedEof.into()),
                Ok(got) => got,
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => break,
                Err(error) => return Err(error),
            };
            match self.kind {
                Kind::Echo => send(conn, &self.scratch[..got])?,
                Kind::Stub => answer(conn, &self.scratch[..got], &self.answer)?,
            }
            if got < self.scratch.len() {
                break;
            }
        }
        Ok(())
    }
}

fn send(conn: &mut Conn, bytes: &[u8]) -> io::Result<()> {
    let mut sent = 0;
    while conn.backlog.is_empty() && sent < bytes.len() {
        match conn.stream.write(&bytes[sent..]) {
            Ok(more) => sent += more,
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => break,
            Err(error) => return Err(error),
        }
    }
    conn.backlog.extend_from_slice(&bytes[sent..]);
    Ok(())
}

fn answer(conn: &mut Conn, bytes: &[u8], plain: &[u8]) -> io::Result<()> {
    conn.carry.extend_from_slice(bytes);
    while let Some(len) = head_len(&conn.carry) {
        let upgrade = conn.carry[..len].to_ascii_lowercase().windows(10).any(|at| at == b"\r\nupgrade:");
        conn.carry.drain(..len);
        if upgrade {
            let switch = format!(
                "HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n\
                 Sec-WebSocket-Accept: {ACCEPT}\r\n\r\n"
            );
            send(conn, switch.as_bytes())?;
        } else {
            send(conn, plain)?;
        }
    }
    Ok(())
}
