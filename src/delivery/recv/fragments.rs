//! Messages that arrive in byte ranges. `Delivery` ones are found by their index and stay until they are complete or
//! skipped; `None` and `Order` ones are found by their id and stay two seconds at most. The total of the first
//! fragment is what is charged, before anything is allocated. PROTOCOL.md, "Fragments".

use std::time::{Duration, Instant};

use super::{
    RecvQueue,
    lane::Waiting,
    late_after,
    ready::{Place, Turn},
    span::Standing,
    store::{Handle, Stage, Stored},
};
use crate::{
    config::MESSAGE_OVERHEAD,
    error::Violation,
    wire::message::{MIN_FRAGMENT, MessageFrame, Numbers},
};

/// How long an incomplete `None` or `Order` is kept. PROTOCOL.md, "Limits".
pub(crate) const PARTIAL_LIFE: Duration = Duration::from_secs(2);
/// Most incomplete `None` and `Order` messages; the search for one is a walk over all.
pub(super) const MAX_PARTIALS: usize = 1_024;

/// An incomplete `None` or `Order`.
#[derive(Clone, Copy, Debug)]
pub(super) struct Partial {
    pub(super) handle: Handle,
    id: u64,
    since: Instant,
    lane: u8,
}

impl RecvQueue {
    /// Frees incomplete messages that are too old. Call it when `deadline` has passed.
    pub(crate) fn expire(&mut self, now: Instant) {
        while self.deadline().is_some_and(|end| end <= now) {
            self.abandon_oldest();
        }
    }

    /// When the oldest incomplete `None` or `Order` is to be freed.
    pub(crate) fn deadline(&self) -> Option<Instant> {
        self.partials.front().and_then(|oldest| oldest.since.checked_add(PARTIAL_LIFE))
    }

    pub(super) fn delivery_fragment(
        &mut self,
        now: Instant,
        frame: &MessageFrame<'_>,
        offset: u32,
        total: u32,
        index: u64,
    ) -> Result<(), Violation> {
        if total > self.limits.max_message {
            return Err(Violation::Bound);
        }
        let lane = self.lanes.open(frame.lane);
        match lane.span.standing(index) {
            Standing::Beyond => return Err(Violation::Bound),
            Standing::Settled | Standing::Complete => {
                self.counters.duplicates += 1;
                return Ok(());
            }
            Standing::Open => {}
        }
        let known = lane.arriving(&self.store, index);
        self.check_fragment(frame, offset, total, known)?;
        let handle = if let Some(handle) = known {
            handle
        } else {
            self.note_reach(frame.lane, index)?;
            self.reserve_waiting(frame.lane, total as usize)?;
            let stored = Stored::new(frame.lane, frame.numbers, total, None);
            let handle = self.store.put(stored).ok_or(Violation::Bound)?;
            self.lanes.open(frame.lane).link(&mut self.store, index, handle);
            handle
        };
        if self.fill(now, frame, offset, handle) {
            let lane = self.lanes.open(frame.lane);
            lane.unlink(&mut self.store, index, handle);
            lane.span.complete(index);
            self.complete(now, frame.lane, frame.numbers, handle);
        }
        Ok(())
    }

    pub(super) fn unreliable_fragment(
        &mut self,
        now: Instant,
        frame: &MessageFrame<'_>,
        offset: u32,
        total: u32,
    ) -> Result<(), Violation> {
        let id = frame.id.ok_or(Violation::Malformed)?;
        if !self.wants_unreliable(total as usize)? {
            return Ok(());
        }
        let lane = self.lanes.open(frame.lane);
        if lane.knows_id(id) {
            if self.parities.as_ref().is_some_and(|parities| parities.has((frame.lane, id))) {
                self.count_unneeded();
            } else {
                self.counters.duplicates += 1;
            }
            return Ok(());
        }
        if matches!(frame.numbers, Numbers::Order { set, .. } if lane.is_stale(set)) {
            self.counters.stale += 1;
            return Ok(());
        }
        let known = self.partial(frame.lane, id);
        self.check_fragment(frame, offset, total, known)?;
        let handle = match known {
            Some(handle) => handle,
            None => match self.open_partial(now, frame, total, id) {
                Some(handle) => handle,
                None => return Ok(()),
            },
        };
        if self.fill(now, frame, offset, handle) || self.restore_around(handle, frame.part, frame.bytes.len())
        {
            self.arrive(now, frame, id, handle);
        }
        Ok(())
    }

