//! Rights that change while a session lives: what they no longer cover ends, and the client is told why.

use std::sync::Arc;

use crate::fault::Fault;
use crate::session::client::{ClientSession, Live};

impl ClientSession {
    /// Ends what the identity may no longer do. Calls in flight are finished.
    pub(super) fn revoke(&mut self) {
        let Some(identity) = self.identity() else { return };
        let grants = Arc::clone(&identity.grants);
        let services = std::mem::take(&mut self.services);
        for pattern in services {
            match grants.may_provide(&pattern) {
                Ok(()) => self.services.push(pattern),
                Err(fault) => {
                    self.hub.leave_service(&pattern, self.me.session());
                    self.refuse(0, &fault);
                }
            }
        }
        self.tally.services(self.services.len());
        let refused = |(id, live): (&u64, &Live)| -> Option<(u64, Fault)> {
            let verdict = match live {
                Live::Subscription(filter) => grants.may_subscribe(filter),
                Live::Pair(membership) => grants.may_pair(membership.pair()),
                Live::Room(presence) => grants.may_pair(presence.name()),
                Live::Call(_) => Ok(()),
            };
            verdict.err().map(|fault| (*id, fault))
        };
        let lost: Vec<_> = self.live.iter().filter_map(refused).collect();
        for (id, fault) in lost {
            if let Some(live) = self.live.remove(&id) {
                self.end_live(live);
            }
            self.refuse(id, &fault);
        }
    }
}
