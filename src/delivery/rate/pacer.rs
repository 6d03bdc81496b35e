//! Spreads packets over time. Knows one moment: when all that was sent would have left at the allowed rate.

use std::time::{Duration, Instant};

/// A burst may always be so long (RFC 9002, 7.7), so that a frame of a game is not torn apart.
const LEAST_BURST: u64 = 12_000;
/// The longest time that a caller may sleep without losing any of the rate: a frame of a game that runs at 50 Hz.
const SLEEP: u64 = 50;

/// The burst that fits a rate in bytes per second.
pub(super) fn least_burst(rate: u64) -> u64 {
    LEAST_BURST.max(rate / SLEEP)
}

#[derive(Debug, Default)]
pub(super) struct Pacer {
    /// When all that was sent would have left.
    free_at: Option<Instant>,
    /// How long before that the next packet may leave.
    ahead: Duration,
}

impl Pacer {
    /// After a rest: all that was sent would have left then.
    pub(super) fn owing(free_at: Option<Instant>, rate: u64, burst: u64) -> Self {
        Self { free_at, ahead: time_for(burst, rate) }
    }

    pub(super) fn free_at(&self) -> Option<Instant> {
        self.free_at
    }

    /// When the next packet may leave; `None`: at any time.
    pub(super) fn next_send(&self) -> Option<Instant> {
        self.free_at.and_then(|free| free.checked_sub(self.ahead))
    }

    pub(super) fn on_sent(&mut self, now: Instant, bytes: usize, rate: u64, burst: u64) {
        let free = self.free_at.map_or(now, |free| free.max(now));
        self.free_at = Some(free + time_for(bytes as u64, rate));
        self.ahead = time_for(burst, rate);
    }
}

/// How long `bytes` take at `rate` bytes per second.
fn time_for(bytes: u64, rate: u64) -> Duration {
    Duration::from_nanos(bytes.saturating_mul(1_000_000_000) / rate.max(1))
}
