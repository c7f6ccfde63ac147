//! Reading the configuration again: at a signal, when a file changes, or because somebody asks who may.
//!
//! All ways lead through [`Handle::reread`](crate::Handle::reread), one after the other. [`Handle::plan`](crate::Handle::plan)
//! says what it would do, and does nothing.
//!
//! Left to others: where a configuration comes from ([`ConfigSource`]), and what its values do.

mod files;

use std::fmt;
use std::path::PathBuf;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use thiserror::Error;
use whub_transport::{ListenAddress, TlsAcceptor};

use crate::config::{Config, Difference, Loaded, Problem, Problems, differences, itself, reloaded};
use crate::gateway::{Change, change};
use crate::node::Node;
use files::Stamps;

/// Where a node's configuration comes from, so that it can be read again.
pub trait ConfigSource: fmt::Debug + Send + Sync + 'static {
    /// Reads it. It may block for as long as files take.
    ///
    /// # Errors
    /// All that is wrong with it.
    fn read(&self) -> Result<Loaded, Problems>;

    /// The files whose change is a reason to read it again, beside those that it names itself.
    fn files(&self) -> Vec<PathBuf> {
        Vec::new()
    }

    /// This is in force now.
    fn applied(&self, config: &Config) {
        let _ = config;
    }
}

/// What reading the configuration again changes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Plan {
    /// What is allowed but deserves a line in the log.
    pub warnings: Vec<Problem>,
    /// Keys that differ; those that are not reloadable wait for the next start.
    pub keys: Vec<Difference>,
    /// Every endpoint, in the order of the new configuration, and then those that go.
    pub endpoints: Vec<EndpointPlan>,
}

/// What becomes of an endpoint.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct EndpointPlan {
    /// Its name.
    pub name: String,
    /// What becomes of it.
    pub change: Change,
    /// Sockets of clients that it has.
    pub sockets: usize,
}

impl EndpointPlan {
    /// Sockets that are closed.
    #[must_use]
    pub fn touched(&self) -> usize {
        match self.change {
            Change::Remove | Change::Redirect => self.sockets,
            Change::Add | Change::Adjust | Change::Keep => 0,
        }
    }
}

/// Why the configuration was not read again.
#[derive(Debug, Error)]
pub enum RereadError {
    /// Whoever made this node said nothing of where its configuration is from.
    #[error("this node was not told where its configuration comes from, so it cannot read it again")]
    NoSource,
    /// It is wrong; the node goes on with the one it has.
    #[error(transparent)]
    Problems(#[from] Problems),
}

/// What a node needs to read its configuration again.
#[derive(Debug)]
pub(crate) struct Reloader {
    source: Arc<dyn ConfigSource>,
    tls: Option<TlsAcceptor>,
    /// Where the node really listens.
    bound: Vec<ListenAddress>,
    /// The files as they were read last. Held while the configuration is read and put into force, so that of two who
    /// ask the later one sees what the first has done.
    read: Mutex<Stamps>,
}

/// How often files are looked at. They have to look the same twice, so that none is read half written.
const WATCH_EVERY: Duration = Duration::from_secs(2);

impl Reloader {
    pub(crate) fn new(
        source: Arc<dyn ConfigSource>,
        tls: Option<TlsAcceptor>,
        bound: Vec<ListenAddress>,
        config: &Config,
    ) -> Self {
        let read = Mutex::new(Stamps::take(&files(&*source, config)));
        Self { source, tls, bound, read }
    }

    /// What [`reread`](Self::reread) would do.
    pub(crate) fn plan(&self, node: &Node) -> Result<Plan, Problems> {
        let (fresh, _) = self.fresh(&node.config())?;
        Ok(plan(node, fresh))
    }

