//! The hub's own protocol: binary frames in WebSocket messages, and the JSON mirror for sessions that only wait.

use std::net::SocketAddr;

use whub_proto::{
    Body, Flags, HEAD_BYTES, Head, Headers, Hello, Join, Kind, Origin, Publish, Register, Request, Response,
    RoomMode, RoomWhat, Subscribe, Writer,
};

use super::{Arrival, Broker, CallWire};
use crate::dial::Line;
use crate::fault::Fault;
use crate::load::http::BODY_LEN;
use crate::message::{self, Stamp};
use crate::net::Outbox;
use crate::template::Template;
use crate::ws;

const TEXT: u8 = 1;
const BINARY: u8 = 2;
const CHANNEL: &str = "bench/fan";
const SERVICE: &str = "/bench/echo";
/// Service path of the HTTP cell.
pub(crate) const HTTP_PATH: &str = "/bench/http";
/// Where the id is in a head.
const ID_AT: usize = 8;

/// Opens a session and waits for `Welcome`.
fn dial(addr: SocketAddr) -> Result<Line, Fault> {
    let mut line = Line::websocket(addr, "/ws", Some("whub.v1"))?;
    line.send(
        BINARY,
        &frame(&Body::Hello(Hello { agent: "whub-bench", ..Hello::default() }), Flags::NONE, 0, &[])?,
    )?;
    answered(&mut line, Kind::Welcome)?;
    Ok(line)
}

fn answered(line: &mut Line, expected: Kind) -> Result<(), Fault> {
    let frame = line.receive()?;
    let frame = Frame::parse(&frame)?;
    if frame.head.kind == expected { Ok(()) } else { Err(frame.unexpected()) }
}

/// A connection that gets what is published.
pub(crate) fn subscriber(addr: SocketAddr) -> Result<Line, Fault> {
    let mut line = dial(addr)?;
    line.send(
        BINARY,
        &frame(&Body::Subscribe(Subscribe { filter: CHANNEL, ..Subscribe::default() }), Flags::NONE, 1, &[])?,
    )?;
    answered(&mut line, Kind::Ok)?;
    Ok(line)
}

/// A connection that publishes or calls.
pub(crate) fn client(addr: SocketAddr) -> Result<Line, Fault> {
    dial(addr)
}

/// A connection that answers calls to `path`.
fn registered(addr: SocketAddr, path: &str) -> Result<Line, Fault> {
    let mut line = dial(addr)?;
    line.send(
        BINARY,
        &frame(&Body::Register(Register { path, ..Register::default() }), Flags::NONE, 1, &[])?,
    )?;
    answered(&mut line, Kind::Ok)?;
    Ok(line)
}

/// The provider of call cells.
pub(crate) fn provider(addr: SocketAddr) -> Result<Line, Fault> {
    registered(addr, SERVICE)
}

/// The provider of HTTP cells.
pub(crate) fn http_provider(addr: SocketAddr) -> Result<Line, Fault> {
    registered(addr, HTTP_PATH)
}

/// The id of the `Join` of every half.
const JOIN: u64 = 1;

/// Both halves of a pair, once they have met.
pub(crate) fn halves(addr: SocketAddr, pair: &str) -> Result<[Line; 2], Fault> {
    let mut halves = [half(addr, pair)?, half(addr, pair)?];
    for half in &mut halves {
        loop {
            let bytes = half.receive()?;
            let frame = whub_proto::Frame::parse(&bytes, usize::MAX, Origin::Hub)
                .map_err(|error| Fault::protocol(error.to_string()))?;
            if let Body::RoomEvent(event) = frame.body {
                if event.what == RoomWhat::Ready {
                    break;
                }
            } else if frame.head.kind != Kind::Ok {
                return Err(Frame::parse(&bytes)?.unexpected());
            }
        }
    }
    Ok(halves)
}

fn half(addr: SocketAddr, room: &str) -> Result<Line, Fault> {
    let mut line = dial(addr)?;
    let join = Join { room, mode: RoomMode::Pair, ..Join::default() };
    line.send(BINARY, &frame(&Body::Join(join), Flags::NONE, JOIN, &[])?)?;
    Ok(line)
}

/// A message of a pair.
pub(crate) fn data_template(message: &[u8]) -> Template {
    let mut frame = Vec::with_capacity(HEAD_BYTES + message.len());
    Head::new(Kind::Data, JOIN).write(&mut frame);
    frame.extend_from_slice(message);
    Template::websocket(&frame, HEAD_BYTES)
}

