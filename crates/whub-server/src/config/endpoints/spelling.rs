//! How the values of an endpoint are written: URLs, header fields, credentials, and the few words of its own.

use std::{ops::RangeInclusive, time::Duration};

use whub_transport::UrlError;

use super::{Balance, EndpointAccess, EndpointUrl, Health, WhenDown};
use crate::config::{
    Secret,
    field::{Misfit, Read, strings, text},
    secret::REDACTED,
    units::{parse_duration, show_duration},
    value::Value,
};
use crate::inspect::redact;

pub(crate) const BALANCES: [(&str, Balance); 4] = [
    ("least_connections", Balance::LeastConnections),
    ("round_robin", Balance::RoundRobin),
    ("random", Balance::Random),
    ("first", Balance::First),
];
pub(crate) const ACCESS: [(&str, EndpointAccess); 3] = [
    ("public", EndpointAccess::Public),
    ("authenticated", EndpointAccess::Authenticated),
    ("named", EndpointAccess::Named),
];

/// How long messages may be held at most.
const HOLD: RangeInclusive<Duration> = Duration::from_millis(1)..=Duration::from_secs(600);

/// Header fields that belong to the handshake, to the one connection, or to a key of their own.
const NOT_TO_SET: [&str; 12] = [
    "authorization",
    "connection",
    "content-length",
    "expect",
    "host",
    "keep-alive",
    "proxy-connection",
    "te",
    "trailer",
    "transfer-encoding",
    "upgrade",
    "whub-token",
];

pub(crate) fn url(value: &Value) -> Read<EndpointUrl> {
    url_of(&text(value)?).map_err(Misfit::Says)
}

/// Reads a URL. What is wrong is said without repeating it, for it may hold a secret.
pub(crate) fn url_of(text: &str) -> Result<EndpointUrl, String> {
    text.parse().map_err(|error: UrlError| match error {
        UrlError::NoScheme => {
            "an endpoint is a URL such as ws://127.0.0.1:8080/ or wss://example.org/chat".to_owned()
        }
        UrlError::Scheme(scheme) => {
            format!("`{scheme}` is no scheme of an endpoint; use ws, wss, http or https")
        }
        UrlError::User => {
            "the URL of an endpoint holds no user or password; use authorization_file, with Basic".to_owned()
        }
        UrlError::Query => {
            "a URL has no `#` part here, and spaces and the like are percent-encoded".to_owned()
        }
        UrlError::Path => {
            "the URL has spaces, control or non-ASCII characters; percent-encode them".to_owned()
        }
        UrlError::PortZero => "port 0 cannot be dialled".to_owned(),
        other @ (UrlError::NoPathHere(_) | UrlError::Address(_)) => other.to_string(),
    })
}

/// A credential for `Authorization`.
pub(crate) fn credential(value: &Value) -> Read<Secret> {
    let text = value.string().ok_or_else(|| Misfit::Wants("a string".to_owned()))?;
    Secret::of_header(text).map_err(|flaw| Misfit::Says(format!("the value {flaw}")))
}

/// `{ Name = "value" }`, or a list of `"Name: value"`. Values are not repeated when something is wrong with them.
pub(crate) fn header_fields(value: &Value) -> Read<Vec<(String, String)>> {
    let wants = || Misfit::Wants("a table of names and values, or a list of \"Name: value\"".to_owned());
    if let Value::Table(fields) = value {
        let read = |(name, value): &(String, Value)| header_field(name, value.string().ok_or_else(wants)?);
        return fields.iter().map(read).collect();
    }
    let lines = strings(value).map_err(|_| wants())?;
    lines
        .iter()
        .map(|line| {
            let (name, value) = line.split_once(':').ok_or_else(wants)?;
            header_field(name, value)
        })
        .collect()
}

