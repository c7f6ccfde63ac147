//! The type of a key: where its value lives in the configuration, how it is read, checked and shown.

use std::{fmt::Display, ops::RangeInclusive, path::PathBuf, str::FromStr, time::Duration};

use whub_core::Choose;
use whub_core::middleware::{HeaderName, Rate};
use whub_proto::names::{Filter, NameError, Pattern};
use whub_transport::{ListenAddress, Network};

use super::{
    Audience, Grant, LogFormat, Secret, ServiceAccess, SlowPolicy,
    secret::REDACTED,
    units::{parse_bytes, parse_duration, parse_rate, show_bytes, show_duration, show_rate},
    value::Value,
};

/// Leads to the place of a value. One function for reading and writing keeps the table of keys short.
type At<T, V> = fn(&mut T) -> &mut V;

/// The type of a key of `T`, with the way to its place.
pub(crate) enum Field<T> {
    Flag(At<T, bool>),
    Count(At<T, usize>, RangeInclusive<usize>),
    /// 0 or `"none"` is no limit.
    CountOrNone(At<T, Option<usize>>),
    Bytes(At<T, usize>, RangeInclusive<usize>),
    /// 0 or `"none"` is no limit.
    BytesOrNone(At<T, Option<usize>>),
    /// The range is in milliseconds.
    Time(At<T, Duration>, RangeInclusive<u64>),
    /// The range is in milliseconds.
    TimeOrUnset(At<T, Option<Duration>>, RangeInclusive<u64>),
    Text(At<T, Option<String>>),
    Path(At<T, Option<PathBuf>>),
    Secret(At<T, Option<Secret>>),
    Listen(At<T, Vec<ListenAddress>>),
    Networks(At<T, Vec<Network>>),
    Origins(At<T, Vec<String>>),
    Hosts(At<T, Vec<String>>),
    HeaderNames(At<T, Vec<String>>),
    Services(At<T, Vec<Pattern>>),
    Pattern(At<T, Option<Pattern>>),
    Filters(At<T, Vec<Filter>>),
    HeaderRules(At<T, Vec<HeaderName>>),
    Words(At<T, Vec<String>>),
    /// `"none"` is no limit.
    RateOrNone(At<T, Option<Rate>>),
    Groups(At<T, Vec<String>>),
    Slow(At<T, SlowPolicy>),
    Choose(At<T, Choose>),
    ServiceAccess(At<T, ServiceAccess>),
    Audience(At<T, Audience>),
    Format(At<T, LogFormat>),
    Levels(At<T, String>),
    Access(At<T, Option<Grant>>),
}

/// Why a value does not fit.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Misfit {
    /// Not the wanted kind of thing; completes "… but wants".
    Wants(String),
    /// The right kind with a flaw of its own; a sentence.
    Says(String),
}

type Read<V> = Result<V, Misfit>;

impl<T> Field<T> {
    /// Reads `value` into its place.
    pub(crate) fn set(&self, target: &mut T, value: &Value) -> Read<()> {
        match self {
            Self::Flag(at) => *at(target) = flag(value)?,
            Self::Count(at, range) => *at(target) = count(value, range)?,
            Self::CountOrNone(at) => *at(target) = or_none(value, number)?,
            Self::Bytes(at, range) => *at(target) = bytes_within(value, range)?,
            Self::BytesOrNone(at) => *at(target) = or_none(value, bytes)?,
            Self::Time(at, range) => *at(target) = time(value, range)?,
            Self::TimeOrUnset(at, range) => *at(target) = Some(time(value, range)?),
            Self::Text(at) => *at(target) = Some(text(value)?),
            Self::Path(at) => *at(target) = Some(text(value)?.into()),
            Self::Secret(at) => *at(target) = Some(secret(value)?),
            Self::Listen(at) => *at(target) = parsed(value)?,
            Self::Networks(at) => *at(target) = parsed(value)?,
            Self::Origins(at) => *at(target) = each(value, origin)?,
            Self::Hosts(at) => *at(target) = each(value, host)?,
            Self::HeaderNames(at) => *at(target) = each(value, header_name)?,
            // The endpoints of the gateway are granted as what is called at `/gateway/<name>`.
            Self::Services(at) => *at(target) = each(value, |text| named(&text, Pattern::parse_own))?,
            Self::Pattern(at) => *at(target) = Some(pattern(value)?),
            Self::Filters(at) => *at(target) = each(value, |text| named(&text, Filter::parse))?,
            Self::HeaderRules(at) => *at(target) = parsed(value)?,
            Self::Words(at) => *at(target) = each(value, word)?,
            Self::RateOrNone(at) => *at(target) = rate(value)?,
            Self::Groups(at) => *at(target) = each(value, group)?,
            Self::Slow(at) => *at(target) = choice(value, &SLOW)?,
            Self::Choose(at) => *at(target) = choice(value, Choose::ALL)?,
            Self::ServiceAccess(at) => *at(target) = choice(value, &SERVICE_ACCESS)?,
            Self::Audience(at) => *at(target) = choice(value, &AUDIENCES)?,
            Self::Format(at) => *at(target) = choice(value, &FORMATS)?,
            Self::Levels(at) => *at(target) = levels(value)?,
            Self::Access(at) => {
                *at(target) = Some(choice(value, &[("all", Grant::all()), ("none", Grant::none())])?)
            }
        }
        Ok(())
    }