    /// Takes over what can change. A configuration with problems is refused as a whole.
    pub(crate) fn reread(&self, node: &Node) -> Result<Plan, Problems> {
        let mut read = self.read.lock().unwrap_or_else(PoisonError::into_inner);
        let running = node.config();
        // Before they are read: what is written meanwhile is another change.
        *read = Stamps::take(&files(&*self.source, &running));
        let (fresh, now) = self.fresh(&running).inspect_err(|problems| {
            tracing::error!("the configuration was not read again: {problems}");
        })?;
        // A file that is named from now on was read just now.
        read.add(&files(&*self.source, &now));
        let plan = plan(node, fresh);
        plan.log();
        node.reload(now.clone());
        if let Some(Err(error)) = self.tls.as_ref().map(TlsAcceptor::reload) {
            tracing::error!("the certificate was not replaced: {error}");
        }
        self.source.applied(&now);
        tracing::info!("the configuration was read again");
        Ok(plan)
    }

    fn fresh(&self, running: &Config) -> Result<(Loaded, Config), Problems> {
        let fresh = self.source.read()?;
        let now = reloaded(running, &fresh.config)?;
        match itself(&now.endpoints, &self.bound) {
            Some(text) => Err(Problems(vec![Problem { source: None, text }])),
            None => Ok((fresh, now)),
        }
    }

    fn stamps(&self, node: &Node) -> Stamps {
        Stamps::take(&files(&*self.source, &node.config()))
    }

    fn is_read(&self, stamps: &Stamps) -> bool {
        *self.read.lock().unwrap_or_else(PoisonError::into_inner) == *stamps
    }
}

/// Reads the configuration again whenever one of its files has changed and come to rest, for ever.
pub(crate) async fn watch(node: Arc<Node>) {
    let mut before = None;
    loop {
        tokio::time::sleep(WATCH_EVERY).await;
        let looking = Arc::clone(&node);
        // A disk may take its time.
        let looked = tokio::task::spawn_blocking(move || look(&looking, before.as_ref())).await;
        let Ok(seen) = looked else { return };
        before = seen;
    }
}

/// Looks at the files once; `before`: what was seen the last time.
fn look(node: &Node, before: Option<&Stamps>) -> Option<Stamps> {
    let reloader = node.reloader().filter(|_| node.config().reload.watch)?;
    let seen = reloader.stamps(node);
    if before == Some(&seen) && !reloader.is_read(&seen) {
        // What is wrong with it is in the log.
        let _ = reloader.reread(node);
    }
    Some(seen)
}

fn files(source: &dyn ConfigSource, config: &Config) -> Vec<PathBuf> {
    let mut files = source.files();
    files.extend(config.gateway.file.clone());
    files
}

fn plan(node: &Node, fresh: Loaded) -> Plan {
    let Loaded { config, warnings, .. } = fresh;
    let routes = node.routes.all();
    let planned = |name: &str, change| {
        let known = routes.iter().find(|route| route.name() == name);
        EndpointPlan { name: name.to_owned(), change, sockets: known.map_or(0, |route| route.sockets()) }
    };
    let mut endpoints: Vec<_> = config
        .endpoints
        .iter()
        .map(|endpoint| {
            let known = routes.iter().find(|route| route.name() == endpoint.name);
            planned(&endpoint.name, known.map_or(Change::Add, |known| change(&known.endpoint, endpoint)))
        })
        .collect();
    let stays = |name: &str| config.endpoints.iter().any(|endpoint| endpoint.name == name);
    endpoints.extend(
        routes.iter().filter(|route| !stays(route.name())).map(|route| planned(route.name(), Change::Remove)),
    );
    Plan { warnings, keys: differences(&node.config(), &config), endpoints }
}

impl Plan {
    fn log(&self) {
        for warning in &self.warnings {
            tracing::warn!("{warning}");
        }
        for Difference { key, reloadable } in &self.keys {
            if *reloadable {
                tracing::info!("{key} changed");
            } else {
                tracing::warn!("{key} changed, which waits for the next start");
            }
        }
        for endpoint in &self.endpoints {
            let (name, closed) = (&endpoint.name, endpoint.touched());
            match endpoint.change {
                Change::Add => tracing::info!("the endpoint {name} is new"),
                Change::Remove => tracing::info!("the endpoint {name} is gone, {closed} sockets are closed"),
                Change::Redirect => {
                    tracing::info!("the endpoint {name} is somewhere else now, {closed} sockets are closed");
                }
                Change::Adjust => tracing::info!("the endpoint {name} has other rules"),
                Change::Keep => {}
            }
        }
    }
}
