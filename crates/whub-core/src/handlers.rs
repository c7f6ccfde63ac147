//! Frames of kinds that are not the hub's: an application's own, each with its handler.
//!
//! The hub's own kinds keep their one `match` (`session/client.rs`): it is complete, and costs no lookup.

use std::fmt;
use std::ops::RangeInclusive;
use std::sync::{Arc, PoisonError, RwLock};

use whub_proto::{Code, Frame};

use crate::access::Identity;
use crate::fault::Fault;
use crate::hub::Now;
use crate::mailbox::Mailbox;
use crate::packet::Packet;

/// Kinds that are applications', now and in later versions.
pub const OWN_KINDS: RangeInclusive<u8> = 128..=191;

/// Handles the frames of one kind, on the thread of the session that got them. It must not block: what takes time is
/// answered later, through the sender's mailbox.
pub trait FrameHandler: Send + Sync {
    /// A frame has come.
    fn handle(&self, now: Now, from: Sender<'_>, frame: &Frame<'_>) -> Reply;
}

/// Whose frame it is, as the hub knows it.
#[derive(Debug, Clone, Copy)]
pub struct Sender<'a> {
    /// Its session.
    pub mailbox: &'a Mailbox,
    /// The hub's name for the client.
    pub client: &'a str,
    /// Its address; empty where it has none.
    pub address: &'a str,
    /// Who it is, and what it may do.
    pub identity: &'a Identity,
}

/// What a frame is answered with. A frame whose id is 0 wants no answer and gets none.
#[derive(Debug)]
pub enum Reply {
    /// `Ok`.
    Ok,
    /// `Error`.
    Refused(Fault),
    /// Any frame; it gets the id of the one that it answers.
    Frame(Packet),
    /// Nothing, or something later.
    Later,
}

/// The handlers by kind.
#[derive(Default)]
pub struct Handlers {
    /// In the order of kinds; small, and looked at only for kinds that the hub does not know.
    table: RwLock<Vec<(u8, Arc<dyn FrameHandler>)>>,
}

impl Handlers {
    /// Has frames of a kind handled from here on.
    ///
    /// # Errors
    /// `BadRequest` for a kind that is not an application's, `Conflict` for one that has its handler.
    pub fn add(&self, kind: u8, handler: Arc<dyn FrameHandler>) -> Result<(), Fault> {
        if !OWN_KINDS.contains(&kind) {
            let reason = format!("kind {kind} is not for applications, whose kinds are 128 to 191");
            return Err(Fault::fatal(Code::BadRequest, "handler.kind", reason));
        }
        let mut table = self.table.write().unwrap_or_else(PoisonError::into_inner);
        match table.binary_search_by_key(&kind, |(known, _)| *known) {
            Ok(_) => {
                let reason = format!("frames of kind {kind} have their handler already");
                Err(Fault::fatal(Code::Conflict, "handler.conflict", reason))
            }
            Err(index) => {
                table.insert(index, (kind, handler));
                Ok(())
            }
        }
    }

    /// Frames of this kind are unknown again.
    pub fn remove(&self, kind: u8) {
        self.table.write().unwrap_or_else(PoisonError::into_inner).retain(|(known, _)| *known != kind);
    }

    pub(crate) fn find(&self, kind: u8) -> Option<Arc<dyn FrameHandler>> {
        let table = self.table.read().unwrap_or_else(PoisonError::into_inner);
        let index = table.binary_search_by_key(&kind, |(known, _)| *known).ok()?;
        Some(Arc::clone(&table[index].1))
    }
}

impl fmt::Debug for Handlers {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let table = self.table.read().unwrap_or_else(PoisonError::into_inner);
        f.debug_list().entries(table.iter().map(|(kind, _)| kind)).finish()
    }
}
