//! Who the peer is: `Hello` and `Welcome`, and credentials that are renewed or have to be looked at again.

use std::sync::Arc;

use whub_proto::{Body, Code, Hello, Strings, Welcome};

use crate::access::Identity;
use crate::clients::Client;
use crate::fault::Fault;
use crate::hub::Now;
use crate::packet::Packet;
use crate::session::client::{Check, ClientSession, Stage};
use crate::session::output::Output;

/// Version of the protocol that this hub speaks.
const VERSION: u16 = 1;

/// The feature of clients that want to hear of partners' connections, and come back to seats in pairs.
const PAIR_SEATS: &str = "pair.seats";

/// A longer name of a client is not taken note of, bytes.
const NAME_BYTES_MAX: usize = 128;

impl ClientSession {
    pub(super) fn handle_hello(&mut self, hello: &Hello<'_>) {
        if hello.min_version > VERSION || hello.max_version < VERSION {
            let reason = format!(
                "this hub speaks protocol version {VERSION}, the client {} to {}",
                hello.min_version, hello.max_version
            );
            self.close(Fault::fatal(Code::Unsupported, "hello.version", reason));
            return;
        }
        match hello.scheme {
            "" | "none" | "bearer" => {}
            other => {
                let reason = format!("this hub knows the scheme `bearer`, not `{other}`");
                self.close(Fault::fatal(Code::Unauthorized, "auth.scheme", reason));
                return;
            }
        }
        if !hello.token.is_empty() {
            self.peer.token = Some(hello.token.into());
        }
        if hello.name.len() <= NAME_BYTES_MAX {
            self.name = hello.name.into();
        }
        self.follows = hello.features.iter().any(|feature| feature == PAIR_SEATS);
        self.stage = Stage::Checking;
        self.push(Output::Authenticate { token: self.peer.token.clone() });
    }

    pub(super) fn handle_auth(&mut self, id: u64, scheme: &str, token: &str) {
        if !self.claim(id) {
            return;
        }
        if !matches!(scheme, "" | "bearer") {
            let reason = format!("this hub knows the scheme `bearer`, not `{scheme}`");
            self.refuse(id, &Fault::fatal(Code::Unauthorized, "auth.scheme", reason));
            return;
        }
        if let Stage::Open { check, .. } = &mut self.stage {
            *check = Check::Renewal(id, token.into());
        }
        self.push(Output::Authenticate { token: Some(token.into()) });
    }

    fn welcome(&mut self, now: Now, identity: Identity) {
        self.hub.counters.sessions_opened.one();
        let limits = &self.hub.limits;
        let body = Welcome {
            version: VERSION,
            client: &self.peer.client,
            node: &self.hub.node,
            server: &self.hub.agent,
            ping_ms: u32::try_from(limits.ping.as_millis()).unwrap_or(u32::MAX),
            max_frame: u32::try_from(limits.frame_bytes).unwrap_or(u32::MAX),
            max_inflight: u32::try_from(limits.calls).unwrap_or(u32::MAX),
            time_ms: now.unix_ms,
            features: Strings::new(if self.follows { &[PAIR_SEATS] } else { &[] }),
            ..Welcome::default()
        };
        let packet = Packet::build(&Body::Welcome(body));
        self.stage = Stage::Open { identity, check: Check::Nothing, since_ms: now.unix_ms };
        // Welcome goes first, though a message may follow from another thread at once.
        self.me.hold();
        self.send(0, packet);
        self.enter();
    }

    /// Lets others find the client, as who it is now.
    fn enter(&self) {
        let Stage::Open { identity, since_ms, .. } = &self.stage else { return };
        self.hub.clients.enter(Client {
            mailbox: self.me.clone(),
            client: (*self.peer.client).into(),
            address: self.peer.address.clone(),
            name: self.name.clone(),
            since_ms: *since_ms,
            identity: identity.clone(),
            tally: Arc::clone(&self.tally),
        });
    }

    /// The driver's answer to [`Output::Authenticate`].
    pub fn handle_identity(&mut self, now: Now, verdict: Result<Identity, Fault>) {
        self.clock = now.at;
        match (&mut self.stage, verdict) {
            (Stage::Checking, Ok(identity)) => self.welcome(now, identity),
            (Stage::Checking, Err(fault)) => {
                self.hub.counters.unauthorized.one();
                self.close(fault);
            }
            (Stage::Open { identity, check, .. }, Ok(renewed)) => {
                *identity = renewed;
                if let Check::Renewal(id, token) = std::mem::replace(check, Check::Nothing) {
                    self.peer.token = Some(token);
                    self.agree(id);
                }
                self.enter();
                self.revoke();
            }
            (Stage::Open { check, .. }, Err(fault)) => match std::mem::replace(check, Check::Nothing) {
                Check::Nothing => {}
                Check::Renewal(id, _) => self.refuse(id, &fault),
                Check::Rules => self.close(fault),
            },
            (Stage::Greeting { .. } | Stage::Ended, _) => {}
        }
    }

    pub(super) fn handle_recheck(&mut self) {
        let Stage::Open { check, .. } = &mut self.stage else { return };
        *check = Check::Rules;
        let token = self.peer.token.clone();
        self.push(Output::Authenticate { token });
    }
}
