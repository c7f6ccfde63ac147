//! A client of `/gateway`: one WebSocket that reaches many endpoints, after the handshake of SocketMaster.
//!
//! ```text
//! client  SYN        ACK   Endpoint1      Endpoint2      End          ROUTENAME=…
//! hub        SYN/ACK               ACK            ACK        ACK                …
//! ```
//!
//! The session knows how far the handshake is, and which names the client uses for which routes. How messages are
//! spelt, which routes there are and who carries them is the driver's.
//!
//! Contract: after every `handle_*`, drain [`GatewaySession::poll_output`] until it is empty; call
//! [`GatewaySession::handle_timeout`] no later than [`GatewaySession::poll_timeout`] says.

use std::collections::{BTreeMap, VecDeque};
use std::time::{Duration, Instant};

use crate::session::liveness::{Liveness, Silence};

/// Messages out of turn before the end of the handshake; the last of them ends the conversation.
const STRIKES_MAX: u8 = 8;

/// What a client says to the hub itself.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum GatewaySaying<'a> {
    /// It begins.
    Syn,
    /// It has heard the answer.
    Ack,
    /// It is going to use this route.
    Route(&'a str),
    /// It has named its routes.
    End,
    /// Something else, a message for an endpoint among it.
    Other,
}

/// What the driver is to do.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum GatewayOutput {
    /// Answer `SYN`.
    SynAck,
    /// Answer the name of a route.
    Ack,
    /// Answer the end of the handshake.
    EndAck,
    /// Say what is wrong.
    Error(String),
    /// The client uses a route from now on, by this name.
    Use {
        /// The route, in the hub's spelling.
        route: Box<str>,
        /// In the client's.
        name: Box<str>,
    },
    /// Send a WebSocket ping.
    Ping,
    /// Close: the client broke the rules of the handshake, or is silent.
    Close(&'static str),
}

/// Why a message for an endpoint goes nowhere.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Unrouted {
    /// The handshake is not over; the client was told which step it is at.
    Early,
    /// No endpoint has this name, or the client uses as many as it may; it was told.
    Unknown,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Step {
    Syn,
    Ack,
    Routes,
    Over,
}

/// One client.
#[derive(Debug)]
pub struct GatewaySession {
    step: Step,
    strikes: u8,
    /// When the handshake has to be over.
    until: Instant,
    handshake: Duration,
    routes_max: usize,
    liveness: Liveness,
    /// Routes in use, and what the client calls them.
    names: BTreeMap<Box<str>, Box<str>>,
    /// The same by what the client calls them, for the way of each message. Whether it may still use a route, who carries
    /// it finds out.
    routes: BTreeMap<Box<str>, Box<str>>,
    output: VecDeque<GatewayOutput>,
}

impl GatewaySession {
    /// A client that has yet to say `SYN`.
    #[must_use]
    pub fn new(handshake: Duration, routes_max: usize, ping: Duration, now: Instant) -> Self {
        Self {
            step: Step::Syn,
            strikes: 0,
            until: now + handshake,
            handshake,
            routes_max,
            liveness: Liveness::new(ping, now),
            names: BTreeMap::new(),
            routes: BTreeMap::new(),
            output: VecDeque::new(),
        }
    }

    /// Whether messages for endpoints may come.
    #[must_use]
    pub fn is_open(&self) -> bool {
        self.step == Step::Over
    }

    /// Any byte of the client.
    pub fn handle_alive(&mut self, now: Instant) {
        self.liveness.heard(now);
    }

