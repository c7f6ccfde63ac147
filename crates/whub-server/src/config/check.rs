//! Rules between keys, and whether the files that a configuration names are there.

use whub_transport::{ListenAddress, TlsAcceptor};

use super::{Config, Endpoint, Problem, endpoints::own, load::Sources};
use crate::chain::KNOWN;

/// What single keys cannot know.
pub(crate) fn between_keys(config: &Config, sources: &Sources) -> Vec<Problem> {
    [
        listeners(config, sources),
        relay(config, sources),
        roles(config, sources),
        tls(config, sources),
        openness(config, sources),
        chain(config, sources),
        cors(config, sources),
        services(config, sources),
        own::flaw(config).map(Problem::new),
    ]
    .into_iter()
    .flatten()
    .collect()
}

fn problem(sources: &Sources, key: &str, text: impl Into<String>) -> Problem {
    Problem { source: sources.get(key).cloned(), text: text.into() }
}

fn listeners(config: &Config, sources: &Sources) -> Option<Problem> {
    if config.listen.is_empty() {
        return Some(problem(sources, "listen", "listen is empty; a node needs at least one address"));
    }
    let chosen_by_system =
        |address: &ListenAddress| matches!(address, ListenAddress::Tcp(at) if at.port == 0);
    let is_twice = |index: usize, all: &[ListenAddress]| {
        !chosen_by_system(&all[index]) && all[..index].contains(&all[index])
    };
    let all: Vec<ListenAddress> = config.listen.iter().chain(&config.relay.listen).cloned().collect();
    let twice = (0..all.len()).find(|index| is_twice(*index, &all))?;
    let address = &all[twice];
    Some(if twice < config.listen.len() {
        problem(sources, "listen", format!("listen names {address} twice"))
    } else {
        let text = format!("relay.listen names {address}, where the node listens already");
        problem(sources, "relay.listen", text)
    })
}

fn relay(config: &Config, sources: &Sources) -> Option<Problem> {
    let relay = &config.relay;
    relay.scope.as_ref()?;
    if relay.listen.is_empty() {
        let text = "relay.scope says nothing without a listener; set relay.listen (--relay) too";
        return Some(problem(sources, "relay.scope", text));
    }
    let is_plain =
        |part: &str| part.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"-._~".contains(&byte));
    let is_path = relay.scope().split('/').all(|part| !matches!(part, "" | "." | "..") && is_plain(part));
    (!is_path).then(|| {
        let text = format!(
            "relay.scope is {:?}; it is a path of letters, digits and `-._~`, such as \"a\" or \"a/b\"",
            relay.scope.as_deref().unwrap_or_default()
        );
        problem(sources, "relay.scope", text)
    })
}

fn roles(config: &Config, sources: &Sources) -> Option<Problem> {
    let roles = &config.node.roles;
    if let Some(unknown) = roles.iter().find(|role| !matches!(role.as_str(), "access" | "service")) {
        let text = format!("node.roles names {unknown:?}; the roles are \"access\" and \"service\"");
        return Some(problem(sources, "node.roles", text));
    }
    roles
        .is_empty()
        .then(|| problem(sources, "node.roles", "node.roles is empty; name access, service or both"))
}

fn tls(config: &Config, sources: &Sources) -> Option<Problem> {
    let tls = &config.tls;
    match (&tls.cert, &tls.key, tls.self_signed) {
        (Some(_), None, _) => {
            Some(problem(sources, "tls.cert", "tls.cert needs its private key; set tls.key (--tls-key) too"))
        }
        (None, Some(_), _) => {
            Some(problem(sources, "tls.key", "tls.key needs its certificate; set tls.cert (--tls-cert) too"))
        }
        (Some(_), Some(_), true) => Some(problem(
            sources,
            "tls.self_signed",
            "tls.self_signed and tls.cert exclude each other; with a certificate, leave self_signed out",
        )),
        (Some(_), Some(_), false) | (None, None, _) => None,
    }
}

/// A hub that everyone may use must not be reachable for everyone by accident.
fn openness(config: &Config, sources: &Sources) -> Option<Problem> {
    if !config.tokens.is_empty() || config.auth.anonymous.is_some() {
        return None;
    }
    let named = |key, addresses: &[ListenAddress]| {
        Some((key, addresses.iter().find(|address| address.is_public())?.clone()))
    };
    let (key, public) =
        named("listen", &config.listen).or_else(|| named("relay.listen", &config.relay.listen))?;
    let text = format!(
        "{key} {public} can be reached from other machines, where anyone could then do everything; configure \
         [[tokens]], or say what anonymous peers may do (auth.anonymous = \"none\", \"all\" or a table), \
         or listen on 127.0.0.1"
    );
    Some(problem(sources, key, text))
}

fn services(config: &Config, sources: &Sources) -> Option<Problem> {
    let flaw = config.service_defaults.flaw()?;
    Some(problem(sources, "service_defaults.access", format!("service_defaults: {flaw}")))
}

/// The chain without its rules for headers would show credentials to providers.
fn chain(config: &Config, sources: &Sources) -> Option<Problem> {
    let order = &config.middleware.order;
    if !order.iter().any(|step| step == "headers") {
        let text = "middleware.order leaves out `headers`, which keeps credentials from providers; name it, and pass \
                    what should pass by headers.request.pass";
        return Some(problem(sources, "middleware.order", text));
    }
    let twice = order.iter().enumerate().find(|(index, step)| order[..*index].contains(step));
    twice
        .map(|(_, step)| problem(sources, "middleware.order", format!("middleware.order names {step} twice")))
}

/// Any page on the web could then act with its visitor's cookies.
fn cors(config: &Config, sources: &Sources) -> Option<Problem> {
    let any_origin = config.http.allowed_origins.iter().any(|origin| origin == "*");
    (config.cors.credentials && any_origin).then(|| {
        let text = "cors.credentials goes with origins that http.allowed_origins names, not with \"*\"";
        problem(sources, "cors.credentials", text)
    })
}

/// Whether the certificate and key of `tls` can be read and belong together, whether every step of the chain is one of
/// the hub's own, and whether the folders of endpoints are there. `whub config check` asks this; a node finds out by itself when it starts.
#[must_use]
pub fn check_files(config: &Config) -> Vec<Problem> {
    certificate(config)
        .into_iter()
        .chain(steps(config))
        .chain(config.endpoints.iter().filter_map(folder))
        .collect()
}

/// The folder of an endpoint's process.
fn folder(endpoint: &Endpoint) -> Option<Problem> {
    let folder = endpoint.process.as_ref()?.folder.as_ref().filter(|folder| !folder.is_dir())?;
    let text = format!("endpoint {:?}: command_folder: {} is no folder", endpoint.name, folder.display());
    Some(Problem::new(text))
}

fn certificate(config: &Config) -> Option<Problem> {
    let (Some(certificate), Some(key)) = (&config.tls.cert, &config.tls.key) else { return None };
    let loaded = TlsAcceptor::from_files(certificate, key);
    loaded.err().map(|error| Problem::new(format!("tls.cert, tls.key: {error}")))
}

fn steps(config: &Config) -> Option<Problem> {
    let unknown = config.middleware.order.iter().find(|name| !KNOWN.contains(&name.as_str()))?;
    let nearest = KNOWN.iter().min_by_key(|known| strsim::osa_distance(known, unknown))?;
    let text = format!(
        "middleware.order names `{unknown}`, which no step is called; the nearest one is `{nearest}`"
    );
    Some(Problem::new(text))
}
