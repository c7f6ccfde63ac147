//! The NATS client protocol in binary WebSocket messages.

use std::net::SocketAddr;

use super::joined::Joined;
use super::{Arrival, Broker, CallWire};
use crate::dial::Line;
use crate::fault::Fault;
use crate::message::{self, Stamp};
use crate::net::Outbox;
use crate::template::{Template, masked_frame};

const BINARY: u8 = 2;
const SUBJECT: &str = "bench.fan";
const SERVICE: &str = "bench.echo";
/// Most callers that a reply subject of three digits can tell apart.
const CALLERS_MAX: usize = 1_000;

/// Opens a connection and waits until the server takes commands.
fn dial(addr: SocketAddr) -> Result<Line, Fault> {
    let mut line = Line::websocket(addr, "/", None)?;
    if !line.receive()?.starts_with(b"INFO ") {
        return Err(Fault::protocol("a NATS server begins with INFO"));
    }
    let connect = "CONNECT {\"verbose\":false,\"pedantic\":false,\"lang\":\"bench\",\"version\":\"1\",\
                   \"protocol\":1,\"echo\":true,\"headers\":true,\"no_responders\":true}\r\nPING\r\n";
    line.send(BINARY, connect.as_bytes())?;
    pong(&mut line)?;
    Ok(line)
}

fn pong(line: &mut Line) -> Result<(), Fault> {
    let mut seen = Vec::new();
    loop {
        seen.extend(line.receive()?);
        if seen.ends_with(b"PONG\r\n") {
            return Ok(());
        }
        if seen.starts_with(b"-ERR") {
            return Err(Fault::protocol(String::from_utf8_lossy(&seen)));
        }
    }
}

fn subscribe(addr: SocketAddr, subject: &str) -> Result<Line, Fault> {
    let mut line = dial(addr)?;
    line.send(BINARY, format!("SUB {subject} 1\r\nPING\r\n").as_bytes())?;
    pong(&mut line)?;
    Ok(line)
}

/// A connection that gets what is published.
pub(crate) fn subscriber(addr: SocketAddr) -> Result<Line, Fault> {
    subscribe(addr, SUBJECT)
}

/// A connection that publishes.
pub(crate) fn publisher(addr: SocketAddr) -> Result<Line, Fault> {
    dial(addr)
}

/// A connection that calls, with a reply subject of its own.
pub(crate) fn caller(addr: SocketAddr, nth: usize) -> Result<Line, Fault> {
    subscribe(addr, &inbox(nth))
}

/// A connection that answers calls.
pub(crate) fn provider(addr: SocketAddr) -> Result<Line, Fault> {
    subscribe(addr, SERVICE)
}

/// The command that publishes one message.
pub(crate) fn publish_template(message_len: usize) -> Template {
    publish(SUBJECT, None, message_len)
}

fn inbox(caller: usize) -> String {
    format!("_INBOX.bench.{caller:03}")
}

fn publish(subject: &str, reply: Option<&str>, message_len: usize) -> Template {
    let reply = reply.map_or_else(String::new, |reply| format!(" {reply}"));
    let mut command = format!("PUB {subject}{reply} {message_len}\r\n").into_bytes();
    let stamp_at = command.len();
    command.extend(message::blank(message_len));
    command.extend(b"\r\n");
    Template::websocket(&command, stamp_at)
}

/// Deliveries of NATS.
#[derive(Debug)]
pub(crate) struct Nats {
    joined: Joined,
}

impl Nats {
    /// For connections 0 to `conns - 1`.
    pub(crate) fn new(conns: usize) -> Self {
        Self { joined: Joined::new(conns) }
    }
}

impl Broker for Nats {
    fn deliveries(
        &mut self,
        conn: usize,
        bytes: &[u8],
        take: &mut dyn FnMut(&[u8]) -> Result<(), Fault>,
        out: &mut Outbox,
    ) -> Result<usize, Fault> {
        self.joined
            .feed(conn, bytes, out, |stream, replies| each(stream, replies, |_, payload| take(payload)))
    }
}

/// Calls over NATS: one request subject, one reply subject per caller.
///
/// Real clients make a reply subject per call below one wildcard; the fixed one spares the server that look-up.
#[derive(Debug)]
pub(crate) struct NatsCalls {
    joined: Joined,
    requests: Vec<Template>,
    responses: Vec<Template>,
}

