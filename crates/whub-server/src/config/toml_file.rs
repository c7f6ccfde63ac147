//! Reads a TOML file into keys with their lines.

use std::path::Path;

use toml::{
    Spanned,
    de::{DeTable, DeValue},
};

use super::{ConfigFile, Problem, Source, keys::KEYS, value::Value};

/// A key of the file.
pub(crate) struct Entry {
    /// Name with dots.
    pub(crate) key: String,
    pub(crate) value: Value,
    pub(crate) source: Source,
}

/// One table of a list: `[[tokens]]`, `[[services]]`, `[[endpoints]]`.
pub(crate) struct Table {
    pub(crate) source: Source,
    pub(crate) entries: Vec<Entry>,
}

/// What a file says, in the order of its lines.
pub(crate) struct Contents {
    pub(crate) entries: Vec<Entry>,
    pub(crate) tokens: Vec<Table>,
    pub(crate) services: Vec<Table>,
    pub(crate) endpoints: Vec<Table>,
}

/// Parses `file`. The message of a syntax error never repeats the line, which may hold a secret.
pub(crate) fn parse(file: &ConfigFile) -> Result<Contents, Problem> {
    let lines = Lines { path: &file.path, text: &file.text };
    let table = DeTable::parse(&file.text).map_err(|error| {
        let source = lines.source(error.span().map_or(0, |span| span.start));
        let is_ini = file.path.extension().is_some_and(|extension| extension.eq_ignore_ascii_case("ini"));
        let hint = if is_ini { "; for a config.ini of SocketMaster there is --gateway" } else { "" };
        Problem::at(&source, format!("this is not TOML: {}{hint}", error.message().trim_end()))
    })?;
    let mut contents =
        Contents { entries: Vec::new(), tokens: Vec::new(), services: Vec::new(), endpoints: Vec::new() };
    for (name, value) in table.get_ref() {
        match (name.get_ref().as_ref(), value.get_ref()) {
            (list @ ("tokens" | "services" | "endpoints"), DeValue::Array(tables))
                if tables.iter().all(|item| item.get_ref().is_table()) =>
            {
                let tables = tables.iter().map(|item| table_of(item, &lines)).collect();
                let place = match list {
                    "tokens" => &mut contents.tokens,
                    "services" => &mut contents.services,
                    _ => &mut contents.endpoints,
                };
                *place = tables;
            }
            _ => flatten("", name, value, &lines, &mut contents.entries),
        }
    }
    contents.entries.sort_by_key(|entry| entry.source.line());
    Ok(contents)
}

impl Source {
    fn line(&self) -> usize {
        match self {
            Self::File { line, .. } => *line,
            Self::Default | Self::Environment(_) | Self::Flag(_) => 0,
        }
    }
}

type Name<'a> = Spanned<std::borrow::Cow<'a, str>>;
type Item<'a> = Spanned<DeValue<'a>>;

fn table_of(table: &Item<'_>, lines: &Lines<'_>) -> Table {
    let mut entries = Vec::new();
    if let DeValue::Table(keys) = table.get_ref() {
        for (name, value) in keys {
            entries.push(entry(segment(name.get_ref()), name, value, lines));
        }
    }
    entries.sort_by_key(|entry| entry.source.line());
    Table { source: lines.source(table.span().start), entries }
}

/// Turns tables into keys with dots.
fn flatten(prefix: &str, name: &Name<'_>, value: &Item<'_>, lines: &Lines<'_>, entries: &mut Vec<Entry>) {
    let key = format!("{prefix}{}", segment(name.get_ref()));
    let DeValue::Table(table) = value.get_ref() else {
        entries.push(entry(key, name, value, lines));
        return;
    };
    if KEYS.iter().any(|known| known.name == key) {
        // The one key that may be a table is `auth.anonymous`; its lists permit, what they leave out is forbidden.
        let value = Value::Text("none".to_owned());
        entries.push(Entry { key: key.clone(), value, source: lines.source(name.span().start) });
    } else if table.is_empty() && !is_section(&key) {
        entries.push(entry(key.clone(), name, value, lines));
    }
    let prefix = format!("{key}.");
    for (name, value) in table {
        flatten(&prefix, name, value, lines, entries);
    }
}

fn entry(key: String, name: &Name<'_>, value: &Item<'_>, lines: &Lines<'_>) -> Entry {
    Entry { key, value: Value::from_toml(value.get_ref()), source: lines.source(name.span().start) }
}

/// A part of a key, quoted where a bare one would be read differently.
fn segment(name: &str) -> String {
    let bare =
        !name.is_empty() && name.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"_-".contains(&byte));
    if bare { name.to_owned() } else { format!("{name:?}") }
}

pub(crate) fn is_section(name: &str) -> bool {
    KEYS.iter().any(|key| key.name.strip_prefix(name).is_some_and(|rest| rest.starts_with('.')))
}

/// Finds the line of a place in the text.
struct Lines<'a> {
    path: &'a Path,
    text: &'a str,
}

impl Lines<'_> {
    fn source(&self, offset: usize) -> Source {
        let before = self.text.as_bytes().get(..offset).unwrap_or(self.text.as_bytes());
        let line = before.iter().filter(|byte| **byte == b'\n').count() + 1;
        Source::File { path: self.path.to_owned(), line }
    }
}
