//! The endpoints of a node, by name, and how they change while it runs.

use std::collections::BTreeMap;
use std::sync::{Arc, PoisonError, RwLock};

use tokio::sync::watch;
use whub_core::Fault;
use whub_proto::Code;

use crate::config::Endpoint;
use crate::gateway::route::Route;

/// The table. Names are looked up without regard to case.
#[derive(Debug, Default)]
pub(crate) struct Routes {
    // Held to copy the handle or to put another in its place.
    table: RwLock<Arc<Table>>,
    /// Changes with the table.
    edition: watch::Sender<u64>,
}

#[derive(Debug, Default)]
struct Table {
    routes: Vec<Arc<Route>>,
    /// Every name in lower case, aliases among them.
    names: BTreeMap<String, usize>,
}

/// What becomes of an endpoint when the configuration changes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Change {
    /// It is new.
    Add,
    /// It goes, and its sockets with it.
    Remove,
    /// It is somewhere else now: its sockets are closed and may come back.
    Redirect,
    /// Other rules hold for those who come; its sockets are not touched.
    Adjust,
    /// It stays as it is.
    Keep,
}

impl Routes {
    /// The endpoint of a name.
    pub(crate) fn find(&self, name: &str) -> Option<Arc<Route>> {
        let table = self.table();
        let index = *table.names.get(&name.to_ascii_lowercase())?;
        table.routes.get(index).cloned()
    }

    /// All of them, in the order of the configuration.
    pub(crate) fn all(&self) -> Vec<Arc<Route>> {
        self.table().routes.clone()
    }

    /// Changes when endpoints come, go or change.
    pub(crate) fn edition(&self) -> watch::Receiver<u64> {
        self.edition.subscribe()
    }

    /// Puts these endpoints in the place of those that are there. Only sockets of endpoints that went or moved are
    /// closed.
    pub(crate) fn apply(&self, endpoints: &[Endpoint]) {
        let before = self.table();
        let mut table = Table::default();
        let mut dismissed = Vec::new();
        for endpoint in endpoints {
            let known = before.routes.iter().find(|known| known.endpoint.name == endpoint.name);
            let route = match (known, known.map_or(Change::Add, |known| change(&known.endpoint, endpoint))) {
                (Some(known), Change::Keep) => Arc::clone(known),
                (Some(known), Change::Adjust) => known.replace(endpoint.clone()),
                (Some(known), Change::Redirect | Change::Remove | Change::Add) => {
                    dismissed.push((Arc::clone(known), redirected(known.name())));
                    known.move_to(endpoint.clone())
                }
                (None, _) => Route::start(endpoint.clone()),
            };
            route.encourage();
            route.upstreams.iter().for_each(|upstream| upstream.forget_trust());
            table.add(route);
        }
        for known in &before.routes {
            if !endpoints.iter().any(|endpoint| endpoint.name == known.endpoint.name) {
                dismissed.push((Arc::clone(known), removed(known.name())));
                known.halt();
            }
        }
        *self.table.write().unwrap_or_else(PoisonError::into_inner) = Arc::new(table);
        self.edition.send_modify(|edition| *edition += 1);
        // Last, so that whoever comes back finds the new ones.
        for (route, fault) in dismissed {
            route.dismiss(&fault);
        }
    }

    /// Ends the processes of all endpoints, and waits for their end.
    pub(crate) async fn halt(&self) {
        let routes = self.all();
        routes.iter().for_each(|route| route.halt());
        for route in routes {
            route.halted().await;
        }
    }

    /// Ends the processes of all endpoints at once.
    pub(crate) fn kill(&self) {
        self.all().iter().for_each(|route| route.kill());
    }

    fn table(&self) -> Arc<Table> {
        Arc::clone(&self.table.read().unwrap_or_else(PoisonError::into_inner))
    }
}

impl Table {
    fn add(&mut self, route: Arc<Route>) {
        let index = self.routes.len();
        for name in [Some(&route.endpoint.name), route.endpoint.alias.as_ref()].into_iter().flatten() {
            self.names.insert(name.to_ascii_lowercase(), index);
        }
        self.routes.push(route);
    }
}

/// What becomes of an endpoint for which the configuration says something now. Its sockets are where they should be as
/// long as a new one would go to the same place in the same way.
pub(crate) fn change(old: &Endpoint, new: &Endpoint) -> Change {
    if old == new {
        return Change::Keep;
    }
    let is_same_place = old.target == new.target
        && old.headers == new.headers
        && old.authorization == new.authorization
        && old.protocols == new.protocols
        && old.tls_roots == new.tls_roots
        && old.process == new.process;
    if is_same_place { Change::Adjust } else { Change::Redirect }
}

fn redirected(name: &str) -> Fault {
    let reason = format!("the endpoint {name} is somewhere else now; connect again");
    Fault::passing(Code::Replaced, "gateway.redirected", 1, reason)
}

fn removed(name: &str) -> Fault {
    Fault::fatal(Code::Gone, "gateway.removed", format!("there is no endpoint {name} any more"))
}
