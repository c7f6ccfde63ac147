//! The hub's own services, as modules: they answer alike over HTTP and over the protocol.

mod connections;
mod routing;
mod rule;
mod services;
mod status;

pub use connections::ConnectionManager;
pub use services::ServiceManager;
pub use status::StatusModule;

use crate::modules::registry::{DynModule, boxed};

/// The modules that every node has.
pub(crate) fn all() -> Vec<Box<dyn DynModule>> {
    vec![boxed(ConnectionManager::default()), boxed(ServiceManager::default()), boxed(StatusModule)]
}
