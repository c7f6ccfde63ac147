//! `[[tokens]]`: reads each table, fetches its secret, and refuses what would be ambiguous.

use std::{
    fs::File,
    io::{self, Read},
    path::{Path, PathBuf},
};

use super::{
    Grant, Problem, Secret, Source, Token,
    field::Field,
    keys::TOKEN_KEYS,
    load::{Report, unknown},
    toml_file::Table,
};

/// A file with a secret holds one line; more than this is not read.
const SECRET_FILE_BYTES_MAX: u64 = 64 << 10;

/// A token as it is written, before its secret is fetched.
#[derive(Default)]
pub(crate) struct TokenEntry {
    pub(crate) name: Option<String>,
    pub(crate) secret: Option<Secret>,
    pub(crate) secret_file: Option<PathBuf>,
    pub(crate) secret_env: Option<String>,
    pub(crate) grant: Grant,
}

/// Reads every token; what is wrong goes to `report`.
pub(crate) fn read(tables: &[Table], environment: &[(String, String)], report: &mut Report) -> Vec<Token> {
    let mut tokens: Vec<Token> = Vec::new();
    for table in tables {
        let problems = report.problems.len();
        let entry = entry(table, report);
        let name = name(&entry, &table.source, report);
        if report.problems.len() > problems {
            continue;
        }
        let Some(secret) = secret(&entry, &name, &table.source, environment, report) else { continue };
        for other in &tokens {
            if other.name == name {
                report.problem(
                    &table.source,
                    format!("two tokens are named {name:?}; names in logs must tell them apart"),
                );
            }
            if other.secret == secret {
                report.problem(
                    &table.source,
                    format!("tokens {:?} and {name:?} have the same secret", other.name),
                );
            }
        }
        tokens.push(Token { name, secret, grant: entry.grant });
    }
    tokens
}

fn entry(table: &Table, report: &mut Report) -> TokenEntry {
    let mut token = TokenEntry::default();
    for entry in &table.entries {
        let Some(key) = TOKEN_KEYS.iter().find(|key| key.name == entry.key) else {
            report.problems.push(unknown(&entry.source, &entry.key, TOKEN_KEYS, "key of a token"));
            continue;
        };
        if let Err(misfit) = key.field.set(&mut token, &entry.value) {
            let name = format!("tokens.{}", key.name);
            let is_secret = matches!(key.field, Field::Secret(_));
            report.problems.push(Problem::misfit(&entry.source, &name, &entry.value, is_secret, misfit));
        }
    }
    token
}

fn name(entry: &TokenEntry, source: &Source, report: &mut Report) -> String {
    if let Some(name) = &entry.name {
        if name.starts_with('@') {
            report.problem(
                source,
                format!("{name:?} looks like a group; the names of tokens do not begin with `@`"),
            );
        }
        return name.clone();
    }
    report.problem(source, "this token has no name; names stand for tokens in logs");
    String::new()
}

fn secret(
    entry: &TokenEntry,
    name: &str,
    source: &Source,
    environment: &[(String, String)],
    report: &mut Report,
) -> Option<Secret> {
    let fetched = match (&entry.secret, &entry.secret_file, &entry.secret_env) {
        (Some(secret), None, None) => Ok(secret.clone()),
        (None, Some(path), None) => from_file(path, name, source, report),
        (None, None, Some(variable)) => from_environment(variable, environment),
        (None, None, None) => {
            Err("has no secret; give it one of secret, secret_file and secret_env".to_owned())
        }
        (Some(_), ..) | (None, Some(_), Some(_)) => {
            Err("has more than one of secret, secret_file and secret_env".to_owned())
        }
    };
    fetched.map_err(|why| report.problem(source, format!("token {name:?} {why}"))).ok()
}

fn from_environment(variable: &str, environment: &[(String, String)]) -> Result<Secret, String> {
    let value = environment.iter().find(|(name, _)| name == variable).map(|(_, value)| value.as_str());
    let value = value.ok_or_else(|| format!("wants its secret from {variable}, which is not set"))?;
    Secret::new(value).map_err(|flaw| format!("wants its secret from {variable}, which {flaw}"))
}

fn from_file(path: &Path, name: &str, source: &Source, report: &mut Report) -> Result<Secret, String> {
    let shown = path.display();
    let text = read_secret(path).map_err(|error| format!("wants its secret from {shown}: {error}"))?;
    if readable_by_others(path) {
        let advice = format!("chmod 600 {shown}");
        report.warning(source, format!("the secret of token {name:?} can be read by other users: {advice}"));
    }
    let line = text.lines().next().unwrap_or_default();
    Secret::new(line).map_err(|flaw| format!("wants its secret from {shown}, whose first line {flaw}"))
}

fn read_secret(path: &Path) -> io::Result<String> {
    let mut text = String::new();
    File::open(path)?.take(SECRET_FILE_BYTES_MAX).read_to_string(&mut text)?;
    Ok(text)
}

#[cfg(unix)]
fn readable_by_others(path: &Path) -> bool {
    use std::os::unix::fs::PermissionsExt;
    std::fs::metadata(path).is_ok_and(|metadata| metadata.permissions().mode() & 0o077 != 0)
}

#[cfg(not(unix))]
fn readable_by_others(_path: &Path) -> bool {
    false
}