    /// Takes the value over from another configuration.
    pub(crate) fn copy(&self, from: &mut T, to: &mut T) {
        match self {
            Self::Flag(at) => *at(to) = *at(from),
            Self::Count(at, _) | Self::Bytes(at, _) => *at(to) = *at(from),
            Self::CountOrNone(at) | Self::BytesOrNone(at) => *at(to) = *at(from),
            Self::Time(at, _) => *at(to) = *at(from),
            Self::TimeOrUnset(at, _) => *at(to) = *at(from),
            Self::Text(at) => *at(to) = at(from).clone(),
            Self::Path(at) => *at(to) = at(from).clone(),
            Self::Secret(at) => *at(to) = at(from).clone(),
            Self::Listen(at) => *at(to) = at(from).clone(),
            Self::Networks(at) => *at(to) = at(from).clone(),
            Self::Origins(at) | Self::Hosts(at) | Self::HeaderNames(at) | Self::Groups(at) => {
                *at(to) = at(from).clone()
            }
            Self::Services(at) => *at(to) = at(from).clone(),
            Self::Pattern(at) => *at(to) = at(from).clone(),
            Self::Filters(at) => *at(to) = at(from).clone(),
            Self::HeaderRules(at) => *at(to) = at(from).clone(),
            Self::Words(at) => *at(to) = at(from).clone(),
            Self::RateOrNone(at) => *at(to) = *at(from),
            Self::Slow(at) => *at(to) = *at(from),
            Self::Choose(at) => *at(to) = *at(from),
            Self::ServiceAccess(at) => *at(to) = *at(from),
            Self::Audience(at) => *at(to) = *at(from),
            Self::Format(at) => *at(to) = *at(from),
            Self::Levels(at) => *at(to) = at(from).clone(),
            Self::Access(at) => *at(to) = at(from).clone(),
        }
    }

    /// The value in its place, as it would be written in the file. Secrets are redacted.
    pub(crate) fn show(&self, target: &mut T) -> Value {
        match self {
            Self::Flag(at) => Value::Flag(*at(target)),
            Self::Count(at, _) => Value::Number(*at(target) as i128),
            Self::CountOrNone(at) => at(target).map_or_else(none, |number| Value::Number(number as i128)),
            Self::Bytes(at, _) => sized(*at(target)),
            Self::BytesOrNone(at) => at(target).map_or_else(none, sized),
            Self::Time(at, _) => Value::Text(show_duration(*at(target))),
            Self::TimeOrUnset(at, _) => {
                at(target).map_or(Value::Unset, |time| Value::Text(show_duration(time)))
            }
            Self::Text(at) => at(target).clone().map_or(Value::Unset, Value::Text),
            Self::Path(at) => {
                at(target).as_ref().map_or(Value::Unset, |path| Value::Text(path.display().to_string()))
            }
            Self::Secret(at) => {
                at(target).as_ref().map_or(Value::Unset, |_| Value::Text(REDACTED.to_owned()))
            }
            Self::Listen(at) => Value::texts(at(target)),
            Self::Networks(at) => Value::texts(at(target)),
            Self::Origins(at) | Self::Hosts(at) | Self::HeaderNames(at) | Self::Groups(at) => {
                Value::texts(at(target))
            }
            Self::Services(at) => Value::texts(at(target)),
            Self::Pattern(at) => {
                at(target).as_ref().map_or(Value::Unset, |pattern| Value::Text(pattern.to_string()))
            }
            Self::Filters(at) => Value::texts(at(target)),
            Self::HeaderRules(at) => Value::texts(at(target)),
            Self::Words(at) => Value::texts(at(target)),
            Self::RateOrNone(at) => at(target).map_or_else(none, |rate| Value::Text(show_rate(rate))),
            Self::Slow(at) => chosen(*at(target), &SLOW),
            Self::Choose(at) => chosen(*at(target), Choose::ALL),
            Self::ServiceAccess(at) => chosen(*at(target), &SERVICE_ACCESS),
            Self::Audience(at) => chosen(*at(target), &AUDIENCES),
            Self::Format(at) => chosen(*at(target), &FORMATS),
            Self::Levels(at) => Value::Text(at(target).clone()),
            Self::Access(at) => access(at(target).as_ref()),
        }
    }

