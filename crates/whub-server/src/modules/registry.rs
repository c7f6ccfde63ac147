//! Modules by type, and the order in which they are put together.

use std::any::{Any, TypeId, type_name};
use std::pin::Pin;
use std::sync::Arc;
use std::time::Duration;

use thiserror::Error;

use crate::modules::setup::Provided;
use crate::modules::{Module, ModuleError, Setup};
use crate::server::{Handle, StartError};

/// Why one module cannot have another.
#[derive(Debug, Error)]
pub enum DependencyError {
    /// Nobody added it.
    #[error("module `{module}` needs a {needs}, and there is none; add one to the server's builder")]
    Missing {
        /// Who asked.
        module: &'static str,
        /// The type that it asked for.
        needs: &'static str,
    },
    /// Two modules cannot each come before the other.
    #[error("modules `{module}` and `{needs}` need each other ({chain}); let one of them do without")]
    Cycle {
        /// Who asked.
        module: &'static str,
        /// Whom it asked for.
        needs: &'static str,
        /// The whole circle, such as `a → b → a`.
        chain: String,
    },
    /// The other one could not be initialised.
    #[error("module `{needs}`, which `{module}` needs, could not be initialised: {error}")]
    Failed {
        /// Who asked.
        module: &'static str,
        /// Whom it asked for.
        needs: &'static str,
        /// What went wrong there.
        #[source]
        error: ModuleError,
    },
}

/// Modules on their way from the builder to a running node.
pub(crate) struct Registry {
    slots: Vec<Slot>,
    /// Those that are being initialised, each asked for by the one before it.
    busy: Vec<&'static str>,
    /// Slots in the order in which they were initialised.
    order: Vec<usize>,
    pub(super) handle: Handle,
    pub(super) provided: Vec<Provided>,
}

struct Slot {
    of: TypeId,
    name: &'static str,
    stage: Stage,
}

enum Stage {
    Waiting(Box<dyn DynModule>),
    Busy,
    Ready(Arc<dyn DynModule>),
}

/// Modules that can be started.
pub(super) struct Initialised {
    /// Those that others need come first.
    pub(super) modules: Vec<Arc<dyn DynModule>>,
    pub(super) provided: Vec<Provided>,
}

impl Registry {
    /// # Errors
    /// When two modules are of one type.
    pub(crate) fn new(modules: Vec<Box<dyn DynModule>>, handle: Handle) -> Result<Self, StartError> {
        let mut slots: Vec<Slot> = Vec::with_capacity(modules.len());
        for module in modules {
            let (of, name) = (module.of(), module.name());
            if slots.iter().any(|slot| slot.of == of) {
                return Err(StartError::Module {
                    module: name,
                    error: "it was added twice; modules find each other by type, so there is one of each"
                        .into(),
                });
            }
            slots.push(Slot { of, name, stage: Stage::Waiting(module) });
        }
        Ok(Self { slots, busy: Vec::new(), order: Vec::new(), handle, provided: Vec::new() })
    }

    /// Initialises every module, those that others need first.
    pub(super) fn init(mut self) -> Result<Initialised, StartError> {
        for index in 0..self.slots.len() {
            if let Stage::Waiting(_) = self.slots[index].stage {
                let module = self.slots[index].name;
                self.init_one(index).map_err(|error| StartError::Module { module, error })?;
            }
        }
        let ready = |index: &usize| match &self.slots[*index].stage {
            Stage::Ready(module) => Some(Arc::clone(module)),
            Stage::Waiting(_) | Stage::Busy => None,
        };
        let modules = self.order.iter().filter_map(ready).collect();
        Ok(Initialised { modules, provided: self.provided })
    }

    /// The module of a type, initialised now if it was not.
    pub(super) fn module<T: Module>(&mut self, module: &'static str) -> Result<Arc<T>, DependencyError> {
        let missing = || DependencyError::Missing { module, needs: type_name::<T>() };
        let index = self.slots.iter().position(|slot| slot.of == TypeId::of::<T>()).ok_or_else(missing)?;
        let needs = self.slots[index].name;
        match self.slots[index].stage {
            Stage::Ready(_) => {}
            Stage::Busy => return Err(DependencyError::Cycle { module, needs, chain: self.circle(needs) }),
            Stage::Waiting(_) => {
                self.init_one(index).map_err(|error| DependencyError::Failed { module, needs, error })?;
            }
        }
        let Stage::Ready(found) = &self.slots[index].stage else { return Err(missing()) };
        Arc::clone(found).into_any().downcast().map_err(|_| missing())
    }

    fn init_one(&mut self, index: usize) -> Result<(), ModuleError> {
        let Stage::Waiting(mut module) = std::mem::replace(&mut self.slots[index].stage, Stage::Busy) else {
            return Ok(());
        };
        let name = module.name();
        self.busy.push(name);
        let result = module.init(&mut Setup { registry: self, module: name });
        self.busy.pop();
        result?;
        self.slots[index].stage = Stage::Ready(Arc::from(module));
        self.order.push(index);
        Ok(())
    }

    fn circle(&self, back_to: &'static str) -> String {
        let begins = self.busy.iter().position(|name| *name == back_to).unwrap_or_default();
        let mut names = self.busy[begins..].to_vec();
        names.push(back_to);
        names.join(" → ")
    }
}

/// A module without its type, so that different ones can stand in one row.
pub(crate) trait DynModule: Send + Sync {
    fn of(&self) -> TypeId;
    fn name(&self) -> &'static str;
    fn init(&mut self, setup: &mut Setup<'_>) -> Result<(), ModuleError>;
    fn start(&self) -> Boxed<'_, Result<(), ModuleError>>;
    fn drain(&self, grace: Duration) -> Boxed<'_, ()>;
    fn stop(&self) -> Boxed<'_, ()>;
    fn into_any(self: Arc<Self>) -> Arc<dyn Any + Send + Sync>;
}

type Boxed<'a, T> = Pin<Box<dyn Future<Output = T> + Send + 'a>>;

impl std::fmt::Debug for dyn DynModule {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Module({})", self.name())
    }
}

/// Takes a module's type away.
pub(crate) fn boxed(module: impl Module) -> Box<dyn DynModule> {
    Box::new(module)
}

impl<M: Module> DynModule for M {
    fn of(&self) -> TypeId {
        TypeId::of::<M>()
    }

    fn name(&self) -> &'static str {
        Module::name(self)
    }

    fn init(&mut self, setup: &mut Setup<'_>) -> Result<(), ModuleError> {
        Module::init(self, setup)
    }

    fn start(&self) -> Boxed<'_, Result<(), ModuleError>> {
        Box::pin(Module::start(self))
    }

    fn drain(&self, grace: Duration) -> Boxed<'_, ()> {
        Box::pin(Module::drain(self, grace))
    }

    fn stop(&self) -> Boxed<'_, ()> {
        Box::pin(Module::stop(self))
    }

    fn into_any(self: Arc<Self>) -> Arc<dyn Any + Send + Sync> {
        self
    }
}
