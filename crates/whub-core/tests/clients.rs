//! Who is here, and by which addresses.

#![allow(clippy::unwrap_used)] // A failed unwrap is a failed test.

use std::sync::Arc;

use whub_core::{Client, Clients, Fate, Framing, Grants, Identity, Letter, Mailbox, Parcel, Post};
use whub_core::{Publication, Sent, SessionId, Undelivered};

/// A mailbox that takes nothing.
struct Nowhere(u64);

impl Post for Nowhere {
    fn session(&self) -> SessionId {
        SessionId(self.0)
    }

    fn framing(&self) -> Framing {
        Framing::Stream
    }

    fn post(&self, letter: Letter) -> Result<(), Undelivered> {
        Err(Undelivered::Gone(letter))
    }

    fn send(&self, _: Parcel<'_>) -> Sent {
        Sent::Gone
    }

    fn hold(&self) {}

    fn poll_room(&self, _: &std::task::Waker) -> bool {
        true
    }

    fn publish(&self, _: &dyn Publication) -> Fate {
        Fate::DroppedGone
    }
}

fn client(session: u64, name: &str, user: Option<&str>, groups: &[&str]) -> Client {
    let groups = groups.iter().map(|group| (*group).to_owned()).collect();
    Client {
        mailbox: Mailbox::new(Arc::new(Nowhere(session))),
        client: name.into(),
        address: "".into(),
        name: "".into(),
        since_ms: 0,
        identity: Identity {
            user: user.map(Into::into),
            grants: Arc::new(Grants { groups, ..Grants::none() }),
        },
        tally: Arc::default(),
    }
}

fn names(clients: &Clients, address: &str) -> Vec<String> {
    clients.find(address).iter().map(|client| client.client.to_string()).collect()
}

#[test]
fn an_address_is_a_client_a_user_or_a_group() {
    let clients = Clients::default();
    clients.enter(client(1, "c-1", Some("ops"), &["night"]));
    clients.enter(client(2, "c-2", Some("ops"), &[]));
    clients.enter(client(3, "c-22", None, &[]));
    assert_eq!(names(&clients, "c-2"), ["c-2"]);
    assert_eq!(names(&clients, "ops"), ["c-1", "c-2"]);
    assert_eq!(names(&clients, "@night"), ["c-1"]);
    for nobody in ["night", "op", "opsy", "", "@"] {
        assert!(clients.find(nobody).is_empty(), "{nobody}");
    }
}

#[test]
fn who_becomes_somebody_else_is_found_as_that_alone() {
    let clients = Clients::default();
    clients.enter(client(1, "c-1", Some("ops"), &["night"]));
    clients.enter(client(1, "c-1", Some("dev"), &[]));
    assert!(clients.find("ops").is_empty() && clients.find("@night").is_empty());
    assert_eq!((names(&clients, "dev"), clients.len()), (vec!["c-1".to_owned()], 1));
    clients.leave(SessionId(1));
    assert!(clients.is_empty() && clients.find("dev").is_empty() && clients.find("c-1").is_empty());
    clients.leave(SessionId(1));
}
