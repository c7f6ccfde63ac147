//! `/clients`: who is connected.

use crate::modules::Module;

/// Knows who is connected.
#[derive(Debug, Default)]
pub struct ClientManager;

impl Module for ClientManager {
    fn name(&self) -> &'static str {
        "clients"
    }
}
