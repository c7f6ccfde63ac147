//! `/gateway`: one WebSocket that reaches many endpoints. What its messages mean is in `gateway/words`, how far the
//! handshake is in the session; each route is carried by a task of its own.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::task::Waker;
use std::time::Instant;

use hyper::HeaderMap;
use whub_core::{Announcement, GatewayOutput, GatewaySaying, GatewaySession, Letter, Mailbox, Now};

use crate::connection::echo::GOING_AWAY;
use crate::connection::websocket::{Speaker, WebSocket};
use crate::connection::{Bytes, Flow, Reading, Space, Talk};
use crate::gateway::{self, Heard, Leg, Spelling, Taken, Voice};
use crate::mailbox::Private;
use crate::node::Node;
use crate::outgoing::Outgoing;

/// The rules were broken, as plain WebSocket clients are told (RFC 6455, section 7.4.1).
const POLICY: u16 = 1008;

/// Who connects.
#[derive(Debug)]
pub(crate) struct Visitor {
    /// What it came with.
    pub(crate) token: Option<Box<str>>,
    /// What endpoints learn of its way.
    pub(crate) headers: HeaderMap,
}

/// A client of many endpoints.
pub(crate) struct MuxTalk {
    socket: WebSocket,
    mux: Mux,
}

struct Mux {
    node: Arc<Node>,
    me: Mailbox,
    visitor: Visitor,
    session: GatewaySession,
    spelling: Spelling,
    /// Steps are answered by a word instead of an event.
    bare_ack: bool,
    legs: BTreeMap<Box<str>, (Box<str>, Arc<Leg>)>,
    /// Routes that have no room, and how long each is waited for.
    awaiting: Vec<(Arc<Leg>, Instant)>,
    close: Option<&'static str>,
}

impl MuxTalk {
    pub(crate) fn new(
        node: Arc<Node>,
        me: Mailbox,
        visitor: Visitor,
        socket: WebSocket,
        now: Instant,
    ) -> Self {
        node.hub.counters.sessions_opened.one();
        let config = node.config();
        let (handshake, routes) = (config.gateway.handshake, config.gateway.routes);
        let session = GatewaySession::new(handshake, routes, node.hub.limits.ping, now);
        let mux = Mux {
            node,
            me,
            visitor,
            session,
            spelling: Spelling::default(),
            bare_ack: config.gateway.bare_ack,
            legs: BTreeMap::new(),
            awaiting: Vec::new(),
            close: None,
        };
        Self { socket, mux }
    }

    fn finish(&mut self, flow: Flow, own: &mut Outgoing) -> Flow {
        match self.mux.close.take() {
            Some(reason) => self.socket.close(own, POLICY, reason),
            None => flow,
        }
    }
}

impl Mux {
    fn handle_message(&mut self, now: Now, speaker: &mut Speaker<'_>, text: bool, payload: &[u8]) -> Flow {
        match gateway::read(text, payload) {
            Heard::Saying(saying, spelling) => {
                if !self.session.is_open() {
                    self.spelling = spelling;
                }
                let find = finder(&self.node, &self.visitor);
                self.session.handle_saying(saying.as_core(), find);
            }
            Heard::Nothing => self.session.handle_saying(GatewaySaying::Other, |_| None),
            Heard::Message { name, body } => {
                let find = finder(&self.node, &self.visitor);
                match self.session.handle_message(name, find) {
                    Ok(route) => {
                        self.drain(speaker);
                        self.send(now, speaker, &route, text, body);
                    }
                    Err(_) => self.node.hub.counters.gateway_refused.one(),
                }
            }
        }
        self.drain(speaker)
    }

    fn send(&mut self, now: Now, speaker: &mut Speaker<'_>, route: &str, text: bool, body: &[u8]) {
        let Some((name, leg)) = self.legs.get(route) else { return };
        let refusal = match leg.send(text, body, now.at) {
            Taken::Room => return,
            Taken::Wait => {
                // One batch may fill several routes; each has its time from its first message too many.
                if !self.awaiting.iter().any(|(known, _)| Arc::ptr_eq(known, leg)) {
                    self.awaiting.push((Arc::clone(leg), now.at + self.node.config().gateway.stall));
                }
                return;
            }
            Taken::Down => format!("route down {name}"),
            Taken::Full => format!("route full {name}"),
        };
        self.node.hub.counters.gateway_refused.one();
        speaker.say(true, self.spelling.error(&refusal).as_bytes());
    }

