//! Messages of rooms on their way to their receivers, by their sender's task.
//!
//! Messages that one read batch brought for one room travel together: framed once per framing and id, written once per
//! receiver, a slice of receivers at a time. Before its sender does anything else that the others see, all of them have
//! them ([`RoomFanout::finish`]).

use std::cell::RefCell;
use std::collections::VecDeque;
use std::sync::Arc;

use bytes::Bytes;
use whub_core::{Counters, Framing, Packet, Publication, RoomIssue, RoomMember};

use crate::connection::fanout::{Fates, SLICE};
use crate::framing;
use crate::room_text;

/// Messages that travel together at most.
const BATCH_MESSAGES: u32 = 256;

/// Forms of a batch that are kept while it travels. Most clients use the same ids, so that a few serve all.
const FORMS_MAX: usize = 8;

/// Batches under way, in the order in which they were sent.
#[derive(Debug, Default)]
pub(super) struct RoomFanout {
    batches: VecDeque<Batch>,
}

#[derive(Debug)]
struct Batch {
    /// What the messages have in common, and all their packets.
    issue: RoomIssue,
    messages: u32,
    forms: RefCell<Vec<Form>>,
    next: usize,
}

/// The messages as receivers with this framing and this id of the room get them.
#[derive(Debug)]
struct Form {
    framing: Framing,
    seat: u64,
    bytes: Bytes,
}

impl RoomFanout {
    pub(super) fn add(&mut self, issue: RoomIssue) {
        if let Some(last) = self.batches.back_mut()
            && last.takes(&issue)
        {
            last.issue.packets.extend(issue.packets);
            last.messages += 1;
            return;
        }
        self.batches.push_back(Batch { issue, messages: 1, forms: RefCell::default(), next: 0 });
    }

    /// Serves one slice. True when everybody was served.
    pub(super) fn advance(&mut self, counters: &Counters) -> bool {
        let mut left = SLICE;
        while left > 0 {
            let Some(batch) = self.batches.front_mut() else { break };
            left -= batch.serve(left, counters);
            if batch.next == batch.issue.roll.members.len() {
                self.batches.pop_front();
            }
        }
        if self.batches.is_empty() {
            self.batches = VecDeque::new();
        }
        self.batches.is_empty()
    }

    /// Serves everybody.
    pub(super) fn finish(&mut self, counters: &Counters) {
        while !self.advance(counters) {}
    }
}

impl Batch {
    /// Whether a message can travel with these.
    fn takes(&self, issue: &RoomIssue) -> bool {
        Arc::ptr_eq(&self.issue.roll, &issue.roll)
            && self.issue.to == issue.to
            && self.next == 0
            && self.messages < BATCH_MESSAGES
    }

    fn serve(&mut self, count: usize, counters: &Counters) -> usize {
        let members = &self.issue.roll.members[self.next..];
        let served = count.min(members.len());
        let mut fates = Fates::default();
        for member in members[..served].iter().filter(|member| self.issue.is_for(member)) {
            fates.add(member.mailbox.publish(&Delivery { batch: self, member }));
        }
        fates.count(self.messages.into(), counters);
        self.next += served;
        served
    }

    fn form(&self, framing: Framing, seat: u64) -> Bytes {
        let mut forms = self.forms.borrow_mut();
        if let Some(form) = forms.iter().find(|form| form.framing == framing && form.seat == seat) {
            return form.bytes.clone();
        }
        let mut bytes = Vec::new();
        if framing == Framing::Room {
            room_text::encode_packets(&mut bytes, &self.issue.packets);
        } else {
            for packet in &self.issue.packets {
                framing::encode_packet(&mut bytes, framing, seat, packet);
            }
        }
        let bytes = Bytes::from(bytes);
        if forms.len() < FORMS_MAX {
            forms.push(Form { framing, seat, bytes: bytes.clone() });
        }
        bytes
    }
}

/// The batch at one of its receivers.
struct Delivery<'a> {
    batch: &'a Batch,
    member: &'a RoomMember,
}

impl Publication for Delivery<'_> {
    fn framed(&self, framing: Framing) -> Bytes {
        self.batch.form(framing, self.member.seat)
    }

    fn packets(&self) -> &[Packet] {
        &self.batch.issue.packets
    }

    fn channel(&self) -> &str {
        self.batch.issue.roll.room.as_str()
    }

    fn count(&self) -> u32 {
        self.batch.messages
    }

    fn is_room(&self) -> bool {
        true
    }

    fn seat(&self) -> u64 {
        self.member.seat
    }
}
