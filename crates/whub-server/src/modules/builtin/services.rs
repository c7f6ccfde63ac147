//! `/services`: who provides what.

use std::sync::{Arc, OnceLock};

use serde_json::Value;
use whub_core::Grants;

use crate::modules::builtin::routing::reading;
use crate::modules::builtin::rule::admit;
use crate::modules::{Module, ModuleError, Setup};
use crate::node::Node;
use crate::report;

/// Knows the services of the node, and provides `/services`.
#[derive(Debug, Default)]
pub struct ServiceManager {
    node: OnceLock<Arc<Node>>,
}

impl ServiceManager {
    /// The services that `grants` may call, as `/v1/services` lists them.
    #[must_use]
    pub fn list(&self, grants: &Grants) -> Value {
        self.node.get().map_or(Value::Null, |node| report::services(node, grants))
    }
}

impl Module for ServiceManager {
    fn name(&self) -> &'static str {
        "services"
    }

    fn init(&mut self, setup: &mut Setup<'_>) -> Result<(), ModuleError> {
        let node = Arc::clone(setup.node());
        self.node = OnceLock::from(Arc::clone(&node));
        setup.service(reading("/services", &node, |node, request| {
            let grants = admit(node, node.config().builtin.services, &request.caller)?;
            Ok(report::services(node, &grants))
        })?);
        Ok(())
    }
}
