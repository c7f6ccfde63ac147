//! MQTT 3.1.1 in binary WebSocket messages, quality of service 0.

use std::net::SocketAddr;

use super::Broker;
use super::joined::Joined;
use crate::dial::Line;
use crate::fault::Fault;
use crate::message;
use crate::net::Outbox;
use crate::template::Template;

const BINARY: u8 = 2;
const TOPIC: &str = "bench/fan";
const CONNACK: u8 = 0x20;
const PUBLISH: u8 = 0x30;
const SUBACK: u8 = 0x90;

/// A connection that publishes.
pub(crate) fn publisher(addr: SocketAddr) -> Result<Line, Fault> {
    let mut line = Line::websocket(addr, "/", Some("mqtt"))?;
    // Protocol "MQTT", level 4, clean session, no keep-alive, client id given by the server.
    line.send(BINARY, &packet(0x10, b"\x00\x04MQTT\x04\x02\x00\x00\x00\x00"))?;
    answered(&mut line, CONNACK)?;
    Ok(line)
}

/// A connection that gets what is published.
pub(crate) fn subscriber(addr: SocketAddr) -> Result<Line, Fault> {
    let mut line = publisher(addr)?;
    let mut body = vec![0, 1];
    body.extend(text(TOPIC));
    body.push(0);
    line.send(BINARY, &packet(0x82, &body))?;
    answered(&mut line, SUBACK)?;
    Ok(line)
}

/// The packet that publishes one message.
pub(crate) fn publish_template(message_len: usize) -> Template {
    let mut body = text(TOPIC);
    body.extend(message::blank(message_len));
    let packet = packet(PUBLISH, &body);
    let stamp_at = packet.len() - message_len;
    Template::websocket(&packet, stamp_at)
}

fn answered(line: &mut Line, kind: u8) -> Result<(), Fault> {
    let answer = line.receive()?;
    let fine = answer.first() == Some(&kind) && answer.last().is_some_and(|code| *code < 0x80);
    if fine { Ok(()) } else { Err(Fault::protocol(format!("MQTT answer {answer:02x?}"))) }
}

fn text(text: &str) -> Vec<u8> {
    let mut bytes = (text.len() as u16).to_be_bytes().to_vec();
    bytes.extend_from_slice(text.as_bytes());
    bytes
}

fn packet(first: u8, body: &[u8]) -> Vec<u8> {
    let mut packet = vec![first];
    let mut len = body.len();
    loop {
        let more = len >= 128;
        packet.push((len % 128) as u8 | if more { 128 } else { 0 });
        len /= 128;
        if !more {
            break;
        }
    }
    packet.extend_from_slice(body);
    packet
}

/// Deliveries of MQTT.
#[derive(Debug)]
pub(crate) struct Mqtt {
    joined: Joined,
}

impl Mqtt {
    /// For connections 0 to `conns - 1`.
    pub(crate) fn new(conns: usize) -> Self {
        Self { joined: Joined::new(conns) }
    }
}

impl Broker for Mqtt {
    fn deliveries(
        &mut self,
        conn: usize,
        bytes: &[u8],
        take: &mut dyn FnMut(&[u8]) -> Result<(), Fault>,
        out: &mut Outbox,
    ) -> Result<usize, Fault> {
        self.joined.feed(conn, bytes, out, |stream, _| each(stream, take))
    }
}

fn each(stream: &[u8], take: &mut dyn FnMut(&[u8]) -> Result<(), Fault>) -> Result<usize, Fault> {
    let mut at = 0;
    while let Some((kind, body)) = first(&stream[at..])? {
        let body_at = at + body.start;
        at += body.end;
        if kind & 0xf0 != PUBLISH {
            return Err(Fault::protocol(format!("MQTT packet {kind:#04x} at a subscriber")));
        }
        let packet = &stream[body_at..at];
        let topic = packet.first_chunk::<2>().map_or(0, |len| usize::from(u16::from_be_bytes(*len)));
        take(packet.get(2 + topic..).unwrap_or_default())?;
    }
    Ok(at)
}

/// Type of the first packet and where its body is, if it is whole.
fn first(stream: &[u8]) -> Result<Option<(u8, std::ops::Range<usize>)>, Fault> {
    let Some((kind, rest)) = stream.split_first() else { return Ok(None) };
    let (mut len, mut shift) = (0, 0);
    for (i, byte) in rest.iter().enumerate() {
        if i == 4 {
            return Err(Fault::protocol("an MQTT length of more than four bytes"));
        }
        len |= usize::from(byte & 127) << shift;
        shift += 7;
        if byte & 128 == 0 {
            let start = i + 2;
            return Ok((stream.len() >= start + len).then_some((*kind, start..start + len)));
        }
    }
    Ok(None)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_packet_is_taken_when_it_is_whole() {
        let mut body = text(TOPIC);
        body.extend([7; 200]);
        let packet = packet(PUBLISH, &body);
        let mut seen = Vec::new();
        for cut in 0..=packet.len() {
            let used = each(&packet[..cut], &mut |payload| {
                seen.push(payload.to_vec());
                Ok(())
            });
            assert_eq!(used.expect("valid"), if cut == packet.len() { cut } else { 0 });
        }
        assert_eq!(seen, [vec![7; 200]]);
    }
}
