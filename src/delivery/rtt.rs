//! Round-trip time: smoothed, variance, minimum, and the timeouts that follow from it (RFC 9002, section 5 and 6.2).
//! Holds no packets; fed by `recovery`.

use std::time::Duration;

use super::rest::Nanos;

/// Coarsest timer that is worth setting.
const GRANULARITY: Duration = Duration::from_millis(1);

/// Estimates of one path's round-trip time.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Rtt {
    latest: Duration,
    min: Duration,
    smoothed: Duration,
    variance: Duration,
    /// Running mean of what one sample differs from the one before (in the manner of RFC 3550, 6.4.1).
    jitter: Duration,
    measured: bool,
}

/// The same, as small as it can be.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Kept {
    latest: Nanos,
    min: Nanos,
    smoothed: Nanos,
    variance: Nanos,
    jitter: Nanos,
    measured: bool,
}

impl Kept {
    pub(crate) fn wake(self) -> Rtt {
        let Self { latest, min, smoothed, variance, jitter, measured } = self;
        Rtt {
            latest: latest.into(),
            min: min.into(),
            smoothed: smoothed.into(),
            variance: variance.into(),
            jitter: jitter.into(),
            measured,
        }
    }
}

impl Rtt {
    pub(crate) fn rest(&self) -> Kept {
        let Self { latest, min, smoothed, variance, jitter, measured } = *self;
        Kept {
            latest: latest.into(),
            min: min.into(),
            smoothed: smoothed.into(),
            variance: variance.into(),
            jitter: jitter.into(),
            measured,
        }
    }

    pub(crate) fn new(initial: Duration) -> Self {
        Self {
            latest: initial,
            min: initial,
            smoothed: initial,
            variance: initial / 2,
            jitter: Duration::ZERO,
            measured: false,
        }
    }

    /// Takes a sample; `ack_delay` is what the peer says it held the acknowledgement back. All of it is believed: where an
    /// acknowledgement is lost the next one may come seconds later, and those are not the path's. Returns the sample
    /// without that time.
    pub(crate) fn sample(&mut self, sample: Duration, ack_delay: Duration) -> Duration {
        if !self.measured {
            // A peer that lies is probed more often, no more.
            let least = sample.min(GRANULARITY);
            let first = sample.saturating_sub(ack_delay).max(least);
            *self = Self { measured: true, ..Self::new(first) };
            return first;
        }
        self.min = self.min.min(sample);
        // The peer's word is believed only down to the minimum, which knows nothing of it. (RFC 9002, 5.3, believes none
        // of it below that; here much is held back, and a path that is a little faster must not seem slow.)
        let adjusted = sample.saturating_sub(ack_delay).max(self.min);
        self.jitter = (self.jitter * 15 + self.latest.abs_diff(adjusted)) / 16;
        self.latest = adjusted;
        self.variance = (self.variance * 3 + self.smoothed.abs_diff(adjusted)) / 4;
        self.smoothed = (self.smoothed * 7 + adjusted) / 8;
        adjusted
    }

    pub(crate) fn latest(&self) -> Option<Duration> {
        self.measured.then_some(self.latest)
    }

    pub(crate) fn min(&self) -> Option<Duration> {
        self.measured.then_some(self.min)
    }

    pub(crate) fn smoothed(&self) -> Duration {
        self.smoothed
    }

    pub(crate) fn variance(&self) -> Duration {
        self.variance
    }

    pub(crate) fn jitter(&self) -> Duration {
        self.jitter
    }

    /// Probe timeout without back-off (RFC 9002, 6.2.1).
    pub(crate) fn pto(&self, ack_delay: Duration) -> Duration {
        self.smoothed + (self.variance * 4).max(GRANULARITY) + ack_delay
    }

    /// How long after its sending there should have been word of a packet whose acknowledgement was not held back.
    pub(crate) fn overdue(&self) -> Duration {
        self.smoothed + (self.variance * 5 / 2).max(GRANULARITY)
    }

    /// The shortest round trip seen; the guess before the first.
    pub(crate) fn shortest(&self) -> Duration {
        self.min
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const MS: Duration = Duration::from_millis(1);

    #[test]
    fn the_first_sample_replaces_the_guess() {
        let mut rtt = Rtt::new(100 * MS);
        assert_eq!(rtt.pto(25 * MS), 325 * MS);
        rtt.sample(40 * MS, Duration::ZERO);
        assert_eq!((rtt.smoothed(), rtt.variance()), (40 * MS, 20 * MS));
    }

    #[test]
    fn an_acknowledgement_that_was_lost_does_not_make_the_path_seem_long() {
        let mut rtt = Rtt::new(100 * MS);
        rtt.sample(1_060 * MS, 1_055 * MS);
        assert_eq!((rtt.smoothed(), rtt.shortest()), (5 * MS, 5 * MS));
        rtt.sample(1_000 * MS, 990 * MS);
        assert_eq!(rtt.latest(), Some(10 * MS), "nor does a later one");
        for (sample, claimed, believed) in [(40, 50, 1), (40, 40, 1), (1, 1, 1)] {
            let mut rtt = Rtt::new(100 * MS);
            rtt.sample(sample * MS, claimed * MS);
            assert_eq!(rtt.smoothed(), believed * MS);
        }
    }

    #[test]
    fn a_peer_cannot_talk_the_estimate_below_the_minimum() {
        let mut rtt = Rtt::new(100 * MS);
        rtt.sample(40 * MS, Duration::ZERO);
        for _ in 0..100 {
            rtt.sample(41 * MS, 25 * MS);
        }
        assert!(rtt.smoothed() >= 40 * MS);
    }
}
