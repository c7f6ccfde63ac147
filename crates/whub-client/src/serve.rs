//! Providing a service: patterns, handlers, what they are given and what they answer.

mod offer;
mod place;
mod reply;
mod request;
mod run;

use std::future::{Future, IntoFuture};
use std::sync::Arc;
use std::time::Duration;

use tokio::sync::oneshot;
use whub_proto::names::Pattern;

use crate::client::{BoxFuture, Client};
use crate::command::{Command, Release, Service};
use crate::error::Error;
use crate::key::Key;

pub use offer::{Access, Offer};
pub(crate) use place::{Place, Places};
pub use reply::{Reply, ServiceError};
pub use request::Request;
pub(crate) use run::Job;

/// Calls that a service takes at once unless it is told otherwise.
const INFLIGHT_MAX: u32 = 128;

/// What a service does, as the connection holds it.
pub(crate) type Handler = Arc<dyn Fn(Request) -> BoxFuture<Result<Reply, ServiceError>> + Send + Sync>;

/// Makes a handler of a function.
pub(crate) fn handler<F, Fut, R, E>(serve: F) -> Handler
where
    F: Fn(Request) -> Fut + Send + Sync + 'static,
    Fut: Future<Output = Result<R, E>> + Send + 'static,
    R: Into<Reply>,
    E: Into<ServiceError>,
{
    Arc::new(move |request| {
        let answer = serve(request);
        Box::pin(async move { answer.await.map(Into::into).map_err(Into::into) })
    })
}

/// A service about to be registered: set what it needs, then await it.
#[must_use = "nothing is registered before it is awaited"]
pub struct Provide {
    client: Client,
    pattern: String,
    offer: Offer,
    inflight_max: u32,
    timeout: Duration,
    handler: Handler,
}

impl std::fmt::Debug for Provide {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Provide").field("pattern", &self.pattern).finish_non_exhaustive()
    }
}

impl Provide {
    pub(crate) fn new(client: Client, pattern: String, handler: Handler) -> Self {
        let timeout = client.timeout();
        Self { client, pattern, offer: Offer::default(), inflight_max: INFLIGHT_MAX, timeout, handler }
    }

    /// Calls that the handler takes at once; the hub tries other providers beyond it. Default: 128; at least 1.
    pub fn max_inflight(mut self, calls: u32) -> Self {
        self.inflight_max = calls.max(1);
        self
    }

    /// Everything that is said of it, in place of what was said before.
    pub fn offer(mut self, offer: Offer) -> Self {
        self.offer = offer;
        self
    }

    /// The group of providers it belongs to, for lists and statistics.
    pub fn group(mut self, group: impl Into<String>) -> Self {
        self.offer.group = group.into();
        self
    }

    /// Its share of calls against other providers of the pattern. Default: 1.
    pub fn weight(mut self, weight: u16) -> Self {
        self.offer.weight = weight;
        self
    }

    /// The version of the service, for those who look.
    pub fn version(mut self, version: impl Into<String>) -> Self {
        self.offer.version = version.into();
        self
    }

    /// One sentence for those who list services.
    pub fn description(mut self, text: impl Into<String>) -> Self {
        self.offer.description = text.into();
        self
    }

    /// More about it, for those who list services: no secrets. May be called several times.
    pub fn metadata(mut self, name: impl Into<String>, value: impl Into<String>) -> Self {
        self.offer.metadata.push((name.into(), value.into()));
        self
    }

    /// Who may call it. Default: everybody whom the hub lets.
    pub fn access(mut self, access: Access) -> Self {
        self.offer.access = access;
        self
    }

    /// A request header that it wants although hubs keep it back by default, such as `cookie`. It is passed when every
    /// provider of the service wants it.
    pub fn pass_header(mut self, name: impl Into<String>) -> Self {
        self.offer.pass_headers.push(name.into());
        self
    }

    /// How long to wait until the service is registered. Default: that of the client, 10 s.
    pub fn timeout(mut self, timeout: Duration) -> Self {
        self.timeout = timeout;
        self
    }

    async fn send(self) -> Result<Registration, Error> {
        let pattern = Pattern::parse(&self.pattern)?;
        let key = self.client.next_key();
        let shown = pattern.as_str().to_owned();
        // Made first: dropped half-way, it takes the service back.
        let registration = Registration { key, pattern: shown, client: self.client.clone() };
        let (done, outcome) = oneshot::channel();
        let service = Service {
            key,
            pattern,
            offer: self.offer,
            inflight_max: self.inflight_max,
            handler: self.handler,
            done: Some(done),
        };
        self.client.ask(self.timeout, Command::Provide(Box::new(service)), outcome).await?;
        Ok(registration)
    }
}

impl IntoFuture for Provide {
    type Output = Result<Registration, Error>;
    type IntoFuture = BoxFuture<Self::Output>;

    fn into_future(self) -> Self::IntoFuture {
        Box::pin(self.send())
    }
}

/// A registered service; it is registered again after every reconnection. Dropping it ends it; calls that were begun
/// are finished.
#[derive(Debug)]
#[must_use = "dropping it ends the service"]
pub struct Registration {
    key: Key,
    pattern: String,
    client: Client,
}

impl Registration {
    /// The pattern as registered.
    #[must_use]
    pub fn pattern(&self) -> &str {
        &self.pattern
    }

    /// Ends the service and waits until the hub has agreed; calls that were begun are finished.
    ///
    /// # Errors
    /// When the connection is lost meanwhile; the service is ended all the same.
    pub async fn unregister(self) -> Result<(), Error> {
        self.end(0).await
    }

    /// The same, but calls that are not finished after `grace` (at least 1 ms) are ended: moved to another provider
    /// where that is harmless, else failed.
    ///
    /// # Errors
    /// As [`Self::unregister`].
    pub async fn unregister_within(self, grace: Duration) -> Result<(), Error> {
        self.end(u32::try_from(grace.as_millis()).unwrap_or(u32::MAX).max(1)).await
    }

    async fn end(self, grace_ms: u32) -> Result<(), Error> {
        let (done, outcome) = oneshot::channel();
        let command = Command::Unprovide { key: self.key, grace_ms, done };
        self.client.ask(self.client.timeout(), command, outcome).await
    }
}

impl Drop for Registration {
    fn drop(&mut self) {
        self.client.release(Release::Service(self.key));
    }
}
