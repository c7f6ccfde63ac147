//! Reads `[[endpoints]]` and the `config.ini`, makes endpoints of them, and refuses what does not go together.

use std::path::Path;

use whub_proto::names::{Channel, PairId, ServicePath};
use whub_transport::Trust;

use super::{
    Endpoint, EndpointAccess, Process, Target, ini_file,
    keys::{ENDPOINT_KEYS, EndpointDraft},
    name, own,
};
use crate::config::{
    Config, Problem, Secret, Source,
    fetch::Wanted,
    load::{Report, Sources, unknown},
    toml_file::Table,
};

/// What says something only of servers that the hub dials.
const OF_UPSTREAMS: [&str; 10] = [
    "balance",
    "headers",
    "authorization",
    "authorization_file",
    "authorization_env",
    "tls_roots",
    "connect_timeout",
    "health",
    "health_interval",
    "backoff_max",
];

/// Whether a key, at its default, has nothing to say of such an endpoint.
pub(crate) fn says_nothing(key: &str, draft: &EndpointDraft) -> bool {
    let is_dialled = draft.url.is_some() || !draft.upstreams.is_empty();
    match key {
        "upstreams" => true,
        "balance" => draft.upstreams.is_empty(),
        "clients" => draft.access != EndpointAccess::Named,
        key if OF_UPSTREAMS.contains(&key) => !is_dialled,
        key if OF_COMMANDS.contains(&key) => draft.command.is_none(),
        _ => false,
    }
}

/// What says something only of a process.
const OF_COMMANDS: [&str; 3] = ["command_folder", "command_restarts", "command_stop"];

/// An endpoint as it is written, with the places of its keys.
pub(crate) struct Written {
    pub(crate) draft: EndpointDraft,
    /// Where it begins.
    pub(crate) source: Source,
    /// Where each key is that was written.
    pub(crate) places: Vec<(&'static str, Source)>,
}

impl Written {
    fn place(&self, key: &str) -> Option<&Source> {
        self.places.iter().find(|(name, _)| *name == key).map(|(_, source)| source)
    }

