//! Least round trips: of the last spans of time, which is the path's own, and of the current period, in which a queue may
//! stand; and when none comes for too long. Knows nothing of windows. PROTOCOL.md, "Rate".

use std::time::{Duration, Instant};

/// The path's round trip is the least of so many spans of so long.
const SPANS: usize = 8;
const SPAN: Duration = Duration::from_millis(5_000);

/// The longest time for which a peer holds an acknowledgement back.
const HOLD: Duration = Duration::from_millis(25);

/// Whether nothing was heard for longer than any polite queue lasts.
pub(super) fn is_hole(silence: Duration, smoothed: Duration) -> bool {
    silence > smoothed * 2 + HOLD
}

#[derive(Clone, Debug, Default)]
pub(super) struct Base {
    spans: [Option<Duration>; SPANS],
    ends: Option<Instant>,
}

impl Base {
    /// With what was known before; zero is nothing.
    pub(super) fn of(known: Duration) -> Self {
        let newest = Some(known).filter(|known| !known.is_zero());
        Self { spans: [newest, None, None, None, None, None, None, None], ends: None }
    }

    pub(super) fn note(&mut self, now: Instant, sample: Duration) {
        let ends = *self.ends.get_or_insert(now + SPAN);
        if now >= ends {
            self.ends = Some(now + SPAN);
            self.spans.rotate_right(1);
            if let Some(newest) = self.spans.first_mut() {
                *newest = None;
            }
        }
        if let Some(newest) = self.spans.first_mut() {
            *newest = Some(newest.map_or(sample, |least| least.min(sample)));
        }
    }

    /// Zero before the first sample.
    pub(super) fn get(&self) -> Duration {
        self.spans.iter().flatten().min().copied().unwrap_or_default()
    }
}

/// Round trips in a period at least.
const SAMPLES: u32 = 2;

/// A stretch of time in which the window stays about the same.
#[derive(Clone, Debug, Default)]
pub(super) struct Period {
    least: Option<Duration>,
    samples: u32,
    began: Option<Instant>,
}

impl Period {
    pub(super) fn note(&mut self, now: Instant, sample: Duration) {
        self.least = Some(self.least.map_or(sample, |least| least.min(sample)));
        self.samples += 1;
        self.began.get_or_insert(now);
    }

    /// The least round trip of a period that has lasted so long; then the next one begins.
    pub(super) fn end(&mut self, now: Instant, lasts: Duration) -> Option<Duration> {
        let over = self.samples >= SAMPLES && self.began.is_some_and(|began| now >= began + lasts);
        if over { std::mem::take(self).least } else { None }
    }
}
