//! The session as a caller: its calls in flight, the bodies it sends, the outcomes it gets.

use bytes::Bytes;
use whub_proto::names::ServicePath;
use whub_proto::{Code, Flags, Frame, Request};

use crate::call::Place;
use crate::call::{CallId, CallKey};
use crate::fault::Fault;
use crate::hub::Now;
use crate::letter::Letter;
use crate::middleware::Door;
use crate::packet::Packet;
use crate::placing::{Caller, Order, WINDOW};
use crate::session::client::{ClientSession, Live, not_open};
use crate::session::output::Handled;
use crate::session::providing::signed;

/// A call that this session waits for.
#[derive(Debug)]
pub(super) struct PlacedCall {
    id: CallId,
    place: Place,
    /// Of news where it is, the newest that came.
    step: u8,
    /// The body, as far as it came before there was a provider.
    held: Vec<Packet>,
    /// What the caller has granted of the response, beyond the first window.
    refilled: u32,
    /// Nothing follows from the provider, but from the caller: a WebSocket that one side has ended.
    half: bool,
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
        // Providers get paths as they are written properly: with the slash at the beginning, and the host in lower case.
        let proper = (path.as_str() != request.path).then(|| Request { path: path.as_str(), ..*request });
        let order = Order {
            id,
            path: &path,
            request: proper.as_ref().unwrap_or(request),
            envelope: proper.is_none().then_some(frame.envelope),
            door: Door::Protocol,
            payload: frame.payload,
            flags: frame.head.flags,
            timeout_ms: request.timeout_ms,
            credit: request.credit,
        };
        let placed = self.hub.place_call(now, caller, &order)?;
        let upload =
            (!frame.head.flags.contains(Flags::END)).then(|| i64::from(WINDOW) - signed(frame.payload));
        let place = placed.place;
        Ok(PlacedCall { id, place, step: 0, held: Vec::new(), refilled: 0, half: false, upload })
    }

    /// `Data` with an id of the client: a request's body goes on, or a message of a pair or room.
    pub(super) fn handle_data<'a>(
        &'a mut self,
        now: Now,
        frame: &Frame<'a>,
        memory: Option<&Bytes>,
    ) -> Handled<'a> {
        match self.live.get_mut(&frame.head.id) {
            Some(Live::Pair(_)) => return self.handle_member_data(frame),
            Some(Live::Room(_)) => self.handle_room_data(now, frame),
            Some(Live::Call(call)) => match call.take_upload(frame) {
                Ok(()) => self.upload(frame, memory),
                Err(violation) => self.violate(violation),
            },
            Some(Live::Subscription(_)) => self.violate("Data names a subscription"),
            // The call may just have ended, the pair been left: what was on its way is dropped.
            None => {}
        }
        Handled::Done
    }

    fn upload(&mut self, frame: &Frame<'_>, memory: Option<&Bytes>) {
        let id = frame.head.id;
        let Some(Live::Call(call)) = self.live.get_mut(&id) else { return };
        let data = Packet::data(frame, memory);
        match &call.place {
            // A provider that is gone answers for itself: its session fails the call. One that is slow is not waited
            // for here, because that would hold up everything else of this caller; credit bounds what waits for it.
            Place::At(provider) => {
                let call = CallKey { caller: self.me.session(), id: call.id };
                let _ = provider.post(Letter::Upload { call, data });
            }
            Place::Waiting(_) => {
                self.held_bytes += data.len();
                call.held.push(data);
            }
        }
        if call_is_over(self.live.get(&id)) {
            self.forget(id);
        } else if self.held_bytes > HELD_BYTES_MAX {
            self.give_up(id);
        }
    }

    /// Too much waits here for providers: the call that brought it there goes.
    fn give_up(&mut self, id: u64) {
        let Some(call) = self.forget(id) else { return };
        self.abandon(&call);
        let reason = "too much of request bodies waits on this session for free providers; send less at once";
        self.refuse(id, &Fault::passing(Code::Unavailable, "service.overloaded", 500, reason));
    }

    /// The call waited for a provider, or was moved: it is there now.
    pub(super) fn handle_placed(&mut self, id: CallId, place: Place, step: u8) {
        let key = self.key(id);
        let Some(call) = self.waiting(id) else {
            self.hub.abandon(&place, key, Code::Cancelled);
            return;
        };
        if step <= call.step {
            return;
        }
        call.step = step;
        let held = std::mem::take(&mut call.held);
        let refilled = call.refilled;
        if let Place::At(provider) = &place {
            if refilled > 0 {
                let _ = provider.post(Letter::Refill { call: key, bytes: refilled });
            }
            for data in &held {
                let _ = provider.post(Letter::Upload { call: key, data: data.clone() });
            }
        }
        call.place = place;
        self.held_bytes -= held.iter().map(Packet::len).sum::<usize>();
    }

    pub(super) fn handle_cancel(&mut self, id: u64) {
        match self.live.get(&id) {
            Some(Live::Call(_)) => {
                let Some(call) = self.forget(id) else { return };
                self.abandon(&call);
                let fault = Fault::fatal(Code::Cancelled, "call.cancelled", "the caller cancelled the call");
                self.refuse(id, &fault);
            }
            Some(Live::Subscription(_) | Live::Pair(_) | Live::Room(_)) => {
                self.violate("Cancel is for calls")
            }
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
        if let Some(Live::Pair(membership)) = self.live.get(&id) {
            return membership.handle_credit(bytes);
        }
        let Some(Live::Call(call)) = self.live.get_mut(&id) else { return };
        call.refilled = call.refilled.saturating_add(bytes);
        if let Place::At(provider) = &call.place {
            let key = CallKey { caller: self.me.session(), id: call.id };
            let _ = provider.post(Letter::Refill { call: key, bytes });
        }
    }

    pub(super) fn handle_answer(&mut self, id: CallId, packet: Packet, last: bool) {
        let Some(call) = self.waiting(id) else { return };
        call.half |= !last && packet.head(0).flags.contains(Flags::END);
        if last || call.is_over() {
            self.forget(id.id);
        }
        self.send(id.id, packet);
    }

    pub(super) fn handle_failed(&mut self, id: CallId, fault: &Fault) {
        if self.waiting(id).is_none() {
            return;
        }
        self.forget(id.id);
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
            Some(Live::Call(_) | Live::Subscription(_) | Live::Pair(_) | Live::Room(_)) | None => None,
        }
    }

    pub(super) fn abandon(&self, call: &PlacedCall) {
        self.hub.abandon(&call.place, self.key(call.id), Code::Cancelled);
    }

    /// The id is free again.
    fn forget(&mut self, id: u64) -> Option<Box<PlacedCall>> {
        match self.live.remove(&id)? {
            Live::Call(call) => {
                self.calls -= 1;
                self.held_bytes -= call.held.iter().map(Packet::len).sum::<usize>();
                Some(call)
            }
            other @ (Live::Subscription(_) | Live::Pair(_) | Live::Room(_)) => {
                self.live.insert(id, other);
                None
            }
        }
    }

    fn key(&self, id: CallId) -> CallKey {
        CallKey { caller: self.me.session(), id }
    }
}

/// Bytes of request bodies that may wait on one session for free providers: 4 MiB.
const HELD_BYTES_MAX: usize = 4 << 20;

fn call_is_over(live: Option<&Live>) -> bool {
    matches!(live, Some(Live::Call(call)) if call.is_over())
}

impl PlacedCall {
    /// Both sides have ended.
    fn is_over(&self) -> bool {
        self.half && self.upload.is_none()
    }

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