    /// The type in the words of the reference.
    pub(crate) fn kind(&self) -> &'static str {
        match self {
            Self::Flag(_) => "true or false",
            Self::Count(..) => "number",
            Self::CountOrNone(_) => "number, or 0 or `\"none\"`",
            Self::Bytes(..) => "bytes",
            Self::BytesOrNone(_) => "bytes, or 0 or `\"none\"`",
            Self::Time(..) | Self::TimeOrUnset(..) => "duration",
            Self::Text(_) | Self::Secret(_) => "string",
            Self::Path(_) => "path",
            Self::Listen(_) => "list of addresses",
            Self::Networks(_) => "list of addresses and ranges",
            Self::Origins(_) => "list of origins",
            Self::Hosts(_) => "list of host names",
            Self::HeaderNames(_) => "list of header names",
            Self::Services(_) => "list of service patterns",
            Self::Pattern(_) => "service pattern",
            Self::Filters(_) => "list of filters",
            Self::HeaderRules(_) => "list of header names",
            Self::Words(_) => "list of words",
            Self::RateOrNone(_) => "rate, or `\"none\"`",
            Self::Groups(_) => "list of names",
            Self::Choose(_) => {
                "`\"least_loaded\"`, `\"round_robin\"`, `\"random\"`, `\"sticky\"` or `\"local\"`"
            }
            Self::ServiceAccess(_) => "`\"providers\"`, `\"public\"`, `\"authenticated\"` or `\"named\"`",
            Self::Slow(_) => "`\"drop\"`, `\"conflate\"` or `\"close\"`",
            Self::Audience(_) => "`\"anyone\"`, `\"token\"`, `\"admin\"` or `\"off\"`",
            Self::Format(_) => "`\"console\"` or `\"json\"`",
            Self::Levels(_) => "level, or levels by target",
            Self::Access(_) => "`\"all\"`, `\"none\"` or a table",
        }
    }

    /// The bounds of the value in the words of the reference, or nothing.
    pub(crate) fn bounds(&self) -> Option<String> {
        match self {
            Self::Count(_, range) => Some(between(range.start(), range.end())),
            Self::Bytes(_, range) => Some(between(show_bytes(*range.start()), show_bytes(*range.end()))),
            Self::Time(_, range) | Self::TimeOrUnset(_, range) => {
                Some(between(show_ms(*range.start()), show_ms(*range.end())))
            }
            Self::Flag(_) | Self::CountOrNone(_) | Self::BytesOrNone(_) | Self::Text(_) | Self::Path(_) => {
                None
            }
            Self::Secret(_) | Self::Listen(_) | Self::Networks(_) | Self::Origins(_) | Self::Hosts(_) => None,
            Self::HeaderNames(_)
            | Self::Services(_)
            | Self::Filters(_)
            | Self::Slow(_)
            | Self::Format(_)
            | Self::Levels(_) => None,
            Self::Access(_) | Self::Audience(_) | Self::Groups(_) => None,
            Self::Choose(_) | Self::ServiceAccess(_) | Self::Pattern(_) => None,
            Self::HeaderRules(_) | Self::Words(_) | Self::RateOrNone(_) => None,
        }
    }
}

const SERVICE_ACCESS: [(&str, ServiceAccess); 4] = [
    ("providers", ServiceAccess::Providers),
    ("public", ServiceAccess::Public),
    ("authenticated", ServiceAccess::Authenticated),
    ("named", ServiceAccess::Named),
];
const SLOW: [(&str, SlowPolicy); 3] =
    [("drop", SlowPolicy::Drop), ("conflate", SlowPolicy::Conflate), ("close", SlowPolicy::Close)];
const AUDIENCES: [(&str, Audience); 4] = [
    ("anyone", Audience::Anyone),
    ("token", Audience::Token),
    ("admin", Audience::Admin),
    ("off", Audience::Nobody),
];
const FORMATS: [(&str, LogFormat); 2] = [("console", LogFormat::Console), ("json", LogFormat::Json)];
const LEVELS: [&str; 6] = ["off", "error", "warn", "info", "debug", "trace"];

