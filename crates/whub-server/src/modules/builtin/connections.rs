//! The connections of the node.

use std::sync::{Arc, OnceLock};

use crate::modules::{Module, ModuleError, Setup};
use crate::node::Node;

/// Knows how many connections there are. Each is held by its own task.
#[derive(Debug, Default)]
pub struct ConnectionManager {
    node: OnceLock<Arc<Node>>,
}

impl ConnectionManager {
    /// Connections now, those that have not said anything yet included.
    #[must_use]
    pub fn count(&self) -> usize {
        self.node.get().map_or(0, |node| *node.present().borrow())
    }
}

impl Module for ConnectionManager {
    fn name(&self) -> &'static str {
        "connections"
    }

    fn init(&mut self, setup: &mut Setup<'_>) -> Result<(), ModuleError> {
        self.node = OnceLock::from(Arc::clone(setup.node()));
        Ok(())
    }
}
