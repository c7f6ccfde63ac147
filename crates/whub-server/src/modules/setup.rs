//! What a module is put together with.

use std::sync::Arc;

use whub_core::FrameHandler;
use whub_core::middleware::Middleware;

use crate::config::Config;
use crate::local::LocalService;
use crate::modules::frames::{self, OwnFrame, OwnReply};
use crate::modules::registry::Registry;
use crate::modules::{DependencyError, Module};
use crate::node::Node;
use crate::server::Handle;

/// Where a module finds what it needs and leaves what it provides.
pub struct Setup<'a> {
    pub(super) registry: &'a mut Registry,
    /// Whose setup this is.
    pub(super) module: &'static str,
}

/// Something that a module provides, and the module's name.
pub(crate) struct Provided {
    pub(crate) module: &'static str,
    pub(crate) part: Part,
}

/// What a module can provide.
pub(crate) enum Part {
    /// A service.
    Service(LocalService),
    /// The handler of an application's own kind of frames.
    Handler(u8, Arc<dyn FrameHandler>),
    /// A step of the chain of every call.
    Step(Arc<dyn Middleware>),
}

impl Setup<'_> {
    /// The module of this type, which is initialised, started and drained before this one and stopped after it.
    ///
    /// # Errors
    /// When there is none, when the two need each other, or when its own `init` failed.
    pub fn module<T: Module>(&mut self) -> Result<Arc<T>, DependencyError> {
        self.registry.module(self.module)
    }

    /// A handle on the node, to keep.
    #[must_use]
    pub fn handle(&self) -> Handle {
        self.registry.handle.clone()
    }

    /// The configuration that the node starts with.
    #[must_use]
    pub fn config(&self) -> Arc<Config> {
        self.node().config()
    }

    /// Provides a service of this process.
    pub fn service(&mut self, service: LocalService) {
        self.provide(Part::Service(service));
    }

    /// Handles the frames of an application's own kind, 128 to 191. The handler runs in a task of its own, so frames of
    /// one client are handled at once, up to [`OwnFrame::CONCURRENCY`] of all.
    ///
    /// It returns what answers the frame: nothing (`Ok`), an [`OwnReply`], or a `Result` of those with a
    /// [`Fault`](whub_core::Fault). A frame whose id is 0 gets no answer.
    pub fn handler<F, Fut, A>(&mut self, kind: u8, handler: F)
    where
        F: Fn(OwnFrame) -> Fut + Send + Sync + 'static,
        Fut: Future<Output = A> + Send + 'static,
        A: Into<OwnReply>,
    {
        let timeout = self.node().hub.limits.call_timeout;
        self.provide(Part::Handler(kind, frames::handler(handler, timeout)));
    }

    /// Adds a step to the chain of every call, in the place of one with its name. Where `middleware.order` names it, it
    /// stands there, otherwise it is the last.
    pub fn middleware(&mut self, step: Arc<dyn Middleware>) {
        self.provide(Part::Step(step));
    }

    fn provide(&mut self, part: Part) {
        self.registry.provided.push(Provided { module: self.module, part });
    }

    pub(super) fn node(&self) -> &Arc<Node> {
        self.registry.handle.node()
    }
}

impl std::fmt::Debug for Setup<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Setup({})", self.module)
    }
}
