//! The sending side of one lane: which messages wait in which order, and the numbers that the next one gets.
//! PROTOCOL.md, "Numbering": numbers are given when a message is first packed, so that one that never leaves makes no
//! hole.

use std::collections::VecDeque;

use super::Guarantee;
use crate::wire::message::Numbers;

/// How far the newest index may be ahead of the oldest that is not acknowledged. PROTOCOL.md, "Limits".
pub(crate) const MAX_INDEX_SPAN: u64 = 1 << 16;

#[derive(Debug, Default)]
pub(crate) struct SendLane {
    pub(crate) lane: u8,
    /// Slots of unsent `Order` and `Delivery` messages, oldest first.
    pub(crate) ordered: VecDeque<u32>,
    /// Slots of unsent `None` messages, oldest first.
    pub(crate) unordered: VecDeque<u32>,
    /// The group that the next message joins.
    tag: u64,
    open: bool,
    /// The group that was packed last, and its numbers.
    packed_tag: Option<u64>,
    set: u64,
    base: u64,
    next_index: u64,
    /// Which of the indexes from `acked_below` on are acknowledged.
    acked: VecDeque<bool>,
    acked_below: u64,
    next_wire_id: u64,
}

impl SendLane {
    pub(crate) fn new(lane: u8) -> Self {
        Self { lane, ..Self::default() }
    }

    pub(crate) fn is_open(&self) -> bool {
        self.open
    }

    pub(crate) fn open_set(&mut self) {
        self.open = true;
    }

    pub(crate) fn close_set(&mut self) {
        self.open = false;
        self.tag += 1;
    }

    /// The group of a message that is queued now; a lone message is a group of one.
    pub(crate) fn tag_for(&mut self, guarantee: Guarantee) -> u64 {
        let tag = self.tag;
        if guarantee != Guarantee::None && !self.open {
            self.tag += 1;
        }
        tag
    }

    /// Whether another `Delivery` may get an index.
    pub(crate) fn has_index_room(&self) -> bool {
        self.next_index - self.acked_below < MAX_INDEX_SPAN
    }

    /// The numbers of the message that is packed now.
    pub(crate) fn number(&mut self, guarantee: Guarantee, tag: u64) -> Numbers {
        if guarantee == Guarantee::None {
            return Numbers::None;
        }
        if self.packed_tag != Some(tag) {
            self.set = if self.packed_tag.is_some() { self.set + 1 } else { 0 };
            self.base = self.next_index;
            self.packed_tag = Some(tag);
        }
        let (set, base) = (self.set, self.base);
        if guarantee == Guarantee::Order {
            return Numbers::Order { set, base };
        }
        let index = self.next_index;
        self.next_index += 1;
        self.acked.push_back(false);
        Numbers::Delivery { set, base, index }
    }

    pub(crate) fn wire_id(&mut self) -> u64 {
        let id = self.next_wire_id;
        self.next_wire_id += 1;
        id
    }

    /// A `Delivery` arrived whole.
    pub(crate) fn on_acked(&mut self, index: u64) {
        let offset = index.checked_sub(self.acked_below).and_then(|offset| usize::try_from(offset).ok());
        if let Some(acked) = offset.and_then(|offset| self.acked.get_mut(offset)) {
            *acked = true;
        }
        while self.acked.front() == Some(&true) {
            self.acked.pop_front();
            self.acked_below += 1;
        }
    }

    /// Begins anew for another session; an open set stays open.
    pub(crate) fn reset(&mut self) {
        *self = Self { lane: self.lane, open: self.open, ..Self::default() };
    }

    pub(crate) fn shrink(&mut self) {
        self.ordered.shrink_to_fit();
        self.unordered.shrink_to_fit();
        self.acked.shrink_to_fit();
    }
}
