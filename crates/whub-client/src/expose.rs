//! An HTTP application becomes a service: what callers ask of the hub is asked of the application, and its answers
//! go back.
//!
//! ```text
//! hub ── call ──→ mount: whose path? → app: a connection of the pool → the application
//!     ←─ answer ─ answer: its head, rewritten; its body, as fast as the caller reads
//!                 watch: registered while the application works
//! ```
//!
//! A WebSocket is asked of the application as the caller asks it of the hub, and bridged once it agrees.
//!
//! Bodies are streamed both ways in constant memory, at most 512 KiB a direction and what the sockets hold. A caller
//! that goes away closes the connection to the application.
//!
//! Absent on purpose: HTTP/2 to the application, a cache, and changes of bodies.

mod answer;
mod app;
mod fields;
mod mount;
mod pool;
mod rewrite;
mod trouble;
mod upload;
mod url;
mod watch;
mod websocket;

use std::future::IntoFuture;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use tokio::sync::{oneshot, watch as state};
use whub_transport::Trust;

use crate::client::{BoxFuture, Client};
use crate::error::Error;
use crate::serve::Offer;
use app::{App, Manner};
use mount::Mount;
use url::AppUrl;
use watch::{Checks, Watch};

/// Calls that an application is given at once unless it is told otherwise. Open WebSockets and event streams count.
const INFLIGHT_MAX: u32 = 512;
/// Pause between two health checks unless it is told otherwise.
const CHECK_EVERY: Duration = Duration::from_secs(5);

/// Whether an exposed application works, and so whether it is registered.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Health {
    /// It is registered.
    Up,
    /// It is not; with the reason, for people.
    Down(String),
}

/// An application about to be exposed: set what it needs, then await it.
#[must_use = "nothing is exposed before it is awaited"]
#[derive(Debug)]
pub struct Expose {
    client: Client,
    url: String,
    name: String,
    hosts: Vec<String>,
    keep_prefix: bool,
    keep_host: bool,
    verbatim: bool,
    trust: Trust,
    check_path: Option<String>,
    check_every: Duration,
    inflight_max: u32,
    offer: Offer,
}

impl Client {
    /// Exposes the HTTP application at `url` (`http://127.0.0.1:3000`, `https`, `unix:/run/app.sock`) as the service
    /// `/name/*rest`. The application sees its own paths, and every header that its visitors send but for the hub's
    /// own credential.
    ///
    /// ```no_run
    /// # async fn example() -> Result<(), whub_client::Error> {
    /// let hub = whub_client::connect("ws://127.0.0.1:9482").await?;
    /// let shop = hub.expose("shop", "http://127.0.0.1:3000").health("/healthz").await?;
    /// // http://127.0.0.1:9482/shop/ is the application now.
    /// shop.withdraw().await;
    /// # Ok(())
    /// # }
    /// ```
    pub fn expose(&self, name: impl Into<String>, url: impl Into<String>) -> Expose {
        Expose {
            client: self.clone(),
            url: url.into(),
            name: name.into(),
            hosts: Vec::new(),
            keep_prefix: false,
            keep_host: false,
            verbatim: false,
            trust: Trust::System,
            check_path: None,
            check_every: CHECK_EVERY,
            inflight_max: INFLIGHT_MAX,
            offer: Offer::default(),
        }
    }
}

impl Expose {
    /// Gives the application a host of its own, `app.example.com`: every request for it is the application's, whatever
    /// its path. May be said several times. With an empty name the application has no path of the hub beside it.
    pub fn host(mut self, host: impl Into<String>) -> Self {
        self.hosts.push(host.into());
        self
    }

    /// Leaves `/name` in the paths that the application sees, and what it answers as it is.
    pub fn keep_prefix(mut self, keep: bool) -> Self {
        self.keep_prefix = keep;
        self
    }

    /// Tells the application the host that the caller asked for, instead of the one in its URL.
    pub fn keep_host(mut self, keep: bool) -> Self {
        self.keep_host = keep;
        self
    }

    /// Whether `Location` and the paths of cookies are rewritten so that they are right for callers. Default: yes.
    pub fn rewrite(mut self, rewrite: bool) -> Self {
        self.verbatim = !rewrite;
        self
    }

    /// Asks the application for this path now and then; while the answer is 400 or more, or none, it is not
    /// registered. Default: only whether it takes connections, when a request did not get through.
    pub fn health(mut self, path: impl Into<String>) -> Self {
        self.check_path = Some(path.into());
        self
    }

    /// Pause between two health checks. Default: 5 s.
    pub fn health_interval(mut self, every: Duration) -> Self {
        self.check_every = every;
        self
    }

    /// Calls that the application is given at once; the hub tries other providers beyond it. Open WebSockets and event
    /// streams count. Default: 512; at least 1.
    pub fn max_inflight(mut self, calls: u32) -> Self {
        self.inflight_max = calls;
        self
    }

