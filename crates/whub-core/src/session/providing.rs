//! The session as a provider: what it registered, and the calls that it owes an outcome.

use std::sync::Arc;
use std::time::{Duration, Instant};

use bytes::Bytes;
use whub_proto::names::Pattern;
use whub_proto::{
    Body, Cancel, Code, Credit, Failure, Flags, Frame, HEADER_PAIRS_MAX, Headers, Kind, Register, Response,
    Unregister, Via,
};

use crate::call::{Call, CallKey};
use crate::fault::{Fault, MOVED};
use crate::hub::Now;
use crate::letter::Letter;
use crate::moving::{Loss, is_not_taken, provider_lost};
use crate::packet::Packet;
use crate::placing::deadline_exceeded;
use crate::services::{Provider, Registration};
use crate::session::client::ClientSession;
use crate::session::owed::{Debt, Stage};

impl ClientSession {
    // -------------------------------------------------------------------------------------- registrations

    pub(super) fn handle_register(&mut self, now: Now, id: u64, register: &Register<'_>) {
        if !self.claim(id) {
            return;
        }
        match self.register(now, register) {
            Ok(()) => self.agree(id),
            Err(fault) => self.refuse(id, &fault),
        }
    }

    fn register(&mut self, now: Now, register: &Register<'_>) -> Result<(), Fault> {
        let registration = Registration::parse(register)?;
        let Some(identity) = self.identity() else { return Ok(()) };
        if !self.hub.roles.service {
            let reason =
                "this node takes no providers (its node.roles lack `service`); connect to a service node";
            return Err(Fault::fatal(Code::Unsupported, "node.no_services", reason));
        }
        identity.grants.may_provide(&registration.pattern)?;
        if self.is_draining() {
            return Err(Fault::draining());
        }
        if self.services.len() >= self.hub.limits.services {
            let reason = format!("a session may register {} services", self.services.len());
            return Err(Fault::fatal(Code::TooManyRequests, "services.limit", reason));
        }
        let registration = Registration {
            client: self.peer.client.clone(),
            name: self.name.clone(),
            user: identity.user.as_deref().unwrap_or_default().into(),
            since_ms: now.unix_ms,
            ..registration
        };
        let provider = self.hub.services.register(registration, self.me.clone())?;
        self.services.push(provider.registration.pattern.clone());
        self.tally.services(self.services.len());
        Ok(())
    }

    pub(super) fn handle_unregister(&mut self, id: u64, unregister: &Unregister<'_>) {
        if !self.claim(id) {
            return;
        }
        let known = Pattern::parse(unregister.path)
            .ok()
            .and_then(|pattern| self.services.iter().position(|known| *known == pattern));
        let Some(index) = known else {
            let reason = format!("this session does not provide {}", unregister.path);
            self.refuse(id, &Fault::fatal(Code::NotFound, "service.not_registered", reason));
            return;
        };
        let pattern = self.services.swap_remove(index);
        self.tally.services(self.services.len());
        self.leave_service(&pattern, unregister.grace_ms);
        self.agree(id);
    }

    /// No new calls; those in flight are finished, within `grace_ms` if that is not 0.
    pub(super) fn leave_services(&mut self, grace_ms: u32) {
        for pattern in std::mem::take(&mut self.services) {
            self.leave_service(&pattern, grace_ms);
        }
        self.tally.services(0);
    }

    fn leave_service(&mut self, pattern: &Pattern, grace_ms: u32) {
        let provider = self.hub.leave_service(pattern, self.me.session());
        // So that there are no more of them than calls in flight, however often a client comes and goes.
        self.leaving.retain(|(_, provider)| provider.inflight() > 0);
        if grace_ms > 0
            && let Some(provider) = provider.filter(|provider| provider.inflight() > 0)
        {
            self.leaving.push((self.clock + Duration::from_millis(grace_ms.into()), provider));
        }
    }

    /// When the first service ends whose provider is leaving.
    pub(super) fn first_leaving(&self) -> Option<Instant> {
        self.leaving.iter().map(|(until, _)| *until).min()
    }

    /// Calls that have outlived the time that their provider asked for when it left.
    pub(super) fn expire_leaving(&mut self, now: Instant) {
        let (over, left) =
            std::mem::take(&mut self.leaving).into_iter().partition(|(until, _)| *until <= now);
        self.leaving = left;
        let over: Vec<(Instant, Arc<Provider>)> = over;
        for (_, provider) in over {
            for id in self.owed.of(&provider) {
                let Some(debt) = self.owed.settle(id) else { continue };
                self.send_cancel(id, Code::Draining, "the time that was left for this call is over");
                self.lose(debt, provider_left());
            }
        }
    }

