//! The hub's own services, as modules: they answer alike over HTTP and over the protocol.

mod clients;
mod connections;
mod endpoints;
mod messaging;
mod routing;
mod rule;
mod services;
mod status;

pub use clients::ClientManager;
pub use connections::ConnectionManager;
pub use messaging::{ClientMessage, Messaging, Reached, Receipt};
pub use services::ServiceManager;
pub use status::StatusModule;

use crate::modules::registry::{DynModule, boxed};

/// The modules that every node has.
pub(crate) fn all() -> Vec<Box<dyn DynModule>> {
    vec![
        boxed(ConnectionManager::default()),
        boxed(ClientManager::default()),
        boxed(ServiceManager::default()),
        boxed(Messaging::default()),
        boxed(StatusModule),
        boxed(endpoints::Endpoints),
    ]
}
