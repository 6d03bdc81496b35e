//! Secondary storage: messages that could not be lent out of their datagram. Knows no order and no budgets; its owner
//! charges every message before it comes here. A handle is good until its message is removed or restamped, and a
//! stale handle finds nothing. Buffers go round through a small pool, so that a steady flow allocates nothing.

use std::{collections::VecDeque, ops::Range, time::Instant};

use super::span::NONE;
use crate::{
    delivery::{on_demand::OnDemand, parity::Cut, ranges::Ranges},
    wire::message::Numbers,
};

/// Most buffers that wait for their next use.
const POOL_BUFFERS: usize = 64;
/// Most bytes that those buffers have together.
const POOL_BYTES: usize = 1 << 20;
/// A buffer above this size is freed at once.
const POOLED_BYTES: usize = 64 << 10;
/// A list of fragments longer than this is freed with its message.
const KEPT_RANGES: usize = 64;

/// Names a stored message.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Handle {
    slot: u32,
    /// Counts up over all messages stored: their age, and proof that the slot still holds this one.
    stamp: u64,
}

impl Handle {
    /// The handle of no message.
    pub(super) const NOTHING: Self = Self { slot: NONE, stamp: 0 };

    pub(super) fn stamp(self) -> u64 {
        self.stamp
    }

    pub(super) fn slot(self) -> u32 {
        self.slot
    }
}

/// Where a stored message stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Stage {
    /// Fragments are missing.
    Partial,
    /// Complete; earlier messages are missing.
    Held,
    /// In the ready queue.
    Ready,
    /// With the application.
    Lent,
}

/// One stored message.
#[derive(Debug)]
pub(super) struct Stored {
    pub(super) lane: u8,
    pub(super) numbers: Numbers,
    pub(super) stage: Stage,
    /// Moment after which it must not be yielded.
    pub(super) late_after: Option<Instant>,
    /// Length of the whole message in bytes.
    pub(super) total: u32,
    /// Next message in the chain of its index. `NONE` ends it.
    pub(super) next: u32,
    /// How the parities that came cut it; they stand behind the message.
    pub(super) cut: Option<Cut>,
    bytes: Vec<u8>,
    got: Ranges,
}

impl Stored {
    /// A message of which nothing came yet.
    pub(super) fn new(lane: u8, numbers: Numbers, total: u32, late_after: Option<Instant>) -> Self {
        let stage = Stage::Partial;
        let (bytes, got) = (Vec::new(), Ranges::new());
        Self { lane, numbers, stage, late_after, total, next: NONE, cut: None, bytes, got }
    }

    pub(super) fn is_late(&self, now: Instant) -> bool {
        self.late_after.is_some_and(|end| now > end)
    }

    /// Lowers `late_after`: each fragment brings its own estimate of the same moment, and none is too early.
    pub(super) fn late_no_later(&mut self, end: Option<Instant>) {
        self.late_after = match (self.late_after, end) {
            (Some(known), Some(new)) => Some(known.min(new)),
            (known, new) => known.or(new),
        };
    }

    /// Would these bytes open one more gap than `most` allows?
    pub(super) fn scatters(&self, part: &Range<u64>, most: usize) -> bool {
        self.got.len_up_to(self.total.into()) >= most && self.got.extends(part)
    }

    /// Bytes of room for parities.
    pub(super) fn parity_bytes(&self) -> usize {
        self.cut.map_or(0, |cut| cut.parity_bytes())
    }

    /// Whether everything under parity `first` of this cut is here.
    pub(super) fn lacks_nothing(&self, cut: &Cut, first: u32) -> bool {
        cut.pieces(first).all(|piece| self.got.covers(&piece))
    }

    /// Restores the piece that is missing under parity `first`, if it is the only one; whether it was.
    pub(super) fn restore(&mut self, first: u32) -> bool {
        let Some(cut) = self.cut else { return false };
        let Some(piece) = cut.restorable(&self.got, first) else { return false };
        let place = |at: u64| usize::try_from(at).unwrap_or(usize::MAX);
        let within = |range: &Range<u64>| place(range.start)..place(range.end);
        let kept = cut.place(first);
        // The parity stands behind all of the message, so that everything before it is allocated.
        let Some((before, parity)) = self.bytes.split_at_mut_checked(place(kept.start)) else { return false };
        for other in cut.pieces(first).filter(|other| *other != piece) {
            let other = before.get(within(&other)).unwrap_or_default();
            parity.iter_mut().zip(other).for_each(|(byte, mask)| *byte ^= mask);
        }
        for gap in self.got.gaps(piece.clone()) {
            let source = parity.get(place(gap.start - piece.start)..place(gap.end - piece.start));
            if let (Some(source), Some(target)) = (source, before.get_mut(within(&gap))) {
                target.copy_from_slice(source);
            }
        }
        self.got.insert(piece);
        self.got.remove(kept);
        true
    }

