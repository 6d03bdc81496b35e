//! What is in storage and what it costs: the window of `Delivery` messages and the budget of the others. Knows no order.
//! Nothing is stored before it is charged, and what is charged is given back exactly once. PROTOCOL.md, "Flow control".

use std::time::Instant;

use super::{
    FREE_SPAN, MAX_WORDS, RecvQueue,
    store::{Handle, Stage, Stored},
};
use crate::{config::MESSAGE_OVERHEAD, error::Violation, wire::message::Numbers};

impl RecvQueue {
    /// Copies a complete message to storage.
    pub(super) fn shelve(
        &mut self,
        lane: u8,
        numbers: Numbers,
        late_after: Option<Instant>,
        bytes: &[u8],
        stage: Stage,
    ) -> Option<Handle> {
        let mut stored = Stored::new(lane, numbers, u32::try_from(bytes.len()).ok()?, late_after);
        stored.stage = stage;
        let handle = self.store.put_whole(stored, bytes)?;
        self.counters.stored += 1;
        if !matches!(numbers, Numbers::Delivery { .. }) {
            self.unreliable_used += bytes.len() + MESSAGE_OVERHEAD;
            self.keep(handle);
        }
        Some(handle)
    }

    /// Frees a message that waited and will not be yielded.
    pub(super) fn forget(&mut self, handle: Handle) {
        let Some(stored) = self.store.get(handle) else { return };
        let (numbers, len) = (stored.numbers, stored.total as usize);
        self.store.remove(handle);
        if matches!(numbers, Numbers::Delivery { .. }) {
            self.consume(len);
        } else {
            self.unreliable_used = self.unreliable_used.saturating_sub(len + MESSAGE_OVERHEAD);
            self.kept_live = self.kept_live.saturating_sub(1);
        }
    }

    /// Charges a `Delivery` of `len` bytes to the window. PROTOCOL.md, "Flow control".
    pub(super) fn reserve(&mut self, len: usize) -> Result<(), Violation> {
        let used = self.delivery_used + len + MESSAGE_OVERHEAD;
        if used > self.limits.window_bytes {
            return Err(Violation::Bound);
        }
        self.delivery_used = used;
        Ok(())
    }

    /// Charges a `Delivery` that must wait to its lane too, so that the gaps of one lane leave room to the others.
    pub(super) fn reserve_waiting(&mut self, lane: u8, len: usize) -> Result<(), Violation> {
        let held = self.lanes.open(lane).held + len + MESSAGE_OVERHEAD;
        if held > self.limits.lane_bytes() {
            return Err(Violation::Bound);
        }
        self.reserve(len)?;
        self.lanes.open(lane).held = held;
        Ok(())
    }

    /// Whether `index`, at or above the lowest unsettled one, may be noted: the notes of all lanes are bounded together.
    /// PROTOCOL.md, "Limits".
    pub(super) fn note_reach(&mut self, lane: u8, index: u64) -> Result<(), Violation> {
        let span = &self.lanes.open(lane).span;
        if index.saturating_sub(span.below()) < FREE_SPAN {
            return Ok(());
        }
        let growth = span.growth(index);
        if growth > 0 && self.lanes.words() + growth > MAX_WORDS {
            return Err(Violation::Bound);
        }
        Ok(())
    }

    /// A `Delivery` of `len` bytes left for good.
    pub(super) fn consume(&mut self, len: usize) {
        let charge = len + MESSAGE_OVERHEAD;
        self.delivery_used = self.delivery_used.saturating_sub(charge);
        self.consumed = self.consumed.saturating_add(charge as u64);
    }

    /// Enters a complete `None` or `Order` into the list of those that may be evicted.
    pub(super) fn keep(&mut self, handle: Handle) {
        while self.kept.front().is_some_and(|&oldest| self.store.get(oldest).is_none()) {
            self.kept.pop_front();
        }
        if self.kept.len() > 2 * self.kept_live + 32 {
            let store = &self.store;
            self.kept.retain(|&handle| store.get(handle).is_some());
        }
        self.kept.push_back(handle);
        self.kept_live += 1;
    }

    /// Makes room in the budget for a `None` or `Order` of `len` bytes; the oldest go. False when what is lent leaves
    /// too little. A `Delivery` never goes.
    pub(super) fn make_room(&mut self, len: usize) -> bool {
        let most = self.limits.unreliable_bytes;
        while self.unreliable_used + len + MESSAGE_OVERHEAD > most {
            while self.kept.front().is_some_and(|&oldest| self.store.get(oldest).is_none()) {
                self.kept.pop_front();
            }
            let oldest_kept = self.kept.front().map_or(u64::MAX, |handle| handle.stamp());
            let oldest_partial = self.partials.front().map_or(u64::MAX, |partial| partial.handle.stamp());
            if oldest_kept == oldest_partial {
                return false;
            }
            if oldest_partial < oldest_kept {
                self.abandon_oldest();
            } else if let Some(handle) = self.kept.pop_front() {
                self.evict(handle);
            }
        }
        true
    }

    fn evict(&mut self, handle: Handle) {
        let Some(stored) = self.store.get(handle) else { return };
        let (lane, stage) = (stored.lane, stored.stage);
        self.forget(handle);
        self.counters.evicted += 1;
        match (stage, self.lanes.get(lane)) {
            (Stage::Held, Some(lane)) => {
                lane.waiting_gone += 1;
                lane.tidy(&self.store);
            }
            (Stage::Ready, _) => self.ready.evicted(),
            _ => {}
        }
    }
}