    // ------------------------------------------------------------------------------------ from the callers

    pub(super) fn handle_call(&mut self, now: Now, call: Box<Call>) {
        if self.ended() {
            self.hub.lose_call(now.at, call, Loss::Unsent, provider_lost());
            return;
        }
        let mut call = call;
        if call.deadline <= now.at {
            self.miss(&mut call);
            return;
        }
        if self.has_left(&call) {
            match self.hub.move_call(now.at, call, Loss::Unsent) {
                Ok(()) => return,
                // Nobody else takes it: the client may still know what to do with it.
                Err(back) => call = back,
            }
        }
        call.caller.served_by(&self.peer.client);
        let (id, request) = self.owed.add(now.at, call);
        self.send(id, request);
    }

    /// Whether the call crossed with the end of its registration, so that the client may know no service for it. One
    /// that drains because the node stops still does.
    fn has_left(&self, call: &Call) -> bool {
        call.seat.as_ref().is_some_and(|seat| seat.provider().has_left()) && !self.is_draining()
    }

    pub(super) fn handle_upload(&mut self, now: Now, call: CallKey, data: Packet) {
        let Some(id) = self.owed.id(call) else { return };
        let ended = data.head(0).flags.contains(Flags::END);
        self.owed.renew(now.at, id);
        self.send(id, data);
        if ended {
            self.handle_upload_end(now, id);
        }
    }

    fn handle_upload_end(&mut self, now: Now, id: u64) {
        let Some(debt) = self.owed.get(id) else { return };
        debt.upload_ended = true;
        match debt.stage {
            Stage::Asked | Stage::Answered => {}
            Stage::Open => self.owed.end_by(id, now.at + CLOSING),
            Stage::HalfOpen => {
                self.owed.settle(id);
                self.hub.counters.calls_answered.one();
            }
        }
    }

    pub(super) fn handle_refill(&mut self, call: CallKey, bytes: u32) {
        let Some(id) = self.owed.id(call) else { return };
        let Some(debt) = self.owed.get(id) else { return };
        debt.credit = debt.credit.saturating_add(bytes.into());
        self.send(id, Packet::build(&Body::Credit(Credit { bytes })));
    }

    pub(super) fn handle_abandon(&mut self, call: CallKey, code: Code) {
        let Some(id) = self.owed.id(call) else { return };
        if let Some(debt) = self.owed.settle(id) {
            self.hub.counters.calls_cancelled.one();
            debt.call.count_error(code);
        }
        self.send_cancel(id, code, "the caller no longer waits");
    }

    pub(super) fn expire_owed(&mut self, now: Instant) {
        while let Some((id, mut debt)) = self.owed.expire(now) {
            match debt.stage {
                Stage::Asked => {
                    self.miss(&mut debt.call);
                    self.send_cancel(id, Code::DeadlineExceeded, "the call's deadline has passed");
                }
                // Only WebSockets have a deadline again, once one side has ended.
                Stage::Answered | Stage::Open | Stage::HalfOpen => {
                    self.hub.counters.calls_answered.one();
                    debt.call.fail(not_closed());
                    self.send_cancel(
                        id,
                        Code::Timeout,
                        "the other side of the WebSocket did not end in time",
                    );
                }
            }
        }
    }

    pub(super) fn fail_owed(&mut self) {
        // A provider that is closed because the node stops is not to blame.
        let fault = if self.is_draining() { Fault::draining() } else { provider_lost() };
        for debt in self.owed.settle_all() {
            self.lose(debt, fault.clone());
        }
        self.leaving.clear();
    }

    fn lose(&self, debt: Debt, fault: Fault) {
        let loss = if debt.stage == Stage::Asked { Loss::Sent } else { Loss::Begun };
        self.hub.lose_call(self.clock, debt.call, loss, fault);
    }

    fn miss(&self, call: &mut Call) {
        self.hub.counters.calls_deadline.one();
        call.count_error(Code::DeadlineExceeded);
        drop(call.seat.take());
        call.fail(deadline_exceeded());
    }

    // ------------------------------------------------------------------------------------ from the provider

