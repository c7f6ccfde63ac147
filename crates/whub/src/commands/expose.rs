//! `whub expose NAME URL`, `whub expose URL --host HOST`.

use std::path::PathBuf;
use std::time::{Duration, Instant};

use clap::Args;
use whub_client::{Client, ErrorKind, Exposure, Health};
use whub_server::config::show_duration;

use crate::{
    arguments::duration,
    commands::subscribe::tell,
    exit::{Exit, Failure},
    hub::HubArgs,
    offer::OfferArgs,
    output,
    runtime::{self, stop},
};

/// Expose an HTTP application: it becomes a service of the hub
#[derive(Args, Debug)]
#[command(after_help = EXAMPLES, override_usage = USAGE)]
pub(crate) struct Expose {
    /// Name of the service, `shop` makes it /shop/*rest, and the application: http://HOST:PORT, https://HOST:PORT,
    /// unix:PATH, or only a port of this machine. The name may be left out beside --host
    #[arg(value_names = ["NAME", "URL"], num_args = 1..=2, required = true)]
    what: Vec<String>,

    /// Give the application a host of its own, under which every path is its own; may be repeated
    #[arg(long, value_name = "HOST")]
    host: Vec<String>,

    /// Leave /NAME in the paths that the application sees
    #[arg(long)]
    keep_prefix: bool,

    /// Tell the application the host that callers ask for, instead of its own
    #[arg(long)]
    keep_host: bool,

    /// Leave redirects and the paths of cookies as the application says them
    #[arg(long)]
    no_rewrite: bool,

    /// Ask the application for this path now and then; 400 or more means that it is down
    #[arg(long, value_name = "PATH")]
    health: Option<String>,

    /// Pause between two health checks
    #[arg(long, value_name = "DURATION", value_parser = duration, default_value = "5s", requires = "health")]
    health_interval: Duration,

    /// For https: believe any certificate of the application
    #[arg(long, conflicts_with = "app_ca")]
    insecure: bool,

    /// For https: trust the certificates in this PEM file, and no others
    #[arg(long, value_name = "FILE")]
    app_ca: Option<PathBuf>,

    #[command(flatten)]
    offer: OfferArgs,

    #[command(flatten)]
    hub: HubArgs,
}

const USAGE: &str = "whub expose [OPTIONS] <NAME> <URL>
       whub expose [OPTIONS] --host <HOST> <URL>";

/// Calls that the application is given at once, unless --max-inflight says otherwise.
const MAX_INFLIGHT: u32 = 512;

const EXAMPLES: &str = "\
Examples:
  whub expose shop http://127.0.0.1:3000         the application is at http://127.0.0.1:9482/shop/ now
  whub expose shop 3000 --health /healthz        only while it says that it is well
  whub expose api https://10.0.0.7 --insecure    one with a certificate of its own making
  whub expose 3000 --host shop.localhost         it is at http://shop.localhost:9482/, and under no path

The application sees its own paths: /NAME is cut off and told by X-Forwarded-Prefix. Redirects and cookies
for paths of the application are rewritten to lie below /NAME; pages are not, so links in them should be
relative, or the application be told its prefix (--keep-prefix then suits most). With --host there is no
prefix at all, so that every application works as it is; point the name at the hub.

An application that cannot be reached is withdrawn, and offered again when it can. Several `whub expose`
of one name share its calls.

The application is given at most --max-inflight calls at once (512); open WebSockets and event streams count.

Ctrl-C takes no more calls, finishes those that were begun, in 10 s at most, and ends with exit code 0; a second
one ends at once.";

impl Expose {
    pub(crate) fn run(&self) -> Result<(), Failure> {
        runtime::run_client(async {
            let client = self.hub.connect().await?;
            let told = tokio::spawn(tell(client.events()));
            let outcome = self.expose(&client).await;
            told.abort();
            outcome
        })
    }

    async fn expose(&self, client: &Client) -> Result<(), Failure> {
        let stopped = stop();
        let exposure = self.start(client).await?;
        for pattern in exposure.patterns() {
            let page = self.hub.page(pattern).map(|page| format!(", {page}")).unwrap_or_default();
            output::note(&format!("exposing {} as {pattern}{page}", exposure.url()));
        }
        tokio::select! {
            ended = client.closed() => ended.map_or(Ok(()), |error| Err(error.into())),
            () = follow(exposure) => Ok(()),
            () = stopped => leave(client).await,
        }
    }

    fn name_and_url(&self) -> Result<(&str, &str), Failure> {
        match self.what.as_slice() {
            [name, url] => Ok((name, url)),
            [url] if !self.host.is_empty() => Ok(("", url)),
            _ => {
                let failure = Failure::new(Exit::Usage, "the application needs a name, or a host of its own");
                Err(failure.try_this("whub expose NAME URL, or whub expose URL --host app.example.com"))
            }
        }
    }

    async fn start(&self, client: &Client) -> Result<Exposure, Failure> {
        let (name, url) = self.name_and_url()?;
        let mut expose = client
            .expose(name, url)
            .keep_prefix(self.keep_prefix)
            .keep_host(self.keep_host)
            .rewrite(!self.no_rewrite)
            .health_interval(self.health_interval)
            .offer(self.offer.offer())
            .max_inflight(self.offer.max_inflight(MAX_INFLIGHT));
        for host in &self.host {
            expose = expose.host(host);
        }
        if let Some(path) = &self.health {
            expose = expose.health(path);
        }
        if self.insecure {
            expose = expose.insecure();
        }
        if let Some(file) = &self.app_ca {
            expose = expose.app_ca_file(file);
        }
        Ok(expose.await?)
    }
}

/// Takes no more calls and finishes those that were begun, unless asked a second time. Event streams and WebSockets
/// have no end of their own, so it is no failure to cut them off.
async fn leave(client: &Client) -> Result<(), Failure> {
    let ended = tokio::select! {
        ended = client.drain() => ended,
        () = stop() => client.close().await,
    };
    match ended {
        Err(error) if error.kind() == ErrorKind::Timeout => {
            output::note("what was still open is cut off");
            Ok(())
        }
        ended => Ok(ended?),
    }
}

/// Tells when the application goes and comes.
async fn follow(mut exposure: Exposure) {
    let mut down_since = None;
    let mut health = Some(exposure.health());
    while let Some(state) = health {
        match state {
            Health::Up => {
                if let Some(since) = down_since.take() {
                    let away = show_duration(rounded(Instant::now() - since));
                    output::note(&format!("{} is back after {away}; offered again", exposure.url()));
                }
            }
            Health::Down(why) => {
                down_since.get_or_insert_with(Instant::now);
                output::note(&format!("{} is not offered until it works: {why}", exposure.url()));
            }
            _ => {}
        }
        health = exposure.changed().await;
    }
}

fn rounded(duration: Duration) -> Duration {
    Duration::from_secs(duration.as_secs().max(1))
}
