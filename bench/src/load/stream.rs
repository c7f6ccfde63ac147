//! One body of a gibibyte, down or up, over HTTP: from the provider behind a hub, or from a plain server that does the
//! same with the socket itself.
//!
//! Both ends are threads of the generator, so the direct connection and the one through the hub cost them alike.

use std::io::{self, BufRead, BufReader, Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::ops::Range;
use std::thread::JoinHandle;
use std::time::Duration;

use whub_proto::{Body, Credit, Data, Flags, HEAD_BYTES, Head, Headers, Hello, Kind, Register, Response};

use crate::fault::Fault;
use crate::wire::whub::frame;

/// Path of the body.
const PATH: &str = "/bench/stream";
/// Bytes written at a time.
const PIECE: usize = 64 * 1024;
/// Credit that goes without saying.
const WINDOW: u64 = 262_144;
/// Bytes taken before credit is given for them: as in `whub-client`, half a window.
const REFILL: u64 = WINDOW / 2;
/// Bytes that one read asks for, as in `whub-client`.
const READ: usize = 64 * 1024;
/// Credit that the provider gives beyond that, as one does that is made for long bodies.
const AHEAD: u32 = 1 << 20;
/// Longest wait for the other side's next byte.
const STEP: Duration = Duration::from_secs(30);

/// Which way the body goes, as its HTTP client sees it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Way {
    /// From the provider.
    Down,
    /// To the provider.
    Up,
}

/// The end that an HTTP client is connected with, in a thread of its own. It serves one body.
pub(crate) struct Source {
    /// Where the client connects.
    pub(crate) addr: SocketAddr,
    thread: JoinHandle<io::Result<()>>,
}

impl Source {
    /// A server of its own.
    pub(crate) fn direct(way: Way, bytes: u64) -> Result<Self, Fault> {
        let listener = TcpListener::bind("127.0.0.1:0").map_err(Fault::io("listen"))?;
        let addr = listener.local_addr().map_err(Fault::io("listen"))?;
        Ok(Self::listening(listener, addr, way, bytes))
    }

    /// The same behind the proxy at `front`, which expects it at `upstream`.
    pub(crate) fn proxied(
        front: SocketAddr,
        upstream: SocketAddr,
        way: Way,
        bytes: u64,
    ) -> Result<Self, Fault> {
        let listener = TcpListener::bind(upstream).map_err(Fault::io("listen behind the proxy"))?;
        Ok(Self::listening(listener, front, way, bytes))
    }

    fn listening(listener: TcpListener, addr: SocketAddr, way: Way, bytes: u64) -> Self {
        let thread = std::thread::spawn(move || serve(&listener.accept()?.0, way, bytes));
        Self { addr, thread }
    }

    /// A provider of the hub at `addr`.
    pub(crate) fn behind(addr: SocketAddr, way: Way, bytes: u64) -> Result<Self, Fault> {
        let mut provider = Provider::open(addr).map_err(Fault::io("provide"))?;
        let thread = std::thread::spawn(move || provider.serve(way, bytes));
        Ok(Self { addr, thread })
    }

    /// Moves the body over HTTP, and waits for the source's end.
    pub(crate) fn transfer(self, way: Way, bytes: u64) -> Result<(), Fault> {
        fetch(self.addr, way, bytes).map_err(Fault::io("the HTTP client"))?;
        self.thread.join().map_err(|_| Fault::Nothing)?.map_err(Fault::io("the source"))
    }
}

/// The HTTP client.
fn fetch(addr: SocketAddr, way: Way, bytes: u64) -> io::Result<()> {
    let stream = connect(addr)?;
    let request = match way {
        Way::Down => format!("GET {PATH} HTTP/1.1\r\nHost: {addr}\r\n\r\n"),
        Way::Up => format!("PUT {PATH} HTTP/1.1\r\nHost: {addr}\r\nContent-Length: {bytes}\r\n\r\n"),
    };
    (&stream).write_all(request.as_bytes())?;
    if way == Way::Up {
        pour(&stream, bytes)?;
    }
    let mut reader = BufReader::with_capacity(4096, &stream);
    let head = head(&mut reader)?;
    if !head.starts_with("HTTP/1.1 200") {
        return Err(io::Error::other(format!("answered with {}", head.lines().next().unwrap_or_default())));
    }
    if way == Way::Down { drain(&mut reader, bytes) } else { Ok(()) }
}