    /// Nothing is missing any more.
    pub(super) fn drop_parities(&mut self) {
        if self.cut.take().is_some() {
            self.bytes.truncate(self.total as usize);
        }
    }

    #[cfg(test)]
    pub(super) fn memory(&self) -> usize {
        self.bytes.capacity()
    }

    fn copy(&mut self, offset: u32, bytes: &[u8]) {
        let start = u64::from(offset);
        let part = start..start + bytes.len() as u64;
        for gap in self.got.gaps(part.clone()) {
            let place = |at: u64, from: u64| usize::try_from(at - from).unwrap_or(usize::MAX);
            let source = bytes.get(place(gap.start, start)..place(gap.end, start));
            let target = self.bytes.get_mut(place(gap.start, 0)..place(gap.end, 0));
            if let (Some(source), Some(target)) = (source, target) {
                target.copy_from_slice(source);
            }
        }
        self.got.insert(part);
    }

    pub(super) fn is_complete(&self) -> bool {
        self.got.covers(&(0..u64::from(self.total)))
    }
}

#[derive(Debug)]
struct Slot {
    stamp: u64,
    /// `None` when free; then `next_free` names the next free slot.
    stored: Option<Stored>,
    next_free: u32,
    /// Memory for the fragment list of the next message here.
    ranges: Ranges,
}

/// All stored messages of one connection.
#[derive(Debug)]
pub(super) struct Store {
    slots: Vec<Slot>,
    free: u32,
    live: usize,
    stamps: u64,
    pool: OnDemand<VecDeque<Vec<u8>>>,
    pool_bytes: usize,
}

impl Store {
    /// Allocates nothing.
    pub(super) fn new() -> Self {
        Self { slots: Vec::new(), free: NONE, live: 0, stamps: 0, pool: OnDemand::default(), pool_bytes: 0 }
    }

    pub(super) fn is_empty(&self) -> bool {
        self.live == 0
    }

    /// Takes a message in. `None` only when 2^32 - 1 messages are stored, which the budgets forbid.
    pub(super) fn put(&mut self, mut stored: Stored) -> Option<Handle> {
        if self.free == NONE {
            let slot = u32::try_from(self.slots.len()).ok().filter(|&slot| slot != NONE)?;
            self.slots.push(Slot { stamp: 0, stored: None, next_free: NONE, ranges: Ranges::new() });
            self.free = slot;
        }
        let slot = self.free;
        self.stamps += 1;
        let place = self.slots.get_mut(slot as usize)?;
        self.free = place.next_free;
        stored.got = std::mem::take(&mut place.ranges);
        place.stamp = self.stamps;
        place.stored = Some(stored);
        self.live += 1;
        Some(Handle { slot, stamp: self.stamps })
    }

    /// Takes a complete message in, in one copy.
    pub(super) fn put_whole(&mut self, mut stored: Stored, bytes: &[u8]) -> Option<Handle> {
        let mut buffer = self.take(bytes.len(), bytes.len());
        buffer.extend_from_slice(bytes);
        stored.bytes = buffer;
        self.put(stored)
    }

    /// Adds a part of a partial message; bytes that came before win. True when the message is now complete. The part
    /// lies within the total.
    pub(super) fn fill(&mut self, handle: Handle, offset: u32, bytes: &[u8]) -> bool {
        let end = (offset as usize).saturating_add(bytes.len());
        let total = self.get(handle).map_or(0, |stored| stored.total as usize);
        let fresh = if self.get(handle).is_some_and(|stored| stored.bytes.capacity() == 0) {
            self.take(end, total.max(end))
        } else {
            Vec::new()
        };
        let Some(stored) = self.get_mut(handle) else { return false };
        if stored.bytes.capacity() == 0 {
            stored.bytes = fresh;
        }
        if stored.bytes.len() < end {
            let size = (2 * stored.bytes.capacity()).clamp(end, total.max(end));
            if stored.bytes.capacity() < end {
                stored.bytes.reserve_exact(size - stored.bytes.len());
            }
            stored.bytes.resize(end, 0);
        }
        stored.copy(offset, bytes);
        stored.is_complete()
    }

