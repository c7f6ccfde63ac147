//! `/status`: the node in numbers.

use std::sync::Arc;

use serde_json::{Value, json};

use crate::config::Audience;
use crate::modules::builtin::routing::reading;
use crate::modules::builtin::rule::admit;
use crate::modules::{ConnectionManager, Module, ModuleError, ServiceManager, Setup};
use crate::node::Node;
use crate::report;

/// Provides `/status`, `/status/services` and `/status/info`.
#[derive(Debug, Default)]
pub struct StatusModule;

impl Module for StatusModule {
    fn name(&self) -> &'static str {
        "status"
    }

    fn init(&mut self, setup: &mut Setup<'_>) -> Result<(), ModuleError> {
        let (connections, services) =
            (setup.module::<ConnectionManager>()?, setup.module::<ServiceManager>()?);
        let node = Arc::clone(setup.node());
        setup.service(reading("/status", &node, move |node, request| {
            admit(node, node.config().builtin.status, &request.caller)?;
            let mut status = report::status(node);
            status["connections"] = connections.count().into();
            Ok(status)
        })?);
        setup.service(reading("/status/services", &node, move |node, request| {
            let identity = admit(node, node.config().builtin.status, &request.caller)?;
            Ok(services.list(&identity))
        })?);
        setup.service(reading("/status/info", &node, |node, request| {
            let off = node.config().builtin.status == Audience::Nobody;
            admit(node, if off { Audience::Nobody } else { Audience::Anyone }, &request.caller)?;
            Ok(info(node))
        })?);
        Ok(())
    }
}

/// What everybody may know of the node.
fn info(node: &Node) -> Value {
    json!({
        "id": node.hub.node,
        "description": node.hub.agent,
        "address": node.addresses().first(),
        "addresses": node.addresses(),
    })
}
