//! `whub serve`: configuration, log, signals; the hub itself is `whub_server`.

use std::{
    io,
    path::{Path, PathBuf},
};

use clap::Args;
use serde_json::json;
use tokio::{
    signal::unix::{Signal, SignalKind},
    sync::oneshot,
};
use tracing::{info, warn};
use whub_server::{
    ConfigSource, Server,
    config::{Config, Loaded, LogFormat, Problems},
};
use whub_transport::descriptors;

use crate::{
    exit::{Exit, Failure},
    logging::{self, Levels},
    output,
    runtime::{self, listen},
    settings::Settings,
};

/// Run a hub
#[derive(Args, Debug)]
#[command(after_help = EXAMPLES)]
pub(crate) struct Serve {
    #[command(flatten)]
    settings: Settings,

    #[command(flatten)]
    unbuilt: Unbuilt,
}

const EXAMPLES: &str = "\
Examples:
  whub serve                                     a hub for this machine, at 127.0.0.1:9482
  whub serve --listen 127.0.0.1:0                any free port; standard output says which
  whub serve --listen 127.0.0.1:9482 --listen unix:/run/whub.sock
  whub serve --config whub.toml --listen 0.0.0.0:9482
  whub serve --tls-self-signed --set debug.echo=true
  whub serve --relay 127.0.0.1:8080              clients of rust-websocket-relay pair up there
  whub serve --gateway config.ini                the endpoints of SocketMaster's file

Standard output says `listening on ws://127.0.0.1:9482`, one line per listener, once all of them accept
(with --log json: an object with \"listening\"); the relay's lines come last and end with ` (relay)`. The log goes to standard error.

SIGTERM and SIGINT stop in peace: calls in flight finish within limits.drain; a second signal stops at once,
with exit code 1. SIGHUP reads the configuration again, and so does a change of its files (reload.watch).";

/// Flags of the plan that are not built yet. They are known, so that nobody takes silence for consent.
#[derive(Args, Debug)]
struct Unbuilt {
    #[arg(long, hide = true, value_name = "ADDRESS")]
    join: Vec<String>,
}

impl Serve {
    pub(crate) fn run(&self) -> Result<(), Failure> {
        self.unbuilt.refuse()?;
        let loaded = self.settings.load()?;
        let levels = logging::start(&loaded.config.log);
        for warning in &loaded.warnings {
            warn!("{warning}");
        }
        if let Some(folder) = &loaded.config.data.dir {
            make_data_folder(folder).map_err(|error| no_folder(folder, &error))?;
        }
        match descriptors::raise_limit() {
            Ok(limit) => info!(limit, "descriptors"),
            Err(error) => warn!("the limit of descriptors stays as it is: {error}"),
        }
        runtime::run_hub(self.serve(loaded, levels))
    }

    async fn serve(&self, loaded: Loaded, levels: Levels) -> Result<(), Failure> {
        // Before anything is announced, so that whoever reads the announcement can send signals.
        let mut signals = Signals::new()?;
        let name = loaded.config.node.name.clone().unwrap_or_else(host_name);
        let format = loaded.config.log.format;
        let source = Sources { settings: self.settings.clone(), levels };
        let built = Server::builder(loaded.config).name(&name).source(source).build().await;
        let server = built.map_err(|error| cannot_start(&error))?;
        announce(&server, format)?;
        info!(node = name, version = env!("WHUB_VERSION"), "serving");
        let handle = server.handle();
        let (stop, stopped) = oneshot::channel::<()>();
        let mut stop = Some(stop);
        let mut serving = std::pin::pin!(server.run(async { drop(stopped.await) }));
        loop {
            tokio::select! {
                () = &mut serving => {
                    info!("stopped");
                    return Ok(());
                }
                () = stop_signal(&mut signals.interrupt, &mut signals.terminate) => match stop.take() {
                    Some(stop) => {
                        info!("stopping; a second signal stops at once");
                        drop(stop);
                    }
                    None => {
                        handle.abandon();
                        return Err(Failure::new(Exit::Failed, "stopped at once by a second signal"));
                    }
                },
                // What comes of it is in the log.
                _ = signals.hangup.recv() => drop(handle.reread()),
            }
        }
    }
}

/// The signals that a hub listens to.
struct Signals {
    interrupt: Signal,
    terminate: Signal,
    hangup: Signal,
}

impl Signals {
    fn new() -> Result<Self, Failure> {
        Ok(Self {
            interrupt: listen(SignalKind::interrupt())?,
            terminate: listen(SignalKind::terminate())?,
            hangup: listen(SignalKind::hangup())?,
        })
    }
}

async fn stop_signal(interrupt: &mut Signal, terminate: &mut Signal) {
    tokio::select! {
        _ = interrupt.recv() => {}
        _ = terminate.recv() => {}
    }
}

/// The configuration as this command got it: from a file, the environment and flags.
#[derive(Debug)]
struct Sources {
    settings: Settings,
    levels: Levels,
}

impl ConfigSource for Sources {
    fn read(&self) -> Result<Loaded, Problems> {
        self.settings.load()
    }

    fn files(&self) -> Vec<PathBuf> {
        self.settings.config.iter().cloned().collect()
    }

    fn applied(&self, config: &Config) {
        self.levels.set(&config.log.level);
    }
}

/// Says on standard output where the hub listens, for people and for programs that started it.
fn announce(server: &Server, format: LogFormat) -> Result<(), Failure> {
    for url in server.urls() {
        match format {
            LogFormat::Console => output::print(&format!("listening on {url}\n"))?,
            LogFormat::Json => output::print_json(&json!({ "listening": url }))?,
        }
    }
    for url in server.relay_urls() {
        match format {
            LogFormat::Console => output::print(&format!("listening on {url} (relay)\n"))?,
            LogFormat::Json => output::print_json(&json!({ "listening": url, "for": "relay" }))?,
        }
    }
    if let Some(fingerprint) = server.fingerprint() {
        info!("clients can pin the certificate: --tls-pin {fingerprint}");
    }
    Ok(())
}

impl Unbuilt {
    fn refuse(&self) -> Result<(), Failure> {
        if self.join.is_empty() {
            return Ok(());
        }
        Err(Failure::new(Exit::Usage, "--join is not built yet; leave it out"))
    }
}

/// Makes the folder, for its owner only.
fn make_data_folder(folder: &Path) -> io::Result<()> {
    use std::os::unix::fs::DirBuilderExt;
    std::fs::DirBuilder::new().recursive(true).mode(0o700).create(folder)
}

fn no_folder(folder: &Path, error: &io::Error) -> Failure {
    Failure::new(Exit::Failed, format!("cannot make the folder {}: {error}", folder.display()))
}

fn cannot_start(error: &whub_server::StartError) -> Failure {
    Failure::new(Exit::Failed, error.to_string())
}

/// The machine's name, for a node that was not given one.
fn host_name() -> String {
    rustix::system::uname().nodename().to_string_lossy().into_owned()
}
