//! The session as a caller: requests that were sent, and the answers to them.

use std::time::Instant;

use bytes::Bytes;
use whub_proto::{Body, Cancel, Code, Credit, Data, Flags, Frame, Headers, Request, Response};

use super::{Live, Session};
use crate::body::Piece;
use crate::command::{Order, ResponseHead};
use crate::credit::{Allowance, WINDOW_BYTES};
use crate::error::Error;
use crate::key::Key;
use crate::progress::Progress;
use crate::session::sockets::Ends;
use crate::socket::ACCEPTED;
use crate::wanted::{Waiting, Wanted};

/// A call on this connection.
pub(super) struct Calling {
    order: Box<Order>,
    allowance: Allowance,
    /// The service has accepted a WebSocket.
    pub(super) socket: Option<Ends>,
}

impl Calling {
    /// The connection was lost: the call fails, or waits to be sent again if it is safe and nothing was answered.
    pub(super) fn lose(mut self, error: &Error, wanted: &mut Wanted) {
        let again = !self.order.idempotency.is_empty() && self.order.ended && !self.order.is_abandoned();
        if again {
            wanted.backlog.push(Waiting::Call(self.order));
        } else {
            self.order.fail(error.clone());
        }
    }
}

impl Session {
    /// Sends a request.
    pub(crate) fn call(&mut self, now: Instant, mut order: Box<Order>) {
        if order.is_abandoned() {
            return;
        }
        let Some(left) = order.deadline.checked_duration_since(now).filter(|left| !left.is_zero()) else {
            return order.fail(Error::timeout("the deadline passed before there was a connection"));
        };
        let id = self.next_id();
        if let Err(error) =
            self.send_request(id, &order, u32::try_from(left.as_millis().max(1)).unwrap_or(u32::MAX))
        {
            return order.fail(error);
        }
        // The first frame holds at most a quarter of the window.
        order.upload.add(WINDOW_BYTES.saturating_sub(u32::try_from(order.payload.len()).unwrap_or(u32::MAX)));
        self.ids.insert(order.key, id);
        let calling = Calling { order, allowance: Allowance::default(), socket: None };
        self.live.insert(id, Live::Call(Box::new(calling)));
    }

    fn send_request(&mut self, id: u64, order: &Order, timeout_ms: u32) -> Result<(), Error> {
        let pairs = order.headers.pairs();
        let request = Body::Request(Request {
            path: &order.path,
            query: &order.query,
            method: &order.method,
            timeout_ms,
            format: order.format,
            headers: Headers::new(&pairs),
            key: &order.affinity,
            idempotency: &order.idempotency,
            ..Request::default()
        });
        let text = Flags::NONE.with_if(order.text, Flags::TEXT);
        let ended = text.with_if(order.ended, Flags::END);
        let whole = self.outbox.push_with(id, ended, &request, &order.payload, self.frame_bytes_max);
        if whole.is_ok() {
            return Ok(());
        }
        // The hub takes only smaller frames: the body follows by itself.
        let head = self.outbox.push_with(id, text, &request, &[], self.frame_bytes_max);
        head.map_err(|error| Error::too_large(format!("the request cannot be sent: {error}")))?;
        let last = Flags::NONE.with_if(order.ended, Flags::END);
        self.outbox.push_split(id, last, Flags::NONE, &order.payload, self.frame_bytes_max);
        Ok(())
    }

    /// More of a request's body, or of the body of an answer.
    pub(crate) fn send_data(&mut self, key: Key, payload: &Bytes, ended: bool) {
        // A call that has ended needs no more body.
        let Some(&id) = self.ids.get(&key) else { return };
        let last = Flags::NONE.with_if(ended, Flags::END);
        self.outbox.push_split(id, last, Flags::NONE, payload, self.frame_bytes_max);
        if ended && id % 2 == 0 {
            self.end_serving(id);
        }
    }

    /// Nobody waits for this call any more.
    pub(crate) fn cancel(&mut self, key: Key) {
        let Some(id) = self.ids.remove(&key) else { return };
        if let Some(Live::Call(calling)) = self.live.remove(&id) {
            calling.order.upload.close();
            if calling.socket.is_some_and(|ends| ends.is_theirs()) {
                return self.outbox.push_data(id, Flags::END, &[]);
            }
            self.outbox.push(id, Flags::NONE, &Body::Cancel(Cancel::default()));
        }
    }

