//! An HTTP/1.1 client that writes bytes and reads answers, without being polite about either.

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

use crate::common::{Node, SOON};

/// A connection.
pub(crate) struct Browser {
    pub(crate) socket: TcpStream,
    /// Read, but not yet looked at.
    pub(crate) rest: Vec<u8>,
}

/// An answer.
#[derive(Debug)]
pub(crate) struct Answer {
    pub(crate) status: u16,
    pub(crate) headers: Vec<(String, String)>,
    pub(crate) body: Vec<u8>,
}

impl Browser {
    pub(crate) async fn visit(node: &Node) -> Self {
        let socket = TcpStream::connect(node.authority()).await.unwrap();
        socket.set_nodelay(true).unwrap();
        Self { socket, rest: Vec::new() }
    }

    /// Writes bytes as they are.
    pub(crate) async fn write(&mut self, bytes: impl AsRef<[u8]>) {
        self.socket.write_all(bytes.as_ref()).await.unwrap();
    }

    /// Sends a whole request; `head` is the request line and fields without `Host` and the empty line.
    pub(crate) async fn ask(&mut self, head: &str, body: &[u8]) -> Answer {
        let (line, fields) = head.split_once('\n').unwrap_or((head, ""));
        let mut text = format!("{line} HTTP/1.1\r\nHost: localhost\r\n");
        for field in fields.lines().filter(|field| !field.trim().is_empty()) {
            text.push_str(field.trim());
            text.push_str("\r\n");
        }
        if !body.is_empty() {
            text.push_str(&format!("Content-Length: {}\r\n", body.len()));
        }
        text.push_str("\r\n");
        self.write([text.as_bytes(), body].concat()).await;
        if line.starts_with("HEAD ") { self.head().await } else { self.answer().await }
    }

    /// The head of the next answer; the body is left unread.
    pub(crate) async fn head(&mut self) -> Answer {
        let end = loop {
            if let Some(at) = self.rest.windows(4).position(|four| four == b"\r\n\r\n") {
                break at + 4;
            }
            assert!(
                self.more().await > 0,
                "the end inside a head: {:?}",
                String::from_utf8_lossy(&self.rest)
            );
        };
        let head: Vec<u8> = self.rest.drain(..end).collect();
        let head = String::from_utf8(head).unwrap();
        let mut lines = head.split("\r\n");
        let status = lines.next().unwrap().split(' ').nth(1).unwrap().parse().unwrap();
        let fields = lines.filter_map(|line| line.split_once(": "));
        let headers = fields.map(|(name, value)| (name.to_lowercase(), value.to_owned())).collect();
        Answer { status, headers, body: Vec::new() }
    }

    /// The next answer with its body.
    pub(crate) async fn answer(&mut self) -> Answer {
        let mut answer = self.head().await;
        if answer.is("transfer-encoding", "chunked") {
            while let Some(chunk) = self.chunk().await {
                answer.body.extend(chunk);
            }
        } else {
            let length = answer.header("content-length").map_or(0, |text| text.parse().unwrap());
            answer.body = self.exactly(length).await;
        }
        answer
    }

    /// The next chunk of a body; `None` after the last.
    pub(crate) async fn chunk(&mut self) -> Option<Vec<u8>> {
        let end = loop {
            if let Some(at) = self.rest.windows(2).position(|two| two == b"\r\n") {
                break at;
            }
            assert!(self.more().await > 0, "the end inside a chunked body");
        };
        let line: Vec<u8> = self.rest.drain(..end + 2).collect();
        let length = usize::from_str_radix(std::str::from_utf8(&line[..end]).unwrap(), 16).unwrap();
        let mut chunk = self.exactly(length + 2).await;
        chunk.truncate(length);
        (length > 0).then_some(chunk)
    }

    pub(crate) async fn exactly(&mut self, length: usize) -> Vec<u8> {
        while self.rest.len() < length {
            assert!(self.more().await > 0, "the end inside a body");
        }
        self.rest.drain(..length).collect()
    }

    /// Everything until the end of the connection, however it comes.
    pub(crate) async fn until_the_end(mut self) -> Vec<u8> {
        while self.more().await > 0 {}
        self.rest
    }

    /// Reads once. 0 at the end.
    async fn more(&mut self) -> usize {
        self.rest.reserve(64 * 1024);
        let read = tokio::time::timeout(SOON, self.socket.read_buf(&mut self.rest)).await;
        read.expect("bytes in time").unwrap_or(0)
    }
}

impl Answer {
    pub(crate) fn header(&self, name: &str) -> Option<&str> {
        self.headers.iter().find(|(known, _)| known == name).map(|(_, value)| value.as_str())
    }

    pub(crate) fn is(&self, name: &str, value: &str) -> bool {
        self.header(name) == Some(value)
    }

    pub(crate) fn text(&self) -> &str {
        std::str::from_utf8(&self.body).unwrap()
    }

    pub(crate) fn json(&self) -> serde_json::Value {
        serde_json::from_slice(&self.body).unwrap_or_else(|error| panic!("{error}: {self:?}"))
    }
}
