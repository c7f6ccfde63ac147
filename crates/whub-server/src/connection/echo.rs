//! `/debug/echo`: every message comes back as it came. For conformance suites and for measuring.

use std::sync::Arc;
use std::task::Waker;
use std::time::Instant;

use whub_core::{Announcement, Hub, Letter, Liveness, Now, Silence};

use crate::connection::websocket::WebSocket;
use crate::connection::{Bytes, Flow, Reading, Space, Talk};
use crate::mailbox::Private;
use crate::outgoing::Outgoing;

/// An echo.
pub(crate) struct EchoTalk {
    socket: WebSocket,
    liveness: Liveness,
}

impl EchoTalk {
    pub(crate) fn new(hub: &Arc<Hub>, socket: WebSocket, now: Instant) -> Self {
        Self { socket, liveness: Liveness::new(hub.limits.ping, now) }
    }
}

impl Talk for EchoTalk {
    fn handle_bytes(&mut self, now: Now, bytes: Bytes<'_>) -> Flow {
        self.liveness.heard(now.at);
        self.socket.handle_bytes(bytes.input, bytes.own, |speaker, message| {
            speaker.say(message.text, &message.payload);
            Flow::Go
        })
    }

    fn read_space(&mut self) -> Option<Space<'_>> {
        self.socket.read_space()
    }

    fn handle_filled(&mut self, now: Now, count: usize, own: &mut Outgoing, _: &mut Vec<u8>) -> Flow {
        self.liveness.heard(now.at);
        self.socket.handle_filled(count, own, |speaker, message| {
            speaker.say(message.text, &message.payload);
            Flow::Go
        })
    }

    fn handle_letter(&mut self, _: Now, letter: Letter, own: &mut Outgoing) -> Flow {
        match letter.announcement() {
            Some(Announcement::Drain { .. }) => self.socket.close(own, GOING_AWAY, "this node is stopping"),
            Some(Announcement::Kick(fault)) => self.socket.close(own, fault.code.close_code(), &fault.reason),
            // An echo asks for no rights.
            Some(Announcement::Recheck) | None => Flow::Go,
        }
    }

    fn handle_private(&mut self, _: Private, _: &mut Outgoing) {}

    fn handle_timeout(&mut self, now: Now, reading: Reading, own: &mut Outgoing) -> Flow {
        if reading.progress {
            self.liveness.excuse(now.at);
        }
        match self.liveness.handle_timeout(now.at) {
            Silence::Bearable => Flow::Go,
            Silence::Ask => {
                self.socket.speaker(own).ping();
                Flow::Go
            }
            Silence::Dead => self.socket.close(own, GOING_AWAY, "no sign of life from the peer"),
        }
    }

    fn poll_timeout(&self) -> Instant {
        self.liveness.poll_timeout()
    }

    fn poll_gate(&mut self, _: &Waker) -> bool {
        true
    }

    fn handle_lost(&mut self, _: Now, _: &mut dyn Iterator<Item = Letter>) {}
}

/// RFC 6455 section 7.4.1: the endpoint is going away.
pub(super) const GOING_AWAY: u16 = 1001;