    /// Every byte of a `None` or `Order` is here.
    pub(super) fn arrive(&mut self, now: Instant, frame: &MessageFrame<'_>, id: u64, handle: Handle) {
        self.drop_parities(handle, (frame.lane, id));
        let lane = self.lanes.open(frame.lane);
        if !lane.close_id(id) {
            // More than 1,024 later ones were over before it.
            self.drop_partial(frame.lane, id);
            self.counters.duplicates += 1;
            return;
        }
        self.partials.retain(|partial| partial.handle != handle);
        self.complete(now, frame.lane, frame.numbers, handle);
    }

    /// Frees a `Delivery` that is arriving in fragments, without settling it.
    pub(super) fn drop_delivery_partial(&mut self, lane: u8, index: u64, handle: Handle) {
        let total = self.store.get(handle).map_or(0, |stored| stored.total as usize);
        let lane = self.lanes.open(lane);
        lane.unlink(&mut self.store, index, handle);
        lane.held = lane.held.saturating_sub(total + MESSAGE_OVERHEAD);
        self.store.remove(handle);
        self.delivery_used = self.delivery_used.saturating_sub(total + MESSAGE_OVERHEAD);
    }

    /// Frees the incomplete `None` or `Order` of this id, if there is one.
    pub(super) fn drop_partial(&mut self, lane: u8, id: u64) {
        let found = self.partials.iter().rposition(|partial| partial.lane == lane && partial.id == id);
        if let Some(partial) = found.and_then(|position| self.partials.remove(position)) {
            self.free_partial(&partial);
        }
    }

    /// Frees incomplete `Order` messages of a lane that can only come too late. Called whenever a set was yielded.
    pub(super) fn drop_stale_partials(&mut self, lane_number: u8) {
        let Some(lane) = self.lanes.get(lane_number).filter(|lane| lane.is_stale(lane.lowest_partial)) else {
            return;
        };
        lane.lowest_partial = u64::MAX;
        let mut position = 0;
        while let Some(&partial) = self.partials.get(position) {
            position += 1;
            let numbers = self.store.get(partial.handle).map(|stored| stored.numbers);
            let Some(Numbers::Order { set, .. }) = numbers.filter(|_| partial.lane == lane_number) else {
                continue;
            };
            let Some(lane) = self.lanes.get(lane_number) else { return };
            if lane.is_stale(set) {
                self.counters.stale += 1;
                position -= 1;
                self.partials.remove(position);
                self.free_partial(&partial);
            } else {
                lane.lowest_partial = lane.lowest_partial.min(set);
            }
        }
    }

    /// Gives the oldest incomplete `None` or `Order` up. Its id is over: later fragments find nothing to join.
    pub(super) fn abandon_oldest(&mut self) {
        let Some(partial) = self.partials.pop_front() else { return };
        self.free_partial(&partial);
        self.counters.incomplete += 1;
        if let Some(lane) = self.lanes.get(partial.lane) {
            lane.close_id(partial.id);
        }
    }

    fn free_partial(&mut self, partial: &Partial) {
        let Some(stored) = self.store.get(partial.handle) else { return };
        let charge = stored.total as usize + stored.parity_bytes() + MESSAGE_OVERHEAD;
        self.store.remove(partial.handle);
        self.unreliable_used = self.unreliable_used.saturating_sub(charge);
    }

