//! Lays the sources over each other: defaults, file, environment, flags.

use std::collections::BTreeMap;

use super::{
    Config, Input, Problem, Problems, Source, check, endpoints,
    field::Field,
    keys::{KEYS, Key},
    layers::{key_of_variable, variable_of_key},
    services, tokens, toml_file,
    value::Value,
};

/// A configuration with what `whub config show` needs to know about it.
#[derive(Clone, Debug)]
pub struct Loaded {
    /// The result.
    pub config: Config,
    /// What is allowed but deserves a line in the log.
    pub warnings: Vec<Problem>,
    pub(crate) sources: Sources,
    /// Where each of the endpoints was written.
    pub(crate) endpoint_sources: Vec<Source>,
}

/// The source of each key that was set; the others are defaults.
pub(crate) type Sources = BTreeMap<&'static str, Source>;

/// Reads everything in `input` and checks it.
///
/// # Errors
/// All problems that were found, in the order file, environment, flags; then, if these gave none, those between keys.
pub fn load(input: &Input) -> Result<Loaded, Problems> {
    let mut layers = Layers { config: Config::default(), sources: Sources::new(), report: Report::default() };
    let (mut tables, mut endpoint_tables) = (Vec::new(), Vec::new());
    if let Some(file) = &input.file {
        match toml_file::parse(file) {
            Ok(contents) => {
                layers.file(&contents, input);
                tables = contents.services;
                endpoint_tables = contents.endpoints;
            }
            Err(problem) => layers.report.problems.push(problem),
        }
    }
    layers.environment(&input.environment);
    for flag in &input.flags {
        layers.assign(&flag.key, &flag.value, &Source::Flag(flag.flag.clone()));
    }
    let Layers { mut config, sources, mut report } = layers;
    // Last, because they begin with the defaults that all sources together give.
    config.services = services::read(&tables, &config.service_defaults, &mut report);
    let found = endpoints::table::read(&endpoint_tables, &config, &sources, &input.environment, &mut report);
    let endpoint_sources;
    (config.endpoints, endpoint_sources) = found.into_iter().unzip();
    if report.problems.is_empty() {
        report.problems = check::between_keys(&config, &sources);
    }
    if !report.problems.is_empty() {
        return Err(Problems(report.problems));
    }
    Ok(Loaded { config, warnings: report.warnings, sources, endpoint_sources })
}

/// What was found on the way.
#[derive(Default)]
pub(crate) struct Report {
    pub(crate) problems: Vec<Problem>,
    pub(crate) warnings: Vec<Problem>,
}

impl Report {
    pub(crate) fn problem(&mut self, source: &Source, text: impl Into<String>) {
        self.problems.push(Problem::at(source, text));
    }

    pub(crate) fn warning(&mut self, source: &Source, text: impl Into<String>) {
        self.warnings.push(Problem::at(source, text));
    }
}

struct Layers {
    config: Config,
    sources: Sources,
    report: Report,
}

impl Layers {
    fn file(&mut self, contents: &toml_file::Contents, input: &Input) {
        for entry in &contents.entries {
            self.assign(&entry.key, &entry.value, &entry.source);
        }
        self.config.tokens = tokens::read(&contents.tokens, &input.environment, &mut self.report);
    }

    fn environment(&mut self, environment: &[(String, String)]) {
        // Sorted, so that `auth.anonymous` comes before the lists below it, and errors come in a steady order.
        let mut variables: Vec<_> = environment.iter().collect();
        variables.sort();
        for (name, value) in variables {
            let Some(key) = key_of_variable(name) else { continue };
            self.assign(&key, &Value::Loose(value.clone()), &Source::Environment(name.clone()));
        }
    }

    fn assign(&mut self, name: &str, value: &Value, source: &Source) {
        let Some(key) = KEYS.iter().find(|key| key.name == name) else {
            self.report.problems.push(unknown_key(name, source));
            return;
        };
        if let Err(misfit) = key.field.set(&mut self.config, value) {
            self.report.problems.push(Problem::misfit(source, name, value, false, misfit));
            return;
        }
        if matches!(key.field, Field::Access(_)) {
            // The word replaces the lists of weaker sources.
            let below = format!("{name}.");
            self.sources.retain(|key, _| !key.starts_with(&below));
        }
        self.sources.insert(key.name, source.clone());
    }
}

fn unknown_key(name: &str, source: &Source) -> Problem {
    if name == "tokens" || name.starts_with("tokens.") {
        let text = "tokens are tables of the configuration file: write [[tokens]] there, \
                    with secret_file or secret_env to keep the secret out of it";
        return Problem::at(source, text);
    }
    if name == "services" || name.starts_with("services.") {
        let text = "what is said of single services are tables of the configuration file: write [[services]] there; \
                    service_defaults is for all others";
        return Problem::at(source, text);
    }
    if name == "endpoints" || name.starts_with("endpoints.") {
        let text = "endpoints are tables of the configuration file: write [[endpoints]] there, or name a config.ini \
                    (--gateway)";
        return Problem::at(source, text);
    }
    if toml_file::is_section(name) {
        return Problem::at(source, format!("`{name}` is a section, not a value; its keys are `{name}.…`"));
    }
    unknown(source, name, KEYS, "key")
}

/// An unknown key, with the nearest one that exists.
pub(crate) fn unknown<T>(source: &Source, name: &str, keys: &[Key<T>], what: &str) -> Problem {
    let nearest = keys.iter().min_by_key(|key| distance(name, key.name)).map_or("", |key| key.name);
    let variable = match source {
        Source::Environment(_) => format!(" ({})", variable_of_key(nearest)),
        Source::Default | Source::File { .. } | Source::Flag(_) => String::new(),
    };
    Problem::at(source, format!("unknown {what} `{name}`; the nearest valid one is `{nearest}`{variable}"))
}

/// How far apart two keys are: as a whole, or by their last parts when only the section is wrong.
fn distance(written: &str, known: &str) -> usize {
    let whole = strsim::osa_distance(written, known);
    let last = |key: &str| key.rsplit('.').next().unwrap_or_default().to_owned();
    // A right name in the wrong section is nearer than a name two letters off, but not than a slip of one letter.
    whole.min(strsim::osa_distance(&last(written), &last(known)) * 2 + 2)
}
