//! What the path does to packets, as far as acknowledgements show it: how far they overtake each other, and how many are
//! lost. Holds no packets; fed by `recovery`.

use std::time::{Duration, Instant};

use super::{rest::Nanos, rtt::Rtt};

/// The allowance for reordering before any was seen: this share of the shortest round trip, at least a timer's step.
const FIRST_SHARE: u32 = 8;
const FIRST_LEAST: Duration = Duration::from_millis(1);
const FIRST_MOST: Duration = Duration::from_millis(8);
/// What is seen is exceeded by a quarter, so that the next one to be late finds more room.
const GROWTH: u32 = 4;
/// What was learnt loses 1/32 a second, so that a path that has changed is trusted again after a while.
const FADE_EVERY: Duration = Duration::from_secs(1);
const FADE: u32 = 32;
/// Share of lost packets, in 1/65,536, below which a late acknowledgement speaks of a late packet: 1 %.
const LITTLE_LOSS: u32 = ALL / 100;
/// Share of lost packets from which acknowledgements are missing too often to be waited for like others: 10 %.
const MUCH_LOSS: u32 = ALL / 10;
/// Shares from which one copy and two are called for: a single loss is enough for the first, the second is well above what 5 % are taken for at times.
const ONE_COPY: u32 = ALL / 200;
const TWO_COPIES: u32 = ALL / 100 * 11;
/// So many packets in a row that arrive end the copies, whatever the average remembers; the next loss brings them back.
const CLEAN_RUN: u8 = 96;
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
    /// Packets that arrived since the last that did not.
    run: u8,
    /// When the peer spoke last of more than two packets at once: an earlier word was lost, or it does not speak of each two.
    lumped: Option<Instant>,
}

/// The same, as small as it can be.
#[derive(Clone, Copy, Debug)]
pub(super) struct Kept {
    reordering: Nanos,
    slowness: Nanos,
    loss: u32,
    run: u8,
}

impl Kept {
    /// What was learnt `faded` when the peer was heard last.
    pub(super) fn wake(self, faded: Option<Instant>) -> Path {
        let Self { reordering, slowness, loss, run } = self;
        Path { reordering: reordering.into(), slowness: slowness.into(), faded, loss, run, lumped: None }
    }
}

impl Path {
    pub(super) fn rest(&self) -> Kept {
        let Self { reordering, slowness, faded: _, loss, run, lumped: _ } = *self;
        Kept { reordering: reordering.into(), slowness: slowness.into(), loss, run }
    }

    /// What is allowed in any case.
    fn first_allowance(rtt: &Rtt) -> Duration {
        (rtt.shortest() / FIRST_SHARE).clamp(FIRST_LEAST, FIRST_MOST)
    }

    /// By how much a packet may be overtaken before it counts as lost.
    pub(super) fn allowance(&self, rtt: &Rtt) -> Duration {
        self.reordering.min(rtt.smoothed() * 2).max(Self::first_allowance(rtt))
    }

    /// How long after its sending a packet counts as lost when later ones have arrived, of which the newest `took` so
    /// long. What packets are late by is measured from the smoothed round trip on; the newest one's own is for a path
    /// that became longer.
    pub(super) fn loss_delay(&self, took: Duration, rtt: &Rtt) -> Duration {
        (took + Self::first_allowance(rtt)).max(rtt.smoothed() + self.allowance(rtt))
    }

    /// How much longer than the round trip's variance explains word of a packet that was overtaken took.
    pub(super) fn slowness(&self, rtt: &Rtt) -> Duration {
        self.slowness.min(rtt.smoothed())
    }

    /// Word came, just now, of a packet that was sent before the newest one which had arrived, or together with it.
    /// `alone`: of no other packet, so that this one's arrival made the peer speak; else it may not be late at all,
    /// because an earlier acknowledgement may have been lost.
    pub(super) fn overtaken(
        &mut self,
        now: Instant,
        (sent, newest): (Instant, Instant),
        alone: bool,
        rtt: &Rtt,
    ) {
        let age = now.saturating_duration_since(sent);
        let apart = newest.saturating_duration_since(sent);
        let most = rtt.smoothed() / if alone { 1 } else { FIRST_SHARE };
        if apart.is_zero() && !alone {
            return;
        }
        let by = age.saturating_sub(rtt.smoothed()).clamp(apart, apart + most);
        if self.loss <= LITTLE_LOSS {
            exceed(&mut self.slowness, age.saturating_sub(rtt.overdue()));
        }
        exceed(&mut self.reordering, by);
        self.faded.get_or_insert(now);
    }