    /// The incomplete `None` or `Order` of this id.
    pub(super) fn partial(&self, lane: u8, id: u64) -> Option<Handle> {
        let mut newest_first = self.partials.iter().rev();
        newest_first.find(|partial| partial.lane == lane && partial.id == id).map(|partial| partial.handle)
    }

    pub(super) fn open_partial(
        &mut self,
        now: Instant,
        frame: &MessageFrame<'_>,
        total: u32,
        id: u64,
    ) -> Option<Handle> {
        if self.partials.len() >= MAX_PARTIALS {
            self.abandon_oldest();
        }
        if !self.make_room(total as usize) {
            self.counters.incomplete += 1;
            return None;
        }
        let handle = self.store.put(Stored::new(frame.lane, frame.numbers, total, None))?;
        self.unreliable_used += total as usize + MESSAGE_OVERHEAD;
        self.partials.push_back(Partial { handle, id, since: now, lane: frame.lane });
        if let Numbers::Order { set, .. } = frame.numbers {
            let lane = self.lanes.open(frame.lane);
            lane.lowest_partial = lane.lowest_partial.min(set);
        }
        Some(handle)
    }

    /// Does this fragment agree with itself, with the fragments before it and with the bounds?
    fn check_fragment(
        &self,
        frame: &MessageFrame<'_>,
        offset: u32,
        total: u32,
        known: Option<Handle>,
    ) -> Result<(), Violation> {
        let part = u64::from(offset)..u64::from(offset) + frame.bytes.len() as u64;
        if part.end > u64::from(total) {
            return Err(Violation::Bound);
        }
        self.check_same(frame, total, known)?;
        let most = (total as usize / MIN_FRAGMENT + 2).min(self.limits.max_fragments.into());
        let stored = known.and_then(|handle| self.store.get(handle));
        if stored.is_some_and(|stored| stored.scatters(&part, most)) { Err(Violation::Bound) } else { Ok(()) }
    }

    /// Does the frame speak of the same message as the fragments before it?
    pub(super) fn check_same(
        &self,
        frame: &MessageFrame<'_>,
        total: u32,
        known: Option<Handle>,
    ) -> Result<(), Violation> {
        let other = known
            .and_then(|handle| self.store.get(handle))
            .is_some_and(|stored| stored.total != total || stored.numbers != frame.numbers);
        if other { Err(Violation::Bound) } else { Ok(()) }
    }

    fn fill(&mut self, now: Instant, frame: &MessageFrame<'_>, offset: u32, handle: Handle) -> bool {
        if let Some(stored) = self.store.get_mut(handle) {
            stored.late_no_later(late_after(now, frame.life));
        }
        self.store.fill(handle, offset, frame.bytes)
    }

    /// The last fragment came: the message arrives now.
    fn complete(&mut self, now: Instant, lane_number: u8, numbers: Numbers, handle: Handle) {
        self.counters.stored += 1;
        let Some(handle) = self.store.restamp(handle) else { return };
        let unreliable = !matches!(numbers, Numbers::Delivery { .. });
        if unreliable {
            self.keep(handle);
        }
        let late = self.store.get(handle).is_some_and(|stored| stored.is_late(now));
        if late && unreliable {
            self.counters.late += 1;
            self.forget(handle);
            return;
        }
        let stage = if numbers == Numbers::None { Stage::Ready } else { Stage::Held };
        if let Some(stored) = self.store.get_mut(handle) {
            stored.stage = stage;
        }
        match numbers {
            Numbers::None => {
                self.ready.push(Turn { lane: lane_number, numbers, place: Place::Stored(handle) });
            }
            Numbers::Order { set, base } | Numbers::Delivery { set, base, .. } => {
                self.lanes.open(lane_number).waiting.push(Waiting { set, base, handle });
                self.follow(now, lane_number);
            }
        }
    }
}