    /// The client said something to the hub. `find` gives the hub's spelling of a route that the client may use.
    pub fn handle_saying(&mut self, saying: GatewaySaying<'_>, find: impl Fn(&str) -> Option<Box<str>>) {
        match (self.step, saying) {
            (Step::Syn | Step::Ack, GatewaySaying::Syn) => {
                self.step = Step::Ack;
                self.push(GatewayOutput::SynAck);
            }
            (Step::Ack, GatewaySaying::Ack) => self.step = Step::Routes,
            (Step::Routes | Step::Over, GatewaySaying::Route(name)) => {
                if self.use_route(name, find).is_some() {
                    self.push(GatewayOutput::Ack);
                }
            }
            (Step::Routes, GatewaySaying::End) => self.finish(),
            (Step::Over, GatewaySaying::End) => self.push(GatewayOutput::EndAck),
            // Said twice, it is still right.
            (Step::Routes | Step::Over, GatewaySaying::Ack) => {}
            (Step::Routes | Step::Over, GatewaySaying::Syn) => self.push(GatewayOutput::SynAck),
            (Step::Over, GatewaySaying::Other) => self.error("missing route".to_owned()),
            (
                Step::Syn | Step::Ack | Step::Routes,
                GatewaySaying::Ack | GatewaySaying::Route(_) | GatewaySaying::End | GatewaySaying::Other,
            ) => self.strike(),
        }
    }

    /// A message for the endpoint that the client calls `name`. Gives the route to send it on.
    ///
    /// # Errors
    /// When it goes nowhere, which the client was told.
    pub fn handle_message(
        &mut self,
        name: &str,
        find: impl Fn(&str) -> Option<Box<str>>,
    ) -> Result<Box<str>, Unrouted> {
        if !self.is_open() {
            self.strike();
            return Err(Unrouted::Early);
        }
        if let Some(route) = self.routes.get(name) {
            return Ok(route.clone());
        }
        self.use_route(name, find).ok_or(Unrouted::Unknown)
    }

    /// Time has passed.
    pub fn handle_timeout(&mut self, now: Instant) {
        if !self.is_open() {
            if now >= self.until {
                let within = self.handshake.as_secs_f32();
                self.error(format!("handshake not finished within {within} s"));
                self.push(GatewayOutput::Close("the handshake took too long"));
            }
            return;
        }
        match self.liveness.handle_timeout(now) {
            Silence::Bearable => {}
            Silence::Ask => self.push(GatewayOutput::Ping),
            Silence::Dead => self.push(GatewayOutput::Close("no sign of life from the peer")),
        }
    }

    /// When [`Self::handle_timeout`] is due.
    #[must_use]
    pub fn poll_timeout(&self) -> Instant {
        if self.is_open() { self.liveness.poll_timeout() } else { self.until }
    }

    /// What to do next.
    pub fn poll_output(&mut self) -> Option<GatewayOutput> {
        let output = self.output.pop_front();
        if output.is_none() {
            // An idle session owns no buffer.
            self.output = VecDeque::new();
        }
        output
    }

    /// The handshake is over. The routes that were named in it are used from here on, so that a client that goes by the
    /// book hears nothing of them before.
    fn finish(&mut self) {
        self.step = Step::Over;
        self.push(GatewayOutput::EndAck);
        let named = self.names.iter();
        let uses = named.map(|(route, name)| GatewayOutput::Use { route: route.clone(), name: name.clone() });
        self.output.extend(uses);
    }

    /// The route of a name, which is in use from now on.
    fn use_route(&mut self, name: &str, find: impl Fn(&str) -> Option<Box<str>>) -> Option<Box<str>> {
        let Some(route) = find(name) else {
            self.error(format!("unknown route {name}"));
            return None;
        };
        if !self.names.contains_key(&route) {
            if self.names.len() >= self.routes_max {
                self.error(format!("too many routes {name}"));
                return None;
            }
            self.names.insert(route.clone(), name.into());
            self.routes.insert(name.into(), route.clone());
            if self.is_open() {
                self.push(GatewayOutput::Use { route: route.clone(), name: name.into() });
            }
        }
        Some(route)
    }

    fn strike(&mut self) {
        let expected = match self.step {
            Step::Syn => "expected SYN",
            Step::Ack => "expected ACK",
            Step::Routes | Step::Over => "expected a route or SMHandshakeEnd",
        };
        self.error(expected.to_owned());
        self.strikes = self.strikes.saturating_add(1);
        if self.strikes >= STRIKES_MAX {
            self.push(GatewayOutput::Close("too many messages out of turn"));
        }
    }

    fn error(&mut self, text: String) {
        self.push(GatewayOutput::Error(text));
    }

    fn push(&mut self, output: GatewayOutput) {
        self.output.push_back(output);
    }
}
