//! The flags that are configuration, and how they become one.

use std::path::PathBuf;

use clap::Args;
use whub_server::config::{Assignment, ConfigFile, Input, Loaded, Problem, Problems, load};

/// Flags of `serve`, `config check` and `config show`.
#[derive(Args, Clone, Debug, Default)]
#[command(next_help_heading = "Configuration")]
pub(crate) struct Settings {
    /// TOML file to read first; the environment (WHUB_SECTION__KEY) and flags win over it
    #[arg(long, value_name = "FILE")]
    pub(crate) config: Option<PathBuf>,

    /// Address to listen on: HOST:PORT, [::1]:PORT or unix:PATH; repeat for more [key: listen]
    #[arg(long, value_name = "ADDRESS")]
    listen: Vec<String>,

    /// Address for clients of rust-websocket-relay, which pair up at /ID there; repeat for more [key: relay.listen]
    #[arg(long, value_name = "HOST:PORT")]
    relay: Vec<String>,

    /// Path in front of the ids on the relay's listener [key: relay.scope]
    #[arg(long, value_name = "SCOPE")]
    relay_scope: Option<String>,

    /// Certificate chain in PEM form [key: tls.cert]
    #[arg(long, value_name = "FILE")]
    tls_cert: Option<String>,

    /// Private key of the certificate [key: tls.key]
    #[arg(long, value_name = "FILE")]
    tls_key: Option<String>,

    /// Make a certificate for this run, to try things out [key: tls.self_signed]
    #[arg(long)]
    tls_self_signed: bool,

    /// Folder for the node's files, made with mode 0700 if absent [key: data.dir]
    #[arg(long, value_name = "DIR")]
    data: Option<String>,

    /// Name of this node [key: node.name]
    #[arg(long, value_name = "NAME")]
    node: Option<String>,

    /// config.ini of SocketMaster, whose endpoints the gateway reaches at /gateway [key: gateway.file]
    #[arg(long, value_name = "FILE")]
    gateway: Option<String>,

    /// Form of the log: console or json [key: log.format]
    #[arg(long, value_name = "FORM")]
    log: Option<String>,

    /// Set any key of docs/configuration.md; repeat for more, the last one wins
    #[arg(long, value_name = "KEY=VALUE")]
    set: Vec<String>,
}

impl Settings {
    /// Reads file, environment and flags.
    pub(crate) fn load(&self) -> Result<Loaded, Problems> {
        let file = self.config.as_deref().map(ConfigFile::read).transpose()?;
        let flags = self.flags().map_err(|problem| Problems(vec![problem]))?;
        load(&Input { file, environment: environment(), flags })
    }

    /// Flags of their own come first, so that `--set`, which says more, wins.
    fn flags(&self) -> Result<Vec<Assignment>, Problem> {
        let mut flags = Vec::new();
        if !self.listen.is_empty() {
            flags.push(Assignment::flags("--listen", "listen", &self.listen));
        }
        if !self.relay.is_empty() {
            flags.push(Assignment::flags("--relay", "relay.listen", &self.relay));
        }
        let named = [
            ("--relay-scope", "relay.scope", &self.relay_scope),
            ("--tls-cert", "tls.cert", &self.tls_cert),
            ("--tls-key", "tls.key", &self.tls_key),
            ("--data", "data.dir", &self.data),
            ("--node", "node.name", &self.node),
            ("--gateway", "gateway.file", &self.gateway),
            ("--log", "log.format", &self.log),
        ];
        for (flag, key, value) in named {
            flags.extend(value.as_ref().map(|value| Assignment::flag(flag, key, value)));
        }
        if self.tls_self_signed {
            flags.push(Assignment::flag("--tls-self-signed", "tls.self_signed", "true"));
        }
        for text in &self.set {
            flags.push(Assignment::set(text)?);
        }
        Ok(flags)
    }
}

/// The environment as text. What is not text can be neither a key nor a secret.
fn environment() -> Vec<(String, String)> {
    let text = |(name, value): (std::ffi::OsString, std::ffi::OsString)| {
        Some((name.into_string().ok()?, value.into_string().ok()?))
    };
    std::env::vars_os().filter_map(text).collect()
}
