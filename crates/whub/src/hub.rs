//! Which hub a client command talks to, and with which token.

use std::{
    fs, io,
    path::{Path, PathBuf},
};

use clap::Args;
use serde_json::Value;
use whub_client::{Client, connect};
use whub_server::config::Secret;
use whub_transport::{ServerUrl, Trust, UrlError, Wire, tls::FingerprintError};

use crate::{
    exit::{Exit, Failure},
    http::HttpHub,
};

/// Flags of every client command.
#[derive(Args, Clone, Debug)]
#[command(next_help_heading = "Hub")]
pub(crate) struct HubArgs {
    /// The hub: a URL that begins with ws, wss, http, https, tcp, tls or unix
    #[arg(long, value_name = "URL", env = "WHUB_SERVER", hide_env_values = true, default_value = DEFAULT_SERVER)]
    server: String,

    /// File whose first line is the token; without it, the environment variable WHUB_TOKEN is used if set
    #[arg(long, value_name = "FILE")]
    token_file: Option<PathBuf>,

    /// Trust the certificates in this PEM file, and no others
    #[arg(long, value_name = "FILE", conflicts_with = "tls_pin")]
    tls_ca: Option<PathBuf>,

    /// Trust the one certificate with this SHA-256 fingerprint, which `whub serve --tls-self-signed` logs
    #[arg(long, value_name = "SHA256")]
    tls_pin: Option<String>,
}

const DEFAULT_SERVER: &str = "ws://127.0.0.1:9482";

impl HubArgs {
    /// Connects, or says why not.
    pub(crate) async fn connect(&self) -> Result<Client, Failure> {
        let mut hub = connect(&self.server).name("whub");
        if let Some(file) = &self.tls_ca {
            hub = hub.tls_ca_file(file);
        }
        if let Some(fingerprint) = &self.tls_pin {
            hub = hub.tls_fingerprint(fingerprint)?;
        }
        if let Some(token) = self.token()? {
            hub = hub.token(token.expose());
        }
        Ok(hub.await?)
    }

    /// Where a browser finds what is registered as a pattern that ends with `*rest`; `None` where the hub is reached
    /// without HTTP.
    pub(crate) fn page(&self, pattern: &str) -> Option<String> {
        let url: ServerUrl = self.server.parse().ok()?;
        if url.wire() != Wire::WebSocket {
            return None;
        }
        let scheme = if url.tls() { "https" } else { "http" };
        let (mut authority, mut path) = (url.authority(), pattern);
        if let Some((host, rest)) = pattern.strip_prefix("//").and_then(|pattern| pattern.split_once('/')) {
            let hub = url.host().map(ToString::to_string).unwrap_or_default();
            authority = format!("{host}{}", authority.strip_prefix(&hub).unwrap_or_default());
            path = rest;
        }
        Some(format!("{scheme}://{authority}/{}", path.trim_start_matches('/').trim_end_matches("*rest")))
    }

    /// The hub's HTTP side.
    pub(crate) fn http(&self) -> Result<HttpHub, Failure> {
        let usage = |text: String| Failure::new(Exit::Usage, text);
        let url: ServerUrl = self.server.parse().map_err(|error: UrlError| usage(error.to_string()))?;
        let trust = match (&self.tls_ca, &self.tls_pin) {
            (Some(file), _) => Trust::File(file.clone()),
            (None, Some(pin)) => {
                Trust::Pinned(pin.parse().map_err(|error: FingerprintError| usage(error.to_string()))?)
            }
            (None, None) => Trust::System,
        };
        Ok(HttpHub { url, trust, token: self.token()? })
    }

    /// Asks the hub's HTTP side; gives the JSON that it answers.
    pub(crate) async fn get(&self, path: &str) -> Result<Value, Failure> {
        json(&self.http()?.get(path).await?)
    }

    /// Has the hub's HTTP side end something; gives the JSON that it answers.
    pub(crate) async fn delete(&self, path: &str) -> Result<Value, Failure> {
        json(&self.http()?.delete(path).await?)
    }

    fn token(&self) -> Result<Option<Secret>, Failure> {
        secret("token", self.token_file.as_deref(), "WHUB_TOKEN")
    }
}

/// A secret from the first line of a file, else from the environment. It never comes from a flag, because command lines
/// show in process lists.
pub(crate) fn secret(what: &str, file: Option<&Path>, variable: &str) -> Result<Option<Secret>, Failure> {
    let (text, place) = match file {
        Some(path) => (
            Some(first_line(path).map_err(|error| unreadable(what, path, &error))?),
            path.display().to_string(),
        ),
        None => (std::env::var(variable).ok().filter(|text| !text.is_empty()), variable.to_owned()),
    };
    let secret = text.map(Secret::new).transpose();
    secret.map_err(|flaw| Failure::new(Exit::Usage, format!("the {what} in {place} {flaw}")))
}

/// What an answer says.
pub(crate) fn json(body: &[u8]) -> Result<Value, Failure> {
    serde_json::from_slice(body)
        .map_err(|error| Failure::new(Exit::Failed, format!("the answer is no JSON: {error}")))
}

fn first_line(path: &Path) -> io::Result<String> {
    Ok(fs::read_to_string(path)?.lines().next().unwrap_or_default().trim().to_owned())
}

fn unreadable(what: &str, path: &Path, error: &io::Error) -> Failure {
    Failure::new(Exit::Usage, format!("cannot read the {what} from {}: {error}", path.display()))
}

#[cfg(test)]
mod tests {
    use clap::Parser;

    use super::*;

    #[derive(Parser)]
    struct Only {
        #[command(flatten)]
        hub: HubArgs,
    }

    #[test]
    fn what_is_exposed_has_a_page() {
        let page =
            |server: &str, pattern: &str| Only::parse_from(["whub", "--server", server]).hub.page(pattern);
        for (server, pattern, shown) in [
            ("ws://127.0.0.1:9482", "/shop/*rest", "http://127.0.0.1:9482/shop/"),
            ("wss://hub.example.com", "/a/b/*rest", "https://hub.example.com/a/b/"),
            ("ws://127.0.0.1:9482", "//shop.localhost/*rest", "http://shop.localhost:9482/"),
            ("wss://hub.example.com/ws", "//shop.example.com/*rest", "https://shop.example.com/"),
        ] {
            assert_eq!(page(server, pattern).as_deref(), Some(shown));
        }
        assert_eq!(page("tcp://127.0.0.1:9482", "/shop/*rest"), None);
    }
}
