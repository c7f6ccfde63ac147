//! Frames of applications' own kinds.

use whub_proto::Frame;

use crate::handlers::{Reply, Sender};
use crate::hub::Now;
use crate::session::client::ClientSession;

impl ClientSession {
    /// A kind that the hub does not know: an application's, or of a later version.
    pub(super) fn handle_own(&mut self, now: Now, kind: u8, frame: &Frame<'_>) {
        let id = frame.head.id;
        let Some(handler) = self.hub.handlers.find(kind) else {
            if id != 0 {
                self.unsupported(id, "frame.unsupported", "this hub does not know the frame's kind");
            }
            return;
        };
        if id != 0 && !self.claim(id) {
            return;
        }
        let Some(identity) = self.identity() else { return };
        let (client, address) = (&*self.peer.client, &*self.peer.address);
        let from = Sender { mailbox: &self.me, client, address, identity };
        match handler.handle(now, from, frame) {
            Reply::Later => {}
            _ if id == 0 => {}
            Reply::Ok => self.agree(id),
            Reply::Refused(fault) => self.refuse(id, &fault),
            Reply::Frame(packet) => self.send(id, packet),
        }
    }
}
