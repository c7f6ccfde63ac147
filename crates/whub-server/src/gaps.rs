//! What a slow subscriber, or member of a room, missed, until it can be told, and what is kept for it meanwhile.

use std::sync::Arc;

use whub_core::{Packet, missed};
use whub_proto::{Body, Gap};

/// Channels that are counted one by one, or whose latest message is kept; further ones are counted together.
const CHANNELS_MAX: usize = 16;

/// Dropped messages by channel and room. Owns no memory while nothing was dropped.
#[derive(Debug, Default)]
pub(crate) struct Gaps {
    channels: Vec<Missed>,
    others: u32,
    /// As many as the session is in rooms at most.
    rooms: Vec<MissedInRoom>,
}

#[derive(Debug)]
struct MissedInRoom {
    /// The receiver's id of the room.
    seat: u64,
    room: Box<str>,
    count: u32,
}

#[derive(Debug)]
struct Missed {
    channel: Arc<str>,
    count: u32,
    /// The latest message, where the channel is conflated.
    latest: Option<Packet>,
}

/// What the subscriber gets once it has room: how much it missed, and the latest of each conflated channel.
#[derive(Debug, Default)]
pub(crate) struct Caught {
    /// With the receiver's id.
    pub(crate) gaps: Vec<(u64, Packet)>,
    pub(crate) latest: Vec<Packet>,
}

impl Gaps {
    pub(crate) fn is_empty(&self) -> bool {
        self.channels.is_empty() && self.others == 0 && self.rooms.is_empty()
    }

    /// Messages that were dropped.
    pub(crate) fn drop(&mut self, channel: &str, count: u32) {
        match self.missed(channel) {
            Some(missed) => missed.count = missed.count.saturating_add(count),
            None => self.others = self.others.saturating_add(count),
        }
    }

    /// Messages of a room that were dropped.
    pub(crate) fn drop_in_room(&mut self, seat: u64, room: &str, count: u32) {
        match self.rooms.iter_mut().find(|missed| missed.seat == seat && *missed.room == *room) {
            Some(missed) => missed.count = missed.count.saturating_add(count),
            None => self.rooms.push(MissedInRoom { seat, room: room.into(), count }),
        }
    }

    /// What there is to tell of one room, and forget.
    pub(crate) fn take_room(&mut self, seat: u64) -> Option<Packet> {
        let index = self.rooms.iter().position(|missed| missed.seat == seat)?;
        let gap = self.rooms.swap_remove(index);
        Some(missed(&gap.room, gap.count))
    }

    /// Messages of which only the latest is kept, in place of an earlier one. Returns how many were dropped.
    pub(crate) fn conflate(&mut self, channel: &str, packets: &[Packet]) -> u32 {
        let count = u32::try_from(packets.len()).unwrap_or(u32::MAX);
        let Some(missed) = self.missed(channel) else {
            self.others = self.others.saturating_add(count);
            return count;
        };
        let replaced = u32::from(missed.latest.is_some());
        missed.latest = packets.last().cloned();
        let dropped = (count + replaced).saturating_sub(1);
        missed.count = missed.count.saturating_add(dropped);
        dropped
    }

    /// Messages that are kept.
    pub(crate) fn kept(&self) -> usize {
        self.channels.iter().filter(|missed| missed.latest.is_some()).count()
    }

    /// What there is to tell, and forget.
    pub(crate) fn take(&mut self) -> Caught {
        let mut caught = Caught::default();
        for missed in std::mem::take(&mut self.channels) {
            if missed.count > 0 {
                caught.gaps.push((0, gap(&missed.channel, missed.count)));
            }
            caught.latest.extend(missed.latest);
        }
        let others = std::mem::take(&mut self.others);
        if others > 0 {
            caught.gaps.push((0, gap("", others)));
        }
        let rooms = std::mem::take(&mut self.rooms).into_iter();
        caught.gaps.extend(rooms.map(|gap| (gap.seat, missed(&gap.room, gap.count))));
        caught
    }

    fn missed(&mut self, channel: &str) -> Option<&mut Missed> {
        let known = self.channels.iter().position(|missed| *missed.channel == *channel);
        if known.is_none() && self.channels.len() < CHANNELS_MAX {
            self.channels.push(Missed { channel: channel.into(), count: 0, latest: None });
        }
        let index = known.or_else(|| self.channels.len().checked_sub(1))?;
        self.channels.get_mut(index).filter(|missed| *missed.channel == *channel)
    }
}

fn gap(channel: &str, count: u32) -> Packet {
    let reason = "this subscriber read too slowly";
    Packet::build(&Body::Gap(Gap { channel, count, reason }))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn message(text: &str) -> Packet {
        let body = Body::Message(whub_proto::Publish { channel: "c", ..Default::default() });
        Packet::build_with(&body, whub_proto::Flags::NONE, None, text.as_bytes())
    }

    #[test]
    fn drops_are_counted_by_channel_and_beyond_some_channels_together() {
        let mut gaps = Gaps::default();
        gaps.drop("a", 2);
        gaps.drop("a", 3);
        for number in 0..CHANNELS_MAX {
            gaps.drop(&format!("more/{number}"), 1);
        }
        let caught = gaps.take();
        assert_eq!(caught.gaps.len(), CHANNELS_MAX + 1);
        assert_eq!(caught.gaps[0], (0, gap("a", 5)));
        assert_eq!(caught.gaps[CHANNELS_MAX], (0, gap("", 1)));
        assert!(gaps.is_empty());
    }

    #[test]
    fn what_is_missed_in_a_room_is_told_with_the_id_of_the_room() {
        let mut gaps = Gaps::default();
        gaps.drop_in_room(7, "blue", 2);
        gaps.drop_in_room(9, "red", 1);
        gaps.drop_in_room(7, "blue", 3);
        assert_eq!(gaps.take_room(7), Some(missed("blue", 5)));
        assert_eq!(gaps.take_room(7), None);
        assert_eq!(gaps.take().gaps, [(9, missed("red", 1))]);
        assert!(gaps.is_empty());
    }

    #[test]
    fn of_a_conflated_channel_the_latest_is_kept() {
        let mut gaps = Gaps::default();
        assert_eq!(gaps.conflate("c", &[message("1"), message("2")]), 1);
        assert_eq!(gaps.conflate("c", &[message("3")]), 1);
        assert_eq!(gaps.kept(), 1);
        let caught = gaps.take();
        assert_eq!(caught.gaps, [(0, gap("c", 2))]);
        assert_eq!(caught.latest, [message("3")]);
    }
}
