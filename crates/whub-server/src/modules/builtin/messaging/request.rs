//! A message as its sender writes it.
//!
//! Either the body is the message and the recipients stand in the header `X-To` or in the query (`?to=ops,@night`), or
//! the body is JSON: `{"to": "ops", "text": "…"}` with `data` (JSON) or `b64` in place of `text`.

use std::collections::BTreeMap;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use bytes::Bytes;
use serde::Deserialize;
use serde_json::Value;
use whub_core::Fault;
use whub_proto::{Code, Format};

use crate::local::LocalRequest;

/// Addresses of one message at most.
const RECIPIENTS_MAX: usize = 1024;

/// A message to clients.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct ClientMessage {
    /// What it says.
    pub payload: Bytes,
    /// What that is.
    pub format: Format,
    /// The payload is text.
    pub is_text: bool,
    /// Names are lower-case.
    pub headers: Vec<(String, String)>,
}

impl ClientMessage {
    /// A text.
    #[must_use]
    pub fn text(text: impl Into<String>) -> Self {
        Self { payload: text.into().into(), format: Format::Text, is_text: true, headers: Vec::new() }
    }

    /// A value in JSON.
    #[must_use]
    pub fn json(value: &Value) -> Self {
        Self { payload: value.to_string().into(), format: Format::Json, is_text: true, headers: Vec::new() }
    }

    /// Bytes.
    #[must_use]
    pub fn bytes(bytes: impl Into<Bytes>) -> Self {
        Self { payload: bytes.into(), format: Format::Bytes, is_text: false, headers: Vec::new() }
    }
}

/// The addresses that a message is for.
pub(super) struct Recipients(pub(super) Vec<String>);

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Written {
    #[serde(default)]
    to: Option<To>,
    text: Option<String>,
    data: Option<Value>,
    b64: Option<String>,
    #[serde(default)]
    headers: BTreeMap<String, String>,
}

#[derive(Deserialize)]
#[serde(untagged)]
enum To {
    One(String),
    Many(Vec<String>),
}

/// Reads the recipients and the message.
pub(super) async fn read(
    request: &mut LocalRequest,
    bytes_max: usize,
) -> Result<(Recipients, ClientMessage), Fault> {
    let named = request.header("x-to").map(str::to_owned).or_else(|| request.query_value("to"));
    if let Some(named) = named {
        let to = named.split(',').map(str::trim).filter(|to| !to.is_empty()).map(str::to_owned);
        return Ok((recipients(to.collect())?, whole(request, bytes_max).await?));
    }
    // In base64 and escapes a message is longer.
    let mut written: Written = request.json(bytes_max.saturating_mul(2)).await?;
    let to = match written.to.take() {
        Some(To::One(one)) => vec![one],
        Some(To::Many(many)) => many,
        None => Vec::new(),
    };
    Ok((recipients(to)?, message(written, bytes_max)?))
}

/// Reads a message to everybody: JSON of the form above, or any other body as it is.
pub(super) async fn read_broadcast(
    request: &mut LocalRequest,
    bytes_max: usize,
) -> Result<ClientMessage, Fault> {
    let is_written = request.format == Format::Json && request.query_value("raw").is_none();
    if !is_written {
        return whole(request, bytes_max).await;
    }
    let written: Written = request.json(bytes_max.saturating_mul(2)).await?;
    if written.to.is_some() {
        return Err(bad("a broadcast is for everybody: leave out `to`, or use /message/send"));
    }
    message(written, bytes_max)
}

async fn whole(request: &mut LocalRequest, bytes_max: usize) -> Result<ClientMessage, Fault> {
    let payload = request.bytes(bytes_max).await?;
    let may_be_text = matches!(request.format, Format::Unspecified | Format::Text | Format::Json);
    let is_text = request.is_text || (may_be_text && std::str::from_utf8(&payload).is_ok());
    let media = request.header("content-type").filter(|_| request.format == Format::Unspecified);
    let headers = media.map(|media| ("content-type".to_owned(), media.to_owned()));
    Ok(ClientMessage { payload, format: request.format, is_text, headers: headers.into_iter().collect() })
}

fn message(written: Written, bytes_max: usize) -> Result<ClientMessage, Fault> {
    let mut message = match (written.text, written.data, written.b64) {
        (Some(text), None, None) => ClientMessage::text(text),
        (None, Some(data), None) => ClientMessage::json(&data),
        (None, None, Some(b64)) => {
            let bytes = STANDARD.decode(b64).map_err(|error| bad(format!("`b64` is no base64: {error}")))?;
            ClientMessage::bytes(bytes)
        }
        _ => return Err(bad("a message has one of `text`, `data` (JSON) and `b64`")),
    };
    if message.payload.len() > bytes_max {
        let reason = format!("a message has at most {bytes_max} bytes here");
        return Err(Fault::fatal(Code::TooLarge, "message.too_large", reason));
    }
    message.headers =
        written.headers.into_iter().map(|(name, value)| (name.to_ascii_lowercase(), value)).collect();
    Ok(message)
}

fn recipients(to: Vec<String>) -> Result<Recipients, Fault> {
    if to.is_empty() {
        return Err(bad(
            "the message names nobody: give `to`, the header X-To or ?to= a client, a user or @group",
        ));
    }
    if to.len() > RECIPIENTS_MAX {
        return Err(bad(format!("a message names at most {RECIPIENTS_MAX} recipients; use a group")));
    }
    Ok(Recipients(to))
}

fn bad(reason: impl Into<std::borrow::Cow<'static, str>>) -> Fault {
    Fault::fatal(Code::BadRequest, "message.request", reason)
}
