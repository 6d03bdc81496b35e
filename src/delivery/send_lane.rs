//! The sending side of one lane: which messages wait in which order, what its queue may hold, and the numbers that the
//! next one gets. PROTOCOL.md, "Numbering": numbers are given when a message is first packed, so that one that never
//! leaves makes no hole.

use std::{cmp::Reverse, collections::VecDeque, num::NonZeroU64};

use super::{
    Guarantee,
    counts::Counts,
    on_demand::OnDemand,
    options::{LaneOptions, SendOptions},
    ranges::Ranges,
    slots::Slots,
};
use crate::{stats::Tally, wire::message::Numbers};

/// How far the newest index may be ahead of the oldest that is not acknowledged. PROTOCOL.md, "Limits".
pub(crate) const MAX_INDEX_SPAN: u64 = 1 << 16;
/// Gaps that the peer may see among skipped indexes. PROTOCOL.md, "Limits".
const MAX_SKIP_GAPS: usize = 64;
/// Index span that a lane may always have, and the sum over all lanes up to which one may have more.
/// PROTOCOL.md, "Limits".
const FREE_SPAN: u64 = 512;
pub(crate) const MAX_SPANS: u64 = 1 << 17;
/// Marks the charge of an index that was acknowledged. No charge is as large: a message has at most 16 MiB.
const ACKED: u32 = 1 << 31;
/// What one packed byte of a lane of weight 1 adds to its turn.
const SCALE: u64 = 1 << 24;
/// Entries of messages that are gone beyond which a queue is swept.
const GONE_ALLOWED: usize = 16;

/// A place in a queue. Its message may be gone.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Entry {
    pub(crate) slot: u32,
    pub(crate) id: u64,
    pub(crate) guarantee: Guarantee,
    priority: u8,
    tag: u64,
}

impl Entry {
    pub(crate) fn new((slot, id, tag): (u32, u64, u64), options: &SendOptions) -> Self {
        Self { slot, id, guarantee: options.guarantee, priority: options.priority, tag }
    }

    /// Lower is packed earlier: group by group, and inside a group by priority.
    fn rank(&self) -> (u64, Reverse<u8>) {
        (self.tag, Reverse(self.priority))
    }
}

#[derive(Debug, Default)]
pub(crate) struct SendLane {
    pub(crate) lane: u8,
    pub(crate) options: LaneOptions,
    /// What the queue may hold, as the options and the configuration have it.
    pub(crate) most_bytes: usize,
    pub(crate) most_messages: usize,
    /// What one packed byte adds to `turn`.
    pub(crate) share: u64,
    /// Unsent `Order` and `Delivery` messages, in the order in which they leave.
    ordered: OnDemand<VecDeque<Entry>>,
    /// Unsent `None` messages, oldest first.
    unordered: OnDemand<VecDeque<Entry>>,
    /// Entries of both whose messages are gone.
    gone: usize,
    /// Charge and number of all messages held, and bytes of those that were not wholly packed.
    pub(crate) bytes: usize,
    pub(crate) messages: usize,
    pub(crate) unsent_bytes: usize,
    /// Bytes packed by weight; see `schedule`.
    pub(crate) turn: u64,
    /// What waits may not be packed now.
    pub(crate) blocked: bool,
    pub(crate) slots: OnDemand<Slots>,
    pub(crate) counts: Counts,
    /// The group that the next message joins.
    tag: u64,
    open: bool,
    /// The group that was packed last, and its numbers.
    packed_tag: Option<u64>,
    set: u64,
    base: u64,
    next_index: u64,
    /// The charges of the indexes from `acked_below` on, with `ACKED` where it was acknowledged, and their sum.
    given: OnDemand<VecDeque<u32>>,
    given_bytes: u64,
    acked_below: u64,
    /// Indexes from `acked_below` on that the peer skipped, and SKIPs that it did not answer yet.
    skipped: OnDemand<Ranges>,
    pub(crate) unanswered: usize,
    next_wire_id: u64,
}

/// A lane at rest: its numbers, and what it was told and counted.
#[derive(Clone, Debug)]
pub(crate) struct Kept {
    lane: u8,
    open: bool,
    /// Where they are not the usual ones.
    options: Option<Box<LaneOptions>>,
    turn: u64,
    counts: Tally<6>,
    tag: u64,
    /// One more than the tag that was packed last, so that none takes no room of its own.
    packed_next: Option<NonZeroU64>,
    set: u64,
    base: u64,
    next_index: u64,
    next_wire_id: u64,
}

