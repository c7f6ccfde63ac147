//! One call as it is remembered.

use std::time::Duration;

use bytes::Bytes;
use serde_json::{Map, Value, json};
use whub_core::Now;
use whub_core::middleware::{AnswerHead, Asked, CallRecord, Door, Outcome};

use super::Redactor;
use super::redact;

/// What a call costs beside its texts and its body, bytes.
const FRAME_BYTES: usize = 512;

/// Header pairs as they came.
pub(crate) type Pairs = Box<[(Box<str>, Box<str>)]>;

/// A call that was asked, and what became of it.
#[derive(Debug, Clone, Default)]
pub(crate) struct Recorded {
    /// Counts the calls of the node.
    pub(crate) number: u64,
    /// When it was asked, milliseconds since 1970.
    pub(crate) time_ms: u64,
    pub(crate) door: Door,
    pub(crate) method: Box<str>,
    pub(crate) path: Box<str>,
    pub(crate) query: Box<str>,
    pub(crate) scheme: Box<str>,
    pub(crate) authority: Box<str>,
    pub(crate) format: whub_proto::Format,
    /// The pattern of the service.
    pub(crate) service: Option<Box<str>>,
    pub(crate) client: Box<str>,
    pub(crate) user: Box<str>,
    pub(crate) peer: Box<str>,
    /// As the provider got them.
    pub(crate) headers: Pairs,
    /// The whole body, if it was short enough to be kept.
    pub(crate) body: Option<Bytes>,
    /// Headers were seen, not only the end.
    is_seen: bool,
    answer: Option<Answer>,
    end: Option<Outcome>,
}

#[derive(Debug, Clone)]
struct Answer {
    status: u16,
    headers: Pairs,
}

impl Recorded {
    /// A call that is about to be made.
    pub(crate) fn of(now: Now, asked: &Asked<'_>, body_bytes_max: usize) -> Self {
        let request = asked.request;
        let is_kept = asked.is_whole && asked.payload.len() <= body_bytes_max;
        Self {
            number: asked.number,
            time_ms: now.unix_ms,
            door: asked.door,
            method: request.method.into(),
            path: asked.path.as_str().into(),
            query: request.query.into(),
            scheme: request.scheme.into(),
            authority: request.authority.into(),
            format: request.format,
            service: asked.pattern().map(Into::into),
            client: asked.caller.client.into(),
            user: asked.caller.user.into(),
            peer: asked.caller.peer.into(),
            headers: pairs(asked.headers.iter()),
            body: is_kept.then(|| Bytes::copy_from_slice(asked.payload)),
            is_seen: true,
            answer: None,
            end: None,
        }
    }

    /// A call that another step of the chain turned away.
    pub(crate) fn refused(record: &CallRecord, outcome: &Outcome) -> Self {
        Self {
            number: record.number,
            time_ms: record.began.unix_ms,
            door: record.door,
            method: record.method.clone(),
            path: record.path.clone(),
            service: record.service.as_ref().map(|service| service.as_str().into()),
            client: record.client.clone(),
            user: record.user.clone(),
            peer: record.peer.clone(),
            end: Some(outcome.clone()),
            ..Self::default()
        }
    }

    pub(crate) fn answered(&mut self, answer: &AnswerHead<'_>) {
        self.answer = Some(Answer { status: answer.status, headers: pairs(answer.headers.iter()) });
    }

    pub(crate) fn end(&mut self, outcome: &Outcome) {
        self.end = Some(outcome.clone());
    }

    /// Whether it can be made again as it was.
    pub(crate) fn is_replayable(&self) -> bool {
        self.is_seen && self.body.is_some() && &*self.method != "WEBSOCKET"
    }

    /// Bytes that it holds.
    pub(crate) fn weight(&self) -> usize {
        let texts = [&self.method, &self.path, &self.query, &self.scheme, &self.authority]
            .into_iter()
            .chain([&self.client, &self.user, &self.peer])
            .map(|text| text.len());
        let headers = self.headers.iter().chain(self.answer.iter().flat_map(|answer| &answer.headers));
        FRAME_BYTES
            + texts.sum::<usize>()
            + headers.map(|(name, value)| name.len() + value.len() + 32).sum::<usize>()
            + self.body.as_ref().map_or(0, Bytes::len)
    }

    /// As it is shown; with its headers or in brief.
    pub(crate) fn show(&self, redactor: &Redactor, whole: bool) -> Value {
        let mut shown = Map::new();
        let mut put = |name: &str, value: Value| {
            if !matches!(&value, Value::Null) && value != "" {
                shown.insert(name.to_owned(), value);
            }
        };
        put("id", self.number.into());
        put("time_ms", self.time_ms.into());
        put("door", door(self.door).into());
        put("method", (*self.method).into());
        put("path", (*self.path).into());
        put("query", redact::query(&self.query).into());
        put("service", self.service.as_deref().into());
        put("client", (*self.client).into());
        put("user", (*self.user).into());
        put("peer", (*self.peer).into());
        put("open", if self.end.is_none() { true.into() } else { Value::Null });
        put("status", self.status().into());
        if let Some(end) = &self.end {
            put("error", (*end.slug).into());
            put("refused", if end.refused { true.into() } else { Value::Null });
            put("provider", end.provider.as_deref().into());
            put("moved", if end.moved > 0 { end.moved.into() } else { Value::Null });
            put("queued_ms", end.taken.map(ms).into());
            put("first_ms", end.first.map(ms).into());
            put("duration_ms", ms(end.duration).into());
            put("bytes_up", end.bytes_up.into());
            put("bytes_down", end.bytes_down.into());
        }
        put("replayable", self.is_replayable().into());
        if whole {
            let request = json!({
                "scheme": self.scheme,
                "authority": self.authority,
                "headers": redactor.headers(&self.headers),
                "body_kept": self.body.as_ref().map(Bytes::len),
            });
            put("request", request);
            let response = self.answer.as_ref().map(
                |answer| json!({ "status": answer.status, "headers": redactor.headers(&answer.headers) }),
            );
            put("response", response.into());
        }
        Value::Object(shown)
    }

    fn status(&self) -> Option<u16> {
        self.end.as_ref().map(|end| end.status).or_else(|| self.answer.as_ref().map(|answer| answer.status))
    }
}

fn pairs<'a>(headers: impl Iterator<Item = (&'a str, &'a str)>) -> Pairs {
    headers.map(|(name, value)| (name.into(), value.into())).collect()
}

fn door(door: Door) -> &'static str {
    match door {
        Door::Protocol => "protocol",
        Door::Http => "http",
        Door::Local => "local",
    }
}

/// Milliseconds to the microsecond.
fn ms(duration: Duration) -> f64 {
    (duration.as_secs_f64() * 1e6).round() / 1e3
}
