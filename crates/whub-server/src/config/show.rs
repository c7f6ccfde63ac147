//! `whub config show`: the effective values, each with its source.

use serde_json::{Map, json};

use super::{
    Config, Loaded, ServiceRules, Source,
    endpoints::{
        keys::{ENDPOINT_KEYS, EndpointDraft},
        table::says_nothing,
    },
    keys::{KEYS, Key, SERVICE_KEYS, TOKEN_KEYS, is_service_default},
    services::ServiceDraft,
    tokens::TokenEntry,
    value::Value,
};

impl Loaded {
    /// Where the value of `key` came from.
    #[must_use]
    pub fn source(&self, key: &str) -> Source {
        self.sources.get(key).cloned().unwrap_or(Source::Default)
    }

    /// The effective values in TOML, with the source of each as a comment. Secrets are redacted.
    #[must_use]
    pub fn show(&self) -> String {
        let lines: Vec<_> = self.lines().collect();
        let width =
            lines.iter().map(|(name, value, _)| name.len() + value.to_string().len() + 3).max().unwrap_or(0);
        let mut shown = String::new();
        for (name, value, source) in lines {
            // What is unset has no TOML form; as a comment it is still listed.
            let comment = if value == Value::Unset { "# " } else { "" };
            let line = format!("{comment}{name} = {value}");
            shown.push_str(&format!("{line:width$}  # {source}\n"));
        }
        for mut token in self.tokens() {
            shown.push_str("\n[[tokens]]\n");
            for key in TOKEN_KEYS {
                let value = key.field.show(&mut token);
                if value != Value::Unset {
                    shown.push_str(&format!("{} = {value}\n", key.name));
                }
            }
        }
        for mut service in self.services() {
            shown.push_str("\n[[services]]\n");
            for key in SERVICE_KEYS {
                let value = key.field.show(&mut service);
                if value != Value::Unset && !is_left_out(key, &service) {
                    shown.push_str(&format!("{} = {value}\n", key.name));
                }
            }
        }
        for (endpoint, source) in self.endpoints() {
            shown.push_str(&format!("\n[[endpoints]]  # {source}\n"));
            for key in ENDPOINT_KEYS {
                if let Some(value) = said(key, &endpoint) {
                    shown.push_str(&format!("{} = {value}\n", key.name));
                }
            }
        }
        shown
    }

    /// The same as JSON: `values` by key, each with `value`, `source` (`default`, `file`, `environment`, `flag`) and,
    /// unless it is a default, `at`; `tokens`, `services` and `endpoints`.
    #[must_use]
    pub fn show_json(&self) -> serde_json::Value {
        let mut values = Map::new();
        for (name, value, source) in self.lines() {
            let mut entry = json!({ "value": value.to_json(), "source": source.kind() });
            if source != Source::Default {
                entry["at"] = source.to_string().into();
            }
            values.insert(name.to_owned(), entry);
        }
        let tokens: Vec<_> = self.tokens().map(token_json).collect();
        let services: Vec<_> = self.services().map(service_json).collect();
        let endpoints: Vec<_> = self.endpoints().map(endpoint_json).collect();
        json!({ "values": values, "tokens": tokens, "services": services, "endpoints": endpoints })
    }

    fn lines(&self) -> impl Iterator<Item = (&'static str, Value, Source)> {
        let shown = move |key: &'static Key<Config>| {
            // A copy each, because leading to a list of `auth.anonymous` would make it.
            let value = key.field.show(&mut self.config.clone());
            (key.name, value, self.source(key.name))
        };
        KEYS.iter().map(shown).filter(|(name, value, source)| {
            let unsaid_list = name.starts_with("auth.anonymous.") && *source == Source::Default;
            let is_table = matches!(value, Value::Other(_));
            !unsaid_list && !is_table
        })
    }

    fn services(&self) -> impl Iterator<Item = ServiceDraft> {
        self.config.services.iter().map(|entry| ServiceDraft {
            pattern: Some(entry.pattern.clone()),
            section: entry.section.clone(),
            rules: entry.rules.clone(),
        })
    }

    fn endpoints(&self) -> impl Iterator<Item = (EndpointDraft, &Source)> {
        self.config.endpoints.iter().map(EndpointDraft::from).zip(&self.endpoint_sources)
    }

    fn tokens(&self) -> impl Iterator<Item = TokenEntry> {
        self.config.tokens.iter().map(|token| TokenEntry {
            name: Some(token.name.clone()),
            secret: Some(token.secret.clone()),
            grant: token.grant.clone(),
            ..TokenEntry::default()
        })
    }
}

/// Whether a table said nothing of a key that has no default among `service_defaults`.
fn is_left_out(key: &Key<ServiceDraft>, service: &ServiceDraft) -> bool {
    let mut silent = ServiceDraft { rules: ServiceRules::default(), ..service.clone() };
    !is_service_default(key.name)
        && key.name != "pattern"
        && key.field.show(&mut service.clone()) == key.field.show(&mut silent)
}

/// The value of a key, if it says something of what the endpoint is: not, for instance, of a process that it has not.
fn said(key: &Key<EndpointDraft>, endpoint: &EndpointDraft) -> Option<Value> {
    let value = key.field.show(&mut endpoint.clone());
    let is_default = value == key.field.show(&mut EndpointDraft::default());
    (value != Value::Unset && !(is_default && says_nothing(key.name, endpoint))).then_some(value)
}

fn endpoint_json((endpoint, source): (EndpointDraft, &Source)) -> serde_json::Value {
    let values = ENDPOINT_KEYS.iter().filter_map(|key| Some((key.name, said(key, &endpoint)?)));
    let mut entry: Map<_, _> = values.map(|(name, value)| (name.to_owned(), value.to_json())).collect();
    entry.insert("at".to_owned(), source.to_string().into());
    entry.into()
}

fn service_json(mut service: ServiceDraft) -> serde_json::Value {
    let mut entry = Map::new();
    for key in SERVICE_KEYS {
        let value = key.field.show(&mut service);
        if value != Value::Unset && !is_left_out(key, &service) {
            entry.insert(key.name.to_owned(), value.to_json());
        }
    }
    entry.into()
}

fn token_json(mut token: TokenEntry) -> serde_json::Value {
    let mut entry = Map::new();
    for key in TOKEN_KEYS {
        let value = key.field.show(&mut token);
        if value != Value::Unset {
            entry.insert(key.name.to_owned(), value.to_json());
        }
    }
    entry.into()
}
