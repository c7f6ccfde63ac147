//! `/services`: who provides what.

use std::sync::{Arc, OnceLock};

use serde_json::{Value, json};
use whub_core::{Fault, Identity};
use whub_proto::Code;
use whub_proto::names::{Pattern, ServicePath};

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
            if let Some(service) = report::service(node, &identity, &path) {
                return Ok(service);
            }
            let listed = path.strip_suffix("/providers").and_then(|path| providers(node, &identity, path));
            listed.unwrap_or_else(|| Err(not_found(&path)))
        })?);
        Ok(())
    }
}

/// `GET /services/<path>/providers`: where the providers of a service are, in the words of the seed system, for those that
/// administer or provide it.
fn providers(node: &Node, identity: &Identity, path: &str) -> Option<Result<Value, Fault>> {
    report::service(node, identity, path)?;
    let services = &node.hub.services;
    let exact = Pattern::parse(path).ok().and_then(|pattern| services.get(&pattern));
    let service = exact.or_else(|| services.find(&ServicePath::parse(path).ok()?))?;
    let providers = service.providers();
    let user = identity.user.as_deref().filter(|user| !user.is_empty());
    let provides = providers.iter().any(|provider| user == Some(&*provider.registration.user));
    if !identity.grants.admin && !provides {
        let reason = "where its providers are is for those that provide it, and administrators";
        return Some(Err(Fault::fatal(Code::Forbidden, "access.admin", reason)));
    }
    let clients = providers.iter().flat_map(|provider| node.hub.clients.find(&provider.registration.client));
    Some(Ok(clients.map(|client| json!({ "type": "WS", "address": &*client.address })).collect()))
}

fn not_found(path: &str) -> Fault {
    Fault::fatal(Code::NotFound, "service.not_found", format!("can not find service for uri {path}"))
}