fn flag(value: &Value) -> Read<bool> {
    if let Value::Flag(flag) = value {
        return Ok(*flag);
    }
    let read = value.loose().and_then(|text| text.parse().ok());
    read.ok_or_else(|| Misfit::Wants("true or false".to_owned()))
}

fn number(value: &Value) -> Read<usize> {
    let read = match value.number() {
        Some(number) => usize::try_from(number).ok(),
        None => value.loose().and_then(|text| text.parse().ok()),
    };
    read.ok_or_else(|| Misfit::Wants("a whole number, not negative".to_owned()))
}

fn count(value: &Value, range: &RangeInclusive<usize>) -> Read<usize> {
    let number = number(value)?;
    if !range.contains(&number) {
        return wants(format!("a number {}", between(range.start(), range.end())));
    }
    Ok(number)
}

fn bytes(value: &Value) -> Read<usize> {
    let read = match value.number() {
        Some(number) => usize::try_from(number).ok(),
        None => value.string().and_then(parse_bytes),
    };
    read.ok_or_else(|| Misfit::Wants("a size, such as 65536, \"64KiB\" or \"1MiB\"".to_owned()))
}

fn bytes_within(value: &Value, range: &RangeInclusive<usize>) -> Read<usize> {
    let bytes = bytes(value)?;
    if !range.contains(&bytes) {
        return wants(format!("a size {}", between(show_bytes(*range.start()), show_bytes(*range.end()))));
    }
    Ok(bytes)
}

/// Reads `"none"` and 0 as no limit.
fn or_none(value: &Value, read: fn(&Value) -> Read<usize>) -> Read<Option<usize>> {
    if value.string() == Some("none") {
        return Ok(None);
    }
    match read(value) {
        Ok(0) => Ok(None),
        Ok(limit) => Ok(Some(limit)),
        Err(Misfit::Wants(wanted)) => wants(format!("{wanted}, or \"none\"")),
        Err(Misfit::Says(said)) => Err(Misfit::Says(said)),
    }
}

fn time(value: &Value, range: &RangeInclusive<u64>) -> Read<Duration> {
    let Some(duration) = value.string().and_then(parse_duration) else {
        return wants("a duration with its unit, such as \"5s\", \"250ms\" or \"1m30s\"");
    };
    if !u64::try_from(duration.as_millis()).is_ok_and(|ms| range.contains(&ms)) {
        return wants(format!("a duration {}", between(show_ms(*range.start()), show_ms(*range.end()))));
    }
    Ok(duration)
}

fn text(value: &Value) -> Read<String> {
    let text = value.string().filter(|text| !text.is_empty());
    text.map(str::to_owned).ok_or_else(|| Misfit::Wants("a string that is not empty".to_owned()))
}

fn pattern(value: &Value) -> Read<Pattern> {
    named(&text(value)?, Pattern::parse).map_err(Misfit::Says)
}

fn secret(value: &Value) -> Read<Secret> {
    let text = value.string().ok_or_else(|| Misfit::Wants("a string".to_owned()))?;
    Secret::new(text).map_err(|flaw| Misfit::Says(format!("the secret {flaw}")))
}

/// The strings of a list. Bare text is a list in TOML's brackets, or items between commas.
fn strings(value: &Value) -> Read<Vec<String>> {
    let not_strings = || Misfit::Wants("a list of strings".to_owned());
    if let Value::List(items) = value {
        let quoted = |item: &Value| item.string().map(str::to_owned).ok_or_else(not_strings);
        return items.iter().map(quoted).collect();
    }
    let text = value.loose().ok_or_else(not_strings)?;
    if text.starts_with('[') {
        let list = toml::de::DeValue::parse(text).map_err(|_| not_strings())?;
        return strings(&Value::from_toml(list.get_ref()));
    }
    Ok(text.split(',').map(str::trim).filter(|item| !item.is_empty()).map(str::to_owned).collect())
}

fn each<V>(value: &Value, check: fn(String) -> Result<V, String>) -> Read<Vec<V>> {
    strings(value)?.into_iter().map(|item| check(item).map_err(Misfit::Says)).collect()
}

fn parsed<V: FromStr<Err: Display>>(value: &Value) -> Read<Vec<V>> {
    each(value, |text| text.parse().map_err(|error: V::Err| error.to_string()))
}