/// The plain server.
fn serve(stream: &TcpStream, way: Way, bytes: u64) -> io::Result<()> {
    let mut reader = BufReader::with_capacity(4096, stream);
    head(&mut reader)?;
    let length = if way == Way::Down { bytes } else { 0 };
    let answer = format!("HTTP/1.1 200 OK\r\nContent-Length: {length}\r\n\r\n");
    if way == Way::Up {
        drain(&mut reader, bytes)?;
    }
    let mut writer = stream;
    writer.write_all(answer.as_bytes())?;
    if way == Way::Down { pour(stream, bytes) } else { Ok(()) }
}

fn head(reader: &mut impl BufRead) -> io::Result<String> {
    let mut head = String::new();
    while !head.ends_with("\r\n\r\n") {
        if reader.read_line(&mut head)? == 0 {
            return Err(io::ErrorKind::UnexpectedEof.into());
        }
    }
    Ok(head)
}

fn pour(mut stream: &TcpStream, bytes: u64) -> io::Result<()> {
    let piece = vec![b's'; PIECE];
    let mut left = bytes;
    while left > 0 {
        let count = left.min(PIECE as u64);
        stream.write_all(&piece[..count as usize])?;
        left -= count;
    }
    Ok(())
}

fn drain(reader: &mut impl Read, bytes: u64) -> io::Result<()> {
    let mut piece = vec![0; 4 * PIECE];
    let mut left = bytes;
    while left > 0 {
        let most = left.min(piece.len() as u64) as usize;
        match reader.read(&mut piece[..most])? {
            0 => return Err(io::Error::other(format!("{left} bytes are missing"))),
            count => left -= count as u64,
        }
    }
    Ok(())
}

fn connect(addr: SocketAddr) -> io::Result<TcpStream> {
    let stream = TcpStream::connect(addr)?;
    stream.set_nodelay(true)?;
    stream.set_read_timeout(Some(STEP))?;
    stream.set_write_timeout(Some(STEP))?;
    Ok(stream)
}

/// A provider over TCP that reads and writes whole frames where they lie.
struct Provider {
    stream: TcpStream,
    /// What was read, then room for more.
    input: Vec<u8>,
    /// The part of it that is still to be looked at.
    unread: Range<usize>,
    /// Where the last frame lies.
    frame: Range<usize>,
}

impl Provider {
    fn open(addr: SocketAddr) -> io::Result<Self> {
        let mut provider = Self { stream: connect(addr)?, input: Vec::new(), unread: 0..0, frame: 0..0 };
        provider.stream.write_all(b"\x0eWHB\x01")?;
        let hello = Hello { agent: "whub-bench", ..Hello::default() };
        provider.say(0, Flags::NONE, &Body::Hello(hello), &[])?;
        provider.say(1, Flags::NONE, &Body::Register(Register { path: PATH, ..Register::default() }), &[])?;
        while provider.hear()?.kind != Kind::Ok {}
        Ok(provider)
    }

    fn serve(&mut self, way: Way, bytes: u64) -> io::Result<()> {
        let asked = loop {
            let head = self.hear()?;
            if head.kind == Kind::Request {
                break head;
            }
        };
        match way {
            Way::Down => {
                let credit = self.granted()?;
                self.give(asked.id, bytes, credit)
            }
            Way::Up => self.take(asked, bytes),
        }
    }

    fn give(&mut self, id: u64, bytes: u64, mut credit: u64) -> io::Result<()> {
        let length = bytes.to_string();
        let pairs = [("content-length", length.as_str())];
        let response = Response { headers: Headers::new(&pairs), ..Response::default() };
        self.say(id, Flags::NONE, &Body::Response(response), &[])?;
        // One frame for all but the last: only what is behind its head would differ, and nobody looks.
        let data = framed(id, Flags::NONE, &Body::Data(Data::default()), &vec![b's'; PIECE])?;
        let mut left = bytes;
        while left > 0 {
            let count = left.min(PIECE as u64);
            while credit < count {
                let head = self.hear()?;
                if head.kind == Kind::Credit && head.id == id {
                    credit += self.granted()?;
                }
            }
            credit -= count;
            left -= count;
            if left > 0 {
                self.stream.write_all(&data)?;
            } else {
                let last = vec![b's'; count as usize];
                self.say(id, Flags::END, &Body::Data(Data::default()), &last)?;
            }
        }
        Ok(())
    }

