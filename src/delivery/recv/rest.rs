//! What a receiving half keeps at rest: which messages it knows, and its accounts. Nothing is stored then, so that no
//! handle outlives it.

use super::{RecvLimits, RecvQueue, lane::KeptLanes, parity::Parities};

/// What is kept at rest.
#[derive(Clone, Debug)]
pub(crate) struct Kept {
    lanes: KeptLanes,
    parities: Option<Box<Parities>>,
    consumed: u64,
    advertised: u64,
    max_message: u32,
    max_fragments: u16,
}

impl RecvQueue {
    /// Nothing is stored, incomplete or to be yielded.
    pub(crate) fn may_rest(&self) -> bool {
        let used = self.delivery_used > 0 || self.unreliable_used > 0;
        self.store.is_empty() && self.ready.is_empty() && !used
    }

    /// Its counters are the owner's to keep.
    pub(crate) fn rest(&mut self) -> Kept {
        self.lanes.forget_waiting();
        self.shrink();
        let Self {
            limits,
            lanes,
            store: _,
            ready: _,
            partials: _,
            kept: _,
            kept_live: _,
            parities,
            unreliable_used: _,
            delivery_used: _,
            consumed,
            advertised,
            counters: _,
        } = self;
        Kept {
            lanes: lanes.rest(),
            parities: parities.take(),
            consumed: *consumed,
            advertised: *advertised,
            max_message: limits.max_message,
            max_fragments: limits.max_fragments,
        }
    }
}

impl Kept {
    /// `limits` are those of a session in which a message has so many bytes and fragments at most.
    pub(crate) fn wake(self, limits: impl FnOnce(u32, u16) -> RecvLimits) -> RecvQueue {
        RecvQueue {
            lanes: self.lanes.wake(),
            parities: self.parities,
            consumed: self.consumed,
            advertised: self.advertised,
            ..RecvQueue::new(limits(self.max_message, self.max_fragments))
        }
    }
}
