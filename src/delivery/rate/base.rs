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
    /// With what was known before, from a span that ended or ends then.
    pub(super) fn of(known: Option<(Duration, Instant)>) -> Self {
        let mut spans = [None; SPANS];
        if let Some(newest) = spans.first_mut() {
            *newest = known.map(|(least, _)| least);
        }
        Self { spans, ends: known.map(|(_, ends)| ends) }
    }

    /// The least round trip, and the end of the span that it is from.
    pub(super) fn least(&self) -> Option<(Duration, Instant)> {
        let known = (0..).zip(&self.spans).filter_map(|(age, least)| Some(((*least)?, age)));
        let (least, age) = known.min()?;
        Some((least, self.ends?.checked_sub(SPAN * age)?))
    }

    pub(super) fn note(&mut self, now: Instant, sample: Duration) {
        let mut ends = *self.ends.get_or_insert(now + SPAN);
        // Also the spans in which nothing was measured have passed.
        for _ in 0..SPANS {
            if now < ends {
                break;
            }
            ends += SPAN;
            self.spans.rotate_right(1);
            if let Some(newest) = self.spans.first_mut() {
                *newest = None;
            }
        }
        self.ends = Some(if now < ends { ends } else { now + SPAN });
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

#[cfg(test)]
mod tests {
    use super::*;
    use crate::os::Environment;

    const MS: Duration = Duration::from_millis(1);

    #[test]
    fn the_least_round_trip_is_forgotten_after_forty_seconds_however_seldom_one_is_measured() {
        for every in [1, 4, 5, 13, 15, 39, 60, 600_u32] {
            let (mut base, start) = (Base::default(), Environment::os().now());
            base.note(start, 20 * MS);
            for after in (every..).step_by(every as usize) {
                base.note(start + 1_000 * MS * after, 200 * MS);
                let old = base.get() == 20 * MS;
                assert!(old || after >= 35, "every {every} s: gone after {after} s");
                if !old {
                    assert!(after < 40 + every, "every {every} s: still there before {after} s");
                    assert_eq!(base.get(), 200 * MS);
                    break;
                }
            }
        }
    }

    #[test]
    fn what_is_kept_is_the_least_and_its_age() {
        let (mut base, start) = (Base::default(), Environment::os().now());
        assert_eq!(base.least(), None);
        for (second, sample) in [(0, 30), (6, 20), (12, 25)] {
            base.note(start + 1_000 * MS * second, sample * MS);
        }
        let kept = base.least();
        assert_eq!(kept, Some((20 * MS, start + 10_000 * MS)));
        assert_eq!(Base::of(kept).least(), kept);
    }
}
