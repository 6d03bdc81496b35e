//! What the path does to packets, as far as acknowledgements show it: how far they overtake each other, and how many are
//! lost. Holds no packets; fed by `recovery`.

use std::time::{Duration, Instant};

use super::rtt::Rtt;

/// The allowance for reordering before any was seen: this share of the shortest round trip, at least a timer's step.
const FIRST_SHARE: u32 = 8;
const FIRST_LEAST: Duration = Duration::from_millis(1);
const FIRST_MOST: Duration = Duration::from_millis(8);
/// What is seen is exceeded by a quarter, so that the next one to be late finds more room.
const GROWTH: u32 = 4;
/// What was learnt loses 1/32 a second, so that a path that has changed is trusted again after a while.
const FADE_EVERY: Duration = Duration::from_secs(1);
const FADE: u32 = 32;
/// Share of lost packets, in 1/65,536, below which a late acknowledgement speaks of a late packet: 4 %.
const LITTLE_LOSS: u32 = 2_621;
/// Weight of one packet in the measured loss: 1/64.
const LOSS_SHIFT: u32 = 6;
/// All of the packets, in the units of the measured loss.
const ALL: u32 = 1 << 16;

/// Measures of reordering and loss.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Path {
    reordering: Duration,
    slowness: Duration,
    faded: Option<Instant>,
    /// Share of the packets that are lost, in 1/65,536.
    loss: u32,
}

impl Path {
    /// By how much a packet may be overtaken before it counts as lost.
    pub(super) fn allowance(&self, rtt: &Rtt) -> Duration {
        let first = (rtt.shortest() / FIRST_SHARE).clamp(FIRST_LEAST, FIRST_MOST);
        self.reordering.min(rtt.smoothed() * 2).max(first)
    }

    /// How much longer than the round trip's variance explains word of a packet that was overtaken took.
    pub(super) fn slowness(&self, rtt: &Rtt) -> Duration {
        self.slowness.min(rtt.smoothed())
    }

    /// Word came, just now, of a packet that was sent before the newest one which had arrived.
    pub(super) fn overtaken(&mut self, now: Instant, sent: Instant, newest: Instant, rtt: &Rtt) {
        let age = now.saturating_duration_since(sent);
        let mut by = newest.saturating_duration_since(sent).max(age.saturating_sub(rtt.smoothed()));
        if self.loss > LITTLE_LOSS {
            // It may not be late at all: an earlier acknowledgement may have been lost.
            by = by.min(newest.saturating_duration_since(sent) + rtt.smoothed() / FIRST_SHARE);
        } else {
            exceed(&mut self.slowness, age.saturating_sub(rtt.overdue()));
        }
        exceed(&mut self.reordering, by);
        self.faded.get_or_insert(now);
    }

    /// Lets old observations fade.
    pub(super) fn fade(&mut self, now: Instant) {
        let Some(last) = self.faded else { return };
        if now.saturating_duration_since(last) >= FADE_EVERY {
            self.reordering -= self.reordering / FADE;
            self.slowness -= self.slowness / FADE;
            self.faded = Some(now);
        }
    }

    /// Copies beside the original that the measured loss calls for. PROTOCOL.md, "Copies".
    pub(super) fn redundancy(&self) -> u8 {
        u8::from(self.loss >= ALL / 200) + u8::from(self.loss >= ALL / 100 * 8)
    }

    /// A packet arrived; `late` if it had been counted as lost.
    pub(super) fn arrived(&mut self, late: bool) {
        self.loss -= self.loss >> LOSS_SHIFT;
        if late {
            self.loss = self.loss.saturating_sub(ALL >> LOSS_SHIFT);
        }
    }

    pub(super) fn lost(&mut self) {
        self.loss += (ALL - self.loss) >> LOSS_SHIFT;
    }
}

fn exceed(measure: &mut Duration, seen: Duration) {
    if seen > *measure {
        *measure = seen + seen / GROWTH;
    }
}
