//! The session as a caller: its calls in flight, the bodies it sends, the outcomes it gets.

use whub_proto::names::ServicePath;
use whub_proto::{Code, Flags, Frame, Kind, Request};

use crate::calls::{Caller, Order, WINDOW};
use crate::fault::Fault;
use crate::hub::Now;
use crate::letter::{CallId, CallKey, Letter};
use crate::mailbox::Mailbox;
use crate::middleware::Door;
use crate::packet::Packet;
use crate::session::client::{ClientSession, Handled, Live};
use crate::session::providing::signed;

/// A call that this session waits for.
#[derive(Debug)]
pub(super) struct PlacedCall {
    id: CallId,
    provider: Mailbox,
    /// Bytes of request body that the provider accepts, negative after a large first frame; `None` once the body
    /// has ended.
    upload: Option<i64>,
}

impl ClientSession {
    pub(super) fn handle_request(&mut self, now: Now, frame: &Frame<'_>, request: &Request<'_>) {
        let id = frame.head.id;
        if !self.claim(id) {
            return;
        }
        match self.place(now, frame, request) {
            Ok(call) => {
                self.calls += 1;
                self.live.insert(id, Live::Call(Box::new(call)));
            }
            Err(fault) => self.refuse(id, &fault),
        }
    }

    fn place(&mut self, now: Now, frame: &Frame<'_>, request: &Request<'_>) -> Result<PlacedCall, Fault> {
        let path = ServicePath::parse(request.path)
            .map_err(|error| Fault::fatal(error.code(), "request.path", error.to_string()))?;
        let Some(identity) = self.identity() else { return Err(not_open()) };
        identity.grants.may_call(&path)?;
        if self.is_draining() {
            return Err(Fault::draining());
        }
        if self.calls >= self.hub.limits.calls {
            let reason = format!("{} calls are in flight on this session; wait for some to end", self.calls);
            return Err(Fault::passing(Code::TooManyRequests, "calls.inflight", 100, reason));
        }
        self.placed += 1;
        let id = CallId { id: frame.head.id, serial: self.placed };
        let Some(identity) = self.identity() else { return Err(not_open()) };
        let caller = Caller {
            mailbox: &self.me,
            client: &self.peer.client,
            user: identity.user.as_deref().unwrap_or_default(),
            peer: &self.peer.address,
        };
        let order = Order {
            id,
            path: &path,
            request,
            envelope: Some(frame.envelope),
            door: Door::Protocol,
            payload: frame.payload,
            flags: frame.head.flags,
            timeout_ms: request.timeout_ms,
            credit: request.credit,
        };
        let placed = self.hub.place_call(now, caller, &order)?;
        let upload =
            (!frame.head.flags.contains(Flags::END)).then(|| i64::from(WINDOW) - signed(frame.payload));
        Ok(PlacedCall { id, provider: placed.provider, upload })
    }

    /// `Data` with an id of the client: a request's body goes on, or a message of a pair.
    pub(super) fn handle_data<'a>(&'a mut self, frame: &Frame<'a>) -> Handled<'a> {
        match self.live.get_mut(&frame.head.id) {
            Some(Live::Pair(_)) => return self.handle_member_data(frame),
            Some(Live::Call(call)) => match call.take_upload(frame) {
                Ok(()) => self.upload(frame),
                Err(violation) => self.violate(violation),
            },
            Some(Live::Subscription(_)) => self.violate("Data names a subscription"),
            // The call may just have ended, the pair been left: what was on its way is dropped.
            None => {}
        }
        Handled::Done
    }

    fn upload(&mut self, frame: &Frame<'_>) {
        let Some(Live::Call(call)) = self.live.get(&frame.head.id) else { return };
        let data = Packet::forward(Kind::Data, frame.head.flags, None, frame.envelope, frame.payload);
        let letter = Letter::Upload { call: self.key(call.id), data };
        // A provider that is gone answers for itself: its session fails the call. One that is slow is not waited for
        // here, because that would hold up everything else of this caller; credit bounds what waits for it.
        let _ = call.provider.post(letter);
    }

    pub(super) fn handle_cancel(&mut self, id: u64) {
        match self.live.get(&id) {
            Some(Live::Call(_)) => {
                let Some(Live::Call(call)) = self.live.remove(&id) else { return };
                self.calls -= 1;
                self.abandon(&call);
                let fault = Fault::fatal(Code::Cancelled, "call.cancelled", "the caller cancelled the call");
                self.refuse(id, &fault);
            }
            Some(Live::Subscription(_) | Live::Pair(_)) => self.violate("Cancel is for calls"),
            // The outcome was on its way already.
            None => {}
        }
    }

    /// `Credit` of the client: as a caller for a response, as a provider for a request.
    pub(super) fn handle_credit(&mut self, id: u64, bytes: u32) {
        if id.is_multiple_of(2) {
            self.handle_provider_credit(id, bytes);
            return;
        }
        let Some(Live::Call(call)) = self.live.get(&id) else { return };
        let _ = call.provider.post(Letter::Refill { call: self.key(call.id), bytes });
    }

    pub(super) fn handle_answer(&mut self, id: CallId, packet: Packet, last: bool) {
        if self.waiting(id).is_none() {
            return;
        }
        if last {
            self.live.remove(&id.id);
            self.calls -= 1;
        }
        self.send(id.id, packet);
    }

    pub(super) fn handle_failed(&mut self, id: CallId, fault: &Fault) {
        if self.waiting(id).is_none() {
            return;
        }
        self.live.remove(&id.id);
        self.calls -= 1;
        self.refuse(id.id, fault);
    }

    pub(super) fn handle_upload_credit(&mut self, id: CallId, bytes: u32) {
        let Some(PlacedCall { upload: Some(upload), .. }) = self.waiting(id) else { return };
        *upload = upload.saturating_add(bytes.into());
        let credit = whub_proto::Credit { bytes };
        self.send(id.id, Packet::build(&whub_proto::Body::Credit(credit)));
    }

    /// The call, if it is this one that the id names now.
    fn waiting(&mut self, id: CallId) -> Option<&mut PlacedCall> {
        match self.live.get_mut(&id.id) {
            Some(Live::Call(call)) if call.id == id => Some(call),
            Some(Live::Call(_) | Live::Subscription(_) | Live::Pair(_)) | None => None,
        }
    }

    pub(super) fn abandon(&self, call: &PlacedCall) {
        let letter = Letter::Abandon { call: self.key(call.id), code: Code::Cancelled };
        // A provider that is gone needs no telling.
        let _ = call.provider.post(letter);
    }

    fn key(&self, id: CallId) -> CallKey {
        CallKey { caller: self.me.session(), id }
    }
}

impl PlacedCall {
    fn take_upload(&mut self, frame: &Frame<'_>) -> Result<(), &'static str> {
        let Some(credit) = self.upload else { return Err("Data after the last frame of this request") };
        let bytes = signed(frame.payload);
        if bytes > credit {
            return Err("more request body than the provider gave credit for");
        }
        self.upload = (!frame.head.flags.contains(Flags::END)).then_some(credit - bytes);
        Ok(())
    }
}

pub(super) fn not_open() -> Fault {
    Fault::fatal(Code::ProtocolError, "session.ended", "the session has ended")
}
