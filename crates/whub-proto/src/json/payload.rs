//! The payload of a JSON frame: `data`, `text` or `b64`.

use base64::{Engine, engine::general_purpose::STANDARD};
use serde_json::value::RawValue;

use super::{Members, Object, Problem, object::put};
use crate::{Body, Flags, Format, Frame};

/// Writes the payload in the most readable way that keeps every byte.
pub(super) fn write(object: &mut Object<'_>, frame: &Frame<'_>) {
    let flags = frame.head.flags;
    if flags.contains(Flags::COMPRESSED) {
        return write_b64(object, frame.payload);
    }
    let format = format(&frame.body).unwrap_or_default();
    if let Ok(text) = std::str::from_utf8(frame.payload) {
        if format == Format::Json && is_json(text) {
            object.member("data").extend_from_slice(text.as_bytes());
            return;
        }
        if flags.contains(Flags::TEXT) || (format == Format::Text && !text.is_empty()) {
            return put(object.member("text"), text);
        }
    }
    write_b64(object, frame.payload);
}

fn write_b64(object: &mut Object<'_>, payload: &[u8]) {
    if !payload.is_empty() {
        put(object.member("b64"), &STANDARD.encode(payload));
    }
}

/// Whether the text is one JSON value without anything around it that `data` would lose.
fn is_json(text: &str) -> bool {
    serde_json::from_str::<&RawValue>(text).is_ok_and(|value| value.get().len() == text.len())
}

/// A payload that was read, and what it means for the head and the body.
pub(super) struct Payload<'a> {
    pub(super) bytes: Bytes<'a>,
    pub(super) flags: Flags,
}

pub(super) enum Bytes<'a> {
    Slice(&'a [u8]),
    Decoded(Vec<u8>),
}

impl Bytes<'_> {
    pub(super) fn as_slice(&self) -> &[u8] {
        match self {
            Self::Slice(slice) => slice,
            Self::Decoded(vec) => vec,
        }
    }
}

/// Reads the payload. `data` says that it is JSON, in the body where there is a format, else by the text flag.
pub(super) fn read<'a>(members: &Members<'a>, body: &mut Body<'a>) -> Result<Payload<'a>, Problem> {
    let data = members.raw("data")?;
    let text = members.optional::<&str>("text")?;
    let b64 = members.optional::<&str>("b64")?;
    if usize::from(data.is_some()) + usize::from(text.is_some()) + usize::from(b64.is_some()) > 1 {
        return Err(Problem::new("give only one of `data`, `text` and `b64`").within("data"));
    }
    if let Some(data) = data {
        let flags = mark_json(body)?;
        return Ok(Payload { bytes: Bytes::Slice(data.get().as_bytes()), flags });
    }
    if let Some(text) = text {
        return Ok(Payload { bytes: Bytes::Slice(text.as_bytes()), flags: Flags::TEXT });
    }
    let decoded = STANDARD
        .decode(b64.unwrap_or_default())
        .map_err(|_| Problem::new("expected padded base64").within("b64"))?;
    Ok(Payload { bytes: Bytes::Decoded(decoded), flags: Flags::NONE })
}

/// Marks the payload as JSON and returns the flags that this takes.
fn mark_json(body: &mut Body<'_>) -> Result<Flags, Problem> {
    let Some(format) = format_mut(body) else { return Ok(Flags::TEXT) };
    if !matches!(format, Format::Unspecified | Format::Json) {
        return Err(Problem::new("needs format \"json\", or none").within("data"));
    }
    *format = Format::Json;
    Ok(Flags::NONE)
}

fn format(body: &Body<'_>) -> Option<Format> {
    format_mut(&mut { *body }).copied()
}

fn format_mut<'b>(body: &'b mut Body<'_>) -> Option<&'b mut Format> {
    match body {
        Body::Request(request) => Some(&mut request.format),
        Body::Response(response) => Some(&mut response.format),
        Body::Publish(publish) | Body::Message(publish) => Some(&mut publish.format),
        Body::None
        | Body::Hello(_)
        | Body::Welcome(_)
        | Body::Auth(_)
        | Body::Ok(_)
        | Body::Error(_)
        | Body::Ping
        | Body::Pong
        | Body::Drain(_)
        | Body::Register(_)
        | Body::Unregister(_)
        | Body::Data(_)
        | Body::Cancel(_)
        | Body::Credit(_)
        | Body::Subscribe(_)
        | Body::Unsubscribe(_)
        | Body::History(_)
        | Body::Gap(_)
        | Body::Join(_)
        | Body::Leave(_)
        | Body::RoomEvent(_)
        | Body::RoomCommand(_)
        | Body::NodeHello(_)
        | Body::NodeWelcome(_)
        | Body::NodePeers(_)
        | Body::NodeRoutes(_)
        | Body::NodeForward(_)
        | Body::Unknown(_) => None,
    }
}
