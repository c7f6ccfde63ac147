//! Modules: the parts that a node is put together from, its own and those of the program that embeds it.
//!
//! A module has a life: `init` (say what it needs and what it provides), `start`, `drain`, `stop`. It asks for other
//! modules by their type, which puts them before it; at the end the order is reversed. What it provides, services,
//! handlers of frames and middleware, is in force from the end of all starts to the beginning of the drain.

mod builtin;
mod frames;
mod life;
mod registry;
mod setup;

use std::time::Duration;

pub use builtin::{
    ClientManager, ClientMessage, ConnectionManager, Messaging, Reached, Receipt, ServiceManager,
    StatusModule,
};
pub use frames::{OwnFrame, OwnReply};
pub use registry::DependencyError;
pub use setup::Setup;

pub(crate) use builtin::all as builtin;
pub(crate) use life::Modules;
pub(crate) use registry::{DynModule, Registry, boxed};

/// Why a module could not do its part. Any error, and any text, becomes one.
pub type ModuleError = Box<dyn std::error::Error + Send + Sync>;

/// A part of a node. All but the name has a default, which does nothing.
///
/// ```
/// use whub_server::{LocalService, Module, ModuleError, Setup};
///
/// struct Greeter;
///
/// impl Module for Greeter {
///     fn name(&self) -> &'static str {
///         "greeter"
///     }
///
///     fn init(&mut self, setup: &mut Setup<'_>) -> Result<(), ModuleError> {
///         setup.service(LocalService::new("/greet/:name", |request| async move {
///             format!("Hello, {}!", request.param("name").unwrap_or("stranger"))
///         })?);
///         Ok(())
///     }
/// }
/// ```
pub trait Module: Send + Sync + 'static {
    /// The name in logs and errors, such as `clients`.
    fn name(&self) -> &'static str;

    /// Finds the modules that this one needs and says what it provides. Nothing runs yet.
    ///
    /// # Errors
    /// Keep the node from starting; the error names the module.
    fn init(&mut self, setup: &mut Setup<'_>) -> Result<(), ModuleError> {
        let _ = setup;
        Ok(())
    }

    /// Begins to work: those that it needs have started, and no call has come yet.
    ///
    /// # Errors
    /// Keep the node from starting; the modules that had started are stopped.
    fn start(&self) -> impl Future<Output = Result<(), ModuleError>> + Send {
        std::future::ready(Ok(()))
    }

    /// The node is stopping: finish what is under way, within `grace`. No new calls come.
    fn drain(&self, grace: Duration) -> impl Future<Output = ()> + Send {
        let _ = grace;
        std::future::ready(())
    }

    /// The connections have gone: let go of what is left. Dropped after 5 s.
    fn stop(&self) -> impl Future<Output = ()> + Send {
        std::future::ready(())
    }
}
