//! One lane of the receiving half: what is settled, which set was yielded last, who waits. Knows no bytes; messages
//! are handles here. PROTOCOL.md, "Numbering" and "Limits".

use std::{cmp::Ordering, collections::BinaryHeap};

use super::{
    MAX_SKIP_GAPS,
    span::{NONE, Span},
    store::{Handle, Store},
};
use crate::{
    delivery::{on_demand::OnDemand, ranges::Ranges},
    error::Violation,
    window::Window1024,
    wire::message::Numbers,
};

/// Ranges of skipped indexes that are remembered, to answer a repeated SKIP the same way. Twice what may lie above the
/// lowest unsettled index, and 2 KiB with the one that is just noted.
const SKIP_MEMORY: usize = 127;

/// A complete message that waits for its turn. The least is the next: lower set, then earlier arrival.
#[derive(Clone, Copy, Debug)]
pub(super) struct Waiting {
    pub(super) set: u64,
    /// Its turn has come when every index under this one is settled.
    pub(super) base: u64,
    pub(super) handle: Handle,
}

impl Waiting {
    fn rank(&self) -> (u64, u64) {
        (self.set, self.handle.stamp())
    }
}

impl Ord for Waiting {
    /// Reversed, because the heap gives the greatest first.
    fn cmp(&self, other: &Self) -> Ordering {
        other.rank().cmp(&self.rank())
    }
}

impl PartialOrd for Waiting {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

impl PartialEq for Waiting {
    fn eq(&self, other: &Self) -> bool {
        self.rank() == other.rank()
    }
}

impl Eq for Waiting {}

/// Skipped indexes that are still remembered.
#[derive(Clone, Debug, Default)]
struct Skips {
    ranges: Ranges,
    /// Skips under this index were forgotten.
    floor: u64,
}

/// The state of one lane.
#[derive(Clone, Debug)]
pub(super) struct Lane {
    pub(super) span: Span,
    /// One more than the highest set of which an `Order` or `Delivery` was yielded.
    fresh_from: u64,
    pub(super) waiting: OnDemand<BinaryHeap<Waiting>>,
    /// Entries of `waiting` whose message was evicted.
    pub(super) waiting_gone: usize,
    /// Charge of the `Delivery` messages that wait here or are incomplete.
    pub(super) held: usize,
    /// No incomplete `Order` of this lane is of a lower set. 2^64 - 1 without any.
    pub(super) lowest_partial: u64,
    /// Ids of `None` and `Order` messages that are over.
    pub(super) ids: Option<Box<Window1024>>,
    skips: Option<Box<Skips>>,
}

impl Default for Lane {
    fn default() -> Self {
        Self {
            span: Span::default(),
            fresh_from: 0,
            waiting: OnDemand::default(),
            waiting_gone: 0,
            held: 0,
            lowest_partial: u64::MAX,
            ids: None,
            skips: None,
        }
    }
}

impl Lane {
    /// Is an `Order` of this set too late?
    pub(super) fn is_stale(&self, set: u64) -> bool {
        set.saturating_add(1) < self.fresh_from
    }

    /// An `Order` or `Delivery` of this set was yielded.
    pub(super) fn raise(&mut self, set: u64) {
        self.fresh_from = self.fresh_from.max(set.saturating_add(1));
    }

    /// Was a message of this id yielded, given up, or is it too old to tell?
    pub(super) fn knows_id(&self, id: u64) -> bool {
        self.ids.as_ref().is_some_and(|ids| ids.check(id).is_err())
    }

    /// Marks an id as over. False when it was already.
    pub(super) fn close_id(&mut self, id: u64) -> bool {
        self.ids.get_or_insert_with(|| Box::new(Window1024::new())).check_and_set(id).is_ok()
    }

    /// The `Delivery` of this index that is arriving in fragments.
    pub(super) fn arriving(&self, store: &Store, index: u64) -> Option<Handle> {
        let mut at = self.span.arriving(index);
        for _ in 0..64 {
            let (handle, stored) = store.in_slot(at)?;
            if matches!(stored.numbers, Numbers::Delivery { index: found, .. } if found == index) {
                return Some(handle);
            }
            at = stored.next;
        }
        None
    }

    /// Puts a message into the chain of its index.
    pub(super) fn link(&mut self, store: &mut Store, index: u64, handle: Handle) {
        if let Some(stored) = store.get_mut(handle) {
            stored.next = self.span.arriving(index);
            self.span.set_arriving(index, handle.slot());
        }
    }

