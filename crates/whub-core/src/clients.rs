//! Who is here: the sessions that were welcomed, and the addresses that messages reach them by.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::atomic::{AtomicU32, Ordering::Relaxed};
use std::sync::{Arc, PoisonError, RwLock};

use crate::access::Identity;
use crate::mailbox::{Framing, Mailbox, SessionId};

/// The table of clients.
///
/// One lock is enough: sessions write it when they come, go, or change who they are; nothing is sent under it.
#[derive(Debug, Default)]
pub struct Clients {
    table: RwLock<Table>,
}

#[derive(Debug, Default)]
struct Table {
    sessions: BTreeMap<SessionId, Arc<Client>>,
    /// Client names, user names and groups (`@ops`), each with the sessions that it stands for.
    addresses: BTreeSet<(Arc<str>, SessionId)>,
}

/// A client that is connected.
#[derive(Debug, Clone)]
pub struct Client {
    /// Where what is sent to it goes.
    pub mailbox: Mailbox,
    /// The hub's name for it.
    pub client: Arc<str>,
    /// Its address; empty where it has none.
    pub address: Box<str>,
    /// What it calls itself in `Hello`; empty where it says nothing.
    pub name: Box<str>,
    /// When it was welcomed, in milliseconds since 1970.
    pub since_ms: u64,
    /// Who it is.
    pub identity: Identity,
    /// What it holds now.
    pub tally: Arc<Tally>,
}

/// What a session holds, for those who look at it from outside.
#[derive(Debug, Default)]
pub struct Tally {
    /// Its subscriptions.
    pub subscriptions: AtomicU32,
    /// The services that it provides.
    pub services: AtomicU32,
}

impl Tally {
    /// Notes how many services there are now.
    pub(crate) fn services(&self, count: usize) {
        self.services.store(u32::try_from(count).unwrap_or(u32::MAX), Relaxed);
    }
}

impl Client {
    /// How it is connected, for people.
    #[must_use]
    pub fn transport(&self) -> &'static str {
        match self.mailbox.framing() {
            Framing::Binary | Framing::Private => "websocket",
            Framing::Json => "websocket, JSON",
            Framing::Stream => "stream",
            Framing::Plain | Framing::Room => "plain websocket",
        }
    }

    fn addresses(&self) -> impl Iterator<Item = Arc<str>> {
        let groups = self.identity.grants.groups.iter().map(|group| format!("@{group}").into());
        [Arc::clone(&self.client)].into_iter().chain(self.identity.user.clone()).chain(groups)
    }
}

impl Clients {
    /// A client was welcomed, or is somebody else now.
    pub fn enter(&self, client: Client) {
        let session = client.mailbox.session();
        let mut table = self.table.write().unwrap_or_else(PoisonError::into_inner);
        table.forget(session);
        for address in client.addresses() {
            table.addresses.insert((address, session));
        }
        table.sessions.insert(session, Arc::new(client));
    }

    /// A client has left.
    pub fn leave(&self, session: SessionId) {
        self.table.write().unwrap_or_else(PoisonError::into_inner).forget(session);
    }

    /// The clients that an address stands for: a client's name, a user's, or a group (`@ops`).
    #[must_use]
    pub fn find(&self, address: &str) -> Vec<Arc<Client>> {
        let table = self.table.read().unwrap_or_else(PoisonError::into_inner);
        let from = (Arc::<str>::from(address), SessionId(0));
        let named = table.addresses.range(from..).take_while(|(known, _)| **known == *address);
        named.filter_map(|(_, session)| table.sessions.get(session).cloned()).collect()
    }

    /// Everybody, in the order in which they came.
    #[must_use]
    pub fn list(&self) -> Vec<Arc<Client>> {
        self.table.read().unwrap_or_else(PoisonError::into_inner).sessions.values().cloned().collect()
    }

    /// How many there are.
    #[must_use]
    pub fn len(&self) -> usize {
        self.table.read().unwrap_or_else(PoisonError::into_inner).sessions.len()
    }

    /// Whether nobody is here.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }
}

impl Table {
    fn forget(&mut self, session: SessionId) {
        let Some(client) = self.sessions.remove(&session) else { return };
        for address in client.addresses() {
            self.addresses.remove(&(address, session));
        }
    }
}
