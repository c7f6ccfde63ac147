//! The servers everything is measured against: a raw TCP echo, a raw TCP relay, and a stub behind reverse proxies.
//!
//! Each is one plain epoll loop on one thread: one read and one write per readable socket. They are the floor that a
//! server on this kernel cannot pass under.

use std::io::{self, Read, Write};
use std::net::SocketAddr;

use mio::net::{TcpListener, TcpStream};
use mio::{Events, Interest, Poll, Token};

use crate::dial::{ACCEPT, head_len};
use crate::message;

const LISTENER: Token = Token(usize::MAX);
const READ_BYTES: usize = 128 * 1024;

/// Which of the three.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Kind {
    /// Sends every byte back.
    Echo,
    /// Joins the connections in the order of their coming, the first with the second, the third with the fourth.
    Relay,
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
    /// By token; `None` once they are over. Tokens are not used again: a run opens a few thousand.
    conns: Vec<Option<Conn>>,
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
        Ok(Self { kind, poll, conns: Vec::new(), scratch: vec![0; READ_BYTES], answer })
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
                } else {
                    self.handle(event.token().0, event.is_writable());
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
            let token = Token(self.conns.len());
            self.poll.registry().register(&mut stream, token, Interest::READABLE | Interest::WRITABLE)?;
            self.conns.push(Some(Conn { stream, backlog: Vec::new(), carry: Vec::new() }));
            if self.kind == Kind::Relay {
                // The first of two may have spoken before the second came.
                self.pump_or_end(token.0 ^ 1, token.0);
            }
        }
    }

    fn handle(&mut self, at: usize, writable: bool) {
        let to = if self.kind == Kind::Relay { at ^ 1 } else { at };
        if writable && self.flush(at) && to != at {
            // Whoever feeds this connection may have waited for it.
            self.pump_or_end(to, at);
        }
        self.pump_or_end(at, to);
    }

    /// Sends what waits. True if something waited and nothing does any more.
    fn flush(&mut self, at: usize) -> bool {
        let Some(conn) = self.conn(at) else { return false };
        if conn.backlog.is_empty() {
            return false;
        }
        let backlog = std::mem::take(&mut conn.backlog);
        send(conn, &backlog).is_ok() && conn.backlog.is_empty()
    }

    fn pump_or_end(&mut self, from: usize, to: usize) {
        if self.pump(from, to).is_err() {
            for end in [from, to] {
                if let Some(conn) = self.conns.get_mut(end) {
                    *conn = None;
                }
            }
        }
    }

    /// Reads from one and writes to the other. An error, the end of the stream included, means that it is over.
    fn pump(&mut self, from: usize, to: usize) -> io::Result<()> {
        // While the receiver does not read, nothing is read for it.
        while self.conn(to).is_some_and(|conn| conn.backlog.is_empty()) {
            let Some(Some(conn)) = self.conns.get_mut(from) else { break };
            let got = match conn.stream.read(&mut self.scratch) {
                Ok(0) => return Err(io::ErrorKind::UnexpectedEof.into()),
                Ok(got) => got,
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => break,
                Err(error) => return Err(error),
            };
            let Some(Some(conn)) = self.conns.get_mut(to) else { break };
            match self.kind {
                Kind::Echo | Kind::Relay => send(conn, &self.scratch[..got])?,
                Kind::Stub => answer(conn, &self.scratch[..got], &self.answer)?,
            }
            if got < self.scratch.len() {
                break;
            }
        }
        Ok(())
    }

    fn conn(&mut self, at: usize) -> Option<&mut Conn> {
        self.conns.get_mut(at)?.as_mut()
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

#[cfg(test)]
mod tests {
    use super::*;
    use std::net::TcpStream as StdStream;

    fn start(kind: Kind) -> SocketAddr {
        let mut listener = TcpListener::bind(SocketAddr::from(([127, 0, 0, 1], 0))).expect("a free port");
        let addr = listener.local_addr().expect("bound");
        std::thread::spawn(move || Server::new(kind, &mut listener)?.run(&listener));
        addr
    }

    #[test]
    fn a_relay_joins_two_and_two() {
        let addr = start(Kind::Relay);
        let mut ends: Vec<_> = (0..4).map(|_| StdStream::connect(addr).expect("listening")).collect();
        // More than the sockets hold, so that one has to wait for the other.
        let message = vec![7; 8 * 1024 * 1024];
        let (left, right) = ends.split_at_mut(3);
        std::thread::scope(|scope| {
            scope.spawn(|| left[2].write_all(&message));
            let mut got = vec![0; message.len()];
            right[0].read_exact(&mut got).expect("all of it");
            assert!(got == message);
        });
    }

    #[test]
    fn a_stub_answers_requests_and_upgrades() {
        let mut client = StdStream::connect(start(Kind::Stub)).expect("listening");
        client
            .write_all(b"GET / HTTP/1.1\r\n\r\nGET / HTTP/1.1\r\nUpgrade: websocket\r\n\r\n")
            .expect("open");
        let mut seen = Vec::new();
        while !seen.ends_with(b"\r\n\r\n") || seen.len() < 300 {
            let mut chunk = [0; 1024];
            let got = client.read(&mut chunk).expect("open");
            assert!(got > 0, "closed after {seen:?}");
            seen.extend_from_slice(&chunk[..got]);
        }
        let text = String::from_utf8(seen).expect("plain text");
        assert!(text.starts_with("HTTP/1.1 200 OK") && text.contains("HTTP/1.1 101"), "{text}");
    }
}
