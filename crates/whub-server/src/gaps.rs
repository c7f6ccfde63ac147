//! What a slow subscriber missed, until it can be told.

use std::sync::Arc;

use whub_core::Packet;
use whub_proto::{Body, Gap};

/// Channels that are counted one by one; messages of further ones are counted together.
const CHANNELS_MAX: usize = 16;

/// Dropped messages by channel. Owns no memory while nothing was dropped.
#[derive(Debug, Default)]
pub(crate) struct Gaps {
    channels: Vec<(Arc<str>, u32)>,
    others: u32,
}

impl Gaps {
    pub(crate) fn is_empty(&self) -> bool {
        self.channels.is_empty() && self.others == 0
    }

    pub(crate) fn add(&mut self, channel: &str, count: u32) {
        if let Some((_, dropped)) = self.channels.iter_mut().find(|(known, _)| **known == *channel) {
            *dropped = dropped.saturating_add(count);
        } else if self.channels.len() < CHANNELS_MAX {
            self.channels.push((channel.into(), count));
        } else {
            self.others = self.others.saturating_add(count);
        }
    }

    /// The `Gap` frames that tell, and forget.
    pub(crate) fn take(&mut self) -> Vec<Packet> {
        let others = std::mem::take(&mut self.others);
        let mut packets: Vec<Packet> =
            std::mem::take(&mut self.channels).iter().map(|(channel, count)| gap(channel, *count)).collect();
        if others > 0 {
            packets.push(gap("", others));
        }
        packets
    }
}

fn gap(channel: &str, count: u32) -> Packet {
    let reason = "this subscriber read too slowly";
    Packet::build(&Body::Gap(Gap { channel, count, reason }))
}
