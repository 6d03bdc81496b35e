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
/// Share of lost packets, in 1/65,536, below which a late acknowledgement speaks of a late packet: 1 %.
const LITTLE_LOSS: u32 = ALL / 100;
/// Share of lost packets from which acknowledgements are missing too often to be waited for like others: 10 %.
const MUCH_LOSS: u32 = ALL / 10;
/// Shares from which one copy and two are called for: the second is well above what 5 % are taken for at times.
const ONE_COPY: u32 = ALL / 200;
const TWO_COPIES: u32 = ALL / 100 * 11;
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
        u8::from(self.loss >= ONE_COPY) + u8::from(self.loss >= TWO_COPIES)
    }

    /// So many packets are lost that the lack of an acknowledgement says little of a packet.
    pub(super) fn is_lossy(&self) -> bool {
        self.loss >= MUCH_LOSS
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

#[cfg(test)]
mod tests {
    use super::*;

    const MS: Duration = Duration::from_millis(1);

    #[expect(clippy::disallowed_methods, reason = "an origin for virtual time")]
    fn origin() -> Instant {
        Instant::now()
    }

    fn rtt() -> Rtt {
        let mut rtt = Rtt::new(100 * MS);
        (0..50).for_each(|_| rtt.sample(48 * MS, Duration::ZERO));
        rtt
    }

    #[test]
    fn the_allowance_starts_small_and_exceeds_what_was_seen() {
        let (mut path, rtt, now) = (Path::default(), rtt(), origin());
        assert_eq!(path.allowance(&rtt), 6 * MS);
        path.overtaken(now, now - 70 * MS, now - 50 * MS, &rtt);
        assert_eq!(path.allowance(&rtt), (22 * MS).mul_f64(1.25));
        path.overtaken(now, now - 10_000 * MS, now, &rtt);
        assert_eq!(path.allowance(&rtt), 96 * MS, "two round trips at most");
    }

    #[test]
    fn what_was_seen_fades() {
        let (mut path, rtt, mut now) = (Path::default(), rtt(), origin());
        path.overtaken(now, now - 90 * MS, now - 50 * MS, &rtt);
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
        let (mut path, rtt, now) = (Path::default(), rtt(), origin());
        (0..20).for_each(|_| path.lost());
        path.overtaken(now, now - 90 * MS, now - 80 * MS, &rtt);
        assert_eq!(path.allowance(&rtt), (16 * MS).mul_f64(1.25));
        assert_eq!(path.slowness(&rtt), Duration::ZERO);
    }
}
