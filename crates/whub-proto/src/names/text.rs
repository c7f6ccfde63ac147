//! What all kinds of names have in common: bounds, control characters, and the traits of a checked text.

use super::NameError;

/// Checks length and depth, and refuses control characters.
pub(super) fn check(text: &str, bytes_max: usize, segments_max: usize) -> Result<(), NameError> {
    if text.is_empty() {
        return Err(NameError::Empty);
    }
    if text.len() > bytes_max {
        return Err(NameError::TooLong { max: bytes_max });
    }
    if has_control(text) {
        return Err(NameError::ControlCharacter);
    }
    if text.bytes().filter(|&byte| byte == b'/').count() >= segments_max {
        return Err(NameError::TooDeep { max: segments_max });
    }
    Ok(())
}

/// Whether there is a control character: C0, DEL or C1.
pub(super) fn has_control(text: &str) -> bool {
    // ASCII is decided without decoding characters; U+0080–U+009F are `C2 80` to `C2 9F`.
    text.bytes().any(|byte| byte < 0x20 || byte == 0x7f)
        || (!text.is_ascii() && text.chars().any(char::is_control))
}

/// Gives an owned name that wraps an `Arc<str>` what a checked text needs. Its `parse` must take any `&str`.
macro_rules! owned_name {
    ($name:ident) => {
        impl $name {
            /// The canonical text.
            pub fn as_str(&self) -> &str {
                &self.text
            }
        }
        $crate::names::text::text_traits!($name, $name);
    };
}

/// Gives a name that wraps a `Cow<'a, str>` what a checked text needs.
macro_rules! borrowed_name {
    ($name:ident) => {
        impl<'a> $name<'a> {
            /// The canonical text.
            pub fn as_str(&self) -> &str {
                &self.text
            }

            /// The same name with a text of its own.
            pub fn into_owned(self) -> $name<'static> {
                $name { text: std::borrow::Cow::Owned(self.text.into_owned()) }
            }
        }
        $crate::names::text::text_traits!($name<'_>, $name<'static>, into_owned);
    };
}

/// Equality, order and hash by the canonical text alone.
macro_rules! text_identity {
    ($name:ident) => {
        impl PartialEq for $name {
            fn eq(&self, other: &Self) -> bool {
                self.text == other.text
            }
        }

        impl Eq for $name {}

        impl PartialOrd for $name {
            fn partial_cmp(&self, other: &Self) -> Option<std::cmp::Ordering> {
                Some(self.cmp(other))
            }
        }

        impl Ord for $name {
            fn cmp(&self, other: &Self) -> std::cmp::Ordering {
                self.text.cmp(&other.text)
            }
        }

        impl std::hash::Hash for $name {
            fn hash<H: std::hash::Hasher>(&self, state: &mut H) {
                self.text.hash(state);
            }
        }
    };
}

/// `Display`, `AsRef`, `FromStr`, serde: the same for every kind of name.
macro_rules! text_traits {
    ($name:ty, $owned:ty $(, $into_owned:ident)?) => {
        impl std::fmt::Display for $name {
            fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
                f.write_str(self.as_str())
            }
        }

        impl AsRef<str> for $name {
            fn as_ref(&self) -> &str {
                self.as_str()
            }
        }

        impl std::str::FromStr for $owned {
            type Err = $crate::names::NameError;

            fn from_str(text: &str) -> Result<Self, Self::Err> {
                <$name>::parse(text)$(.map(<$name>::$into_owned))?
            }
        }

        impl serde::Serialize for $name {
            fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
                serializer.serialize_str(self.as_str())
            }
        }

        impl<'de> serde::Deserialize<'de> for $owned {
            fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
                let text = <std::borrow::Cow<'de, str>>::deserialize(deserializer)?;
                text.parse().map_err(serde::de::Error::custom)
            }
        }
    };
}

pub(super) use {borrowed_name, owned_name, text_identity, text_traits};
