//! `[[tokens]]`: reads each table, fetches its secret, and refuses what would be ambiguous.

use std::path::PathBuf;

use super::{
    Grant, Problem, Secret, Source, Token,
    fetch::Wanted,
    keys::TOKEN_KEYS,
    load::{Report, unknown},
    toml_file::Table,
};

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
            let is_secret = key.field.is_secret();
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
    let of = format!("token {name:?}");
    let wanted = Wanted {
        of: &of,
        what: "secret",
        inline: entry.secret.as_ref(),
        file: entry.secret_file.as_ref(),
        variable: entry.secret_env.as_ref(),
        parse: |text| Secret::new(text),
    };
    let missing = || format!("{of} has no secret; give it one of secret, secret_file and secret_env");
    let fetched = wanted.fetch(source, environment, report).and_then(|secret| secret.ok_or_else(missing));
    fetched.map_err(|why| report.problem(source, why)).ok()
}
