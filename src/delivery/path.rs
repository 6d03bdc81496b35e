//! What the path does to packets, as far as acknowledgements show it: how far they overtake each other, and how many are
//! lost. Holds no packets; fed by `recovery`.

use std::time::{Duration, Instant};

use super::rtt::Rtt;

/// The allowance for reordering before any was seen: this share of the shortest round trip, at least a timer's step.
const FIRST_SHARE: u32 = 8;
const FIRST_LEAST: Duration = Duration::from_millis(1);
const FIRST_MOST: Duration = Duration::from_millis(8);
/// What was learnt loses 1/16 a second: a path that has changed is trusted again after some ten seconds.
const DECAY_EVERY: Duration = Duration::from_secs(1);
const DECAY: u32 = 16;
/// Weight of one packet in the measured loss: 1/64.
const LOSS_SHIFT: u32 = 6;
/// All of the packets, in the units of the measured loss.
const ALL: u32 = 1 << 16;

/// Measures of reordering and loss.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Path {
    reordering: Duration,
    decayed: Option<Instant>,
    /// Share of the packets that are lost, in 1/65,536.
    loss: u32,
}

impl Path {
    /// By how much a packet may be overtaken before it counts as lost.
    pub(super) fn allowance(&self, rtt: &Rtt) -> Duration {
        let first = (rtt.shortest() / FIRST_SHARE).clamp(FIRST_LEAST, FIRST_MOST);
        self.reordering.min(rtt.smoothed()).max(first)
    }

    /// A packet arrived after one that was sent this much later.
    pub(super) fn overtaken(&mut self, now: Instant, by: Duration) {
        let seen = by + by / 4;
        if seen > self.reordering {
            self.reordering = seen;
            self.decayed = Some(now);
        }
    }

    /// Lets old observations fade.
    pub(super) fn fade(&mut self, now: Instant) {
        let Some(last) = self.decayed else { return };
        if now.saturating_duration_since(last) >= DECAY_EVERY {
            self.reordering -= self.reordering / DECAY;
            self.decayed = Some(now);
        }
    }

    pub(super) fn arrived(&mut self) {
        self.loss -= self.loss >> LOSS_SHIFT;
    }

    pub(super) fn lost(&mut self) {
        self.loss += (ALL - self.loss) >> LOSS_SHIFT;
    }

    /// Share of the packets that are lost, in 1/65,536.
    pub(super) fn loss(&self) -> u32 {
        self.loss
    }
}
