//! `service_defaults` and `[[services]]`: how providers are chosen, who waits for one, who may call.
//!
//! A `[[services]]` table begins with what `service_defaults` says and is for every service that its pattern covers and
//! no narrower one does.

use std::sync::Arc;
use std::time::Duration;

use whub_core::{AccessRule, Choose, ServicePolicies, ServiceSettings};
use whub_proto::names::Pattern;

use super::{
    Config, Problem, ServiceRules, Source,
    keys::SERVICE_KEYS,
    load::{Report, unknown},
    toml_file::Table,
};

/// Who may call a service.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ServiceAccess {
    /// Whom the strictest of its providers lets in.
    Providers,
    /// Everybody who is granted the path, whatever its providers say.
    Public,
    /// Of those, whoever showed a token.
    Authenticated,
    /// Of those, only the users that `clients` names.
    Named,
}

/// Section `service_defaults`, and what a `[[services]]` table says.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ServiceSection {
    /// How the provider of a call is chosen.
    pub choose: Choose,
    /// Calls that may wait for a free provider of one service.
    pub queue: usize,
    /// How long a call may wait for one.
    pub queue_wait: Duration,
    /// Deadline of calls that name none; `None` is `limits.call_timeout`.
    pub call_timeout: Option<Duration>,
    /// Who may call.
    pub access: ServiceAccess,
    /// With [`ServiceAccess::Named`]: the names of tokens.
    pub clients: Vec<String>,
}

/// One `[[services]]` table.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ServiceEntry {
    /// The services that it is for: those that this covers.
    pub pattern: Pattern,
    /// What it says.
    pub section: ServiceSection,
    /// Limits and rules for headers.
    pub rules: ServiceRules,
}

/// A table as it is written, before its pattern is known to be there.
#[derive(Clone)]
pub(crate) struct ServiceDraft {
    pub(crate) pattern: Option<Pattern>,
    pub(crate) section: ServiceSection,
    pub(crate) rules: ServiceRules,
}

/// Reads every table; what is wrong goes to `report`.
pub(crate) fn read(tables: &[Table], defaults: &ServiceSection, report: &mut Report) -> Vec<ServiceEntry> {
    let mut services: Vec<ServiceEntry> = Vec::new();
    for table in tables {
        let problems = report.problems.len();
        let mut draft =
            ServiceDraft { pattern: None, section: defaults.clone(), rules: ServiceRules::default() };
        for entry in &table.entries {
            let Some(key) = SERVICE_KEYS.iter().find(|key| key.name == entry.key) else {
                report.problems.push(unknown(&entry.source, &entry.key, SERVICE_KEYS, "key of a service"));
                continue;
            };
            if let Err(misfit) = key.field.set(&mut draft, &entry.value) {
                let name = format!("services.{}", key.name);
                report.problems.push(Problem::misfit(&entry.source, &name, &entry.value, false, misfit));
            }
        }
        if report.problems.len() == problems
            && let Some(entry) = finish(draft, &table.source, &services, report)
        {
            services.push(entry);
        }
    }
    services
}

fn finish(
    draft: ServiceDraft,
    source: &Source,
    known: &[ServiceEntry],
    report: &mut Report,
) -> Option<ServiceEntry> {
    let ServiceDraft { pattern, section, rules } = draft;
    let Some(pattern) = pattern else {
        report
            .problem(source, "this service has no pattern; write one, such as pattern = \"/billing/*rest\"");
        return None;
    };
    if known.iter().any(|other| other.pattern.covers(&pattern) && pattern.covers(&other.pattern)) {
        report.problem(source, format!("two tables are for the services of {pattern}"));
    }
    if let Some(flaw) = section.flaw() {
        report.problem(source, format!("service {pattern}: {flaw}"));
    }
    Some(ServiceEntry { pattern, section, rules })
}

impl ServiceSection {
    /// What does not go together.
    pub(crate) fn flaw(&self) -> Option<&'static str> {
        match (self.access, self.clients.is_empty()) {
            (ServiceAccess::Named, true) => Some("access = \"named\" needs the names of tokens in `clients`"),
            (ServiceAccess::Providers | ServiceAccess::Public | ServiceAccess::Authenticated, false) => {
                Some("`clients` is for access = \"named\"")
            }
            (ServiceAccess::Named, false)
            | (ServiceAccess::Providers | ServiceAccess::Public | ServiceAccess::Authenticated, true) => None,
        }
    }

    fn settings(&self) -> Arc<ServiceSettings> {
        let clients = || self.clients.iter().map(|name| name.as_str().into()).collect();
        Arc::new(ServiceSettings {
            choose: self.choose,
            queue: self.queue,
            queue_wait: self.queue_wait,
            call_timeout: self.call_timeout,
            access: match self.access {
                ServiceAccess::Providers => None,
                ServiceAccess::Public => Some(AccessRule::Public),
                ServiceAccess::Authenticated => Some(AccessRule::Authenticated),
                ServiceAccess::Named => Some(AccessRule::Named(clients())),
            },
        })
    }
}

impl Config {
    /// What it says of services, for the hub.
    #[must_use]
    pub fn policies(&self) -> ServicePolicies {
        ServicePolicies {
            default: self.service_defaults.settings(),
            entries: self
                .services
                .iter()
                .map(|entry| (entry.pattern.clone(), entry.section.settings()))
                .collect(),
        }
    }
}
