//! The life of a node's modules: started in order, drained together, stopped in reverse.

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use tokio::task::JoinSet;
use whub_core::{Fault, Mailbox, Post as _, Registration};
use whub_proto::names::Pattern;

use crate::local::{LocalMailbox, LocalService};
use crate::modules::Registry;
use crate::modules::registry::{DynModule, Initialised};
use crate::modules::setup::{Part, Provided};
use crate::node::Node;
use crate::server::StartError;

/// How long one module may take to stop.
const STOP_WITHIN: Duration = Duration::from_secs(5);

/// The modules of a node that has started.
pub(crate) struct Modules {
    node: Arc<Node>,
    /// In the order in which they started.
    modules: Vec<Arc<dyn DynModule>>,
    services: Vec<(Pattern, Arc<LocalMailbox>)>,
    /// Kinds of frames that are handled.
    kinds: Vec<u8>,
}

impl Modules {
    /// Initialises and starts modules, then puts in force what they provide.
    pub(crate) async fn start(registry: Registry, node: Arc<Node>) -> Result<Self, StartError> {
        let Initialised { modules, provided } = registry.init()?;
        let mut started = Self {
            node,
            modules: Vec::with_capacity(modules.len()),
            services: Vec::new(),
            kinds: Vec::new(),
        };
        for module in modules {
            if let Err(error) = module.start().await {
                let name = module.name();
                started.stop().await;
                return Err(StartError::Module { module: name, error });
            }
            started.modules.push(module);
        }
        if let Err(error) = started.provide(provided) {
            started.leave();
            started.stop().await;
            return Err(error);
        }
        Ok(started)
    }

    fn provide(&mut self, provided: Vec<Provided>) -> Result<(), StartError> {
        for Provided { module, part } in provided {
            let taken = match part {
                Part::Service(service) => self.provide_service(module, service),
                Part::Handler(kind, handler) => {
                    self.node.hub.handlers.add(kind, handler).map(|()| self.kinds.push(kind))
                }
                Part::Step(step) => {
                    self.node.chain.add(&self.node.hub, &self.node.config(), step);
                    Ok(())
                }
            };
            taken.map_err(|fault| StartError::Module { module, error: fault.into() })?;
        }
        Ok(())
    }

    fn provide_service(&mut self, module: &str, service: LocalService) -> Result<(), Fault> {
        let hub = &self.node.hub;
        let mailbox = Arc::new(LocalMailbox::new(hub, &service));
        let registration = Registration {
            description: service.description,
            pass_headers: service.pass_headers,
            name: module.into(),
            ..Registration::new(service.pattern.clone())
        };
        hub.table_of(&service.pattern).register(registration, Mailbox::new(mailbox.clone()))?;
        self.services.push((service.pattern, mailbox));
        Ok(())
    }

    /// No new calls; those under way are finished within `grace`, and each module does what it has to.
    pub(crate) async fn drain(&self, grace: Duration) {
        self.leave();
        let mut draining = JoinSet::new();
        for (_, mailbox) in &self.services {
            let mailbox = Arc::clone(mailbox);
            draining.spawn(async move {
                if tokio::time::timeout(grace, mailbox.idle()).await.is_err() {
                    mailbox.close(&Fault::draining());
                }
            });
        }
        for module in &self.modules {
            let module = Arc::clone(module);
            draining.spawn(async move {
                if tokio::time::timeout(grace, module.drain(grace)).await.is_err() {
                    tracing::warn!(module = module.name(), "the module was not drained in time");
                }
            });
        }
        while let Some(drained) = draining.join_next().await {
            report(drained);
        }
    }

    /// Stops the modules, the last one first.
    pub(crate) async fn stop(&self) {
        for (_, mailbox) in &self.services {
            mailbox.close(&Fault::draining());
        }
        for module in self.modules.iter().rev() {
            let name = module.name();
            let module = Arc::clone(module);
            // A task of its own: one that panics does not keep the others from being stopped.
            let stopping =
                tokio::spawn(async move { tokio::time::timeout(STOP_WITHIN, module.stop()).await });
            match stopping.await {
                Ok(Ok(())) => {}
                Ok(Err(_)) => tracing::warn!(module = name, "the module did not stop in time"),
                Err(error) => tracing::error!(module = name, "the module broke while it stopped: {error}"),
            }
        }
    }

    fn leave(&self) {
        for (pattern, mailbox) in &self.services {
            self.node.hub.leave_service(pattern, mailbox.session());
        }
        for kind in &self.kinds {
            self.node.hub.handlers.remove(*kind);
        }
    }
}

fn report(ended: Result<(), tokio::task::JoinError>) {
    if let Err(error) = ended {
        tracing::error!("a module broke while it was drained: {error}");
    }
}

impl fmt::Debug for Modules {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_list().entries(self.modules.iter().map(|module| module.name())).finish()
    }
}
