//! Streams of messages from one connection to the same or another one, in order, nothing missing.
//!
//! ```text
//! echo   a ──▶ server ──▶ a            flow   a ──▶ server ──▶ b
//! rtt    a ──▶ server ──▶ b ──▶ server ──▶ a
//! ```
//!
//! Closed loop: `window` messages of a lane are under way; each arrival lets the next one go. Open loop: messages
//! leave at fixed times, and a late one counts from the time it was due.

use super::expect;
use crate::fault::Fault;
use crate::message::{self, Stamp};
use crate::meter::Meter;
use crate::net::{Load, Outbox};
use crate::template::Template;
use crate::wire::whub;
use crate::ws;
use whub_proto::HEAD_BYTES;

/// How messages are told apart on the connection.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Framing {
    /// Messages of a fixed length, back to back.
    Raw,
    /// One message per binary WebSocket message.
    WebSocket,
    /// One per `Data` frame of a pair, in such a message.
    Frames,
}

/// What a connection is to its lane.
#[derive(Clone, Copy, Debug)]
enum Role {
    /// Sends only.
    Source,
    /// Counts what arrives and lets the next message go.
    Sink(usize),
    /// Sends back what arrives.
    Mirror(usize),
}

#[derive(Debug)]
struct Lane {
    from: usize,
    sent: u64,
    arrived: u64,
    mirrored: u64,
}

/// The traffic of echo and pair cells.
#[derive(Debug)]
pub(crate) struct Lanes {
    framing: Framing,
    message_len: usize,
    template: Template,
    window: u64,
    roles: Vec<Role>,
    lanes: Vec<Lane>,
    schedule: Option<Schedule>,
    meter: Meter,
}

/// Fixed times at which the lanes send in turn.
#[derive(Debug)]
struct Schedule {
    interval_ns: u64,
    due_ns: u64,
    turn: usize,
}

impl Lanes {
    /// No lanes yet; `window` messages of `message_len` bytes will be under way in each.
    pub(crate) fn new(framing: Framing, message_len: usize, window: u64) -> Self {
        let message = message::blank(message_len);
        let template = match framing {
            Framing::Raw => Template::raw(message),
            Framing::WebSocket => Template::websocket(&message, 0),
            Framing::Frames => whub::data_template(&message),
        };
        let (roles, lanes) = (Vec::new(), Vec::new());
        Self { framing, message_len, template, window, roles, lanes, schedule: None, meter: Meter::new() }
    }

    /// Sends `per_second` messages at fixed times instead of keeping a window full.
    pub(crate) fn at_rate(mut self, per_second: u64) -> Self {
        self.schedule = Some(Schedule { interval_ns: 1_000_000_000 / per_second, due_ns: 0, turn: 0 });
        self
    }

    /// The next connection hears itself.
    pub(crate) fn add_echo(&mut self) {
        let lane = self.add_lane(self.roles.len());
        self.roles.push(Role::Sink(lane));
    }

    /// The next two connections: the first sends, the second receives.
    pub(crate) fn add_flow(&mut self) {
        let lane = self.add_lane(self.roles.len());
        self.roles.extend([Role::Source, Role::Sink(lane)]);
    }

    /// The next two connections: the first sends and hears back, the second answers.
    pub(crate) fn add_rtt(&mut self) {
        let lane = self.add_lane(self.roles.len());
        self.roles.extend([Role::Sink(lane), Role::Mirror(lane)]);
    }

    fn add_lane(&mut self, from: usize) -> usize {
        self.lanes.push(Lane { from, sent: 0, arrived: 0, mirrored: 0 });
        self.lanes.len() - 1
    }

    fn send(&mut self, lane: usize, at_ns: u64, out: &mut Outbox) {
        let state = &mut self.lanes[lane];
        self.template.append(out.queue(state.from), Stamp::new(at_ns, lane, state.sent));
        state.sent += 1;
        self.meter.sent(1);
    }

    fn take(&mut self, conn: usize, body: &[u8], now_ns: u64, out: &mut Outbox) -> Result<(), Fault> {
        let stamp = message::check(body, self.message_len)?;
        match self.roles[conn] {
            Role::Source => Err(Fault::protocol("the sending half of a pair was sent something")),
            Role::Mirror(lane) => {
                let next = &mut self.lanes[lane].mirrored;
                expect(conn, message::number(lane, *next), stamp.number)?;
                *next += 1;
                self.template.append(out.queue(conn), stamp);
                Ok(())
            }
            Role::Sink(lane) => {
                let next = &mut self.lanes[lane].arrived;
                expect(conn, message::number(lane, *next), stamp.number)?;
                *next += 1;
                self.meter.answered(stamp.at_ns, now_ns);
                if self.meter.sending && self.schedule.is_none() {
                    self.send(lane, now_ns, out);
                }
                Ok(())
            }
        }
    }
}

impl Load for Lanes {
    fn start(&mut self, now_ns: u64, out: &mut Outbox) {
        if let Some(schedule) = &mut self.schedule {
            schedule.due_ns = now_ns;
            return;
        }
        for lane in 0..self.lanes.len() {
            for _ in 0..self.window {
                self.send(lane, now_ns, out);
            }
        }
    }

    fn handle_bytes(
        &mut self,
        conn: usize,
        bytes: &[u8],
        now_ns: u64,
        out: &mut Outbox,
    ) -> Result<usize, Fault> {
        match self.framing {
            Framing::Raw => {
                let whole = bytes.chunks_exact(self.message_len);
                let used = bytes.len() - whole.remainder().len();
                for message in whole {
                    self.take(conn, message, now_ns, out)?;
                }
                Ok(used)
            }
            Framing::WebSocket | Framing::Frames => {
                let head = if self.framing == Framing::Frames { HEAD_BYTES } else { 0 };
                let mut pongs = Vec::new();
                let take = |body: &[u8]| self.take(conn, body.get(head..).unwrap_or_default(), now_ns, out);
                let used = ws::each(conn, bytes, take, |pong| pongs.extend_from_slice(pong))?;
                if !pongs.is_empty() {
                    out.queue(conn).extend_from_slice(&pongs);
                }
                Ok(used)
            }
        }
    }

    fn handle_due(&mut self, now_ns: u64, out: &mut Outbox) {
        while self.meter.sending {
            let lanes = self.lanes.len();
            let Some(schedule) = &mut self.schedule else { return };
            if schedule.due_ns > now_ns {
                return;
            }
            let (due_ns, lane) = (schedule.due_ns, schedule.turn);
            schedule.due_ns += schedule.interval_ns;
            schedule.turn = (schedule.turn + 1) % lanes;
            self.send(lane, due_ns, out);
        }
    }

    fn scheduled(&self) -> bool {
        self.schedule.is_some()
    }

    fn meter(&mut self) -> &mut Meter {
        &mut self.meter
    }
}
