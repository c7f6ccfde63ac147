//! `/services`: who provides what.

use std::sync::{Arc, OnceLock};

use serde_json::Value;
use whub_core::{Fault, Identity};
use whub_proto::Code;

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
    /// The services that somebody may know of, as `/v1/services` lists them.
    #[must_use]
    pub fn list(&self, identity: &Identity) -> Value {
        self.node.get().map_or(Value::Null, |node| report::services(node, identity))
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
            let identity = admit(node, node.config().builtin.services, &request.caller)?;
            Ok(report::services(node, &identity))
        })?);
        setup.service(reading("/services/*path", &node, |node, request| {
            let identity = admit(node, node.config().builtin.services, &request.caller)?;
            if request.rest.is_empty() {
                return Ok(report::services(node, &identity));
            }
            let path = format!("/{}", request.rest);
            report::service(node, &identity, &path).ok_or_else(|| {
                let reason = format!("can not find service for uri {path}");
                Fault::fatal(Code::NotFound, "service.not_found", reason)
            })
        })?);
        Ok(())
    }
}
