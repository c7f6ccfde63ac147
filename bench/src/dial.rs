//! Opening a connection, step by step and blocking, before the measured part begins.

use std::io::{Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::time::Duration;

use crate::fault::Fault;
use crate::template::masked_frame;
use crate::ws;

/// The example key of RFC 6455 and the answer to it: the same bytes for every connection.
const KEY: &str = "dGhlIHNhbXBsZSBub25jZQ==";
/// What a server must answer to [`KEY`].
pub(crate) const ACCEPT: &str = "s3pPLMBiTxaQ9kYGzzhZRbK+xOo=";
/// Longest wait for one answer.
const STEP: Duration = Duration::from_secs(10);

/// A connection that is being prepared.
#[derive(Debug)]
pub(crate) struct Line {
    stream: TcpStream,
    early: Vec<u8>,
}

/// The request that asks for a WebSocket.
pub(crate) fn upgrade_request(addr: SocketAddr, path: &str, protocol: Option<&str>) -> Vec<u8> {
    let protocol = protocol.map_or_else(String::new, |name| format!("Sec-WebSocket-Protocol: {name}\r\n"));
    format!(
        "GET {path} HTTP/1.1\r\nHost: {addr}\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\
         Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: {KEY}\r\n{protocol}\r\n"
    )
    .into_bytes()
}

/// Length of the head of an HTTP response at the start of `bytes`, if it is whole.
pub(crate) fn head_len(bytes: &[u8]) -> Option<usize> {
    bytes.windows(4).position(|four| four == b"\r\n\r\n").map(|at| at + 4)
}

/// Says whether a response head accepts the WebSocket.
pub(crate) fn accepted(head: &[u8]) -> Result<(), Fault> {
    let text = String::from_utf8_lossy(head);
    let fine = text.starts_with("HTTP/1.1 101") && text.contains(ACCEPT);
    if fine { Ok(()) } else { Err(Fault::protocol(format!("refused the WebSocket: {}", text.trim_end()))) }
}

impl Line {
    /// A plain TCP connection.
    pub(crate) fn tcp(addr: SocketAddr) -> Result<Self, Fault> {
        let stream =
            TcpStream::connect_timeout(&addr, STEP).map_err(Fault::io(format!("connect to {addr}")))?;
        stream.set_nodelay(true).map_err(Fault::io("TCP_NODELAY"))?;
        stream.set_read_timeout(Some(STEP)).map_err(Fault::io("read timeout"))?;
        stream.set_write_timeout(Some(STEP)).map_err(Fault::io("write timeout"))?;
        Ok(Self { stream, early: Vec::new() })
    }

    /// A WebSocket.
    pub(crate) fn websocket(addr: SocketAddr, path: &str, protocol: Option<&str>) -> Result<Self, Fault> {
        let mut line = Self::tcp(addr)?;
        line.write(&upgrade_request(addr, path, protocol))?;
        let len = line.read_head()?;
        accepted(&line.early[..len])?;
        line.early.drain(..len);
        Ok(line)
    }

    /// Asks for a page and waits for the head of the answer, whatever it is.
    pub(crate) fn fetch(mut self, path: &str) -> Result<(), Fault> {
        self.write(format!("GET {path} HTTP/1.1\r\nHost: 127.0.0.1\r\n\r\n").as_bytes())?;
        self.read_head().map(drop)
    }

    /// Whether a page is answered with status 200.
    pub(crate) fn finds(mut self, path: &str) -> Result<bool, Fault> {
        self.write(format!("GET {path} HTTP/1.1\r\nHost: 127.0.0.1\r\n\r\n").as_bytes())?;
        let head = self.read_head()?;
        Ok(self.early[..head].starts_with(b"HTTP/1.1 200"))
    }

    /// Asks for a page of JSON.
    pub(crate) fn json(mut self, path: &str) -> Result<serde_json::Value, Fault> {
        self.write(format!("GET {path} HTTP/1.0\r\nHost: 127.0.0.1\r\n\r\n").as_bytes())?;
        let head = self.read_head()?;
        // To the end of the connection, which comes with that of the page.
        self.stream.read_to_end(&mut self.early).map_err(Fault::io("read a page"))?;
        serde_json::from_slice(&self.early[head..]).map_err(|error| Fault::protocol(error.to_string()))
    }

    /// Sends one masked message: opcode 1 is text, 2 binary.
    pub(crate) fn send(&mut self, opcode: u8, body: &[u8]) -> Result<(), Fault> {
        self.write(&masked_frame(opcode, body))
    }

    /// Waits for the next data message.
    pub(crate) fn receive(&mut self) -> Result<Vec<u8>, Fault> {
        loop {
            let found = ws::first(&self.early)?.map(|frame| (frame.opcode, frame.body.to_vec(), frame.len));
            let Some((opcode, body, len)) = found else {
                self.read_more()?;
                continue;
            };
            self.early.drain(..len);
            match opcode {
                1 | 2 => return Ok(body),
                8 => return Err(Fault::protocol(format!("closed with {}", close_reason(&body)))),
                _ => {}
            }
        }
    }

    /// Waits for a message of these bytes; others before it are passed over.
    pub(crate) fn receive_until(&mut self, expected: &[u8]) -> Result<(), Fault> {
        while self.receive()? != expected {}
        Ok(())
    }

    /// The socket and what was read beyond the preparation.
    pub(crate) fn into_parts(self) -> (TcpStream, Vec<u8>) {
        (self.stream, self.early)
    }

    /// Length of the response head that has come.
    fn read_head(&mut self) -> Result<usize, Fault> {
        loop {
            match head_len(&self.early) {
                Some(len) => return Ok(len),
                None => self.read_more()?,
            }
        }
    }

    fn write(&mut self, bytes: &[u8]) -> Result<(), Fault> {
        self.stream.write_all(bytes).map_err(Fault::io("write while preparing"))
    }

    fn read_more(&mut self) -> Result<(), Fault> {
        let mut chunk = [0; 4096];
        let got = self.stream.read(&mut chunk).map_err(Fault::io("read while preparing"))?;
        if got == 0 {
            return Err(Fault::protocol("closed while preparing"));
        }
        self.early.extend_from_slice(&chunk[..got]);
        Ok(())
    }
}

fn close_reason(body: &[u8]) -> String {
    match body.split_first_chunk::<2>() {
        Some((code, reason)) => format!("{} {}", u16::from_be_bytes(*code), String::from_utf8_lossy(reason)),
        None => "no code".to_owned(),
    }
}
