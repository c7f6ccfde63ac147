//! HTTP/1.1 requests on kept connections, one in flight on each; behind a hub the generator is the provider too.

use std::net::SocketAddr;

use crate::dial::head_len;
use crate::fault::Fault;
use crate::message::{self, Stamp};
use crate::meter::Meter;
use crate::net::{Load, Outbox};
use crate::wire::whub::Provider;

/// Length of every response body.
pub(crate) const BODY_LEN: usize = 128;

/// The traffic of an HTTP cell: connections 0 to n-1 request, connection n provides if there is a provider.
#[derive(Debug)]
pub(crate) struct Requests {
    request: Vec<u8>,
    /// When the request under way on each connection was sent.
    sent_at: Vec<u64>,
    provider: Option<Provider>,
    meter: Meter,
}

impl Requests {
    /// `GET path` on `conns` connections to `addr`.
    pub(crate) fn new(addr: SocketAddr, path: &str, conns: usize, provider: Option<Provider>) -> Self {
        let request = format!("GET {path} HTTP/1.1\r\nHost: {addr}\r\nAccept: */*\r\n\r\n").into_bytes();
        Self { request, sent_at: vec![0; conns], provider, meter: Meter::new() }
    }

    fn send(&mut self, conn: usize, now_ns: u64, out: &mut Outbox) {
        out.queue(conn).extend_from_slice(&self.request);
        self.sent_at[conn] = now_ns;
        self.meter.sent(1);
    }

    fn provide(&mut self, conn: usize, bytes: &[u8], out: &mut Outbox) -> Result<usize, Fault> {
        let Some(provider) = &mut self.provider else {
            return Err(Fault::protocol("bytes for a provider that is not there"));
        };
        let mut asked = Vec::new();
        let used = provider.requests(conn, bytes, &mut asked, out)?;
        for id in asked {
            provider.respond(out.queue(conn), id, Stamp::new(0, 0, id));
        }
        Ok(used)
    }
}

impl Load for Requests {
    fn start(&mut self, now_ns: u64, out: &mut Outbox) {
        for conn in 0..self.sent_at.len() {
            self.send(conn, now_ns, out);
        }
    }

    fn handle_bytes(
        &mut self,
        conn: usize,
        bytes: &[u8],
        now_ns: u64,
        out: &mut Outbox,
    ) -> Result<usize, Fault> {
        if conn == self.sent_at.len() {
            return self.provide(conn, bytes, out);
        }
        let Some(response) = response(bytes)? else { return Ok(0) };
        message::check(&response.body, BODY_LEN)?;
        if self.meter.outstanding == 0 || response.len != bytes.len() {
            return Err(Fault::protocol("more than one response to a request"));
        }
        self.meter.answered(self.sent_at[conn], now_ns);
        if self.meter.sending {
            self.send(conn, now_ns, out);
        }
        Ok(response.len)
    }

    fn meter(&mut self) -> &mut Meter {
        &mut self.meter
    }
}

#[derive(Debug, PartialEq, Eq)]
struct Response {
    body: Vec<u8>,
    len: usize,
}

/// The response at the start of `bytes`, if it is whole; any status but 200 is a fault.
fn response(bytes: &[u8]) -> Result<Option<Response>, Fault> {
    let Some(head) = head_len(bytes) else { return Ok(None) };
    let text = String::from_utf8_lossy(&bytes[..head]);
    let mut lines = text.split("\r\n");
    let status = lines.next().unwrap_or_default();
    if status.split(' ').nth(1) != Some("200") {
        return Err(Fault::protocol(format!("the request was answered with {status}")));
    }
    let value = |name: &str| {
        let mut fields = text.split("\r\n").filter_map(|line| line.split_once(':'));
        fields.find(|(field, _)| field.eq_ignore_ascii_case(name)).map(|(_, value)| value.trim().to_owned())
    };
    if let Some(len) = value("content-length") {
        let len = len.parse::<usize>().map_err(|_| Fault::protocol("a Content-Length that is no number"))?;
        let body = bytes.get(head..head + len);
        return Ok(body.map(|body| Response { body: body.to_vec(), len: head + len }));
    }
    if value("transfer-encoding").is_some_and(|coding| coding.eq_ignore_ascii_case("chunked")) {
        return Ok(chunks(&bytes[head..])?.map(|(body, len)| Response { body, len: head + len }));
    }
    Err(Fault::protocol("a response without a length"))
}

/// A chunked body without trailers, if it is whole, and its length on the wire.
fn chunks(bytes: &[u8]) -> Result<Option<(Vec<u8>, usize)>, Fault> {
    let (mut body, mut at) = (Vec::new(), 0);
    loop {
        let Some(line) = bytes[at..].windows(2).position(|two| two == b"\r\n") else { return Ok(None) };
        let size = std::str::from_utf8(&bytes[at..at + line]).ok();
        let size = size.and_then(|hex| usize::from_str_radix(hex.split(';').next().unwrap_or(hex), 16).ok());
        let size = size.ok_or_else(|| Fault::protocol("a chunk size that is no number"))?;
        let (from, to) = (at + line + 2, at + line + 2 + size);
        let Some(chunk) = bytes.get(from..to + 2) else { return Ok(None) };
        body.extend_from_slice(&chunk[..size]);
        at = to + 2;
        if size == 0 {
            return Ok(Some((body, at)));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn both_ways_to_delimit_a_body_are_read() {
        let sized = b"HTTP/1.1 200 OK\r\ncontent-length: 3\r\n\r\nabcHTTP";
        let expected = Response { body: b"abc".to_vec(), len: sized.len() - 4 };
        assert_eq!(response(sized).expect("valid"), Some(expected));
        let chunked = b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nab\r\n1\r\nc\r\n0\r\n\r\n";
        let expected = Response { body: b"abc".to_vec(), len: chunked.len() };
        assert_eq!(response(chunked).expect("valid"), Some(expected));
        for cut in 0..chunked.len() {
            assert_eq!(response(&chunked[..cut]).expect("only unfinished"), None);
        }
    }

    #[test]
    fn another_status_is_a_fault() {
        assert!(response(b"HTTP/1.1 404 Not Found\r\ncontent-length: 0\r\n\r\n").is_err());
    }
}