/// A JSON session with one subscription of its own.
pub(crate) fn json_subscriber(addr: SocketAddr, nth: usize) -> Result<Line, Fault> {
    let mut line = Line::websocket(addr, "/ws", Some("whub.v1.json"))?;
    line.send(TEXT, br#"{"kind":"hello","agent":"whub-bench"}"#)?;
    said(&mut line, "welcome")?;
    let subscribe = format!(r#"{{"kind":"subscribe","id":1,"filter":"bench/idle/{nth}"}}"#);
    line.send(TEXT, subscribe.as_bytes())?;
    said(&mut line, "ok")?;
    Ok(line)
}

fn said(line: &mut Line, kind: &str) -> Result<(), Fault> {
    let text = line.receive()?;
    let message: serde_json::Value =
        serde_json::from_slice(&text).map_err(|error| Fault::protocol(format!("not JSON: {error}")))?;
    if message.get("kind").and_then(|kind| kind.as_str()) == Some(kind) {
        return Ok(());
    }
    Err(Fault::protocol(format!("expected {kind}, got {message}")))
}

/// The frame that publishes one message.
pub(crate) fn publish_template(message_len: usize) -> Result<Template, Fault> {
    let publish = Publish { channel: CHANNEL, ..Publish::default() };
    template(&Body::Publish(publish), Flags::NONE, message_len)
}

fn template(body: &Body<'_>, flags: Flags, message_len: usize) -> Result<Template, Fault> {
    let frame = frame(body, flags, 0, &message::blank(message_len))?;
    let stamp_at = frame.len() - message_len;
    Ok(Template::websocket(&frame, stamp_at).with_id_at(ID_AT))
}

/// A frame of ours.
pub(crate) fn frame(body: &Body<'_>, flags: Flags, id: u64, payload: &[u8]) -> Result<Vec<u8>, Fault> {
    let mut frame = Vec::new();
    let head = Head::new(body.kind(), id).with(flags);
    let written = Writer::new().frame(&mut frame, head, None, body, payload);
    written.map(|()| frame).map_err(|error| Fault::protocol(error.to_string()))
}

/// A frame of the hub; the envelope is for others to verify.
#[derive(Debug)]
struct Frame<'a> {
    head: Head,
    parts: &'a [u8],
    payload: &'a [u8],
}

impl<'a> Frame<'a> {
    fn parse(bytes: &'a [u8]) -> Result<Self, Fault> {
        let head = Head::parse(bytes).ok_or_else(|| Fault::protocol("a frame without a head"))?;
        let at = HEAD_BYTES + usize::from(head.via_len) + usize::from(head.env_len);
        let payload = bytes.get(at..).ok_or_else(|| Fault::protocol("a frame shorter than its head says"))?;
        Ok(Self { head, payload, parts: &bytes[HEAD_BYTES..at] })
    }

    /// The fault of a frame that does not belong here, with what its envelope says in plain letters.
    fn unexpected(&self) -> Fault {
        let said = String::from_utf8_lossy(self.parts).replace(|c: char| !(' '..='~').contains(&c), "");
        Fault::protocol(format!("the hub sent {:?} with id {}: {said}", self.head.kind, self.head.id))
    }
}

/// Walks the frames of the hub, answering its pings.
fn each(
    conn: usize,
    bytes: &[u8],
    out: &mut Outbox,
    mut take: impl FnMut(Frame<'_>) -> Result<(), Fault>,
) -> Result<usize, Fault> {
    let (mut replies, mut pongs) = (Vec::new(), Vec::new());
    let by_kind = |body: &[u8]| {
        let frame = Frame::parse(body)?;
        if frame.head.kind == Kind::Ping {
            let pong = Head::new(Kind::Pong, frame.head.id);
            let body = [&pong.to_bytes()[..], frame.payload].concat();
            replies.extend(crate::template::masked_frame(BINARY, &body));
            return Ok(());
        }
        take(frame)
    };
    let used = ws::each(conn, bytes, by_kind, |pong| pongs.extend_from_slice(pong))?;
    if !(replies.is_empty() && pongs.is_empty()) {
        let queue = out.queue(conn);
        queue.append(&mut replies);
        queue.append(&mut pongs);
    }
    Ok(used)
}

/// Deliveries of the hub.
#[derive(Debug)]
pub(crate) struct Whub;

impl Broker for Whub {
    fn deliveries(
        &mut self,
        conn: usize,
        bytes: &[u8],
        take: &mut dyn FnMut(&[u8]) -> Result<(), Fault>,
        out: &mut Outbox,
    ) -> Result<usize, Fault> {
        each(conn, bytes, out, |frame| {
            if frame.head.kind == Kind::Message { take(frame.payload) } else { Err(frame.unexpected()) }
        })
    }
}

/// Calls over the hub.
#[derive(Debug)]
pub(crate) struct WhubCalls {
    request: Template,
    response: Template,
}

impl WhubCalls {
    /// Requests and responses of `message_len` bytes.
    pub(crate) fn new(message_len: usize) -> Result<Self, Fault> {
        let request = Body::Request(Request { path: SERVICE, ..Request::default() });
        let response = Body::Response(Response::default());
        Ok(Self {
            request: template(&request, Flags::END, message_len)?,
            response: template(&response, Flags::END, message_len)?,
        })
    }
}

impl CallWire for WhubCalls {
    fn request(&self, out: &mut Vec<u8>, _caller: usize, nth: u64, stamp: Stamp) {
        self.request.append_with_id(out, 2 * nth + 1, stamp);
    }

    fn response(&self, out: &mut Vec<u8>, reply: u64, stamp: Stamp) {
        self.response.append_with_id(out, reply, stamp);
    }

    fn arrivals(
        &mut self,
        conn: usize,
        bytes: &[u8],
        message_len: usize,
        found: &mut Vec<Arrival>,
        out: &mut Outbox,
    ) -> Result<usize, Fault> {
        each(conn, bytes, out, |frame| {
            let request = frame.head.kind == Kind::Request;
            if !request && frame.head.kind != Kind::Response {
                return Err(frame.unexpected());
            }
            let stamp = message::check(frame.payload, message_len)?;
            let reply = frame.head.id;
            found.push(if request { Arrival::Request { reply, stamp } } else { Arrival::Response { stamp } });
            Ok(())
        })
    }
}

/// The provider behind the hub's HTTP door: every request gets the same body.
#[derive(Debug)]
pub(crate) struct Provider {
    response: Template,
}

impl Provider {
    /// Answers with [`BODY_LEN`] bytes.
    pub(crate) fn new() -> Result<Self, Fault> {
        let headers = Headers::new(&[("content-type", "text/plain")]);
        let response = Response { headers, ..Response::default() };
        Ok(Self { response: template(&Body::Response(response), Flags::END, BODY_LEN)? })
    }

    /// Adds the ids of the requests in `bytes`.
    pub(crate) fn requests(
        &mut self,
        conn: usize,
        bytes: &[u8],
        asked: &mut Vec<u64>,
        out: &mut Outbox,
    ) -> Result<usize, Fault> {
        each(conn, bytes, out, |frame| {
            if frame.head.kind == Kind::Request {
                asked.push(frame.head.id);
                return Ok(());
            }
            // The empty end of a body that was announced as open.
            let harmless = matches!(frame.head.kind, Kind::Data | Kind::Credit);
            if harmless { Ok(()) } else { Err(frame.unexpected()) }
        })
    }

    /// Appends the response to request `id`.
    pub(crate) fn respond(&self, out: &mut Vec<u8>, id: u64, stamp: Stamp) {
        self.response.append_with_id(out, id, stamp);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use whub_proto::{Code, Failure, Via};

    /// A frame as a hub sends it, in an unmasked WebSocket message.
    fn from_hub(body: &Body<'_>, id: u64, payload: &[u8]) -> Vec<u8> {
        let via = Via { client: "c1", ..Via::default() };
        let mut frame = Vec::new();
        let head = Head::new(body.kind(), id);
        Writer::new().frame(&mut frame, head, Some(&via), body, payload).expect("small");
        let mut message = vec![0x82, 126];
        message.extend((frame.len() as u16).to_be_bytes());
        message.extend(frame);
        message
    }

    fn outbox() -> Outbox {
        let mut out = Outbox::default();
        out.add();
        out
    }

    #[test]
    fn a_delivery_is_the_payload_behind_via_and_envelope() {
        let publish = Publish { channel: CHANNEL, ..Publish::default() };
        let bytes = from_hub(&Body::Message(publish), 0, &[7; 128]);
        let mut seen = Vec::new();
        let mut take = |payload: &[u8]| {
            seen.push(payload.to_vec());
            Ok(())
        };
        let used = Whub.deliveries(0, &bytes, &mut take, &mut outbox()).expect("valid");
        assert_eq!((used, seen), (bytes.len(), vec![vec![7; 128]]));
    }

    #[test]
    fn an_error_of_the_hub_is_a_fault_with_its_words() {
        let failure = Failure { code: Code::NotFound, slug: "service.not_found", ..Failure::default() };
        let bytes = from_hub(&Body::Error(failure), 1, &[]);
        let fault = Whub.deliveries(0, &bytes, &mut |_| Ok(()), &mut outbox()).expect_err("an error");
        assert!(fault.to_string().contains("service.not_found"), "{fault}");
    }

    #[test]
    fn a_ping_of_the_hub_is_answered() {
        let mut out = outbox();
        let ping = from_hub(&Body::Ping, 0, b"now?");
        let used = Whub.deliveries(0, &ping, &mut |_| Ok(()), &mut out).expect("valid");
        assert_eq!(used, ping.len());
        let pong = Head::new(Kind::Pong, 0).to_bytes();
        let pong = [&pong[..], b"now?"].concat();
        assert_eq!(*out.queue(0), crate::template::masked_frame(BINARY, &pong));
    }
}