    fn take(&mut self, asked: Head, bytes: u64) -> io::Result<()> {
        let (mut head, mut taken) = (asked, self.payload(asked));
        let mut granted = 0;
        self.say(asked.id, Flags::NONE, &Body::Credit(Credit { bytes: AHEAD }), &[])?;
        while !head.flags.contains(Flags::END) {
            head = self.hear()?;
            if head.kind == Kind::Data && head.id == asked.id {
                taken += self.payload(head);
                if taken - granted >= REFILL {
                    let credit = Credit { bytes: (taken - granted) as u32 };
                    self.say(asked.id, Flags::NONE, &Body::Credit(credit), &[])?;
                    granted = taken;
                }
            }
        }
        if taken != bytes {
            return Err(io::Error::other(format!("{taken} of {bytes} bytes came")));
        }
        self.say(asked.id, Flags::END, &Body::Response(Response::default()), &[])
    }

    fn say(&mut self, id: u64, flags: Flags, body: &Body<'_>, payload: &[u8]) -> io::Result<()> {
        self.stream.write_all(&framed(id, flags, body, payload)?)
    }

    /// The next frame; pings are answered on the way.
    fn hear(&mut self) -> io::Result<Head> {
        loop {
            while !self.split() {
                self.read()?;
            }
            let head = Head::parse(self.frame()).ok_or(io::ErrorKind::InvalidData)?;
            if head.kind != Kind::Ping {
                return Ok(head);
            }
            self.say(head.id, Flags::NONE, &Body::Pong, &[])?;
        }
    }

    /// Goes on to the next frame, if it has come whole.
    fn split(&mut self) -> bool {
        let Some((length, rest)) = self.input[self.unread.clone()].split_first_chunk() else { return false };
        let length = u32::from_le_bytes(*length) as usize;
        if rest.len() < length {
            return false;
        }
        let begin = self.unread.end - rest.len();
        self.frame = begin..begin + length;
        self.unread.start = self.frame.end;
        true
    }

    fn read(&mut self) -> io::Result<()> {
        self.input.copy_within(self.unread.clone(), 0);
        self.unread = 0..self.unread.len();
        if self.input.len() < self.unread.end + READ {
            self.input.resize(self.unread.end + READ, 0);
        }
        match self.stream.read(&mut self.input[self.unread.end..])? {
            0 => Err(io::ErrorKind::UnexpectedEof.into()),
            count => {
                self.unread.end += count;
                Ok(())
            }
        }
    }

    fn frame(&self) -> &[u8] {
        &self.input[self.frame.clone()]
    }

    fn payload(&self, head: Head) -> u64 {
        (self.frame().len() - HEAD_BYTES - usize::from(head.via_len) - usize::from(head.env_len)) as u64
    }

    /// What the frame allows of the answer's body.
    fn granted(&self) -> io::Result<u64> {
        let frame = whub_proto::Frame::parse(self.frame(), usize::MAX, whub_proto::Origin::Hub);
        let frame = frame.map_err(io::Error::other)?;
        if let Body::Credit(credit) = frame.body {
            return Ok(credit.bytes.into());
        }
        let Body::Request(request) = frame.body else { return Err(io::ErrorKind::InvalidData.into()) };
        Ok(if request.credit == 0 { WINDOW } else { request.credit.into() })
    }
}

fn framed(id: u64, flags: Flags, body: &Body<'_>, payload: &[u8]) -> io::Result<Vec<u8>> {
    let frame = frame(body, flags, id, payload).map_err(io::Error::other)?;
    let mut bytes = (frame.len() as u32).to_le_bytes().to_vec();
    bytes.extend(frame);
    Ok(bytes)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_body_arrives_either_way() {
        for way in [Way::Down, Way::Up] {
            let bytes = 3 * PIECE as u64 + 17;
            Source::direct(way, bytes).expect("listening").transfer(way, bytes).expect("all of it");
        }
    }

    #[test]
    fn a_body_that_breaks_off_is_a_fault() {
        let source = Source::direct(Way::Down, 1000).expect("listening");
        assert!(fetch(source.addr, Way::Down, 1001).is_err());
    }
}
