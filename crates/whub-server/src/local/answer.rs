//! What a handler answers.

use std::fmt;
use std::pin::Pin;
use std::sync::Arc;

use bytes::Bytes;
use serde_json::Value;
use whub_core::{Fault, Letter, Packet};
use whub_proto::{Body, Data, Flags, Format, Headers, Kind, Response, Via};

use crate::local::call::CallState;

/// The answer of a service of this process.
pub struct LocalAnswer {
    pub(super) head: Result<Head, Fault>,
    pub(super) body: AnswerBody,
}

#[derive(Debug)]
pub(super) struct Head {
    pub(super) status: u16,
    pub(super) format: Format,
    pub(super) headers: Vec<(String, String)>,
}

pub(super) enum AnswerBody {
    Whole(Bytes),
    Stream(Writing),
}

/// A body that is being written.
type Writing = Box<dyn FnOnce(LocalWriter) -> Pin<Box<dyn Future<Output = ()> + Send>> + Send>;

/// The status that accepts a WebSocket.
const ACCEPTED: u16 = 101;

/// Largest piece of a body, bytes: small enough that the caller's other business gets its turn.
const PIECE_BYTES: usize = 64 * 1024;

impl LocalAnswer {
    /// 200 with these bytes.
    #[must_use]
    pub fn bytes(body: impl Into<Bytes>) -> Self {
        Self::of(Format::Bytes, AnswerBody::Whole(body.into()))
    }

    /// 200 with this text.
    #[must_use]
    pub fn text(body: impl Into<String>) -> Self {
        Self::of(Format::Text, AnswerBody::Whole(body.into().into()))
    }

    /// 200 with this value as JSON. Nothing follows it, so that clients of `whub.v1.json` have it as `data`.
    #[must_use]
    pub fn json(value: &impl serde::Serialize) -> Self {
        let Ok(text) = serde_json::to_vec(value) else {
            let reason = "the answer's keys cannot be written as JSON";
            return Fault::fatal(whub_proto::Code::Internal, "local.json", reason).into();
        };
        Self::of(Format::Json, AnswerBody::Whole(text.into()))
    }

    /// 200 with nothing in it.
    #[must_use]
    pub fn empty() -> Self {
        Self::of(Format::Unspecified, AnswerBody::Whole(Bytes::new()))
    }

    /// 200 with a body of any length, which `write` writes as fast as the caller takes it. When the caller leaves,
    /// its future is dropped.
    #[must_use]
    pub fn stream<F, Fut>(write: F) -> Self
    where
        F: FnOnce(LocalWriter) -> Fut + Send + 'static,
        Fut: Future<Output = ()> + Send + 'static,
    {
        Self::of(Format::Bytes, AnswerBody::Stream(Box::new(|writer| Box::pin(write(writer)))))
    }

    /// A WebSocket is accepted; `talk` says what there is to say on it.
    pub(crate) fn accept<F, Fut>(protocol: &str, talk: F) -> Self
    where
        F: FnOnce(LocalWriter) -> Fut + Send + 'static,
        Fut: Future<Output = ()> + Send + 'static,
    {
        let answer = Self::stream(talk).with_status(ACCEPTED).with_format(Format::Unspecified);
        if protocol.is_empty() { answer } else { answer.with_header("sec-websocket-protocol", protocol) }
    }

    /// The same with another status; 200 to 599.
    #[must_use]
    pub fn with_status(mut self, status: u16) -> Self {
        if let Ok(head) = &mut self.head {
            head.status = status;
        }
        self
    }

    /// The same, named as another kind of body.
    #[must_use]
    pub fn with_format(mut self, format: Format) -> Self {
        if let Ok(head) = &mut self.head {
            head.format = format;
        }
        self
    }

    /// The same with one more header.
    #[must_use]
    pub fn with_header(mut self, name: &str, value: impl Into<String>) -> Self {
        if let Ok(head) = &mut self.head {
            head.headers.push((name.to_ascii_lowercase(), value.into()));
        }
        self
    }

    fn of(format: Format, body: AnswerBody) -> Self {
        Self { head: Ok(Head { status: 200, format, headers: Vec::new() }), body }
    }
}