fn header_field(name: &str, value: &str) -> Read<(String, String)> {
    let (name, value) = (name.trim(), value.trim());
    let says = |what: &str| Err(Misfit::Says(format!("header {name:?} {what}")));
    if !is_token(name) {
        return says("has no name of a header");
    }
    let lower = name.to_ascii_lowercase();
    if lower == "authorization" {
        return says("is set by authorization, authorization_file or authorization_env");
    }
    if NOT_TO_SET.contains(&lower.as_str()) || lower.starts_with("sec-websocket-") {
        return says("is the hub's own to set");
    }
    // White space and visible ASCII (RFC 9110, section 5.5); what is beyond has no agreed meaning.
    if !value.bytes().all(|byte| byte == b' ' || byte == b'\t' || byte.is_ascii_graphic()) {
        return says("has a value with control or non-ASCII characters");
    }
    Ok((lower, value.to_owned()))
}

pub(crate) fn show_header_fields(fields: &[(String, String)]) -> Value {
    let redactor = redact::Redactor::new(&[]);
    let lines: Vec<_> =
        fields.iter().map(|(name, value)| format!("{name}: {}", redactor.header(name, value))).collect();
    Value::texts(&lines)
}

/// Whether `text` is a token (RFC 9110, section 5.6.2).
fn is_token(text: &str) -> bool {
    let fits = |byte: u8| byte.is_ascii_alphanumeric() || b"!#$%&'*+-.^_`|~".contains(&byte);
    !text.is_empty() && text.bytes().all(fits)
}

/// A subprotocol; `whub.bearer.` is how browsers show their tokens to the hub.
pub(crate) fn subprotocol(text: String) -> Result<String, String> {
    if text.starts_with("whub.bearer.") {
        return Err(format!("{text:?} would be taken for a token of the hub"));
    }
    if is_token(&text) { Ok(text) } else { Err(format!("{text:?} is no subprotocol; write a single word")) }
}

pub(crate) fn health(value: &Value) -> Read<Health> {
    let wants = || {
        let wanted = "\"connect\", \"websocket\", \"off\" or a path to ask for, such as \"http:/health\"";
        Misfit::Wants(wanted.to_owned())
    };
    match value.string().ok_or_else(wants)? {
        "connect" => Ok(Health::Connect),
        "websocket" => Ok(Health::WebSocket),
        "off" => Ok(Health::Off),
        text => {
            let path =
                text.strip_prefix("http:").filter(|path| path.starts_with('/') && !path.starts_with("//"));
            let fits = |path: &&str| path.bytes().all(|byte| byte.is_ascii_graphic() && byte != b'#');
            path.filter(fits).map(|path| Health::Http(path.to_owned())).ok_or_else(wants)
        }
    }
}

pub(crate) fn show_health(health: &Health) -> Value {
    Value::Text(match health {
        Health::Off => "off".to_owned(),
        Health::Connect => "connect".to_owned(),
        Health::WebSocket => "websocket".to_owned(),
        Health::Http(path) => match path.split_once('?') {
            Some((path, query)) => format!("http:{path}?{}", redact::query(query)),
            None => format!("http:{path}"),
        },
    })
}

pub(crate) fn when_down(value: &Value) -> Read<WhenDown> {
    let wants = || {
        let (least, most) = (show_duration(*HOLD.start()), show_duration(*HOLD.end()));
        Misfit::Wants(format!(
            "\"refuse\", or \"hold\" and a duration from {least} to {most}, such as \"hold 5s\""
        ))
    };
    let text = value.string().ok_or_else(wants)?;
    if text == "refuse" {
        return Ok(WhenDown::Refuse);
    }
    let time = text.strip_prefix("hold ").and_then(parse_duration).filter(|time| HOLD.contains(time));
    time.map(WhenDown::Hold).ok_or_else(wants)
}

pub(crate) fn show_when_down(when_down: WhenDown) -> Value {
    Value::Text(match when_down {
        WhenDown::Refuse => "refuse".to_owned(),
        WhenDown::Hold(time) => format!("hold {}", show_duration(time)),
    })
}

pub(crate) fn show_credential(secret: Option<&Secret>) -> Value {
    secret.map_or(Value::Unset, |_| Value::Text(REDACTED.to_owned()))
}