    pub(super) fn handle_response(&mut self, frame: &Frame<'_>, response: &Response<'_>) {
        let id = frame.head.id;
        let Some(debt) = self.owed.get(id) else {
            self.handle_late(id);
            return;
        };
        if debt.stage != Stage::Asked {
            self.hub.counters.answers_late.one();
            return;
        }
        let stage = match response.status {
            SWITCHING_PROTOCOLS if debt.call.websocket => Stage::Open,
            SWITCHING_PROTOCOLS => {
                self.spurn(id, frame.head.flags.contains(Flags::END));
                return;
            }
            100..=199 => {
                self.handle_progress(frame);
                return;
            }
            _ => Stage::Answered,
        };
        let (caller, caller_id) = (debt.call.caller.clone(), debt.call.id);
        debt.call.count_answer(self.clock, response.status);
        self.owed.begin(id, stage);
        self.pass_on(frame, None);
        if response.credit != 0 {
            let _ = caller.post(Letter::Credit { id: caller_id, bytes: response.credit });
        }
    }

    /// An answer that makes no sense ends its call.
    fn spurn(&mut self, id: u64, ended: bool) {
        let Some(debt) = self.owed.settle(id) else { return };
        self.hub.counters.calls_answered.one();
        debt.call.count_error(Code::ProviderLost);
        debt.call.fail(bad_answer());
        if !ended {
            let reason = "status 101 accepts a WebSocket, and this call opens none";
            self.send_cancel(id, Code::BadRequest, reason);
        }
    }

    /// News of a call whose answer has not begun. It neither ends the call nor puts its deadline off.
    fn handle_progress(&mut self, frame: &Frame<'_>) {
        if frame.head.flags.contains(Flags::END) {
            self.violate("a response with a status below 200 cannot be the last");
            return;
        }
        let Some(debt) = self.owed.get(frame.head.id) else { return };
        debt.progress += frame.envelope.len() + frame.payload.len();
        if debt.progress > PROGRESS_BYTES_MAX {
            self.hub.counters.progress_dropped.one();
            return;
        }
        let packet = Packet::forward(Kind::Response, frame.head.flags, None, frame.envelope, frame.payload);
        let _ = debt.call.caller.post(Letter::Answer { id: debt.call.id, packet, last: false });
    }

    /// `Data` with an id of the hub: a response's body goes on.
    pub(super) fn handle_download(&mut self, frame: &Frame<'_>, memory: Option<&Bytes>) {
        let stage = self.owed.get(frame.head.id).map(|debt| debt.stage);
        match stage {
            None | Some(Stage::HalfOpen) => self.handle_late(frame.head.id),
            Some(Stage::Asked) => self.violate("Data of a call before its Response"),
            Some(Stage::Answered | Stage::Open) => self.pass_on(frame, memory),
        }
    }

    /// `Error` as an answer: the service refused, or failed.
    pub(super) fn handle_final(&mut self, frame: &Frame<'_>, failure: &Failure<'_>) {
        let Some(mut debt) = self.owed.settle(frame.head.id) else {
            self.handle_late(frame.head.id);
            return;
        };
        if debt.stage == Stage::Asked && is_not_taken(failure) {
            match self.hub.decline_call(self.clock, debt.call, failure.code) {
                Ok(()) => return,
                Err(call) => debt.call = call,
            }
        }
        if debt.stage == Stage::Asked {
            debt.call.count_refusal(self.clock, failure.code);
        } else {
            debt.call.count_error(failure.code);
        }
        // As in `pass_on`; what is counted of the provider is counted by now.
        drop(debt.call.seat.take());
        let call = &debt.call;
        let packet = if call.moved == 0 {
            Packet::forward(Kind::Error, Flags::NONE, None, frame.envelope, frame.payload)
        } else {
            with_moved(failure, call.moved, frame.payload)
        };
        self.hub.counters.calls_answered.one();
        let _ = call.caller.post(Letter::Answer { id: call.id, packet, last: true });
    }

    /// `Cancel` with an id of the hub: the provider gives the call up, whatever it has said of it already.
    pub(super) fn handle_given_up(&mut self, id: u64, cancel: &Cancel<'_>) {
        let Some(mut debt) = self.owed.settle(id) else {
            self.handle_late(id);
            return;
        };
        let fault = given_up(cancel);
        debt.call.count_error(fault.code);
        drop(debt.call.seat.take());
        self.hub.counters.calls_answered.one();
        debt.call.fail(fault);
    }

    pub(super) fn handle_provider_credit(&mut self, id: u64, bytes: u32) {
        let Some(debt) = self.owed.get(id) else { return };
        let _ = debt.call.caller.post(Letter::Credit { id: debt.call.id, bytes });
    }

