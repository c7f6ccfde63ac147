//! Messages of a read batch on their way to the other half of a pair: gathered, then sent in one write.

use whub_core::{Counters, Framing, Half, Parcel, Sent};

use crate::framing::{self, Data};

/// More than this is sent before the batch ends.
const GATHER_BYTES: usize = 256 * 1024;

/// The messages gathered so far.
pub(super) struct Relay<'a> {
    bytes: &'a mut Vec<u8>,
    messages: u32,
    partner: Option<Half>,
    counters: &'a Counters,
    frame_bytes_max: usize,
    /// Those whose mailboxes are over their budgets.
    full: Vec<Half>,
}

impl<'a> Relay<'a> {
    pub(super) fn new(bytes: &'a mut Vec<u8>, counters: &'a Counters, frame_bytes_max: usize) -> Self {
        Self { bytes, messages: 0, partner: None, counters, frame_bytes_max, full: Vec::new() }
    }

    /// Adds a message for `partner`.
    pub(super) fn add(&mut self, partner: &Half, text: bool, end: bool, payload: &[u8]) {
        if self.partner.as_ref().is_some_and(|known| known.id() != partner.id()) {
            self.flush();
        }
        let known = self.partner.get_or_insert_with(|| partner.clone());
        let framing = known.mailbox.framing();
        if framing == Framing::Private {
            let sent = known.mailbox.send(Parcel::Data { seat: known.seat, text, end, payload });
            self.messages = 1;
            return self.note(sent);
        }
        let data = Data { seat: known.seat, text, end, payload };
        framing::encode_data(self.bytes, framing, &data, self.frame_bytes_max);
        self.messages += 1;
        if self.bytes.len() > GATHER_BYTES {
            self.flush();
        }
    }

    /// Sends the rest. Returns those that have to have room before more is read.
    pub(super) fn finish(mut self) -> Vec<Half> {
        self.flush();
        self.full
    }

    /// Sends what was gathered, before something else may tell the other half that this one left.
    pub(super) fn flush(&mut self) {
        if let Some(partner) = self.partner.take()
            && !self.bytes.is_empty()
        {
            // Messages of a pair are not published ones, which alone the mailbox counts.
            let sent = partner.mailbox.send(Parcel::Framed { bytes: self.bytes, messages: 0 });
            self.bytes.clear();
            self.partner = Some(partner);
            self.note(sent);
        }
        self.partner = None;
        self.messages = 0;
    }

    fn note(&mut self, sent: Sent) {
        let messages = u64::from(std::mem::take(&mut self.messages));
        match sent {
            Sent::Room => self.counters.pair_messages.add(messages),
            Sent::Wait => {
                self.counters.pair_messages.add(messages);
                let is_new = |partner: &&Half| self.full.iter().all(|known| known.id() != partner.id());
                self.full.extend(self.partner.as_ref().filter(is_new).cloned());
            }
            Sent::Gone => self.counters.pair_messages_lost.add(messages),
        }
    }
}