impl Kept {
    pub(crate) fn wake(self, bounds: (usize, usize)) -> SendLane {
        let Self { lane, open, options, turn, counts, tag, packed_next, set, base, next_index, next_wire_id } =
            self;
        let mut new = SendLane::new(lane, bounds);
        if let Some(options) = options {
            new.set_options(*options, bounds);
        }
        let acked_below = next_index;
        let packed_tag = packed_next.map(|next| next.get() - 1);
        let numbers = SendLane { tag, open, packed_tag, set, base, next_index, acked_below, ..new };
        SendLane { turn, counts: counts.into(), next_wire_id, ..numbers }
    }
}

impl SendLane {
    /// `bounds` are the configuration's, in bytes and messages.
    pub(crate) fn new(lane: u8, bounds: (usize, usize)) -> Self {
        let mut new = Self { lane, ..Self::default() };
        new.set_options(LaneOptions::default(), bounds);
        new
    }

    pub(crate) fn set_options(&mut self, options: LaneOptions, bounds: (usize, usize)) {
        self.options = options;
        self.most_bytes = options.queue_bytes.unwrap_or(bounds.0);
        self.most_messages = options.queue_messages.unwrap_or(bounds.1);
        self.share = SCALE / u64::from(options.weight.max(1));
    }

    /// Whether a message of this charge has room, when `freed` bytes and messages leave.
    #[inline]
    pub(crate) fn has_room(&self, charge: usize, freed: (usize, usize)) -> bool {
        self.bytes.saturating_sub(freed.0) + charge <= self.most_bytes
            && self.messages.saturating_sub(freed.1) < self.most_messages
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

    // ---- the queues ----

    /// Nothing waits to be packed.
    #[inline]
    pub(crate) fn is_empty(&self) -> bool {
        self.ordered.is_empty() && self.unordered.is_empty()
    }

    /// Takes a message in; `begun` says whether the one in front was packed in part.
    #[inline]
    pub(crate) fn push(&mut self, entry: Entry, begun: bool) {
        if entry.guarantee == Guarantee::None {
            self.unordered.push_back(entry);
        } else if !self.open || self.ordered.back().is_none_or(|last| last.rank() <= entry.rank()) {
            self.ordered.push_back(entry);
        } else {
            // Only the group that is open has members of different priority; what is begun is finished first.
            let at = self.ordered.partition_point(|other| other.rank() <= entry.rank());
            self.ordered.insert(at.max(usize::from(begun)), entry);
        }
    }

    /// The oldest of both queues whose messages are there, after entries for which `live` is false were dropped.
    #[inline]
    pub(crate) fn fronts(&mut self, live: impl Fn(&Entry) -> bool) -> (Option<Entry>, Option<Entry>) {
        if self.gone == 0 {
            return (self.ordered.front().copied(), self.unordered.front().copied());
        }
        for queue in [&mut self.ordered, &mut self.unordered] {
            while self.gone > 0 && queue.front().is_some_and(|entry| !live(entry)) {
                queue.pop_front();
                self.gone -= 1;
            }
        }
        (self.ordered.front().copied(), self.unordered.front().copied())
    }

    /// The front of the queue of this guarantee was packed.
    #[inline]
    pub(crate) fn pop(&mut self, guarantee: Guarantee) {
        self.queue(guarantee).pop_front();
    }

    /// The oldest `Order` or `None` for which `unsent` is true.
    pub(crate) fn oldest_unreliable(&self, unsent: impl Fn(&Entry) -> bool) -> Option<Entry> {
        let droppable = |entry: &&Entry| entry.guarantee != Guarantee::Delivery && unsent(entry);
        let ordered = self.ordered.iter().find(droppable);
        let unordered = self.unordered.iter().find(droppable);
        [ordered, unordered].into_iter().flatten().min_by_key(|entry| entry.id).copied()
    }

    /// A message in the queue of this guarantee is gone; `live` tells which are not.
    pub(crate) fn forget_entry(&mut self, guarantee: Guarantee, live: impl Fn(&Entry) -> bool) {
        self.gone += 1;
        if self.gone > self.queue(guarantee).len() / 2 + GONE_ALLOWED {
            // The message itself may still say that it is queued, so one may be left over.
            let before = self.ordered.len() + self.unordered.len();
            self.ordered.retain(&live);
            self.unordered.retain(&live);
            let after = self.ordered.len() + self.unordered.len();
            self.gone = self.gone.saturating_sub(before - after);
        }
    }

    #[inline]
    fn queue(&mut self, guarantee: Guarantee) -> &mut VecDeque<Entry> {
        if guarantee == Guarantee::None { &mut self.unordered } else { &mut self.ordered }
    }

    // ---- numbers ----

    /// How far the newest index is ahead of the oldest that is not acknowledged.
    pub(crate) fn span(&self) -> u64 {
        self.next_index - self.acked_below
    }

    /// Whether another `Delivery` may get an index; `spans` is the sum over all lanes.
    pub(crate) fn has_index_room(&self, spans: impl FnOnce() -> u64) -> bool {
        let span = self.span();
        span < FREE_SPAN || (span < MAX_INDEX_SPAN && spans() < MAX_SPANS)
    }

    /// Whether a `Delivery` of this charge keeps the lane within what it may hold up. PROTOCOL.md, "Flow control".
    pub(crate) fn window_admits(&self, charge: usize, lane_limit: u64) -> bool {
        self.given_bytes.saturating_add(charge as u64) <= lane_limit
    }

    /// The numbers of the message that is packed now, and that costs the window `charge`.
    pub(crate) fn number(&mut self, guarantee: Guarantee, tag: u64, charge: usize) -> Numbers {
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
        let charge = u32::try_from(charge).unwrap_or(u32::MAX) & !ACKED;
        self.given.push_back(charge);
        self.given_bytes += u64::from(charge);
        Numbers::Delivery { set, base, index }
    }

    /// Whether no group after this one was packed.
    pub(crate) fn is_newest(&self, tag: u64) -> bool {
        self.packed_tag == Some(tag)
    }

    pub(crate) fn wire_id(&mut self) -> u64 {
        let id = self.next_wire_id;
        self.next_wire_id += 1;
        id
    }

    /// A `Delivery` arrived whole, or the peer knows that it never will.
    pub(crate) fn on_acked(&mut self, index: u64) {
        let offset = index.checked_sub(self.acked_below).and_then(|offset| usize::try_from(offset).ok());
        if let Some(charge) = offset.and_then(|offset| self.given.get_mut(offset)) {
            *charge |= ACKED;
        }
        while let Some(&charge) = self.given.front().filter(|&charge| charge & ACKED != 0) {
            self.given.pop_front();
            self.given_bytes = self.given_bytes.saturating_sub(u64::from(charge & !ACKED));
            self.acked_below += 1;
        }
        if !self.skipped.is_empty() {
            self.skipped.remove(0..self.acked_below);
        }
    }

    /// The peer skipped an index.
    pub(crate) fn on_skipped(&mut self, index: u64) {
        self.skipped.insert(index..index.saturating_add(1));
        self.on_acked(index);
    }

    /// Whether a SKIP of `index` may leave. The peer sees as many gaps as there are runs that it skipped above its
    /// lowest unsettled index, which is no lower than our lowest unacknowledged one; those on their way may arrive in
    /// any order, so each counts for itself. The lowest makes no gap.
    pub(crate) fn may_skip(&self, index: u64) -> bool {
        index <= self.acked_below || self.skipped.len() + self.unanswered < MAX_SKIP_GAPS
    }

    /// Begins anew for another session; an open set stays open, and the lane's options stay.
    pub(crate) fn reset(&mut self) {
        let Self { lane, options, most_bytes, most_messages, share, counts, open, .. } = *self;
        *self = Self { lane, options, most_bytes, most_messages, share, counts, open, ..Self::default() };
    }

    /// Every `Delivery` was acknowledged or skipped.
    pub(crate) fn may_rest(&self) -> bool {
        self.messages == 0 && self.given.is_empty() && self.skipped.is_empty() && self.unanswered == 0
    }

    pub(crate) fn rest(self) -> Kept {
        let Self {
            lane,
            options,
            turn,
            counts,
            tag,
            open,
            packed_tag,
            set,
            base,
            next_index,
            next_wire_id,
            // What the options and the configuration tell.
            most_bytes: _,
            most_messages: _,
            share: _,
            // What stands only while messages are held or were not acknowledged.
            ordered: _,
            unordered: _,
            gone: _,
            bytes: _,
            messages: _,
            unsent_bytes: _,
            blocked: _,
            slots: _,
            given: _,
            given_bytes: _,
            acked_below: _,
            skipped: _,
            unanswered: _,
        } = self;
        let options = Some(options).filter(|options| *options != LaneOptions::default()).map(Box::new);
        let counts = counts.into();
        // Tags count messages and sets: there are no 2^64 of them.
        let packed_next = packed_tag.and_then(|tag| NonZeroU64::new(tag.wrapping_add(1)));
        Kept { lane, open, options, turn, counts, tag, packed_next, set, base, next_index, next_wire_id }
    }

    pub(crate) fn shrink(&mut self) {
        self.ordered.rest();
        self.unordered.rest();
        self.given.rest();
        self.skipped.rest();
        self.slots.rest();
    }
}
