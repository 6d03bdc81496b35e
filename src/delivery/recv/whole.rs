//! Whole messages, and whose turn it is. A whole message whose turn has come is lent out of its datagram; every other
//! waits in storage. Each step that settles an index or yields a set ends in `follow`, so between calls nothing that
//! is ready waits. PROTOCOL.md, "Yield".

use std::time::Instant;

use super::{
    RecvQueue,
    lane::Waiting,
    late_after,
    ready::{Place, Turn},
    span::Standing,
    store::Stage,
};
use crate::{
    config::MESSAGE_OVERHEAD,
    error::Violation,
    wire::message::{MessageFrame, Numbers},
};

impl RecvQueue {
    pub(super) fn whole_delivery(
        &mut self,
        now: Instant,
        frame: &MessageFrame<'_>,
        at: usize,
        (set, base, index): (u64, u64, u64),
    ) -> Result<(), Violation> {
        let len = frame.bytes.len();
        if len > self.limits.max_message as usize {
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
        if lane.arriving(&self.store, index).is_some() {
            // It was cut before and is now resent in one piece: the fragments say how long it may live.
            return self.delivery_fragment(now, frame, 0, u32::try_from(len).unwrap_or(u32::MAX), index);
        }
        self.note_reach(frame.lane, index)?;
        if base > self.lanes.open(frame.lane).span.below() {
            self.reserve_waiting(frame.lane, len)?;
            return self.hold_whole(now, frame, set, base);
        }
        self.reserve(len)?;
        let lane = self.lanes.open(frame.lane);
        lane.span.settle(index);
        lane.raise(set);
        self.ready_in_place(frame, at);
        self.follow(now, frame.lane);
        Ok(())
    }

    pub(super) fn whole_unreliable(
        &mut self,
        now: Instant,
        frame: &MessageFrame<'_>,
        at: usize,
    ) -> Result<(), Violation> {
        let len = frame.bytes.len();
        if !self.wants_unreliable(len)? {
            return Ok(());
        }
        let lane = self.lanes.open(frame.lane);
        if matches!(frame.numbers, Numbers::Order { set, .. } if lane.is_stale(set)) {
            self.counters.stale += 1;
            return Ok(());
        }
        if let Some(id) = frame.id {
            if self.partial(frame.lane, id).is_some() {
                return self.unreliable_fragment(now, frame, 0, u32::try_from(len).unwrap_or(u32::MAX));
            }
            if !self.lanes.open(frame.lane).close_id(id) {
                self.counters.duplicates += 1;
                return Ok(());
            }
        }
        if let Numbers::Order { set, base } = frame.numbers {
            let lane = self.lanes.open(frame.lane);
            if base > lane.span.below() {
                if !self.make_room(len) {
                    self.counters.evicted += 1;
                    return Ok(());
                }
                return self.hold_whole(now, frame, set, base);
            }
            lane.raise(set);
            self.drop_stale_partials(frame.lane);
        }
        self.ready_in_place(frame, at);
        Ok(())
    }

    /// Whether a `None` or `Order` of this length is taken at all. The peer knows the largest message, and passes it
    /// only by breaking the protocol; it does not know what we allow ourselves below that.
    pub(super) fn wants_unreliable(&mut self, len: usize) -> Result<bool, Violation> {
        if len > self.limits.max_message as usize {
            return Err(Violation::Bound);
        }
        let wanted = len <= self.limits.max_unreliable as usize;
        self.counters.evicted += u64::from(!wanted);
        Ok(wanted)
    }

    fn ready_in_place(&mut self, frame: &MessageFrame<'_>, at: usize) {
        let place = Place::Datagram { start: at, len: frame.bytes.len() };
        self.ready.push(Turn { lane: frame.lane, numbers: frame.numbers, place });
    }

    /// Copies a whole message whose turn has not come. Its room was made before.
    fn hold_whole(
        &mut self,
        now: Instant,
        frame: &MessageFrame<'_>,
        set: u64,
        base: u64,
    ) -> Result<(), Violation> {
        let late_after = late_after(now, frame.life);
        let shelved = self.shelve(frame.lane, frame.numbers, late_after, frame.bytes, Stage::Held);
        let handle = shelved.ok_or(Violation::Bound)?;
        let lane = self.lanes.open(frame.lane);
        if let Numbers::Delivery { index, .. } = frame.numbers {
            lane.span.complete(index);
        }
        lane.waiting.push(Waiting { set, base, handle });
        Ok(())
    }

    /// Something of this lane was settled or yielded: whatever is ready now goes out, and what became stale goes away.
    pub(super) fn follow(&mut self, now: Instant, lane_number: u8) {
        while let Some(lane) = self.lanes.get(lane_number) {
            let Some(&next) = lane.waiting.peek() else { break };
            let Some(stored) = self.store.get_mut(next.handle) else {
                lane.waiting.pop();
                lane.waiting_gone = lane.waiting_gone.saturating_sub(1);
                continue;
            };
            if next.base > lane.span.below() {
                break;
            }
            lane.waiting.pop();
            let (numbers, late) = (stored.numbers, stored.is_late(now));
            if let Numbers::Delivery { index, .. } = numbers {
                lane.span.settle(index);
                lane.held = lane.held.saturating_sub(stored.total as usize + MESSAGE_OVERHEAD);
            } else if lane.is_stale(next.set) {
                self.counters.stale += 1;
                self.forget(next.handle);
                continue;
            }
            if late {
                self.counters.late += 1;
                self.forget(next.handle);
                continue;
            }
            lane.raise(next.set);
            stored.stage = Stage::Ready;
            self.ready.push(Turn { lane: lane_number, numbers, place: Place::Stored(next.handle) });
        }
        self.drop_stale_partials(lane_number);
    }
}