    /// So many bytes of an answer, or of a request to us, were taken.
    pub(crate) fn grant(&mut self, key: Key, bytes: u32) {
        let Some(&id) = self.ids.get(&key) else { return };
        match self.live.get_mut(&id) {
            Some(Live::Call(calling)) => calling.allowance.grant(bytes),
            Some(_) => return,
            None => match self.served.get_mut(&id) {
                Some(serving) => serving.allowance.grant(bytes),
                None => return,
            },
        }
        self.outbox.push(id, Flags::NONE, &Body::Credit(Credit { bytes }));
    }

    pub(super) fn handle_response(
        &mut self,
        frame: &Frame<'_>,
        response: &Response<'_>,
        payload: Bytes,
    ) -> Result<(), Error> {
        let (id, flags) = (frame.head.id, frame.head.flags);
        // A call that was cancelled meanwhile.
        let Some(Live::Call(calling)) = self.live.get_mut(&id) else { return Ok(()) };
        if matches!(response.status, 100 | 102..=199) && calling.order.head.is_some() {
            let (status, headers) = (response.status, response.headers);
            calling.order.progress.tell(|| Progress { status, headers: headers.into(), payload });
            return Ok(());
        }
        let Some(head) = calling.order.head.take() else {
            return Err(Error::protocol("the hub answered a call twice"));
        };
        if calling.order.socket && response.status == ACCEPTED {
            calling.socket = Some(Ends::default());
        }
        let answer = ResponseHead {
            status: response.status,
            format: response.format,
            headers: response.headers.into(),
            moved: frame.via.map_or(0, |via| via.moved),
        };
        // A caller that is gone has let go of the call; its release is on its way.
        let _ = head.send(Ok(answer));
        if !payload.is_empty() || flags.contains(Flags::END) {
            self.take_answer(id, flags, &Data::default(), payload);
        }
        Ok(())
    }

    /// More of an answer.
    pub(super) fn handle_answer(
        &mut self,
        id: u64,
        flags: Flags,
        data: &Data<'_>,
        payload: Bytes,
    ) -> Result<(), Error> {
        let Some(Live::Call(calling)) = self.live.get(&id) else { return Ok(()) };
        if calling.order.head.is_some() {
            return Err(Error::protocol("the hub sent the body of an answer before its head"));
        }
        self.take_answer(id, flags, data, payload);
        Ok(())
    }

    fn take_answer(&mut self, id: u64, flags: Flags, data: &Data<'_>, payload: Bytes) {
        let Some(Live::Call(calling)) = self.live.get_mut(&id) else { return };
        if !calling.allowance.receive(payload.len()) {
            return self.abort(id, Error::protocol("the answer came faster than it was taken"));
        }
        if let Some(ends) = &mut calling.socket {
            ends.hear(&calling.order.pieces, &calling.order.upload, flags, data, payload);
            if ends.are_both() {
                self.end_call(id);
            }
            return;
        }
        if !payload.is_empty() {
            let _ = calling.order.pieces.send(Piece::Chunk(payload));
        }
        if flags.contains(Flags::END) {
            let _ = calling.order.pieces.send(Piece::End(data.headers.into()));
            self.end_call(id);
        }
    }

    fn abort(&mut self, id: u64, error: Error) {
        let Some(Live::Call(mut calling)) = self.live.remove(&id) else { return };
        self.ids.remove(&calling.order.key);
        calling.order.fail(error);
        let cancel = Cancel { code: Code::ProtocolError, ..Cancel::default() };
        self.outbox.push(id, Flags::NONE, &Body::Cancel(cancel));
    }

    pub(super) fn end_call(&mut self, id: u64) {
        let Some(Live::Call(calling)) = self.live.remove(&id) else { return };
        self.ids.remove(&calling.order.key);
        calling.order.upload.close();
    }

    pub(super) fn fail_call(&mut self, mut calling: Calling, error: Error) {
        self.ids.remove(&calling.order.key);
        calling.order.fail(error);
    }

    pub(super) fn handle_credit(&mut self, id: u64, bytes: u32) {
        match (self.live.get(&id), self.served.get(&id)) {
            (Some(Live::Call(calling)), _) => calling.order.upload.add(bytes),
            (None, Some(serving)) => serving.download.add(bytes),
            // Of something that has just ended.
            (Some(_) | None, _) => {}
        }
    }
}
