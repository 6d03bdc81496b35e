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
    delivery: usize,
    unreliable: usize,
    lanes: Box<[send_lane::Kept]>,
    needless: u64,
    redundancy: u8,
    late_acks: u64,
    next_id: u64,
    window_used: u64,
    window_limit: u64,
    lane_limit: u64,
    resent_parts: u64,
    parities: u32,
}

impl SendQueue {
    /// Nothing is queued, on its way or to be told.
    pub(crate) fn may_rest(&self) -> bool {
        let told = self.notices.told.is_empty() && self.building.is_empty();
        let gone = self.slab.messages() == 0 && self.skips.is_empty();
        told && gone && self.lanes.iter().all(SendLane::may_rest)
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
            needless,
            redundancy,
            copies_due: _,
            riding: _,
            alarms: _,
            skips: _,
            skips_waiting: _,
            skips_held: _,
            notices,
            // Whatever needs it is told the time first.
            clock: _,
            building: _,
            next_id,
            unsent_messages: _,
            unsent_bytes: _,
            window_used,
            window_limit,
            lane_limit,
            resent_parts,
            parities,
        } = self;
        Kept {
            delivery: *delivery,
            unreliable: *unreliable,
            lanes: lanes.drain(..).map(SendLane::rest).collect(),
            needless: *needless,
            redundancy: *redundancy,
            late_acks: notices.late_acks,
            next_id: *next_id,
            window_used: *window_used,
            window_limit: *window_limit,
            lane_limit: *lane_limit,
            resent_parts: *resent_parts,
            parities: *parities,
        }
    }
}

impl Kept {
    pub(crate) fn wake(self, config: &Config) -> SendQueue {
        let Self { delivery, unreliable, late_acks, .. } = self;
        let limits = Limits { delivery, unreliable, ..Limits::new(config) };
        let bounds = (limits.bytes, limits.messages);
        SendQueue {
            limits,
            lanes: self.lanes.into_iter().map(|lane| lane.wake(bounds)).collect(),
            needless: self.needless,
            redundancy: self.redundancy,
            notices: Notices::after_rest(late_acks),
            next_id: self.next_id,
            window_used: self.window_used,
            window_limit: self.window_limit,
            lane_limit: self.lane_limit,
            resent_parts: self.resent_parts,
            parities: self.parities,
            ..SendQueue::new(config)
        }
    }
}