    /// The peer spoke for the first time of so many packets at once.
    pub(super) fn told(&mut self, now: Instant, packets: u32) {
        if packets > 2 {
            self.lumped = Some(now);
        }
    }

    /// Whether the peer's word came for each two packets, for so long.
    pub(super) fn tells_each_pair(&self, now: Instant, lately: Duration) -> bool {
        self.lumped.is_none_or(|at| now.saturating_duration_since(at) >= lately)
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
        u8::from(self.loss >= ONE_COPY) + u8::from(self.loss >= TWO_COPIES)
    }

    /// So many packets are lost that the lack of an acknowledgement says little of a packet.
    pub(super) fn is_lossy(&self) -> bool {
        self.loss >= MUCH_LOSS
    }

    /// A packet arrived; `late` if it had been counted as lost.
    pub(super) fn arrived(&mut self, late: bool) {
        self.loss -= self.loss >> LOSS_SHIFT;
        self.run = self.run.saturating_add(1);
        if self.run >= CLEAN_RUN {
            self.loss = self.loss.min(ONE_COPY - 1);
        }
        if late {
            self.loss = self.loss.saturating_sub(ALL >> LOSS_SHIFT);
        }
    }

    pub(super) fn lost(&mut self) {
        self.loss += (ALL - self.loss) >> LOSS_SHIFT;
        self.run = 0;
    }
}

fn exceed(measure: &mut Duration, seen: Duration) {
    if seen > *measure {
        *measure = seen + seen / GROWTH;
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::os::Environment;

    const MS: Duration = Duration::from_millis(1);

    fn rtt() -> Rtt {
        let mut rtt = Rtt::new(100 * MS);
        for _ in 0..50 {
            rtt.sample(48 * MS, Duration::ZERO);
        }
        rtt
    }

    #[test]
    fn the_allowance_starts_small_and_exceeds_what_was_seen() {
        let (mut path, rtt, now) = (Path::default(), rtt(), Environment::os().now());
        assert_eq!(path.allowance(&rtt), 6 * MS);
        path.overtaken(now, (now - 70 * MS, now - 50 * MS), false, &rtt);
        assert_eq!(path.allowance(&rtt), (22 * MS).mul_f64(1.25));
        path.overtaken(now, (now - 10_000 * MS, now), false, &rtt);
        assert_eq!(path.allowance(&rtt), 96 * MS, "two round trips at most");
    }

    #[test]
    fn what_was_seen_fades() {
        let (mut path, rtt, mut now) = (Path::default(), rtt(), Environment::os().now());
        path.overtaken(now, (now - 90 * MS, now - 50 * MS), false, &rtt);
        assert!(path.slowness(&rtt) > 30 * MS);
        for _ in 0..120 {
            now += FADE_EVERY;
            path.fade(now);
        }
        assert_eq!(path.allowance(&rtt), 6 * MS);
        assert!(path.slowness(&rtt) < 2 * MS);
    }

    #[test]
    fn a_packet_that_was_only_late_is_no_loss() {
        let mut path = Path::default();
        path.lost();
        assert!(path.loss > 0);
        path.arrived(true);
        assert_eq!(path.loss, 0);
    }

    #[test]
    fn where_packets_are_lost_a_late_acknowledgement_says_little() {
        let (mut path, rtt, now) = (Path::default(), rtt(), Environment::os().now());
        (0..20).for_each(|_| path.lost());
        path.overtaken(now, (now - 90 * MS, now - 80 * MS), false, &rtt);
        assert_eq!(path.allowance(&rtt), (16 * MS).mul_f64(1.25));
        assert_eq!(path.slowness(&rtt), Duration::ZERO);
    }
}
