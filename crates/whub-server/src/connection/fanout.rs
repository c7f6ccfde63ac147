//! Published messages on their way to their subscribers.
//!
//! Messages that one read batch published on one channel travel together: framed once per framing, written once per
//! subscriber, by the publisher's task. It writes to a slice of the subscribers at a time, so that a large audience
//! does not keep others waiting, and reads nothing more until all were served.

use std::collections::VecDeque;
use std::sync::{Arc, OnceLock};

use bytes::Bytes;
use whub_core::{Audience, Counters, Fate, Framing, Issue, Packet, Publication, SessionId};

use crate::framing;

/// Subscribers served before others get their turn: about a millisecond of direct writes.
pub(super) const SLICE: usize = 128;

/// Messages that travel together at most.
const BATCH_MESSAGES: usize = 256;

/// Batches under way, in the order of publication.
#[derive(Debug, Default)]
pub(crate) struct Fanout {
    batches: VecDeque<Batch>,
}

/// Messages of one channel.
#[derive(Debug)]
struct Batch {
    audience: Arc<Audience>,
    packets: Vec<Packet>,
    framed: Framed,
    next: usize,
}

/// Messages in each framing that somebody wanted so far.
#[derive(Debug, Default)]
pub(crate) struct Framed {
    binary: OnceLock<Bytes>,
    json: OnceLock<Bytes>,
    stream: OnceLock<Bytes>,
}

impl Framed {
    /// The messages' bytes, framed now if nobody wanted them so before.
    pub(crate) fn bytes(&self, framing: Framing, packets: &[Packet]) -> Bytes {
        let cell = match framing {
            Framing::Binary => &self.binary,
            Framing::Json => &self.json,
            Framing::Stream => &self.stream,
            Framing::Plain | Framing::Room | Framing::Private => return Bytes::new(),
        };
        cell.get_or_init(|| {
            let mut bytes = Vec::new();
            for packet in packets {
                framing::encode_packet(&mut bytes, framing, 0, packet);
            }
            bytes.into()
        })
        .clone()
    }
}

impl Fanout {
    pub(crate) fn add(&mut self, issue: Issue) {
        if let Some(last) = self.batches.back_mut()
            && Arc::ptr_eq(&last.audience, &issue.audience)
            && last.next == 0
            && last.packets.len() < BATCH_MESSAGES
        {
            last.packets.push(issue.packet);
            return;
        }
        self.batches.push_back(Batch {
            audience: issue.audience,
            packets: vec![issue.packet],
            framed: Framed::default(),
            next: 0,
        });
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.batches.is_empty()
    }

    /// Serves one slice. True when everybody was served.
    pub(crate) fn advance(&mut self, publisher: SessionId, counters: &Counters) -> bool {
        let mut left = SLICE;
        while left > 0 {
            let Some(batch) = self.batches.front_mut() else { break };
            left -= batch.serve(left, publisher, counters);
            if batch.next == batch.audience.subscribers.len() {
                self.batches.pop_front();
            }
        }
        if self.batches.is_empty() {
            self.batches = VecDeque::new();
        }
        self.batches.is_empty()
    }
}

impl Batch {
    fn serve(&mut self, count: usize, publisher: SessionId, counters: &Counters) -> usize {
        let subscribers = &self.audience.subscribers[self.next..];
        let served = count.min(subscribers.len());
        let mut fates = Fates::default();
        for subscriber in &subscribers[..served] {
            if subscriber.no_echo && subscriber.mailbox.session() == publisher {
                continue;
            }
            fates.add(subscriber.mailbox.publish(&*self));
        }
        fates.count(self.packets.len() as u64, counters);
        self.next += served;
        served
    }
}

impl Publication for Batch {
    fn framed(&self, framing: Framing) -> Bytes {
        self.framed.bytes(framing, &self.packets)
    }

    fn packets(&self) -> &[Packet] {
        &self.packets
    }

    fn channel(&self) -> &str {
        &self.audience.channel
    }
}

/// How the subscribers of a slice fared; counted together, since the counters are shared by all threads.
#[derive(Debug, Default)]
pub(crate) struct Fates {
    delivered: u64,
    queued: u64,
    slow: u64,
    gone: u64,
    /// Messages, not subscribers.
    conflated: u64,
}

impl Fates {
    pub(crate) fn add(&mut self, fate: Fate) {
        match fate {
            Fate::Delivered => self.delivered += 1,
            Fate::Queued => self.queued += 1,
            Fate::DroppedSlow => self.slow += 1,
            Fate::DroppedGone => self.gone += 1,
            Fate::Conflated { dropped } => {
                self.queued += 1;
                self.conflated += u64::from(dropped);
            }
        }
    }

    /// Adds them to the counters; each of them got this many messages.
    pub(crate) fn count(&self, messages: u64, counters: &Counters) {
        let all = self.delivered + self.queued + self.slow + self.gone;
        counters.deliveries_accepted.add(all * messages);
        counters.deliveries_delivered.add(self.delivered * messages);
        counters.deliveries_dropped_slow.add(self.slow * messages + self.conflated);
        counters.deliveries_dropped_gone.add(self.gone * messages);
    }
}
