//! The `config.ini` of SocketMaster: a section for each endpoint, with `Name` and `Port`; here with `Host`, `Path`,
//! `Url` and `Command` too.
//!
//! The section and `Name` are both names of the endpoint. Upper and lower case of keys are the same. A line that is
//! nothing of the kind is a warning: the example in SocketMaster's README ends in some, and it has to be read.

use std::{fs, path::Path};

use whub_transport::{AddressError, address::Host};

use super::{EndpointUrl, keys::EndpointDraft, spelling::url_of, table::Written};
use crate::config::{
    Source,
    ini::{self, Section, StrayKind},
    layers::why_unread,
    load::Report,
};

/// The keys, as they are written in the original or would be.
const KEYS: [&str; 6] = ["Name", "Port", "Host", "Path", "Url", "Command"];

/// Reads the file. `named`: where the configuration names it. What is wrong goes to `report`.
pub(crate) fn read(path: &Path, named: &Source, report: &mut Report) -> Vec<Written> {
    let text = match fs::read_to_string(path) {
        Ok(text) => text,
        Err(error) => {
            let text = format!("cannot read the endpoints in {}: {}", path.display(), why_unread(&error));
            report.problem(named, text);
            return Vec::new();
        }
    };
    endpoints(path, &text, report)
}

/// What the text of the file gives; `path` only names it in messages.
fn endpoints(path: &Path, text: &str, report: &mut Report) -> Vec<Written> {
    let at = |line| Source::File { path: path.to_owned(), line };
    let ini = ini::parse(text);
    for stray in &ini.strays {
        let (line, says) = (at(stray.line), says(stray.kind));
        match stray.kind {
            StrayKind::Words => report.warning(&line, says),
            StrayKind::NoKey | StrayKind::Homeless | StrayKind::Bracket => report.problem(&line, says),
        }
    }
    if ini.sections.is_empty() && ini.strays.is_empty() {
        report.warning(&at(1), "this file names no endpoints");
    }
    ini.sections.iter().filter_map(|section| endpoint(section, &at, report)).collect()
}

fn says(kind: StrayKind) -> &'static str {
    match kind {
        StrayKind::Words => "this line is passed over; it is neither `[section]` nor `Key = Value`",
        StrayKind::NoKey => "there is no key before the `=`",
        StrayKind::Homeless => "this key belongs to no endpoint; write its `[section]` above it",
        StrayKind::Bracket => "a section is a name in brackets and nothing else, such as `[Endpoint1]`",
    }
}

fn endpoint(section: &Section, at: &impl Fn(usize) -> Source, report: &mut Report) -> Option<Written> {
    let problems = report.problems.len();
    let mut said = Said { values: [None; KEYS.len()] };
    for entry in &section.entries {
        let Some(index) = KEYS.iter().position(|key| key.eq_ignore_ascii_case(&entry.key)) else {
            report.problem(&at(entry.line), unknown(&entry.key));
            continue;
        };
        if entry.value.is_empty() {
            report.problem(&at(entry.line), format!("{} is empty", KEYS[index]));
        } else if said.values[index].replace((&entry.value, entry.line)).is_some() {
            report
                .problem(&at(entry.line), format!("{} is written twice in [{}]", KEYS[index], section.name));
        }
    }
    if report.problems.len() > problems {
        return None;
    }
    match said.url(section) {
        Ok((url, line)) => Some(written(section, &said, url, at(line), at)),
        Err((line, text)) => {
            report.problem(&at(line), text);
            None
        }
    }
}

fn written(
    section: &Section,
    said: &Said<'_>,
    url: EndpointUrl,
    url_at: Source,
    at: &impl Fn(usize) -> Source,
) -> Written {
    let mut draft = EndpointDraft { url: Some(url), ..EndpointDraft::default() };
    let mut places = vec![("url", url_at)];
    let section_name = Some(section.name.clone()).filter(|name| !name.is_empty());
    match said.get("Name") {
        Some((name, line)) => {
            draft.name = Some(name.to_owned());
            draft.alias = section_name;
            places.push(("name", at(line)));
        }
        None => draft.name = section_name,
    }
    if let Some((command, line)) = said.get("Command") {
        draft.command = Some(command.to_owned());
        places.push(("command", at(line)));
    }
    Written { draft, source: at(section.line), places }
}

/// The values of a section with their lines, in the order of [`KEYS`].
struct Said<'a> {
    values: [Option<(&'a String, usize)>; KEYS.len()],
}

impl Said<'_> {
    fn get(&self, key: &str) -> Option<(&str, usize)> {
        let index = KEYS.iter().position(|known| *known == key)?;
        self.values[index].map(|(value, line)| (value.as_str(), line))
    }

    /// The URL and its line; or what is wrong, and where.
    fn url(&self, section: &Section) -> Result<(EndpointUrl, usize), (usize, String)> {
        let Some((url, line)) = self.get("Url") else { return self.url_of_parts(section) };
        let others = ["Port", "Host", "Path"];
        match others.into_iter().find_map(|key| Some((key, self.get(key)?.1))) {
            Some((key, other)) => {
                Err((other, format!("[{}] has a Url, which says the {key} too", section.name)))
            }
            None => url_of(url).map(|url| (url, line)).map_err(|flaw| (line, flaw)),
        }
    }

    fn url_of_parts(&self, section: &Section) -> Result<(EndpointUrl, usize), (usize, String)> {
        let Some((port, port_line)) = self.get("Port") else {
            return Err((
                section.line,
                format!("[{}] has no Port; write Port = 8080, or a Url", section.name),
            ));
        };
        if !port.parse::<u16>().is_ok_and(|port| port > 0) {
            return Err((port_line, format!("Port is {port:?}, but wants a number from 1 to 65535")));
        }
        let (host, host_line) = self.get("Host").unwrap_or(("127.0.0.1", port_line));
        let host: Host = host.parse().map_err(|error: AddressError| (host_line, error.to_string()))?;
        let (path, path_line) = self.get("Path").unwrap_or(("/", port_line));
        let slash = if path.starts_with(['/', '?']) { "" } else { "/" };
        let url = url_of(&format!("ws://{host}:{port}{slash}{path}"));
        url.map(|url| (url, port_line)).map_err(|flaw| (path_line, flaw))
    }
}

fn unknown(key: &str) -> String {
    let written = key.to_ascii_lowercase();
    let distance = |known: &&&str| strsim::osa_distance(&written, &known.to_ascii_lowercase());
    let nearest = KEYS.iter().min_by_key(distance).copied().unwrap_or_default();
    format!("unknown key `{key}` of an endpoint; the nearest valid one is `{nearest}`")
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn whatever_a_file_says_is_an_endpoint_or_a_problem_with_its_line(
            text in r"(\[(a|b|)\]\n|(Name|port|HOST|Path|Url|Command|x) ?=[ -~é]{0,12}\n|Port = [0-9]{1,6}\n|\PC{0,8}\n)*"
        ) {
            let mut report = Report::default();
            let sections = ini::parse(&text).sections.len();
            let found = endpoints(Path::new("config.ini"), &text, &mut report);
            prop_assert!(found.len() <= sections);
            prop_assert!(found.iter().all(|written| written.draft.url.is_some()));
            prop_assert!(found.len() == sections || !report.problems.is_empty());
            let lines = text.lines().count();
            for problem in report.problems.iter().chain(&report.warnings) {
                let Some(Source::File { line, .. }) = &problem.source else { panic!("{problem} has no line") };
                prop_assert!((1..=lines.max(1)).contains(line), "{}", problem);
            }
        }
    }
}