impl NatsCalls {
    /// For callers 0 to `callers - 1` and the provider after them.
    pub(crate) fn new(callers: usize, message_len: usize) -> Self {
        assert!(callers <= CALLERS_MAX, "at most {CALLERS_MAX} callers");
        let inboxes: Vec<String> = (0..callers).map(inbox).collect();
        Self {
            joined: Joined::new(callers + 1),
            requests: inboxes.iter().map(|inbox| publish(SERVICE, Some(inbox), message_len)).collect(),
            responses: inboxes.iter().map(|inbox| publish(inbox, None, message_len)).collect(),
        }
    }
}

impl CallWire for NatsCalls {
    fn request(&self, out: &mut Vec<u8>, caller: usize, _nth: u64, stamp: Stamp) {
        self.requests[caller].append(out, stamp);
    }

    fn response(&self, out: &mut Vec<u8>, reply: u64, stamp: Stamp) {
        self.responses[reply as usize].append(out, stamp);
    }

    fn arrivals(
        &mut self,
        conn: usize,
        bytes: &[u8],
        message_len: usize,
        found: &mut Vec<Arrival>,
        out: &mut Outbox,
    ) -> Result<usize, Fault> {
        self.joined.feed(conn, bytes, out, |stream, replies| {
            each(stream, replies, |reply, payload| {
                let stamp = message::check(payload, message_len)?;
                let caller = reply.and_then(|inbox| inbox.rsplit('.').next()?.parse().ok());
                found.push(match (reply, caller) {
                    (Some(_), Some(reply)) => Arrival::Request { reply, stamp },
                    (Some(inbox), None) => return Err(Fault::protocol(format!("reply subject {inbox}"))),
                    (None, _) => Arrival::Response { stamp },
                });
                Ok(())
            })
        })
    }
}

/// Walks whole commands of a server: `MSG subject sid [reply] length`, `PING`, `PONG`, `+OK`, `-ERR`.
fn each(
    stream: &[u8],
    replies: &mut Vec<u8>,
    mut take: impl FnMut(Option<&str>, &[u8]) -> Result<(), Fault>,
) -> Result<usize, Fault> {
    let mut at = 0;
    while let Some(len) = stream[at..].windows(2).position(|two| two == b"\r\n") {
        let line = std::str::from_utf8(&stream[at..at + len]).map_err(|_| Fault::protocol("not UTF-8"))?;
        let body = at + len + 2;
        let Some(message) = line.strip_prefix("MSG ") else {
            match line {
                "PING" => replies.extend(masked_frame(BINARY, b"PONG\r\n")),
                "PONG" | "+OK" => {}
                other if other.starts_with("INFO ") => {}
                other => return Err(Fault::protocol(other)),
            }
            at = body;
            continue;
        };
        let mut fields = message.rsplit(' ');
        let size = fields.next().and_then(|size| size.parse::<usize>().ok());
        let size = size.ok_or_else(|| Fault::protocol(format!("MSG {message}")))?;
        let Some(payload) = stream.get(body..body + size + 2) else { break };
        // With a reply subject there are four fields.
        let reply = fields.next().filter(|_| message.matches(' ').count() == 3);
        take(reply, &payload[..size])?;
        at = body + size + 2;
    }
    Ok(at)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn commands_are_taken_whole() {
        let stream = b"PING\r\nMSG a 1 _INBOX.bench.007 3\r\nabc\r\nMSG a 1 2\r\nhi\r\nMSG a 1 5\r\nhel";
        let (mut seen, mut replies) = (Vec::new(), Vec::new());
        let used = each(stream, &mut replies, |reply, payload| {
            seen.push((reply.map(str::to_owned), payload.to_vec()));
            Ok(())
        });
        assert_eq!(used.expect("valid"), stream.len() - b"MSG a 1 5\r\nhel".len());
        assert_eq!(seen, [(Some(inbox(7)), b"abc".to_vec()), (None, b"hi".to_vec())]);
        assert_eq!(replies, masked_frame(BINARY, b"PONG\r\n"));
    }

    #[test]
    fn an_error_of_the_server_is_a_fault() {
        assert!(each(b"-ERR 'Slow Consumer'\r\n", &mut Vec::new(), |_, _| Ok(())).is_err());
    }
}