    fn pass_on(&mut self, frame: &Frame<'_>, memory: Option<&Bytes>) {
        let (kind, id) = (frame.head.kind, frame.head.id);
        let Some(debt) = self.owed.get(id) else { return };
        let bytes = signed(frame.payload);
        // The first frame may be as large as a frame is; what it takes beyond the credit is owed.
        if kind == Kind::Data && bytes > debt.credit {
            self.violate("more response body than the caller gave credit for");
            return;
        }
        debt.credit -= bytes;
        let ended = frame.head.flags.contains(Flags::END);
        // Of a WebSocket both sides end.
        let is_half = ended && debt.stage == Stage::Open && !debt.upload_ended;
        if is_half {
            debt.stage = Stage::HalfOpen;
        }
        let last = ended && !is_half;
        let packet = if kind == Kind::Data {
            Packet::data(frame, memory)
        } else {
            let via = Via { moved: debt.call.moved, ..Via::default() };
            let via = (via.moved > 0).then_some(&via);
            Packet::forward(kind, frame.head.flags, via, frame.envelope, frame.payload)
        };
        let (caller, call) = (debt.call.caller.clone(), debt.call.id);
        if last {
            // Before the caller is told: it may call again at once, and is to find the place free.
            self.owed.settle(id);
            self.hub.counters.calls_answered.one();
        }
        let posted = caller.post(Letter::Answer { id: call, packet, last });
        if last {
            return;
        }
        if posted.is_err() {
            // The caller is gone, or a step of the chain has ended the call.
            self.owed.settle(id);
            self.hub.counters.calls_cancelled.one();
            self.send_cancel(id, Code::Cancelled, "nobody waits for this answer any more");
        } else if is_half {
            self.owed.end_by(id, self.clock + CLOSING);
        }
    }

    /// An answer to a call that has ended is dropped; one to a call that this session was never given is an attack.
    fn handle_late(&mut self, id: u64) {
        if self.owed.was_given(id) {
            self.hub.counters.answers_late.one();
        } else {
            self.violate("an answer to a call that this session was never asked");
        }
    }

    fn send_cancel(&mut self, id: u64, code: Code, reason: &'static str) {
        self.send(id, Packet::build(&Body::Cancel(Cancel { code, reason })));
    }
}

/// The length of a payload, which a frame's limit keeps far below the largest number.
pub(super) fn signed(payload: &[u8]) -> i64 {
    i64::try_from(payload.len()).unwrap_or(i64::MAX)
}

/// Accepts a WebSocket.
const SWITCHING_PROTOCOLS: u16 = 101;

/// Bytes of progress, envelopes and payloads together, that one call may report: 1 MiB.
const PROGRESS_BYTES_MAX: usize = 1 << 20;

/// How long one side of a WebSocket has to end after the other did.
const CLOSING: Duration = Duration::from_secs(30);

/// The service's error, which also says how often the call was moved.
fn with_moved(failure: &Failure<'_>, moved: u8, payload: &[u8]) -> Packet {
    let moved = moved.to_string();
    let own = failure.headers.iter().filter(|(key, _)| *key != MOVED);
    let mut pairs: Vec<(&str, &str)> = own.take(HEADER_PAIRS_MAX - 1).collect();
    pairs.push((MOVED, &moved));
    let failure = Failure { headers: Headers::new(&pairs), ..*failure };
    Packet::build_with(&Body::Error(failure), Flags::NONE, None, payload)
}

fn provider_left() -> Fault {
    let reason = "the provider left before its answer was whole; the call may have been carried out";
    Fault::passing(Code::ProviderLost, "service.provider_left", 1, reason)
}

fn given_up(cancel: &Cancel<'_>) -> Fault {
    // To a caller that code says that it gave up itself.
    let code = if cancel.code == Code::Cancelled { Code::ProviderLost } else { cancel.code };
    let why = if cancel.reason.is_empty() { "" } else { ": " };
    Fault::fatal(code, "service.cancelled", format!("the service gave the call up{why}{}", cancel.reason))
}

fn bad_answer() -> Fault {
    let reason = "the service answered with status 101, which accepts a WebSocket, but none was asked for";
    Fault::fatal(Code::ProviderLost, "service.bad_answer", reason)
}

fn not_closed() -> Fault {
    let reason = "one side of the WebSocket has ended, and the other did not in time";
    Fault::fatal(Code::Timeout, "websocket.not_closed", reason)
}
