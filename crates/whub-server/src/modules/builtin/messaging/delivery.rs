//! One message on its way to its recipients.

use std::collections::HashMap;

use bytes::Bytes;
use whub_core::{Client, Fate, Fault, Framing, Packet, Publication, SessionId};
use whub_proto::names::INBOX;
use whub_proto::{Body, Code, Flags, Headers, Publish, Via};

use crate::connection::{Fates, Framed, now};
use crate::local::LocalCaller;
use crate::modules::builtin::messaging::ClientMessage;
use crate::node::Node;

/// Recipients served before others get their turn.
const SLICE: usize = 128;

/// What became of a message at one recipient.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Receipt {
    /// The address, as it was given.
    pub to: String,
    /// The session that it stands for; `None` where there is none to tell of.
    pub client: Option<String>,
    /// What became of it there.
    pub reached: Reached,
}

/// How far a message came.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Reached {
    /// The session's socket took it.
    Delivered,
    /// It waits in the session's mailbox.
    Queued,
    /// The session reads too slowly; it is told how many messages it missed.
    Dropped,
    /// The session was just ending.
    Gone,
    /// Nobody is connected under this address.
    NotFound,
    /// The sender may not send there.
    Forbidden,
}

impl Reached {
    pub(super) const ALL: [Self; 6] =
        [Self::Delivered, Self::Queued, Self::Dropped, Self::Gone, Self::NotFound, Self::Forbidden];

    /// The word for it, such as `not_found`.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Delivered => "delivered",
            Self::Queued => "queued",
            Self::Dropped => "dropped",
            Self::Gone => "gone",
            Self::NotFound => "not_found",
            Self::Forbidden => "forbidden",
        }
    }
}

/// A message, and how its recipients fared so far.
pub(super) struct Delivery<'a> {
    node: &'a Node,
    letter: Letter,
    fates: Fates,
    served: HashMap<SessionId, Reached>,
    receipts: Vec<Receipt>,
}

/// The message, framed once for each framing.
struct Letter {
    packets: [Packet; 1],
    framed: Framed,
}

impl<'a> Delivery<'a> {
    pub(super) fn new(node: &'a Node, from: &LocalCaller, message: &ClientMessage) -> Result<Self, Fault> {
        let via = Via {
            client: &from.client,
            user: &from.user,
            node: &node.hub.node,
            time_ms: now().unix_ms,
            ..Via::default()
        };
        let headers: Vec<(&str, &str)> =
            message.headers.iter().map(|(name, value)| (name.as_str(), value.as_str())).collect();
        let publish = Publish {
            channel: INBOX,
            format: message.format,
            headers: Headers::new(&headers),
            ..Publish::default()
        };
        let is_text = message.is_text && std::str::from_utf8(&message.payload).is_ok();
        let flags = Flags::NONE.with_if(is_text, Flags::TEXT);
        let packet = Packet::try_build(&Body::Message(publish), flags, Some(&via), &message.payload)
            .map_err(|error| Fault::fatal(Code::TooLarge, "message.headers", error.to_string()))?;
        let letter = Letter { packets: [packet], framed: Framed::default() };
        Ok(Self { node, letter, fates: Fates::default(), served: HashMap::new(), receipts: Vec::new() })
    }

    /// Sends to one session, unless it has the message already.
    pub(super) async fn send(&mut self, to: &str, client: &Client) {
        let session = client.mailbox.session();
        let reached = match self.served.get(&session) {
            Some(reached) => *reached,
            None => {
                let fate = client.mailbox.publish(&self.letter);
                self.fates.add(fate);
                let reached = reached(fate);
                self.served.insert(session, reached);
                if self.served.len().is_multiple_of(SLICE) {
                    tokio::task::yield_now().await;
                }
                reached
            }
        };
        self.note(to, Some(client), reached);
    }

    pub(super) fn note(&mut self, to: &str, client: Option<&Client>, reached: Reached) {
        let client = client.map(|client| client.client.to_string());
        self.receipts.push(Receipt { to: to.to_owned(), client, reached });
    }

    /// What became of it.
    pub(super) fn finish(mut self) -> Vec<Receipt> {
        std::mem::take(&mut self.receipts)
    }
}

impl Drop for Delivery<'_> {
    fn drop(&mut self) {
        // A sender that leaves half-way has sent to those who were served.
        self.fates.count(1, &self.node.hub.counters);
    }
}

fn reached(fate: Fate) -> Reached {
    match fate {
        Fate::Delivered => Reached::Delivered,
        Fate::Queued | Fate::Conflated { .. } => Reached::Queued,
        Fate::DroppedSlow => Reached::Dropped,
        Fate::DroppedGone => Reached::Gone,
    }
}

impl Publication for Letter {
    fn framed(&self, framing: Framing) -> Bytes {
        self.framed.bytes(framing, &self.packets)
    }

    fn packets(&self) -> &[Packet] {
        &self.packets
    }

    fn channel(&self) -> &str {
        INBOX
    }
}