fn origin(text: String) -> Result<String, String> {
    let host = text.split_once("://").map(|(scheme, host)| (scheme.is_empty(), host));
    let fits = text == "*"
        || host.is_some_and(|(no_scheme, host)| !no_scheme && !host.is_empty() && !host.contains('/'));
    if !fits {
        return Err(format!(
            "{text:?} is no origin; write scheme://host[:port] without a path, or \"*\" for any"
        ));
    }
    Ok(text)
}

fn header_name(text: String) -> Result<String, String> {
    let is_token = |byte: u8| byte.is_ascii_alphanumeric() || b"!#$%&'*+-.^_`|~".contains(&byte);
    if text.is_empty() || !text.bytes().all(is_token) {
        return Err(format!("{text:?} is no header name; write it without its colon and value"));
    }
    Ok(text.to_ascii_lowercase())
}

fn host(text: String) -> Result<String, String> {
    let name = text.bytes().all(|byte| byte.is_ascii_alphanumeric() || b".-_".contains(&byte));
    if text != "*" && (text.is_empty() || !name) {
        return Err(format!("{text:?} is no host name; write it without scheme and port, or \"*\" for any"));
    }
    Ok(text)
}

fn word(text: String) -> Result<String, String> {
    let fits =
        !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_graphic() && byte != b',' && byte != b'"');
    if fits { Ok(text) } else { Err(format!("{text:?} is no single word")) }
}

fn rate(value: &Value) -> Read<Option<Rate>> {
    let text = value.string().unwrap_or_default();
    if text == "none" {
        return Ok(None);
    }
    let wanted = "a rate, such as \"100/s\", \"300/m\" or \"100/s burst 200\", or \"none\"";
    parse_rate(text).map(Some).ok_or_else(|| Misfit::Wants(wanted.to_owned()))
}

fn group(text: String) -> Result<String, String> {
    let fits = |byte: u8| byte.is_ascii_graphic() && !b"@/+#,".contains(&byte);
    if text.is_empty() || text.len() > 64 || !text.bytes().all(fits) {
        return Err(format!(
            "{text:?} is no group; write a name of at most 64 letters, digits and marks, without `@`"
        ));
    }
    Ok(text)
}

/// Errors of names say what is wrong; here they need the name as well.
fn named<V>(text: &str, parse: fn(&str) -> Result<V, NameError>) -> Result<V, String> {
    parse(text).map_err(|error| format!("`{text}`: {error}"))
}

fn levels(value: &Value) -> Read<String> {
    let wanted = || {
        Misfit::Wants(format!(
            "a level ({}), or levels by target like \"info,whub_server=debug\"",
            LEVELS.join(", ")
        ))
    };
    let text = value.string().ok_or_else(wanted)?;
    let fits = |item: &str| match item.split_once('=') {
        Some((target, level)) => !target.is_empty() && LEVELS.contains(&level),
        None => LEVELS.contains(&item),
    };
    if !text.split(',').map(str::trim).all(fits) {
        return Err(wanted());
    }
    Ok(text.to_owned())
}

fn choice<V: Clone>(value: &Value, choices: &[(&str, V)]) -> Read<V> {
    let word = value.string().unwrap_or_default();
    let found = choices.iter().find(|(name, _)| *name == word).map(|(_, meaning)| meaning.clone());
    found.ok_or_else(|| {
        let names: Vec<_> = choices.iter().map(|(name, _)| format!("\"{name}\"")).collect();
        Misfit::Wants(names.join(" or "))
    })
}

fn chosen<V: PartialEq>(value: V, choices: &[(&str, V)]) -> Value {
    let name = choices.iter().find(|(_, meaning)| *meaning == value).map(|(name, _)| (*name).to_owned());
    name.map_or(Value::Unset, Value::Text)
}

fn access(grant: Option<&Grant>) -> Value {
    match grant {
        None => Value::Unset,
        Some(grant) if *grant == Grant::all() => Value::Text("all".to_owned()),
        Some(grant) if *grant == Grant::none() => Value::Text("none".to_owned()),
        Some(_) => Value::Other("a table"),
    }
}

fn none() -> Value {
    Value::Text("none".to_owned())
}

/// Sizes that have a unit are shown with it, others as numbers.
fn sized(bytes: usize) -> Value {
    let shown = show_bytes(bytes);
    shown.parse().map_or(Value::Text(shown), Value::Number)
}

fn show_ms(ms: u64) -> String {
    show_duration(Duration::from_millis(ms))
}

fn between(low: impl Display, high: impl Display) -> String {
    format!("from {low} to {high}")
}

fn wants<V>(what: impl Into<String>) -> Read<V> {
    Err(Misfit::Wants(what.into()))
}