    pub(super) fn get(&self, handle: Handle) -> Option<&Stored> {
        self.slots.get(handle.slot as usize).filter(|slot| slot.stamp == handle.stamp)?.stored.as_ref()
    }

    pub(super) fn get_mut(&mut self, handle: Handle) -> Option<&mut Stored> {
        self.slots.get_mut(handle.slot as usize).filter(|slot| slot.stamp == handle.stamp)?.stored.as_mut()
    }

    pub(super) fn bytes(&self, handle: Handle) -> &[u8] {
        self.get(handle).map_or(&[], |stored| &stored.bytes)
    }

    /// The message in `slot`, with its handle.
    pub(super) fn in_slot(&self, slot: u32) -> Option<(Handle, &Stored)> {
        let place = self.slots.get(slot as usize)?;
        Some((Handle { slot, stamp: place.stamp }, place.stored.as_ref()?))
    }

    /// Makes a message the newest, under a new handle. The old one finds nothing from now on.
    pub(super) fn restamp(&mut self, handle: Handle) -> Option<Handle> {
        self.get(handle)?;
        self.stamps += 1;
        let place = self.slots.get_mut(handle.slot as usize)?;
        place.stamp = self.stamps;
        Some(Handle { slot: handle.slot, stamp: self.stamps })
    }

    /// Frees a message and keeps its memory for later ones.
    pub(super) fn remove(&mut self, handle: Handle) {
        let free = self.free;
        let Some(place) = self.slots.get_mut(handle.slot as usize).filter(|slot| slot.stamp == handle.stamp)
        else {
            return;
        };
        let Some(mut stored) = place.stored.take() else { return };
        place.stamp = 0;
        place.next_free = free;
        stored.got.clear();
        if stored.got.capacity() <= KEPT_RANGES {
            place.ranges = stored.got;
        }
        self.free = handle.slot;
        self.live -= 1;
        self.give(stored.bytes);
    }

    /// Gives back all memory that is not in use.
    pub(super) fn shrink(&mut self) {
        self.pool = OnDemand::default();
        self.pool_bytes = 0;
        if self.live == 0 {
            self.slots = Vec::new();
            self.free = NONE;
        }
    }

    #[cfg(test)]
    pub(super) fn stamps(&self) -> u64 {
        self.stamps
    }

    /// Checks the accounts of the pool.
    #[cfg(test)]
    pub(super) fn check(&self) {
        assert_eq!(self.pool_bytes, self.pool.iter().map(Vec::capacity).sum::<usize>());
        assert!(self.pool_bytes <= POOL_BYTES && self.pool.len() <= POOL_BUFFERS);
        assert!(self.pool.iter().all(|buffer| buffer.capacity() <= POOLED_BYTES));
        assert_eq!(self.live, self.slots.iter().filter(|slot| slot.stored.is_some()).count());
    }

    #[cfg(test)]
    pub(super) fn has_slot(&self, slot: u32) -> bool {
        self.slots.len() > slot as usize
    }

    #[cfg(test)]
    pub(super) fn memory(&self) -> usize {
        self.slots.capacity() + self.pool.capacity()
    }

    /// An empty buffer for `len` bytes of a message that is charged with `total`. Never one so much larger that a few
    /// charged bytes would hold many: the memory of a message stays within four times its charge.
    fn take(&mut self, len: usize, total: usize) -> Vec<u8> {
        if len == 0 {
            return Vec::new();
        }
        let fits = len..=total.saturating_mul(4).saturating_add(256);
        let sizes = self.pool.iter().map(Vec::capacity).enumerate();
        let best = sizes.filter(|(_, size)| fits.contains(size)).min_by_key(|&(_, size)| size);
        if let Some(buffer) = best.and_then(|(position, _)| self.pool.swap_remove_back(position)) {
            self.pool_bytes -= buffer.capacity();
            return buffer;
        }
        let round = if len <= POOLED_BYTES { len.next_power_of_two().max(64) } else { len };
        Vec::with_capacity(round)
    }

    fn give(&mut self, mut buffer: Vec<u8>) {
        buffer.clear();
        if buffer.capacity() == 0 || buffer.capacity() > POOLED_BYTES {
            return;
        }
        self.pool_bytes += buffer.capacity();
        self.pool.push_back(buffer);
        // The oldest goes, so that the pool follows a flow whose sizes change.
        while self.pool.len() > POOL_BUFFERS || self.pool_bytes > POOL_BYTES {
            let Some(oldest) = self.pool.pop_front() else { break };
            self.pool_bytes -= oldest.capacity();
        }
    }
}
