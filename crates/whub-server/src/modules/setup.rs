//! What a module is put together with.

use std::sync::Arc;

use crate::config::Config;
use crate::local::LocalService;
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

/// Something that a module provides, and its name.
pub(crate) struct Provided {
    pub(crate) module: &'static str,
    pub(crate) service: LocalService,
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
        self.registry.provided.push(Provided { module: self.module, service });
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