    /// Takes a message out of the chain of its index.
    pub(super) fn unlink(&mut self, store: &mut Store, index: u64, handle: Handle) {
        let after = store.get_mut(handle).map_or(NONE, |stored| std::mem::replace(&mut stored.next, NONE));
        let mut at = self.span.arriving(index);
        if at == handle.slot() {
            self.span.set_arriving(index, after);
            return;
        }
        for _ in 0..64 {
            let Some((before, stored)) = store.in_slot(at) else { return };
            at = stored.next;
            if at == handle.slot() {
                if let Some(stored) = store.get_mut(before) {
                    stored.next = after;
                }
                return;
            }
        }
    }

    /// Notes that an unsettled index is being skipped.
    pub(super) fn note_skip(&mut self, index: u64) -> Result<(), Violation> {
        let skips = self.skips.get_or_insert_default();
        let one = index..index.saturating_add(1);
        let below = self.span.below();
        if index > below && skips.ranges.extends(&one) && skips.ranges.len_from(below) >= MAX_SKIP_GAPS {
            return Err(Violation::Bound);
        }
        skips.ranges.insert(one);
        if skips.ranges.len() > SKIP_MEMORY {
            skips.floor = skips.ranges.pop_first().map_or(skips.floor, |range| range.end);
        }
        Ok(())
    }

    /// Was this settled index skipped? Also true where it is forgotten: better to call a message that arrived
    /// expired than the reverse.
    pub(super) fn was_skipped(&self, index: u64) -> bool {
        self.skips.as_ref().is_some_and(|skips| index < skips.floor || skips.ranges.contains(index))
    }

    /// Forgets evicted entries once they are the larger part.
    pub(super) fn tidy(&mut self, store: &Store) {
        if self.waiting_gone > self.waiting.len() / 2 + 16 {
            self.waiting.retain(|entry| store.get(entry.handle).is_some());
            self.waiting_gone = 0;
        }
    }

    /// No message is stored: none can wait here.
    pub(super) fn forget_waiting(&mut self) {
        self.waiting = OnDemand::default();
        (self.waiting_gone, self.lowest_partial) = (0, u64::MAX);
    }

    /// Gives back memory that is not in use.
    pub(super) fn shrink(&mut self) {
        self.span.shrink();
        self.waiting.rest();
    }
}

/// All lanes of a connection, made on first use. Lane 0 is a field, because it is the one in use.
#[derive(Debug, Default)]
pub(super) struct Lanes {
    first: Option<Box<Lane>>,
    others: Vec<Option<Box<Lane>>>,
}

/// The same at rest.
#[derive(Clone, Debug)]
pub(super) struct KeptLanes {
    first: Option<Box<Lane>>,
    others: Box<[Option<Box<Lane>>]>,
}

impl KeptLanes {
    pub(super) fn wake(self) -> Lanes {
        let Self { first, others } = self;
        Lanes { first, others: others.into_vec() }
    }
}

impl Lanes {
    pub(super) fn get(&mut self, lane: u8) -> Option<&mut Lane> {
        match usize::from(lane).checked_sub(1) {
            None => self.first.as_deref_mut(),
            Some(position) => self.others.get_mut(position)?.as_deref_mut(),
        }
    }

    /// The lane, made if need be.
    pub(super) fn open(&mut self, lane: u8) -> &mut Lane {
        match usize::from(lane).checked_sub(1) {
            None => self.first.get_or_insert_default(),
            Some(position) => {
                if self.others.len() <= position {
                    self.others.resize_with(position + 1, || None);
                }
                match self.others.get_mut(position) {
                    Some(place) => place.get_or_insert_default(),
                    // The line above made the place.
                    None => self.first.get_or_insert_default(),
                }
            }
        }
    }

    /// Words of notes of indexes, over all lanes.
    pub(super) fn words(&self) -> usize {
        let others = self.others.iter().flatten();
        self.first.iter().chain(others).map(|lane| lane.span.words()).sum()
    }

    /// What waits on each lane, in bytes.
    #[cfg(test)]
    pub(super) fn held(&self) -> [usize; 256] {
        let others = self.others.iter().map(|lane| lane.as_deref());
        let all = std::iter::once(self.first.as_deref()).chain(others);
        let mut held = [0; 256];
        held.iter_mut().zip(all).for_each(|(held, lane)| *held = lane.map_or(0, |lane| lane.held));
        held
    }

    /// All of them, for the time of a rest.
    pub(super) fn rest(&mut self) -> KeptLanes {
        let Self { first, others } = std::mem::take(self);
        KeptLanes { first, others: others.into_boxed_slice() }
    }

    pub(super) fn forget_waiting(&mut self) {
        let others = self.others.iter_mut().flatten();
        self.first.iter_mut().chain(others).for_each(|lane| lane.forget_waiting());
    }

    pub(super) fn shrink(&mut self) {
        let others = self.others.iter_mut().flatten();
        self.first.iter_mut().chain(others).for_each(|lane| lane.shrink());
        self.others.shrink_to_fit();
    }
}