    /// Its share of calls against others that expose the same name. Default: 1.
    pub fn weight(mut self, weight: u16) -> Self {
        self.offer.weight = weight;
        self
    }

    /// Everything that is said of it, in place of what was said before.
    pub fn offer(mut self, offer: Offer) -> Self {
        self.offer = offer;
        self
    }

    /// The group of providers it belongs to.
    pub fn group(mut self, group: impl Into<String>) -> Self {
        self.offer.group = group.into();
        self
    }

    /// The version of the application, for those who look.
    pub fn version(mut self, version: impl Into<String>) -> Self {
        self.offer.version = version.into();
        self
    }

    /// Believes any certificate of an `https` application: encrypted, but to whom nobody knows.
    pub fn insecure(mut self) -> Self {
        self.trust = Trust::Anything;
        self
    }

    /// Trusts the certificates of this PEM file for an `https` application, instead of the system's.
    pub fn app_ca_file(mut self, path: impl Into<PathBuf>) -> Self {
        self.trust = Trust::File(path.into());
        self
    }

    fn mounts(&self) -> Result<Vec<Arc<Mount>>, Error> {
        let mut mounts = Vec::new();
        if !self.name.is_empty() || self.hosts.is_empty() {
            mounts.push(Arc::new(Mount::path(&self.name, self.keep_prefix)?));
        }
        for host in &self.hosts {
            mounts.push(Arc::new(Mount::host(host)?));
        }
        Ok(mounts)
    }

    async fn start(self) -> Result<Exposure, Error> {
        let url = AppUrl::parse(&self.url)?;
        check(self.trust.clone()).await?;
        let mounts = self.mounts()?;
        let checks = Checks { path: self.check_path.map(rooted), every: self.check_every };
        let manner = Manner {
            keep_host: self.keep_host,
            verbatim: self.verbatim || self.keep_prefix,
            trust: self.trust,
        };
        let shown = url.to_string();
        let (health, state) = state::channel(Health::Up);
        let (first, registered) = oneshot::channel();
        let (stop, stopped) = oneshot::channel();
        let patterns = mounts.iter().map(|mount| mount.pattern.clone()).collect();
        let (inflight_max, offer) = (self.inflight_max, self.offer);
        let watch = Watch {
            app: Arc::new(App::new(url, manner)),
            client: self.client,
            mounts,
            checks,
            health,
            // An application is used to all that its visitors say, cookies and authorization among it.
            dress: Box::new(move |provide| {
                provide.max_inflight(inflight_max).offer(offer.clone()).pass_header("*")
            }),
        };
        tokio::spawn(watch.run(first, stopped));
        let mut exposure = Exposure { url: shown, patterns, health: state, stop: Some(stop) };
        registered.await.unwrap_or_else(|_| Err(Error::closed()))?;
        exposure.health.mark_unchanged();
        Ok(exposure)
    }
}

impl IntoFuture for Expose {
    type Output = Result<Exposure, Error>;
    type IntoFuture = BoxFuture<Self::Output>;

    fn into_future(self) -> Self::IntoFuture {
        Box::pin(self.start())
    }
}

/// An exposed application; it is registered while it works, on every connection to the hub. Dropping it ends that;
/// calls that were begun are finished.
#[derive(Debug)]
#[must_use = "dropping it withdraws the application"]
pub struct Exposure {
    url: String,
    patterns: Vec<String>,
    health: state::Receiver<Health>,
    stop: Option<oneshot::Sender<oneshot::Sender<()>>>,
}

impl Exposure {
    /// The patterns as registered.
    #[must_use]
    pub fn patterns(&self) -> &[String] {
        &self.patterns
    }

    /// The application's URL.
    #[must_use]
    pub fn url(&self) -> &str {
        &self.url
    }

    /// Whether the application works, as far as it is known.
    #[must_use]
    pub fn health(&self) -> Health {
        self.health.borrow().clone()
    }

    /// Waits until that changes; `None` when it is withdrawn.
    pub async fn changed(&mut self) -> Option<Health> {
        self.health.changed().await.ok()?;
        Some(self.health.borrow_and_update().clone())
    }

    /// Ends it and waits until the hub has agreed; calls that were begun are finished.
    pub async fn withdraw(mut self) {
        let Some(stop) = self.stop.take() else { return };
        let (done, agreed) = oneshot::channel();
        if stop.send(done).is_ok() {
            // Gone or done, it is over.
            let _ = agreed.await;
        }
    }
}

/// Whether the file with certificates is of use, which no later try would change.
async fn check(trust: Trust) -> Result<(), Error> {
    let Trust::File(_) = trust else { return Ok(()) };
    // Only a runtime that stops does not come to it.
    let checked = tokio::task::spawn_blocking(move || trust.check()).await.map_err(|_| Error::closed())?;
    checked.map_err(|error| Error::invalid(format!("{error}; name a PEM file with certificates")))
}

fn rooted(path: String) -> String {
    if path.starts_with('/') { path } else { format!("/{path}") }
}
