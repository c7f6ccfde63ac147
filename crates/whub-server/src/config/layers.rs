//! The three sources, as plain values: a file, the environment, flags. Later ones win.

use std::{
    fmt, fs, io,
    path::{Path, PathBuf},
};

use super::{Problem, Problems, value::Value};

/// What an environment variable's name begins with when it is configuration, before `SECTION__KEY`.
const ENVIRONMENT_PREFIX: &str = "WHUB_";

/// Everything [`load`](super::load) looks at.
#[derive(Clone, Debug, Default)]
pub struct Input {
    /// The file, if there is one.
    pub file: Option<ConfigFile>,
    /// Names and values of the environment; those that are no configuration are passed over.
    pub environment: Vec<(String, String)>,
    /// Flags in the order of the command line; the last of a key wins.
    pub flags: Vec<Assignment>,
}

/// A configuration file that was read.
#[derive(Clone, Debug)]
pub struct ConfigFile {
    pub(crate) path: PathBuf,
    pub(crate) text: String,
}

impl ConfigFile {
    /// A file with its text at hand; `path` only names it in messages.
    #[must_use]
    pub fn new(path: impl Into<PathBuf>, text: impl Into<String>) -> Self {
        Self { path: path.into(), text: text.into() }
    }

    /// Reads the file.
    ///
    /// # Errors
    /// One problem that names the file when it cannot be read or is not UTF-8.
    pub fn read(path: &Path) -> Result<Self, Problems> {
        match fs::read_to_string(path) {
            Ok(text) => Ok(Self::new(path, text)),
            Err(error) => {
                let text =
                    format!("cannot read the configuration {}: {}", path.display(), why_unread(&error));
                Err(Problems(vec![Problem::new(text)]))
            }
        }
    }
}

pub(crate) fn why_unread(error: &io::Error) -> String {
    if error.kind() == io::ErrorKind::NotFound {
        return "there is no such file".to_owned();
    }
    if error.kind() == io::ErrorKind::InvalidData {
        return "it is not UTF-8 text".to_owned();
    }
    error.to_string()
}

/// A key that a flag sets.
#[derive(Clone, Debug)]
pub struct Assignment {
    pub(crate) key: String,
    pub(crate) value: Value,
    pub(crate) flag: String,
}

impl Assignment {
    /// `--set key=value`.
    ///
    /// # Errors
    /// A sentence when there is no `=` or no key.
    pub fn set(text: &str) -> Result<Self, Problem> {
        match text.split_once('=') {
            Some((key, value)) if !key.trim().is_empty() => {
                let key = key.trim();
                Ok(Self {
                    key: key.to_owned(),
                    value: Value::Loose(value.to_owned()),
                    flag: format!("--set {key}"),
                })
            }
            _ => Err(Problem::new(format!("--set {text}: write it as key=value, such as limits.drain=5s"))),
        }
    }

    /// A flag of its own, such as `--node NAME`, for `key`.
    #[must_use]
    pub fn flag(flag: &str, key: &str, value: &str) -> Self {
        Self { key: key.to_owned(), value: Value::Loose(value.to_owned()), flag: flag.to_owned() }
    }

    /// A flag that may be repeated, for a `key` that is a list.
    #[must_use]
    pub fn flags(flag: &str, key: &str, values: &[String]) -> Self {
        Self { key: key.to_owned(), value: Value::texts(values), flag: flag.to_owned() }
    }
}

/// Where a value came from.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Source {
    /// The table of keys.
    Default,
    /// A line of the file, counted from 1.
    File {
        /// The file as it was named.
        path: PathBuf,
        /// The line.
        line: usize,
    },
    /// An environment variable.
    Environment(String),
    /// A flag of the command line.
    Flag(String),
}

impl Source {
    /// One word for programs: `default`, `file`, `environment` or `flag`.
    #[must_use]
    pub fn kind(&self) -> &'static str {
        match self {
            Self::Default => "default",
            Self::File { .. } => "file",
            Self::Environment(_) => "environment",
            Self::Flag(_) => "flag",
        }
    }
}

impl fmt::Display for Source {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Default => f.write_str("default"),
            Self::File { path, line } => write!(f, "{}:{line}", path.display()),
            Self::Environment(name) => write!(f, "environment variable {name}"),
            Self::Flag(flag) => f.write_str(flag),
        }
    }
}

/// The key that an environment variable sets: `WHUB_SECTION__KEY` is `section.key`, `WHUB__KEY` a key without section.
/// `None` for names that are no configuration, such as `WHUB_TOKEN`.
pub(crate) fn key_of_variable(name: &str) -> Option<String> {
    let rest = name.strip_prefix(ENVIRONMENT_PREFIX)?;
    if let Some(key) = rest.strip_prefix('_') {
        return (!key.is_empty()).then(|| key.to_ascii_lowercase().replace("__", "."));
    }
    rest.contains("__").then(|| rest.to_ascii_lowercase().replace("__", "."))
}

/// The variable that sets `key`.
pub(crate) fn variable_of_key(key: &str) -> String {
    let lead = if key.contains('.') { "" } else { "_" };
    format!("{ENVIRONMENT_PREFIX}{lead}{}", key.to_ascii_uppercase().replace('.', "__"))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::keys::KEYS;

    #[test]
    fn variables_name_keys() {
        assert_eq!(key_of_variable("WHUB_LIMITS__CALL_TIMEOUT").as_deref(), Some("limits.call_timeout"));
        assert_eq!(key_of_variable("WHUB_AUTH__ANONYMOUS__CALL").as_deref(), Some("auth.anonymous.call"));
        assert_eq!(key_of_variable("WHUB__LISTEN").as_deref(), Some("listen"));
        for name in ["WHUB_SERVER", "WHUB_TOKEN", "WHUB_", "WHUB__", "PATH", "whub_log__level"] {
            assert_eq!(key_of_variable(name), None, "{name}");
        }
        for key in KEYS {
            assert_eq!(key_of_variable(&variable_of_key(key.name)).as_deref(), Some(key.name));
        }
    }
}