    /// Where to say what is wrong with a key: at the key, else at the whole.
    fn at(&self, key: &str) -> &Source {
        self.place(key).unwrap_or(&self.source)
    }
}

/// Reads every endpoint, with the place where it is written; what is wrong goes to `report`.
pub(crate) fn read(
    tables: &[Table],
    config: &Config,
    sources: &Sources,
    environment: &[(String, String)],
    report: &mut Report,
) -> Vec<(Endpoint, Source)> {
    let mut written: Vec<_> = tables.iter().filter_map(|table| draft(table, report)).collect();
    if let Some(path) = &config.gateway.file {
        let source = sources.get("gateway.file").cloned().unwrap_or(Source::Default);
        written.extend(ini_file::read(Path::new(path), &source, report));
    }
    let mut endpoints = Vec::new();
    for written in written {
        if let Some(endpoint) = finish(&written, config, environment, &endpoints, report) {
            endpoints.push((endpoint, written.source));
        }
    }
    endpoints
}

/// The keys of one table; `None` if one of them is wrong.
fn draft(table: &Table, report: &mut Report) -> Option<Written> {
    let problems = report.problems.len();
    let mut written =
        Written { draft: EndpointDraft::default(), source: table.source.clone(), places: Vec::new() };
    for entry in &table.entries {
        let Some(key) = ENDPOINT_KEYS.iter().find(|key| key.name == entry.key) else {
            report.problems.push(unknown(&entry.source, &entry.key, ENDPOINT_KEYS, "key of an endpoint"));
            continue;
        };
        if let Err(misfit) = key.field.set(&mut written.draft, &entry.value) {
            let name = format!("endpoints.{}", key.name);
            let is_secret = key.field.is_secret();
            report.problems.push(Problem::misfit(&entry.source, &name, &entry.value, is_secret, misfit));
        }
        written.places.push((key.name, entry.source.clone()));
    }
    (report.problems.len() == problems).then_some(written)
}

fn finish(
    written: &Written,
    config: &Config,
    environment: &[(String, String)],
    known: &[(Endpoint, Source)],
    report: &mut Report,
) -> Option<Endpoint> {
    let problems = report.problems.len();
    let name = named(written, known, report)?;
    let target = target(written, &name, report)?;
    together(written, &name, &target, report);
    itself(written, &name, &target, config, report);
    authorities(written, &name, report);
    let authorization = authorization(written, &name, environment, report);
    let draft = &written.draft;
    let process = draft.command.clone().map(|command| Process {
        command,
        folder: draft.command_folder.clone(),
        restarts_max: draft.command_restarts,
        stop_timeout: draft.command_stop,
    });
    let endpoint = Endpoint {
        // A second name that differs by its letters' case alone is none.
        alias: draft.alias.clone().filter(|alias| !alias.eq_ignore_ascii_case(&name)),
        name,
        target,
        balance: draft.balance,
        headers: draft.headers.clone(),
        authorization,
        protocols: draft.protocols.clone(),
        tls_roots: draft.tls_roots.clone(),
        connect_timeout: draft.connect_timeout,
        health: draft.health.clone(),
        health_interval: draft.health_interval,
        backoff_max: draft.backoff_max,
        connections: draft.connections,
        access: draft.access,
        clients: draft.clients.clone(),
        when_down: draft.when_down,
        window_bytes: draft.window_bytes,
        process,
    };
    (report.problems.len() == problems).then_some(endpoint)
}

/// The name, if both names can be said and nobody else has them.
fn named(written: &Written, known: &[(Endpoint, Source)], report: &mut Report) -> Option<String> {
    let Some(own_name) = &written.draft.name else {
        report.problem(&written.source, "this endpoint has no name; clients ask for endpoints by name");
        return None;
    };
    let problems = report.problems.len();
    for (key, name) in [("name", Some(own_name)), ("alias", written.draft.alias.as_ref())] {
        let Some(name) = name else { continue };
        let source = written.at(key);
        if let Some(flaw) = name::flaw(name) {
            report.problem(source, format!("{name:?} cannot be the name of an endpoint: it {flaw}"));
        }
        if let Some((_, there)) = known.iter().find(|(other, _)| other.is_called(name)) {
            let text = format!(
                "an endpoint {name:?} is at {there} already; upper and lower case are the same in their names"
            );
            report.problem(source, text);
        }
    }
    (report.problems.len() == problems).then(|| own_name.clone())
}

/// What the endpoint is: exactly one kind of thing.
fn target(written: &Written, name: &str, report: &mut Report) -> Option<Target> {
    const KINDS: [&str; 5] = ["url", "upstreams", "service", "channel", "pair"];
    let draft = &written.draft;
    let given: Vec<&str> = KINDS.into_iter().filter(|kind| written.place(kind).is_some()).collect();
    let [kind] = given.as_slice() else {
        let text = match given.as_slice() {
            [first, second, ..] => {
                format!("endpoint {name:?} has both {first} and {second}; it is one of them")
            }
            _ => format!("endpoint {name:?} is nothing yet; give it one of {}", KINDS.join(", ")),
        };
        report.problem(given.get(1).map_or(&written.source, |second| written.at(second)), text);
        return None;
    };
    let made = if let Some(url) = &draft.url {
        Ok(Target::Upstreams(vec![url.clone()]))
    } else if let Some(path) = &draft.service {
        ServicePath::parse(path)
            .map(|path| Target::Service(path.as_str().to_owned()))
            .map_err(|e| e.to_string())
    } else if let Some(channel) = &draft.channel {
        Channel::parse(channel)
            .map(|name| Target::Channel(name.as_str().to_owned()))
            .map_err(|e| e.to_string())
    } else if let Some(id) = &draft.pair {
        PairId::parse(id).map(|id| Target::Pair(id.as_str().to_owned())).map_err(|e| e.to_string())
    } else if draft.upstreams.is_empty() {
        Err("the list is empty; name at least one URL".to_owned())
    } else {
        Ok(Target::Upstreams(draft.upstreams.clone()))
    };
    made.map_err(|flaw| report.problem(written.at(kind), format!("endpoints.{kind}: {flaw}"))).ok()
}

/// Keys that would say nothing beside the others.
fn together(written: &Written, name: &str, target: &Target, report: &mut Report) {
    let draft = &written.draft;
    let mut idle = |key: &str, why: &str| {
        if let Some(source) = written.place(key) {
            report.problem(source, format!("endpoint {name:?}: {key} says nothing here; {why}"));
        }
    };
    match target {
        Target::Upstreams(urls) => {
            if urls.len() == 1 {
                idle("balance", "there is only one upstream");
            }
            if !urls.iter().any(|url| url.server.tls()) {
                idle("tls_roots", "no upstream is wss or https");
            }
        }
        Target::Service(_) | Target::Channel(_) | Target::Pair(_) => {
            for key in OF_UPSTREAMS {
                idle(key, "it is for url and upstreams");
            }
        }
    }
    if matches!(target, Target::Channel(_) | Target::Pair(_)) {
        idle("command", "a process serves url, upstreams or service");
    }
    if draft.command.is_none() {
        for key in OF_COMMANDS {
            idle(key, "there is no command");
        }
    }
    match (draft.access, draft.clients.is_empty()) {
        (EndpointAccess::Named, true) => {
            let text =
                format!("endpoint {name:?}: access = \"named\" needs the names of tokens in `clients`");
            report.problem(written.at("access"), text);
        }
        (EndpointAccess::Public | EndpointAccess::Authenticated, false) => {
            let text = format!("endpoint {name:?}: `clients` is for access = \"named\"");
            report.problem(written.at("clients"), text);
        }
        (EndpointAccess::Named, false) | (EndpointAccess::Public | EndpointAccess::Authenticated, true) => {}
    }
}

/// An endpoint that is this hub would call itself without end.
fn itself(written: &Written, name: &str, target: &Target, config: &Config, report: &mut Report) {
    let Target::Upstreams(urls) = target else { return };
    let key = if written.place("url").is_some() { "url" } else { "upstreams" };
    for url in urls {
        if let Some(listener) = own::listeners(config).find(|listener| url.reaches(listener)) {
            report.problem(written.at(key), own::sentence(name, url, listener));
        }
    }
}

/// An endpoint whose authorities cannot be read would be down until somebody looks into the log.
fn authorities(written: &Written, name: &str, report: &mut Report) {
    let Some(path) = &written.draft.tls_roots else { return };
    if let Err(error) = Trust::File(path.clone()).check() {
        report.problem(written.at("tls_roots"), format!("endpoint {name:?}: tls_roots: {error}"));
    }
}

fn authorization(
    written: &Written,
    name: &str,
    environment: &[(String, String)],
    report: &mut Report,
) -> Option<Secret> {
    let draft = &written.draft;
    let wanted = Wanted {
        of: &format!("endpoint {name:?}"),
        what: "authorization",
        inline: draft.authorization.as_ref(),
        file: draft.authorization_file.as_ref(),
        variable: draft.authorization_env.as_ref(),
        parse: |text| Secret::of_header(text),
    };
    let fetched = wanted.fetch(&written.source, environment, report);
    fetched.unwrap_or_else(|why| {
        report.problem(&written.source, why);
        None
    })
}
