//! What a sending half keeps at rest: the numbers of its lanes, what the peer lets it send, and what it counted. Nothing
//! is queued then, so that what the other queues and the timers name is gone.

use std::time::Duration;

use super::{
    notices::Notices,
    send::{Limits, SendQueue},
    send_lane::{self, SendLane},
};
use crate::config::Config;

/// A duration in eight bytes, of 584 years at most.
#[derive(Clone, Copy, Debug)]
pub(super) struct Nanos(u64);

impl From<Duration> for Nanos {
    fn from(duration: Duration) -> Self {
        Self(u64::try_from(duration.as_nanos()).unwrap_or(u64::MAX))
    }
}

impl From<Nanos> for Duration {
    fn from(Nanos(nanos): Nanos) -> Self {
        Self::from_nanos(nanos)
    }
}

/// What is kept at rest.
#[derive(Clone, Debug)]
pub(crate) struct Kept {
    /// Longest messages that the session's peer takes.
    delivery: u32,
    unreliable: u32,
    lanes: Box<[send_lane::Kept]>,
    redundancy: u8,
    next_id: u64,
    window_used: u64,
    window_limit: u64,
    lane_limit: u64,
}

impl SendQueue {
    /// Nothing is queued, on its way or to be told.
    pub(crate) fn may_rest(&self) -> bool {
        let told = self.notices.told.is_empty() && self.building.is_empty();
        let gone = self.slab.messages() == 0 && self.skips.is_empty();
        told && gone && self.lanes.iter().all(SendLane::may_rest)
    }

    /// What it counted, for the owner to keep.
    pub(crate) fn counters(&self) -> [u64; 4] {
        [self.needless, self.resent_parts, self.notices.late_acks, self.parities.into()]
    }

    /// What the queues and timers name is gone, so that they need not be kept.
    pub(crate) fn rest(&mut self) -> Kept {
        let Self {
            limits: Limits { bytes: _, messages: _, delivery, unreliable },
            new_set_unsent: _,
            slab: _,
            lanes,
            resends: _,
            repeats: _,
            needless: _,
            redundancy,
            copies_due: _,
            riding: _,
            alarms: _,
            skips: _,
            skips_waiting: _,
            skips_held: _,
            notices: _,
            // Whatever needs it is told the time first.
            clock: _,
            building: _,
            next_id,
            unsent_messages: _,
            unsent_bytes: _,
            window_used,
            window_limit,
            lane_limit,
            resent_parts: _,
            parities: _,
        } = self;
        let small = |len: usize| u32::try_from(len).unwrap_or(u32::MAX);
        Kept {
            delivery: small(*delivery),
            unreliable: small(*unreliable),
            lanes: lanes.drain(..).map(SendLane::rest).collect(),
            redundancy: *redundancy,
            next_id: *next_id,
            window_used: *window_used,
            window_limit: *window_limit,
            lane_limit: *lane_limit,
        }
    }
}

impl Kept {
    pub(crate) fn wake(self, config: &Config, counters: [u64; 4]) -> SendQueue {
        let [needless, resent_parts, late_acks, parities] = counters;
        let (delivery, unreliable) = (self.delivery as usize, self.unreliable as usize);
        let limits = Limits { delivery, unreliable, ..Limits::new(config) };
        let bounds = (limits.bytes, limits.messages);
        SendQueue {
            limits,
            lanes: self.lanes.into_iter().map(|lane| lane.wake(bounds)).collect(),
            needless,
            redundancy: self.redundancy,
            notices: Notices::after_rest(late_acks),
            next_id: self.next_id,
            window_used: self.window_used,
            window_limit: self.window_limit,
            lane_limit: self.lane_limit,
            resent_parts,
            parities: u32::try_from(parities).unwrap_or(u32::MAX),
            ..SendQueue::new(config)
        }
    }
}
