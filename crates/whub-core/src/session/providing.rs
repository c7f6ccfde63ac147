//! The session as a provider: what it registered, and the calls that it owes an outcome.

use std::time::Instant;

use whub_proto::names::Pattern;
use whub_proto::{Body, Cancel, Code, Credit, Flags, Frame, Kind, Register, Response, Unregister};

use crate::fault::Fault;
use crate::hub::Now;
use crate::letter::{Call, CallId, CallKey, Letter};
use crate::mailbox::Mailbox;
use crate::packet::Packet;
use crate::session::client::ClientSession;

impl ClientSession {
    // -------------------------------------------------------------------------------------- registrations

    pub(super) fn handle_register(&mut self, id: u64, register: &Register<'_>) {
        if !self.claim(id) {
            return;
        }
        match self.register(register) {
            Ok(()) => self.agree(id),
            Err(fault) => self.refuse(id, &fault),
        }
    }

    fn register(&mut self, register: &Register<'_>) -> Result<(), Fault> {
        let pattern = Pattern::parse(register.path)
            .map_err(|error| Fault::fatal(error.code(), "register.path", error.to_string()))?;
        let Some(identity) = self.identity() else { return Ok(()) };
        identity.grants.may_provide(&pattern)?;
        if self.is_draining() {
            return Err(Fault::draining());
        }
        if self.services.len() >= self.hub.limits.services {
            let reason = format!("a session may register {} services", self.services.len());
            return Err(Fault::fatal(Code::TooManyRequests, "services.limit", reason));
        }
        self.hub.services.register(&pattern, self.me.clone(), register.max_inflight)?;
        self.services.push(pattern);
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
        self.hub.services.unregister(&pattern, self.me.session());
        self.agree(id);
    }

    /// No new calls; those in flight are finished.
    pub(super) fn leave_services(&mut self) {
        for pattern in std::mem::take(&mut self.services) {
            self.hub.services.unregister(&pattern, self.me.session());
        }
    }

    // ------------------------------------------------------------------------------------ from the callers

    pub(super) fn handle_call(&mut self, now: Now, call: Call) {
        if self.ended() {
            fail(&call.caller, call.id, lost());
            self.hub.counters.calls_provider_lost.one();
            return;
        }
        if call.deadline <= now.at {
            fail(&call.caller, call.id, deadline_exceeded());
            self.hub.counters.calls_deadline.one();
            return;
        }
        let request = call.request.clone();
        let id = self.owed.add(now.at, call);
        self.send(id, request);
    }

    pub(super) fn handle_upload(&mut self, now: Now, call: CallKey, data: Packet) {
        if let Some(id) = self.owed.id(call) {
            self.owed.renew(now.at, id);
            self.send(id, data);
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
        self.owed.settle(id);
        self.hub.counters.calls_cancelled.one();
        self.send_cancel(id, code, "the caller no longer waits");
    }

    pub(super) fn expire_owed(&mut self, now: Instant) {
        while let Some((id, debt)) = self.owed.expire(now) {
            fail(&debt.caller, debt.id, deadline_exceeded());
            self.hub.counters.calls_deadline.one();
            self.send_cancel(id, Code::DeadlineExceeded, "the call's deadline has passed");
        }
    }

    pub(super) fn fail_owed(&mut self) {
        // A provider that is closed because the node stops is not to blame.
        let fault = if self.is_draining() { Fault::draining() } else { lost() };
        for debt in self.owed.settle_all() {
            fail(&debt.caller, debt.id, fault.clone());
            self.hub.counters.calls_provider_lost.one();
        }
    }

    // ------------------------------------------------------------------------------------ from the provider

    pub(super) fn handle_response(&mut self, frame: &Frame<'_>, response: &Response<'_>) {
        let id = frame.head.id;
        match self.owed.get(id) {
            None => self.handle_late(id),
            Some(debt) if debt.answered => self.hub.counters.answers_late.one(),
            Some(debt) => {
                let (caller, caller_id) = (debt.caller.clone(), debt.id);
                self.owed.begin(id);
                self.pass_on(frame, Kind::Response);
                if response.credit != 0 {
                    let _ = caller.post(Letter::Credit { id: caller_id, bytes: response.credit });
                }
            }
        }
    }

    /// `Data` with an id of the hub: a response's body goes on.
    pub(super) fn handle_download(&mut self, frame: &Frame<'_>) {
        match self.owed.get(frame.head.id) {
            None => self.handle_late(frame.head.id),
            Some(debt) if !debt.answered => self.violate("Data of a call before its Response"),
            Some(_) => self.pass_on(frame, Kind::Data),
        }
    }

    /// `Error` as an answer: the service refused, or failed.
    pub(super) fn handle_final(&mut self, frame: &Frame<'_>) {
        let Some(debt) = self.owed.settle(frame.head.id) else {
            self.handle_late(frame.head.id);
            return;
        };
        let packet = Packet::forward(Kind::Error, Flags::NONE, None, frame.envelope, frame.payload);
        self.hub.counters.calls_answered.one();
        let _ = debt.caller.post(Letter::Answer { id: debt.id, packet, last: true });
    }

    pub(super) fn handle_provider_credit(&mut self, id: u64, bytes: u32) {
        let Some(debt) = self.owed.get(id) else { return };
        let _ = debt.caller.post(Letter::Credit { id: debt.id, bytes });
    }

    fn pass_on(&mut self, frame: &Frame<'_>, kind: Kind) {
        let id = frame.head.id;
        let Some(debt) = self.owed.get(id) else { return };
        let bytes = signed(frame.payload);
        // The first frame may be as large as a frame is; what it takes beyond the credit is owed.
        if kind == Kind::Data && bytes > debt.credit {
            self.violate("more response body than the caller gave credit for");
            return;
        }
        debt.credit -= bytes;
        let last = frame.head.flags.contains(Flags::END);
        let packet = Packet::forward(kind, frame.head.flags, None, frame.envelope, frame.payload);
        let posted = debt.caller.post(Letter::Answer { id: debt.id, packet, last });
        if last {
            self.owed.settle(id);
            self.hub.counters.calls_answered.one();
        } else if posted.is_err() {
            // The caller is gone, or a step of the chain has ended the call.
            self.owed.settle(id);
            self.hub.counters.calls_cancelled.one();
            self.send_cancel(id, Code::Cancelled, "nobody waits for this answer any more");
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

fn fail(caller: &Mailbox, id: CallId, fault: Fault) {
    // A caller that is gone needs no outcome.
    let _ = caller.post(Letter::Failed { id, fault });
}

/// The length of a payload, which a frame's limit keeps far below the largest number.
pub(super) fn signed(payload: &[u8]) -> i64 {
    i64::try_from(payload.len()).unwrap_or(i64::MAX)
}

fn lost() -> Fault {
    let reason =
        "the provider's connection ended before its answer was whole; the call may have been carried out";
    Fault::passing(Code::ProviderLost, "service.provider_lost", 1, reason)
}

fn deadline_exceeded() -> Fault {
    let reason = "the service did not answer in time; allow it longer, or ask why it is slow";
    Fault::fatal(Code::DeadlineExceeded, "call.deadline", reason)
}