    fn drain(&mut self, speaker: &mut Speaker<'_>) -> Flow {
        while let Some(output) = self.session.poll_output() {
            let spelling = self.spelling;
            let text = match output {
                GatewayOutput::SynAck => spelling.syn_ack(),
                GatewayOutput::Ack | GatewayOutput::EndAck if self.bare_ack => gateway::ACK.to_owned(),
                GatewayOutput::Ack => spelling.ack(),
                GatewayOutput::EndAck => spelling.end_ack(),
                GatewayOutput::Error(what) => spelling.error(&what),
                GatewayOutput::Use { route, name } => {
                    self.begin(route, name);
                    continue;
                }
                GatewayOutput::Ping => {
                    speaker.ping();
                    continue;
                }
                GatewayOutput::Close(reason) => {
                    self.close = Some(reason);
                    return Flow::Close;
                }
            };
            speaker.say(true, text.as_bytes());
        }
        Flow::Go
    }

    /// A route is used from now on: it has a task that carries it.
    fn begin(&mut self, route: Box<str>, name: Box<str>) {
        let window = self.node.routes.find(&route).map_or(0, |known| known.endpoint.window_bytes);
        let leg = Arc::new(Leg::new(window));
        let voice = Voice {
            node: Arc::clone(&self.node),
            route: route.clone(),
            name: name.clone(),
            spelling: self.spelling,
            client: self.me.clone(),
            token: self.visitor.token.clone(),
            headers: self.visitor.headers.clone(),
        };
        // What it has to say comes after the answer to the name.
        self.me.hold();
        tokio::spawn(gateway::carry(voice, Arc::clone(&leg)));
        self.legs.insert(route, (name, leg));
    }
}

/// Finds routes that the client may use. Those that it may not use are as unknown to it as those that are not there.
fn finder<'a>(node: &'a Arc<Node>, visitor: &'a Visitor) -> impl Fn(&str) -> Option<Box<str>> + 'a {
    |name| {
        let route = node.routes.find(name)?;
        let identity = node.authenticate(visitor.token.as_deref()).ok()?;
        route.admit(&identity).ok()?;
        Some(route.name().into())
    }
}

impl Talk for MuxTalk {
    fn handle_bytes(&mut self, now: Now, bytes: Bytes<'_>) -> Flow {
        let Self { socket, mux } = self;
        mux.session.handle_alive(now.at);
        let flow = socket.handle_bytes(bytes.input, bytes.own, |speaker, message| {
            mux.handle_message(now, speaker, message.text, &message.payload)
        });
        self.finish(flow, bytes.own)
    }

    fn read_space(&mut self) -> Option<Space<'_>> {
        self.socket.read_space()
    }

    fn handle_filled(&mut self, now: Now, count: usize, own: &mut Outgoing, _: &mut Vec<u8>) -> Flow {
        let Self { socket, mux } = self;
        mux.session.handle_alive(now.at);
        let flow = socket.handle_filled(count, own, |speaker, message| {
            mux.handle_message(now, speaker, message.text, &message.payload)
        });
        self.finish(flow, own)
    }

    fn handle_letter(&mut self, _: Now, letter: Letter, own: &mut Outgoing) -> Flow {
        match letter.announcement() {
            Some(Announcement::Drain { .. }) => self.socket.close(own, GOING_AWAY, "this node is stopping"),
            Some(Announcement::Kick(fault)) => self.socket.close(own, fault.code.close_code(), &fault.reason),
            Some(Announcement::Recheck) => {
                match self.mux.node.authenticate(self.mux.visitor.token.as_deref()) {
                    // Which routes it may still use, those who carry them find out.
                    Ok(_) => Flow::Go,
                    Err(fault) => self.socket.close(own, fault.code.close_code(), &fault.reason),
                }
            }
            None => Flow::Go,
        }
    }

    fn handle_private(&mut self, _: Private, _: &mut Outgoing) {}

    fn handle_timeout(&mut self, now: Now, reading: Reading, own: &mut Outgoing) -> Flow {
        for (leg, _) in self.mux.awaiting.extract_if(.., |(_, until)| now.at >= *until) {
            // It has been waited for long enough; the other routes go on.
            leg.stall();
        }
        if reading.progress {
            self.mux.session.handle_alive(now.at);
        }
        self.mux.session.handle_timeout(now.at);
        let flow = self.mux.drain(&mut self.socket.speaker(own));
        self.finish(flow, own)
    }

    fn poll_timeout(&self) -> Instant {
        let session = self.mux.session.poll_timeout();
        self.mux.awaiting.iter().fold(session, |due, (_, until)| due.min(*until))
    }

    fn poll_gate(&mut self, waker: &Waker) -> bool {
        self.mux.awaiting.retain(|(leg, _)| !leg.poll_room(waker));
        self.mux.awaiting.is_empty()
    }

    fn handle_lost(&mut self, _: Now, _: &mut dyn Iterator<Item = Letter>) {
        for (_, leg) in self.mux.legs.values() {
            leg.close();
        }
        self.mux.node.hub.counters.sessions_closed.one();
    }
}
