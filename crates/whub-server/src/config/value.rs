//! A value as it came from a source, before a key gives it a type; and as it is shown.

use std::fmt;

use toml::de::DeValue;

/// Untyped value. Text of the environment and of flags is [`Value::Loose`]: the key decides what it means.
#[derive(Clone, Debug, PartialEq)]
pub(crate) enum Value {
    /// `true` or `false`.
    Flag(bool),
    /// A whole number, wide enough for whatever TOML allows.
    Number(i128),
    /// A quoted string.
    Text(String),
    /// An array.
    List(Vec<Self>),
    /// Bare text of an environment variable or a flag.
    Loose(String),
    /// A table, where one is a value: names and values in the order of the file.
    Table(Vec<(String, Self)>),
    /// Anything no key wants: the TOML name of its type.
    Other(&'static str),
    /// Nothing was configured; only shown, never read.
    Unset,
}

impl Value {
    pub(crate) fn from_toml(value: &DeValue<'_>) -> Self {
        match value {
            DeValue::String(text) => Self::Text(text.clone().into_owned()),
            DeValue::Integer(number) => i128::from_str_radix(number.as_str(), number.radix())
                .map_or(Self::Other("a number beyond reason"), Self::Number),
            DeValue::Float(_) => Self::Other("a number with a fraction"),
            DeValue::Boolean(flag) => Self::Flag(*flag),
            DeValue::Datetime(_) => Self::Other("a date"),
            DeValue::Array(items) => {
                Self::List(items.iter().map(|item| Self::from_toml(item.get_ref())).collect())
            }
            DeValue::Table(fields) => Self::Table(
                fields
                    .iter()
                    .map(|(name, value)| {
                        (name.get_ref().clone().into_owned(), Self::from_toml(value.get_ref()))
                    })
                    .collect(),
            ),
        }
    }

    pub(crate) fn texts<T: ToString>(items: &[T]) -> Self {
        Self::List(items.iter().map(|item| Self::Text(item.to_string())).collect())
    }

    /// The number, if it was written as one.
    pub(crate) fn number(&self) -> Option<i128> {
        if let Self::Number(number) = self { Some(*number) } else { None }
    }

    /// The text, quoted or bare.
    pub(crate) fn string(&self) -> Option<&str> {
        if let Self::Text(text) | Self::Loose(text) = self { Some(text) } else { None }
    }

    /// The text, if it is bare and the key may read it as it likes.
    pub(crate) fn loose(&self) -> Option<&str> {
        if let Self::Loose(text) = self { Some(text) } else { None }
    }

    /// The kind of value, for messages that must not repeat it.
    pub(crate) fn kind(&self) -> &'static str {
        match self {
            Self::Flag(_) => "true or false",
            Self::Number(_) => "a number",
            Self::Text(_) | Self::Loose(_) => "a string",
            Self::List(_) => "a list",
            Self::Table(_) => "a table",
            Self::Other(kind) => kind,
            Self::Unset => "nothing",
        }
    }

    /// As JSON, for `whub config show --json`.
    pub(crate) fn to_json(&self) -> serde_json::Value {
        match self {
            Self::Flag(flag) => (*flag).into(),
            Self::Number(number) => i64::try_from(*number).map_or(serde_json::Value::Null, Into::into),
            Self::Text(text) | Self::Loose(text) => text.as_str().into(),
            Self::List(items) => items.iter().map(Self::to_json).collect(),
            Self::Table(_) | Self::Other(_) | Self::Unset => serde_json::Value::Null,
        }
    }
}

/// As TOML writes it.
impl fmt::Display for Value {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Flag(flag) => write!(f, "{flag}"),
            Self::Number(number) => write!(f, "{number}"),
            Self::Text(text) | Self::Loose(text) => write!(f, "{}", toml::Value::from(text.as_str())),
            Self::List(items) => {
                f.write_str("[")?;
                for (index, item) in items.iter().enumerate() {
                    let comma = if index == 0 { "" } else { ", " };
                    write!(f, "{comma}{item}")?;
                }
                f.write_str("]")
            }
            Self::Table(_) => f.write_str("a table"),
            Self::Other(kind) => f.write_str(kind),
            Self::Unset => f.write_str("unset"),
        }
    }
}