impl Head {
    /// The `Response` frame of a call that was moved so often.
    pub(super) fn packet(&self, moved: u8, payload: &[u8], ends: bool) -> Packet {
        let pairs: Vec<(&str, &str)> =
            self.headers.iter().map(|(name, value)| (name.as_str(), value.as_str())).collect();
        let response = Response {
            status: self.status,
            format: self.format,
            headers: Headers::new(&pairs),
            ..Response::default()
        };
        let is_text =
            matches!(self.format, Format::Text | Format::Json) && std::str::from_utf8(payload).is_ok();
        let flags =
            Flags::NONE.with_if(ends, Flags::END).with_if(is_text && !payload.is_empty(), Flags::TEXT);
        let via = Via { moved, ..Via::default() };
        let via = (moved > 0).then_some(&via);
        Packet::build_with(&Body::Response(response), flags, via, payload)
    }
}

/// Writes the body of an answer. What was not finished when it is dropped ends the call with an error, so that a body
/// is never taken for whole that is not.
#[derive(Debug)]
pub struct LocalWriter {
    pub(super) call: Arc<CallState>,
}

impl LocalWriter {
    /// Sends bytes, as fast as the caller takes them.
    pub async fn write(&mut self, bytes: &[u8]) {
        let mut rest = bytes;
        while !rest.is_empty() {
            let count = self.call.take_credit(rest.len().min(PIECE_BYTES)).await;
            let (piece, after) = rest.split_at(count);
            let packet = Packet::forward(Kind::Data, Flags::NONE, None, &[], piece);
            self.send(packet, false);
            rest = after;
        }
    }

    /// Sends a whole message, as fast as the caller takes it. A text is cut between characters, so that every piece is text.
    pub(crate) async fn say(&mut self, text: bool, message: &[u8]) {
        let mut rest = message;
        loop {
            let wanted = rest.len().min(PIECE_BYTES);
            let mut count = if wanted == 0 { 0 } else { self.call.take_credit(wanted).await };
            if text && count < rest.len() {
                // A character has four bytes at most; its rest is waited for.
                while count > 0 && rest[count] & 0xc0 == 0x80 {
                    count -= 1;
                    self.call.refill(1);
                }
                if count == 0 {
                    tokio::task::yield_now().await;
                    continue;
                }
            }
            let (piece, after) = rest.split_at(count);
            let flags = Flags::NONE.with_if(text, Flags::TEXT).with_if(!after.is_empty(), Flags::MORE);
            self.send(Packet::forward(Kind::Data, flags, None, &[], piece), false);
            rest = after;
            if rest.is_empty() {
                return;
            }
        }
    }

    /// Closes a WebSocket; the code 0 says none.
    pub(crate) fn close(self, close: u16, reason: &str) {
        let data = Data { close, reason, ..Data::default() };
        if self.call.settle().is_some() {
            self.send(Packet::build_with(&Body::Data(data), Flags::END, None, &[]), true);
        }
    }

    /// Ends the body.
    pub fn finish(self) {
        self.finish_with(&[]);
    }

    /// Ends the body with headers after it (trailers); names are lower-case.
    pub fn finish_with(self, trailers: &[(&str, &str)]) {
        let data = Data { headers: Headers::new(trailers), ..Data::default() };
        if self.call.settle().is_some() {
            self.send(Packet::build_with(&Body::Data(data), Flags::END, None, &[]), true);
        }
    }

    fn send(&self, packet: Packet, last: bool) {
        // A caller that is gone has abandoned the call; that letter is on its way.
        let _ = self.call.caller.post(Letter::Answer { id: self.call.id, packet, last });
    }
}

impl From<Fault> for LocalAnswer {
    fn from(fault: Fault) -> Self {
        Self { head: Err(fault), body: AnswerBody::Whole(Bytes::new()) }
    }
}

impl<A: Into<Self>> From<Result<A, Fault>> for LocalAnswer {
    fn from(result: Result<A, Fault>) -> Self {
        result.map_or_else(Self::from, Into::into)
    }
}

impl From<Bytes> for LocalAnswer {
    fn from(body: Bytes) -> Self {
        Self::bytes(body)
    }
}

impl From<String> for LocalAnswer {
    fn from(body: String) -> Self {
        Self::text(body)
    }
}

impl From<&str> for LocalAnswer {
    fn from(body: &str) -> Self {
        Self::text(body)
    }
}

impl From<Value> for LocalAnswer {
    fn from(value: Value) -> Self {
        Self::json(&value)
    }
}

impl fmt::Debug for LocalAnswer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.head {
            Ok(head) => write!(f, "LocalAnswer({})", head.status),
            Err(fault) => write!(f, "LocalAnswer({fault})"),
        }
    }
}
