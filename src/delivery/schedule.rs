//! Whose turn it is: lanes of a higher priority first, lanes of one priority by their weights, in bytes. Knows no
//! message beyond its place in a queue. A lane that was idle or had to wait gains no claim by it.

use std::time::Duration;

use super::{
    Guarantee,
    options::LaneStats,
    outgoing::Outgoing,
    send::SendQueue,
    send_lane::{Entry, SendLane},
};

/// A message whose life ends within this time leaves before those of other lanes of its priority, as long as its lane is
/// not so many bytes ahead of them.
const SOON: Duration = Duration::from_millis(250);
const LEAD: u64 = 12_000;

impl SendLane {
    /// `bytes` of the lane were packed.
    #[inline]
    pub(super) fn charge_turn(&mut self, bytes: usize) {
        self.turn = self.turn.saturating_add((bytes as u64).saturating_mul(self.share));
    }
}

impl SendQueue {
    /// The next message to be packed: its lane's place and its slot.
    pub(super) fn pick(&mut self) -> Option<(usize, u32)> {
        if self.lanes.len() <= 1 {
            return self.candidate(0).map(|slot| (0, slot));
        }
        let mut best: Option<(usize, u32, u8, u64)> = None;
        for at in 0..self.lanes.len() {
            let Some(slot) = self.candidate(at) else { continue };
            let Some(lane) = self.lanes.get(at) else { continue };
            let priority = lane.options.priority;
            let turn = lane.turn.saturating_sub(if self.ends_soon(slot) { LEAD * lane.share } else { 0 });
            let first =
                best.is_none_or(|(_, _, top, least)| priority > top || (priority == top && turn < least));
            if first {
                best = Some((at, slot, priority, turn));
            }
        }
        let (at, slot, priority, _) = best?;
        let turn = self.lanes.get(at).map_or(0, |lane| lane.turn);
        for lane in self.lanes.iter_mut().filter(|lane| lane.blocked && lane.options.priority == priority) {
            lane.turn = lane.turn.max(turn);
        }
        Some((at, slot))
    }

    /// Whether the life of a message ends so soon that it should not wait for its lane's turn.
    fn ends_soon(&self, slot: u32) -> bool {
        let extras = self.slab.get(slot).and_then(|message| message.extras.as_deref());
        let end = extras.and_then(|extras| extras.expires_at);
        end.zip(self.clock).is_some_and(|(end, now)| end <= now + SOON)
    }

    /// The message of a lane that may be packed next.
    #[inline]
    fn candidate(&mut self, at: usize) -> Option<u32> {
        let slab = &self.slab;
        let lane = self.lanes.get_mut(at)?;
        if lane.is_empty() {
            lane.blocked = false;
            return None;
        }
        let (ordered, unordered) = lane.fronts(|entry| slab.is_queued(entry.slot, entry.id));
        let ordered = ordered.filter(|entry| self.may_pack(at, entry));
        let next = match (ordered, unordered) {
            (None, None) => None,
            (Some(entry), None) | (None, Some(entry)) => Some(entry),
            (Some(ordered), Some(unordered)) => {
                // Oldest first, but a message in the middle of its fragments holds no `None` up.
                let begun = self.slab.get(ordered.slot).is_some_and(|message| message.packed > 0);
                Some(if begun || unordered.id < ordered.id { unordered } else { ordered })
            }
        };
        if let Some(lane) = self.lanes.get_mut(at) {
            lane.blocked = next.is_none();
        }
        next.map(|entry| entry.slot)
    }

    /// Whether flow control lets the lane's first ordered message go.
    fn may_pack(&self, at: usize, entry: &Entry) -> bool {
        let Some(message) = self.slab.get(entry.slot) else { return true };
        entry.guarantee != Guarantee::Delivery
            || message.is_begun()
            || self.window_admits(at, message.bytes.len())
    }

    /// A lane that had nothing to send has something now: it claims nothing for the time before.
    pub(super) fn join(&mut self, at: usize) {
        if self.lanes.len() <= 1 {
            return;
        }
        let Some(priority) = self.lanes.get(at).map(|lane| lane.options.priority) else { return };
        let others = |lane: &&mut SendLane| lane.options.priority == priority;
        let busy = self.lanes.iter_mut().filter(others).filter(|lane| !lane.is_empty());
        match busy.map(|lane| lane.turn).min() {
            Some(least) => {
                if let Some(lane) = self.lanes.get_mut(at) {
                    lane.turn = lane.turn.max(least);
                }
            }
            None => self.lanes.iter_mut().filter(others).for_each(|lane| lane.turn = 0),
        }
    }

    /// Whether the first ordered message of a lane was packed in part; only asked where messages may pass each other.
    #[inline]
    pub(super) fn front_is_begun(&mut self, at: usize) -> bool {
        let slab = &self.slab;
        let Some(lane) = self.lanes.get_mut(at).filter(|lane| lane.is_open()) else { return false };
        let (ordered, _) = lane.fronts(|entry| slab.is_queued(entry.slot, entry.id));
        ordered.and_then(|entry| slab.get(entry.slot)).is_some_and(Outgoing::is_begun)
    }

    /// The sending side of one lane, where so many bytes leave in a second.
    pub(crate) fn lane_stats(&self, lane: u8, rate: Option<u64>) -> LaneStats {
        let unused = SendLane::new(lane, self.bounds());
        let lane = self.lanes.iter().find(|known| known.lane == lane).unwrap_or(&unused);
        let counts = lane.counts;
        LaneStats {
            queued_bytes: lane.bytes,
            queued_messages: lane.messages,
            unsent_bytes: lane.unsent_bytes,
            queue_time: self.queue_time(lane, rate),
            sent: counts.sent,
            dropped: counts.dropped,
            expired: counts.expired,
            superseded: counts.superseded,
            copies: counts.copies,
            lost_parts: counts.lost_parts,
        }
    }

    /// How long what is ahead of a new message of the lane takes at that rate.
    fn queue_time(&self, lane: &SendLane, rate: Option<u64>) -> Option<Duration> {
        let weight = |lane: &SendLane| u64::from(lane.options.weight.max(1));
        let own = lane.unsent_bytes as u64;
        let ahead = self.lanes.iter().map(|other| {
            let bytes = other.unsent_bytes as u64;
            match other.options.priority.cmp(&lane.options.priority) {
                std::cmp::Ordering::Less => 0,
                std::cmp::Ordering::Greater => bytes,
                std::cmp::Ordering::Equal => bytes.min(own.saturating_mul(weight(other)) / weight(lane)),
            }
        });
        match ahead.fold(0, u64::saturating_add) {
            0 => Some(Duration::ZERO),
            ahead => {
                let rate = rate.filter(|&rate| rate > 0)?;
                Some(Duration::from_micros(ahead.saturating_mul(1_000_000) / rate))
            }
        }
    }
}
